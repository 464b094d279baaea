"""Losses: tensors -> one figure an image. Sums over pixels and codes; the mean over the batch
is the model's to take.

Likelihoods are modules, since they may have parameters of their own. Each is called with the
decoder's output and the images, both (N, C, H, W).
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gdm.theory.images import GREY_LEVELS_PER_UNIT, HALF_GREY_LEVEL

LOG_TWO_PI = math.log(2 * math.pi)


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """||x - x'||^2 of each image, summed over channels and pixels: (N, C, H, W) -> (N,)."""
    return (x - reconstruction).square().flatten(1).sum(1)


def gaussian_log_density(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of N(mean, diag(exp(log_variance))) at x, summed over all but the batch."""
    squared = (x - mean).square() * torch.exp(-log_variance)
    return -0.5 * (squared + log_variance + LOG_TWO_PI).flatten(1).sum(1)


def gaussian_kl_per_unit(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, diag(exp(log_variance))) from N(0, I), unit by unit: (N, D) -> (N, D)."""
    # Kingma and Welling 2014, appendix B
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance)


def dequantise(x: Tensor, noise: Tensor) -> Tensor:
    """Spread 8-bit values over their bins: x in [-1, 1] and noise in [0, 1) -> a density's x.

    A density of the result bounds the probability of the 8-bit image from below (Theis et al.
    2016, section 3.1) once `log_bin_volume` is added.
    """
    return x + (noise - 0.5) / GREY_LEVELS_PER_UNIT


def log_bin_volume(num_dimensions: int) -> float:
    """Log volume of one 8-bit bin in [-1, 1]^D: the change of scale, in nats."""
    return -num_dimensions * math.log(GREY_LEVELS_PER_UNIT)


def bits_per_dimension(nats: Tensor, num_dimensions: int) -> Tensor:
    """Turn a log-likelihood of an image, in nats, into bits per dimension."""
    return -nats / (num_dimensions * math.log(2))


def discretised_gaussian_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log of the mass that a Gaussian has in the bin of each 8-bit value, in nats.

    The bins of the least and the greatest value reach to infinity (Ho et al. 2020, equation 13).

    Args:
        x: 8-bit values in [-1, 1], (N, C, H, W).
        mean: the Gaussians' means, the same shape.
        log_std: logarithm of their standard deviations, a shape that broadcasts.

    Returns:
        One figure a value, (N, C, H, W).
    """
    half = HALF_GREY_LEVEL
    scale = torch.exp(-log_std.double())
    below = (x.double() - half - mean).mul(scale).masked_fill(x < -1 + half, -torch.inf)
    above = (x.double() + half - mean).mul(scale).masked_fill(x > 1 - half, torch.inf)
    # both ends on the negative side, where differences of the distribution function keep digits
    flip = below + above > 0
    low, high = torch.where(flip, -above, below), torch.where(flip, -below, above)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    return (log_high + torch.log1p(-torch.exp(log_low - log_high))).float()


class Likelihood(nn.Module, ABC):
    """p(x | z), given what the decoder puts out for z."""

    @abstractmethod
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """Return log p(x | z) of 8-bit images in [-1, 1], in nats: twice (N, C, H, W) -> (N,)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Return the mean image in [-1, 1]: (N, C, H, W) -> (N, C, H, W)."""

    @abstractmethod
    def observed(self, x: Tensor, within_bin: Tensor) -> Tensor:
        """Return the x whose log-probability counts, given noise in [0, 1): twice (N, C, H, W)."""

    @abstractmethod
    def describes(self, x: Tensor) -> Tensor:
        """Return whether this is a distribution over such images: (N, C, H, W) -> (N,) bool."""


class Gaussian(Likelihood):
    """N(x; output, sigma^2 I) with one sigma for all pixels, learned with the rest.

    A learned sigma balances reconstruction and KL by itself: at its optimum sigma^2 is the mean
    squared error (Rybkin et al. 2021, "Simple and effective VAE training with calibrated
    decoders", section 3.2). The log-probability of an 8-bit image is the density times the
    volume of its bin; a bound once x is dequantised.

    Args:
        log_variance: log sigma^2 at the start, in units of the image's range [-1, 1].
        learn_variance: False keeps it there.
    """

    def __init__(self, log_variance: float, learn_variance: bool) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.tensor(float(log_variance)), learn_variance)

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        log_density = gaussian_log_density(x, output, self.log_variance)
        return log_density + log_bin_volume(x[0].numel())

    def mean(self, output: Tensor) -> Tensor:
        return output.clamp(-1, 1)

    def observed(self, x: Tensor, within_bin: Tensor) -> Tensor:
        return dequantise(x, within_bin)

    def describes(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool)


class Bernoulli(Likelihood):
    """Each pixel is white with probability sigmoid(output).

    On grey images, taken as chances of white, this is a cross-entropy and no likelihood: their
    ELBO is not reported. `dataset.binarize=true` makes the images black and white.
    """

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        white = (x + 1) / 2
        # white * log sigmoid(output) + (1 - white) * log sigmoid(-output)
        return (white * output - softplus(output)).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        return (output / 2).tanh()  # 2 sigmoid(output) - 1

    def observed(self, x: Tensor, within_bin: Tensor) -> Tensor:
        return x

    def describes(self, x: Tensor) -> Tensor:
        return (x.abs() == 1).flatten(1).all(1)
