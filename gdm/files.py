"""Files that are whole or not there: durable writing and downloads."""

import functools
import glob
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from gdm.errors import UserError


@contextmanager
def durable_replacement(path: Path) -> Iterator[Path]:
    """Lend a temporary name in the same folder, whose file then takes the place of `path`.

    The bytes are on the disk before the name changes hands, so that a crash leaves the old file
    or the new one. If the block fails, the temporary file is removed and `path` is as it was; if
    the process is killed, `remove_leftovers` removes it later.

    Raises:
        OSError: if the folder cannot be written to, or the disk is full, or `path` is a device
            or another thing that is no regular file.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is no regular file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # temporary files are private
        flush_to_disk(temporary)
        os.replace(temporary, path)
        flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` have left beside it.

    The caller sees to it that nobody writes it now.
    """
    random = "?" * 8  # as many letters as tempfile takes
    for left in path.parent.glob(f".{glob.escape(path.name)}.{random}"):
        left.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return where downloads and what is computed once are kept: `$GDM_DATA` or `~/.cache/gdm`."""
    return Path(os.environ.get("GDM_DATA") or "~/.cache/gdm").expanduser()


def named_file(to: str | Path, example: str) -> Path:
    """Return the file that is to be written, once it is clear that it can be.

    Args:
        to: the file, as a user names it by `to=`.
        example: a name that a file in a folder could have.

    Raises:
        UserError: if it is a folder or a device, or its folder cannot be written to.
    """
    path = Path(to)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = stat.S_IFREG  # what it will be
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        raise _unwritable(to, error) from error
    if stat.S_ISDIR(mode):
        raise UserError(f"to={path}: is a folder; name a file in it, such as {example}")
    if not stat.S_ISREG(mode):
        raise UserError(f"to={path}: is a device, a pipe or a socket; name a file")
    named_folder(path.parent, path)
    return path


def named_folder(folder: Path, to: Path) -> Path:
    """Make a folder that is to be written to, and return it.

    Raises:
        UserError: if `to`, what a user named by `to=`, cannot be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except (OSError, ValueError) as error:
        raise _unwritable(to, error) from error


def _unwritable(to: str | Path, error: Exception) -> UserError:
    return UserError(f"to={to}: cannot be written ({error}); name another place")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process at the latest.

    Raises:
        UserError: if another process holds it, or there can be no lock.
    """
    if path.is_symlink():  # it would be opened wherever it leads to
        raise UserError(f"{path} is a link, which a lock never is; remove it")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{path.parent} is in use: another process trains there") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error})") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock that `locked` gives."""
    if not path.is_file() or path.is_symlink():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except OSError:  # somebody has it, or it is another user's
        return True


def write_text(path: Path, text: str) -> None:
    """Write a small file durably, in UTF-8."""
    with durable_replacement(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def download(url: str, path: Path, timeout: float = 30.0) -> None:
    """Fetch a file into `path`, from its start.

    Args:
        url: where it is.
        path: where it goes; the caller lends a temporary name and verifies what came.
        timeout: seconds of silence after which the server is given up.

    Raises:
        URLError: if the server cannot be reached, or does not have the file.
        OSError: if the connection breaks before the end; what came is left in `path`.
    """
    request = Request(url, headers={"User-Agent": "gdm"})
    try:
        with urlopen(request, timeout=timeout) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
            size, announced = file.tell(), answer.headers["Content-Length"]
    except HTTPException as error:
        raise OSError(f"the connection broke: {error!r}") from error
    if announced is not None and size != int(announced):
        raise OSError(f"the connection broke after {size:,} of {int(announced):,} bytes")


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    on_windows = os.name == "nt"  # it flushes only what is open for writing, and no folders
    if on_windows and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@functools.cache  # asked once: between the two calls a file of another thread would be open to all
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
