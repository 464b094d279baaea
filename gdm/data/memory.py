"""Images in files that are mapped to memory, which is given back from time to time."""

import math
import mmap
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from gdm.errors import UserError
from gdm.files import cache_folder

HELD_BYTES = 2**28  # of mapped files in memory at a time; images that are more go to a file

_maps: WeakSet[mmap.mmap] = WeakSet()  # the files that are mapped now
_read_bytes = 0  # of them, since their memory was given back
_other_bytes = 0  # of files that this process held then, mostly libraries


def mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Map a file of 8-bit values to memory, to be read only."""
    with path.open("rb") as file:
        return _mapped(file, shape)


def gathered(parts: Iterable[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Return 8-bit images that come a part at a time as one tensor of this shape.

    Many images are mapped from a file without a name, which goes with the process.

    Raises:
        UserError: if there is no room for it.
    """
    if math.prod(shape) <= HELD_BYTES:
        return torch.cat(list(parts))
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            for part in parts:
                file.write(part.contiguous().numpy())
                note_read(part)
            file.flush()
            return _mapped(file, shape)
    except OSError as error:
        raise no_room("these images", folder, error) from error


def note_read(images: Tensor) -> None:
    """Count images that have been read, and give back the memory of mapped files at times."""
    global _read_bytes
    if not _maps:
        return
    _read_bytes += images.numel()
    held = _file_bytes()  # Linux maps up to 2 MiB around each place that is read
    if (_read_bytes if held is None else held - _other_bytes) > HELD_BYTES:
        release_memory()


def release_memory() -> None:
    """Give back the memory that mapped files take; what is read again comes from the system's
    cache, or from the disk where the files are larger than the memory."""
    global _read_bytes, _other_bytes
    if _maps and hasattr(mmap, "MADV_DONTNEED"):
        for values in list(_maps):
            values.madvise(mmap.MADV_DONTNEED)
        _read_bytes, _other_bytes = 0, _file_bytes() or 0


def _file_bytes() -> int | None:
    """Return the memory of files that this process holds; None where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return None


def _mapped(file: IO[bytes], shape: tuple[int, ...]) -> Tensor:
    values = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):  # else each image is read with its neighbours, in vain
        values.madvise(mmap.MADV_RANDOM)
    _maps.add(values)
    release_memory()  # and note what else is held
    with warnings.catch_warnings():  # of writing to it, which nobody does
        warnings.simplefilter("ignore")
        return torch.from_numpy(np.frombuffer(values, np.uint8).reshape(shape))


def no_room(called: str, folder: Path, error: OSError) -> UserError:
    """Return what is said of images that cannot be written."""
    return UserError(
        f"{called} cannot be kept in {folder} ({error}); make room there, or name another folder "
        "in GDM_DATA"
    )
