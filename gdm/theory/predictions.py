"""What the network of a diffusion model sees, what it is to predict, and what that says of x_0.

Each prediction is one class; x_t = alpha_t x_0 + sigma_t epsilon. Images are (N, C, H, W);
alpha_t and sigma_t are (N, 1, 1, 1), float32.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from gdm.recipes.ranges import Positive
from gdm.theory.schedules import Discrete, Karras, Schedule, Straight

PER_TIME = 1000.0  # what the network's embedding calls t = 1, as in a schedule of 1000 steps
PER_NOISE = 250.0  # the embedding resolves differences of 1, and c_noise is a few units wide


class Prediction(ABC):
    """What a network predicts; by default it sees x_t and t as they are."""

    schedule: type[Schedule] = Schedule  # the kind along which the formulas hold

    def network_input(self, x_t: Tensor, sigma_t: Tensor) -> Tensor:
        """Return what the network sees of x_t."""
        return x_t

    def network_time(self, t: Tensor, schedule: Schedule) -> Tensor:
        """Return what the network is told of the time: (N,) float64 -> (N,) float64."""
        return PER_TIME * t

    @abstractmethod
    def target(self, x_0: Tensor, epsilon: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        """Return what the network is to predict."""

    @abstractmethod
    def estimate(self, x_t: Tensor, output: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        """Return the estimate of x_0 that a prediction means."""


class Epsilon(Prediction):
    """The noise (Ho et al. 2020, equation 14)."""

    schedule = Discrete

    def target(self, x_0: Tensor, epsilon: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return epsilon

    def estimate(self, x_t: Tensor, output: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return (x_t - sigma_t * output) / alpha_t


class X0(Prediction):
    """The image itself."""

    def target(self, x_0: Tensor, epsilon: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return x_0

    def estimate(self, x_t: Tensor, output: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return output


class V(Prediction):
    """v = alpha_t epsilon - sigma_t x_0, where alpha_t^2 + sigma_t^2 = 1 (Salimans and Ho 2022,
    section 4)."""

    schedule = Discrete

    def target(self, x_0: Tensor, epsilon: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return alpha_t * epsilon - sigma_t * x_0

    def estimate(self, x_t: Tensor, output: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return alpha_t * x_t - sigma_t * output


class Velocity(Prediction):
    """epsilon - x_0, the velocity of the straight paths x_t = (1 - t) x_0 + t epsilon.

    Lipman et al. 2023, equation 23; Liu et al. 2023, equation 1; with time running from data to
    noise as everywhere here.
    """

    schedule = Straight

    def target(self, x_0: Tensor, epsilon: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return epsilon - x_0

    def estimate(self, x_t: Tensor, output: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        return x_t - sigma_t * output


class Preconditioned(Prediction):
    """D(x; sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x; c_noise(sigma)).

    What the network F sees and is to predict has variance 1 at every sigma, and an even weight of
    F's errors is lambda = 1 / c_out^2 of D's (Karras et al. 2022, equations 7 and 8, table 1).

    Args:
        sigma_data: standard deviation of the images' values.
    """

    schedule = Karras

    def __init__(self, sigma_data: Positive = 0.5) -> None:
        self.sigma_data = sigma_data

    def network_input(self, x_t: Tensor, sigma_t: Tensor) -> Tensor:
        c_in = 1 / (sigma_t**2 + self.sigma_data**2).sqrt()
        return c_in * x_t

    def network_time(self, t: Tensor, schedule: Schedule) -> Tensor:
        _, sigma_t = schedule(t)
        c_noise = sigma_t.log() / 4
        return PER_NOISE * c_noise

    def target(self, x_0: Tensor, epsilon: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        c_skip, c_out = self._skip_and_out(sigma_t)
        return (x_0 - c_skip * (x_0 + sigma_t * epsilon)) / c_out  # equation 8

    def estimate(self, x_t: Tensor, output: Tensor, alpha_t: Tensor, sigma_t: Tensor) -> Tensor:
        c_skip, c_out = self._skip_and_out(sigma_t)
        return c_skip * x_t + c_out * output  # equation 7

    def _skip_and_out(self, sigma_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return c_skip and c_out (table 1)."""
        total = sigma_t**2 + self.sigma_data**2
        return self.sigma_data**2 / total, sigma_t * self.sigma_data / total.sqrt()
