"""(denoiser, schedule, x_1) -> x_0: each sampler is one `step`; the loop is written once.

A denoiser estimates x_0: `denoiser(x_t, t) -> x_0`, both (N, C, H, W), t a float64 scalar tensor.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from gdm.recipes.ranges import Count, Fraction
from gdm.theory.schedules import Schedule

Denoiser = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[int], Tensor]  # the number of a step -> standard normal noise of that step


MAX_NOISE_TO_SIGNAL = (
    200.0  # noise to signal, beyond the ends of the linear schedule and of Karras et al.
)


class Estimate(NamedTuple):
    """An estimate of x_0 that was made at time t."""

    t: Tensor
    x_0: Tensor


def end_of(path: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """Return x at the end of a path, and keep none of those before."""
    ((_, x),) = deque(path, maxlen=1)
    return x


class Sampler(ABC):
    """Goes from t = 1 to t = 0 along the times of a schedule.

    States are float64, since x / alpha is large near t = 1.

    Args:
        num_steps: how many.
        clip: whether estimates of x_0 are clipped to [-1, 1]: near t = 1 the least error in a
            prediction of noise is magnified by 1 / alpha.
    """

    evaluations_per_step = 1

    def __init__(self, num_steps: Count, clip: bool) -> None:
        self.num_steps = num_steps
        self.clip = clip

    @property
    def network_evaluations(self) -> int:
        """How often the denoiser is asked for a sample, at most."""
        return self.num_steps * self.evaluations_per_step

    def __call__(
        self, denoiser: Denoiser, schedule: Schedule, x_1: Tensor, noise: Noise
    ) -> Tensor:
        """Return x_0 for x_1, both (N, C, H, W).

        Args:
            denoiser: (x_t, t) -> estimate of x_0.
            schedule: t -> (alpha_t, sigma_t).
            x_1: noise of the schedule's sigma at t = 1.
            noise: the number of a step -> the standard normal noise of that step.
        """
        return end_of(self.path(denoiser, schedule, x_1, noise))

    def path(
        self, denoiser: Denoiser, schedule: Schedule, x_1: Tensor, noise: Noise
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (t, x_t) after each step; otherwise as a call."""
        times = schedule.times(self.num_steps)
        return self.along(times, denoiser, schedule, x_1, noise)

    def along(
        self,
        times: Tensor,
        denoiser: Denoiser,
        schedule: Schedule,
        start: Tensor,
        noise: Noise | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (t, x_t) after each step along any times, which may also rise.

        Args:
            times: where to go, (K + 1,) float64, the first that of `start`.
            denoiser, schedule, noise: as in a call; steps without noise need none.
            start: x at the first time.
        """

        def estimated(x_t: Tensor, t: Tensor) -> Tensor:
            x_0 = denoiser(x_t.to(start.dtype), t).double()
            return x_0.clamp(-1, 1) if self.clip else x_0

        x_t, earlier = start.double(), None
        for number, (t, s) in enumerate(pairwise(times)):
            now = Estimate(t, estimated(x_t, t))
            own_noise = partial(noise, number) if noise is not None else None
            x_t = self.step(x_t, now, s, schedule, earlier, estimated, own_noise)
            earlier = now
            yield s, x_t.to(start.dtype)

    @abstractmethod
    def step(
        self,
        x_t: Tensor,
        now: Estimate,
        s: Tensor,
        schedule: Schedule,
        earlier: Estimate | None,
        estimated: Denoiser,
        noise: Callable[[], Tensor] | None,
    ) -> Tensor:
        """Return x_s for x_t, both (N, C, H, W).

        Args:
            x_t: where the step starts.
            now: the estimate of x_0 there, with t.
            s: where it ends.
            schedule: the schedule.
            earlier: the estimate of the step before, or None.
            estimated: (x_t, t) -> a further estimate.
            noise: () -> noise of this step.
        """


class DDIM(Sampler):
    """x_s = alpha_s x_0 + sqrt(sigma_s^2 - v) epsilon + sqrt(v) noise (Song et al. 2021, eq. 12).

    v is eta^2 times the variance of q(x_s | x_t, x_0): none with eta 0, all with eta 1, where it
    is the ancestral sampler.
    """

    def __init__(self, num_steps: Count, clip: bool, eta: Fraction) -> None:
        super().__init__(num_steps=num_steps, clip=clip)
        self.eta = eta

    def step(self, x_t, now, s, schedule, earlier, estimated, noise) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(now.t), schedule(s)
        epsilon = (x_t - alpha_t * now.x_0) / sigma_t
        added = sigma_t.square() - (alpha_t * sigma_s / alpha_s).square()  # from s to t, given x_s
        v = self.eta**2 * (sigma_s / sigma_t).square() * added
        x_s = alpha_s * now.x_0 + (sigma_s.square() - v).clamp_min(0).sqrt() * epsilon
        return x_s + v.sqrt() * noise() if v > 0 else x_s


class DDPM(Sampler):
    """The ancestral sampler: x_s from a Gaussian around the mean of q(x_s | x_t, x_0).

    Ho et al. 2020, equations 6, 7 and 11. Its variance is that of q(x_s | x_t, x_0), the small
    one, or that of q(x_t | x_s), the large one.
    """

    def __init__(self, num_steps: Count, clip: bool, large_variance: bool) -> None:
        super().__init__(num_steps=num_steps, clip=clip)
        self.large_variance = large_variance

    def step(self, x_t, now, s, schedule, earlier, estimated, noise) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(now.t), schedule(s)
        large = sigma_t.square() - (alpha_t * sigma_s / alpha_s).square()  # beta_t of the paper
        small = (sigma_s / sigma_t).square() * large
        mean = alpha_t / alpha_s * (sigma_s / sigma_t).square() * x_t
        mean = mean + alpha_s * large / sigma_t.square() * now.x_0
        if s == 0:
            return mean
        return mean + (large if self.large_variance else small).sqrt() * noise()


class Euler(Sampler):
    """Euler's method on y = x / alpha in u = sigma / alpha, where dy/du = (y - x_0) / u.

    The probability flow (Song et al. 2021b; Karras et al. 2022, equation 4). DDIM at eta 0 is
    the same step.
    """

    def step(self, x_t, now, s, schedule, earlier, estimated, noise) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(now.t), schedule(s)
        slope = (x_t - alpha_t * now.x_0) / sigma_t
        return alpha_s * now.x_0 + sigma_s * slope  # y + (u_s - u_t) slope, without cancellation


class Heun(Sampler):
    """Euler's step, corrected by the slope at its end (Karras et al. 2022, algorithm 1).

    At pure noise, where u is far beyond the paper's, the least change of the slope would be
    magnified by it: there the step is made in the inverse of u, in which dy/d(1/u) = x_0 for
    y = x / sigma.
    """

    evaluations_per_step = 2

    @property
    def network_evaluations(self) -> int:
        return 2 * self.num_steps - 1  # the last step, to no noise, is Euler's

    def step(self, x_t, now, s, schedule, earlier, estimated, noise) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(now.t), schedule(s)
        slope = (x_t - alpha_t * now.x_0) / sigma_t
        x_s = alpha_s * now.x_0 + sigma_s * slope
        if s == 0:
            return x_s
        x_0 = estimated(x_s, s)
        u_t, u_s = sigma_t / alpha_t, sigma_s / alpha_s
        if max(u_t, u_s) > MAX_NOISE_TO_SIGNAL:  # the same in x / sigma and alpha / sigma
            return x_s + sigma_s * (1 / u_s - 1 / u_t) / 2 * (x_0 - now.x_0)
        slope_at_s = (x_s - alpha_s * x_0) / sigma_s
        return x_s + alpha_s * (u_s - u_t) / 2 * (slope_at_s - slope)


class DPMSolver(Sampler):
    """DPM-Solver++(2M): x_0 is taken to be linear in lambda = log(alpha / sigma).

    Lu et al. 2022 (DPM-Solver++), algorithm 2. The first step, and the last one, to no noise, take
    it to be constant.
    """

    def step(self, x_t, now, s, schedule, earlier, estimated, noise) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(now.t), schedule(s)
        x_0 = now.x_0
        if earlier is not None and s > 0:
            t_and_s = 0.5 * schedule.log_snr(torch.stack([earlier.t, now.t, s]))  # lambda
            last, h = t_and_s.diff()
            x_0 = x_0 + h / (2 * last) * (now.x_0 - earlier.x_0)
        ratio = sigma_s * alpha_t / (sigma_t * alpha_s)  # exp(-h)
        return sigma_s / sigma_t * x_t + alpha_s * (1 - ratio) * x_0
