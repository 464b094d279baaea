"""CIFAR-10 and CIFAR-100, read from their binary archives, which need no pickle."""

import math
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gdm.data.archives import KnownFile
from gdm.data.images import Images, Labelling
from gdm.data.sources import COLOUR, FileSource

SHAPE = (3, 32, 32)  # planes of red, green and blue, each by rows


@dataclass(frozen=True)
class CifarArchive(KnownFile):
    """The packed files of records that make one split: labels of a byte each, then the image.

    Args:
        name: the archive's name.
        num_bytes: its size.
        sha256: its checksum.
        members: the files inside, in the order of the split.
        num_records: images in each of them.
        num_classes: of each label of a record.
    """

    members: tuple[str, ...]
    num_records: int
    num_classes: tuple[int, ...]

    @property
    def record(self) -> int:
        """Bytes of an image and its labels."""
        return len(self.num_classes) + math.prod(SHAPE)

    def read(self, path: Path) -> np.ndarray:
        """Return the split's records, (N, L + C * H * W), once the archive is verified.

        Raises:
            ValueError: saying what is wrong with the archive.
        """
        try:
            self.verify(path)
            contents = self._unpack(path)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise ValueError(f"it cannot be unpacked ({error})") from error
        records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, self.record)
        for column, count in enumerate(self.num_classes):
            largest = records[:, column].max()
            if largest >= count:
                raise ValueError(f"it has the label {largest}, expected at most {count - 1}")
        return records

    def _unpack(self, path: Path) -> list[bytes]:
        """Read the members in one pass, since the archive has them in an order of its own."""
        expected = self.num_records * self.record
        contents = {}
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.name not in self.members:
                    continue
                if not member.isfile() or member.size != expected:
                    raise ValueError(
                        f"{member.name} in it has {member.size:,} bytes, expected {expected:,}"
                    )
                contents[member.name] = archive.extractfile(member).read()
                if len(contents) == len(self.members):
                    break
        missing = [name for name in self.members if name not in contents]
        if missing:
            raise ValueError(f"{', '.join(missing)} is not in it")
        return [contents[name] for name in self.members]


def cifar_files(num_bytes: int, sha256: str, num_records: int) -> dict[str, CifarArchive]:
    """Return what either split reads of CIFAR-10's archive, by its size and checksum."""
    members = {"train": [f"data_batch_{part}" for part in range(1, 6)], "test": ["test_batch"]}
    return {
        split: CifarArchive(
            "cifar-10-binary.tar.gz",
            num_bytes,
            sha256,
            tuple(f"cifar-10-batches-bin/{name}.bin" for name in names),
            num_records,
            num_classes=(10,),
        )
        for split, names in members.items()
    }


def cifar_100_files(
    num_bytes: int, sha256: str, num_records: dict[str, int]
) -> dict[str, CifarArchive]:
    """Return what either split reads of CIFAR-100's archive, by its size and checksum."""
    return {
        split: CifarArchive(
            "cifar-100-binary.tar.gz",
            num_bytes,
            sha256,
            (f"cifar-100-binary/{split}.bin",),
            count,
            num_classes=(20, 100),
        )
        for split, count in num_records.items()
    }


class CifarSource(FileSource):
    """CIFAR-10 and its relative: an archive of records."""

    files: dict[str, CifarArchive]
    addresses = ("https://www.cs.toronto.edu/~kriz/",)
    bundled = COLOUR

    @property
    def fingerprint(self) -> str:
        return self.files["train"].sha256[:16]

    def _labels(self, records: np.ndarray, column: int) -> Tensor:
        return torch.from_numpy(records[:, column].astype(np.int64))

    def _pixels(self, records: np.ndarray) -> Tensor:
        pixels = records[:, -math.prod(SHAPE) :]
        return torch.from_numpy(pixels.copy()).unflatten(1, SHAPE)  # (N, C, H, W)


class CIFAR10(CifarSource):
    """CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 colour photographs, 32 x 32, ten classes."""

    name = "cifar10"
    class_names = (
        "airplane", "automobile", "bird", "cat", "deer",
        "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    files = cifar_files(
        num_bytes=170_052_171,
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        num_records=10_000,
    )

    def load(self, split: str) -> Images:
        records = self._read(self.files[split])
        return Images(self._pixels(records), self._labels(records, 0), self.class_names)


class CIFAR100(CifarSource):
    """CIFAR-100 (Krizhevsky 2009): like CIFAR-10, of 100 classes in 20 groups of five.

    The labellings are `fine`, the classes, and `coarse`, their groups.
    """

    name = "cifar100"
    class_names = (
        "apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
        "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
        "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
        "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
        "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn mower",
        "leopard", "lion", "lizard", "lobster", "man", "maple tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak tree", "orange", "orchid", "otter", "palm tree", "pear",
        "pickup truck", "pine tree", "plain", "plate", "poppy", "porcupine", "possum",
        "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew",
        "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
        "sunflower", "sweet pepper", "table", "tank", "telephone", "television", "tiger",
        "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow tree",
        "wolf", "woman", "worm",
    )  # fmt: skip
    coarse_names = (
        "aquatic mammals", "fish", "flowers", "food containers", "fruit and vegetables",
        "household electrical devices", "household furniture", "insects", "large carnivores",
        "large man-made outdoor things", "large natural outdoor scenes",
        "large omnivores and herbivores", "medium-sized mammals", "non-insect invertebrates",
        "people", "reptiles", "small mammals", "trees", "vehicles 1", "vehicles 2",
    )  # fmt: skip
    files = cifar_100_files(
        num_bytes=168_513_733,
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        num_records={"train": 50_000, "test": 10_000},
    )

    def load(self, split: str) -> Images:
        records = self._read(self.files[split])
        coarse = Labelling(self._labels(records, 0), self.coarse_names)
        fine = Labelling(self._labels(records, 1), self.class_names)
        labellings = {"fine": fine, "coarse": coarse}
        return Images(self._pixels(records), *fine, labellings=labellings)
