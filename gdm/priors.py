"""Priors p(z) over the codes of a VAE: noise -> codes, and the density of codes."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gdm.losses import gaussian_kl_per_unit, gaussian_log_density
from gdm.moments import Moments
from gdm.ranges import Count


class Prior(nn.Module, ABC):
    """p(z) over codes z, (N, D).

    Args:
        latent_dim: D.
    """

    def __init__(self, latent_dim: Count) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @abstractmethod
    def divergence(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Return the KL divergence of N(mean, diag(exp(log_variance))) from p, or an unbiased
        estimate of it from one sample z: three times (N, D) -> (N,), in nats."""

    @abstractmethod
    def divergence_per_unit(self, mean: Moments, variance: Tensor, log_variance: Tensor) -> Tensor:
        """Return what each unit's q diverges from a normal, on average over the data: (D,) nats.

        Args:
            mean: moments of the posterior means, (D,).
            variance: average of the posterior variances, (D,).
            log_variance: average of their logarithms, (D,).
        """

    @abstractmethod
    def transform(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise into samples of p: (N, D) -> (N, D)."""


class StandardNormal(Prior):
    """N(0, I), with the KL in closed form (Kingma and Welling 2014)."""

    def divergence(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        return gaussian_kl_per_unit(mean, log_variance).sum(1)

    def divergence_per_unit(self, mean: Moments, variance: Tensor, log_variance: Tensor) -> Tensor:
        second_moment = variance + mean.variance + mean.mean.square()
        return 0.5 * (second_moment - 1 - log_variance)  # the average of `gaussian_kl_per_unit`

    def transform(self, noise: Tensor) -> Tensor:
        return noise


class Flow(Prior):
    """Standard normal noise bent by affine couplings, trained with the rest of the ELBO.

    The codes of all images together do not fill N(0, I) evenly, and what is sampled from the
    gaps decodes badly. A learned prior follows the codes, and the ELBO stays a bound (Chen et
    al. 2017, "Variational lossy autoencoder", section 3.2); couplings as in Dinh et al. 2017.

    Args:
        latent_dim: D, at least 2.
        num_layers: couplings; each changes half of the units by functions of the other half.
        num_hidden: width of these functions.
    """

    def __init__(self, latent_dim: Count, num_layers: Count, num_hidden: Count) -> None:
        super().__init__(latent_dim)
        if latent_dim < 2:
            raise ValueError("latent_dim must be at least 2 for a coupling")
        self.couplings = nn.ModuleList(
            Coupling(latent_dim, num_hidden, flipped=number % 2 == 1)
            for number in range(num_layers)
        )

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats: (N, D) -> (N,)."""
        log_determinant = torch.zeros(len(z), device=z.device)
        for coupling in self.couplings:
            z, log_scale = coupling(z)
            log_determinant = log_determinant + log_scale
        return gaussian_log_density(z, torch.zeros_like(z), torch.zeros_like(z)) + log_determinant

    def divergence(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        # the entropy of q(z | x) is known; only log p(z) is estimated
        entropy = 0.5 * (1 + math.log(2 * math.pi) + log_variance).sum(1)
        return -entropy - self.log_prob(z)

    def divergence_per_unit(self, mean: Moments, variance: Tensor, log_variance: Tensor) -> Tensor:
        # the flow ties units together; this is KL from the normal that fits the unit best, a
        # bound on what the unit tells about the image
        return 0.5 * ((variance + mean.variance).log() - log_variance)

    def transform(self, noise: Tensor) -> Tensor:
        for coupling in reversed(self.couplings):
            noise = coupling.inverse(noise)
        return noise


class Coupling(nn.Module):
    """y_1 = x_1, y_2 = x_2 * exp(s(x_1)) + t(x_1), after a shift and scale of every unit
    (Dinh et al. 2017, equations 7 and 8; Kingma and Dhariwal 2018 for the shift and scale).

    Args:
        latent_dim: D.
        num_hidden: width of the network that gives s and t.
        flipped: change the first half of the units by the second, not the second by the first.
    """

    def __init__(self, latent_dim: int, num_hidden: int, flipped: bool) -> None:
        super().__init__()
        self.flipped = flipped
        self.num_kept = latent_dim // 2
        num_changed = latent_dim - self.num_kept
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        self.network = nn.Sequential(
            nn.Linear(self.num_kept, num_hidden), nn.SiLU(),
            nn.Linear(num_hidden, num_hidden), nn.SiLU(),
            nn.Linear(num_hidden, 2 * num_changed),
        )  # fmt: skip
        nn.init.zeros_(self.network[-1].weight)  # the identity at the start
        nn.init.zeros_(self.network[-1].bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and the log determinant of its Jacobian: (N, D) -> (N, D), (N,)."""
        x = (x + self.shift) * self.log_scale.exp()
        x_1, x_2 = self._split(x)
        s, t = self._scale_and_shift(x_1)
        return self._join(x_1, x_2 * s.exp() + t), s.sum(1) + self.log_scale.sum()

    def inverse(self, y: Tensor) -> Tensor:
        """Undo `forward`: (N, D) -> (N, D)."""
        y_1, y_2 = self._split(y)
        s, t = self._scale_and_shift(y_1)
        x = self._join(y_1, (y_2 - t) * (-s).exp())
        return x * (-self.log_scale).exp() - self.shift

    def _scale_and_shift(self, x_1: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.network(x_1).chunk(2, dim=1)
        return 2 * torch.tanh(s / 2), t  # a bounded scale keeps both directions stable

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flip(1) if self.flipped else x
        return x[:, : self.num_kept], x[:, self.num_kept :]

    def _join(self, x_1: Tensor, x_2: Tensor) -> Tensor:
        x = torch.cat([x_1, x_2], dim=1)
        return x.flip(1) if self.flipped else x
