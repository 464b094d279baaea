"""A small residual network that tells classes apart."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from gdm.networks.convolutional import SMALLEST, stage_channels


class ConvolutionalClassifier(nn.Module):
    """Images (N, C, R, R) -> logits (N, K).

    Blocks of 2 x 2 pixels become channels; each halving of the resolution is followed by a
    residual block (He et al. 2016). Each of the last maps becomes one feature, by a weight for
    each place (the global depthwise convolution of Chen et al. 2018, MobileFaceNets): where
    something is tells clothes apart, which a mean would forget.

    Args:
        channels: C.
        resolution: R, a power of two of at least 16.
        num_classes: K.
        width: channels at R / 2; they double at each halving, up to four times the width.
        num_features: F, size of the last hidden layer.
        dropout: fraction of the features that are left out in training.
    """

    def __init__(
        self,
        channels: int,
        resolution: int,
        num_classes: int,
        width: int,
        num_features: int,
        dropout: float,
    ) -> None:
        super().__init__()
        stages = stage_channels(resolution, width)
        layers: list[nn.Module] = [_Convolution(4 * channels, width)]
        for here, below in pairwise(stages):
            layers += [_Convolution(here, below, stride=2), _Residual(below)]
        layers += [_Convolution(stages[-1], num_features, size=1), _Summary(num_features)]
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the last hidden layer: (N, C, R, R) -> (N, F), at least 0."""
        blocks = pixel_unshuffle(x, 2)  # (N, 4 C, R / 2, R / 2)
        return self.body(blocks.contiguous(memory_format=torch.channels_last))  # faster on a CPU

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


class _Convolution(nn.Sequential):
    """A convolution that keeps the resolution, or divides it by the stride; BatchNorm; ReLU."""

    def __init__(self, inside: int, outside: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inside, outside, size, stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(outside, momentum=0.05),  # averages over 20 batches
            nn.ReLU(inplace=True),
        )


class _Residual(nn.Module):
    """x + convolution(convolution(x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            _Convolution(channels, channels), _Convolution(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class _Summary(nn.Sequential):
    """Maps (N, F, S, S) -> features (N, F), none below 0."""

    def __init__(self, num_features: int) -> None:
        super().__init__(
            nn.Conv2d(num_features, num_features, SMALLEST, groups=num_features, bias=False),
            nn.BatchNorm2d(num_features, momentum=0.05),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
