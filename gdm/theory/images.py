"""Images: what is known of a data set's before any is read, and 8-bit values <-> [-1, 1]."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gdm.recipes.ranges import Count, NonNegativeInt

GREY_LEVELS_PER_UNIT = 127.5  # images in [-1, 1] hold 8-bit values v as v / 127.5 - 1
HALF_GREY_LEVEL = 0.5 / GREY_LEVELS_PER_UNIT


@dataclass(frozen=True)
class ImageFacts:
    """The facts of a data set that shape a model's networks.

    Args:
        channels: C, channels of an image.
        resolution: R, pixels per side that networks see; images are padded to it.
        native_resolution: pixels per side of the images themselves.
        num_classes: number of classes; 0 for images without; None where the images have still to
            tell.

    Raises:
        ValueError: if images are larger than what networks see.
    """

    channels: Count
    resolution: Count
    native_resolution: Count
    num_classes: NonNegativeInt | None = 0

    def __post_init__(self) -> None:
        if self.resolution < self.native_resolution:
            raise ValueError(
                f"resolution={self.resolution}: images of {self.native_resolution} pixels are "
                "padded to it, so it must be at least as large"
            )


def to_bytes(x: Tensor) -> Tensor:
    """Turn images in [-1, 1] into 8-bit values: (N, C, H, W) float -> uint8, on the CPU."""
    return ((x.clamp(-1, 1) + 1) * GREY_LEVELS_PER_UNIT).round().to("cpu", torch.uint8)


def to_float(x: Tensor) -> Tensor:
    """Turn 8-bit values into floats: 0 -> -1, 255 -> 1.

    Raises:
        TypeError: for values that are floats already.
    """
    if x.dtype != torch.uint8:
        raise TypeError(f"8-bit images are torch.uint8, not {x.dtype}")
    return x.to(torch.float32).div_(GREY_LEVELS_PER_UNIT).sub_(1)


def grey_levels(difference: Tensor) -> Tensor:
    """Return how large differences of images in [-1, 1] are, in grey levels, as the root mean
    square over pixels: (..., C, H, W) -> (...).
    """
    return GREY_LEVELS_PER_UNIT * difference.square().flatten(-3).mean(-1).sqrt()


def grey_levels_changed(images: Tensor) -> Tensor:
    """Return by how much each image differs from the one before it, in grey levels, as
    the root mean square over pixels: (..., T, C, H, W) in [-1, 1] -> (..., T - 1).
    """
    return grey_levels(images.diff(dim=-4))
