"""Flow matching on straight paths."""

from torch import Tensor

from gdm.models.diffusion import Diffusion

PER_TIME = 1000.0  # what the network's embedding calls t = 1


class FlowMatching(Diffusion):
    """Minimises E || (epsilon - x_0) - v(x_t, t) ||^2 along x_t = (1 - t) x_0 + t epsilon.

    The velocity of straight paths between noise and data (Lipman et al. 2023, equation 23; Liu et
    al. 2023, equation 1), with time running from data to noise as everywhere here. The arguments
    are those of `Diffusion`, the schedule `gdm.schedules.Straight`.
    """

    def predicted(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        return self.network(x_t, PER_TIME * t, label)

    def target(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        return epsilon - x_0

    def estimate(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        _, t = self.amounts(t)
        return x_t - t * prediction
