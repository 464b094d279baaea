"""What a sweep is asked for besides its jobs."""

from dataclasses import dataclass
from typing import Literal

from gdm.recipes.ranges import Count, NonNegativeInt, Positive, Seed


@dataclass(frozen=True)
class SweepOptions:
    """The keys `sweep.*` of scripts/train.py.

    Args:
        name: of the sweep, whose folder is `outputs/sweeps/<name>`; null for the time.
        retries: how often a job that fails is tried again.
    """

    name: str | None
    retries: NonNegativeInt


@dataclass(frozen=True)
class SearchOptions:
    """The keys `sweeper.*` of a search.

    Args:
        trials, images, minutes: that it takes, over all trials; whichever comes first ends it, and
            without any it is 20 trials.
        objectives: metrics of the last validation, of which one says which trials are best, and
            several make a front.
        seed: suggestions follow from it, and from what has been found.
        startup: trials that are spread at random before any is suggested by others.
        batch: trials that are suggested together; null for as many as the launcher has workers.
        prune: stop a trial that is worse than the median of earlier ones; null for none.
        prune_after: earlier trials that such a median needs.
        export: a file for optuna-dashboard; null for none.
    """

    trials: Count | None
    images: Count | None
    minutes: Positive | None
    objectives: list[str]
    seed: Seed
    startup: NonNegativeInt
    batch: Count | None
    prune: Literal["median"] | None
    prune_after: Count
    export: str | None
