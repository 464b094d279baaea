"""How codes are distributed: how far from normal, how much room a class takes, who is near."""

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

NEIGHBOURS = 5  # k of the estimate of entropy: the larger, the less noise and the more bias
TINY = 1e-12  # below which a length is none


def whitened(codes: Tensor) -> Tensor:
    """Return codes with a mean of 0 and a covariance of I: (N, D) -> (N, D) float64."""
    mean, factor = _mean_and_factor(codes)
    return torch.linalg.solve_triangular(factor, (codes.double() - mean).T, upper=False).T


def nearest_normal(codes: Tensor, noise: Tensor) -> Tensor:
    """Turn standard normal noise into samples of the normal distribution with the codes' mean and
    covariance, of all the one from which they diverge least: (N, D), (M, D) -> (M, D).
    """
    mean, factor = _mean_and_factor(codes)
    return (mean + noise.double() @ factor.T).to(codes)


def _mean_and_factor(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean, (D,), and the Cholesky factor of the covariance, (D, D), in float64."""
    codes = codes.double()
    covariance = codes.T.cov().reshape(codes.shape[1], codes.shape[1])
    jitter = 1e-9 * covariance.diagonal().mean() + TINY  # a unit that never changes has none
    covariance = covariance + jitter * torch.eye(len(covariance), dtype=codes.dtype)
    return codes.mean(0), torch.linalg.cholesky(covariance)


def entropy(codes: Tensor) -> float:
    """Return the differential entropy of what the codes were drawn from, in nats.

        psi(N) - psi(k) + log V_D + D / N sum_i log r_i

    r_i is the distance of code i to its k-th nearest, V_D the volume of the unit ball (Kozachenko
    and Leonenko 1987; Kraskov et al. 2004, equation 20).

    Args:
        codes: (N, D), spread about alike in all directions: see `whitened`.
    """
    count, dimension = codes.shape
    radii = [  # the nearest of all is the code itself
        torch.cdist(part, codes).topk(NEIGHBOURS + 1, largest=False).values[:, -1]
        for part in codes.split(1000)
    ]
    log_ball = dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2 + 1)
    ranks = torch.tensor([count, NEIGHBOURS], dtype=torch.float64).digamma()
    log_radius = torch.cat(radii).clamp_min(TINY).log().mean()
    return float(ranks[0] - ranks[1] + log_ball + dimension * log_radius)


def nats_from_normal(codes: Tensor) -> float:
    """Return the KL divergence of the codes' distribution from the nearest normal one, in nats.

    It is the entropy that a normal distribution of their covariance has more than they do (the
    negentropy), 0 for normal codes only, and the same however the codes are stretched or turned.

    Args:
        codes: (N, D).
    """
    normal_entropy = codes.shape[1] / 2 * math.log(2 * math.pi * math.e)
    return normal_entropy - entropy(whitened(codes))


def nats_from_density(codes: Tensor, log_prob: Tensor) -> float:
    """Return the KL divergence of the codes' distribution from a density, in nats.

    Args:
        codes: (N, D).
        log_prob: the logarithm of the density at each, (N,).
    """
    _, factor = _mean_and_factor(codes)
    own_entropy = entropy(whitened(codes)) + float(factor.diagonal().log().sum())
    return -own_entropy - float(log_prob.double().mean())


def class_areas(codes: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Return how much room each class takes, (num_classes,) with a sum of 1.

    The area of a class in two dimensions is that of its covariance ellipse; in D dimensions,
    where volumes differ by orders of magnitude, det(covariance)^(1 / D), their 2 / D-th power.

    Args:
        codes: (N, D).
        label: (N,), two codes of each class at least; a class of fewer has no area.
    """
    areas = torch.zeros(num_classes, dtype=torch.float64)
    for number in range(num_classes):
        own = codes[label == number]
        if len(own) > 1:
            areas[number] = (2 * _mean_and_factor(own)[1].diagonal().log().mean()).exp()
    return areas / areas.sum()


def nearest_class(points: Tensor, codes: Tensor, label: Tensor, k: int = NEIGHBOURS) -> Tensor:
    """Return the class that most of the k nearest codes of each point have: (M, D) -> (M,)."""
    near = torch.cdist(points, codes).topk(min(k, len(codes)), largest=False).indices  # (M, k)
    return one_hot(label)[near].sum(1).argmax(1)


def mass_levels(density: Tensor, masses: Tensor) -> Tensor:
    """Return the densities above which a region of the plane holds these masses.

    Args:
        density: at the points of a regular grid, of any shape.
        masses: (L,) shares of the whole, ascending.

    Returns:
        (L,), descending.
    """
    values = density.flatten().sort(descending=True).values
    share = values.cumsum(0) / values.sum()
    return values[torch.searchsorted(share, masses.to(share)).clamp_max(len(values) - 1)]
