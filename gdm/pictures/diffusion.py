"""Figures of diffusion models: their schedules, and what their samples are worth and cost."""

import math
from typing import TYPE_CHECKING

from torch import Tensor

from gdm.pictures import grids
from gdm.pictures.figures import DPI, MARKERS, Curve, dashes, shade

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    width = columns * max(1, round(7.5 * dpi / columns)) / dpi  # whole dots per pixel; in inches
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
        axes.plot(t, values, color=shade(number), linestyle=dashes(number), label=name)
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
        axes.plot(costs, values, color=shade(number), linestyle=dashes(number), marker=marker,
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
