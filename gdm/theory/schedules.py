"""Noise schedules: time t in [0, 1] -> (alpha_t, sigma_t) of x_t = alpha_t x_0 + sigma_t epsilon.

t = 0 is data, t = 1 noise, and the signal-to-noise ratio alpha_t^2 / sigma_t^2 falls in between.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated

import torch
from torch import Tensor

from gdm.recipes.ranges import NonNegative, Positive, PositiveFraction, Range

STEPS_OF_PAPER = 1000  # the T that the published betas belong to
ABOVE_ZERO = 1e-12  # the least time that is not 0
MIN_COVERAGE = 0.01  # of the log-SNR asked for that a schedule must have
NUM_QUANTILES = 10_000  # of the distribution of training times
NumSteps = Annotated[int, Range(21)]  # with 20 or fewer, betas scaled by 1000/T would reach 1


class Schedule(ABC):
    """What turns a time into alpha, the signal, and sigma, the noise."""

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha_t and sigma_t, float64, in the shape of t, whose values lie in [0, 1]."""

    def times(self, num_steps: int) -> Tensor:
        """Return the times that a sampler goes along, from 1 to 0: (num_steps + 1,) float64."""
        return torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)

    def log_snr(self, t: Tensor) -> Tensor:
        """Return log(alpha_t^2 / sigma_t^2), in the shape of t."""
        alpha_t, sigma_t = self(t)
        return 2 * (alpha_t.log() - sigma_t.log())


def alpha_sigma(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha_t and sigma_t as factors of images: (N,), () -> (N, 1, 1, 1) each, float32."""
    alpha_t, sigma_t = schedule(t)
    return alpha_t.float().view(-1, 1, 1, 1), sigma_t.float().view(-1, 1, 1, 1)


class TrainingTimes:
    """The times that a model is trained at: u in [0, 1) -> t in (0, 1].

    Uniform u become times whose log-SNR is normally distributed, within what the schedule has:
    in the middle, where images take shape, more is learned from a step than at the ends (Karras
    et al. 2022, section 5; the logit-normal times of Esser et al. 2024 are mean 0 and std
    2 on straight paths). Of a discrete schedule, times are i/T.

    Args:
        schedule: the schedule.
        mean, std: of the log-SNR; a std of None for times that are uniform themselves.
    """

    def __init__(self, schedule: Schedule, mean: float, std: float | None) -> None:
        self.num_steps = schedule.num_steps if isinstance(schedule, Discrete) else None
        self.times = torch.linspace(0, 1, NUM_QUANTILES + 1, dtype=torch.float64)[1:]
        self.below = None  # fraction of times up to each, ascending from 0 to 1
        if std is not None:
            below = torch.special.ndtr((mean - schedule.log_snr(self.times)) / std)
            if below[-1] - below[0] < MIN_COVERAGE:
                raise ValueError(
                    f"log_snr_mean={mean} and log_snr_std={std}: the schedule has "
                    "next to no such times"
                )
            self.below = (below - below[0]) / (below[-1] - below[0])

    def __call__(self, u: Tensor) -> Tensor:
        """Return times, float64 in the shape of u, on the CPU."""
        t = u.double()
        if self.below is not None:
            above = torch.searchsorted(self.below, t, right=True).clamp(1, NUM_QUANTILES - 1)
            low, high = self.below[above - 1], self.below[above]
            weight = ((t - low) / (high - low)).nan_to_num(1.0)  # far in a tail, both are 1
            t = torch.lerp(self.times[above - 1], self.times[above], weight)
        if self.num_steps is not None:
            t = ((t * self.num_steps).floor() + 1).clamp(max=self.num_steps) / self.num_steps
        return t.clamp(ABOVE_ZERO, 1)


class Discrete(Schedule):
    """T steps of noise with variances beta_1, ..., beta_T (Ho et al. 2020, equations 2 and 4).

        alpha_bar_t = prod_{s <= t} (1 - beta_s),  alpha_t^2 = alpha_bar_t = 1 - sigma_t^2

    What the paper calls alpha_t is no part of this; our alpha_t multiplies x_0. The table is exact
    at t = i/T, and log alpha_bar is interpolated between.

    Args:
        num_steps: T.
    """

    def __init__(self, num_steps: NumSteps) -> None:
        self.num_steps = num_steps
        betas = self.betas()
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError("the schedule's betas must lie between 0 and 1, without the ends")
        log_alpha_bar = torch.log1p(-betas).cumsum(0)
        self.log_alpha_bar = torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha_bar])

    @abstractmethod
    def betas(self) -> Tensor:
        """Return beta_1, ..., beta_T, (T,) float64."""

    @property
    def alpha_bar(self) -> Tensor:
        """alpha_bar at t = 0, 1/T, ..., 1, (T + 1,) float64."""
        return self.log_alpha_bar.exp()

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = self.log_alpha_bar.to(t.device)
        place = t.double() * self.num_steps
        below = place.floor().long().clamp(0, self.num_steps - 1)
        log_alpha_bar = torch.lerp(table[below], table[below + 1], place - below)
        # 1 - alpha_bar without losing the digits of a small one
        return (0.5 * log_alpha_bar).exp(), (-torch.expm1(log_alpha_bar)).sqrt()


class Linear(Discrete):
    """beta_t rises evenly from first to last (Ho et al. 2020, section 4), times 1000 / T.

    Args:
        num_steps: T.
        first_beta, last_beta: the ends, for T = 1000.
    """

    def __init__(self, num_steps: NumSteps, first_beta: Positive, last_beta: Positive) -> None:
        self.first_beta, self.last_beta = first_beta, last_beta
        super().__init__(num_steps)

    def betas(self) -> Tensor:
        even = torch.linspace(self.first_beta, self.last_beta, self.num_steps, dtype=torch.float64)
        return even * (STEPS_OF_PAPER / self.num_steps)


class Quadratic(Discrete):
    """The square root of beta_t rises evenly (Ho et al. 2020, appendix B); else as `Linear`."""

    def __init__(self, num_steps: NumSteps, first_beta: Positive, last_beta: Positive) -> None:
        self.first_beta, self.last_beta = first_beta, last_beta
        super().__init__(num_steps)

    def betas(self) -> Tensor:
        ends = math.sqrt(self.first_beta), math.sqrt(self.last_beta)
        even = torch.linspace(*ends, self.num_steps, dtype=torch.float64)
        return even.square() * (STEPS_OF_PAPER / self.num_steps)


class Bounded(Discrete):
    """alpha_bar has a closed form f, and betas of it are cut off so that none comes near 1.

        beta_t = min(1 - f(t) / f(t - 1/T), max_beta)

    Args:
        num_steps: T.
        max_beta: where betas are cut off; the end of the table leaves the closed form there.
    """

    def __init__(self, num_steps: NumSteps, max_beta: PositiveFraction) -> None:
        self.max_beta = max_beta
        super().__init__(num_steps)

    @abstractmethod
    def closed_form(self, t: Tensor) -> Tensor:
        """Return alpha_bar before the cut, 1 at t = 0: float64 in the shape of t."""

    def betas(self) -> Tensor:
        times = torch.linspace(0, 1, self.num_steps + 1, dtype=torch.float64)
        alpha_bar = self.closed_form(times)
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=self.max_beta)


class Cosine(Bounded):
    """alpha_bar_t = cos^2((t + offset) / (1 + offset) pi / 2), over its value at 0.

    Nichol and Dhariwal 2021, equation 17.

    Args:
        num_steps: T.
        offset: keeps beta from vanishing near t = 0.
        max_beta: where betas are cut off.
    """

    def __init__(
        self, num_steps: NumSteps, offset: NonNegative, max_beta: PositiveFraction
    ) -> None:
        self.offset = offset
        super().__init__(num_steps=num_steps, max_beta=max_beta)

    def closed_form(self, t: Tensor) -> Tensor:
        angle = (t + self.offset) / (1 + self.offset) * (math.pi / 2)
        return (angle.cos() / math.cos(self.offset / (1 + self.offset) * math.pi / 2)).square()


class Sigmoid(Bounded):
    """alpha_bar_t falls from 1 to 0 as sigmoid(-v) does between v = start and v = end.

    Jabri et al. 2023 (RIN), section 3 and appendix; Chen 2023, algorithm 1.

    Args:
        num_steps: T.
        start, end: the part of the sigmoid that is used.
        temperature: divides v; below 1 the middle is steeper.
        max_beta: where betas are cut off.
    """

    def __init__(
        self,
        num_steps: NumSteps,
        start: float,
        end: float,
        temperature: Positive,
        max_beta: PositiveFraction,
    ) -> None:
        if end <= start:
            raise ValueError(f"start={start} must be below end={end}")
        self.start, self.end, self.temperature = start, end, temperature
        super().__init__(num_steps=num_steps, max_beta=max_beta)

    def closed_form(self, t: Tensor) -> Tensor:
        v = (self.start + (self.end - self.start) * t) / self.temperature
        ends = torch.tensor([self.start, self.end], dtype=torch.float64) / self.temperature
        high, low = torch.sigmoid(-ends)
        return (torch.sigmoid(-v) - low) / (high - low)


class Straight(Schedule):
    """alpha_t = 1 - t, sigma_t = t: straight paths from noise to data (Lipman et al. 2023;
    Liu et al. 2023)."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.double()
        return 1 - t, t


class Karras(Schedule):
    """alpha_t = 1 and sigma_t between sigma_min and sigma_max, evenly in sigma^(1 / rho).

    Karras et al. 2022 (EDM), equation 5; at t = 0 itself sigma is 0.

    Args:
        sigma_min, sigma_max: the ends, in units of the image's range [-1, 1].
        rho: larger means more steps at low noise.
    """

    def __init__(self, sigma_min: Positive, sigma_max: Positive, rho: Positive) -> None:
        if sigma_max <= sigma_min:
            raise ValueError(f"sigma_min={sigma_min} must be below sigma_max={sigma_max}")
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        try:
            low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
        except OverflowError:
            low, high = 0.0, math.inf
        if not 0 < low < high < math.inf:
            raise ValueError(f"rho={rho} is too small for these ends")

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        sigma_t = (low + (high - low) * t.double()) ** self.rho
        return torch.ones_like(sigma_t), sigma_t.where(t > 0, 0.0)

    def times(self, num_steps: int) -> Tensor:
        above = torch.linspace(1, ABOVE_ZERO, num_steps, dtype=torch.float64)
        return torch.cat([above, torch.zeros(1, dtype=torch.float64)])
