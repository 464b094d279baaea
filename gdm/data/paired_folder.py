"""Folders of two kinds of pictures, A and B: in pairs, or as two unpaired domains."""

import hashlib
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gdm.data.cache import decoded, digest
from gdm.data.decoding import VERSION, as_square, colour_of, decoded_picture, read_picture
from gdm.data.images import Images
from gdm.data.listing import contents_of, existing_folder, pictures_in
from gdm.data.sources import SizedSource
from gdm.errors import UserError

SIDES = ("A", "B")
SPLITS = {"train": ("train",), "test": ("test", "val")}  # which folders hold a split: the first
TEST_PART = 10  # one in so many pictures, where no folder is called test


class SidesSource(SizedSource):
    """A folder of pictures of two kinds.

    Where no folder in it is called train, a tenth of the pictures is the test split, by their
    contents. Where no folder is called test, that called val is.

    Args:
        folder: where the pictures are.
        background: the colour behind what is transparent.
    """

    def __init__(self, folder: str | None, background: str) -> None:
        self.folder = None if folder is None else Path(folder).expanduser().absolute()
        self.background = background
        colour_of(background)

    @cached_property
    def root(self) -> Path:
        """The folder, which is there."""
        return existing_folder(self.folder)

    @property
    def fingerprint(self) -> str:
        facts = (VERSION, self._contents, self.background)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    @cached_property
    def _contents(self) -> str:
        return contents_of(self.root, [self.root / path for path in pictures_in(self.root)])

    @property
    def is_divided(self) -> bool:
        """Whether folders say which pictures are for training."""
        return any(place.is_dir() for place in self._places("train"))

    def load_at(self, split: str, resolution: int) -> Images:
        images = self._load(split if self.is_divided else None, resolution)
        return images if self.is_divided else images.select(_rows_of_split(images.labels, split))

    @abstractmethod
    def _load(self, split: str | None, resolution: int) -> Images:
        """Read a split, or all pictures where none are divided."""

    def _within(self, split: str) -> str:
        """Return the folder's name, of those that can hold a split."""
        for name in SPLITS[split]:
            if any(place.is_dir() for place in self._places(name)):
                return name
        expected = " or ".join(SPLITS[split])
        raise UserError(f"{self.root} has no folder {expected}, of the {split} images")

    @abstractmethod
    def _places(self, name: str) -> list[Path]:
        """Return the folders that hold, alone or together, what a name such as train stands for,
        whichever of them there are."""

    def _decoded(self, split: str | None, items: list, decode, channels: int, resolution: int):
        if not items:
            of_split = f" of the {split} split" if split else ""
            raise UserError(
                f"{self.root} has no pictures{of_split} where dataset={self.name} looks for them; "
                "docs/data.md shows the folders"
            )
        key = f"{self.name} {VERSION} {self._contents} {split} {self.background}"
        return decoded(key, items, decode, (channels, resolution, resolution), str(self.root))


class PairedFolder(SidesSource):
    """Pairs of pictures in a folder, as pix2pix's data come (Isola et al. 2017).

    A pair is one file that holds A and B side by side, or two files of equal names and sizes in
    folders A and B.

    Args:
        folder: where the pictures are.
        direction: which of the two the other is made from.
        background: the colour behind what is transparent.
    """

    name = "paired_folder"
    class_names = ()

    def __init__(
        self, folder: str | None, direction: Literal["AtoB", "BtoA"], background: str
    ) -> None:
        super().__init__(folder, background)
        self.direction = direction

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint}-{self.direction}"

    def _places(self, name: str) -> list[Path]:
        return [self.root / name, *(self.root / side / name for side in SIDES)]

    def _load(self, split: str | None, resolution: int) -> Images:
        def decode(item: tuple[Path, ...]) -> tuple[np.ndarray, bytes]:
            squares, originals = zip(
                *(as_square(side, resolution, 3, self.background) for side in _sides_of(item)),
                strict=True,
            )
            return np.concatenate(squares), digest(np.frombuffer(b"".join(originals), np.uint8))

        items = self._items("" if split is None else self._within(split))
        found = self._decoded(split, items, decode, 6, resolution)
        a, b = found.images.split(3, dim=1)  # (N, 3, R, R) each, where they lie in the file
        source, images = (a, b) if self.direction == "AtoB" else (b, a)
        labels = torch.zeros(len(images), dtype=torch.int64)
        return Images(images, labels, (), source=source, digests=found.digests)

    def _items(self, name: str) -> list[tuple[Path, ...]]:
        """Return the files of each pair."""
        for a, b in (
            (self.root / "A" / name, self.root / "B" / name),
            (self.root / name / "A", self.root / name / "B"),
        ):
            if a.is_dir() or b.is_dir():
                return _partners(a, b)
        folder = self.root / name
        return [(folder / path,) for path in pictures_in(folder)]


class TwoFolders(SidesSource):
    """Two folders of pictures that are not in pairs, as CycleGAN's data come (Zhu et al. 2017):
    trainA, trainB, testA and testB, or A and B. Their classes are A and B.
    """

    name = "two_folders"
    class_names = SIDES

    def _places(self, name: str) -> list[Path]:
        return [place for side in SIDES for place in self._places_of(name, side)]

    def _places_of(self, name: str, side: str) -> list[Path]:
        return [self.root / f"{name}{side}", self.root / name / side, self.root / side / name]

    def _load(self, split: str | None, resolution: int) -> Images:
        def decode(path: Path) -> tuple[np.ndarray, bytes]:
            return decoded_picture(path, str(path), resolution, 3, self.background)

        name = "" if split is None else self._within(split)
        parts = [self._pictures(name, side) for side in SIDES]
        found = self._decoded(split, parts[0] + parts[1], decode, 3, resolution)
        labels = (found.positions >= len(parts[0])).long()
        return Images(found.images, labels, self.class_names, digests=found.digests)

    def _pictures(self, name: str, side: str) -> list[Path]:
        places = self._places_of(name, side) if name else [self.root / side]
        for place in places:
            if place.is_dir():
                return [place / path for path in pictures_in(place)]
        raise UserError(f"{self.root} has no folder {' or '.join(map(str, places))}")


def _sides_of(item: tuple[Path, ...]) -> tuple[Image.Image, Image.Image]:
    """Return A and B, of one size."""
    pictures = [read_picture(path, str(path)) for path in item]
    if len(pictures) == 1:
        width, height = pictures[0].size
        if width % 2 or width <= height:
            raise UserError(
                f"{item[0]} has {width} x {height} pixels; A and B side by side are wider "
                "than high, and of an even width"
            )
        boxes = ((0, 0, width // 2, height), (width // 2, 0, width, height))
        return tuple(pictures[0].crop(box) for box in boxes)
    a, b = pictures
    if a.size != b.size:
        sizes = (f"{path} has {picture.width} x {picture.height} pixels" for path, picture in
                 zip(item, pictures, strict=True))  # fmt: skip
        raise UserError(f"{', '.join(sizes)}; the two of a pair must be of one size")
    return a, b


def _partners(a: Path, b: Path) -> list[tuple[Path, ...]]:
    """Return the files of equal names in two folders, whatever their endings."""
    sides = []
    for folder in (a, b):
        if not folder.is_dir():
            raise UserError(f"{folder} is missing: A and B must both be there")
        paths = pictures_in(folder)
        side = {path.with_suffix(""): folder / path for path in paths}
        for path in paths:
            if side[path.with_suffix("")] != folder / path:
                raise UserError(
                    f"{folder / path} and {side[path.with_suffix('')].name} have one name; which "
                    "is of the pair cannot be told"
                )
        sides.append(side)
    alone = [f"{side[name]} has no partner in {other}"
             for side, other, names in ((sides[0], b, sides[1]), (sides[1], a, sides[0]))
             for name in side.keys() - names.keys()]  # fmt: skip
    if alone:
        more = f" (and {len(alone) - 1:,} more)" if len(alone) > 1 else ""
        raise UserError(f"{min(alone)}{more}")
    return [(path, sides[1][name]) for name, path in sorted(sides[0].items())]


def _rows_of_split(labels: Tensor, split: str) -> Tensor:
    """Return a tenth of the pictures of each class, at least one, or the others, (M,); the
    pictures are in the order of their contents' digests.

    `folders.part_by_content` leaves the pictures where they are when others are added, but may
    leave none of one of two few classes for testing. To change which pictures these are would
    evaluate earlier runs by what they were trained on.
    """
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        is_test[rows[: max(1, round(len(rows) / TEST_PART))]] = True
    return (is_test if split == "test" else ~is_test).nonzero().flatten()
