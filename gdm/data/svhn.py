"""SVHN: digits of house numbers, cropped from photographs."""

import hashlib

import numpy as np
import torch

from gdm.data.archives import MatFile
from gdm.data.images import Images
from gdm.data.sources import COLOUR, FileSource


class SVHN(FileSource):
    """SVHN (Netzer et al. 2011): 73,257 and 26,032 colour digits, 32 x 32, with their neighbours.

    The 531,131 easier digits of the extra file are left out.
    """

    name = "svhn"
    class_names = tuple("0123456789")
    flip_keeps_class = False
    files = {  # noqa: RUF012
        "train": MatFile(
            "train_32x32.mat",
            182_040_794,
            "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        ),
        "test": MatFile(
            "test_32x32.mat",
            64_275_384,
            "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        ),
    }
    addresses = ("http://ufldl.stanford.edu/housenumbers/",)
    bundled = COLOUR

    @property
    def fingerprint(self) -> str:
        checksums = "".join(file.sha256 for file in self.files.values())
        return hashlib.sha256(checksums.encode()).hexdigest()[:16]

    def load(self, split: str) -> Images:
        arrays = self._read(self.files[split])
        images = np.ascontiguousarray(arrays["X"].transpose(3, 2, 0, 1))  # from (H, W, C, N)
        labels = arrays["y"].ravel().astype(np.int64) % 10  # the digit 0 is written as 10
        return Images(torch.from_numpy(images), torch.from_numpy(labels), self.class_names)
