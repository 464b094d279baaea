"""CelebA: faces of celebrities with what each has, read from the zip archive."""

import hashlib

import numpy as np
import torch

from gdm.data.archives import KnownFile, PackedPictures, in_zip, square_of
from gdm.data.cache import decoded
from gdm.data.images import Attributes, Images
from gdm.data.sources import COLOUR, FileSource, SizedSource
from gdm.errors import UserError
from gdm.recipes.ranges import Count

WIDTH = 178  # of an aligned image, whose height is 218
TEST = 2  # in the official split, where 0 is training and 1 validation


class CelebA(FileSource, SizedSource):
    """CelebA (Liu et al. 2015): 202,599 aligned faces with 40 attributes each, in any size.

    `test` is the official one of 19,962 faces; `train` are the official training and validation
    faces together, 182,637, since the data module holds out its own.

    Args:
        folder: of the three files.
        crop: pixels a side of the square that is cut from the middle of an image.
    """

    name = "celeba"
    class_names = ()
    files = {  # noqa: RUF012
        "images": KnownFile(
            "img_align_celeba.zip",
            1_443_490_838,
            "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
        ),
        "attributes": KnownFile(
            "list_attr_celeba.txt",
            26_721_026,
            "f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
        ),
        "partition": KnownFile(
            "list_eval_partition.txt",
            2_836_386,
            "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
        ),
    }
    addresses = ()  # Google Drive wants a person who clicks
    by_hand = "the Google Drive of https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    bundled = COLOUR

    def __init__(self, folder: str | None, crop: Count) -> None:
        super().__init__(folder)
        self.crop = crop

    @property
    def fingerprint(self) -> str:
        facts = (*(file.sha256 for file in self.files.values()), self.crop)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def load_at(self, split: str, resolution: int) -> Images:
        if self.crop > WIDTH:
            raise UserError(f"dataset.source.crop={self.crop}: the images are {WIDTH} pixels wide")
        if resolution > self.crop:
            raise UserError(
                f"dataset.resolution={resolution}: must be at most dataset.source.crop="
                f"{self.crop}, the pixels that are cut from an image"
            )
        names, attributes = self._attributes()
        is_test = self._partition() == TEST
        rows = np.flatnonzero(is_test if split == "test" else ~is_test)
        pictures = PackedPictures(lambda: self._path(self.files["images"]), in_zip)

        def decode(name: str) -> np.ndarray:
            contents = pictures.read(f"img_align_celeba/{name}")
            return square_of(contents, name, self.crop, resolution)

        made = decoded(
            f"{self.fingerprint} {split}",
            [names[row] for row in rows],
            decode,
            (3, resolution, resolution),
            f"celeba, {split}",
        )
        values = attributes.values[torch.from_numpy(rows)[made.positions]]
        return Images(
            made.images,
            torch.zeros(len(made.images), dtype=torch.int64),
            self.class_names,
            attributes=Attributes(values, attributes.names),
            digests=made.digests,
        )

    def _attributes(self) -> tuple[list[str], Attributes]:
        """Return the names of all images, and what each has: -1 and 1 are read as 0 and 1."""
        path = self._path(self.files["attributes"])
        _count, header, *lines = path.read_text(encoding="ascii").splitlines()
        names, rest = zip(*(line.split(maxsplit=1) for line in lines), strict=True)
        columns = tuple(header.split())
        values = np.fromstring(" ".join(rest), np.int8, sep=" ").reshape(len(names), len(columns))
        return list(names), Attributes(torch.from_numpy((values > 0).astype(np.uint8)), columns)

    def _partition(self) -> np.ndarray:
        """Return which part of the official split each image is in, (N,), in the same order."""
        path = self._path(self.files["partition"])
        lines = path.read_text(encoding="ascii").splitlines()
        return np.array([int(line.split()[1]) for line in lines])
