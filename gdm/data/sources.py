"""Where images come from: files that are verified before a byte of them is used."""

import gzip
import hashlib
import logging
import math
import os
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import torch
from torch import Tensor

from gdm.errors import UserError
from gdm.files import download, durable_replacement

log = logging.getLogger(__name__)

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
ATTEMPTS = 3  # a download is started again that often before the next address is tried

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


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
    """A data set with a `train` and a `test` split."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Letters that change when a byte of the data does."""

    @abstractmethod
    def load(self, split: str) -> Images:
        """Read a split, `train` or `test`.

        Raises:
            UserError: if it cannot be had, or is damaged.
        """


@dataclass(frozen=True)
class IdxFile:
    """A gzipped array of bytes in the format of MNIST.

    Args:
        name: the file's name.
        shape: the array's shape.
        sha256: checksum of the unpacked file, which is the same however it was packed.
        md5: checksum of the packed file, where only that one is known.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str | None = None
    md5: str | None = None

    def read(self, path: Path) -> np.ndarray:
        """Return the verified array, or raise a ValueError that says what is wrong with it."""
        packed = path.read_bytes()
        try:
            unpacked = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it does not unpack: {error}") from error
        header = 4 + 4 * len(self.shape)  # a magic number, and four bytes an axis
        expected = header + math.prod(self.shape)
        if len(unpacked) != expected:
            raise ValueError(f"it unpacks to {len(unpacked):,} bytes, not {expected:,}")
        if self.sha256 and hashlib.sha256(unpacked).hexdigest() != self.sha256:
            raise ValueError("its contents have another SHA-256 checksum")
        if self.md5 and hashlib.md5(packed).hexdigest() != self.md5:
            raise ValueError("it has another MD5 checksum")
        return np.frombuffer(unpacked, np.uint8, offset=header).reshape(self.shape)


class IdxSource(Source):
    """MNIST and its relatives: four gzipped files, looked for in folders, then downloaded.

    Args:
        folder: where the files are, or go; None for `$GDM_DATA/<name>`, by default
            `~/.cache/gdm/<name>`.
    """

    name: str
    class_names: tuple[str, ...]
    system_folders: tuple[Path, ...] = ()
    addresses: tuple[str, ...]
    files: dict[str, tuple[IdxFile, IdxFile]]  # split -> images, labels
    ways_out: str

    def __init__(self, folder: str | None) -> None:
        root = Path(os.environ.get("GDM_DATA") or "~/.cache/gdm").expanduser()
        self.folder = Path(folder).expanduser() if folder else root / self.name

    @property
    def fingerprint(self) -> str:
        sums = [file.sha256 or file.md5 for pair in self.files.values() for file in pair]
        return hashlib.sha256("".join(map(str, sums)).encode()).hexdigest()[:16]

    def load(self, split: str) -> Images:
        images, labels = (self._read(file) for file in self.files[split])
        return Images(
            torch.from_numpy(images.copy()).unsqueeze(1),  # (N, 1, H, W)
            torch.from_numpy(labels.astype(np.int64)),
            self.class_names,
        )

    def _read(self, file: IdxFile) -> np.ndarray:
        for folder in (self.folder, *self.system_folders):
            path = folder / file.name
            if path.exists():
                try:
                    return file.read(path)
                except ValueError as error:
                    raise UserError(
                        f"{path} is damaged: {error}. Remove it, and it is fetched again"
                    ) from error
        return self._download(file)

    def _download(self, file: IdxFile) -> np.ndarray:
        tried = []
        for address in self.addresses:
            url = urljoin(address, file.name)
            for attempt in range(ATTEMPTS):
                log.info("downloading %s%s", url, f", attempt {attempt + 1}" if attempt else "")
                try:
                    with durable_replacement(self.folder / file.name) as temporary:
                        download(url, temporary)
                        return file.read(temporary)
                except (OSError, ValueError) as error:
                    reason = error
            tried.append(f"{url} ({reason})")
        folders = ", ".join(map(str, (self.folder, *self.system_folders)))
        raise UserError(
            f"{file.name} of {self.name} is not in {folders}, and could not be downloaded:\n  "
            + "\n  ".join(tried)
            + f"\nWays out: {self.ways_out}put the files into a folder and name it with "
            "dataset.source.folder=FOLDER; or train on the bundled dataset=fashion_mnist_mini"
        )


class FashionMNIST(IdxSource):
    """Fashion-MNIST (Xiao et al. 2017): 60,000 and 10,000 images, 28 x 28, ten classes."""

    name = "fashion_mnist"
    class_names = FASHION_CLASSES
    system_folders = (DEBIAN_FASHION_MNIST,)
    addresses = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    )
    files = {  # noqa: RUF012
        "train": (
            IdxFile(
                "train-images-idx3-ubyte.gz",
                (60_000, 28, 28),
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            IdxFile(
                "train-labels-idx1-ubyte.gz",
                (60_000,),
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
        ),
        "test": (
            IdxFile(
                "t10k-images-idx3-ubyte.gz",
                (10_000, 28, 28),
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte.gz",
                (10_000,),
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
    }
    ways_out = "install Debian's package dataset-fashion-mnist; "


class MNIST(IdxSource):
    """MNIST (LeCun et al. 1998): 60,000 and 10,000 digits, 28 x 28; checksums by torchvision."""

    name = "mnist"
    class_names = tuple("0123456789")
    addresses = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )
    files = {  # noqa: RUF012
        "train": (
            IdxFile("train-images-idx3-ubyte.gz", (60_000, 28, 28),
                    md5="f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            IdxFile("train-labels-idx1-ubyte.gz", (60_000,),
                    md5="d53e105ee54ea40749a09fcbcd1e9432"),
        ),
        "test": (
            IdxFile("t10k-images-idx3-ubyte.gz", (10_000, 28, 28),
                    md5="9fb629c4189551a2d022fa330f9573f3"),
            IdxFile("t10k-labels-idx1-ubyte.gz", (10_000,),
                    md5="ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    }  # fmt: skip
    ways_out = ""


class FashionMNISTMini(Source):
    """The first 1,000 training and 200 test images of each class of Fashion-MNIST, which come
    with the package (MIT licence, Zalando SE) and need no network."""

    path = Path(__file__).with_name("fashion_mnist_mini.npz")
    sha256 = "01d68a4610f8d001e969bbfbf22d8b8fbce010ca11ffdaded522055c5d45b534"

    @property
    def fingerprint(self) -> str:
        return self.sha256[:16]

    def load(self, split: str) -> Images:
        packed = self.path.read_bytes()
        if hashlib.sha256(packed).hexdigest() != self.sha256:
            raise UserError(f"{self.path} is damaged (its checksum differs): install gdm again")
        with np.load(self.path, allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        return Images(
            torch.from_numpy(images).unsqueeze(1),  # (N, 1, H, W)
            torch.from_numpy(labels.astype(np.int64)),
            FASHION_CLASSES,
        )
