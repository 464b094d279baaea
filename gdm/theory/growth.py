"""Growing networks: how far a network of a progressive GAN has grown, as a pure function of the
images seen and the run's length.

A level is the base-2 logarithm of the resolution: 2 at 4 x 4 pixels, 5 at 32 x 32. Between two
whole numbers the layers of the upper one fade in, and the fraction is how far. Each level is first
stabilised, then the next one fades in (Karras et al. 2018, section 2 and appendix A.1).
"""

import math
from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from gdm.recipes.ranges import Fraction, Positive

FIRST_LEVEL = 2  # 4 x 4 pixels


class Growth(ABC):
    """From 4 x 4 pixels to the whole resolution.

    Attributes:
        depends_on_length: whether a level depends on the run's length.
    """

    depends_on_length: bool

    @abstractmethod
    def period(self, num_images: float, num_fades: int) -> tuple[float, float]:
        """Return how many images a level is stabilised on, and the next one fades in on.

        Args:
            num_images: of the whole run.
            num_fades: levels that are to fade in.
        """

    def level(self, images_seen: float, num_images: float, resolution: int) -> float:
        """Return the level after so many images of a run that sees `num_images`."""
        last = math.log2(resolution)
        num_fades = round(last) - FIRST_LEVEL
        if num_fades == 0:
            return last
        stabilised, fading = self.period(num_images, num_fades)
        phase, within = divmod(images_seen, stabilised + fading)
        faded = max(within - stabilised, 0.0) / fading
        return min(FIRST_LEVEL + phase + faded, last)

    def begins(self, num_images: float, resolution: int) -> list[float]:
        """Return the images seen when each phase begins, within a run or after it: 4 x 4, the fade
        to 8 x 8, 8 x 8, and so on; the last is the whole resolution."""
        num_fades = round(math.log2(resolution)) - FIRST_LEVEL
        moments = [0.0]
        if num_fades:
            for length in self.period(num_images, num_fades) * num_fades:
                moments.append(moments[-1] + length)
        return moments


class GrowthByImages(Growth):
    """Phases of so many images, whatever the run's length; the paper's are 600,000 each.

    Args:
        stabilise_images: images on which a level is trained before the next one.
        fade_images: images on which the next level fades in.
    """

    depends_on_length = False

    def __init__(self, stabilise_images: Positive, fade_images: Positive) -> None:
        self.stabilise_images = stabilise_images
        self.fade_images = fade_images

    def period(self, num_images: float, num_fades: int) -> tuple[float, float]:
        return self.stabilise_images, self.fade_images


class GrowthByFraction(Growth):
    """Phases of equal length over the first part of a run, whatever its length.

    Args:
        growing_fraction: fraction of the run after which the whole resolution is reached.
    """

    depends_on_length = True

    def __init__(self, growing_fraction: Fraction) -> None:
        self.growing_fraction = growing_fraction

    def period(self, num_images: float, num_fades: int) -> tuple[float, float]:
        phase = max(self.growing_fraction * num_images / (2 * num_fades), 1e-9)
        return phase, phase


def resolution_of(level: float) -> int:
    """Return the resolution of the images that networks of a level make and take."""
    return 2 ** math.ceil(level)


def smaller(x: Tensor, resolution: int) -> Tensor:
    """Average squares of pixels: (N, C, R, R) -> (N, C, resolution, resolution)."""
    factor = x.shape[-1] // resolution
    return avg_pool2d(x, factor) if factor > 1 else x


def larger(x: Tensor, resolution: int) -> Tensor:
    """Repeat pixels: (N, C, R, R) -> (N, C, resolution, resolution)."""
    return x if x.shape[-1] == resolution else interpolate(x, resolution)


def faded(x: Tensor, level: float) -> Tensor:
    """Return images as a network that is growing sees them: those of its resolution, faded with
    those of half of it as its layers are: (N, C, R, R) -> (N, C, R', R')."""
    resolution = resolution_of(level)
    x = smaller(x, resolution)
    fade = level % 1
    if not fade:
        return x
    return larger(smaller(x, resolution // 2), resolution).lerp(x, fade)
