"""Pictures, in whatever kind of file -> square 8-bit images."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps

from gdm.data.cache import digest
from gdm.errors import UserError

VERSION = 1  # of what is made of a picture
MAX_16_BIT = 2**16 - 1


def colour_of(background: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour's name or `#rrggbb`.

    Raises:
        UserError: if it is no colour.
    """
    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError as error:
        raise UserError(
            f"dataset.source.background={background}: is no colour; write one such as white, "
            "black or '#7f7f7f'"
        ) from error


def refuse_impossible(channels: int, background: str) -> None:
    """Refuse what no picture can be made of, before any is read.

    Raises:
        UserError: if `background` is no colour, or images have neither one channel nor three.
    """
    colour_of(background)
    if channels not in (1, 3):
        raise UserError(f"dataset.facts.channels={channels}: must be 3, or 1 for grey")


def decoded_picture(
    file: Path | bytes, named: str, resolution: int, channels: int, background: str
) -> tuple[np.ndarray, bytes]:
    """Read a picture as `read_picture` does, and return what `as_square` makes of it."""
    return as_square(read_picture(file, named), resolution, channels, background)


def read_picture(file: Path | bytes, named: str) -> Image.Image:
    """Return the first picture of a file in RGB, or in RGBA where some of it is transparent, as a
    viewer shows it: turned as the camera was held.

    Args:
        file: where it is, or what the file holds.
        named: what the picture is called in messages.

    Raises:
        ValueError: naming the picture, if it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            return _upright_8_bit(image)
    except Exception as error:  # of any kind, as damaged files make Pillow raise
        reason = str(error) or type(error).__name__
        raise ValueError(f"{named}: {reason}") from error


def as_square(
    picture: Image.Image, resolution: int, channels: int, background: str
) -> tuple[np.ndarray, bytes]:
    """Return a picture as a square image, (C, R, R) uint8, and the digest of its original.

    The digest is that of the whole picture before it is made smaller, in colour. So the same
    picture in another kind of file, or made in another size, has the same.

    Args:
        picture: in RGB or RGBA.
        resolution: R.
        channels: C, 3, or 1 for grey.
        background: the colour that transparent pictures lie on.
    """
    original = digest(np.asarray(picture))
    if picture.mode == "RGBA":
        below = Image.new("RGBA", picture.size, (*colour_of(background), 255))
        picture = Image.alpha_composite(below, picture).convert("RGB")
    return squared(picture, resolution, channels=channels), original


def squared(
    picture: Image.Image, resolution: int, side: int | None = None, channels: int = 3
) -> np.ndarray:
    """Cut the middle square out of a picture, and make it larger or smaller.

    Args:
        picture: in RGB.
        resolution: R; where the square has as many pixels or more, each is the mean of its area.
        side: pixels a side of the square; None for the shorter side of the picture.
        channels: C, 3, or 1 for grey.

    Returns:
        (C, R, R) uint8.
    """
    width, height = picture.size
    side = side or min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    method = Image.Resampling.BOX if side >= resolution else Image.Resampling.BICUBIC
    box = (left, top, left + side, top + side)
    square = picture.resize((resolution, resolution), method, box)
    if channels == 1:
        return np.asarray(square.convert("L"))[None]  # (1, R, R)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))  # (3, R, R)


def _upright_8_bit(image: Image.Image) -> Image.Image:
    image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray(_8_bit(np.asarray(image)))
    elif image.mode == "F":
        raise ValueError("its values are floats; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            return image
    return image.convert("RGB")


def _8_bit(values: np.ndarray) -> np.ndarray:
    """Turn 16-bit values into 8-bit ones: 65535 -> 255."""
    if values.min() < 0 or values.max() > MAX_16_BIT:
        raise ValueError("its values are longer than 16 bits")
    return ((values.astype(np.uint32) * 255 + MAX_16_BIT // 2) // MAX_16_BIT).astype(np.uint8)
