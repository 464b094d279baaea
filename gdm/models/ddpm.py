"""Denoising diffusion probabilistic models."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gdm.models.diffusion import Diffusion
from gdm.theory.likelihoods import discretised_gaussian_log_prob
from gdm.theory.moments import Moments
from gdm.theory.randomness import normal, uniform
from gdm.theory.schedules import Discrete, alpha_sigma

TYPICAL_VARIANCE = 0.25  # of pixels, by which steps of the bound are drawn
NUM_PARTS = 10  # of the times, whose terms of the bound are reported


class DDPM(Diffusion):
    """Denoising diffusion with T steps of noise, and its variational bound on log p(x).

    With `Epsilon` it minimises E || epsilon - epsilon_theta(x_t, t) ||^2 (Ho et al. 2020, equation
    14). The arguments are those of `Diffusion`.
    """

    schedule_kind = Discrete
    likelihood_kind = "bound"

    # The variational bound ----------------------------------------------------------------------

    def metrics(self, batch) -> dict[str, Tensor]:
        """Return the loss, and the terms of the bound on -log p(x) in nats, (N,) each.

        Of the T - 1 terms of the middle one is drawn for each image and stands for all.
        """
        terms = self.bound(batch.x, self.condition_of(batch), batch.index.tolist())
        total = terms["prior"] + terms["diffusion"] + terms["reconstruction"]
        parts = (terms["t"] * NUM_PARTS).ceil().long().clamp(1, NUM_PARTS) - 1
        of_part = nn.functional.one_hot(parts, NUM_PARTS) * terms["diffusion"].unsqueeze(1)
        return super().metrics(batch) | {
            "elbo": -total,
            "nats_prior": terms["prior"],
            "nats_diffusion": terms["diffusion"],
            "nats_reconstruction": terms["reconstruction"],
            "nats_by_time": of_part,
        }

    def bound(
        self, x: Tensor, condition: Tensor | None, index: Sequence[int]
    ) -> dict[str, Tensor]:
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
        alpha_1, sigma_1 = alpha_sigma(self.schedule, one)
        variance = sigma_1**2
        prior = 0.5 * (variance + (alpha_1 * x_0) ** 2 - 1 - variance.log())

        first, noise = one / num_steps, normal(index, shape, 0, "first step").to(x.device)
        alpha, sigma = alpha_sigma(self.schedule, first)
        mean = self.denoise(alpha * x_0 + sigma * noise, first, condition).clamp(-1, 1)
        reconstruction = -discretised_gaussian_log_prob(x_0, mean, (sigma / alpha).log())

        times = torch.arange(1, num_steps + 1, dtype=torch.float64) / num_steps
        snr = self.schedule.log_snr(times).exp()
        fall = -snr.diff()  # of the steps to 2/T, ..., 1
        chance = fall / (1 + TYPICAL_VARIANCE * snr[1:])
        chance = chance / chance.sum()
        u = uniform(index, (), 0, "step of the bound").double()
        step = torch.searchsorted(chance.cumsum(0), u).clamp(max=num_steps - 2)
        t = times[step + 1].to(x.device)
        alpha_t, sigma_t = alpha_sigma(self.schedule, t)
        noise = normal(index, shape, 0, "noise of the bound").to(x.device)
        error = x_0 - self.denoise(alpha_t * x_0 + sigma_t * noise, t, condition).clamp(-1, 1)
        weight = (0.5 * fall / chance)[step].to(x.device)
        diffusion = weight * error.square().flatten(1).sum(1)
        return {
            "prior": prior.flatten(1).sum(1),
            "diffusion": diffusion.float(),
            "reconstruction": reconstruction.flatten(1).sum(1),
            "t": t,
        }

    def summarise(self, moments: dict[str, Moments]) -> dict[str, float | list[float]]:
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
