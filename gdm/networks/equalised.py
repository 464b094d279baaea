"""Layers with an equalised learning rate (Karras et al. 2018, section 4.1).

Weights begin as N(0, 1) and are scaled when they are used, by He et al.'s (2015) constant:

    y = (gain / sqrt(fan_in)) w x + b

So Adam, whose steps do not depend on a gradient's scale, moves every layer at the same pace
compared with its weights. A layer with the learning-rate multiplier m (Karras et al. 2019, section
2) has w from N(0, 1 / m^2), and is used with m w and m b: it is the same at first, and m times as
slow.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from gdm.recipes.ranges import Count, Positive

GAIN = math.sqrt(2)  # of a layer before a rectifier


class _Equalised(nn.Module):
    """Weights and biases of a layer, and what they are scaled by when they are used."""

    def __init__(
        self,
        shape: tuple[int, ...],  # of the weights, outputs first
        gain: Positive,
        bias: bool,
        initial_bias: float,
        learning_rate_multiplier: Positive,
    ) -> None:
        super().__init__()
        self.multiplier = learning_rate_multiplier
        self.scale = learning_rate_multiplier * gain / math.sqrt(math.prod(shape[1:]))
        self.weight = nn.Parameter(torch.randn(shape) / learning_rate_multiplier)
        start = torch.full(shape[:1], initial_bias / learning_rate_multiplier)
        self.bias = nn.Parameter(start) if bias else None

    def scaled(self) -> tuple[Tensor, Tensor | None]:
        """Return the weights and the biases that count."""
        bias = None if self.bias is None else self.bias * self.multiplier
        return self.weight * self.scale, bias


class EqualisedLinear(_Equalised):
    """A linear layer: (N, in_features) -> (N, out_features).

    Args:
        in_features, out_features: of an input, and of an output.
        gain: standard deviation of an output of inputs of variance 1.
        bias: whether it has one.
        initial_bias: where the bias begins.
        learning_rate_multiplier: how much faster than others it learns.
    """

    def __init__(
        self,
        in_features: Count,
        out_features: Count,
        gain: Positive = GAIN,
        bias: bool = True,
        initial_bias: float = 0.0,
        learning_rate_multiplier: Positive = 1.0,
    ) -> None:
        shape = (out_features, in_features)
        super().__init__(shape, gain, bias, initial_bias, learning_rate_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, *self.scaled())


class EqualisedConv2d(_Equalised):
    """A convolution that keeps the maps' size: (N, in_channels, S, S) -> (N, out_channels, S, S).

    Args:
        in_channels, out_channels: of the maps.
        kernel_size: odd.
        gain, bias, initial_bias, learning_rate_multiplier: as in `EqualisedLinear`.
    """

    def __init__(
        self,
        in_channels: Count,
        out_channels: Count,
        kernel_size: Count,
        gain: Positive = GAIN,
        bias: bool = True,
        initial_bias: float = 0.0,
        learning_rate_multiplier: Positive = 1.0,
    ) -> None:
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        super().__init__(shape, gain, bias, initial_bias, learning_rate_multiplier)
        self.padding = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, *self.scaled(), padding=self.padding)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide features by the root of their mean square: (N, C, ...) -> (N, C, ...).

    Karras et al. 2018, section 4.2.
    """
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class PixelNorm(nn.Module):
    """`pixel_norm` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(x)


def stage_channels(resolution: int, channel_base: int, channel_max: int) -> list[int]:
    """Return the channels at 4 x 4, 8 x 8, ... up to the resolution R: min(channel_base / R,
    channel_max) each, at least one.

    Raises:
        ValueError: if the resolution is not a power of two, 16 to 1024.
    """
    if not 16 <= resolution <= 1024 or resolution & (resolution - 1):
        raise ValueError(f"resolution must be a power of two, 16 to 1024, not {resolution}")
    sides = (2**level for level in range(2, resolution.bit_length()))
    return [max(1, min(channel_base // side, channel_max)) for side in sides]
