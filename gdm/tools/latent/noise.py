"""What spoils images: kinds of noise, each with one strength; image i of a seed has its own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gdm.theory.randomness import normal, uniform

BLACK, WHITE = -1.0, 1.0
Noise = Callable[[Tensor, Sequence[int], float, int], Tensor]


def gaussian(x: Tensor, index: Sequence[int], strength: float, seed: int) -> Tensor:
    """Add normal noise with this standard deviation, in units of the images' range [-1, 1]."""
    return x + strength * normal(index, x.shape[1:], seed, "gaussian").to(x.device)


def salt_and_pepper(x: Tensor, index: Sequence[int], strength: float, seed: int) -> Tensor:
    """Make this fraction of the pixels black or white, as many of either on average."""
    chance = _of_pixels(x, index, seed, "salt and pepper")
    x = torch.where(chance < strength / 2, BLACK, x)
    return torch.where(chance > 1 - strength / 2, WHITE, x)


def masking(x: Tensor, index: Sequence[int], strength: float, seed: int) -> Tensor:
    """Make this fraction of the pixels black (Vincent et al. 2008)."""
    return torch.where(_of_pixels(x, index, seed, "masking") < strength, BLACK, x)


def cutout(x: Tensor, index: Sequence[int], strength: float, seed: int) -> Tensor:
    """Make a square with this fraction of the area black, somewhere in the image."""
    height, width = x.shape[2:]
    sides = torch.tensor([round(strength**0.5 * side) for side in (height, width)])
    free = torch.tensor([height, width]) - sides + 1  # places of the upper left corner
    corner = (uniform(index, (2,), seed, "cutout") * free).long()  # (N, 2)
    rows, columns = (
        (torch.arange(side) >= start[:, None]) & (torch.arange(side) < start[:, None] + hole)
        for side, start, hole in zip((height, width), corner.T, sides, strict=True)
    )
    hole = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
    return torch.where(hole.to(x.device), BLACK, x)


def _of_pixels(x: Tensor, index: Sequence[int], seed: int, purpose: str) -> Tensor:
    """Return a number in [0, 1) for each pixel, the same for all its colours: (N, 1, H, W)."""
    return uniform(index, (1, *x.shape[2:]), seed, purpose).to(x.device)


NOISES: dict[str, Noise] = {
    "gaussian": gaussian,
    "salt_and_pepper": salt_and_pepper,
    "masking": masking,
    "cutout": cutout,
}
FRACTIONS = ("salt_and_pepper", "masking", "cutout")  # whose strength is a fraction of the pixels
