"""Codes in few bits: a quantiser, and what an ideal entropy coder spends on its levels."""

import torch
from torch import Tensor

from gdm.recipes.ranges import Count

LEFT_OUT = (0, 1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.04, 0.07)  # 0.055 is best for a normal at one bit
TINY = 1e-12  # below which a cell has no width


class UniformQuantiser:
    """Rounds each dimension of a code to the centre of one of 2^b cells of the same width.

        level = floor((z - low) / width),    centre = low + (level + 1/2) width

    Between low and low + 2^b width the error is at most half a width; what lies outside goes to
    the outermost cell. Of several ranges that leave out a fraction of the codes at either end,
    each dimension gets the one with the least squared error: a wide range rounds all codes
    coarsely, a narrow one cuts many off.

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

    Its mean over codes that the probabilities were counted on is their entropy, but for the half
    counts, which cost little where there are many codes a level.
    """
    own = probabilities.gather(1, levels.T)  # (D, N)
    return -own.log2().sum(0)
