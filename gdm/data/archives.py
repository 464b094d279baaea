"""Files that are known by their size and checksum, and the pictures that are packed in them."""

import hashlib
import io
import tarfile
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from PIL import Image

from gdm.data.decoding import squared

_verified: set[tuple] = set()  # files whose checksum this process has computed and found right


@dataclass(frozen=True)
class KnownFile:
    """A file of a data set that is known by its size and checksum.

    Args:
        name: the file's name.
        num_bytes: its size.
        sha256: its checksum.
    """

    name: str
    num_bytes: int
    sha256: str

    def read(self, path: Path) -> Any:
        """Verify the file; a file of a known kind returns what it holds.

        Raises:
            ValueError: saying what is wrong with the file.
        """
        self.verify(path)

    def verify(self, path: Path) -> None:
        """Compare size and checksum; the checksum once a process, as long as the file stays.

        Raises:
            ValueError: if either is another.
        """
        facts = path.stat()
        # Without its path: a download is verified before it gets its name.
        identity = (self.sha256, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if identity in _verified:
            return
        if facts.st_size != self.num_bytes:
            raise ValueError(f"it has {facts.st_size:,} bytes, expected {self.num_bytes:,}")
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != self.sha256:
            raise ValueError(f"it has SHA-256 {actual}, expected {self.sha256}")
        _verified.add(identity)


class MatFile(KnownFile):
    """A file of MATLAB's, of version 5."""

    def read(self, path: Path) -> dict[str, np.ndarray]:
        """Return its variables by name, once it is verified.

        Raises:
            ValueError: saying what is wrong with the file.
        """
        from scipy.io import loadmat  # slow to import, and few data sets need it

        self.verify(path)
        return loadmat(path)


class PackedPictures:
    """The files in an archive, which is opened once the first of them is read.

    Threads take turns: reading takes a small part of the time of decoding, and the list of the
    names in a large archive more memory than each thread should have.

    Args:
        locate: returns where the archive is, verified.
        unpack: archive -> what returns the contents of a file in it, by name.
    """

    def __init__(
        self, locate: Callable[[], Path], unpack: Callable[[Path], Callable[[str], bytes]]
    ) -> None:
        self._locate = locate
        self._unpack = unpack
        self._lock = threading.Lock()
        self._contents: Callable[[str], bytes] | None = None
        self._failure: Exception | None = None

    def read(self, name: str) -> bytes:
        """Return the contents of one file.

        Raises:
            ValueError: if there is no such file, or it cannot be unpacked.
            UserError: if the archive cannot be had.
        """
        with self._lock:
            self._open()
            try:
                return self._contents(name)
            except KeyError as error:
                raise ValueError(f"{name} is not in the archive") from error
            except (BadZipFile, zlib.error, EOFError) as error:
                raise ValueError(f"{name} cannot be unpacked: {error}") from error

    def _open(self) -> None:
        if self._failure is not None:  # another thread has tried
            raise self._failure
        if self._contents is None:
            try:
                self._contents = self._unpack(self._locate())
            except Exception as error:
                self._failure = error
                raise


def in_zip(path: Path) -> Callable[[str], bytes]:
    """Open a zip archive, of which nothing is unpacked before it is asked for."""
    return ZipFile(path).read


def in_tar(path: Path) -> Callable[[str], bytes]:
    """Read a tar archive into memory, packed or not: it can only be read from its start."""
    with tarfile.open(path, "r:*") as archive:
        files = (member for member in archive if member.isfile())
        return {member.name: archive.extractfile(member).read() for member in files}.__getitem__


def square_of(contents: bytes, name: str, side: int | None, resolution: int) -> np.ndarray:
    """Cut the middle square out of a picture: (3, R, R) uint8, each pixel the mean of its area.

    Args:
        contents: the picture's file.
        name: what it is called in messages.
        side: pixels a side of the square; None for the shorter side of the picture.
        resolution: R.

    Raises:
        ValueError: if it is no picture, or a smaller one.
    """
    try:
        with Image.open(io.BytesIO(contents)) as file:
            picture = file.convert("RGB")
    except (OSError, SyntaxError) as error:  # the latter of some damaged PNG files
        raise ValueError(f"{name} cannot be decoded: {error}") from error
    width, height = picture.size
    if side is not None and side > min(width, height):
        raise ValueError(f"{name} has {width} x {height} pixels, expected {side} or more a side")
    return squared(picture, resolution, side)
