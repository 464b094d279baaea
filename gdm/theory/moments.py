"""Mean, variance and covariance of a stream, merged a batch at a time."""

from typing import Self

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
        batch = type(self)()
        batch.count = len(values)
        batch.mean = values.mean(0)
        batch._squares = self._squared_sum(values - batch.mean)
        self.merge(batch)

    def merge(self, other: Self) -> None:
        """Merge the moments of another part of the stream."""
        if other.count == 0:
            return
        count = self.count + other.count
        delta = other.mean - self.mean
        self.mean = self.mean + delta * (other.count / count)
        shift = self._squared_sum(delta.unsqueeze(0)) * (self.count * other.count / count)
        self._squares = self._squares + other._squares + shift
        self.count = count

    @staticmethod
    def _squared_sum(stds: Tensor) -> Tensor:
        return stds.square().sum(0)

    @property
    def variance(self) -> Tensor:
        """The variance over the stream, divided by its count."""
        return self._squares / max(self.count, 1)


class JointMoments(Moments):
    """Running mean and covariance matrix of vectors, (N, D) a batch, in float64."""

    @property
    def covariance(self) -> Tensor:
        """The covariance matrix, (D, D), divided by the count less one."""
        return self._squares / max(self.count - 1, 1)

    @property
    def variance(self) -> Tensor:
        """The variance of each component, (D,), divided by the count."""
        return self._squares.diagonal() / max(self.count, 1)

    @staticmethod
    def _squared_sum(stds: Tensor) -> Tensor:
        return stds.T @ stds
