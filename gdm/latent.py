"""Codes -> codes: walks, directions and grids in the latent space, maps of it, how far codes are
from a normal distribution, the density that is fitted to those of a plain autoencoder, and codes
in few bits.
"""

import importlib.util
import math
import warnings

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from torch.nn.functional import one_hot

from gdm.errors import UserError
from gdm.ranges import Count

NEIGHBOURS = 5  # k of the estimate of entropy: the larger, the less noise and the more bias
TINY = 1e-12  # below which a length is none
LEFT_OUT = (0, 1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.04, 0.07)  # 0.055 is best for a normal at one bit


# Walks -------------------------------------------------------------------------------------------


def straight_line(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return z = (1 - t) a + t b.

    Args:
        a, b: two codes of one shape (...).
        t: (T,) from 0 at a to 1 at b.

    Returns:
        (T, ...).
    """
    t = t.to(a).reshape(-1, *[1] * a.dim())  # (T, 1, ...)
    return (1 - t) * a + t * b


def great_circle(a: Tensor, b: Tensor, t: Tensor, centre: Tensor | float = 0.0) -> Tensor:
    """Return codes on the great circle from a to b, at equal angles for equal steps of t.

        sin((1 - t) angle) / sin(angle) a + sin(t angle) / sin(angle) b

    of the directions (Shoemake 1985, the slerp), while the distance from the centre goes
    straight from that of a to that of b. Normal codes of many dimensions all lie at about one
    distance from their mean, which a straight line leaves (White 2016).

    Args:
        a, b, t: as in `straight_line`.
        centre: the middle of the circle.
    """
    start, end = (a - centre).flatten(), (b - centre).flatten()
    lengths = start.norm(), end.norm()
    start, end = start / lengths[0].clamp_min(TINY), end / lengths[1].clamp_min(TINY)
    angle = torch.acos((start @ end).clamp(-1, 1))
    t = t.to(a)[:, None]  # (T, 1)
    if min(lengths) <= TINY or torch.sin(angle) < 1e-4:  # no plane, or an angle of about 0
        return straight_line(a, b, t.flatten())
    unit = (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)
    length = (1 - t) * lengths[0] + t * lengths[1]
    return centre + (length * unit).reshape(-1, *a.shape)


def attribute_direction(codes: Tensor, has: Tensor) -> Tensor:
    """Return the mean code with an attribute less the mean code without it: (N, ...) -> (...).

    Args:
        codes: (N, ...).
        has: (N,) booleans, some of each.
    """
    return codes[has].mean(0) - codes[~has].mean(0)


def moved(z: Tensor, direction: Tensor, alpha: Tensor) -> Tensor:
    """Return z_new = z + alpha direction, for each code and each alpha: (N, ...) -> (N, K, ...).

    Args:
        z: (N, ...).
        direction: (...).
        alpha: (K,).
    """
    steps = alpha.to(z).reshape(-1, *[1] * direction.dim()) * direction  # (K, ...)
    return z[:, None] + steps


def traversal(z: Tensor, spread: Tensor, amounts: Tensor) -> Tensor:
    """Return a code moved along one unit at a time: row d is z + amount spread_d e_d.

    Args:
        z: the code, (D,).
        spread: of each unit, (D,).
        amounts: (K,).

    Returns:
        (D, K, D).
    """
    return z + amounts.to(z)[:, None] * torch.diag(spread).to(z)[:, None]


def quantile_grid(codes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lay a grid over the plane whose lines have equal shares of the codes between them.

    Line i of an axis lies at the quantile (i + 1/2) / count of the codes' coordinate.

    Args:
        codes: (N, 2).
        count: lines of each axis.

    Returns:
        The grid's points row by row from the top left, as a picture is laid out,
        (count * count, 2), and both axes' lines, ascending, twice (count,).
    """
    shares = (torch.arange(count, dtype=codes.dtype) + 0.5) / count
    x, y = torch.quantile(codes, shares, dim=0).T
    rows, columns = torch.meshgrid(y.flip(0), x, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1), x, y


# Distributions -----------------------------------------------------------------------------------


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


# Maps --------------------------------------------------------------------------------------------


def principal_components(codes: Tensor, further: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return codes in the plane of their largest variance, and further ones in the same plane.

    Args:
        codes: (N, D).
        further: (M, D).
        seed: of what is random in it.

    Returns:
        (N, 2) and (M, 2).
    """
    from sklearn.decomposition import PCA

    plane = PCA(2, svd_solver="full").fit(codes.double().numpy())
    return _to(codes, plane.transform(codes.double().numpy())), _to(
        codes, plane.transform(further.double().numpy())
    )


def neighbour_embedding(codes: Tensor, further: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return a map that keeps neighbours together (t-SNE, van der Maaten and Hinton 2008).

    Distances in it mean little, and it places all codes together; otherwise as
    `principal_components`.
    """
    from sklearn.manifold import TSNE

    whole = torch.cat([codes, further]).double().numpy()
    perplexity = min(30, (len(whole) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(whole)
    return _to(codes, placed[: len(codes)]), _to(codes, placed[len(codes) :])


def manifold_approximation(codes: Tensor, further: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return a map of the codes' neighbourhoods (UMAP, McInnes et al. 2018); otherwise as
    `principal_components`.

    Raises:
        UserError: if umap-learn is not installed.
    """
    refuse_without_umap()
    from umap import UMAP

    reducer = UMAP(n_components=2, random_state=seed, n_jobs=1).fit(codes.numpy())
    return _to(codes, reducer.embedding_), _to(codes, reducer.transform(further.numpy()))


def refuse_without_umap() -> None:
    """Refuse a map that needs a library which is not there.

    Raises:
        UserError: saying how it is installed.
    """
    if importlib.util.find_spec("umap") is None:
        raise UserError(
            "tool.projection=umap: needs umap-learn; install it with pip install -e '.[umap]', or "
            "take tool.projection=tsne or pca"
        )


def _to(codes: Tensor, array) -> Tensor:
    return torch.from_numpy(array).to(codes)


# Densities ---------------------------------------------------------------------------------------


class GaussianMixture(nn.Module):
    """A mixture of Gaussians with full covariances, fitted to codes and sampled from noise.

        p(z) = sum_k weight_k N(z; mean_k, factor_k factor_k^T)

    It is kept with the weights. With one component it is a Gaussian.

    Args:
        latent_dim: D, the size of a code.
        num_components: K; more follow the codes more closely, and need more codes.
    """

    def __init__(self, latent_dim: Count, num_components: Count) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((num_components,), 1 / num_components))
        self.register_buffer("mean", torch.zeros(num_components, latent_dim))
        identity = torch.eye(latent_dim)
        self.register_buffer("factor", identity.repeat(num_components, 1, 1))  # (K, D, D)

    @torch.no_grad()
    def fit(self, codes: Tensor) -> None:
        """Fit the mixture to codes, (N, D) with N above K, by expectation maximisation.

        The result depends on the codes alone: the means start from k-means with a fixed seed.
        """
        if len(codes) < len(self.weight):
            raise UserError(
                f"model.density.num_components={len(self.weight)}: there are only {len(codes)} "
                "codes to fit them to"
            )
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as ExpectationMaximisation

        codes = codes.cpu().double().numpy()
        mixture = ExpectationMaximisation(
            len(self.weight), covariance_type="full", reg_covar=1e-6 * float(codes.var()) + 1e-12,
            max_iter=50, random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near the optimum is enough
            mixture.fit(codes)
        self.weight.copy_(torch.from_numpy(mixture.weights_))
        self.mean.copy_(torch.from_numpy(mixture.means_))
        self.factor.copy_(torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats: (N, D) -> (N,)."""
        mixed = MultivariateNormal(self.mean, scale_tril=self.factor).log_prob(
            z[:, None]
        )  # (N, K)
        return (self.weight.log() + mixed).logsumexp(1)

    def forward(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Turn noise into codes: uniform in [0, 1), (N,), and standard normal, (N, D)."""
        component = torch.searchsorted(self.weight.cumsum(0), uniform.to(self.weight))
        component = component.clamp(max=len(self.weight) - 1)  # rounding may leave the sum at < 1
        return self.mean[component] + torch.einsum(
            "nij,nj->ni", self.factor[component], normal.to(self.mean)
        )


# Codes in few bits -------------------------------------------------------------------------------


class UniformQuantiser:
    """Rounds each dimension of a code to the centre of one of 2^b cells of the same width.

        level = floor((z - low) / width),    centre = low + (level + 1/2) width

    Between low and low + 2^b width the error is at most half a width; what lies outside goes to
    the outermost cell. Of several ranges that leave out a share of the codes at either end, each
    dimension gets the one with the least squared error: a wide range rounds all codes coarsely, a
    narrow one cuts many off.

    Args:
        codes: that the ranges are fitted to, (N, D).
        bits: b.
    """

    def __init__(self, codes: Tensor, bits: Count) -> None:
        self.num_levels = 2**bits
        codes = codes.double()
        left_out = torch.tensor(LEFT_OUT, dtype=torch.float64)
        lows, highs = codes.quantile(left_out, 0), codes.quantile(1 - left_out, 0)  # (S, D)
        widths = ((highs - lows) / self.num_levels).clamp_min(TINY)
        errors = [self._error(codes, *each) for each in zip(lows, widths, strict=True)]
        best = torch.stack(errors).argmin(0, keepdim=True)  # (1, D)
        self.low, self.width = lows.gather(0, best)[0], widths.gather(0, best)[0]

    def _error(self, codes: Tensor, low: Tensor, width: Tensor) -> Tensor:
        """Return the mean squared error of each dimension, (D,), and leave the range set."""
        self.low, self.width = low, width
        return (self.centres(self.levels(codes)) - codes).square().mean(0)

    def levels(self, codes: Tensor) -> Tensor:
        """Return the cells of codes, from 0 to 2^b - 1: (N, D) -> (N, D) int64."""
        places = ((codes.double() - self.low) / self.width).floor()
        return places.clamp(0, self.num_levels - 1).long()

    def centres(self, levels: Tensor) -> Tensor:
        """Return the centres of cells: (N, D) -> (N, D) float64."""
        return self.low + (levels + 0.5) * self.width


def level_probabilities(levels: Tensor, num_levels: int) -> Tensor:
    """Return how probable each level of each dimension is: (N, D) -> (D, num_levels).

    Half a count is added to each, so that none is impossible (Krichevsky and Trofimov 1981).
    """
    counts = torch.stack([each.bincount(minlength=num_levels) for each in levels.T]) + 0.5
    return counts / counts.sum(1, keepdim=True)


def code_lengths(levels: Tensor, probabilities: Tensor) -> Tensor:
    """Return the bits that an ideal entropy coder spends on codes: (N, D), (D, L) -> (N,).

        -sum_d log2 p_d(level_d)

    Its mean over the codes that the probabilities were counted on is their entropy.
    """
    own = probabilities.gather(1, levels.T)  # (D, N)
    return -own.log2().sum(0)


def principal_axes(covariance: Tensor) -> Tensor:
    """Return the axes of the largest variance first, as columns: (D, D) -> (D, D)."""
    return torch.linalg.eigh(covariance).eigenvectors.flip(1)
