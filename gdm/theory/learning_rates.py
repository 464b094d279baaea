"""Learning rates: progress in [0, 1] -> the factor that the optimizer's own rate is multiplied by.

Progress is the fraction of the run's images that have been seen, so warm-up and decay follow the
budget, whatever its unit, and nothing has to be saved to go on with a run.
"""

from abc import ABC, abstractmethod

from gdm.recipes.ranges import Fraction
from gdm.theory.ramps import Ramp


class LearningRate(ABC):
    """A rise over the first `warmup_fraction` of the run, then a decay over the rest of it.

    Args:
        warmup_fraction: fraction of the run over which the factor rises linearly to 1; 0 for none.
    """

    def __init__(self, warmup_fraction: Fraction) -> None:
        self.warmup_fraction = warmup_fraction

    def __call__(self, progress: float) -> float:
        """Return the factor at `progress`, the fraction of the run's images seen, in [0, 1]."""
        if progress < self.warmup_fraction:
            return progress / self.warmup_fraction
        return self.decay((progress - self.warmup_fraction) / max(1 - self.warmup_fraction, 1e-12))

    @property
    @abstractmethod
    def decays(self) -> bool:
        """Whether the factor depends on the run's length, so that an extended run is another."""

    @abstractmethod
    def decay(self, progress: float) -> float:
        """Return the factor at `progress` in [0, 1] of what follows the warm-up."""


class Constant(LearningRate):
    """The optimizer's own rate after the warm-up."""

    decays = False

    def decay(self, progress: float) -> float:
        return 1.0


class Linear(LearningRate):
    """A straight line from 1 to `final_factor`.

    Args:
        warmup_fraction: as in `LearningRate`.
        final_factor: where it ends.
        constant_fraction: fraction of what follows the warm-up before the line begins to fall.
    """

    decays = True

    def __init__(
        self, warmup_fraction: Fraction, final_factor: Fraction, constant_fraction: Fraction = 0.0
    ) -> None:
        super().__init__(warmup_fraction)
        self.constant_fraction = constant_fraction
        self.final_factor = final_factor

    def decay(self, progress: float) -> float:
        left = min(1.0, (1 - progress) / max(1 - self.constant_fraction, 1e-12))
        return self.final_factor + (1 - self.final_factor) * left


class Cosine(LearningRate):
    """Half a cosine from 1 to `final_factor` (Loshchilov and Hutter 2017, equation 5).

    Args:
        warmup_fraction: as in `LearningRate`.
        final_factor: where it ends.
        decay_fraction: fraction of what follows the warm-up over which it falls; then it stays.
    """

    decays = True

    def __init__(
        self,
        warmup_fraction: Fraction,
        final_factor: Fraction,
        decay_fraction: Fraction = 1.0,
    ) -> None:
        super().__init__(warmup_fraction)
        self.final_factor = final_factor
        self.decay_fraction = decay_fraction

    def decay(self, progress: float) -> float:
        return Ramp(1.0, self.final_factor, self.decay_fraction)(progress)
