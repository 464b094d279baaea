"""Files that are whole or not there: durable writing, checksums, downloads."""

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

CHUNK = 1 << 20  # bytes


@contextmanager
def durable_replacement(path: Path) -> Iterator[Path]:
    """Lend a temporary name in the same folder, whose file then takes the place of `path`.

    The bytes are on the disk before the name changes hands, so that a crash leaves the old file
    or the new one. If the block fails, the temporary file is removed and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.chmod(temporary, 0o666 & ~_umask())  # temporary files are private
        os.replace(temporary, path)
        _flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file durably."""
    with durable_replacement(path) as temporary:
        temporary.write_text(text)


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    return checksum(path, "sha256")


def checksum(path: Path, algorithm: str) -> str:
    """Return the checksum of a file, in hexadecimal, by an algorithm of hashlib."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def download(url: str, path: Path, timeout: float = 30.0) -> None:
    """Fetch a file into `path`, from its start, a chunk at a time.

    Args:
        url: where it is.
        path: where it goes; the caller lends a temporary name and verifies what came.
        timeout: seconds of silence after which the server is given up.

    Raises:
        OSError: if the server cannot be reached, or the connection breaks.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "gdm"})
    with urllib.request.urlopen(request, timeout=timeout) as answer, path.open("wb") as file:
        while chunk := answer.read(CHUNK):
            file.write(chunk)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
