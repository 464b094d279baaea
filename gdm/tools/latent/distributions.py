"""How codes are distributed: how far from simple densities, how much room a class takes."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gdm.evaluation import distances
from gdm.theory.densities import GaussianMixture
from gdm.theory.walks import TINY

NEIGHBOURS = 5  # whose classes name a point
COMPONENTS = 20  # of the mixture that a divergence is measured by; fewer where codes are few
CODES_PER_NUMBER = 5  # at least so many codes for each number of a code and each component


def covariance_factor(codes: Tensor) -> Tensor:
    """Return the Cholesky factor of the covariance of codes, (N, D) -> (D, D) float64."""
    codes = codes.double()
    covariance = codes.T.cov().reshape(codes.shape[1], codes.shape[1])
    jitter = 1e-9 * covariance.diagonal().mean() + TINY  # a unit that never changes has none
    return torch.linalg.cholesky(covariance + jitter * torch.eye(len(covariance)))


def whitened(codes: Tensor) -> Tensor:
    """Return codes with a mean of 0 and a covariance of I: (N, D) -> (N, D) float64."""
    apart = (codes.double() - codes.double().mean(0)).T
    return torch.linalg.solve_triangular(covariance_factor(codes), apart, upper=False).T


def fitted(codes: Tensor, num_components: int) -> GaussianMixture:
    """Return a mixture of Gaussians, in float64, fitted to codes, (N, D)."""
    density = GaussianMixture(codes.shape[1], num_components).double()
    density.fit(codes)
    return density


def mixture_of(train: Tensor) -> GaussianMixture:
    """Return a mixture fitted to codes, (M, D), of as many Gaussians as they allow.

    It is fitted to whitened codes and turned back, so that it is the same however codes are
    stretched.
    """
    most = len(train) // (CODES_PER_NUMBER * train.shape[1])
    density = fitted(whitened(train), max(1, min(COMPONENTS, most)))
    factor = covariance_factor(train)
    density.mean = train.double().mean(0) + density.mean @ factor.T
    density.factor = factor @ density.factor
    return density


def nats_from(codes: Tensor, mixture: GaussianMixture, log_density: Tensor) -> float:
    """Return a lower bound of the KL divergence of the codes' distribution p from a density q.

        KL(p || q) = E_p[log p(z) - log q(z)] >= E_p[log m(z) - log q(z)]

    m is a mixture, fitted to other codes than those that the mean is taken over; what the bound
    lacks is how far p is from the mixture. No divergence is below 0.

    Args:
        codes: (N, D).
        mixture: m.
        log_density: log q at the codes, (N,).
    """
    own = mixture.log_prob(codes.double())
    return max(0.0, float((own - log_density.double()).mean()))


def class_areas(codes: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Return how much room each class takes, (num_classes,) with a sum of 1, or of 0.

    The area of a class in two dimensions is that of its covariance ellipse; in D dimensions,
    where volumes differ by orders of magnitude, det(covariance)^(1 / D), their 2 / D-th power.

    Args:
        codes: (N, D).
        label: (N,); a class of no more than D codes fills no volume and has no area.
    """
    areas = torch.zeros(num_classes, dtype=torch.float64)
    for number in range(num_classes):
        own = codes[label == number]
        if len(own) > codes.shape[1]:
            areas[number] = (2 * covariance_factor(own).diagonal().log().mean()).exp()
    return areas / areas.sum().clamp_min(TINY)


def nearest_class(points: Tensor, codes: Tensor, label: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """Return the class that most of the k nearest codes of each point have: (M, D) -> (M,)."""
    k, count = min(k, len(codes)), int(label.max()) + 1
    _, near = distances.nearest(points, [codes], k)
    return one_hot(label[near], count).sum(1).argmax(1)


def apart(p: Tensor, q: Tensor) -> float:
    """Return the fraction that would have to change its class to make p of q, both (K,) fractions
    (the total variation distance).
    """
    return float((p - q).abs().sum() / 2)


def apart_by_chance(p: Tensor, n: int, m: int) -> float:
    """Return how far apart the fractions of n and of m draws from p, (K,), are about to be.

    A difference of fractions is nearly normal, with variance p (1 - p) (1 / n + 1 / m), and the
    mean size of a normal number is sqrt(2 / pi) standard deviations.
    """
    std = (p * (1 - p) * (1 / n + 1 / m)).sqrt()
    return float(std.sum() / (2 * torch.pi) ** 0.5)
