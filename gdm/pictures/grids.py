"""Images -> one picture of pixels, and its file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gdm.errors import UserError
from gdm.theory.images import to_bytes

if TYPE_CHECKING:
    from PIL import Image


VECTOR_ENDINGS = (".pdf", ".svg")


ENDINGS = (
    ".png",
    *VECTOR_ENDINGS,
)  # that a figure can be written with; pixels only with the first


def grid(x: Tensor, num_columns: int | None = None, gap: int = 2) -> Tensor:
    """Lay images side by side, row by row, on white: (N, C, H, W) -> (C, H', W').

    Args:
        x: the images, floats in [-1, 1] or 8-bit values.
        num_columns: images per row; None for a grid about as wide as high.
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


def sources_and_targets(source: Tensor, x: Tensor, num_columns: int = 4) -> Tensor:
    """Lay each image to the right of what it is to be made from, so many pairs a row; otherwise as
    `grid`. Grey images become colour beside colour."""
    channels = max(source.shape[1], x.shape[1])
    pairs = [images.expand(-1, channels, -1, -1) for images in (source, x)]
    return grid(torch.stack(pairs, dim=1).flatten(0, 1), 2 * num_columns)


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
        scale: side of each pixel, in pixels of the screen, for small images.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    as_pil(enlarged(picture, scale)).save(path, "PNG")


def as_pil(picture: Tensor) -> "Image.Image":
    """Return a picture of 8-bit values, (C, H, W) with one or three channels, as Pillow's."""
    from PIL import Image

    array = picture.permute(1, 2, 0).numpy()  # (H, W, C)
    return Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)


def enlarged(picture: Tensor, scale: int) -> Tensor:
    """Return a picture whose pixels are so many times as large, (C, H, W) -> (C, H', W')."""
    return picture.repeat_interleave(scale, 1).repeat_interleave(scale, 2)


def save_animation(frames: Tensor, path: Path, scale: int = 1, milliseconds: int = 80) -> None:
    """Write pictures of 8-bit values, (T, C, H, W), one after another and without end, as GIF.

    Args:
        frames: the pictures, with one or three channels.
        path: where to write them.
        scale: side of each pixel, in pixels of the screen.
        milliseconds: that each is shown.
    """
    shown = [as_pil(enlarged(frame, scale)) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    shown[0].save(path, "GIF", save_all=True, append_images=shown[1:], duration=milliseconds,
                  loop=0)  # fmt: skip
