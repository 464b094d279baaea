"""Two sets of features -> how far apart they are; all in float64, a chunk of rows at a time."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from gdm.theory.moments import JointMoments

CHUNK = 128  # rows whose distances to all columns are held at once: few, for the cache's sake
MAX_ROUNDING = (
    1e-12  # squared distance over squared length, which float32 features of one image may have
)
ROUNDING = 1e-9  # relative difference below which two squared distances are equal


def frechet_distance(samples: JointMoments, reference: JointMoments) -> float:
    """Return the squared Frechet distance of two Gaussians with these means and covariances.

        |m - m_r|^2 + trace(C + C_r - 2 (C C_r)^(1/2))

    Heusel et al. 2017, equation 6. With C = R R^T, the trace of the root is the sum of the
    singular values of R^T R_r. From n images each it is too large, by about D (D + 1) / (2 n) for
    D features of variance one, so that it compares only at equal n.
    """
    root, root_of_reference = _root(samples.covariance), _root(reference.covariance)
    overlap = torch.linalg.svdvals(root.T @ root_of_reference).sum()
    shift = (samples.mean - reference.mean).square().sum()
    traces = samples.covariance.trace() + reference.covariance.trace()
    return float((shift + traces - 2 * overlap).clamp_min(0))


def kernel_distance(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the unbiased squared maximum mean discrepancy and its standard error.

    The kernel is (x . y / D + 1)^3, over all pairs (Binkowski et al. 2018, equation 4); the error
    is that of the jackknife, which leaves out one row of either set at a time. Between two sets
    of one distribution the error is up to sqrt(2) times too large.

    Args:
        x: (N, D) features, three or more.
        y: (M, D) features, three or more.
    """
    x, y = x.double(), y.double()
    n, m = len(x), len(y)
    of_x, of_y = _kernel_sums_within(x), _kernel_sums_within(y)  # (N,), (M,)
    x_to_y, y_to_x = _kernel_sums_between(x, y)  # (N,), (M,)
    within_x, within_y, between = of_x.sum(), of_y.sum(), x_to_y.sum()
    distance = _discrepancy(within_x, within_y, between, n, m)
    # without one row, its sums are missing: within a set twice, as a row and as a column
    without_x = _discrepancy(within_x - 2 * of_x, within_y, between - x_to_y, n - 1, m)
    without_y = _discrepancy(within_x, within_y - 2 * of_y, between - y_to_x, n, m - 1)
    variance = (n - 1) * without_x.var(correction=0) + (m - 1) * without_y.var(correction=0)
    return float(distance), float(variance.sqrt())


def precision_recall(samples: Tensor, reference: Tensor, k: int = 5) -> dict[str, float]:
    """Return precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al.
    2020) of samples, (N, D), against a reference, (M, D), both of more than k rows.

    Around each image of a set is a ball that reaches to its k-th nearest neighbour in the set.
    `precision` is the fraction of samples in a ball of the reference, `recall` that of the
    reference in a ball of the samples; `density` is the mean number of balls of the reference that
    a sample is in, over k, and `coverage` the fraction of balls of the reference with a sample in
    them.
    """
    centre = reference.double().mean(0)  # a large offset would cost digits
    samples, reference = samples.double() - centre, reference.double() - centre
    radius_of_reference = _squared_radius(reference, k)  # (M,)
    radius_of_samples = _squared_radius(samples, k)  # (N,)
    balls = torch.zeros(len(samples), dtype=torch.int64)
    recalled = torch.zeros(len(reference), dtype=torch.bool)
    covered = torch.zeros(len(reference), dtype=torch.bool)
    for rows, squared in _squared_distances(samples, reference):  # (CHUNK, M)
        within = squared < radius_of_reference
        balls[rows] = within.sum(1)
        covered |= within.any(0)
        recalled |= (squared < radius_of_samples[rows, None]).any(0)
    return {
        "precision": float((balls > 0).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(balls.double().mean()) / k,
        "coverage": float(covered.double().mean()),
    }


def mean_of_middle(x: Tensor, rare: float = 0.01) -> float:
    """Return the mean of numbers without the rarest, so large a fraction at either end: (N,)."""
    low, high = x.quantile(torch.tensor([rare, 1 - rare]).to(x))
    return float(x[(x >= low) & (x <= high)].mean())


def inception_score(marginal: Tensor, mean_log: float) -> float:
    """Return exp(E[KL(p(y | x) || p(y))]) (Salimans et al. 2016).

    Args:
        marginal: the mean of p(y | x) over images, (K,).
        mean_log: the mean of sum_y p(y | x) log p(y | x).
    """
    return float((mean_log - torch.special.xlogy(marginal, marginal).sum()).exp())


def nearest(x: Tensor, y: Iterable[Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Return the Euclidean distances of the k nearest rows and their places, both (N, k).

    Args:
        x: (N, D).
        y: parts of what is searched, (M_i, D) each; places count through all of them.
        k: how many; distances ascend.
    """
    best = torch.empty(len(x), 0, dtype=torch.float64)
    index = torch.empty(len(x), 0, dtype=torch.int64)
    place = 0
    for part in y:
        found, order = _nearest_in(part, x, min(k, len(part)))
        best, index = torch.cat([best, found], 1), torch.cat([index, order + place], 1)
        best, order = best.topk(min(k, best.shape[1]), 1, largest=False)
        index = index.gather(1, order)
        place += len(part)
    return best.sqrt(), index


def mean_distance(x: Tensor) -> float:
    """Return the mean Euclidean distance of two different rows: (N, D), N above 1."""
    total = sum(squared.sqrt().sum() for _, squared in _squared_distances(x, x))
    return float(total) / (len(x) * (len(x) - 1))


def memorised(distances: Tensor) -> Tensor:
    """Return which samples are copies: the nearest training image is at most a third as far as the
    second nearest (Yoon et al. 2023).

    Args:
        distances: (N, 2 or more), ascending.
    """
    return distances[:, 0] <= distances[:, 1] / 3


def _root(covariance: Tensor) -> Tensor:
    """Return R, (D, rank), with R R^T the covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    # where there are fewer images than features, rounding is all that the others have
    kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
    return vectors[:, kept] * values[kept].sqrt()


def _discrepancy(within_x: Tensor, within_y: Tensor, between: Tensor, n: int, m: int) -> Tensor:
    """Return the mean of the kernel within x and within y less twice that between them."""
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    base = (x @ y.T).div_(x.shape[1]).add_(1)
    return base.square().mul_(base)


def _kernel_sums_within(x: Tensor) -> Tensor:
    """Return the sum of the kernel from each row to all others, (N,)."""
    sums = -(x.square().mean(1) + 1).pow(3)  # the kernel of a row and itself
    for start in range(0, len(x), CHUNK):  # above the diagonal, and by symmetry below it
        stop = start + CHUNK
        kernel = _kernel(x[start:stop], x[start:])
        sums[start:stop] += kernel.sum(1)
        sums[stop:] += kernel[:, CHUNK:].sum(0)
    return sums


def _kernel_sums_between(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of the kernel from each row to all of the other set, (N,) and (M,)."""
    of_x, of_y = [], torch.zeros(len(y), dtype=torch.float64)
    for rows in x.split(CHUNK):
        kernel = _kernel(rows, y)  # (CHUNK, M)
        of_x.append(kernel.sum(1))
        of_y += kernel.sum(0)
    return torch.cat(of_x), of_y


def _squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of the rows of x, and their squared distances to all of y, (CHUNK, M)."""
    x, y = x.double(), y.double()
    of_x, of_y = x.square().sum(1, keepdim=True), y.square().sum(1)
    same = MAX_ROUNDING * (of_x + of_y.mean())
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        squared = torch.addmm(of_y, x[rows], y.T, alpha=-2).add_(of_x[rows])
        # rows of the same image are at no distance, whatever rounding says
        yield rows, squared.masked_fill_(squared <= same[rows], 0)


def _squared_radius(x: Tensor, k: int) -> Tensor:
    """Return the squared distance of each row to its k-th nearest other row, (N,).

    It falls short by a rounding, so that what is as far is not nearer.
    """
    found, _ = _nearest_in(x, x, k + 1)  # the nearest of all is the row itself
    return found[:, -1] * (1 - ROUNDING)


def _nearest_in(y: Tensor, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return squared distances of the k rows of y that are nearest to each of x, and places."""
    found = [part.topk(k, 1, largest=False) for _, part in _squared_distances(x, y)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
