"""Images -> tables and grids of them, with what each row, column or grid is."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gdm.pictures import grids
from gdm.pictures.figures import DPI, rendered

LETTERS_ABOVE = 14  # of a name above an image


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
    gap, dpi, dots = 2, DPI, math.ceil(84 / width)  # dots per pixel, so that pixels stay whole
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


def titled_grids(panels: dict[str, Tensor], num_columns: int) -> Tensor:
    """Draw grids of images beside one another, below their titles.

    Args:
        panels: title -> images, (N, C, H, W), floats in [-1, 1] or 8-bit values, of one size.
        num_columns: images per row.

    Returns:
        8-bit values, (3, H', W').
    """
    from matplotlib.figure import Figure

    laid = [grids.grid(images, num_columns) for images in panels.values()]
    _, height, width = laid[0].shape
    dpi, apart, above = DPI, 0.25, 0.4
    dots = max(1, round(900 / width))  # per pixel, so that pixels stay whole
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


def named_images(images: Tensor, names: Sequence[str], num_columns: int) -> Tensor:
    """Draw images in rows, each with its own name above it.

    Args:
        images: (N, C, H, W), floats in [-1, 1] or 8-bit values.
        names: (N,); long ones are cut short.
        num_columns: images per row.

    Returns:
        8-bit values, (3, H', W').
    """
    from matplotlib.figure import Figure

    height, width = images.shape[-2:]
    across = max(1, round(width / LETTERS_ABOVE))  # of a letter, in pixels of the images
    above = 3 * across
    laid = grids.grid(images, num_columns, gap=above)
    dots = math.ceil(0.07 * DPI / across)  # per pixel, so that a letter of 6 points has room
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
