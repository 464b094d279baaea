"""Numbers -> figures: curves, bars, and what all figures of matplotlib share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gdm.files import durable_replacement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200  # dots per inch of what matplotlib draws, enough for print
PALETTE = "tab10"
MARKERS = "os^vD<>pP*"  # classes stay apart in grey print
DASHES = ("-", "--", "-.", ":", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))  # and lines
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


def rendered(figure: "Figure") -> Tensor:
    """Return a matplotlib figure as 8-bit values, (3, H, W), without any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)


def shade(number: int) -> tuple[float, ...]:
    """Return the colour of a line by its number."""
    from matplotlib import colormaps

    return colormaps[PALETTE](number % 10)


def dashes(number: int) -> str | tuple:
    """Return the dashes of a line by its number."""
    return DASHES[number % len(DASHES)]


def class_fractions(
    panels: dict[str, dict[str, Tensor]], class_names: tuple[str, ...], label: str
) -> Tensor:
    """Draw fractions of classes as bars, one panel per model.

    Args:
        panels: title -> what they are fractions of, by its name -> (K,) fractions.
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
        for number, (name, fractions) in enumerate(series.items()):
            colour, hatch = fills[number % len(fills)]
            axes.barh(places - 0.4 + (number + 0.5) * height, fractions.numpy(), height,
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
    """Draw how much of a whole lies in which fraction of its parts, above the line of equal parts.

    Args:
        curves: name -> fractions of the parts and of the whole, both from 0 to 1.
        labels: what is written at `x` and `y`, and at the line of `equal` parts.

    Returns:
        8-bit values, (3, H, W).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, color=shade(number), linestyle=dashes(number), label=name)
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label=labels["equal"])
    axes.set(xlabel=labels["x"], ylabel=labels["y"], xlim=(0, 1), ylim=(0, 1.01))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda fraction, _: f"{100 * fraction:.0f} %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, handlelength=4, loc="lower right")
    return rendered(figure)


def confusion_matrix(fractions: Tensor, class_names: tuple[str, ...]) -> Tensor:
    """Draw which classes a classifier takes for which, of few classes with numbers.

    Args:
        fractions: (K, K), how much of each true class, a row, is given each name, a column.
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
    axes.imshow(fractions.numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(count, count) if is_few else ():
        fraction = float(fractions[row, column])
        colour = "white" if fraction > 0.5 else "black"
        axes.text(column, row, f"{fraction:.2f}", ha="center", va="center", color=colour)
    turned = {"rotation": 45, "ha": "right"} if is_few else {"rotation": 90}
    axes.set_xticks(range(count), class_names, fontsize=size, **turned)
    axes.set_yticks(range(count), class_names, fontsize=size)
    axes.set(xlabel="taken for", ylabel="is")
    return rendered(figure)


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
            axes.plot(x, y, color=shade(number), linestyle=dashes(number),
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


def accuracy_bars(
    bars: dict[str, dict[str, float]], label: str, chance: float, errors: dict[str, float]
) -> Tensor:
    """Draw accuracies as groups of bars with their numbers above them.

    Args:
        bars: name of a group -> name of a bar, the same in all groups -> its accuracy.
        label: what is written at the vertical axis.
        chance: the accuracy of guessing, a dotted line.
        errors: name of a group -> the standard error of its accuracies.

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
