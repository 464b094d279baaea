"""Where images come from: files that are verified before a byte of them is used."""

import gzip
import hashlib
import io
import logging
import math
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor

from gdm.errors import UserError
from gdm.files import cache_folder, download, durable_replacement

log = logging.getLogger(__name__)

ATTEMPTS = 3  # how often a download that breaks is started, before the next address is tried


@dataclass(frozen=True)
class Images:
    """Images in memory.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 classes.
        class_names: the classes' names.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: Tensor) -> "Images":
        """Return the images of these indices, (M,), in their order."""
        return Images(self.images[indices], self.labels[indices], self.class_names)


class Source(ABC):
    """A data set with a `train` and a `test` split, by the name of its option of `dataset=`.

    Attributes:
        name: the option.
        class_names: the classes' names.
        flip_keeps_class: whether a mirrored image is of the same class: a coat is, a digit not.
    """

    name: str
    class_names: tuple[str, ...]
    flip_keeps_class: bool = True

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Letters that change when a byte of the data does."""

    @abstractmethod
    def load(self, split: str) -> Images:
        """Read one split, `train` or `test`, and leave the other.

        Raises:
            UserError: if it cannot be had, or is damaged.
        """


class SourceFile(Protocol):
    """A file of a data set, which knows what it must hold."""

    name: str

    def read(self, path: Path) -> np.ndarray:
        """Return what it holds, once it is verified.

        Raises:
            ValueError: saying what is wrong with the file.
        """


class FileSource(Source):
    """A data set of files that are looked for in folders, then downloaded.

    A file that is there but damaged is named and left alone: it may be the user's own.

    Args:
        folder: where the files are, or go; None for `$GDM_DATA/<name>`, by default
            `~/.cache/gdm/<name>`.
    """

    addresses: tuple[str, ...]  # each ends in a slash
    system_folder: Path | None = None  # where the system's package puts the files
    system_package: str | None = None

    def __init__(self, folder: str | None) -> None:
        self.folder = Path(folder).expanduser() if folder else cache_folder() / self.name

    def _folders(self) -> list[Path]:
        return [folder for folder in (self.folder, self.system_folder) if folder]

    def _read(self, file: SourceFile) -> np.ndarray:
        for folder in self._folders():
            path = folder / file.name
            if path.exists():
                try:
                    return file.read(path)
                except ValueError as error:
                    raise UserError(
                        f"{path} is damaged: {error}. Replace it, or remove it to have it "
                        "looked for elsewhere and downloaded"
                    ) from error
        return self._download(file)

    def _download(self, file: SourceFile) -> np.ndarray:
        failures = []
        for address in self.addresses:
            url = address + file.name
            try:
                return self._fetch(file, url)
            except (OSError, ValueError) as error:
                failures.append(f"{url}: {error}")
        raise UserError(self._not_found(file, failures))

    def _fetch(self, file: SourceFile, url: str) -> np.ndarray:
        """Download a file, which gets its name once it is verified."""
        for attempt in range(1, ATTEMPTS + 1):
            log.info("downloading %s into %s", url, self.folder)
            try:
                with durable_replacement(self.folder / file.name) as temporary:
                    download(url, temporary)
                    return file.read(temporary)
            except (OSError, ValueError) as error:
                if isinstance(error, URLError) or attempt == ATTEMPTS:
                    raise
                log.warning("%s: %s; starting again", url, error)

    def _not_found(self, file: SourceFile, failures: list[str]) -> str:
        folders = " or ".join(map(str, self._folders()))
        ways_out = [
            "put the files into a folder of your own: dataset.source.folder=FOLDER",
            "train on the bundled images: dataset=fashion_mnist_mini",
        ]
        if self.system_package:
            ways_out.insert(0, f"install Debian's package: apt-get install {self.system_package}")
        lines = [
            f"{file.name} of {self.name} is not in {folders}, and no download succeeded:",
            *(f"  {failure}" for failure in failures),
            "Ways out:",
            *(f"  {way}" for way in ways_out),
        ]
        return "\n".join(lines)


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
