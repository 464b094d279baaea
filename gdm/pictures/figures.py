"""Arrays -> figures: curves, bars, tables of images."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gdm.files import durable_replacement
from gdm.pictures import grids

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200  # dots an inch of what matplotlib draws, enough for print
PALETTE = "tab10"
MARKERS = "os^vD<>pP*"  # classes stay apart in grey print
DASHES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))  # and lines
LETTERS_ABOVE = 14  # of a name above an image
MANY_CLASSES = 20  # above which classes are written small, and without their numbers
Curve = tuple[Sequence[float], Sequence[float]]  # x and y


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a matplotlib figure as what the path ends in, PNG, PDF or SVG, the same every time."""
    from matplotlib import rc_context

    kind = path.suffix.lower()
    dates = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "gdm"}), durable_replacement(path) as temporary:
        figure.savefig(temporary, format=kind.removeprefix("."), metadata=dates.get(kind))


def show_pixels(axes, picture: Tensor, top: int = 0) -> None:
    """Show 8-bit values, (C, H, W), without a frame, on `top` pixels of white."""
    white = torch.full((picture.shape[0], top, picture.shape[2]), 255, dtype=torch.uint8)
    pixels = torch.cat([white, picture], 1).permute(1, 2, 0).squeeze(-1).numpy()
    height, width = pixels.shape[:2]
    axes.imshow(pixels, "gray", vmin=0, vmax=255, interpolation="nearest",
                extent=(-0.5, width - 0.5, height - top - 0.5, -top - 0.5))  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


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
    laid = grids.grid(rows.flatten(0, 1), columns, gap)
    inner = [side * dots / dpi for side in (laid.shape[2], laid.shape[1])]  # inches
    left, rest = 0.2 + 0.08 * max(map(len, row_names)), 0.08
    top = 0.35 if column_names else rest
    whole = left + inner[0] + rest, top + inner[1] + rest
    figure = Figure(figsize=whole, dpi=dpi)
    axes = figure.add_axes((left / whole[0], rest / whole[1],
                            inner[0] / whole[0], inner[1] / whole[1]))  # fmt: skip
    show_pixels(axes, laid)
    axes.set_aspect("auto")  # the axes have the picture's shape but for rounding
    places = [i * (width + gap) + (width - 1) / 2 for i in range(columns)]
    if column_names:
        axes.set_xticks(places, column_names, fontsize=9)
    axes.xaxis.tick_top()
    places = [i * (height + gap) + (height - 1) / 2 for i in range(count)]
    axes.set_yticks(places, row_names, fontsize=9)
    axes.tick_params(length=0)
    return rendered(figure)


def named_images(images: Tensor, names: Sequence[str], num_columns: int) -> Tensor:
    """Draw images in rows, each with its own name above it.

    Args:
        images: (N, C, H, W), floats in [-1, 1] or 8-bit values.
        names: (N,); long ones are cut short.
        num_columns: images a row.

    Returns:
        8-bit values, (3, H', W').
    """
    from matplotlib.figure import Figure

    height, width = images.shape[-2:]
    across = round(width / LETTERS_ABOVE)  # of a letter, in pixels of the images
    above = 3 * across
    laid = grids.grid(images, num_columns, gap=above)
    dots = math.ceil(0.07 * DPI / across)  # a pixel, so that a letter of 6 points has room
    sides = laid.shape[2] * dots / DPI, (laid.shape[1] + above) * dots / DPI  # inches
    figure = Figure(figsize=sides, dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    show_pixels(axes, laid, top=above)
    axes.set_aspect("auto")
    for number, name in enumerate(names):
        row, column = divmod(number, num_columns)
        short = name if len(name) <= LETTERS_ABOVE else f"{name[: LETTERS_ABOVE - 1]}."
        axes.text(column * (width + above), row * (height + above) - across, short, fontsize=6)
    return rendered(figure)


def class_shares(
    panels: dict[str, dict[str, Tensor]], class_names: tuple[str, ...], label: str
) -> Tensor:
    """Draw shares of classes as bars, one panel per model.

    Args:
        panels: title -> what is shared out, by its name -> (K,) shares.
        class_names: the K names.
        label: what is written below.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    count = len(class_names)
    each, size = (0.5, None) if count <= MANY_CLASSES else (0.16, 6)  # inches, and points
    figure = Figure(figsize=(1.6 + 4.2 * len(panels), 1.6 + each * count), dpi=DPI,
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
    row[0].set_yticks(places, class_names, fontsize=size)
    row[0].margins(y=0.05 if count <= MANY_CLASSES else 0.005)
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
    """Draw which classes a classifier takes for which, of few classes with numbers.

    Args:
        shares: (K, K), the share of each true class, a row, that is given each name, a column.
        class_names: the K names.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    count = len(class_names)
    is_few = count <= MANY_CLASSES
    width, height, size = (0.7, 0.6, None) if is_few else (0.13, 0.13, 6)  # inches, and points
    figure = Figure(figsize=(2 + width * count, 1.5 + height * count), dpi=DPI,
                    layout="constrained")  # fmt: skip
    axes = figure.add_subplot()
    axes.imshow(shares.numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(count, count) if is_few else ():
        share = float(shares[row, column])
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour)
    turned = {"rotation": 45, "ha": "right"} if is_few else {"rotation": 90}
    axes.set_xticks(range(count), class_names, fontsize=size, **turned)
    axes.set_yticks(range(count), class_names, fontsize=size)
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

    rows = {name: grids.grid(strip, len(strip)) for name, strip in strips.items()}
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


def titled_grids(panels: dict[str, Tensor], num_columns: int) -> Tensor:
    """Draw grids of images beside one another, below their titles.

    Args:
        panels: title -> images, (N, C, H, W), floats in [-1, 1] or 8-bit values, of one size.
        num_columns: images a row.

    Returns:
        8-bit values, (3, H', W').
    """
    from matplotlib.figure import Figure

    laid = [grids.grid(images, num_columns) for images in panels.values()]
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
        show_pixels(axes, picture)
        axes.set_aspect("auto")
        axes.set_title(title, fontsize=11)
    return rendered(figure)
