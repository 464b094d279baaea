"""Denoising diffusion probabilistic models."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from gdm.ema import EMA
from gdm.learning_rates import LearningRate
from gdm.losses import discretised_gaussian_log_prob
from gdm.models.diffusion import Diffusion
from gdm.moments import Moments
from gdm.randomness import normal, uniform
from gdm.ranges import Count, NonNegative, Positive, PositiveShare, Share
from gdm.samplers import Sampler
from gdm.schedules import Discrete

PER_TIME = 1000.0  # what the network's embedding calls t = 1, as in a schedule of 1000 steps
TYPICAL_VARIANCE = 0.25  # of pixels, by which steps of the bound are drawn
NUM_PARTS = 10  # of the times, whose terms of the bound are reported


class DDPM(Diffusion):
    """Minimises E || epsilon - epsilon_theta(x_t, t) ||^2 (Ho et al. 2020, equation 14).

    Instead of the noise the network may predict the image itself, or the velocity
    v = alpha_t epsilon - sigma_t x_0 (Salimans and Ho 2022, section 4).

    Args:
        (the arguments of `Diffusion`, and)
        prediction: what the network predicts.
    """

    likelihood_kind = "bound"

    def __init__(
        self,
        channels: Count,
        native_resolution: Count,
        num_classes: Count,
        network: Callable[..., nn.Module],
        schedule: Discrete,
        sampler: Sampler,
        log_snr_mean: float,
        log_snr_deviation: Positive | None,
        conditional: bool,
        label_dropout: Share,
        guidance: NonNegative,
        guide_share: PositiveShare | None,
        autoguidance: NonNegative,
        inversion_steps: Count,
        flip: bool,
        optimizer: Callable,
        learning_rate: LearningRate,
        ema: EMA | None,
        max_gradient_norm: Positive | None,
        prediction: Literal["epsilon", "x_0", "v"] = "epsilon",
    ) -> None:
        super().__init__(
            channels, native_resolution, num_classes, network, schedule, sampler,
            log_snr_mean, log_snr_deviation, conditional, label_dropout, guidance,
            guide_share, autoguidance, inversion_steps, flip,
            optimizer, learning_rate, ema, max_gradient_norm,
        )  # fmt: skip
        self.prediction = prediction

    def predicted(
        self, network: nn.Module, x_t: Tensor, t: Tensor, label: Tensor | None
    ) -> Tensor:
        return network(x_t, PER_TIME * t, label)

    def target(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return epsilon
        if self.prediction == "x_0":
            return x_0
        alpha_t, sigma_t = self.amounts(t)
        return alpha_t * epsilon - sigma_t * x_0

    def estimate(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        if self.prediction == "x_0":
            return prediction
        alpha_t, sigma_t = self.amounts(t)
        if self.prediction == "epsilon":
            return (x_t - sigma_t * prediction) / alpha_t
        return alpha_t * x_t - sigma_t * prediction

    # The variational bound ----------------------------------------------------------------------

    def figures(self, x: Tensor, label: Tensor, index: Sequence[int]) -> dict[str, Tensor]:
        """Return the loss, and the terms of the bound on -log p(x) in nats, (N,) each.

        Of the T - 1 terms of the middle one is drawn for each image and stands for all.
        """
        terms = self.bound(x, label, index)
        total = terms["prior"] + terms["diffusion"] + terms["reconstruction"]
        parts = (terms["t"] * NUM_PARTS).ceil().long().clamp(1, NUM_PARTS) - 1
        of_part = nn.functional.one_hot(parts, NUM_PARTS) * terms["diffusion"].unsqueeze(1)
        return super().figures(x, label, index) | {
            "elbo": -total,
            "nats_prior": terms["prior"],
            "nats_diffusion": terms["diffusion"],
            "nats_reconstruction": terms["reconstruction"],
            "nats_by_time": of_part,
        }

    def bound(self, x: Tensor, label: Tensor, index: Sequence[int]) -> dict[str, Tensor]:
        """Return the terms of the variational bound on -log p(x), in nats: (N,) each.

        - `prior`: KL(q(x_1 | x_0) || N(0, I));
        - `diffusion`: the KL of one of the T - 1 steps, at the time `t` that each index draws,
          over the chance of drawing it. With the variance of q(x_s | x_t, x_0) it is half the fall
          of the SNR times || x_0 - estimate ||^2 (Kingma et al. 2021, equation 13); steps are
          drawn as often as they would count for Gaussian pixels, so that all draws are about
          equal;
        - `reconstruction`: -log p(x_0 | x at 1/T), a Gaussian's mass in the bin of each of the 256
          values (Ho et al. 2020, equation 13).

        The border that images are padded with counts too, so the bound is one on -log p(x) still.
        """
        x_0, num_steps = self.pad(x), self.schedule.num_steps
        shape = x_0.shape[1:]
        one = torch.ones(len(x), dtype=torch.float64, device=x.device)
        alpha_1, sigma_1 = self.amounts(one)
        variance = sigma_1**2
        prior = 0.5 * (variance + (alpha_1 * x_0) ** 2 - 1 - variance.log())

        first, noise = one / num_steps, normal(index, shape, 0, "first step").to(x.device)
        alpha, sigma = self.amounts(first)
        mean = self.denoise(alpha * x_0 + sigma * noise, first, label).clamp(-1, 1)
        reconstruction = -discretised_gaussian_log_prob(x_0, mean, (sigma / alpha).log())

        times = torch.arange(1, num_steps + 1, dtype=torch.float64) / num_steps
        snr = self.schedule.log_snr(times).exp()
        fall = -snr.diff()  # of the steps to 2/T, ..., 1
        chance = fall / (1 + TYPICAL_VARIANCE * snr[1:])
        chance = chance / chance.sum()
        u = uniform(index, (), 0, "step of the bound").double()
        step = torch.searchsorted(chance.cumsum(0), u).clamp(max=num_steps - 2)
        t = times[step + 1].to(x.device)
        alpha_t, sigma_t = self.amounts(t)
        noise = normal(index, shape, 0, "noise of the bound").to(x.device)
        error = x_0 - self.denoise(alpha_t * x_0 + sigma_t * noise, t, label).clamp(-1, 1)
        weight = (0.5 * fall / chance)[step].to(x.device)
        diffusion = weight * error.square().flatten(1).sum(1)
        return {
            "prior": prior.flatten(1).sum(1),
            "diffusion": diffusion.float(),
            "reconstruction": reconstruction.flatten(1).sum(1),
            "t": t,
        }

    def report(self, moments: dict[str, Moments]) -> dict[str, float | list[float]]:
        per_dimension = self.channels * self.native_resolution**2 * math.log(2)
        record: dict[str, float | list[float]] = {}
        for name, moment in moments.items():
            if name.startswith("nats_"):
                bits = (moment.mean / per_dimension).tolist()
                record[name.replace("nats_", "bits_")] = bits
            else:
                record[name] = float(moment.mean)
        error = float((moments["elbo"].variance / moments["elbo"].count).sqrt())
        return record | {
            "bits_per_dim": -record["elbo"] / per_dimension,
            "bits_per_dim_error": error / per_dimension,
        }
