"""Convolutional encoders and decoders between images and code vectors.

Both work on blocks of 2 x 2 pixels, which become channels: most of the time would otherwise go
into the layers of highest resolution, where the fewest features are.
"""

from itertools import pairwise

import torch
from torch import nn

SMALLEST = 4  # side, in pixels, where the convolutions end
WIDEST = 4  # channels grow to this multiple of the width


def stage_channels(resolution: int, width: int, widest: int = WIDEST) -> list[int]:
    """Return the channels at resolution / 2, resolution / 4, ... down to `SMALLEST`: they
    double at each step, up to `widest` times the width.

    Raises:
        ValueError: if the resolution is not a power of two of at least 16.
    """
    if resolution < 16 or resolution & (resolution - 1):
        raise ValueError(f"resolution must be a power of two, at least 16, not {resolution}")
    num_stages = (resolution // SMALLEST).bit_length() - 1
    return [width * min(2**stage, widest) for stage in range(num_stages)]


class Encoder(nn.Sequential):
    """Images (N, C, R, R) -> features (N, num_features).

    Args:
        channels: C.
        resolution: R, a power of two of at least 16.
        width: channels at R / 2; they double at each halving, up to four times the width.
        num_features: what comes out.
    """

    def __init__(self, channels: int, resolution: int, width: int, num_features: int) -> None:
        stages = stage_channels(resolution, width)
        layers = [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 3, padding=1)]
        for here, below in pairwise(stages):
            layers += [*_activation(here), nn.Conv2d(here, below, 4, stride=2, padding=1)]
        layers += [*_activation(stages[-1]), nn.Flatten()]
        super().__init__(*layers, nn.Linear(stages[-1] * SMALLEST**2, num_features))
        self.to(memory_format=torch.channels_last)  # a tenth faster on a CPU


class Decoder(nn.Sequential):
    """Codes (N, num_features) -> images without a bound (N, C, R, R); the mirror of `Encoder`."""

    def __init__(self, channels: int, resolution: int, width: int, num_features: int) -> None:
        stages = stage_channels(resolution, width)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(num_features, stages[0] * SMALLEST**2),
            nn.Unflatten(1, (stages[0], SMALLEST, SMALLEST)),
        ]
        for here, above in pairwise(stages):
            layers += [*_activation(here), _upsampling(here, above)]
        super().__init__(*layers, *_activation(stages[-1]), _upsampling(stages[-1], channels))
        self.to(memory_format=torch.channels_last)


def _activation(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels, momentum=0.05), nn.SiLU()  # averages over 20 batches


def _upsampling(channels: int, channels_above: int) -> nn.Sequential:
    """Twice the resolution: a convolution whose channels become blocks of 2 x 2 pixels."""
    convolution = nn.Conv2d(channels, 4 * channels_above, 3, padding=1)
    return nn.Sequential(convolution, nn.PixelShuffle(2))
