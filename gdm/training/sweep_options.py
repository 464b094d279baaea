"""What a sweep is asked for besides its jobs."""

from dataclasses import dataclass

from gdm.recipes.ranges import NonNegativeInt


@dataclass(frozen=True)
class SweepOptions:
    """The keys `sweep.*` of scripts/train.py.

    Args:
        name: of the sweep, whose folder is `outputs/sweeps/<name>`; null for the time.
        retries: how often a job that fails is tried again.
    """

    name: str | None
    retries: NonNegativeInt
