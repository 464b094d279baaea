"""Densities that are fitted to the codes of an autoencoder."""

import warnings

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from gdm.errors import UserError
from gdm.recipes.ranges import Count


class GaussianMixture(nn.Module):
    """A mixture of Gaussians with full covariances, fitted to codes and sampled from noise.

        p(z) = sum_k weight_k N(z; mean_k, factor_k factor_k^T)

    It is kept with the weights. With one component it is a Gaussian.

    Args:
        latent_dim: D, the size of a code.
        num_components: K; more follow the codes more closely, and need more codes.
    """

    def __init__(self, latent_dim: Count, num_components: Count) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((num_components,), 1 / num_components))
        self.register_buffer("mean", torch.zeros(num_components, latent_dim))
        identity = torch.eye(latent_dim)
        self.register_buffer("factor", identity.repeat(num_components, 1, 1))  # (K, D, D)

    @torch.no_grad()
    def fit(self, codes: Tensor) -> None:
        """Fit the mixture to codes, (N, D) with N above K, by expectation maximisation.

        The result depends on the codes alone: the means start from k-means with a fixed seed.
        """
        if len(codes) < len(self.weight):
            raise UserError(
                f"model.density.num_components={len(self.weight)}: there are only {len(codes)} "
                "codes to fit them to"
            )
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as ExpectationMaximisation

        codes = codes.cpu().double().numpy()
        mixture = ExpectationMaximisation(
            len(self.weight), covariance_type="full", reg_covar=1e-6 * float(codes.var()) + 1e-12,
            max_iter=50, random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near the optimum is enough
            mixture.fit(codes)
        self.weight.copy_(torch.from_numpy(mixture.weights_))
        self.mean.copy_(torch.from_numpy(mixture.means_))
        self.factor.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats: (N, D) -> (N,)."""
        mixed = MultivariateNormal(self.mean, scale_tril=self.factor).log_prob(
            z[:, None]
        )  # (N, K)
        return (self.weight.log() + mixed).logsumexp(1)

    def forward(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Turn noise into codes: uniform in [0, 1), (N,), and standard normal, (N, D)."""
        component = torch.searchsorted(self.weight.cumsum(0), uniform.to(self.weight))
        component = component.clamp(max=len(self.weight) - 1)  # rounding may leave the sum at < 1
        return self.mean[component] + torch.einsum(
            "nij,nj->ni", self.factor[component], normal.to(self.mean)
        )
