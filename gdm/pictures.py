"""Arrays -> pictures: grids, pairs, latent maps and curves, the one place that draws."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PALETTE = "tab10"
MARKERS = "os^vD<>pP*"  # classes stay apart in grey print
DASHES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))  # and lines
Curve = tuple[Sequence[float], Sequence[float]]  # x and y


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


def save(picture: Tensor, path: Path, scale: int = 1) -> None:
    """Write a picture of 8-bit values, (C, H, W) with one or three channels, as PNG.

    Args:
        picture: the picture.
        path: where to write it.
        scale: number of screen pixels a side of each pixel, for small images.
    """
    from PIL import Image

    picture = picture.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    array = picture.permute(1, 2, 0).numpy()  # (H, W, C)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(path, "PNG")


def latent_map(
    codes: Tensor, label: Tensor, class_names: tuple[str, ...], sampled: Tensor | None = None
) -> Tensor:
    """Draw codes in the plane, coloured by class, and sampled points over them.

    Args:
        codes: (N, 2).
        label: (N,) classes.
        class_names: the classes' names.
        sampled: (M, 2) points to draw in black and number from 0; None for none.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps[PALETTE]
    for number, name in enumerate(class_names):
        x, y = codes[label == number].T.numpy()
        marker = MARKERS[number % len(MARKERS)]
        axes.scatter(x, y, 9, [colours(number % 10)], marker, alpha=0.55, linewidths=0, label=name)
    if sampled is not None:
        x, y = sampled.T.numpy()
        axes.scatter(x, y, 22, "black", label="sampled")
        for number, (left, bottom) in enumerate(sampled.tolist()):
            axes.annotate(str(number), (left, bottom), (2, 2), textcoords="offset points",
                          fontsize=7)  # fmt: skip
    axes.set(xlabel="$z_1$", ylabel="$z_2$")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    return _rendered(figure)


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
    figure = Figure(figsize=(2 + 0.7 * count, 1.5 + 0.6 * count), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares.numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(count, count):
        share = float(shares[row, column])
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(count), class_names, rotation=45, ha="right")
    axes.set_yticks(range(count), class_names)
    axes.set(xlabel="taken for", ylabel="is")
    return _rendered(figure)


def schedules(t: Tensor, alpha_bar: dict[str, Tensor], strips: dict[str, Tensor]) -> Tensor:
    """Draw schedules above one image at moments of each, where each image lies below its time.

    Args:
        t: (K,) times from 0 to 1.
        alpha_bar: of each schedule by its name, (K,).
        strips: of each schedule the image at M moments from t = 0 to t = 1, (M, C, H, W), floats
            in [-1, 1] or 8-bit values.

    Returns:
        8-bit values, (3, H', W').
    """
    from matplotlib.figure import Figure

    rows = {name: grid(strip, len(strip)) for name, strip in strips.items()}
    count = max(len(strip) for strip in strips.values())
    size = max(strip.shape[-1] for strip in strips.values())
    spacing = 1 / (count - 1)  # in t, from image to image
    reach = 0.5 * spacing * size / (size + 2)  # half an image; 2 pixels lie in between
    dpi, columns = 120, max(row.shape[2] for row in rows.values())
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
    return _rendered(figure)


def quality_cost(
    curves: dict[str, Curve],
    points: dict[str, tuple[float, float]],
    real: float,
    labels: dict[str, str],
) -> Tensor:
    """Draw what samples are worth against what they cost, on logarithmic axes.

    Args:
        curves: samplers by their names: their costs and the distances of their samples.
        points: further models by their names: the cost and the distance of each.
        real: the distance of real images, a dashed line.
        labels: what is written at `x` and `y`, in the `title` and at the line of `real` images.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(8, 5.5), dpi=120, layout="constrained")
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
    return _rendered(figure)


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


def _rendered(figure) -> Tensor:
    """Return a matplotlib figure as 8-bit values, (3, H, W), without any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)
