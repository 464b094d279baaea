"""Priors p(z) over the codes of a VAE: noise -> codes, and how far a posterior is from them."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gdm.recipes.ranges import Count, Positive
from gdm.theory.likelihoods import LOG_TWO_PI, gaussian_kl_per_unit
from gdm.theory.moments import Moments


class Prior(nn.Module, ABC):
    """p(z) over codes z, (N, D), or p(z | label) in a conditional model.

    Args:
        latent_dim: D.
        num_labels: number of classes that p may depend on; 1 for none.
    """

    def __init__(self, latent_dim: Count, num_labels: Count) -> None:
        super().__init__()
        self.num_labels = num_labels

    @abstractmethod
    def log_prob(self, z: Tensor, label: Tensor | None) -> Tensor:
        """Return log p(z | label) in nats: (N, D), (N,) or None where there are none -> (N,)."""

    @abstractmethod
    def divergence(
        self, z: Tensor, mean: Tensor, log_variance: Tensor, label: Tensor | None
    ) -> Tensor:
        """Return the KL divergence of N(mean, diag(exp(log_variance))) from p in nats, or an
        unbiased estimate of it from one sample z: three times (N, D), and (N,) -> (N,)."""

    @abstractmethod
    def divergence_per_unit(self, mean: Moments, variance: Tensor, log_variance: Tensor) -> Tensor:
        """Return how far each unit's posterior is from a normal, averaged over the data, in nats.

        Args:
            mean: moments of the posterior means, (D,).
            variance: average of the posterior variances, (D,).
            log_variance: average of their logarithms, (D,).
        """

    @abstractmethod
    def transform(self, uniform: Tensor, normal: Tensor, label: Tensor | None) -> Tensor:
        """Turn noise into samples: uniform in [0, 1), (N,), standard normal, (N, D) -> (N, D)."""


class StandardNormal(Prior):
    """N(0, I), with the KL in closed form (Kingma and Welling 2014)."""

    def log_prob(self, z: Tensor, label: Tensor | None) -> Tensor:
        return -0.5 * (z.square() + LOG_TWO_PI).sum(1)

    def divergence(
        self, z: Tensor, mean: Tensor, log_variance: Tensor, label: Tensor | None
    ) -> Tensor:
        return gaussian_kl_per_unit(mean, log_variance).sum(1)

    def divergence_per_unit(self, mean: Moments, variance: Tensor, log_variance: Tensor) -> Tensor:
        second_moment = variance + mean.variance + mean.mean.square()
        return 0.5 * (second_moment - 1 - log_variance)  # the average of `gaussian_kl_per_unit`

    def transform(self, uniform: Tensor, normal: Tensor, label: Tensor | None) -> Tensor:
        return normal


class Mixture(Prior):
    """A mixture of K Gaussians, learned with the rest by the same ELBO.

        p(z | label) = sum_k softmax(logits[label])_k N(z; mean_k, diag(exp(log_variance_k)))

    The codes of all images together do not fill N(0, I) evenly, and what is sampled from the
    gaps decodes badly. A mixture that is trained with the rest follows the codes, and the ELBO
    stays a bound (Tomczak and Welling 2018, whose components are encoded pseudo-inputs).

    Args:
        latent_dim: D.
        num_labels: number of classes with mixture weights of their own; 1 for none.
        num_components: K.
        rate_multiplier: how much faster than the networks its parameters learn: a component far
            from all codes has to cross a distance of several units.
    """

    def __init__(
        self,
        latent_dim: Count,
        num_labels: Count,
        num_components: Count,
        rate_multiplier: Positive,
    ) -> None:
        super().__init__(latent_dim=latent_dim, num_labels=num_labels)
        self.rate_multiplier = rate_multiplier
        # Adam's steps have one size; parameters stored smaller move further (Karras et al. 2018)
        mean = torch.randn(num_components, latent_dim)
        log_variance = torch.full((num_components, latent_dim), -0.5)
        self.scaled_mean = nn.Parameter(mean / rate_multiplier)
        self.scaled_log_variance = nn.Parameter(log_variance / rate_multiplier)
        self.scaled_logits = nn.Parameter(torch.zeros(num_labels, num_components))

    @property
    def mean(self) -> Tensor:
        """Means of the components, (K, D)."""
        return self.rate_multiplier * self.scaled_mean

    @property
    def log_variance(self) -> Tensor:
        """Log-variances of the components, (K, D)."""
        return self.rate_multiplier * self.scaled_log_variance

    def log_weight(self, label: Tensor | None, count: int) -> Tensor:
        """Return the logarithms of the mixture weights of `count` codes: (N,) -> (N, K)."""
        index = label
        if self.num_labels == 1:
            index = torch.zeros(count, dtype=torch.int64, device=self.scaled_logits.device)
        return (self.rate_multiplier * self.scaled_logits).log_softmax(1)[index]

    def log_prob(self, z: Tensor, label: Tensor | None) -> Tensor:
        precision = (-self.log_variance).exp()  # (K, D)
        # the square is multiplied out, so that no (N, K, D) arises
        squared = z.square() @ precision.T - 2 * z @ (self.mean * precision).T
        constant = (self.mean.square() * precision + self.log_variance + LOG_TWO_PI).sum(1)
        log_density = -0.5 * (squared + constant)  # (N, K)
        return torch.logsumexp(self.log_weight(label, len(z)) + log_density, dim=1)

    def divergence(
        self, z: Tensor, mean: Tensor, log_variance: Tensor, label: Tensor | None
    ) -> Tensor:
        # the entropy of q(z | x) is known; only log p(z) is estimated
        entropy = 0.5 * (1 + LOG_TWO_PI + log_variance).sum(1)
        return -entropy - self.log_prob(z, label)

    def divergence_per_unit(self, mean: Moments, variance: Tensor, log_variance: Tensor) -> Tensor:
        # the mixture ties the units together; this is the divergence from the one normal that
        # fits the unit best, which is zero for a unit that says nothing about the image
        return 0.5 * ((variance + mean.variance).log() - log_variance)

    def transform(self, uniform: Tensor, normal: Tensor, label: Tensor | None) -> Tensor:
        cumulative = self.log_weight(label, len(normal)).exp().cumsum(1)  # (N, K)
        component = (cumulative < uniform.to(cumulative).unsqueeze(1)).sum(1)
        component = component.clamp(max=cumulative.shape[1] - 1)  # rounding may end below 1
        std = (0.5 * self.log_variance).exp()
        return self.mean[component] + std[component] * normal.to(std)
