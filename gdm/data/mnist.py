"""MNIST and its relatives: gzipped arrays of bytes, whoever packed them."""

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Literal
from zipfile import ZipFile

import numpy as np
import torch

from gdm.data.archives import KnownFile
from gdm.data.bundled import BundledSource
from gdm.data.images import Images
from gdm.data.sources import FileSource

MERGED = digits + ascii_uppercase + "abdefghnqrt"  # the others are written alike in both cases
EMNIST_CLASSES = {
    "byclass": digits + ascii_uppercase + ascii_lowercase,
    "bymerge": MERGED,
    "balanced": MERGED,
    "letters": ascii_lowercase,
    "digits": digits,
    "mnist": digits,
}


@dataclass(frozen=True)
class IdxFile:
    """A gzipped array of bytes in the format of MNIST.

    Args:
        name: the file's name.
        shape: the array's shape.
        sha256: checksum of the unpacked file, which is the same whoever packed it.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    def read(self, path: Path) -> np.ndarray:
        """Return the array, once its size and its checksum are verified.

        Raises:
            ValueError: saying what is wrong with the file.
        """
        header = _header(len(self.shape))
        expected = header + math.prod(self.shape)
        try:
            with gzip.open(path) as file:
                unpacked = file.read(expected + 1)  # one more, to see whether there is more
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it cannot be unpacked ({error})") from error
        if len(unpacked) != expected:
            size = f"{len(unpacked):,}" if len(unpacked) < expected else "more"
            raise ValueError(f"it unpacks to {size} bytes, expected {expected:,}")
        actual = hashlib.sha256(unpacked).hexdigest()
        if actual != self.sha256:
            raise ValueError(f"its contents have SHA-256 {actual}, expected {self.sha256}")
        return np.frombuffer(unpacked, np.uint8, offset=header).reshape(self.shape)


def _header(num_axes: int) -> int:
    """Return the bytes before an array's values: a magic number, and four for each axis."""
    return 4 + 4 * num_axes


@dataclass(frozen=True)
class PackedIdxFile(KnownFile):
    """A gzipped array in the format of MNIST, whose checksum is known as it is packed.

    Args:
        name: the file's name.
        num_bytes: its size.
        sha256: checksum of the packed file.
    """

    def read(self, path: Path) -> np.ndarray:
        """Return the array, once the file is verified.

        Raises:
            ValueError: saying what is wrong with the file.
        """
        self.verify(path)
        return _array(path.read_bytes())


def _array(contents: bytes) -> np.ndarray:
    """Return the gzipped array of bytes, of the shape that it says itself."""
    array = gzip.decompress(contents)
    num_axes = array[3]
    shape = np.frombuffer(array, ">u4", num_axes, offset=4)
    return np.frombuffer(array, np.uint8, offset=_header(num_axes)).reshape(shape)


def mnist_files(
    train_images: str, train_labels: str, test_images: str, test_labels: str
) -> dict[str, tuple[IdxFile, IdxFile]]:
    """Return images and labels of either split of MNIST or a relative, by their checksums."""
    return {
        "train": (
            IdxFile("train-images-idx3-ubyte.gz", (60_000, 28, 28), train_images),
            IdxFile("train-labels-idx1-ubyte.gz", (60_000,), train_labels),
        ),
        "test": (
            IdxFile("t10k-images-idx3-ubyte.gz", (10_000, 28, 28), test_images),
            IdxFile("t10k-labels-idx1-ubyte.gz", (10_000,), test_labels),
        ),
    }


class IdxSource(FileSource):
    """MNIST and its relatives: four gzipped files."""

    files: dict[str, tuple[IdxFile | PackedIdxFile, ...]]  # split -> images, labels

    @property
    def fingerprint(self) -> str:
        checksums = "".join(file.sha256 for pair in self.files.values() for file in pair)
        return hashlib.sha256(checksums.encode()).hexdigest()[:16]

    def load(self, split: str) -> Images:
        images, labels = (self._read(file) for file in self.files[split])
        return Images(
            torch.from_numpy(images.copy()).unsqueeze(1),  # (N, 1, H, W)
            torch.from_numpy(labels.astype(np.int64)),
            self.class_names,
        )


class FashionMNIST(IdxSource):
    """Fashion-MNIST (Xiao et al. 2017): 60,000 and 10,000 grey images, 28 x 28, ten classes."""

    name = "fashion_mnist"
    class_names = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    files = mnist_files(
        train_images="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        train_labels="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        test_images="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        test_labels="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    )
    addresses = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    )
    system_folder = Path("/usr/share/datasets/fashion-mnist")
    system_package = "dataset-fashion-mnist"


class MNIST(IdxSource):
    """MNIST (LeCun et al. 1998): 60,000 and 10,000 digits, 28 x 28."""

    name = "mnist"
    class_names = tuple("0123456789")
    flip_keeps_class = False
    files = mnist_files(
        train_images="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        train_labels="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        test_images="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        test_labels="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
    addresses = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )


class KMNIST(IdxSource):
    """KMNIST (Clanuwat et al. 2018): 60,000 and 10,000 letters of old Japanese, 28 x 28."""

    name = "kmnist"
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    flip_keeps_class = False
    files = {  # noqa: RUF012
        "train": (
            PackedIdxFile(
                "train-images-idx3-ubyte.gz",
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            PackedIdxFile(
                "train-labels-idx1-ubyte.gz",
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
        ),
        "test": (
            PackedIdxFile(
                "t10k-images-idx3-ubyte.gz",
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            PackedIdxFile(
                "t10k-labels-idx1-ubyte.gz",
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        ),
    }
    addresses = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)


class EMNIST(FileSource):
    """EMNIST (Cohen et al. 2017): handwritten digits and letters, 28 x 28, in six splits.

    Args:
        folder: of gzip.zip.
        split: `byclass`, 62 classes; `bymerge`, 47, where a letter that is written alike in both
            cases is one class; `balanced`, the same with equally many images of each; `letters`,
            26 without cases; `digits` and `mnist`, 10.
    """

    name = "emnist"
    flip_keeps_class = False
    archive = KnownFile(
        "gzip.zip",
        561_753_746,
        "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    )
    addresses = ("https://biometrics.nist.gov/cs_links/EMNIST/",)

    def __init__(
        self,
        folder: str | None,
        split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"],
    ) -> None:
        super().__init__(folder)
        self.split = split
        self.class_names = tuple(EMNIST_CLASSES[split])

    @property
    def fingerprint(self) -> str:
        facts = (self.archive.sha256, self.split)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def load(self, split: str) -> Images:
        start = f"gzip/emnist-{self.split}-{split}"
        with ZipFile(self._path(self.archive)) as archive:
            images = _array(archive.read(f"{start}-images-idx3-ubyte.gz"))
            labels = _array(archive.read(f"{start}-labels-idx1-ubyte.gz")).astype(np.int64)
        images = np.ascontiguousarray(images.transpose(0, 2, 1))  # they are stored on their side
        first = 1 if self.split == "letters" else 0  # where A is 1
        return Images(
            torch.from_numpy(images).unsqueeze(1),  # (N, 1, H, W)
            torch.from_numpy(labels - first),
            self.class_names,
        )


class FashionMNISTMini(BundledSource):
    """The first 1,000 training and 200 test images of each class of Fashion-MNIST.

    They come with the package (MIT licence, Zalando SE) and need no network.
    """

    name = "fashion_mnist_mini"
    class_names = FashionMNIST.class_names
    path = Path(__file__).with_name("fashion_mnist_mini.npz")
    sha256 = "01d68a4610f8d001e969bbfbf22d8b8fbce010ca11ffdaded522055c5d45b534"

    def load(self, split: str) -> Images:
        images, labels = self.arrays(f"{split}_images", f"{split}_labels")
        return Images(
            torch.from_numpy(images).unsqueeze(1),  # (N, 1, H, W)
            torch.from_numpy(labels.astype(np.int64)),
            self.class_names,
        )
