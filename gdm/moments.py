"""Mean and variance of a stream, merged a batch at a time."""

import torch
from torch import Tensor


class Moments:
    """Running mean and variance over the first axis of batches, in float64.

    Batches are merged by the update of Chan, Golub and LeVeque (1979), which loses no digits to
    a large mean; merging is additive, so streams may be split in any way.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self._squares = torch.zeros(())  # sum of squared deviations from the mean

    def update(self, values: Tensor) -> None:
        """Merge a batch of values, (N, ...)."""
        values = values.detach().to("cpu", torch.float64)
        batch = Moments()
        batch.count = len(values)
        batch.mean = values.mean(0)
        batch._squares = (values - batch.mean).square().sum(0)
        self.merge(batch)

    def merge(self, other: "Moments") -> None:
        """Merge the moments of another part of the stream."""
        if other.count == 0:
            return
        count = self.count + other.count
        delta = other.mean - self.mean
        self.mean = self.mean + delta * (other.count / count)
        shift = delta.square() * (self.count * other.count / count)
        self._squares = self._squares + other._squares + shift
        self.count = count

    @property
    def variance(self) -> Tensor:
        """The variance over the stream, divided by its count."""
        return self._squares / max(self.count, 1)
