"""The generator of Karras et al. 2019 (StyleGAN), which grows; its discriminator is that of the
progressive GAN (`gdm.networks.progressive`).

Layers of higher resolutions than the level's (`gdm.theory.growth`) are not used.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, instance_norm, leaky_relu, pad

from gdm.networks.convolutional import SMALLEST
from gdm.networks.equalised import (
    RELU_GAIN,
    EqualisedConv2d,
    EqualisedLinear,
    channels_at,
)
from gdm.networks.mapping import Mapping
from gdm.recipes.ranges import Count, NonNegativeInt
from gdm.theory.growth import FIRST_LEVEL, larger


class Generator(nn.Module):
    """Latents (N, D), labels (N, K), a level -> images without a bound (N, C, R', R'), with
    R' = 2 ** ceil(level): a latent is mapped to a vector w of the same size, and each of the L
    layers of the synthesis is given a style, which is that w.

    Args:
        channels: C.
        resolution: R, that of the last level, a power of two, 16 to 1024.
        latent_dim: D.
        num_labels: K; 0 for none.
        num_mapping_layers: from the latent to w.
        channel_base: channels at resolution r are channel_base / r,
        channel_max: but at most this many.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        latent_dim: Count,
        num_labels: NonNegativeInt,
        num_mapping_layers: Count,
        channel_base: Count,
        channel_max: Count,
    ) -> None:
        super().__init__()
        widths = channels_at(resolution, channel_base, channel_max)
        self.mapping = Mapping(latent_dim, num_labels, latent_dim, num_mapping_layers)
        self.synthesis = Synthesis(channels, widths, latent_dim)
        self.num_styles = 2 * len(widths)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor, labels: Tensor | None, level: float) -> Tensor:
        w = self.mapping(z, labels)
        return self.synthesis(w.unsqueeze(1).expand(-1, self.num_styles, -1), level)  # (N, L, D)


class Synthesis(nn.Module):
    """Styles (N, L, D), a level -> images (N, C, R', R').

    Args:
        channels: C.
        widths: channels at 4 x 4, 8 x 8, ..., R x R pixels; two layers each.
        latent_dim: D.
    """

    def __init__(self, channels: int, widths: list[int], latent_dim: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.ones(1, widths[0], SMALLEST, SMALLEST))
        blocks = [Block(widths[0], widths[0], latent_dim, SMALLEST, doubles=False)]
        for stage, (below, here) in enumerate(pairwise(widths), 1):
            blocks.append(Block(below, here, latent_dim, SMALLEST * 2**stage, doubles=True))
        self.blocks = nn.ModuleList(blocks)
        self.to_images = nn.ModuleList(EqualisedConv2d(width, channels, 1) for width in widths)

    def forward(self, styles: Tensor, level: float) -> Tensor:
        newest, fade = math.ceil(level) - FIRST_LEVEL, level % 1
        below = maps = self.constant.expand(len(styles), -1, -1, -1)
        for number, block in enumerate(self.blocks[: newest + 1]):
            below, maps = maps, block(maps, styles[:, 2 * number], styles[:, 2 * number + 1])
        image = self.to_images[newest](maps)
        if fade:
            image = larger(self.to_images[newest - 1](below), image.shape[-1]).lerp(image, fade)
        return image


class Block(nn.Module):
    """Two layers of one resolution: a convolution, which the first has only where it doubles the
    resolution, then what `Epilogue` does."""

    def __init__(
        self, in_channels: int, out_channels: int, latent_dim: int, side: int, doubles: bool
    ) -> None:
        super().__init__()
        self.doubling = None
        if doubles:
            self.doubling = EqualisedConv2d(
                in_channels, out_channels, 3, padding=1, gain=RELU_GAIN, bias=None
            )
        self.first = Epilogue(out_channels, latent_dim, side)
        self.convolution = EqualisedConv2d(
            out_channels, out_channels, 3, padding=1, gain=RELU_GAIN, bias=None
        )
        self.second = Epilogue(out_channels, latent_dim, side)

    def forward(self, x: Tensor, first_style: Tensor, second_style: Tensor) -> Tensor:
        if self.doubling is not None:
            x = smoothed(self.doubling(larger(x, 2 * x.shape[-1])))
        x = self.first(x, first_style)
        return self.second(self.convolution(x), second_style)


class Epilogue(nn.Module):
    """Noise, a bias, LeakyReLU, and the style, which replaces each map's mean and variance:

        AdaIN(x, w) = (1 + scale(w)) (x - mean(x)) / std(x) + shift(w)

    Equation 1. Noise is one number per pixel, times one strength per map that begins at 0; in
    evaluation it is constant.
    """

    def __init__(self, channels: int, latent_dim: int, side: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.style = EqualisedLinear(latent_dim, 2 * channels)
        self.register_buffer("noise", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        noise = torch.randn_like(x[:, :1]) if self.training else self.noise
        x = leaky_relu(x + self.strength * noise + self.bias, 0.2)
        scale, shift = self.style(w)[:, :, None, None].chunk(2, dim=1)
        return (1 + scale) * instance_norm(x, eps=1e-8) + shift


def smoothed(x: Tensor) -> Tensor:
    """Filter with [1, 2, 1] / 4 along both axes, beyond the edges of which maps are 0."""
    return avg_pool2d(avg_pool2d(pad(x, (1, 1, 1, 1)), 2, stride=1), 2, stride=1)
