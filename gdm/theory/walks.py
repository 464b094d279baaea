"""Codes -> codes: walks, directions and grids in the latent space."""

import torch
from torch import Tensor

TINY = 1e-12  # below which a length is none

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


def traversal(z: Tensor, spread: Tensor, multiples: Tensor) -> Tensor:
    """Return a code moved along one unit at a time: row d is z + amount spread_d e_d.

    Args:
        z: the code, (D,).
        spread: of each unit, (D,).
        multiples: (K,).

    Returns:
        (D, K, D).
    """
    return z + multiples.to(z)[:, None] * torch.diag(spread).to(z)[:, None]


def quantile_grid(codes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lay a grid over the plane whose lines have equally many codes between them.

    Line i of an axis lies at the quantile (i + 1/2) / count of the codes' coordinate.

    Args:
        codes: (N, 2).
        count: lines of each axis.

    Returns:
        The grid's points row by row from the top left, as a picture is laid out,
        (count * count, 2), and both axes' lines, ascending, twice (count,).
    """
    quantiles = (torch.arange(count, dtype=codes.dtype) + 0.5) / count
    x, y = torch.quantile(codes, quantiles, dim=0).T
    rows, columns = torch.meshgrid(y.flip(0), x, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1), x, y


# Densities ---------------------------------------------------------------------------------------
