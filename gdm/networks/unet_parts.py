"""What U-Nets are made of: the embedding of the time, residual blocks and attention."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

CHANNELS_PER_GROUP = 16  # of group normalisation in the small network
LOWEST_FREQUENCY = 1e-4  # radians per unit of time; the highest is 1


class Embedding(nn.Module):
    """Time and label -> features: sines and cosines of the time, then two layers.

    Args:
        num_waves: number of sines and cosines together.
        num_features: F.
        num_labels: K; 0 for none.
    """

    def __init__(self, num_waves: int, num_features: int, num_labels: int) -> None:
        super().__init__()
        exponents = torch.linspace(0, 1, num_waves // 2)
        self.register_buffer("frequencies", LOWEST_FREQUENCY**exponents, persistent=False)
        self.label = nn.Embedding(num_labels + 1, num_features) if num_labels else None
        self.layers = nn.Sequential(
            nn.Linear(num_waves // 2 * 2, num_features),
            nn.SiLU(),
            nn.Linear(num_features, num_features),
        )

    def forward(self, time: Tensor, label: Tensor | None) -> Tensor:
        """(N,), (N,) with K for no label -> (N, F), through a last SiLU."""
        angles = time[:, None].float() * self.frequencies
        features = self.layers(torch.cat([angles.sin(), angles.cos()], 1))
        if self.label is not None:
            features = features + self.label(label)
        return silu(features)


class ResidualBlock(nn.Module):
    """x + convolution(dropout(convolution(x))), told the time between the two.

    Args:
        in_channels, out_channels: channels before and after.
        num_features: size of the time's embedding.
        dropout: fraction of the features that are left out.
        num_groups: of the two normalisations.
        scales: the time shifts and scales the features, not only shifts them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_features: int,
        dropout: float,
        num_groups: tuple[int, int],
        scales: bool = True,
    ) -> None:
        super().__init__()
        self.scales = scales
        self.before = nn.Sequential(
            nn.GroupNorm(num_groups[0], in_channels),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.norm = nn.GroupNorm(num_groups[1], out_channels)
        self.time = nn.Linear(num_features, 2 * out_channels if scales else out_channels)
        if scales:
            zeroed(self.time)
        self.after = nn.Sequential(
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.skip = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """(N, in_channels, H, W), (N, F) -> (N, out_channels, H, W)."""
        h = self.before(x)
        modulation = self.time(embedded)[:, :, None, None]
        if self.scales:
            scale, shift = modulation.chunk(2, 1)
            h = torch.addcmul(shift, self.norm(h), 1 + scale)
        else:
            h = self.norm(h + modulation)
        return self.skip(x) + self.after(h)


class Attention(nn.Module):
    """x + self-attention over all places, with one head.

    Args:
        channels: C.
        num_groups: of the normalisation before it.
    """

    def __init__(self, channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(num_groups, channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        parts = self.query_key_value(self.norm(x)).flatten(2).mT.chunk(3, 2)  # (N, H W, C) each
        found = scaled_dot_product_attention(*(part.contiguous() for part in parts))
        return x + self.out(found.mT.reshape(x.shape))


def num_groups(channels: int) -> int:
    """Return the number of groups of about 16 channels that divide them evenly."""
    return math.gcd(channels, max(1, channels // CHANNELS_PER_GROUP))


def zeroed(layer: nn.Module) -> nn.Module:
    """Let a layer begin as zero, so that what it is added to begins as it is."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
