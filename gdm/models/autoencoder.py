"""Autoencoders: codes without a known distribution."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from gdm.ema import EMA
from gdm.latent import GaussianMixture
from gdm.learning_rates import LearningRate
from gdm.losses import squared_error
from gdm.models.base import GenerativeModel
from gdm.networks.autoencoder import Decoder, Encoder
from gdm.randomness import normal, uniform
from gdm.ranges import Count, NonNegative, Positive


class Autoencoder(GenerativeModel):
    """Minimises ||x - decoder(encoder(x + noise))||^2.

    Without noise it is the plain autoencoder (Hinton and Salakhutdinov 2006), with noise the
    denoising autoencoder (Vincent et al. 2008). Nothing shapes the distribution of the codes,
    so to sample, a density is fitted to the codes of training images.

    Args:
        latent_dim: D, size of a code.
        width: channels of the networks at half the resolution.
        noise: standard deviation of what is added to the encoder's input in training, in units
            of the images' range [-1, 1].
        density: D -> the density that is fitted to the codes.
        (the rest as in `GenerativeModel`)
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        native_resolution: Count,
        num_classes: int,
        latent_dim: Count,
        width: Count,
        noise: NonNegative,
        density: Callable[..., GaussianMixture],
        optimizer: Callable,
        learning_rate: LearningRate,
        ema: EMA | None,
        max_gradient_norm: Positive | None,
    ) -> None:
        super().__init__(
            channels, resolution, native_resolution, num_classes,
            optimizer, learning_rate, ema, max_gradient_norm,
        )  # fmt: skip
        self.latent_dim = latent_dim
        self.noise = noise
        self.encoder = Encoder(channels, resolution, width, latent_dim)
        self.decoder = Decoder(channels, resolution, width, latent_dim)
        self.density = density(latent_dim=latent_dim)
        self.average(self.encoder, self.decoder)

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        x = batch.x
        corrupted = x + self.noise * torch.randn_like(x) if self.noise > 0 else x
        loss = squared_error(x, self._decoded(self._encoded(corrupted))).mean()
        return {"loss": loss}

    @torch.no_grad()
    def encode(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the codes of images: (N, C, H, W) in [-1, 1] -> (N, D)."""
        return self._encoded(x)

    @torch.no_grad()
    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the images of codes: (N, D) -> (N, C, H, W) in [-1, 1]."""
        return self._decoded(z).clamp(-1, 1)

    @torch.no_grad()
    def sample(self, indices: Sequence[int], label: Tensor | None = None, seed: int = 0) -> Tensor:
        """Decode codes drawn from the fitted density; arguments as in `GenerativeModel.sample`."""
        return self.decode(self.sample_codes(indices, label, seed))

    @torch.no_grad()
    def sample_codes(
        self, indices: Sequence[int], label: Tensor | None = None, seed: int = 0
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

    def figures(self, x: Tensor, label: Tensor, index: Sequence[int]) -> dict[str, Tensor]:
        corruption = self.noise * normal(index, x.shape[1:], 0, "corruption").to(x.device)
        figures = {"squared_error": squared_error(x, self.decode(self.encode(x)))}
        if self.noise > 0:
            denoised = self.decode(self.encode(x + corruption))
            figures["squared_error_from_noisy"] = squared_error(x, denoised)
        return figures

    def _encoded(self, x: Tensor) -> Tensor:
        return self.encoder(self.pad(x)).float()

    def _decoded(self, z: Tensor) -> Tensor:
        return self.crop(self.decoder(z).float())
