"""Make the bundled data set from Fashion-MNIST: python scripts/make_fashion_mnist_mini.py.

The same bytes each time: the first images of each class, 1,000 of the training images and 200 of
the test images, replace the file that comes with gdm, and its checksum is printed.
"""

import argparse
import hashlib
import io
import zipfile

import numpy as np
import torch

from gdm.data.images import Images
from gdm.data.mnist import FashionMNIST, FashionMNISTMini
from gdm.files import durable_replacement

IMAGES_A_CLASS = {"train": 1000, "test": 200}


def first_of_each_class(images: Images, count: int) -> Images:
    """Return the first `count` images of each class, in the order of the whole."""
    numbers = range(len(images.class_names))
    chosen = [torch.where(images.labels == number)[0][:count] for number in numbers]
    return images.select(torch.cat(chosen).sort().values)


def main() -> None:
    """Write the file, and print the checksum that `FashionMNISTMini` expects."""
    arrays = {}
    for split, count in IMAGES_A_CLASS.items():
        part = first_of_each_class(FashionMNIST(folder=None).load(split), count)
        arrays[f"{split}_images"] = part.images.squeeze(1).numpy()
        arrays[f"{split}_labels"] = part.labels.to(torch.uint8).numpy()
    with (
        durable_replacement(FashionMNISTMini.path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive,
    ):
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            entry = zipfile.ZipInfo(f"{name}.npy")  # without the time, for equal bytes each time
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_LZMA)
    packed = FashionMNISTMini.path.read_bytes()
    print(f"{len(packed):,} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    main()
