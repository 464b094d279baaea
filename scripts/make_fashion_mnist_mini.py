"""Make the bundled data set from Fashion-MNIST: python scripts/make_fashion_mnist_mini.py.

The same bytes each time: the first images of each class, 1,000 of the training images and 200 of
the test images, replace the file that comes with gdm, and its checksum is printed.
"""

import argparse

import torch

from gdm.data.bundled import write_arrays
from gdm.data.images import Images
from gdm.data.mnist import FashionMNIST, FashionMNISTMini

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
    print(write_arrays(arrays, FashionMNISTMini.path))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    main()
