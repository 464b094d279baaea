"""What several seeds say: their mean and spread, and whether two configurations differ."""

import math
import statistics
from collections.abc import Sequence

from gdm.tools.comparing.comparison import Cell

LEVEL = 0.05  # of p, below which a difference is called beyond chance
TEST = (
    "a difference is called beyond chance where Welch's t-test over the seeds (two-sided, unequal "
    f"variances) gives p < {LEVEL}; each row is tested against the best alone, so of twenty equal "
    "rows one will seem to differ"
)


def cell_of(values: dict[str, float]) -> Cell:
    """Return the values of some seeds with their mean and the standard deviation of the sample."""
    found = list(values.values())
    std = _mean_and_std(found)[1] if len(found) > 1 else None
    return Cell(statistics.fmean(found), std, len(found), values)


def welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return p of Welch's t-test (1947): whether two samples are of one mean, whatever their
    variances are.

    None where there is nothing to test by: a single value, or no spread in either sample.
    """
    if min(len(a), len(b)) < 2 or (len(set(a)) == 1 and len(set(b)) == 1):
        return None
    from scipy.stats import ttest_ind_from_stats  # takes a second

    moments = [part for each in (a, b) for part in (*_mean_and_std(each), len(each))]
    p = float(ttest_ind_from_stats(*moments, equal_var=False).pvalue)
    return p if math.isfinite(p) else None


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    is_finite = all(map(math.isfinite, values))
    return statistics.fmean(values), statistics.stdev(values) if is_finite else math.nan


def against(best_name: str, best: Cell, cell: Cell) -> str:
    """Say whether a configuration is worse than the best beyond chance.

    Args:
        best_name: what the best is called.
        best: its values.
        cell: those of the other.
    """
    if min(best.n, cell.n) < 2:
        return "nothing can be said of chance from one seed"
    p = welch(list(best.values.values()), list(cell.values.values()))
    if p is None:
        equal = best.mean == cell.mean
        return "the same over all seeds" if equal else "no spread over seeds to judge chance by"
    verdict = "worse than" if p < LEVEL else "not to be told from"
    chance = "beyond chance" if p < LEVEL else "by these seeds"
    return (
        f"{verdict} {best_name} {chance} (Welch's t-test: p = {p:.2g}, n = {cell.n} and {best.n})"
    )
