"""The generator and the discriminator of Karras et al. 2018 (Progressive GAN), which grow.

Both are told a level (`gdm.theory.growth`): at level l their images have 2 ** ceil(l) pixels a
side. Layers of higher resolutions are not used, and get no gradient. In between two whole levels
the newest layers fade in: their output is mixed with that of the networks without them.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from gdm.networks import discriminator
from gdm.networks.convolutional import SMALLEST
from gdm.networks.equalised import (
    RELU_GAIN,
    EqualisedConv2d,
    EqualisedLinear,
    PixelNorm,
    channels_at,
    pixel_norm,
)
from gdm.networks.minibatch_std import MinibatchStd
from gdm.recipes.ranges import Count, NonNegativeInt
from gdm.theory.growth import FIRST_LEVEL, larger, smaller

SLOPE = 0.2  # of the rectifiers below zero


class Generator(nn.Module):
    """Latents (N, D), labels (N, K), a level -> images without a bound, (N, C, R', R'), with
    R' = 2 ** ceil(level).

    A linear layer makes maps of 4 x 4; they are doubled by repeating pixels, and convolved twice
    at each size, each time followed by LeakyReLU and pixel norm (appendix A, table 2). Labels are
    indicator vectors beside the latent, before both are normalised.

    Args:
        channels: C.
        resolution: R, that of the last level, a power of two, 16 to 1024.
        latent_dim: D.
        num_labels: K; 0 for none.
        channel_base: maps of r x r pixels have min(channel_base / r, channel_max) channels.
        channel_max: see there.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        latent_dim: Count,
        num_labels: NonNegativeInt,
        channel_base: Count,
        channel_max: Count,
    ) -> None:
        super().__init__()
        stages = channels_at(resolution, channel_base, channel_max)
        num_features = stages[0] * SMALLEST**2
        gain = math.sqrt(2) / SMALLEST  # the paper's code; it is a transposed convolution of 4 x 4
        self.first = EqualisedLinear(latent_dim + num_labels, num_features, gain, bias=None)
        self.bias = nn.Parameter(torch.zeros(stages[0], 1, 1))  # one for each map
        blocks = [[*_rectified(), *_convolved(stages[0], stages[0])]]
        for below, here in pairwise(stages):
            doubled = nn.Upsample(scale_factor=2)
            blocks.append([doubled, *_convolved(below, here), *_convolved(here, here)])
        self.blocks = nn.ModuleList(nn.Sequential(*block) for block in blocks)
        self.to_image = nn.ModuleList(EqualisedConv2d(here, channels, 1) for here in stages)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor, labels: Tensor | None, level: float) -> Tensor:
        if labels is not None:
            z = torch.cat([z, labels], dim=1)
        maps = self.first(pixel_norm(z)).unflatten(1, (-1, SMALLEST, SMALLEST)) + self.bias
        below = maps = maps.contiguous(memory_format=torch.channels_last)
        newest, fade = math.ceil(level) - FIRST_LEVEL, level % 1
        for block in self.blocks[: newest + 1]:
            below, maps = maps, block(maps)
        image = self.to_image[newest](maps)
        if fade:
            image = larger(self.to_image[newest - 1](below), image.shape[-1]).lerp(image, fade)
        return image


class Discriminator(discriminator.Discriminator):
    """Images (N, C, R', R'), labels (N, K), a level -> one number an image, (N,), with
    R' = 2 ** ceil(level).

    Two convolutions at each size, of which the second is halved by averaging before its LeakyReLU;
    at 4 x 4 pixels it is shown how much the images of a batch differ (appendix A, table 2). Labels
    come in as <label's vector, last features> added to the output (Miyato and Koyama 2018,
    equation 3); the paper's own code has a classifier instead.

    Args:
        channels: C.
        resolution: R, that of the last level, a power of two, 16 to 1024.
        num_labels: K; 0 for none.
        channel_base: maps of r x r pixels have min(channel_base / r, channel_max) channels.
        channel_max: see there.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        num_labels: NonNegativeInt,
        channel_base: Count,
        channel_max: Count,
    ) -> None:
        super().__init__()
        stages = channels_at(resolution, channel_base, channel_max)
        smallest = stages[0]
        self.from_image = nn.ModuleList(
            nn.Sequential(EqualisedConv2d(channels, here, 1, gain=RELU_GAIN), nn.LeakyReLU(SLOPE))
            for here in stages
        )
        self.blocks = nn.ModuleList(_halving(here, below) for below, here in pairwise(stages))
        self.features = nn.Sequential(
            MinibatchStd(),
            _convolution(smallest + 1, smallest),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            EqualisedLinear(smallest * SMALLEST**2, smallest, gain=RELU_GAIN),
            nn.LeakyReLU(SLOPE),
        )
        self.last = EqualisedLinear(smallest, 1)
        # an indicator vector has one 1 among K numbers: its labels' vectors are from N(0, 1)
        gain = math.sqrt(max(1, num_labels))
        has_labels = num_labels > 0
        self.project = (
            EqualisedLinear(num_labels, smallest, gain, bias=None) if has_labels else None
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, labels: Tensor | None, level: float) -> Tensor:
        newest, fade = math.ceil(level) - FIRST_LEVEL, level % 1
        x = x.contiguous(memory_format=torch.channels_last)
        maps = self.from_image[newest](x)
        for number in reversed(range(newest)):
            maps = self.blocks[number](maps)
            if fade and number == newest - 1:
                half = smaller(x, x.shape[-1] // 2)
                maps = self.from_image[number](half).lerp(maps, fade)
        features = self.features(maps)
        output = self.last(features).squeeze(1)
        if self.project is not None:
            scale = 1 / math.sqrt(features.shape[1])
            output = output + scale * (self.project(labels) * features).sum(1)
        return output


def _rectified() -> list[nn.Module]:
    return [nn.LeakyReLU(SLOPE), PixelNorm()]


def _convolution(in_channels: int, out_channels: int) -> EqualisedConv2d:
    return EqualisedConv2d(in_channels, out_channels, 3, padding=1, gain=RELU_GAIN)


def _convolved(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [_convolution(in_channels, out_channels), *_rectified()]


def _halving(here: int, below: int) -> nn.Sequential:
    """The paper's code averages before it activates (`fused_scale`, its default)."""
    return nn.Sequential(
        _convolution(here, here),
        nn.LeakyReLU(SLOPE),
        _convolution(here, below),
        nn.AvgPool2d(2),
        nn.LeakyReLU(SLOPE),
    )
