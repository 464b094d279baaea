"""Batches from memory: whole tensors are indexed, never single images."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gdm.data.images import Images
from gdm.data.memory import note_read
from gdm.theory.randomness import generator


class Batch(NamedTuple):
    """Images with their positions in the split and what is known of them, by name.

    `x` is (B, C, H, W), 8-bit values in memory and floats in [-1, 1] on the device; `label` and
    `index` are (B,) int64. What the data set does not know is None: `source`, what an image is to
    be made from, like `x`; `caption`, B texts; `attributes`, (B, A) uint8 of 0 and 1.
    """

    x: Tensor
    label: Tensor
    index: Tensor
    source: Tensor | None = None
    caption: tuple[str, ...] | None = None
    attributes: Tensor | None = None


def batch_of(images: Images, index: Tensor) -> Batch:
    """Return the images of these positions in their split, (B,), as 8-bit values."""
    captions = images.captions
    return Batch(
        _taken(images.images, index),
        images.labels.index_select(0, index),
        index,
        None if images.source is None else _taken(images.source, index),
        None if captions is None else tuple(captions[number] for number in index.tolist()),
        None if images.attributes is None else images.attributes.values.index_select(0, index),
    )


def _taken(images: Tensor, index: Tensor) -> Tensor:
    taken = images.index_select(0, index)
    note_read(taken)
    return taken


def parts_of(images: Tensor, size: int) -> Iterator[Tensor]:
    """Yield all images in order, (size, C, H, W) or fewer in the last part, without holding those
    that are mapped from a file in memory."""
    for part in images.split(size):
        yield part
        note_read(part)


def beside(batch: Batch, others: Images, index: Tensor) -> Batch:
    """Return a batch with other images as its sources, those of these positions, (B,)."""
    return batch._replace(source=_taken(others.images, index))


class TrainBatches:
    """The batches `start`, ..., `stop - 1` of an endless stream of training images.

    Position p of the stream holds image `order(p // N)[p % N]`, where N is the number of images
    and `order(epoch)` a permutation that follows from (seed, epoch). So each epoch visits each
    image once, a batch may reach into the next epoch, and a stream that starts later is the
    tail of one that started before. Images of another domain beside them have epochs and
    permutations of their own.

    Args:
        images: the training images.
        batch_size: B, the same for all batches.
        seed: the run's seed.
        start: the first batch.
        stop: the batch after the last.
        others: the images of another domain, which become the batches' sources; None for none.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        others: Images | None = None,
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.stop = stop
        self.others = others

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches of 8-bit values."""
        indices = self._indices(len(self.images), "order")
        if self.others is not None:
            other_indices = self._indices(len(self.others), "order of sources")
        for _ in range(self.start, self.stop):
            batch = batch_of(self.images, next(indices))
            if self.others is not None:
                batch = beside(batch, self.others, next(other_indices))
            yield batch

    def _indices(self, count: int, purpose: str) -> Iterator[Tensor]:
        """Yield the positions of each batch among `count` images, (B,), without end."""

        def order(epoch: int) -> Tensor:
            return torch.randperm(count, generator=generator(self.seed, purpose, epoch))

        epoch, within = divmod(self.start * self.batch_size, count)
        left = order(epoch)[within:]
        while True:
            while len(left) < self.batch_size:
                epoch += 1
                left = torch.cat([left, order(epoch)])
            index, left = left[: self.batch_size], left[self.batch_size :]
            yield index
