"""What lies in a folder of a user's own, and letters that change when any of it does."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gdm.errors import UserError
from gdm.files import cache_folder, write_text

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp")


def existing_folder(folder: Path | None) -> Path:
    """Return the folder that a user has named.

    Raises:
        UserError: if none was named, or it is not there.
    """
    if folder is None:
        raise UserError(
            "dataset.source.folder=null: name the folder of your images: "
            "dataset.source.folder=FOLDER"
        )
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "there is no such folder"
        raise UserError(f"dataset.source.folder={folder}: {what}")
    return folder


def files_in(folder: Path) -> list[Path]:
    """Return all files at any depth that are not hidden, in order.

    Folders that links lead to are looked into once.

    Raises:
        UserError: if a folder cannot be looked into, since its pictures would be missing.
    """
    return sorted(_walk(folder))


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder and those within, in order, as paths from it."""
    return [path.relative_to(folder) for path in files_in(folder) if is_picture(path)]


def is_picture(path: Path) -> bool:
    """Whether a file's name ends as a picture's does."""
    return path.suffix.lower() in SUFFIXES


def contents_of(folder: Path, paths: Sequence[Path]) -> str:
    """Return letters that change when a byte of these files does, or a name below the folder.

    All files are read for it once; later only their sizes and times are compared.
    """
    stamp = [(str(path.absolute()), *_state(path)) for path in paths]
    name = hashlib.sha256(repr(stamp).encode()).hexdigest()[:24]
    kept = cache_folder() / "folders" / f"{name}.txt"
    try:
        return kept.read_text(encoding="ascii")
    except (OSError, ValueError):
        pass
    log.info("reading %s files of %s, once, to know them again", f"{len(paths):,}", folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checksums = list(pool.map(_checksum, paths))
    names = [path.relative_to(folder).as_posix() for path in paths]
    listed = repr(sorted(zip(names, checksums, strict=True)))
    contents = hashlib.sha256(listed.encode()).hexdigest()
    try:
        write_text(kept, contents)
    except OSError as error:
        log.warning("could not note in %s what has been read (%s)", kept, error)
    return contents


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be looked into ({error.strerror})") from error

    seen = set()
    for name, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        place = os.path.realpath(name)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(each for each in folders if not each.startswith((".", "__MACOSX")))
        yield from (Path(name, file) for file in files if not file.startswith("."))


def _state(path: Path) -> tuple[int, int]:
    """Return size and time of a file; of one that cannot be read, such as a link to nowhere, what
    none has."""
    try:
        state = path.stat()
    except OSError:  # it is named when it is decoded
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # it is named when it is decoded
        return "unreadable"
