"""Generative adversarial networks."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.optim import Adam

from gdm.errors import UserError
from gdm.models.base import GenerativeModel, SharedByConditional
from gdm.recipes.ranges import Count, NonNegative, Positive
from gdm.theory.adversarial import LabelNoise, Objective, Penalty
from gdm.theory.augmentation import Augmentation
from gdm.theory.randomness import normal, seed_default_generators

NO_LABEL_NOISE = LabelNoise(smoothing=0.0, flipped=0.0, noise=0.0)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class GAN(GenerativeModel):
    """A generator G makes images x = G(z) of latents z from N(0, I) that a discriminator D cannot
    tell from real ones, while D learns to tell them (Goodfellow et al. 2014).

    Which losses the two minimise is the `objective`. With labels it is the conditional GAN (Mirza
    and Osindero 2014). The average of G's weights is what is sampled from. Instance noise is
    Arjovsky and Bottou's (2017, section 3), the drift Karras et al.'s (2018, appendix A.1).

    The arguments beside its own are those of `GenerativeModel`.
    """

    progress_metrics = ("discriminator_loss", "generator_loss")

    def __init__(
        self,
        generator: Callable[..., nn.Module],  # channels, resolution, latent_dim, num_labels -> G
        discriminator: Callable[..., nn.Module],  # channels, resolution, num_labels -> D
        objective: Objective,  # what the two players minimise
        latent_dim: Count = 100,  # D, size of a latent
        penalty: Penalty | None = None,  # cost of D's slope; None for none
        max_weight: Positive | None = None,  # bound of D's weights (Arjovsky et al. 2017); or None
        num_discriminator_steps: Count = 1,  # batches D learns on for each on which G does
        label_noise: LabelNoise = NO_LABEL_NOISE,  # what D is told about the images
        augmentation: Augmentation | None = None,  # of what D sees; None for none
        instance_noise: NonNegative = 0.0,  # std on what D sees at first, falling to 0 (below)
        drift: NonNegative = 0.0,  # weight of D(x)^2, which keeps a critic's outputs near 0
        discriminator_optimizer: Callable = Adam,  # of D; `optimizer` is G's
        **shared: Unpack[SharedByConditional],
    ) -> None:
        super().__init__(**shared)
        self.automatic_optimization = False  # there are two optimizers, which take turns
        self.latent_dim = latent_dim
        shape = {"channels": self.channels, "resolution": self.resolution}
        shape |= {"num_labels": self.num_labels}
        self.generator = generator(latent_dim=latent_dim, **shape)
        self.discriminator = discriminator(**shape)
        self.objective = objective
        has_batch_norm = any(isinstance(m, BATCH_NORMS) for m in self.discriminator.modules())
        if penalty is not None and has_batch_norm:
            raise ValueError(
                "a penalty looks at each image's own slope, which batch normalisation ties to the "
                "others; choose penalty=null or model.discriminator.normalisation=layer"
            )
        self.penalty = penalty
        self.max_weight = max_weight
        self.num_discriminator_steps = num_discriminator_steps
        self.label_noise = label_noise
        self.augmentation = augmentation
        self.instance_noise = instance_noise
        self.drift = drift
        self.discriminator_optimizer = discriminator_optimizer
        self.average(self.generator)

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        x, condition = self.real_images(batch), self.condition_of(batch)
        generator_optimizer, discriminator_optimizer = self.optimizers()
        is_generators_turn = self.batches_seen % self.num_discriminator_steps == 0
        with torch.set_grad_enabled(is_generators_turn):
            z = torch.randn(len(x), self.latent_dim, device=self.device)
            fake = self.generate(z, condition)

        with self.toggled_optimizer(discriminator_optimizer):
            real_output = self.discriminate(x, condition)
            fake_output = self.discriminate(fake.detach(), condition)
            discriminator_loss = self.discriminator_loss(real_output, fake_output)
            if self.augmentation is not None:
                real_and_fake = real_output.detach(), fake_output.detach()
                self.augmentation.adapt(real_and_fake[0] - self._boundary(*real_and_fake))
            penalty = self.penalty_loss(x, fake, condition)
            self.optimizer_step(discriminator_loss + penalty, discriminator_optimizer)
            self.clip_weights()

        if is_generators_turn:
            with self.toggled_optimizer(generator_optimizer):
                seen = self.discriminate(x, condition) if self.objective.compares else None
                loss = self.generator_loss(seen, self.discriminate(fake, condition))
                self.optimizer_step(loss + self.generator_penalty(condition), generator_optimizer)

        return {
            "discriminator_loss": discriminator_loss.detach(),
            "penalty": penalty.detach(),
            "generator_loss": self.generator_loss(real_output.detach(), fake_output.detach()),
            "real_output": real_output.detach().mean(),
            "fake_output": fake_output.detach().mean(),
        }

    def discriminator_loss(self, real_output: Tensor, fake_output: Tensor) -> Tensor:
        """Return what D minimises but for its penalty: twice (N,) -> ()."""
        labels = self.label_noise(real_output)
        loss = self.objective.discriminator_loss(real_output, fake_output, *labels).mean()
        return loss + self.drift * real_output.square().mean() if self.drift else loss

    def generator_loss(self, real_output: Tensor | None, fake_output: Tensor) -> Tensor:
        """Return what G minimises but for its penalty: twice (N,) -> ()."""
        return self.objective.generator_loss(real_output, fake_output).mean()

    def generator_penalty(self, condition: Tensor | None) -> Tensor | float:
        """Return what else G minimises; 0 for nothing."""
        return 0.0

    def real_images(self, batch) -> Tensor:
        """Return the real images of a batch as D is to be trained on them: (N, C, H, W)."""
        return batch.x

    def penalty_loss(self, real: Tensor, fake: Tensor, condition: Tensor) -> Tensor:
        """Return the penalty of D's slope, which is 0 at the batches where it does not count."""
        if self.penalty is None or self.batches_seen % self.penalty.every:
            return real.new_zeros(())
        slope = self.slope(real, fake, condition)
        return self.penalty.weight * self.penalty.every * self.penalty.cost(slope).mean()

    def slope(self, real: Tensor, fake: Tensor, condition: Tensor) -> Tensor:
        """Return D's slope where it is penalised: native images, (N,) -> (N,)."""
        labels = self.indicators(condition)
        return self.penalty.slope(
            lambda x: self.outputs_of(x, labels), self.shown(real), self.shown(fake)
        )

    def discriminate(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return D's outputs for images as it is shown them: native images, (N,) -> (N,)."""
        return self.outputs_of(self.shown(x), self.indicators(condition)).float()

    def outputs_of(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return D's outputs for what it is shown: (N, C, R, R), (N, K) -> (N,)."""
        return self.discriminator(x, labels)

    def shown(self, x: Tensor) -> Tensor:
        """Return what D is shown of native images: padded, augmented and noisy."""
        x = self.pad(x)
        if self.augmentation is not None:
            x = self.augmentation(x)
        return self.with_noise(x)

    def with_noise(self, x: Tensor) -> Tensor:
        """Add the instance noise of this moment."""
        if self.instance_noise:
            std = self.instance_noise * (1 - self.batches_seen / self.num_batches)
            x = x + std * torch.randn_like(x)
        return x

    def indicators(self, condition: Tensor | None) -> Tensor | None:
        """Return what the networks are told of labels, (N,) -> (N, num_classes) or None."""
        return self.one_hot(condition) if self.condition == "label" else None

    # Optimizers --------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        if self.num_batches < self.num_discriminator_steps:
            raise UserError(
                f"model.num_discriminator_steps={self.num_discriminator_steps}: the generator "
                f"would never learn, since the run has only {self.num_batches} batches"
            )

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        of_generator = self.optimizer(self.generator.parameters())
        of_generator.register_step_post_hook(self._update_average)
        return [of_generator, self.discriminator_optimizer(self.discriminator.parameters())]

    def optimizer_step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Take one step down a loss's gradient."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Bring D's weights back within their bound, if there is one."""
        if self.max_weight is not None:
            for weight in self.discriminator.parameters():
                weight.clamp_(-self.max_weight, self.max_weight)

    def _update_average(self, *_) -> None:
        if self.ema is not None:  # G steps once in so many batches
            self.ema.update(self.images_seen, self.num_discriminator_steps * self.batch_size)

    def as_if_trained(self) -> None:
        if self.augmentation is not None:
            self.augmentation.as_if_trained()

    @property
    def generator_steps(self) -> int:
        """How often the generator has learned, the batch in progress included."""
        return self.batches_seen // self.num_discriminator_steps

    @property
    def depends_on_length(self) -> bool:
        return super().depends_on_length or self.instance_noise > 0

    @property
    def batches_in_cycle(self) -> int:
        every = 1 if self.penalty is None else self.penalty.every
        return math.lcm(self.num_discriminator_steps, every)

    # Samples -----------------------------------------------------------------------------------

    def generate(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Return the images of latents as G makes them: (N, D), (N,) -> (N, C, H, W)."""
        return self.crop(self.images_of(z, self.indicators(condition)))

    def images_of(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return G's images: (N, D), (N, K) -> (N, C, R, R)."""
        return self.generator(z, labels)

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the images of latents: (N, D), (N,) -> (N, C, H, W) in [-1, 1]."""
        return self.generate(z, condition).float().clamp(-1, 1)  # not all networks end there

    @torch.no_grad()
    def sample(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Generate images from normal latents; arguments as in `GenerativeModel.sample`."""
        condition = self.conditions_for(indices, condition)
        return self.decode(self.sample_codes(indices, condition, seed), condition)

    @torch.no_grad()
    def sample_codes(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Return the latents that `sample` decodes: (N, D)."""
        return self.latents(indices, seed)

    def latents(self, indices: Sequence[int], seed: int = 0) -> Tensor:
        """Return the latent of each index: (N, D)."""
        return normal(indices, (self.latent_dim,), seed, "sample").to(self.device)

    # Health ------------------------------------------------------------------------------------

    def health(self, batch) -> dict[str, float]:
        """Return how the two players stand, at their weights of this moment.

        The fractions of real and of fake images that D takes for what they are (where outputs have
        no zero: on their side of the middle between the mean outputs), the norms of both
        gradients, and the mean slope of a penalised D. Nothing is changed by it.

        Args:
            batch: images that were not trained on.
        """
        x, condition = self.real_images(batch), self.condition_of(batch)
        with self._keeping_buffers(), torch.enable_grad():
            seed_default_generators(self.seed, "health")  # every step seeds them for itself
            fake = self.generate(self.latents(range(len(x))), condition)
            real_output, fake_output = (
                self.discriminate(x, condition),
                self.discriminate(fake, condition),
            )
            of_generator = self.generator_loss(real_output, fake_output)
            of_discriminator = self.discriminator_loss(real_output, fake_output)
            metrics = {
                "generator_steps": float(self.generator_steps),
                **self._accuracies(real_output.detach(), fake_output.detach()),
                "generator_gradient": _gradient_norm(of_generator, self.generator),
                "discriminator_gradient": _gradient_norm(of_discriminator, self.discriminator),
            }
            if self.augmentation is not None:
                metrics |= self.augmentation.health()
            if self.penalty is not None:
                metrics["critic_slope"] = float(self.slope(x, fake, condition).detach().mean())
        return metrics

    def _accuracies(self, real_output: Tensor, fake_output: Tensor) -> dict[str, float]:
        boundary = self._boundary(real_output, fake_output)
        return {
            "real_accuracy": float((real_output > boundary).float().mean()),
            "fake_accuracy": float((fake_output < boundary).float().mean()),
        }

    def _boundary(self, real_output: Tensor, fake_output: Tensor) -> Tensor | float:
        """Return the output above which D takes an image for real: twice (N,) -> ()."""
        if self.objective.boundary is None:
            return (real_output.mean() + fake_output.mean()) / 2
        return self.objective.boundary

    @contextmanager
    def _keeping_buffers(self) -> Iterator[None]:
        """Undo what passes through the networks do to the statistics that these keep."""
        networks = (self.generator, self.discriminator)
        buffers = [buffer for network in networks for buffer in network.buffers()]
        kept = [buffer.clone() for buffer in buffers]
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in zip(buffers, kept, strict=True):
                    buffer.copy_(before)


def _gradient_norm(loss: Tensor, network: nn.Module) -> float:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return float(nn.utils.get_total_norm(each for each in gradients if each is not None))
