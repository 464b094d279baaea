"""The generator and the discriminator of Huang et al. 2024 (R3GAN), for any power of two."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from gdm.networks import discriminator
from gdm.networks.convolutional import SMALLEST
from gdm.networks.equalised import channels_at
from gdm.recipes.ranges import Count, NonNegativeInt, PatchSize

EXPANSION = 2  # a block's grouped convolution has so many times the channels of its stage
SLOPE = 0.2  # of LeakyReLU below 0
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through LeakyReLU (He et al. 2015)


class Generator(nn.Module):
    """Latents (N, D), labels (N, K) -> images, (N, C, R, R).

    A learned basis of 4 x 4 pixels, each channel times a number that is linear in the latent,
    then a stage of residual blocks at each resolution (Huang et al. 2024, section 3 and appendix
    E). Nothing is normalised. A label's learned vector, as long as a latent, stands beside it. As
    its blocks begin as the identity, G begins linear in both.

    Args:
        channels: C.
        resolution: R, a power of two, 16 to 1024.
        latent_dim: D.
        num_labels: K; 0 for none.
        channel_base: at resolution r there are min(channel_base / r, channel_max) channels.
        channel_max: see `channel_base`.
        group_channels: channels of a group of the grouped convolutions, where there are as many.
        blocks_per_stage: residual blocks at each resolution.
        patch_size: the maps have a place for each block of so many pixels a side, which are
            channels there; 1 is the paper's, 2 spares a CPU most of its time.
        bounded: whether images go through tanh, so that plain black or white is easily made; the
            paper's are without a bound.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        latent_dim: Count,
        num_labels: NonNegativeInt,
        channel_base: Count,
        channel_max: Count,
        group_channels: Count,
        blocks_per_stage: Count,
        patch_size: PatchSize = 1,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        widths = channels_at(resolution, channel_base, channel_max, patch_size)
        num_blocks = blocks_per_stage * len(widths)
        self.embed = _linear(num_labels, latent_dim) if num_labels else None
        self.basis = nn.Parameter(torch.randn(widths[0], SMALLEST, SMALLEST))
        self.modulate = _linear(latent_dim * (2 if num_labels else 1), widths[0])
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            layers += _upwards(widths[number - 1], width) if number else []
            layers += _stage(width, group_channels, blocks_per_stage, num_blocks)
        to_image = _convolution(widths[-1], channels * patch_size**2)
        bound = nn.Tanh() if bounded else nn.Identity()
        self.rest = nn.Sequential(*layers, to_image, nn.PixelShuffle(patch_size), bound)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if self.embed is not None:
            z = torch.cat([z, self.embed(labels)], dim=1)  # (N, 2 D)
        maps = self.modulate(z)[:, :, None, None] * self.basis  # (N, C_4, 4, 4)
        return self.rest(maps.contiguous(memory_format=torch.channels_last))


class Discriminator(discriminator.Discriminator):
    """Images (N, C, R, R), labels (N, K) -> one number an image, (N,).

    The generator the other way round: stages of residual blocks down to 4 x 4 pixels, each channel
    there weighed by a learned map, then a linear layer (Huang et al. 2024, section 3 and appendix
    E). With labels the output is <label's vector, features>. D begins linear in the image.

    Args:
        channels: C.
        resolution: R, a power of two, 16 to 1024.
        num_labels: K; 0 for none.
        channel_base: at resolution r there are min(channel_base / r, channel_max) channels.
        channel_max: see `channel_base`.
        group_channels: channels of a group of the grouped convolutions, where there are as many.
        blocks_per_stage: residual blocks at each resolution.
        patch_size: the maps have a place for each block of so many pixels a side, which are
            channels there; 1 is the paper's, 2 spares a CPU most of its time.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        num_labels: NonNegativeInt,
        channel_base: Count,
        channel_max: Count,
        group_channels: Count,
        blocks_per_stage: Count,
        patch_size: PatchSize = 1,
    ) -> None:
        super().__init__()
        widths = channels_at(resolution, channel_base, channel_max, patch_size)[::-1]
        num_blocks = blocks_per_stage * len(widths)
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(patch_size),
            _convolution(channels * patch_size**2, widths[0]),
        ]
        for number, width in enumerate(widths):
            layers += _downwards(widths[number - 1], width) if number else []
            layers += _stage(width, group_channels, blocks_per_stage, num_blocks)
        basis = nn.Conv2d(widths[-1], widths[-1], SMALLEST, groups=widths[-1], bias=False)
        self.features = nn.Sequential(*layers, _initialised(basis), nn.Flatten())
        self.last = _linear(widths[-1], widths[-1] if num_labels else 1)
        self.embed = _linear(num_labels, widths[-1], widths[-1] ** -0.5) if num_labels else None
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        maps = self.features(x.contiguous(memory_format=torch.channels_last))
        output = self.last(maps)  # (N, 1), or (N, C_4) with labels
        return output.squeeze(1) if self.embed is None else (output * self.embed(labels)).sum(1)


class _Residual(nn.Module):
    """x + a bottleneck turned inside out: convolutions of 1 x 1, 3 x 3 in groups, and 1 x 1.

    The last is 0 at first, and the others' gains fall with the number of blocks L as L^(-1/4),
    which is L^(-1 / (2 m - 2)) with m = 3 layers (Zhang et al. 2019, Fixup): however deep, the
    network's first steps change its output alike.
    """

    def __init__(self, channels: int, group_channels: int, num_blocks: int) -> None:
        super().__init__()
        hidden = EXPANSION * channels
        in_group = min(group_channels, hidden)
        if hidden % in_group:
            raise ValueError(
                f"group_channels={group_channels}: must divide {hidden}, twice the channels of a "
                "stage"
            )
        gain = GAIN * num_blocks**-0.25
        self.layers = nn.Sequential(
            _initialised(nn.Conv2d(channels, hidden, 1), gain),
            nn.LeakyReLU(SLOPE),
            _initialised(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden // in_group), gain),
            nn.LeakyReLU(SLOPE),
            _initialised(nn.Conv2d(hidden, channels, 1, bias=False), 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class _Resample(nn.Module):
    """Halve or double the pixels with the filter [1, 2, 1] along each axis, each channel alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = (row[:, None] * row).expand(channels, 1, 3, 3)
        self.register_buffer("kernel", kernel.contiguous(), persistent=False)


class _Down(_Resample):
    """(N, C, R, R) -> (N, C, R / 2, R / 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.kernel, stride=2, padding=1, groups=x.shape[1])


class _Up(_Resample):
    """(N, C, R, R) -> (N, C, 2 R, 2 R): between pixels the mean of their neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return conv_transpose2d(
            x, 4 * self.kernel, stride=2, padding=1, output_padding=1, groups=x.shape[1]
        )


def _stage(width: int, group_channels: int, count: int, num_blocks: int) -> list[nn.Module]:
    return [_Residual(width, group_channels, num_blocks) for _ in range(count)]


def _upwards(width: int, width_above: int) -> list[nn.Module]:
    change = [] if width == width_above else [_convolution(width, width_above)]
    return [*change, _Up(width_above)]


def _downwards(width: int, width_below: int) -> list[nn.Module]:
    change = [] if width == width_below else [_convolution(width, width_below)]
    return [_Down(width), *change]


def _convolution(channels: int, channels_after: int) -> nn.Module:
    return _initialised(nn.Conv2d(channels, channels_after, 1, bias=False))


def _linear(features: int, features_after: int, gain: float = 1.0) -> nn.Module:
    return _initialised(nn.Linear(features, features_after, bias=False), gain)


def _initialised(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """Draw weights from N(0, gain^2 / fan_in), so that the variance is kept up to gain^2."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
