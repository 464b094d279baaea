"""Variational autoencoders."""

import math
from collections.abc import Callable, Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from gdm.models.base import GenerativeModel, SharedByConditional
from gdm.networks.convolutional import Decoder, Encoder
from gdm.recipes.ranges import Count, NonNegative
from gdm.theory.likelihoods import Likelihood, bits_per_dimension, gaussian_log_density
from gdm.theory.moments import Moments
from gdm.theory.priors import Prior
from gdm.theory.randomness import normal, uniform

ACTIVE_VARIANCE = (
    0.01  # variance of a code's mean over the data above which a unit carries something
)


class VAE(GenerativeModel):
    """Maximises E_q[log p(x | z)] - beta KL(q(z | x) || p(z)), the ELBO at beta = 1.

    q(z | x) = N(mean(x), diag(exp(log_variance(x)))); Kingma and Welling 2014, equation 3. With
    beta above 1 it is the beta-VAE (Higgins et al. 2017); with labels, the conditional VAE (Sohn
    et al. 2015), whose encoder and decoder are both told the class.

    The arguments beside its own are those of `GenerativeModel`.
    """

    progress_metrics = ("reconstruction", "kl")
    encodes = True
    has_prior = True
    has_code_density = True
    likelihood_kind = "bound"
    weighs_codes = True

    def __init__(
        self,
        latent_dim: Count,  # D, size of a code
        likelihood: Likelihood,  # p(x | z)
        prior: Callable[..., Prior],  # latent_dim, num_labels -> p(z), or p(z | label)
        width: Count = 32,  # channels of the networks at half the resolution
        beta: NonNegative = 1.0,  # weight of the KL in the loss; the reported ELBO knows no beta
        **shared: Unpack[SharedByConditional],
    ) -> None:
        super().__init__(**shared)
        self.latent_dim = latent_dim
        self.beta = beta
        self.encoder = Encoder(
            channels=self.channels + self.num_labels,
            resolution=self.resolution,
            width=width,
            num_features=2 * latent_dim,
        )
        self.decoder = Decoder(
            channels=self.channels,
            resolution=self.resolution,
            width=width,
            num_features=latent_dim + self.num_labels,
        )
        self.likelihood = likelihood
        self.prior = prior(latent_dim=latent_dim, num_labels=max(self.num_labels, 1))
        self.average(self.encoder, self.decoder, self.likelihood, self.prior)

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        x, condition = batch.x, self.condition_of(batch)
        mean, log_variance = self.posterior(x, condition)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)  # equation 4
        reconstruction = -self.likelihood.log_prob(self.output(z, condition), x).mean()
        kl = self.prior.divergence(z, mean, log_variance, condition).mean()
        loss = reconstruction + self.beta * kl
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl}

    def posterior(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x): (N, C, H, W), (N,) -> twice (N, D)."""
        x = self.pad(x)
        if self.condition == "label":
            planes = self.one_hot(condition)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, planes], dim=1)  # (N, C + num_classes, R, R)
        mean, log_variance = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)  # exp stays finite in the first steps

    def output(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return what the likelihood takes: (N, D), (N,) -> (N, C, H, W)."""
        if self.condition == "label":
            z = torch.cat([z, self.one_hot(condition)], dim=1)
        return self.crop(self.decoder(z).float())

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the means of the codes: (N, C, H, W) in [-1, 1] -> (N, D)."""
        return self.posterior(x, condition)[0]

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the mean images of codes: (N, D) -> (N, C, H, W) in [-1, 1]."""
        return self.likelihood.mean(self.output(z, condition))

    @property
    def decoding_network(self) -> nn.Module:
        return self.decoder

    @torch.no_grad()
    def sample(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Decode codes drawn from the prior; arguments as in `GenerativeModel.sample`."""
        condition = self.conditions_for(indices, condition)
        return self.decode(self.sample_codes(indices, condition, seed), condition)

    @torch.no_grad()
    def sample_codes(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Return the codes that `sample` decodes, drawn from the prior: (N, D)."""
        component = uniform(indices, (), seed, "component").to(self.device)
        noise = normal(indices, (self.latent_dim,), seed, "sample").to(self.device)
        return self.prior.transform(component, noise, self.conditions_for(indices, condition))

    @torch.no_grad()
    def draw_codes(
        self, x: Tensor, condition: Tensor | None, index: Sequence[int], seed: int = 0
    ) -> Tensor:
        """Return a code of each image, drawn from q(z | x): (N, C, H, W), (N,) -> (N, D)."""
        return self._drawn_code(*self.posterior(x, condition), index, seed)

    @torch.no_grad()
    def code_log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z), of a conditional model with all classes alike: (N, D) -> (N,)."""
        count = self.prior.num_labels
        label = torch.arange(count, device=z.device)[:, None].expand(count, len(z))
        each = torch.stack([self.prior.log_prob(z, own) for own in label])  # (num_labels, N)
        return each.logsumexp(0) - math.log(count)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        index: Sequence[int] | None = None,
        num_importance_samples: int = 1,
    ) -> Tensor:
        """Return a lower bound on log p(x) of the 8-bit images, in nats: (N,).

            log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x),  z_k from q(z | x)

        It is an estimate of the ELBO for K = 1, and nears log p(x) as K grows (Burda et al. 2016,
        equation 8). The noise that dequantises x is drawn anew with every code.

        Args:
            x: (N, C, H, W) in [-1, 1].
            condition: what the model is told of the images; None for nothing.
            index: what the noise of each image depends on; None for its place in the batch.
            num_importance_samples: K.
        """
        index = range(len(x)) if index is None else index
        mean, log_variance = self.posterior(x, condition)
        total = torch.full((len(x),), -torch.inf, device=x.device)
        for k in range(num_importance_samples):
            z = self._drawn_code(mean, log_variance, index, k)
            q = gaussian_log_density(z, mean, log_variance)
            log_weight = -self._reconstruction(x, z, condition, index, k) + self.prior.log_prob(
                z, condition
            )
            total = torch.logaddexp(total, log_weight - q)
        return total - math.log(num_importance_samples)

    def metrics(self, batch) -> dict[str, Tensor]:
        x, condition, index = batch.x, self.condition_of(batch), batch.index.tolist()
        mean, log_variance = self.posterior(x, condition)
        z = self._drawn_code(mean, log_variance, index, 0)
        reconstruction = self._reconstruction(x, z, condition, index, 0)
        kl = self.prior.divergence(z, mean, log_variance, condition)
        elbo = -(reconstruction + kl)
        return {
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": elbo,
            "bits_per_dim": bits_per_dimension(elbo, x[0].numel()),
            "is_likelihood": self.likelihood.describes(x).float(),
            "posterior_mean": mean,
            "posterior_log_variance": log_variance,
            "posterior_variance": log_variance.exp(),
        }

    def _drawn_code(self, mean: Tensor, log_variance: Tensor, index, k: int) -> Tensor:
        """Return draw k of each image's code from N(mean, diag(exp(log_variance))), (N, D)."""
        noise = normal(index, mean.shape[1:], k, "posterior").to(mean.device)
        return mean + torch.exp(0.5 * log_variance) * noise

    def _reconstruction(
        self, x: Tensor, z: Tensor, condition: Tensor | None, index, k: int
    ) -> Tensor:
        """Return -log p(x | z) of the images as observed with draw k of their noise, (N,)."""
        within_bin = uniform(index, x.shape[1:], k, "dequantisation").to(x.device)
        target = self.likelihood.observed(x, within_bin)
        return -self.likelihood.log_prob(self.output(z, condition), target)

    def summarise(self, moments: dict[str, Moments]) -> dict[str, float | list[float]]:
        scalars = ("reconstruction", "kl", "elbo", "bits_per_dim")
        if moments["is_likelihood"].mean < 1:  # a cross-entropy on grey images bounds nothing
            scalars = ("reconstruction", "kl")
        record = {name: float(moments[name].mean) for name in scalars}
        spread = moments["posterior_mean"].variance
        kl_per_unit = self.prior.divergence_per_unit(
            moments["posterior_mean"], moments["posterior_variance"].mean,
            moments["posterior_log_variance"].mean,
        )  # fmt: skip
        # Burda et al. 2016, section 5.2
        active = float((spread > ACTIVE_VARIANCE).sum())
        return record | {"active_units": active, "kl_per_unit": kl_per_unit.tolist()}
