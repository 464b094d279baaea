"""Maps of codes and of the plane that they lie in."""

import math
from typing import Any

import torch
from torch import Tensor

from gdm.pictures import grids
from gdm.pictures.figures import DPI, MANY_CLASSES, MARKERS, PALETTE, rendered
from gdm.pictures.tables import show_pixels
from gdm.theory.images import to_bytes

NAMES_A_COLUMN = 36  # of a legend of many classes
LEAST_ASPECT = 0.5  # of the shorter side of a map to the longer


Contours = tuple[Tensor, Tensor, Tensor, dict[str, float]]  # x, y, heights (y, x), name -> level


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
        class_names: the classes' names; none of images without classes, which are all grey.
        sampled: (M, 2) points to draw in black and number from 0; None for none.
        contours: of the density that they are sampled from, or of its logarithm; None for none.
        axis_names: of the plane.
        images: what the points decode to, which is shown beside the map, (M, C, H, W), floats in
            [-1, 1] or 8-bit values; None for none.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    wider = 1.3 * (_legend(class_names)["ncols"] - 1)  # inches
    figure = Figure(figsize=((8 if images is None else 13) + wider, 6.5), dpi=DPI,
                    layout="constrained")  # fmt: skip
    widths = [1] if images is None else [1.35 + wider / 6, 1]
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
    if class_names or sampled is not None:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), **_legend(class_names))
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
    if not class_names:
        axes.scatter(*codes.T.numpy(), 14, "gray", alpha=0.55, linewidths=0)
    for number, name in enumerate(class_names):
        x, y = codes[label == number].T.numpy()
        marker = MARKERS[(number + number // len(MARKERS)) % len(MARKERS)]  # none twice of 100
        axes.scatter(
            x, y, 14, [colours(number % 10)], marker, alpha=0.55, linewidths=0, label=name
        )


def _legend(class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return how a legend is laid out that has so many names and perhaps one more."""
    if len(class_names) <= MANY_CLASSES:
        return {"frameon": False, "markerscale": 2, "ncols": 1}
    columns = math.ceil((len(class_names) + 1) / NAMES_A_COLUMN)
    return {"frameon": False, "markerscale": 1.2, "ncols": columns, "fontsize": 6}


def _name_classes(
    figure, axes, codes: Tensor, label: Tensor, class_names: tuple[str, ...], line: float = 13
) -> None:
    """Write each class's name over the middle of its codes, above another where they would meet;
    of many classes small, and not where others are written, since the legend has them all.

    Args:
        figure, axes: where the codes have been drawn.
        codes, label, class_names: as in `latent_map`.
        line: the height of a name, in typographic points.
    """
    from matplotlib.patheffects import withStroke

    present = [number for number in range(len(class_names)) if (label == number).any()]
    middles = {class_names[number]: codes[label == number].median(0).values for number in present}
    many = len(class_names) > MANY_CLASSES
    size, letter = (6, 2.0) if many else (9, 3.2)  # points; half of a letter's width
    figure.draw_without_rendering()  # settles where the axes lie
    written: list[tuple[float, float, float]] = []  # left, right and height of each, in points
    for name, middle in sorted(middles.items(), key=lambda item: float(item[1][1])):
        x, y = axes.transData.transform(middle.tolist()) * 72 / figure.dpi
        reach, place = letter * len(name) + 4, y
        for left, right, height in sorted(written, key=lambda each: each[2]):
            if left < x + reach and x - reach < right and abs(place - height) < line:
                place = height + line
        if many and place > y:
            continue
        written.append((x - reach, x + reach, place))
        axes.annotate(name, middle.tolist(), (0, place - y), textcoords="offset points",
                      ha="center", va="center", fontsize=size, weight="bold",
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
    gap = max(8, height // 4)  # of what is larger, pixels are drawn smaller
    show_pixels(axes, grids.grid(images, columns, gap=gap), top=gap)
    for number in range(len(images)):
        row, column = divmod(number, columns)
        axes.text(column * (width + gap), row * (height + gap) - gap * 0.19, str(number),
                  fontsize=7)  # fmt: skip


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

    look = _legend(class_names)
    wide = 1.8 + 1.3 * (look["ncols"] - 1) + 4.6 * len(panels)
    figure = Figure(figsize=(wide, 5), dpi=DPI, layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (title, codes) in zip(row, panels.items(), strict=True):
        _scatter(axes, codes, label, class_names)
        for name, radius in circles.items():
            axes.add_patch(Circle((0, 0), radius, fill=False, linewidth=0.9))
            axes.text(0, radius, name, ha="center", va="bottom", fontsize=7)
        axes.set(title=title, xlabel="whitened codes", aspect="equal", xlim=(-4, 4), ylim=(-4, 4))
    if class_names:
        figure.legend(*row[0].get_legend_handles_labels(), loc="outside right center", **look)
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
    show_pixels(axes, grids.grid(images, len(x), gap=0))
    shown = slice(0, None, max(1, len(x) // 8))
    places = [(i + 0.5) * width - 0.5 for i in range(len(x))]
    axes.set_xticks(places[shown], [f"{round(value, 2):g}" for value in x.tolist()[shown]])
    places = [(i + 0.5) * height - 0.5 for i in range(len(y))]
    axes.set_yticks(places[shown], [f"{round(value, 2):g}" for value in y.flip(0).tolist()[shown]])
    axes.set(xlabel=labels[0], ylabel=labels[1])
    return rendered(figure)
