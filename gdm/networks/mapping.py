"""From latents to styles (Karras et al. 2019, StyleGAN)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from gdm.networks.equalised import EqualisedLinear, pixel_norm

MAPPING_RATE = 0.01  # of the learning rate (Karras et al. 2019, appendix C)


class Mapping(nn.Module):
    """Latents (N, D), labels (N, K) -> vectors w, (N, W).

    Both a latent and its label's vector are brought to a mean square of 1 first, so that only a
    latent's direction counts.

    Args:
        latent_dim: D; 0 where only labels are mapped.
        num_labels: K; 0 for none.
        num_features: W.
        num_layers: each learns at a hundredth of the rate.
    """

    def __init__(
        self, latent_dim: int, num_labels: int, num_features: int, num_layers: int
    ) -> None:
        super().__init__()
        self.embed = EqualisedLinear(num_labels, num_features) if num_labels else None
        inputs = latent_dim + (num_features if num_labels else 0)
        sizes = [inputs, *[num_features] * num_layers]
        self.layers = nn.ModuleList(
            EqualisedLinear(*pair, rate=MAPPING_RATE) for pair in pairwise(sizes)
        )

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x = pixel_norm(z)
        if self.embed is not None:
            x = torch.cat([x, pixel_norm(self.embed(labels))], dim=1)
        for layer in self.layers:
            x = activated(layer(x))
        return x


def activated(x: Tensor) -> Tensor:
    """Return LeakyReLU of slope 0.2 times sqrt 2, which keeps the variance."""
    return leaky_relu(x, 0.2).mul_(math.sqrt(2))
