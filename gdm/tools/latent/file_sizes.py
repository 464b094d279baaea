"""What images weigh as files: JPEG and PNG, with and without what every file repeats."""

import io
import struct

import numpy as np
import torch
from torch import Tensor

START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
SIGNATURE = 8  # bytes that every PNG begins with


def jpeg(image: Tensor, quality: int) -> tuple[int, int, Tensor]:
    """Write an image as JPEG.

    Args:
        image: 8-bit values, (C, H, W).
        quality: from 1 to 95, as Pillow takes it.

    Returns:
        The bytes of the whole file, with tables made for the image if that is shorter; the bytes
        of its compressed data alone, with the standard's tables, which whoever reads it has; and
        the image that is read back, 8-bit values (C, H, W).
    """
    standard = _written(image, "JPEG", quality=quality)
    own_tables = _written(image, "JPEG", quality=quality, optimize=True)
    whole = min(len(standard), len(own_tables))
    return whole, len(jpeg_scan(standard)), _read(standard)


def png(image: Tensor) -> tuple[int, int]:
    """Write an image, 8-bit values (C, H, W), as PNG, without any loss.

    Returns:
        The bytes of the whole file, and those of its compressed data alone.
    """
    written = _written(image, "PNG", optimize=True)
    return len(written), png_data(written)


def jpeg_scan(written: bytes) -> bytes:
    """Return the entropy-coded data of a baseline JPEG, between its headers and its end."""
    place = 2  # after the start of the image
    while True:
        marker, length = written[place + 1], struct.unpack(">H", written[place + 2 : place + 4])[0]
        place += 2 + length
        if marker == START_OF_SCAN:
            return written[place : written.rindex(END_OF_IMAGE)]


def png_data(written: bytes) -> int:
    """Return the number of bytes of compressed data in a PNG."""
    place, total = SIGNATURE, 0
    while place < len(written):
        length, kind = struct.unpack(">I4s", written[place : place + 8])
        total += length if kind == b"IDAT" else 0
        place += length + 12  # with length, kind and checksum
    return total


def _written(image: Tensor, kind: str, **options) -> bytes:
    from PIL import Image

    array = image.permute(1, 2, 0).numpy()  # (H, W, C)
    array = array.squeeze(-1) if array.shape[-1] == 1 else array
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def _read(written: bytes) -> Tensor:
    from PIL import Image

    array = np.array(Image.open(io.BytesIO(written)))
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(array).permute(2, 0, 1)
