"""The generator and the discriminator of Radford et al. 2016 (DCGAN), for any power of two."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gdm.networks import discriminator
from gdm.networks.convolutional import SMALLEST, stage_channels
from gdm.networks.minibatch_std import MinibatchStd
from gdm.recipes.ranges import Count, Fraction, NonNegativeInt

WIDEST = 8  # channels grow to this multiple of the width


class Generator(nn.Module):
    """Latents (N, D), labels (N, K) -> images in [-1, 1], (N, C, R, R).

    A linear layer makes maps of 4 x 4; transposed convolutions double them, each after BatchNorm
    and ReLU. Labels are indicator vectors beside the latent.

    Args:
        channels: C.
        resolution: R, a power of two of at least 16.
        latent_dim: D.
        num_labels: K; 0 for none.
        width: channels at R / 2; they double at each halving, up to eight times the width.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        latent_dim: Count,
        num_labels: NonNegativeInt,
        width: Count,
    ) -> None:
        super().__init__()
        stages = stage_channels(resolution, width, WIDEST)[::-1]
        self.first = nn.Linear(latent_dim + num_labels, stages[0] * SMALLEST**2, bias=False)
        layers: list[nn.Module] = []
        for here, above in pairwise(stages):
            layers += [nn.BatchNorm2d(here), nn.ReLU(), _doubling(here, above)]
        layers += [
            nn.BatchNorm2d(stages[-1]),
            nn.ReLU(),
            _doubling(stages[-1], channels),
            nn.Tanh(),
        ]
        self.rest = nn.Sequential(*layers)
        self.apply(_initialise)
        self.to(memory_format=torch.channels_last)  # a tenth faster on a CPU

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if labels is not None:
            z = torch.cat([z, labels], dim=1)
        maps = self.first(z).unflatten(1, (-1, SMALLEST, SMALLEST))
        return self.rest(maps.contiguous(memory_format=torch.channels_last))


class Discriminator(discriminator.Discriminator):
    """Images (N, C, R, R), labels (N, K) -> one number an image, (N,).

    Convolutions of stride 2 down to 4 x 4, each followed by a normalisation (but the first) and
    LeakyReLU, then a linear layer.

    Args:
        channels: C.
        resolution: R, a power of two of at least 16.
        num_labels: K; 0 for none.
        width: channels at R / 2; they double at each halving, up to eight times the width.
        normalisation: `batch` as in DCGAN; `spectral` divides the weights of each convolution, as
            a matrix, by their largest singular value (Miyato et al. 2018), and leaves the last
            layer free; `layer` is over all of an image's features, so that a penalty may still
            look at images one by one.
        conditioning: how labels come in, if there are any: as further planes of the image
            (`concatenation`; Mirza and Osindero 2014), or as <label's vector, features> added to
            the output (`projection`; Miyato and Koyama 2018, equation 3).
        dropout: fraction of the features after each convolution that is left out in training.
        minibatch_std: show the last layer how much the images of a batch differ (Karras et
            al. 2018, section 3), which a generator that repeats itself cannot hide.
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        num_labels: NonNegativeInt,
        width: Count,
        normalisation: Literal["none", "batch", "layer", "spectral"],
        conditioning: Literal["projection", "concatenation"],
        dropout: Fraction,
        minibatch_std: bool,
    ) -> None:
        super().__init__()
        self.width, self.dropout, self.normalisation = width, dropout, normalisation
        self.minibatch_std = minibatch_std
        has_labels = num_labels > 0
        self.labels_are_planes = has_labels and conditioning == "concatenation"
        channels += num_labels if self.labels_are_planes else 0
        bias = normalisation != "batch"  # which has one of its own; the paper has no other
        normalised = _normalisation(normalisation)
        stages = stage_channels(resolution, width, WIDEST)
        layers = [_halving(channels, width, bias), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        for here, below in pairwise(stages):
            layers += [_halving(here, below, bias), *normalised(below)]
            layers += [nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.features = nn.Sequential(*layers)
        self.std = MinibatchStd() if minibatch_std else nn.Identity()
        num_maps = stages[-1] + int(minibatch_std)
        self.last = nn.Linear(num_maps * SMALLEST**2, 1, bias=bias)
        by_projection = has_labels and not self.labels_are_planes
        num_features = stages[-1] * SMALLEST**2
        self.project = nn.Linear(num_labels, num_features, bias=False) if by_projection else None
        self.apply(_initialise)
        if normalisation == "spectral":
            convolutions = (each for each in layers if isinstance(each, nn.Conv2d))
            for convolution in convolutions:
                spectral_norm(convolution)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        if self.labels_are_planes:
            planes = labels[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, planes], dim=1)  # (N, C + K, R, R)
        maps = self.features(x.contiguous(memory_format=torch.channels_last))
        output = self.last(self.std(maps).flatten(1)).squeeze(1)
        if self.project is not None:
            output = output + (self.project(labels) * maps.flatten(1)).sum(1)
        return output


def _normalisation(name: str) -> Callable[[int], list[nn.Module]]:
    kinds = {
        "batch": lambda channels: [nn.BatchNorm2d(channels)],
        "layer": lambda channels: [nn.GroupNorm(1, channels)],
    }
    return kinds.get(name, lambda channels: [])


def _halving(channels: int, channels_below: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, channels_below, 4, stride=2, padding=1, bias=bias)


def _doubling(channels: int, channels_above: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels_above, 4, stride=2, padding=1, bias=False)


def _initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and gains of BatchNorm from N(1, 0.02), section 4."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
