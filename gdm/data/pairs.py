"""Pairs of any data set: what an image is to be made from, as a function of the image itself.

Nothing of it is kept or drawn: the same image has the same source in every split, batch and run,
on every device.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur, rgb_to_grayscale

from gdm.recipes.ranges import AtLeastTwo, Fraction, NonNegative, Positive
from gdm.theory.images import GREY_LEVELS_PER_UNIT, ImageFacts

Maker = Callable[[Tensor], Tensor]
Kind = Literal["edges", "grey", "small", "masked", "noisy"]

MID_GREY = 128
WHITE = 255
BITS_32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Pairing:
    """How the source of each kind of pair is made from its target, an image.

    All of them take and return 8-bit values, (N, C, H, W), on any device.

    Args:
        edge_sigma: pixels over which the image is blurred before its edges are looked for.
        edge_threshold: how steep the blurred image is at an edge at least: the fraction of the
            range from black to white that one pixel makes. A sharp step makes two fifths of its
            height.
        factor: how many times as small an image `small` is made from.
        masked_fraction: the side of the square that `masked` hides, as a fraction of the image's.
        noise_std: standard deviation of the noise of `noisy`, of images in [-1, 1].
    """

    edge_sigma: Positive = 0.7
    edge_threshold: Fraction = 0.07
    factor: AtLeastTwo = 4
    masked_fraction: Fraction = 0.5
    noise_std: NonNegative = 0.5

    def maker(self, kind: Kind | None, facts: ImageFacts) -> tuple[Maker | None, int | None]:
        """Return what makes the sources of images, and how many channels these have; None of both
        for no pairs.

        Raises:
            ValueError: if images of these facts have no such sources.
        """
        if kind is None:
            return None, None
        if kind == "grey" and facts.channels == 1:
            raise ValueError("pairs=grey: the images are grey already; choose another")
        if kind == "small" and facts.native_resolution % self.factor:
            raise ValueError(
                f"pairing.factor={self.factor}: must divide the images' "
                f"{facts.native_resolution} pixels a side"
            )
        return getattr(self, kind), 1 if kind in ("edges", "grey") else facts.channels

    def edges(self, x: Tensor) -> Tensor:
        """Return black lines on white, (N, 1, H, W), where an image is steepest.

        They are those of Canny (1986) without his second threshold: the image is blurred, and
        a pixel is on an edge where the slope is above the threshold and no less than one pixel
        further, up and down the slope. Of a colour image the steepest channel counts.
        """
        reach = max(1, round(3 * self.edge_sigma))
        smooth = gaussian_blur(x / WHITE, 2 * reach + 1, self.edge_sigma)
        down, right = torch.gradient(smooth, dim=(-2, -1))
        squared, steepest = (down**2 + right**2).max(1, keepdim=True)  # (N, 1, H, W)
        down, right = down.gather(1, steepest), right.gather(1, steepest)
        is_edge = (squared > self.edge_threshold**2) & _is_crest(squared, down, right)
        return is_edge.logical_not().to(torch.uint8).mul_(WHITE)

    def grey(self, x: Tensor) -> Tensor:
        """Return how bright an image is, (N, 1, H, W): one channel, since the colours are gone."""
        brightness = rgb_to_grayscale(x.float())  # which would round bytes down
        return brightness.round_().to(torch.uint8)

    def small(self, x: Tensor) -> Tensor:
        """Return an image of the size it had, whose squares of `factor` pixels have their mean."""
        means = F.avg_pool2d(x.float(), self.factor).round().to(torch.uint8)
        return means.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)

    def masked(self, x: Tensor) -> Tensor:
        """Return an image whose middle is a square of grey."""
        height, width = x.shape[-2:]
        tall, wide = round(self.masked_fraction * height), round(self.masked_fraction * width)
        top, left = (height - tall) // 2, (width - wide) // 2
        hidden = x.clone()
        hidden[..., top : top + tall, left : left + wide] = MID_GREY
        return hidden

    def noisy(self, x: Tensor) -> Tensor:
        """Return an image with normal noise, which follows from the image, cut at both ends."""
        noise = _noise_of(x).mul_(self.noise_std * GREY_LEVELS_PER_UNIT)
        return noise.add_(x).round_().clamp_(0, WHITE).to(torch.uint8)


def _is_crest(slope: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Whether the slope at a pixel is no less than one pixel further in its direction, and more
    than one pixel back: (N, 1, H, W) -> bool. The direction is the nearest of eight."""
    quarter = torch.atan2(down, right).div(math.pi / 4).round().long() % 4
    height, width = slope.shape[-2:]
    around = F.pad(slope, (1, 1, 1, 1))
    crest = torch.zeros_like(slope, dtype=torch.bool)
    for number, (y, x) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        further = around[..., 1 + y : 1 + y + height, 1 + x : 1 + x + width]
        back = around[..., 1 - y : 1 - y + height, 1 - x : 1 - x + width]
        crest |= (quarter == number) & (slope >= further) & (slope > back)
    return crest


def _noise_of(x: Tensor) -> Tensor:
    """Return standard normal noise of the shape of 8-bit images, a function of each image alone.

    Every pixel hashes the number of its image and its own place to 32 bits, of which 23 become a
    number in (0, 1), and that a normal one by the inverse of the distribution function.
    """
    place = torch.arange(x[0].numel(), device=x.device)
    weight = _mixed(place + 1)
    image = (x.flatten(1) * weight).sum(1, keepdim=True) & BITS_32  # (N, 1): differs as images do
    bits = _mixed(_mixed(image) ^ weight)  # (N, C * H * W)
    uniform = ((bits >> 9) + 0.5) / 2**23
    return (2 * uniform - 1).erfinv_().mul_(math.sqrt(2)).view(x.shape)


def _mixed(bits: Tensor) -> Tensor:
    """Scatter whole numbers over 32 bits, each to another (Wellons 2018, "lowbias32")."""
    bits = (bits ^ bits >> 16) * 0x7FEB352D & BITS_32
    bits = (bits ^ bits >> 15) * 0x846CA68B & BITS_32
    return bits ^ bits >> 16
