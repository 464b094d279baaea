"""Arrays -> pictures: grids, pairs and latent maps, the one place that draws."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PALETTE = "tab10"
MARKERS = "os^vD<>pP*"  # classes stay apart in grey print


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


def _rendered(figure) -> Tensor:
    """Return a matplotlib figure as 8-bit values, (3, H, W), without any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)
