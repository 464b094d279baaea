"""Images that come with the package: arrays in one packed file, verified before use."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from gdm.data.sources import Source
from gdm.errors import UserError
from gdm.files import durable_replacement


class BundledSource(Source):
    """A data set whose arrays come with gdm, and need no package and no network.

    Attributes:
        path: the file.
        sha256: its checksum.
    """

    path: Path
    sha256: str

    @property
    def fingerprint(self) -> str:
        return self.sha256[:16]

    def arrays(self, *names: str) -> list[np.ndarray]:
        """Return the arrays of these names, once the file is verified; others stay packed."""
        packed = self.path.read_bytes() if self.path.exists() else b""
        actual = hashlib.sha256(packed).hexdigest()
        if actual != self.sha256:
            raise UserError(
                f"{self.path} is missing or damaged: it has {len(packed):,} bytes with SHA-256 "
                f"{actual}, expected {self.sha256}. Install gdm again"
            )
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return [arrays[name] for name in names]


def write_arrays(arrays: dict[str, np.ndarray], path: Path) -> str:
    """Pack arrays into a file, the same bytes each time, and return its size and checksum."""
    with (
        durable_replacement(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive,
    ):
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            entry = zipfile.ZipInfo(f"{name}.npy")  # without the time, for equal bytes each time
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_LZMA)
    packed = path.read_bytes()
    return f"{len(packed):,} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}"
