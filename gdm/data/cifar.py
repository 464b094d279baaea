"""CIFAR-10, read from its binary archive, which needs no pickle."""

import hashlib
import math
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gdm.data.images import Images
from gdm.data.sources import FileSource

SHAPE = (3, 32, 32)  # planes of red, green and blue, each by rows
RECORD = 1 + math.prod(SHAPE)  # bytes of a label and its image
NUM_CLASSES = 10

_verified: set[tuple] = set()  # files whose checksum this process has computed and found right


@dataclass(frozen=True)
class CifarArchive:
    """The packed files of records that make one split of CIFAR-10.

    Args:
        name: the archive's name.
        num_bytes: its size.
        sha256: its checksum.
        members: the files inside, in the order of the split.
        num_records: images in each of them.
    """

    name: str
    num_bytes: int
    sha256: str
    members: tuple[str, ...]
    num_records: int

    def read(self, path: Path) -> np.ndarray:
        """Return the split's records, (N, 1 + C * H * W), once the archive is verified.

        Raises:
            ValueError: saying what is wrong with the archive.
        """
        try:
            self._verify(path)
            contents = self._unpack(path)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise ValueError(f"it cannot be unpacked ({error})") from error
        records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, RECORD)
        largest = records[:, 0].max()
        if largest >= NUM_CLASSES:
            raise ValueError(f"it has the label {largest}, expected at most {NUM_CLASSES - 1}")
        return records

    def _verify(self, path: Path) -> None:
        """Compare size and checksum; the checksum once a process, as long as the file stays."""
        facts = path.stat()
        # Without its path: a download is verified before it gets its name.
        identity = (self.sha256, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if identity in _verified:
            return
        if facts.st_size != self.num_bytes:
            raise ValueError(f"it has {facts.st_size:,} bytes, expected {self.num_bytes:,}")
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != self.sha256:
            raise ValueError(f"it has SHA-256 {actual}, expected {self.sha256}")
        _verified.add(identity)

    def _unpack(self, path: Path) -> list[bytes]:
        """Read the members in one pass, since the archive has them in an order of its own."""
        expected = self.num_records * RECORD
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
    """Return what either split reads of the binary archive, by its size and checksum."""
    members = {"train": [f"data_batch_{part}" for part in range(1, 6)], "test": ["test_batch"]}
    return {
        split: CifarArchive(
            "cifar-10-binary.tar.gz",
            num_bytes,
            sha256,
            tuple(f"cifar-10-batches-bin/{name}.bin" for name in names),
            num_records,
        )
        for split, names in members.items()
    }


class CIFAR10(FileSource):
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
    addresses = ("https://www.cs.toronto.edu/~kriz/",)

    @property
    def fingerprint(self) -> str:
        return self.files["train"].sha256[:16]

    def load(self, split: str) -> Images:
        records = self._read(self.files[split])
        return Images(
            torch.from_numpy(records[:, 1:].copy()).unflatten(1, SHAPE),  # (N, C, H, W)
            torch.from_numpy(records[:, 0].astype(np.int64)),
            self.class_names,
        )
