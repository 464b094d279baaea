"""GANs whose generator maps a latent to styles first."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gdm.models.gan import GAN
from gdm.models.progressive_gan import ProgressiveGAN
from gdm.recipes.ranges import Count, Fraction, NonNegative
from gdm.theory.growth import Growth, larger
from gdm.theory.path_length import PathLength, path_lengths
from gdm.theory.randomness import seed_default_generators

MEAN_DECAY = 0.995  # of the mean of w, a batch (StyleGAN2-ADA)
MOST_IN_HEALTH = 64  # images that it looks at


class StyleGAN(GAN):
    """A GAN whose generator maps a latent z to a vector w of the same size, and makes an image of
    L styles, one for each of its layers, that all are this w (Karras et al. 2019; StyleGAN2,
    Karras et al. 2020).

    Codes are these w. In training an image has the styles of two latents now and then (style
    mixing), and the lengths of paths may be penalised. In sampling w may be truncated: brought
    nearer to its mean, for better and less varied images. With labels, that is the mean over all
    of them.

    The generator has `mapping(z, labels) -> w (N, W)`, `synthesis(styles (N, L, W)) -> images
    (N, C, R, R)`, and L as `num_styles`.

    Args:
        mixing_probability: that a batch's styles are of two latents, from a random layer on.
        truncation: psi, w becomes mean + psi (w - mean) in sampling; 1 for w as it is.
        truncated_styles: how many styles are truncated, the coarsest first; None for all.
        path_length: cost of path lengths; None for none.
        (the rest as in `GAN`)
    """

    has_styles = True
    w_mean: Tensor

    def __init__(
        self,
        mixing_probability: Fraction = 0.9,
        truncation: NonNegative = 1.0,
        truncated_styles: Count | None = None,
        path_length: PathLength | None = None,
        **gan: Any,
    ) -> None:
        super().__init__(**gan)
        self.mixing_probability = mixing_probability
        self.truncation = truncation
        self.truncated_styles = truncated_styles
        self.path_length = path_length
        # not in the generator: the average of weights would average it once more
        self.register_buffer("w_mean", torch.zeros(self.latent_dim))

    # Training ----------------------------------------------------------------------------------

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        metrics = super().training_step(batch, batch_idx)
        self.follow_mean(self.condition_of(batch))
        return metrics

    @torch.no_grad()
    def follow_mean(self, condition: Tensor | None) -> None:
        """Move the running mean of w towards that of a batch; early in a run it is the mean of
        all batches, so that it does not begin at 0."""
        z = torch.randn(self.batch_size, self.latent_dim, device=self.device)
        w = self.generator.mapping(z, self.indicators(condition))
        self.w_mean.lerp_(w.float().mean(0), max(1 - MEAN_DECAY, 1 / max(self.batches_seen, 1)))

    def images_of(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.synthesise(self.mixed_styles(z, labels))

    def synthesise(self, styles: Tensor) -> Tensor:
        """Return G's images, without a bound: (N, L, W) -> (N, C, R, R)."""
        return self.generator.synthesis(styles)

    def mixed_styles(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return styles as training has them: (N, D), (N, K) -> (N, L, W)."""
        styles = self.repeated(self.generator.mapping(z, labels))
        if torch.rand(()) >= self.mixing_probability:
            return styles
        crossover = int(torch.randint(1, self.generator.num_styles, ()))  # one for the batch
        others = self.repeated(self.generator.mapping(torch.randn_like(z), labels))
        return torch.cat([styles[:, :crossover], others[:, crossover:]], dim=1)

    def repeated(self, w: Tensor) -> Tensor:
        """Return styles that all are w: (N, W) -> (N, L, W)."""
        return w.unsqueeze(1).expand(-1, self.generator.num_styles, -1)

    def generator_penalty(self, condition: Tensor | None) -> Tensor | float:
        penalty = super().generator_penalty(condition)
        if self.path_length is None or self.generator_steps % self.path_length.every:
            return penalty
        count = max(1, int(self.path_length.batch_fraction * self.batch_size))
        with torch.autocast(self.device.type, enabled=False):
            return penalty + self.path_length(*self._made_images(count, condition))

    def _made_images(self, count: int, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return so many images of new latents, and the styles that they were made of."""
        z = torch.randn(count, self.latent_dim, device=self.device)
        labels = self.indicators(None if condition is None else condition[:count])
        styles = self.mixed_styles(z, labels)
        return self.synthesise(styles), styles

    @property
    def batches_in_cycle(self) -> int:
        every = 1 if self.path_length is None else self.path_length.every
        return math.lcm(super().batches_in_cycle, self.num_discriminator_steps * every)

    # Samples -----------------------------------------------------------------------------------

    @torch.no_grad()
    def sample_codes(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Return what `sample` decodes: the w of each index's latent, (N, W)."""
        labels = self.indicators(self.conditions_for(indices, condition))
        return self.generator.mapping(self.latents(indices, seed), labels).float()

    def styles(self, w: Tensor, truncation: float | None = None) -> Tensor:
        """Return the styles of images, as many as there are layers: (N, W) -> (N, L, W).

        Args:
            w: as `sample_codes` returns them.
            truncation: psi; None for the model's own.
        """
        psi = self.truncation if truncation is None else truncation
        styles = self.repeated(w)
        if psi == 1:
            return styles
        coarse = styles[:, : self.truncated_styles]  # None takes all
        fine = styles[:, coarse.shape[1] :]
        return torch.cat([self.w_mean + psi * (coarse - self.w_mean), fine], dim=1)

    def images_of_styles(self, styles: Tensor) -> Tensor:
        """Return images for users, differentiable: (N, L, W) -> (N, C, H, W) in [-1, 1]."""
        return self.crop(self.synthesise(styles)).float().clamp(-1, 1)

    @torch.no_grad()
    def decode(self, w: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the images of w, which say the class too: (N, W) -> (N, C, H, W) in [-1, 1]."""
        return self.images_of_styles(self.styles(w))

    # Health ------------------------------------------------------------------------------------

    def health(self, batch) -> dict[str, float]:
        """Return what `GAN.health` does, the mean path length, and the fraction of the images'
        variance that is there at a fixed latent, from the noise of the layers alone."""
        metrics = super().health(batch)
        condition = self.condition_of(batch)
        count = min(len(batch.x), MOST_IN_HEALTH)
        with self._keeping_buffers(), torch.enable_grad():
            seed_default_generators(self.seed, "health of styles")
            images, styles = self._made_images(count, condition)
            again = self.synthesise(styles)
            metrics["path_length"] = float(path_lengths(images, styles).detach().mean())
            metrics["noise_fraction"] = noise_fraction(images.detach(), again.detach())
        return metrics


def noise_fraction(images: Tensor, again: Tensor) -> float:
    """Return how much of the images' variance is not the latents' but the noise's.

    Var(x) = E Var(x | z) + Var E(x | z), and the first is half the mean squared difference of two
    images of one z. Where images do not vary it is 0.

    Args:
        images, again: images of the same latents with different noise, (N, C, H, W) each.
    """
    within = float((images - again).square().mean()) / 2
    total = float(torch.stack([images, again]).var(1).mean())  # unbiased, N of one noise each
    return min(within / total, 1.0) if total > 0 else 0.0


class ProgressiveStyleGAN(StyleGAN, ProgressiveGAN):
    """A StyleGAN that grows, as the first one did (Karras et al. 2019).

    Its generator's `synthesis` is told the level beside the styles. The arguments are those of
    both.
    """

    def __init__(self, growth: Growth, **stylegan: Any) -> None:
        super().__init__(growth=growth, **stylegan)

    def synthesise(self, styles: Tensor) -> Tensor:
        return larger(self.generator.synthesis(styles, self.level), self.resolution)
