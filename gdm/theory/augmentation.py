"""Random changes of images during training, each image by itself, through which gradients flow."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gdm.recipes.ranges import Fraction, NonNegative


class Augmentation(nn.Module, ABC):
    """Random changes of the images that the discriminator is shown, real and fake alike, through
    which gradients flow. So it cannot learn few images by heart, and the generator does not learn
    the changes."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Change each image by itself: (N, C, R, R) -> (N, C, R, R)."""

    def adapt(self, real_output: Tensor) -> None:
        """Learn from what the discriminator made of the real images of a step; by default nothing.

        Args:
            real_output: its outputs, (N,), above 0 where it takes an image for real.
        """

    def health(self) -> dict[str, float]:
        """Return what its strength is and follows; by default nothing."""
        return {}

    def as_if_trained(self) -> None:
        """Be as strong as it may get, in a copy that is only timed; by default as it is."""


class DiffAugment(Augmentation):
    """Brightness, contrast, translation and cutout (Zhao et al. 2020). With all at 0 images stay
    as they are.

    Args:
        brightness: images become lighter or darker by up to this much, of a range of 2.
        contrast: the distance from an image's mean is scaled by 1 - contrast to 1 + contrast.
        translation: moved by up to this fraction of their side, either way along each axis; what
            moves in continues the edge: a white background stays white.
        cutout: a square of this fraction of the side, around any pixel, is made grey.
    """

    def __init__(
        self, brightness: NonNegative, contrast: Fraction, translation: Fraction, cutout: Fraction
    ) -> None:
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast
        self.translation = translation
        self.cutout = cutout

    def forward(self, x: Tensor) -> Tensor:
        if self.brightness:
            x = x + self.brightness * _either_way(x)
        if self.contrast:
            mean = x.mean((1, 2, 3), keepdim=True)
            x = mean + (1 + self.contrast * _either_way(x)) * (x - mean)
        if self.translation:
            x = moved(x, _pixels(self.translation, x))
        if self.cutout:
            x = x * _outside_of_a_square(x, _pixels(self.cutout, x))
        return x


def _pixels(fraction: float, x: Tensor) -> int:
    """Return a fraction of the images' side in pixels, at least one."""
    return max(1, round(fraction * x.shape[-1]))


def _either_way(x: Tensor) -> Tensor:
    """Return a number in [-1, 1] for each image, (N, 1, 1, 1)."""
    return 2 * torch.rand(len(x), 1, 1, 1, device=x.device) - 1


def mirrored(x: Tensor) -> Tensor:
    """Mirror half of the images, by chance: (N, C, R, R) -> (N, C, R, R)."""
    is_mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(is_mirrored, x.flip(3), x)


def moved(x: Tensor, furthest: int) -> Tensor:
    """Move each image by up to so many pixels, either way along each axis; what moves in
    continues the edge: (N, C, R, R) -> (N, C, R, R)."""
    count, channels, side, _ = x.shape
    moves = torch.randint(2 * furthest + 1, (2, count, 1), device=x.device)
    row, column = moves + torch.arange(side, device=x.device)  # (N, R), in a larger picture
    larger = pad(x, [furthest] * 4, mode="replicate")
    image = torch.arange(count, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[:, None, None]
    return larger[image, channel, row[:, None, :, None], column[:, None, None, :]]


def _outside_of_a_square(x: Tensor, size: int) -> Tensor:
    """Return 0 in a square, as far as it is in the image, and 1 elsewhere: (N, 1, R, R)."""
    side = x.shape[-1]
    start = torch.randint(side, (2, len(x), 1), device=x.device) - size // 2
    place = torch.arange(side, device=x.device)
    row, column = (place >= start) & (place < start + size)  # (N, R)
    return (~(row[:, :, None] & column[:, None, :])).unsqueeze(1).float()
