"""What is known of a data set's images before any is read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gdm.recipes.ranges import Count, Natural

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ImageFacts:
    """The facts of a data set that shape a model's networks.

    Args:
        channels: C, channels of an image.
        resolution: R, pixels a side that networks see; images are padded to it.
        native_resolution: pixels a side of the images themselves.
        num_classes: number of classes; 0 for images without.

    Raises:
        ValueError: if images are larger than what networks see.
    """

    channels: Count
    resolution: Count
    native_resolution: Count
    num_classes: Natural = 0

    def __post_init__(self) -> None:
        if self.resolution < self.native_resolution:
            raise ValueError(
                f"resolution={self.resolution}: images of {self.native_resolution} pixels are "
                "padded to it, so it must be at least as large"
            )


def to_bytes(x: Tensor) -> Tensor:
    """Turn images in [-1, 1] into 8-bit values: (N, C, H, W) float -> uint8, on the CPU."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)


def to_float(x: Tensor) -> Tensor:
    """Turn 8-bit values into floats: 0 -> -1, 255 -> 1."""
    return x.to(torch.float32).div_(127.5).sub_(1)
