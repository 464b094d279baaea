"""Layers of an equalised learning rate (Karras et al. 2018, section 4.1)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear


class EqualisedLinear(nn.Linear):
    """A linear layer whose weights begin as N(0, 1) and are scaled whenever they are used, so that
    Adam, whose steps do not depend on a gradient's size, moves each layer alike.

        y = (gain rate / sqrt(in_features)) W x + rate b

    Args:
        in_features, out_features: sizes of x and y.
        gain: what the outputs of inputs N(0, 1) have as their std.
        rate: factor of the learning rate of this layer (StyleGAN's "lr multiplier").
        bias: what b begins as; None for no bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        gain: float = 1.0,
        rate: float = 1.0,
        bias: float | None = 0.0,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias is not None)
        self.scale, self.rate = gain * rate / math.sqrt(in_features), rate
        _begin(self, bias)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.scale, _scaled(self.bias, self.rate))


class EqualisedConv2d(nn.Conv2d):
    """The same for a convolution, whose inputs are the `in_channels * kernel_size^2` of a pixel.

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
        has_bias = bias is not None
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=has_bias)
        self.scale, self.rate = gain * rate / math.sqrt(in_channels * kernel_size**2), rate
        _begin(self, bias)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight * self.scale, _scaled(self.bias, self.rate)
        return conv2d(x, weight, bias, self.stride, self.padding)


@torch.no_grad()
def _begin(layer: EqualisedLinear | EqualisedConv2d, bias: float | None) -> None:
    layer.weight.normal_(0.0, 1.0 / layer.rate)
    if bias is not None:
        layer.bias.fill_(bias / layer.rate)


def _scaled(bias: Tensor | None, rate: float) -> Tensor | None:
    return bias if bias is None or rate == 1 else bias * rate
