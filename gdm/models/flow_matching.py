"""Flow matching on straight paths."""

from collections.abc import Callable

from torch import Tensor, nn

from gdm.ema import EMA
from gdm.learning_rates import LearningRate
from gdm.models.diffusion import Diffusion
from gdm.ranges import Count, NonNegative, Positive, PositiveShare, Share
from gdm.samplers import Sampler
from gdm.schedules import Straight

PER_TIME = 1000.0  # what the network's embedding calls t = 1


class FlowMatching(Diffusion):
    """Minimises E || (epsilon - x_0) - v(x_t, t) ||^2 along x_t = (1 - t) x_0 + t epsilon.

    The velocity of straight paths between noise and data (Lipman et al. 2023, equation 23; Liu et
    al. 2023, equation 1), with time running from data to noise as everywhere here. The arguments
    are those of `Diffusion`.
    """

    def __init__(
        self,
        channels: Count,
        native_resolution: Count,
        num_classes: Count,
        network: Callable[..., nn.Module],
        schedule: Straight,
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
    ) -> None:
        super().__init__(
            channels, native_resolution, num_classes, network, schedule, sampler,
            log_snr_mean, log_snr_deviation, conditional, label_dropout, guidance,
            guide_share, autoguidance, inversion_steps, flip,
            optimizer, learning_rate, ema, max_gradient_norm,
        )  # fmt: skip

    def predicted(
        self, network: nn.Module, x_t: Tensor, t: Tensor, label: Tensor | None
    ) -> Tensor:
        return network(x_t, PER_TIME * t, label)

    def target(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        return epsilon - x_0

    def estimate(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        _, t = self.amounts(t)
        return x_t - t * prediction
