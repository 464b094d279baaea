"""Layers with an equalised learning rate (Karras et al. 2018, section 4.1), and what networks of
them share.

Weights begin as N(0, 1) and are scaled when they are used, by He et al.'s (2015) constant:

    y = (gain / sqrt(fan_in)) w x + b

So Adam, whose steps do not depend on a gradient's size, moves every layer at the same pace
compared with its weights. A layer of the rate m (Karras et al. 2019, appendix C: the learning-rate
multiplier) has w from N(0, 1 / m^2), and is used with m w and m b: it is the same at first, and m
times as slow.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

RELU_GAIN = math.sqrt(2)  # of a layer before a rectifier, which halves the variance


class _Equalised(nn.Module):
    """Weights and biases of a layer, and what they are scaled by when they are used."""

    def __init__(
        self, shape: tuple[int, ...], gain: float, rate: float, bias: float | None
    ) -> None:
        super().__init__()
        self.rate = rate
        self.scale = rate * gain / math.sqrt(math.prod(shape[1:]))
        self.weight = nn.Parameter(torch.randn(shape) / rate)
        self.bias = None
        if bias is not None:
            self.bias = nn.Parameter(torch.full(shape[:1], bias / rate))

    def scaled(self) -> tuple[Tensor, Tensor | None]:
        """Return the weights and the biases that count."""
        bias = self.bias if self.bias is None or self.rate == 1 else self.bias * self.rate
        return self.weight * self.scale, bias


class EqualisedLinear(_Equalised):
    """A linear layer: (N, in_features) -> (N, out_features).

    Args:
        in_features, out_features: of an input, and of an output.
        gain: standard deviation of an output of inputs of variance 1.
        rate: how fast it learns, compared with others.
        bias: what the biases begin as; None for none.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        gain: float = 1.0,
        rate: float = 1.0,
        bias: float | None = 0.0,
    ) -> None:
        super().__init__((out_features, in_features), gain, rate, bias)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, *self.scaled())


class EqualisedConv2d(_Equalised):
    """A convolution: (N, in_channels, S, S) -> (N, out_channels, S', S').

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as in `nn.Conv2d`.
        gain, rate, bias: as in `EqualisedLinear`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        gain: float = 1.0,
        rate: float = 1.0,
        bias: float | None = 0.0,
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), gain, rate, bias)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, *self.scaled(), stride=self.stride, padding=self.padding)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide features by the root of their mean square: (N, C, ...) -> (N, C, ...).

    Karras et al. 2018, section 4.2.
    """
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class PixelNorm(nn.Module):
    """`pixel_norm` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(x)


def channels_at(
    resolution: int, channel_base: int, channel_max: int, patch_size: int = 1
) -> list[int]:
    """Return the channels at 4 x 4, 8 x 8, ... up to R x R places: at r x r they are
    min(channel_base / r, channel_max), at least one.

    Args:
        resolution: of images.
        channel_base, channel_max: see above.
        patch_size: pixels on a side of a place, so that R is the resolution divided by it.

    Raises:
        ValueError: if the resolution is not a power of two, 16 to 1024.
    """
    if not 16 <= resolution <= 1024 or resolution & (resolution - 1):
        raise ValueError(f"resolution must be a power of two, 16 to 1024, not {resolution}")
    sides = (2**level for level in range(2, (resolution // patch_size).bit_length()))
    return [max(1, min(channel_base // side, channel_max)) for side in sides]
