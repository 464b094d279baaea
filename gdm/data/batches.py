"""Batches from memory: whole tensors are indexed, never single images."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gdm.data.sources import Images
from gdm.theory.randomness import generator


class Batch(NamedTuple):
    """Images with their labels and their positions in the split.

    `x` is (B, C, H, W), 8-bit values in memory and floats in [-1, 1] on the device; `label` and
    `index` are (B,) int64.
    """

    x: Tensor
    label: Tensor
    index: Tensor


class TrainBatches:
    """The batches `start`, ..., `stop - 1` of an endless stream of training images.

    Position p of the stream holds image `order(p // N)[p % N]`, where N is the number of images
    and `order(epoch)` a permutation that follows from (seed, epoch). So each epoch visits each
    image once, a batch may reach into the next epoch, and a stream that starts later is the
    tail of one that started before.

    Args:
        images: the training images.
        batch_size: B, the same for all batches.
        seed: the run's seed.
        start: the first batch.
        stop: the batch after the last.
    """

    def __init__(self, images: Images, batch_size: int, seed: int, start: int, stop: int) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches of 8-bit values."""
        count = len(self.images)
        epoch, within = divmod(self.start * self.batch_size, count)
        order = self._order(epoch)[within:]
        for _ in range(self.start, self.stop):
            while len(order) < self.batch_size:
                epoch += 1
                order = torch.cat([order, self._order(epoch)])
            index, order = order[: self.batch_size], order[self.batch_size :]
            images, labels = self.images.images, self.images.labels
            yield Batch(images.index_select(0, index), labels.index_select(0, index), index)

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.images), generator=generator(self.seed, "order", epoch))
