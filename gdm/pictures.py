"""Arrays -> pictures: grids, latent maps, tables of images, curves; the one place that draws."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gdm.errors import UserError
from gdm.files import durable_replacement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200  # dots an inch of what matplotlib draws, enough for print
VECTOR_ENDINGS = (".pdf", ".svg")
ENDINGS = (
    ".png",
    *VECTOR_ENDINGS,
)  # that a figure can be written with; pixels only with the first
LEAST_ASPECT = 0.5  # of the shorter side of a map to the longer
PALETTE = "tab10"
MARKERS = "os^vD<>pP*"  # classes stay apart in grey print
DASHES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))  # and lines
Curve = tuple[Sequence[float], Sequence[float]]  # x and y
Contours = tuple[Tensor, Tensor, Tensor, dict[str, float]]  # x, y, heights (y, x), name -> level


def to_bytes(x: Tensor) -> Tensor:
    """Turn images in [-1, 1] into 8-bit values: (N, C, H, W) float -> uint8, on the CPU."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)


def grid(x: Tensor, num_columns: int | None = None, gap: int = 2) -> Tensor:
    """Lay images side by side, row by row, on white: (N, C, H, W) -> (C, H', W').

    Args:
        x: the images, floats in [-1, 1] or 8-bit values.
        num_columns: images a row; None for a grid about as wide as high.
        gap: pixels between images.

    Returns:
        8-bit values.
    """
    images = x if x.dtype == torch.uint8 else to_bytes(x)
    count, channels, height, width = images.shape
    columns = num_columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = torch.full(
        (channels, rows * (height + gap) - gap, columns * (width + gap) - gap),
        255,
        dtype=torch.uint8,
    )
    for position, image in enumerate(images):
        top = position // columns * (height + gap)
        left = position % columns * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    return canvas


def pairs(originals: Tensor, reconstructions: Tensor, num_columns: int = 8) -> Tensor:
    """Lay each row of originals above the row of their reconstructions; otherwise as `grid`."""
    rows = zip(originals.split(num_columns), reconstructions.split(num_columns), strict=True)
    return grid(torch.cat([row for pair in rows for row in pair]), num_columns)


def refuse_ending(path: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Refuse the name of a picture whose ending says what cannot be written.

    Raises:
        UserError: naming the endings that can.
    """
    if path.suffix.lower() not in endings:
        known = " or ".join(endings)
        raise UserError(f"to={path}: a picture of this kind is written as {known}; end it so")


def save(picture: Tensor, path: Path, scale: int = 1) -> None:
    """Write a picture of 8-bit values, (C, H, W) with one or three channels, as PNG.

    Args:
        picture: the picture.
        path: where to write it.
        scale: number of screen pixels a side of each pixel, for small images.
    """
    from PIL import Image

    array = enlarged(picture, scale).permute(1, 2, 0).numpy()  # (H, W, C)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(path, "PNG")


def enlarged(picture: Tensor, scale: int) -> Tensor:
    """Return a picture whose pixels are so many times as large, (C, H, W) -> (C, H', W')."""
    return picture.repeat_interleave(scale, 1).repeat_interleave(scale, 2)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a matplotlib figure as what the path ends in, PNG, PDF or SVG, the same every time."""
    from matplotlib import rc_context

    kind = path.suffix.lower()
    dates = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "gdm"}), durable_replacement(path) as temporary:
        figure.savefig(temporary, format=kind.removeprefix("."), metadata=dates.get(kind))


def save_animation(frames: Tensor, path: Path, scale: int = 1, milliseconds: int = 80) -> None:
    """Write pictures of 8-bit values, (T, C, H, W), one after another and without end, as GIF.

    Args:
        frames: the pictures, with one or three channels.
        path: where to write them.
        scale: number of screen pixels a side of each pixel.
        milliseconds: that each is shown.
    """
    from PIL import Image

    frames = frames.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    arrays = frames.permute(0, 2, 3, 1).numpy()  # (T, H, W, C)
    shown = [Image.fromarray(each.squeeze(-1) if each.shape[-1] == 1 else each) for each in arrays]
    path.parent.mkdir(parents=True, exist_ok=True)
    shown[0].save(path, "GIF", save_all=True, append_images=shown[1:], duration=milliseconds,
                  loop=0)  # fmt: skip


def latent_map(
    codes: Tensor,
    label: Tensor,
    class_names: tuple[str, ...],
    sampled: Tensor | None = None,
    contours: Contours | None = None,
    axis_names: tuple[str, str] = ("$z_1$", "$z_2$"),
    images: Tensor | None = None,
) -> Tensor:
    """Draw codes in the plane, coloured by class, and sampled points over them.

    Args:
        codes: (N, 2).
        label: (N,) classes.
        class_names: the classes' names.
        sampled: (M, 2) points to draw in black and number from 0; None for none.
        contours: of the density that they are sampled from, or of its logarithm; None for none.
        axis_names: of the plane.
        images: what the points decode to, which is shown beside the map, (M, C, H, W), floats in
            [-1, 1] or 8-bit values; None for none.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8 if images is None else 13, 6.5), dpi=DPI, layout="constrained")
    widths = [1] if images is None else [1.35, 1]
    axes, *beside = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    _scatter(axes, codes, label, class_names)
    _widen(axes)
    if contours is not None:
        _draw_contours(axes, contours)
    if sampled is not None:
        x, y = sampled.T.numpy()
        axes.scatter(x, y, 22, "black", label="sampled")
        for number, (left, bottom) in enumerate(sampled.tolist()):
            axes.annotate(str(number), (left, bottom), (2, 2), textcoords="offset points",
                          fontsize=7)  # fmt: skip
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    axes.set_aspect("equal")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    if sampled is None:
        _name_classes(figure, axes, codes, label, class_names)
    if beside:
        _numbered_images(beside[0], images)
    return rendered(figure)


def _widen(axes) -> None:
    """Give a plane of one scale no side so short that names in it would lie on what is beside."""
    limits = torch.tensor([axes.get_xlim(), axes.get_ylim()])
    middle, span = limits.mean(1), limits[:, 1] - limits[:, 0]
    span = span.clamp_min(LEAST_ASPECT * float(span.max()))
    lower, upper = (middle - span / 2).tolist(), (middle + span / 2).tolist()
    axes.set(xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]))


def _scatter(axes, codes: Tensor, label: Tensor, class_names: tuple[str, ...]) -> None:
    from matplotlib import colormaps

    colours = colormaps[PALETTE]
    for number, name in enumerate(class_names):
        x, y = codes[label == number].T.numpy()
        marker = MARKERS[number % len(MARKERS)]
        axes.scatter(
            x, y, 14, [colours(number % 10)], marker, alpha=0.55, linewidths=0, label=name
        )


def _name_classes(
    figure, axes, codes: Tensor, label: Tensor, class_names: tuple[str, ...], line: float = 13
) -> None:
    """Write each class's name over the middle of its codes, above another where they would meet.

    Args:
        figure, axes: where the codes have been drawn.
        codes, label, class_names: as in `latent_map`.
        line: the height of a name, in typographic points.
    """
    from matplotlib.patheffects import withStroke

    present = [number for number in range(len(class_names)) if (label == number).any()]
    middles = {class_names[number]: codes[label == number].median(0).values for number in present}
    figure.draw_without_rendering()  # settles where the axes lie
    written: list[tuple[float, float, float]] = []  # left, right and height of each, in points
    for name, middle in sorted(middles.items(), key=lambda item: float(item[1][1])):
        x, y = axes.transData.transform(middle.tolist()) * 72 / figure.dpi
        reach, place = 3.2 * len(name) + 4, y
        for left, right, height in sorted(written, key=lambda each: each[2]):
            if left < x + reach and x - reach < right and abs(place - height) < line:
                place = height + line
        written.append((x - reach, x + reach, place))
        axes.annotate(name, middle.tolist(), (0, place - y), textcoords="offset points",
                      ha="center", va="center", fontsize=9, weight="bold",
                      path_effects=[withStroke(linewidth=3, foreground="white")])  # fmt: skip


def _draw_contours(axes, contours: Contours) -> None:
    """Draw the lines of these levels that cross the plane, without widening the axes."""
    x, y, heights, levels = contours
    inside = float(heights.min()), float(heights.max())
    names = {level: name for name, level in levels.items() if inside[0] < level < inside[1]}
    if not names:
        return
    limits = axes.get_xlim(), axes.get_ylim()
    drawn = axes.contour(
        x, y, heights, sorted(names), colors="black", linewidths=0.9, linestyles="solid"
    )
    axes.clabel(drawn, fmt=names, fontsize=7)
    axes.set(xlim=limits[0], ylim=limits[1])


def _numbered_images(axes, images: Tensor) -> None:
    """Show images on a grid, each with its number."""
    images = images if images.dtype == torch.uint8 else to_bytes(images)
    columns = max(1, round(math.sqrt(len(images) * 0.7)))
    height, width = images.shape[-2:]
    _show(axes, grid(images, columns, gap=8), top=8)
    for number in range(len(images)):
        row, column = divmod(number, columns)
        axes.text(column * (width + 8), row * (height + 8) - 1.5, str(number), fontsize=7)


def _show(axes, picture: Tensor, top: int = 0) -> None:
    """Show 8-bit values, (C, H, W), without a frame, on `top` pixels of white."""
    white = torch.full((picture.shape[0], top, picture.shape[2]), 255, dtype=torch.uint8)
    pixels = torch.cat([white, picture], 1).permute(1, 2, 0).squeeze(-1).numpy()
    height, width = pixels.shape[:2]
    axes.imshow(pixels, "gray", vmin=0, vmax=255, interpolation="nearest",
                extent=(-0.5, width - 0.5, height - top - 0.5, -top - 0.5))  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def latent_maps(
    panels: dict[str, Tensor],
    label: Tensor,
    class_names: tuple[str, ...],
    circles: dict[str, float],
) -> Tensor:
    """Draw codes of several models beside one another, in one scale, with circles about 0.

    Args:
        panels: title -> codes, (N, 2).
        label: (N,) classes.
        class_names: the classes' names.
        circles: name -> radius.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(1.8 + 4.6 * len(panels), 5), dpi=DPI, layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (title, codes) in zip(row, panels.items(), strict=True):
        _scatter(axes, codes, label, class_names)
        for name, radius in circles.items():
            axes.add_patch(Circle((0, 0), radius, fill=False, linewidth=0.9))
            axes.text(0, radius, name, ha="center", va="bottom", fontsize=7)
        axes.set(title=title, xlabel="whitened codes", aspect="equal", xlim=(-4, 4), ylim=(-4, 4))
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside right center", frameon=False,
                  markerscale=2)  # fmt: skip
    return rendered(figure)


def manifold(images: Tensor, x: Tensor, y: Tensor, labels: tuple[str, str]) -> Tensor:
    """Draw what the points of a grid over the plane decode to, each image at its point.

    Args:
        images: row by row from the top left, (len(y) * len(x), C, H, W), floats in [-1, 1] or
            8-bit values.
        x, y: the columns' and the rows' coordinates, ascending.
        labels: what is written at the two axes.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    height, width = images.shape[-2:]
    figure = Figure(figsize=(8, 8 * len(y) / len(x)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _show(axes, grid(images, len(x), gap=0))
    shown = slice(0, None, max(1, len(x) // 8))
    places = [(i + 0.5) * width - 0.5 for i in range(len(x))]
    axes.set_xticks(places[shown], [f"{round(value, 2):g}" for value in x.tolist()[shown]])
    places = [(i + 0.5) * height - 0.5 for i in range(len(y))]
    axes.set_yticks(places[shown], [f"{round(value, 2):g}" for value in y.flip(0).tolist()[shown]])
    axes.set(xlabel=labels[0], ylabel=labels[1])
    return rendered(figure)


def image_table(rows: Tensor, row_names: Sequence[str], column_names: Sequence[str]) -> Tensor:
    """Draw rows of images with what each row and each column is.

    Args:
        rows: (N, K, C, H, W), floats in [-1, 1] or 8-bit values.
        row_names: (N,), at the left.
        column_names: (K,), at the top; none for columns that need no name.

    Returns:
        8-bit values, (3, H', W').
    """
    from matplotlib.figure import Figure

    count, columns, _, height, width = rows.shape
    gap, dpi, dots = 2, DPI, math.ceil(84 / width)  # dots a pixel, so that pixels stay whole
    laid = grid(rows.flatten(0, 1), columns, gap)
    inner = [side * dots / dpi for side in (laid.shape[2], laid.shape[1])]  # inches
    left, rest = 0.2 + 0.08 * max(map(len, row_names)), 0.08
    top = 0.35 if column_names else rest
    whole = left + inner[0] + rest, top + inner[1] + rest
    figure = Figure(figsize=whole, dpi=dpi)
    axes = figure.add_axes((left / whole[0], rest / whole[1],
                            inner[0] / whole[0], inner[1] / whole[1]))  # fmt: skip
    _show(axes, laid)
    axes.set_aspect("auto")  # the axes have the picture's shape but for rounding
    places = [i * (width + gap) + (width - 1) / 2 for i in range(columns)]
    if column_names:
        axes.set_xticks(places, column_names, fontsize=9)
    axes.xaxis.tick_top()
    places = [i * (height + gap) + (height - 1) / 2 for i in range(count)]
    axes.set_yticks(places, row_names, fontsize=9)
    axes.tick_params(length=0)
    return rendered(figure)


def class_shares(
    panels: dict[str, dict[str, Tensor]], class_names: tuple[str, ...], label: str
) -> Tensor:
    """Draw shares of classes as bars, a panel a model.

    Args:
        panels: title -> what is shared out, by its name -> (K,) shares.
        class_names: the K names.
        label: what is written below.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    count = len(class_names)
    figure = Figure(figsize=(1.6 + 4.2 * len(panels), 1.6 + 0.5 * count), dpi=DPI,
                    layout="constrained")  # fmt: skip
    row = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    fills = (("black", ""), ("white", ""), ("white", "////"), ("lightgray", ""))
    places = np.arange(count)
    for axes, (title, series) in zip(row, panels.items(), strict=True):
        height = 0.8 / len(series)
        for number, (name, shares) in enumerate(series.items()):
            colour, hatch = fills[number % len(fills)]
            axes.barh(places - 0.4 + (number + 0.5) * height, shares.numpy(), height,
                      color=colour, hatch=hatch, edgecolor="black", linewidth=0.7,
                      label=name)  # fmt: skip
        axes.set(title=title, xlabel=label)
    row[0].set_yticks(places, class_names)
    row[0].invert_yaxis()
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", frameon=False,
                  ncols=len(fills) if len(panels) > 1 else 1)  # fmt: skip
    return rendered(figure)


def concentration(curves: dict[str, Curve], labels: dict[str, str]) -> Tensor:
    """Draw which share of a whole lies in which share of its parts, above the line of equal parts.

    Args:
        curves: name -> shares of the parts and of the whole, both from 0 to 1.
        labels: what is written at `x` and `y`, and at the line of `equal` parts.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, color=_shade(number), linestyle=_dashes(number), label=name)
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label=labels["equal"])
    axes.set(xlabel=labels["x"], ylabel=labels["y"], xlim=(0, 1), ylim=(0, 1.01))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, handlelength=4, loc="lower right")
    return rendered(figure)


def confusion_matrix(shares: Tensor, class_names: tuple[str, ...]) -> Tensor:
    """Draw which classes a classifier takes for which.

    Args:
        shares: (K, K), the share of each true class, a row, that is given each name, a column.
        class_names: the K names.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    count = len(class_names)
    figure = Figure(figsize=(2 + 0.7 * count, 1.5 + 0.6 * count), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares.numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(count, count):
        share = float(shares[row, column])
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(count), class_names, rotation=45, ha="right")
    axes.set_yticks(range(count), class_names)
    axes.set(xlabel="taken for", ylabel="is")
    return rendered(figure)


def schedules(t: Tensor, alpha_bar: dict[str, Tensor], strips: dict[str, Tensor]) -> "Figure":
    """Draw schedules above one image at moments of each, where each image lies below its time.

    Args:
        t: (K,) times from 0 to 1.
        alpha_bar: of each schedule by its name, (K,).
        strips: of each schedule the image at M moments from t = 0 to t = 1, (M, C, H, W), floats
            in [-1, 1] or 8-bit values.
    """
    from matplotlib.figure import Figure

    rows = {name: grid(strip, len(strip)) for name, strip in strips.items()}
    count = max(len(strip) for strip in strips.values())
    size = max(strip.shape[-1] for strip in strips.values())
    spacing = 1 / (count - 1)  # in t, from image to image
    reach = 0.5 * spacing * size / (size + 2)  # half an image; 2 pixels lie in between
    dpi, columns = DPI, max(row.shape[2] for row in rows.values())
    width = columns * max(1, round(7.5 * dpi / columns)) / dpi  # whole dots a pixel; in inches
    left, bottom, right, top, above, gap = 1.0, 0.5, 0.2, 0.2, 3.2, 0.06
    heights = [width * row.shape[1] / row.shape[2] for row in rows.values()]
    whole = left + width + right, bottom + sum(heights) + gap * len(heights) + above + top
    figure = Figure(figsize=whole, dpi=dpi)

    def placed(y: float, height: float):
        inches = zip((left, y, width, height), whole * 2, strict=True)
        axes = figure.add_axes(tuple(length / side for length, side in inches))
        axes.set_xlim(-reach, 1 + reach)
        return axes

    y = bottom
    for (name, row), height in reversed(list(zip(rows.items(), heights, strict=True))):
        axes = placed(y, height)
        pixels = row.permute(1, 2, 0).squeeze(-1).numpy()  # (H', W') or (H', W', 3)
        axes.imshow(pixels, "gray", vmin=0, vmax=255, aspect="auto", interpolation="nearest",
                    extent=(-reach, 1 + reach, 0, 1))  # fmt: skip
        axes.set_yticks([0.5], [name])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xticks([i * spacing for i in range(count)] if y == bottom else [])
        y += height + gap
    figure.axes[0].xaxis.set_major_formatter("{x:.2g}")
    figure.axes[0].set_xlabel("$t$")
    axes = placed(y, above)
    for number, (name, values) in enumerate(alpha_bar.items()):
        axes.plot(t, values, color=_shade(number), linestyle=_dashes(number), label=name)
    axes.set(ylabel=r"$\bar{\alpha}_t$", ylim=(-0.02, 1.02))
    axes.set_xticks(figure.axes[0].get_xticks(), [])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, handlelength=4)
    return figure


def quality_cost(
    curves: dict[str, Curve],
    points: dict[str, tuple[float, float]],
    real: float,
    labels: dict[str, str],
) -> "Figure":
    """Draw what samples are worth against what they cost, on logarithmic axes.

    Args:
        curves: samplers by their names: their costs and the distances of their samples.
        points: further models by their names: the cost and the distance of each.
        real: the distance of real images, a dashed line.
        labels: what is written at `x` and `y`, in the `title` and at the line of `real` images.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(8, 5.5), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (costs, values)) in enumerate(curves.items()):
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(costs, values, color=_shade(number), linestyle=_dashes(number), marker=marker,
                  label=name)  # fmt: skip
    if points:
        axes.scatter(*zip(*points.values(), strict=True), 45, "black", "X", zorder=3)
    axes.axhline(real, color="black", linestyle=(0, (6, 4)), linewidth=0.9, label=labels["real"])
    axes.set(xlabel=labels["x"], ylabel=labels["y"], title=labels["title"])
    axes.set(xscale="log", yscale="log")
    axes.margins(0.1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, handlelength=4)
    _name_points(figure, axes, points)
    return figure


def _name_points(figure, axes, points: dict[str, tuple[float, float]], line: float = 11) -> None:
    """Write names to the right of points, one above the other where they would meet.

    Args:
        figure, axes: where the points have been drawn.
        points: x and y of each, by its name.
        line: the height of a name, in typographic points.
    """
    figure.draw_without_rendering()  # settles where the axes lie
    free = -math.inf
    for name, point in sorted(points.items(), key=lambda item: item[1][1]):
        height = axes.transData.transform(point)[1] * 72 / figure.dpi
        free = max(height, free + line)
        axes.annotate(name, point, (7, free - height), textcoords="offset points", fontsize=9,
                      va="center")  # fmt: skip


def _shade(number: int):
    from matplotlib import colormaps

    return colormaps[PALETTE](number % 10)


def _dashes(number: int):
    return DASHES[number % len(DASHES)]


def rendered(figure: "Figure") -> Tensor:
    """Return a matplotlib figure as 8-bit values, (3, H, W), without any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)


# What codes are used for -------------------------------------------------------------------------


def curves(
    panels: dict[str, dict[str, Curve]],
    x_label: str,
    levels: dict[str, dict[str, float]] | None = None,
    places: dict[str, float] | None = None,
    ticks: Sequence[float] | None = None,
) -> Tensor:
    """Draw curves over one axis, in panels beside one another that share their names.

    Args:
        panels: what is written at the vertical axis -> the curves by their names; one of a single
            point is a larger mark.
        x_label: what is written below.
        levels: panel -> name -> the height of a line across it.
        places: name -> where a line stands upright in every panel.
        ticks: where the horizontal axis, then logarithmic, has numbers; None for an even axis.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 5.5 * len(panels), 5.5), dpi=DPI, layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (y_label, named) in zip(row, panels.items(), strict=True):
        for number, (name, (x, y)) in enumerate(named.items()):
            axes.plot(x, y, color=_shade(number), linestyle=_dashes(number),
                      marker=MARKERS[number % len(MARKERS)], markersize=5 if len(x) > 1 else 9,
                      label=name)  # fmt: skip
        for number, (name, height) in enumerate((levels or {}).get(y_label, {}).items()):
            axes.axhline(height, color="black", linestyle=DASHES[number % 4], linewidth=0.9,
                         label=name)  # fmt: skip
        for number, (name, place) in enumerate((places or {}).items()):
            axes.axvline(place, color="black", linestyle=DASHES[(number + 2) % 4], linewidth=0.9,
                         label=name)  # fmt: skip
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(alpha=0.3)
        if ticks is not None:
            axes.set_xscale("log")
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
    handles, names = row[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", frameon=False, handlelength=4,
                  ncols=min(len(names), 3))  # fmt: skip
    return rendered(figure)


def shares_right(
    bars: dict[str, dict[str, float]], label: str, chance: float, errors: dict[str, float]
) -> Tensor:
    """Draw shares from 0 to 1 as groups of bars with their numbers above them.

    Args:
        bars: name of a group -> name of a bar, the same in all groups -> its share.
        label: what is written at the vertical axis.
        chance: the share that guessing has, a dotted line.
        errors: name of a group -> the standard error of its shares.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    names = list(next(iter(bars.values())))
    fills = (("dimgray", ""), ("white", "////"), ("lightgray", ""), ("white", "...."))
    figure = Figure(figsize=(2 + 1.5 * len(bars), 5), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        colour, hatch = fills[number % len(fills)]
        places = np.arange(len(bars)) - 0.4 + (number + 0.5) * width
        values = [group[name] for group in bars.values()]
        drawn = axes.bar(places, values, width, color=colour, hatch=hatch, edgecolor="black",
                         linewidth=0.7, yerr=[errors[group] for group in bars], capsize=2,
                         label=name)  # fmt: skip
        axes.bar_label(drawn, [f"{value:.3f}" for value in values], padding=2, fontsize=8)
    axes.axhline(chance, color="black", linestyle=":", linewidth=1, label="guessing")
    axes.set_xticks(range(len(bars)), list(bars))
    axes.set(ylabel=label, ylim=(0, 1.08))
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    figure.legend(loc="outside lower center", frameon=False, ncols=4)
    return rendered(figure)


def grids(panels: dict[str, Tensor], num_columns: int) -> Tensor:
    """Draw grids of images beside one another, below their titles.

    Args:
        panels: title -> images, (N, C, H, W), floats in [-1, 1] or 8-bit values, of one size.
        num_columns: images a row.

    Returns:
        8-bit values, (3, H', W').
    """
    from matplotlib.figure import Figure

    laid = [grid(images, num_columns) for images in panels.values()]
    _, height, width = laid[0].shape
    dpi, apart, above = DPI, 0.25, 0.4
    dots = max(1, round(900 / width))  # a pixel, so that pixels stay whole
    inner = width * dots / dpi, height * dots / dpi  # inches
    whole = apart + (inner[0] + apart) * len(laid), above + inner[1] + apart / 2
    figure = Figure(figsize=whole, dpi=dpi)
    for number, (title, picture) in enumerate(zip(panels, laid, strict=True)):
        left = apart + (inner[0] + apart) * number
        axes = figure.add_axes((left / whole[0], apart / 2 / whole[1],
                                inner[0] / whole[0], inner[1] / whole[1]))  # fmt: skip
        _show(axes, picture)
        axes.set_aspect("auto")
        axes.set_title(title, fontsize=11)
    return rendered(figure)
