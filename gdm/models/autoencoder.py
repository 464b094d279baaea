"""Autoencoders: codes without a known distribution."""

from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from gdm.models.base import GenerativeModel, Shared
from gdm.networks.convolutional import Decoder, Encoder
from gdm.recipes.ranges import Count, NonNegative
from gdm.theory.densities import GaussianMixture
from gdm.theory.likelihoods import squared_error
from gdm.theory.randomness import normal, uniform


class Autoencoder(GenerativeModel):
    """Minimises ||x - decoder(encoder(x + noise))||^2.

    Without noise it is the plain autoencoder (Hinton and Salakhutdinov 2006), with noise the
    denoising autoencoder (Vincent et al. 2008). Nothing shapes the distribution of the codes,
    so to sample, a density is fitted to the codes of training images.

    The arguments beside its own are those of `GenerativeModel`.
    """

    encodes = True
    has_code_density = True

    def __init__(
        self,
        latent_dim: Count,  # D, size of a code
        density: Callable[..., GaussianMixture],  # latent_dim -> what is fitted to the codes
        width: Count = 32,  # channels of the networks at half the resolution
        noise: NonNegative = 0.0,  # std of what is added to the input in training
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.latent_dim = latent_dim
        self.noise = noise
        sizes = {"channels": self.channels, "resolution": self.resolution, "width": width}
        self.encoder = Encoder(**sizes, num_features=latent_dim)
        self.decoder = Decoder(**sizes, num_features=latent_dim)
        self.density = density(latent_dim=latent_dim)
        self.average(self.encoder, self.decoder)

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        x = batch.x
        corrupted = x + self.noise * torch.randn_like(x) if self.noise > 0 else x
        loss = squared_error(x, self._decoded(self._encoded(corrupted))).mean()
        return {"loss": loss}

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the codes of images: (N, C, H, W) in [-1, 1] -> (N, D)."""
        return self._encoded(x)

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the images of codes: (N, D) -> (N, C, H, W) in [-1, 1]."""
        return self._decoded(z).clamp(-1, 1)

    @property
    def decoding_network(self) -> nn.Module:
        return self.decoder

    @torch.no_grad()
    def sample(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Decode codes drawn from the fitted density; arguments as in `GenerativeModel.sample`."""
        return self.decode(self.sample_codes(indices, seed=seed))

    @torch.no_grad()
    def sample_codes(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Return the codes that `sample` decodes, drawn from the fitted density: (N, D)."""
        component = uniform(indices, (), seed, "component")
        return self.density(component, normal(indices, (self.latent_dim,), seed, "sample"))

    @torch.no_grad()
    def code_log_prob(self, z: Tensor) -> Tensor:
        """Return the logarithm of the fitted density: (N, D) -> (N,)."""
        return self.density.log_prob(z)

    @torch.no_grad()
    def prepare_sampling(self, batches: Iterable) -> None:
        """Fit the density to the codes of training images."""
        self.density.fit(torch.cat([self.encode(batch.x) for batch in batches]))

    def metrics(self, batch) -> dict[str, Tensor]:
        x, index = batch.x, batch.index.tolist()
        corruption = self.noise * normal(index, x.shape[1:], 0, "corruption").to(x.device)
        metrics = {"squared_error": squared_error(x, self.decode(self.encode(x)))}
        if self.noise > 0:
            denoised = self.decode(self.encode(x + corruption))
            metrics["squared_error_from_noisy"] = squared_error(x, denoised)
        return metrics

    def _encoded(self, x: Tensor) -> Tensor:
        return self.encoder(self.pad(x)).float()

    def _decoded(self, z: Tensor) -> Tensor:
        return self.crop(self.decoder(z).float())
