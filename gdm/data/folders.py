"""A folder of a user's own pictures, in whatever way they are laid out."""

import csv
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gdm.data.cache import decoded
from gdm.data.decoding import VERSION, decoded_picture, refuse_impossible
from gdm.data.images import Images
from gdm.data.listing import SUFFIXES, contents_of, existing_folder, files_in, is_picture
from gdm.data.sources import SizedSource
from gdm.errors import UserError
from gdm.recipes.ranges import Count

log = logging.getLogger(__name__)

TABLES = ("metadata.jsonl", "metadata.csv", "captions.csv")
FILE_COLUMNS = ("file_name", "file", "filename", "image")
CAPTION_COLUMNS = ("text", "caption")
TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that is there is the test split
TEST_FRACTION = 0.1  # of the images of a folder that is not split by its owner


@dataclass(frozen=True)
class Files:
    """What lies in a folder, in the order of the names."""

    images: tuple[Path, ...]
    tables: tuple[Path, ...]
    others: frozenset[Path]


class Folder(SizedSource):
    """Pictures in a folder, with the classes and captions that the folder tells.

    Args:
        folder: where they are, at any depth.
        channels: 3, or 1 for grey.
        background: the colour that transparent pictures lie on.
    """

    name = "folder"

    def __init__(self, folder: str | None, channels: Count = 3, background: str = "white") -> None:
        self.folder = None if folder is None else Path(folder).expanduser().absolute()
        self.channels = channels
        self.background = background
        refuse_impossible(channels, background)

    @property
    def fingerprint(self) -> str:
        facts = (VERSION, self._contents, self.channels, self.background)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the first folders, where all images lie in two or more of them."""
        found = {self._class_of(root, path)
                 for root in set(self._roots.values()) for path in self._below(root)}  # fmt: skip
        return tuple(sorted(found)) if None not in found and len(found) > 1 else ()

    def load_at(self, split: str, resolution: int) -> Images:
        images = self._read(self._roots[split], resolution)
        if self._roots["train"] == self._roots["test"]:
            images = part_by_content(images, split)
        if not len(images):
            raise UserError(
                f"dataset.source.folder={self.folder}: its few images leave none for the {split} "
                "split; add images, or make two folders train and test"
            )
        return images

    def _read(self, root: Path, resolution: int) -> Images:
        files = self._below(root)
        shape = (self.channels, resolution, resolution)

        def decode(path: Path) -> tuple[np.ndarray, bytes]:
            named = str(path)
            return decoded_picture(path, named, resolution, self.channels, self.background)

        place = root.relative_to(self.folder).as_posix()
        key = f"folder {VERSION} {self._contents} {place} {self.background}"
        found = decoded(key, files, decode, shape, f"the images of {root}")
        kept = [files[position] for position in found.positions.tolist()]
        names = self.class_names
        numbers = {name: number for number, name in enumerate(names)}
        labels = [numbers[self._class_of(root, path)] if names else 0 for path in kept]
        return Images(
            found.images,
            torch.tensor(labels, dtype=torch.int64),
            names,
            captions=self._captions_of(kept),
            digests=found.digests,
        )

    # What lies where -----------------------------------------------------------------------------

    @cached_property
    def _files(self) -> Files:
        paths = files_in(existing_folder(self.folder))
        images = tuple(path for path in paths if is_picture(path))
        if not images:
            raise UserError(
                f"dataset.source.folder={self.folder}: has no images among its {len(paths):,} "
                f"files; their names end in {', '.join(SUFFIXES)}"
            )
        tables = tuple(path for path in paths if path.name.lower() in TABLES)
        return Files(images, tables, frozenset(paths) - set(images) - set(tables))

    @cached_property
    def _roots(self) -> dict[str, Path]:
        """Return the folder of each split; the same one where its owner has not split it."""
        first = sorted({path.relative_to(self.folder).parts[0] for path in self._files.images})
        by_name = {name.lower(): self.folder / name for name in first}
        tests = [by_name[name] for name in TEST_FOLDERS if name in by_name]
        if "train" in by_name and tests:
            left_out = [name for name in first
                        if self.folder / name not in (by_name["train"], tests[0])]  # fmt: skip
            if left_out:
                shown = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
                log.warning("%s: split into train and %s; what else there is, is left out: %s",
                            self.folder, tests[0].name, shown)  # fmt: skip
            return {"train": by_name["train"], "test": tests[0]}
        alone = by_name.get("train") if len(first) == 1 else None
        return dict.fromkeys(("train", "test"), alone or self.folder)

    def _below(self, root: Path) -> list[Path]:
        return [path for path in self._files.images if path.is_relative_to(root)]

    @staticmethod
    def _class_of(root: Path, path: Path) -> str | None:
        parts = path.relative_to(root).parts
        return parts[0] if len(parts) > 1 else None

    @cached_property
    def _contents(self) -> str:
        """Return letters that change when a byte of what is read does, or a name."""
        texts = [path for path in map(_text_beside, self._files.images)
                 if path in self._files.others]  # fmt: skip
        paths = [*self._files.images, *self._files.tables, *texts]
        return contents_of(self.folder, paths)

    # Captions ------------------------------------------------------------------------------------

    def _captions_of(self, paths: Sequence[Path]) -> tuple[str, ...] | None:
        """Return what is said of each image; nothing of some is said in a warning."""
        found = [self._captions.get(path) for path in paths]
        without = found.count(None)
        if without == len(found):
            return None
        if without:
            log.warning("%s of %s images of %s have no caption, such as %s",
                        f"{without:,}", f"{len(found):,}", self.folder,
                        paths[found.index(None)])  # fmt: skip
        return tuple(caption or "" for caption in found)

    @cached_property
    def _captions(self) -> dict[Path, str]:
        captions = {}
        for path in self._files.images:
            beside = _text_beside(path)
            if beside in self._files.others:
                captions[path] = _read(beside).strip()
        known = set(self._files.images)
        for table in self._files.tables:
            said = {table.parent / name: text for name, text in _rows(table)}
            said = {Path(os.path.normpath(path)): text for path, text in said.items()}
            unknown = [path for path in said if path not in known]
            if unknown:
                log.warning("%s names %s images that are not there, such as %s",
                            table, f"{len(unknown):,}", unknown[0])  # fmt: skip
            captions |= said
        return captions


def part_by_content(images: Images, split: str) -> Images:
    """Return the training or test images of those whose owner has not split them, which lie in
    the order of their digests: the last tenth of all digests that there could be is for the test.
    """
    first = round((1 - TEST_FRACTION) * 2**64).to_bytes(8, "big")
    cut = int(np.searchsorted(images.digests, np.array(first, "S8")))
    return images.select(torch.arange(cut) if split == "train" else torch.arange(cut, len(images)))


def _text_beside(path: Path) -> Path:
    return path.with_suffix(".txt")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def _rows(table: Path) -> Iterator[tuple[str, str]]:
    """Yield file name and caption of each row of a table that has captions.

    Raises:
        UserError: naming the line that cannot be understood.
    """
    text = _read(table)
    if table.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = ((reader.line_num, row) for row in reader)
    else:
        lines = enumerate(text.split("\n"), start=1)  # other ends of lines are letters of JSON
        rows = ((number, _object(table, number, line)) for number, line in lines if line.strip())
    for number, row in rows:
        file = next((row[name] for name in FILE_COLUMNS if row.get(name)), None)
        if not isinstance(file, str):
            raise UserError(
                f"{table}, line {number}: names no file; a table has a column "
                f"{FILE_COLUMNS[0]}, and {' or '.join(CAPTION_COLUMNS)} for captions"
            )
        caption = next((row[name] for name in CAPTION_COLUMNS if row.get(name)), None)
        if caption is not None:
            yield file, str(caption).strip()


def _object(table: Path, number: int, line: str) -> dict:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{table}, line {number}: is no JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f"{table}, line {number}: is no object such as "
                        '{"file_name": "1.png", "text": "a red cat"}')  # fmt: skip
    return row
