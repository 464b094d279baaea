"""Pictures as users have them: files of any kind, read as 8-bit colour."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gdm.files import cache_folder, write_text

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp")
GREY_LEVELS_16_BIT = 257  # of 16 bits that are one of 8: 65535 / 255


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder and those within, in order, as paths from it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if path.suffix.lower() in ENDINGS and not any(part.startswith(".") for part in path.parts)
    )


def read_picture(path: Path, background: str) -> "Image":
    """Return a picture in RGB, upright as its camera was held.

    Args:
        path: the file; of an animation its first picture is read.
        background: the colour behind what is transparent, as Pillow names it.

    Raises:
        ValueError: naming the file, where it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut at 255
                levels = np.asarray(picture).astype(np.float64) / GREY_LEVELS_16_BIT
                picture = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                behind = Image.new("RGBA", picture.size, background)
                picture = Image.alpha_composite(behind, picture.convert("RGBA"))
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error


def squared(picture: "Image", resolution: int) -> np.ndarray:
    """Return the middle square of a picture in a size, (3, R, R) uint8, by areas where it is
    reduced."""
    from PIL import Image, ImageOps

    by_area = min(picture.size) >= resolution
    method = Image.Resampling.BOX if by_area else Image.Resampling.BICUBIC
    square = ImageOps.fit(picture, (resolution, resolution), method)
    return np.asarray(square).transpose(2, 0, 1)


def fingerprint_of(folder: Path, paths: Iterable[Path]) -> str:
    """Return letters that change when a picture does, by its name or its bytes.

    They are kept in the cache as long as nobody touches a file, so that a large folder is read
    once.
    """
    listing = hashlib.sha256(str(folder.resolve()).encode())
    paths = list(paths)
    for path in paths:
        state = (folder / path).stat()
        listing.update(f"{path.as_posix()} {state.st_size} {state.st_mtime_ns}\n".encode())
    kept = cache_folder() / "folders" / f"{listing.hexdigest()[:32]}.txt"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")

    def contents(path: Path) -> str:
        with (folder / path).open("rb") as file:
            return f"{path.as_posix()} {hashlib.file_digest(file, 'sha256').hexdigest()}\n"

    with ThreadPoolExecutor() as pool:
        found = hashlib.sha256("".join(pool.map(contents, paths)).encode()).hexdigest()[:16]
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_text(kept, found)
    return found
