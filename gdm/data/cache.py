"""Images that are decoded once, into a file of 8-bit values that every process maps to memory.

Such a file is made in a folder beside its place, which gets its name once it is whole: a half-made
one is never used, and of two processes that start together one makes it. Where a damaged one
cannot be replaced, as on Windows while a process has it mapped, the new one gets a further name.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from gdm.data.memory import mapped, no_room
from gdm.errors import UserError
from gdm.files import cache_folder, flush_to_disk

log = logging.getLogger(__name__)

VERSION = 1  # of the layout of the files
FILES = ("pixels.bin", "index.npz")  # with facts.json, which holds their checksums
CHUNK = 256  # images that are decoded at a time
MOST_UNREADABLE = 0.01  # of the images; more is no accident
MOST_WARNINGS = 20  # of single images
MOST_NAMES = 9  # of a folder whose earlier ones cannot be replaced


@dataclass(frozen=True)
class Decoded:
    """Images in the order of their digests, so that any part of it that is held out is one piece.

    Args:
        images: (N, C, H, W) uint8, mapped from the file.
        positions: which item each was decoded from, (N,) int64.
        digests: of each image's values, or its original's, (N,) of 8 bytes, rising.
        unreadable: what could not be decoded, each with its reason.
    """

    images: Tensor
    positions: Tensor
    digests: np.ndarray
    unreadable: tuple[str, ...]


def decoded(
    key: str,
    items: Sequence[Any],
    decode: Callable[[Any], np.ndarray | tuple[np.ndarray, bytes]],
    shape: tuple[int, int, int],
    called: str,
) -> Decoded:
    """Return the images of `items`, from the cache or decoded now, by all cores.

    Args:
        key: letters that change when an image does: its source, size, crop and version.
        items: what `decode` takes, one for each image.
        decode: item -> (C, H, W) uint8, or a pair of that and the digest of its original, in any
            thread; ValueError or OSError, saying which item and why, where it cannot be decoded.
        shape: (C, H, W).
        called: what the images are called, in messages.

    Raises:
        UserError: if more than 1 % of the items cannot be decoded, or there is no room.
    """
    key = hashlib.sha256(f"{VERSION} {key} {shape} {len(items)}".encode()).hexdigest()[:24]
    folder = cache_folder() / "images" / key
    found = _found(folder, damage_level=logging.DEBUG)  # where nobody may write, there is no lock
    if found is None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):  # another process may be making them
                found = _found(folder) or _make(folder, items, decode, shape, called)
        except OSError as error:
            raise no_room(called, folder.parent, error) from error
    folder, facts = found
    _warn_of(facts["unreadable"], len(items), called, folder)
    with np.load(folder / "index.npz", allow_pickle=False) as index:
        positions, digests = torch.from_numpy(index["positions"]), index["digests"]
    images = mapped(folder / "pixels.bin", (len(positions), *shape))
    return Decoded(images, positions, digests, tuple(facts["unreadable"]))


def digest(image: np.ndarray) -> bytes:
    """Return 8 bytes by which an image is held out: the same for the same values."""
    return hashlib.blake2b(np.ascontiguousarray(image), digest_size=8).digest()


def _warn_of(unreadable: list[str], count: int, called: str, folder: Path) -> None:
    if unreadable:
        log.warning(
            "%s of %s images of %s cannot be read; all are named in %s",
            f"{len(unreadable):,}", f"{count:,}", called, folder / "facts.json",
        )  # fmt: skip
    for line in unreadable[:MOST_WARNINGS]:
        log.warning("%s", line)


def _places(folder: Path) -> list[Path]:
    """Return the names that a folder may have, its own first."""
    others = (folder.with_name(f"{folder.name}-{number}") for number in range(2, MOST_NAMES + 1))
    return [folder, *others]


def _found(
    folder: Path, damage_level: int = logging.WARNING
) -> tuple[Path, dict[str, Any]] | None:
    """Return the first whole one of a folder's names, and its facts; None where there is none."""
    for place in _places(folder):
        facts = _facts(place, damage_level)
        if facts is not None:
            return place, facts
    return None


def _facts(folder: Path, damage_level: int) -> dict[str, Any] | None:
    """Return what is written of a folder's images; None where they are to be made, since they
    are not there or not what was written."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        for name in FILES:
            _verify(folder / name, facts["sha256"][name])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.log(damage_level, "%s is damaged (%s); it is made again", folder, error)
        return None
    return facts


def _verify(path: Path, sha256: str) -> None:
    """Compare a file with its checksum, once, as long as nobody touches it."""
    stamp = _stamp(path, sha256)
    with contextlib.suppress(OSError, ValueError):  # an unreadable stamp is none
        if path.with_suffix(".verified").read_text(encoding="utf-8") == stamp:
            return
    if _sha256(path) != sha256:
        raise ValueError(f"{path.name} is not as it was written")
    with contextlib.suppress(OSError):  # where nobody may write, each process verifies it
        path.with_suffix(".verified").write_text(stamp, encoding="utf-8")


def _stamp(path: Path, sha256: str) -> str:
    """Return what stands beside a file of that checksum, as long as nobody touches it."""
    state = path.stat()
    return f"{sha256} {state.st_size} {state.st_mtime_ns}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(
    folder: Path,
    items: Sequence[Any],
    decode: Callable[[Any], np.ndarray | tuple[np.ndarray, bytes]],
    shape: tuple[int, int, int],
    called: str,
) -> tuple[Path, dict[str, Any]]:
    """Decode the images into a folder, whose caller holds its lock; return it and its facts."""
    partial = folder.with_suffix(".partial")
    for old in (partial, *_places(folder)):
        shutil.rmtree(old, ignore_errors=True)  # left by a process that was killed, or damaged
    partial.mkdir()
    try:
        log.info("decoding %s images of %s, once, into %s", f"{len(items):,}", called, folder)
        positions, digests, unreadable = [], [], []
        with (partial / "unordered.bin").open("wb") as file:
            for position, found in enumerate(_decoded(items, decode, shape)):
                if isinstance(found, str):
                    unreadable.append(found)
                    continue
                image, own_digest = found
                file.write(image.tobytes())
                positions.append(position)
                digests.append(own_digest)
        _refuse_many(unreadable, len(items), called)
        digests = np.array(digests, "S8")
        order = np.argsort(digests, kind="stable")
        _put_in_order(partial, order, shape)
        np.savez(partial / "index.npz", positions=np.array(positions)[order],
                 digests=digests[order])  # fmt: skip
        sha256 = {}
        for name in FILES:
            path = partial / name
            flush_to_disk(path)
            sha256[name] = _sha256(path)
            path.with_suffix(".verified").write_text(_stamp(path, sha256[name]), encoding="utf-8")
        facts = {"images": called, "shape": shape, "sha256": sha256, "unreadable": unreadable}
        (partial / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        flush_to_disk(partial / "facts.json")
        place = _renamed(partial, folder)
        flush_to_disk(folder.parent)
        return place, facts
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _renamed(partial: Path, folder: Path) -> Path:
    """Give a whole folder the first of its names that is free, and return it."""
    *places, last = _places(folder)
    for place in places:
        try:
            return partial.replace(place)
        except OSError as error:
            if not place.exists():
                raise
            log.info("%s is in use (%s); another name is taken", place, error)
    return partial.replace(last)


def _decoded(
    items: Sequence[Any],
    decode: Callable[[Any], np.ndarray | tuple[np.ndarray, bytes]],
    shape: tuple[int, int, int],
) -> Iterator[tuple[np.ndarray, bytes] | str]:
    """Yield each item's image and digest, or why there is none, in order, with a progress bar."""

    def attempt(item: Any) -> tuple[np.ndarray, bytes] | str:
        try:
            found = decode(item)
        except (ValueError, OSError) as error:
            return str(error)
        image, own_digest = found if isinstance(found, tuple) else (found, digest(found))
        if image.dtype != np.uint8 or image.shape != shape:  # a defect of `decode`
            raise TypeError(f"an image is {image.dtype}, {image.shape}; must be uint8, {shape}")
        return image, own_digest

    console = Console(stderr=True)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,  # libraries decode without Python's lock
        Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("decoding images", total=len(items))
        for start in range(0, len(items), CHUNK):
            yield from pool.map(attempt, items[start : start + CHUNK])
            bar.update(task, completed=start + CHUNK)


def _refuse_many(unreadable: list[str], count: int, called: str) -> None:
    if len(unreadable) > MOST_UNREADABLE * count or len(unreadable) == count:
        first = "; ".join(unreadable[:3])
        raise UserError(
            f"{called}: {len(unreadable):,} of {count:,} images cannot be read, more than 1 %: "
            f"{first}{'; ...' if len(unreadable) > 3 else ''}"
        )


def _put_in_order(folder: Path, order: np.ndarray, shape: tuple[int, int, int]) -> None:
    """Write the images once more, in their final order; those before are removed."""
    unordered = folder / "unordered.bin"
    size = math.prod(shape)
    with unordered.open("rb") as source, (folder / "pixels.bin").open("wb") as file:
        for row in order:  # read, not mapped, so that they are not all held in memory
            source.seek(int(row) * size)
            file.write(source.read(size))
    unordered.unlink()
