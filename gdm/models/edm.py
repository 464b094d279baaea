"""EDM: the design of Karras et al. 2022."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gdm.ema import EMA
from gdm.learning_rates import LearningRate
from gdm.models.diffusion import Diffusion
from gdm.ranges import Count, NonNegative, Positive, PositiveShare, Share
from gdm.samplers import Sampler
from gdm.schedules import Karras

PER_NOISE = 250.0  # the embedding resolves differences of 1, and c_noise is a few units wide


class EDM(Diffusion):
    """Minimises E [lambda(sigma) || D(x + n; sigma) - x ||^2] (Karras et al. 2022, equation 2).

    D(x; sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x; c_noise(sigma)), so that what
    the network F sees and is to predict has variance 1 at every sigma; lambda = 1 / c_out^2.
    ln sigma is normal in training: a log-SNR of -2 ln sigma.

    Args:
        data_deviation: standard deviation of the images' values.
        (the rest as in `Diffusion`)
    """

    def __init__(
        self,
        channels: Count,
        native_resolution: Count,
        num_classes: Count,
        network: Callable[..., nn.Module],
        schedule: Karras,
        sampler: Sampler,
        data_deviation: Positive,
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
        self.data_deviation = data_deviation

    def predicted(
        self, network: nn.Module, x_t: Tensor, t: Tensor, label: Tensor | None
    ) -> Tensor:
        _, sigma = self.amounts(t)
        c_in = 1 / torch.sqrt(sigma**2 + self.data_deviation**2)
        c_noise = self.schedule(t)[1].log() / 4
        return network(c_in * x_t, PER_NOISE * c_noise, label)

    def target(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        _, sigma = self.amounts(t)
        c_skip, c_out = self._preconditioning(sigma)
        return (x_0 - c_skip * (x_0 + sigma * epsilon)) / c_out  # equation 8

    def estimate(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        c_skip, c_out = self._preconditioning(self.amounts(t)[1])
        return c_skip * x_t + c_out * prediction  # equation 7

    def _preconditioning(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return c_skip and c_out (table 1)."""
        total = sigma**2 + self.data_deviation**2
        return self.data_deviation**2 / total, sigma * self.data_deviation / total.sqrt()
