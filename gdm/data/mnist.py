"""MNIST and its relatives: gzipped arrays of bytes, whoever packed them."""

import gzip
import hashlib
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gdm.data.images import Images
from gdm.data.sources import FileSource, Source
from gdm.errors import UserError


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
        header = 4 + 4 * len(self.shape)  # a magic number, and four bytes an axis
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

    files: dict[str, tuple[IdxFile, IdxFile]]  # split -> images, labels

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


class FashionMNISTMini(Source):
    """The first 1,000 training and 200 test images of each class of Fashion-MNIST.

    They come with the package (MIT licence, Zalando SE) and need no network.
    """

    name = "fashion_mnist_mini"
    class_names = FashionMNIST.class_names
    path = Path(__file__).with_name("fashion_mnist_mini.npz")
    sha256 = "01d68a4610f8d001e969bbfbf22d8b8fbce010ca11ffdaded522055c5d45b534"

    @property
    def fingerprint(self) -> str:
        return self.sha256[:16]

    def load(self, split: str) -> Images:
        packed = self.path.read_bytes() if self.path.exists() else b""
        actual = hashlib.sha256(packed).hexdigest()
        if actual != self.sha256:
            raise UserError(
                f"{self.path} is missing or damaged: it has {len(packed):,} bytes with SHA-256 "
                f"{actual}, expected {self.sha256}. Install gdm again"
            )
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        return Images(
            torch.from_numpy(images).unsqueeze(1),  # (N, 1, H, W)
            torch.from_numpy(labels.astype(np.int64)),
            self.class_names,
        )
