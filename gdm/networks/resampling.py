"""Resampling with the smooth filter [1, 3, 3, 1] of Karras et al. 2020 (StyleGAN2), beyond the
edges of which images are 0.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

TAPS = (0.125, 0.375, 0.375, 0.125)
REACH = len(TAPS) - 1


def blurred(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Filter each channel by itself: (N, C, H, W) -> (N, C, H + 2 padding - 3, ...).

    Args:
        x: the maps.
        padding: zeros around them.
        gain: factor of what comes out.
    """
    return _Filter.apply(x, padding, math.sqrt(gain))


def doubled(x: Tensor) -> Tensor:
    """Return images of twice the resolution: (N, C, R, R) -> (N, C, 2 R, 2 R)."""
    count, channels, side, _ = x.shape
    spaced = pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1))  # zeros between the pixels
    spaced = spaced.reshape(count, channels, 2 * side, 2 * side)
    return blurred(spaced, padding=2, gain=4.0)[:, :, :-1, :-1]


class _Filter(torch.autograd.Function):
    """The rows, then the columns. Its gradient is the same filter again, since that is symmetric;
    autograd's own takes several times as long where a gradient's gradient is asked for."""

    @staticmethod
    def forward(context, x: Tensor, padding: int, gain: float) -> Tensor:
        context.padding, context.gain = padding, gain
        channels = x.shape[1]
        taps = gain * torch.tensor(TAPS, dtype=x.dtype, device=x.device)
        rows = taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
        columns = taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
        x = conv2d(x, rows, padding=(padding, 0), groups=channels)
        return conv2d(x, columns, padding=(0, padding), groups=channels)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Filter.apply(gradient, REACH - context.padding, context.gain), None, None
