"""Diffusion models: from noise to images, from images to noise, and labels."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from gdm.models.base import GenerativeModel, SharedByConditional
from gdm.recipes.ranges import Count, Fraction, NonNegative, Positive, PositiveFraction
from gdm.theory.augmentation import mirrored
from gdm.theory.guidance import guided
from gdm.theory.predictions import Prediction
from gdm.theory.randomness import normal, uniform
from gdm.theory.samplers import MAX_NOISE_TO_SIGNAL, Denoiser, Heun, Sampler, end_of
from gdm.theory.schedules import Schedule, TrainingTimes, alpha_sigma

NUM_PROCESS_IMAGES = 10  # moments of a process in a picture


class Diffusion(GenerativeModel):
    """Minimises E || F(x_t, t) - target ||^2, where x_t = alpha_t x_0 + sigma_t epsilon.

    What the network F predicts is the `prediction`, how signal and noise mix the `schedule`: v or
    epsilon along the cosine schedule are the loss of `DDPM`, `Preconditioned` along `Karras` is
    EDM (Karras et al. 2022), `Velocity` along `Straight` is flow matching (Lipman et al. 2023;
    Liu et al. 2023). Images are padded no more than the network needs. Training times are
    stratified: of a batch of B, one lies in each B-th of their distribution.

    With labels the network is told the class, and samples can be led towards it: estimates of x_0
    are no_label + guidance (label - no_label) (Ho and Salimans 2022). Without, they can be led
    away from what the network was early in the run: then + autoguidance (now - then) (Karras et
    al. 2024, "Guiding a diffusion model with a bad version of itself"). Either takes two passes.

    The arguments beside its own are those of `GenerativeModel`.
    """

    encodes = True
    has_sampler = True
    schedule_kind: type[Schedule] = Schedule  # that a model needs

    def __init__(
        self,
        network: Callable[..., nn.Module],  # channels, num_labels -> (x, time, label) -> output
        prediction: Prediction,  # what the network predicts
        schedule: Schedule,  # t -> (alpha_t, sigma_t)
        sampler: Sampler,  # how images are made of noise
        log_snr_mean: float = 0.0,  # of the normal log(alpha_t^2 / sigma_t^2) in training
        log_snr_std: Positive | None = None,  # None: times are uniform
        label_dropout: Fraction = 0.1,  # of the labels are left out in training
        guidance: NonNegative = 1.0,  # towards labels: 1 the conditional model itself, 0 none
        guide_fraction: PositiveFraction | None = None,  # of a run, when the guide is kept
        autoguidance: NonNegative = 1.0,  # away from the guide; 1 is none, as where labels guide
        inversion_steps: Count = 50,  # of Heun, from an image to its code, and back
        flip: bool = False,  # mirror images at random in training
        **shared: Unpack[SharedByConditional],
    ) -> None:
        super().__init__(**shared)
        built = network(channels=self.channels, num_labels=self.num_labels)
        self.resolution = -(-self.native_resolution // built.multiple) * built.multiple
        for what, kind in ((prediction, prediction.schedule), (self, self.schedule_kind)):
            if not isinstance(schedule, kind):
                raise ValueError(
                    f"{type(what).__name__} needs a schedule of class {kind.__name__}, and "
                    f"{type(schedule).__name__} is none"
                )
        if guidance != 1 and self.condition is None:
            raise ValueError(f"guidance={guidance} leads towards labels; it needs condition=label")
        if guidance != 1 and label_dropout == 0:
            raise ValueError(
                f"guidance={guidance} needs a network that knows images without labels too; give "
                "label_dropout above 0"
            )
        if autoguidance != 1 and guide_fraction is None:
            raise ValueError(f"autoguidance={autoguidance} needs a guide; give guide_fraction")
        self.network = built
        self.guide = None if guide_fraction is None else deepcopy(built).requires_grad_(False)
        self.register_buffer("guide_images", torch.tensor(0))  # that the guide has seen
        self.prediction = prediction
        self.schedule = schedule
        self.sampler = sampler
        self.times = TrainingTimes(schedule, log_snr_mean, log_snr_std)
        self.label_dropout = label_dropout
        self.guidance = guidance
        self.guide_fraction = guide_fraction
        self.autoguidance = autoguidance
        self.inversion_steps = inversion_steps
        self.flip = flip
        self.average(self.network)

    # Training -----------------------------------------------------------------------------------

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        x_0, condition = self.pad(batch.x), self.condition_of(batch)
        if self.flip:
            x_0 = mirrored(x_0)
        places = torch.arange(len(x_0), dtype=torch.float64)
        t = self.times((places + torch.rand(len(x_0), dtype=torch.float64)) / len(x_0))
        left_out = torch.rand(len(x_0), device=x_0.device) < self.label_dropout
        if condition is not None:
            condition = condition.where(~left_out, self.num_classes)  # the number of no label
        epsilon = torch.randn_like(x_0)
        return {"loss": self.error(x_0, epsilon, t.to(x_0.device), condition).mean()}

    def error(self, x_0: Tensor, epsilon: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Return the mean squared error of the prediction at x_t, (N,)."""
        alpha_t, sigma_t = alpha_sigma(self.schedule, t)
        output = self.predict(alpha_t * x_0 + sigma_t * epsilon, t, condition)
        target = self.prediction.target(x_0, epsilon, alpha_t, sigma_t)
        return (output - target).square().flatten(1).mean(1)

    def predict(
        self, x_t: Tensor, t: Tensor, condition: Tensor | None, network: nn.Module | None = None
    ) -> Tensor:
        """Return what a network predicts: (N, C, H, W), (N,) float64, (N,) -> (N, C, H, W).

        Args:
            x_t, t, condition: where, and of which class.
            network: whose prediction; None for the one that is trained.
        """
        _, sigma_t = alpha_sigma(self.schedule, t)
        seen = self.prediction.network_input(x_t, sigma_t)
        time = self.prediction.network_time(t, self.schedule)
        network = self.network if network is None else network
        return network(seen, time, condition).float()

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        if self.guide is not None:
            moment = round(self.guide_fraction * self.num_batches)
            if self.batches_seen == max(1, min(moment, self.num_batches - 1)):
                self._keep_guide()
        super().on_train_batch_start(batch, batch_idx)

    def as_if_trained(self) -> None:
        if self.guide is not None:
            self._keep_guide()

    @property
    def depends_on_length(self) -> bool:
        return super().depends_on_length or self.guide is not None

    def _keep_guide(self) -> None:
        """Keep the averaged weights as they are now."""
        with self.evaluating():
            self.guide.load_state_dict(self.network.state_dict())
        self.guide_images.fill_(max(1, self.images_seen))

    # Estimates of x_0 ---------------------------------------------------------------------------

    def denoiser(self, condition: Tensor | None, autoguided: bool = False) -> Denoiser:
        """Return (x_t, t) -> x_0 for samplers, led towards labels, (N,), if they guide.

        Args:
            condition: the classes; None for an estimate without any.
            autoguided: lead away from what the network was early in the run, if that guides.
        """
        if self.guidance == 0:
            condition = None
        own = partial(self.denoise, condition=condition)
        if self.is_guided and condition is not None:
            return guided(own, partial(self.denoise, condition=None), self.guidance)
        if autoguided and self.is_autoguided:
            early = partial(self.denoise, condition=condition, network=self.guide)
            return guided(own, early, self.autoguidance)
        return own

    def denoise(
        self, x_t: Tensor, t: Tensor, condition: Tensor | None, network: nn.Module | None = None
    ) -> Tensor:
        """Return the estimate of x_0 that `predict` means; `t` may be a scalar."""
        if self.condition == "label" and condition is None:
            condition = torch.full((len(x_t),), self.num_classes, device=x_t.device)
        t = t.to(x_t.device).expand(len(x_t))
        output = self.predict(x_t, t, condition, network)
        return self.prediction.estimate(x_t, output, *alpha_sigma(self.schedule, t))

    @property
    def is_guided(self) -> bool:
        """Whether labels guide, in two passes through the network."""
        return self.condition is not None and self.guidance not in (0, 1)

    @property
    def is_autoguided(self) -> bool:
        """Whether the guide does, in two passes."""
        return self.autoguidance != 1 and int(self.guide_images) > 0 and not self.is_guided

    # Images -------------------------------------------------------------------------------------

    @property
    def network_evaluations(self) -> int:
        passes = 2 if self.is_guided or self.is_autoguided else 1
        return self.sampler.network_evaluations * passes

    @torch.no_grad()
    def sample(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Take noise to images by the sampler; arguments as in `GenerativeModel.sample`."""
        return self.crop(end_of(self.backward_process(indices, condition, seed))).clamp(-1, 1)

    def backward_process(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ):
        """Yield (t, x_t) from the first noise to the image, padded; the rest as in `sample`."""
        shape = (self.channels, self.resolution, self.resolution)

        def noise(step: int | str) -> Tensor:
            return normal(indices, shape, seed, f"noise {step}").to(self.device)

        start = torch.ones(1, dtype=torch.float64)
        x_1 = alpha_sigma(self.schedule, start)[1].to(self.device) * self.sample_codes(
            indices, condition, seed
        )
        yield start[0], x_1
        condition = self.conditions_for(indices, condition)
        denoiser = self.denoiser(condition, autoguided=True)
        yield from self.sampler.path(denoiser, self.schedule, x_1, noise)

    def sample_codes(
        self, indices: Sequence[int], condition: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """Return the noise that `sample` begins with: (N, C, R, R), standard normal."""
        shape = (self.channels, self.resolution, self.resolution)
        return normal(indices, shape, seed, "noise at first").to(self.device)

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the noise that the probability flow makes of images (the inversion of DDIM, Song
        et al. 2021, section 4.3): (N, C, H, W) in [-1, 1] -> (N, C, R, R), about standard normal.
        """
        times = self._inversion_times().flip(0)
        alpha, _ = alpha_sigma(self.schedule, times[:1].to(x.device))
        x_1 = self._flow(alpha * self.pad(x), times, condition)
        return x_1 / alpha_sigma(self.schedule, times[-1:].to(x.device))[1]

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the images of codes: (N, C, R, R) -> (N, C, H, W) in [-1, 1]."""
        times = self._inversion_times()
        x = self._flow(alpha_sigma(self.schedule, times[:1].to(z.device))[1] * z, times, condition)
        x_0 = self.denoiser(condition)(x, times[-1])
        return self.crop(x_0).clamp(-1, 1)

    def _inversion_times(self) -> Tensor:
        """Return times from noise to a little above 0, where the image is all but there.

        They begin where the noise is 200 times the signal: beyond, where 1 / alpha magnifies
        the least error, there is nothing of the image left to keep.
        """
        times = self.schedule.times(self.inversion_steps + 1)[:-1]
        first = torch.linspace(float(times[1]), 1, 1001, dtype=torch.float64)
        alpha, sigma = self.schedule(first)
        times[0] = first[sigma <= MAX_NOISE_TO_SIGNAL * alpha][-1]
        return times

    def _flow(self, x: Tensor, times: Tensor, condition: Tensor | None) -> Tensor:
        flow = Heun(num_steps=len(times) - 1, clip=False)
        return end_of(flow.along(times, self.denoiser(condition), self.schedule, x))

    # Figures and pictures -----------------------------------------------------------------------

    def metrics(self, batch) -> dict[str, Tensor]:
        x, index = batch.x, batch.index.tolist()
        x_0 = self.pad(x)
        t = self.times(uniform(index, (), 0, "time of loss")).to(x.device)
        epsilon = normal(index, x_0.shape[1:], 0, "noise of loss").to(x.device)
        return {"loss": self.error(x_0, epsilon, t, self.condition_of(batch))}

    @torch.no_grad()
    def process_images(self, batch) -> dict[str, Tensor]:
        """Return the forward process of some images and the backward process of some samples:
        rows of moments, each (N, SHOWN, C, H, W).
        """
        x, condition = batch.x, self.condition_of(batch)
        index, x_0 = range(len(x)), self.pad(x)
        epsilon = normal(index, x_0.shape[1:], 0, "forward process").to(x.device)
        forward = []
        for t in torch.linspace(0, 1, NUM_PROCESS_IMAGES, dtype=torch.float64):
            alpha_t, sigma_t = alpha_sigma(self.schedule, t.to(x.device).expand(len(x)))
            forward.append(_shown(alpha_t * x_0 + sigma_t * epsilon, alpha_t, sigma_t))
        last = self.sampler.num_steps
        shown = set(
            torch.linspace(0, last, min(NUM_PROCESS_IMAGES, last + 1)).round().int().tolist()
        )
        backward = []
        for step, (t, x_t) in enumerate(self.backward_process(index, condition)):
            if step in shown:
                alpha_t, sigma_t = alpha_sigma(self.schedule, t.to(x.device).expand(len(x)))
                backward.append(_shown(x_t, alpha_t, sigma_t))
        return {
            "forward": self.crop(torch.stack(forward, 1)),
            "backward": self.crop(torch.stack(backward, 1)),
        }


def _shown(x_t: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
    """Return x_t in the range of images, whatever the schedule's own."""
    return x_t / torch.sqrt(alpha_t**2 + sigma_t**2)
