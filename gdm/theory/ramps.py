"""Numbers that change over the first part of a run, as pure functions of its progress, so that
nothing of them is saved."""

import math


class Ramp:
    """Half a cosine from `start` to `end` over the first `fraction` of a run, then `end`.

        end + (start - end) (1 + cos(pi min(progress / fraction, 1))) / 2

    Huang et al. 2024 (R3GAN), appendix D; Loshchilov and Hutter 2017, equation 5, at fraction 1.

    Args:
        start: the number at the start of the run.
        end: the number from `fraction` on.
        fraction: fraction of the run, in [0, 1]; 0 for `end` from the start.
    """

    def __init__(self, start: float, end: float, fraction: float) -> None:
        self.start = start
        self.end = end
        self.fraction = fraction

    def __call__(self, progress: float) -> float:
        """Return the number at `progress`, the fraction of the run's images seen, in [0, 1]."""
        passed = min(progress / self.fraction, 1.0) if self.fraction else 1.0
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * passed)) / 2
