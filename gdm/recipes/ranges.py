"""Ranges of numbers, for the constructors' signatures: there they are the schema of every key.

    def __init__(self, latent_dim: Count, beta: NonNegative) -> None: ...

A signature so annotated is an ordinary one to Python and to readers; `gdm.recipes.check` compares
a configuration with it before anything is built.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class Range:
    """The finite numbers from `low` to `high`, both included unless `low_open`.

    Args:
        low: the least number, or the number that all must exceed.
        high: the greatest number; infinity for none.
        low_open: whether `low` itself is left out.
    """

    low: float
    high: float = math.inf
    low_open: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.low_open else number >= self.low
        is_finite = isinstance(number, int) or math.isfinite(number)  # which fails on a huge int
        return above and number <= self.high and is_finite

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low}" if self.low_open else f"at least {self.low}"
        if self.low_open:
            return f"above {self.low}, at most {self.high}"
        return f"between {self.low} and {self.high}"


class Because:
    """The reason for what an annotation allows, said with it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __contains__(self, value: object) -> bool:
        return True

    def __str__(self) -> str:
        return self.reason


Count = Annotated[int, Range(1)]
AtLeastTwo = Annotated[int, Range(2)]
NonNegativeInt = Annotated[int, Range(0)]
PatchSize = Literal[1, 2, 4]  # pixels a side, of the smallest images' 16
Seed = Annotated[int, Range(0, 2**63 - 1)]  # what every library takes
Positive = Annotated[float, Range(0, low_open=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
PositiveFraction = Annotated[float, Range(0, 1, low_open=True)]
