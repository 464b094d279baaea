"""A data set in memory: its splits, the training stream, and batches to evaluate on."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from gdm.data.batches import Batch, TrainBatches
from gdm.data.sources import Images, Source
from gdm.errors import UserError
from gdm.recipes.ranges import Count
from gdm.theory.images import ImageFacts, to_float

EVALUATION_BATCH = 500


class ImageDataModule(LightningDataModule):
    """Training, validation and test images of one data set.

    The validation images are held out of the training images, the same ones in every run: those
    that come first in `validation_order`. The test images are not read before they are asked
    for.

    Args:
        source: where the images come from.
        facts: what is known of the images, which must be so.
        batch_size: images a training batch.
        validation_size: number of training images that are held out.
        binarize: make the images black and white, at half of the range.

    Raises:
        UserError: from `prepare`, if the data are not as described or cannot be had.
    """

    def __init__(
        self,
        source: Source,
        facts: ImageFacts,
        batch_size: Count,
        validation_size: Count,
        binarize: bool,
    ) -> None:
        super().__init__()
        self.source = source
        self.facts = facts
        self.channels = facts.channels
        self.resolution = facts.resolution
        self.native_resolution = facts.native_resolution
        self.num_classes = facts.num_classes
        self.batch_size = batch_size
        self.validation_size = validation_size
        self.binarize = binarize
        self._splits: dict[str, Images] = {}
        self._positions: dict[str, Tensor] = {}
        self._stream: TrainBatches | None = None

    def prepare(self) -> None:
        """Read the training images and split them, once."""
        if self._splits:
            return
        images = self._load("train")
        num_train = len(images) - self.validation_size
        if num_train < 1:
            raise UserError(
                f"dataset.validation_size={self.validation_size}: must leave some of the "
                f"{len(images)} training images to train on"
            )
        if self.batch_size > num_train:
            raise UserError(
                f"dataset.batch_size={self.batch_size}: must be at most {num_train}, the number "
                "of training images"
            )
        order = validation_order(images)
        held_out, rest = order.split([self.validation_size, num_train])
        for name, part in (("train", rest), ("validation", held_out)):
            self._positions[name] = part.sort().values
            self._splits[name] = self._processed(images.select(self._positions[name]))

    def split(self, name: str) -> Images:
        """Return the images of `train`, `validation` or `test`."""
        self.prepare()
        if name == "test" and name not in self._splits:
            self._splits["test"] = self._processed(self._load("test"))
        return self._splits[name]

    def positions(self, name: str) -> Tensor:
        """Return where the images of `train` or `validation` stand among the data set's training
        images, from 0, (N,).
        """
        self.prepare()
        return self._positions[name]

    @property
    def num_train(self) -> int:
        """Number of training images, without those held out."""
        return len(self.split("train"))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names."""
        return self.split("train").class_names

    @property
    def fingerprint(self) -> str:
        """Letters that change when the images, their split or their processing do."""
        facts = (self.identity, self.validation_size)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    @property
    def identity(self) -> str:
        """Letters that change when the images or their processing do, however they are split."""
        return identity(self.source, self.binarize)

    def batches(
        self,
        split: str,
        batch_size: int = EVALUATION_BATCH,
        device: torch.device | str = "cpu",
        limit: int | None = None,
    ) -> Iterator[Batch]:
        """Yield batches of floats in [-1, 1] on a device, in the order of the split.

        Args:
            split: `train`, `validation` or `test`.
            batch_size: images per batch; the last may be smaller.
            device: where images and labels go; indices stay on the CPU.
            limit: the number of images, the first of the split; None for all.
        """
        part = self.split(split)
        count = len(part) if limit is None else min(limit, len(part))
        for index in torch.arange(count).split(batch_size):
            x, label = part.images[index], part.labels[index]
            yield Batch(to_float(x.to(device)), label.to(device), index)

    # The training stream, as Lightning takes it --------------------------------------------------

    def set_stream(self, seed: int, start: int, stop: int) -> None:
        """Say which batches of the run with this seed are trained on next."""
        self._stream = TrainBatches(self.split("train"), self.batch_size, seed, start, stop)

    def train_dataloader(self) -> TrainBatches:
        """Return the stream that `set_stream` has set."""
        return self._stream

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn a batch of the stream into floats, on the device."""
        return batch._replace(x=to_float(batch.x))

    def _load(self, name: str) -> Images:
        images = self.source.load(name)
        _refuse_other_types(images, f"{type(self.source).__name__}.load({name!r})")
        shape = tuple(images.images.shape[1:])
        expected = (self.channels, self.native_resolution, self.native_resolution)
        if shape != expected:
            raise UserError(
                "dataset.facts.channels and dataset.facts.native_resolution say that an image "
                f"is {expected}, but it is {shape}"
            )
        if len(images.class_names) != self.num_classes:
            raise UserError(
                f"dataset.facts.num_classes={self.num_classes}: the images have "
                f"{len(images.class_names)} classes"
            )
        if len(images) and not 0 <= int(images.labels.min()) <= int(images.labels.max()) < len(
            images.class_names
        ):
            raise UserError(
                f"the labels of the {name} images must be between 0 and "
                f"{len(images.class_names) - 1}, the number of the last class"
            )
        return Images(images.images.contiguous(), images.labels, images.class_names)

    def _processed(self, images: Images) -> Images:
        if not self.binarize:
            return images
        black_and_white = images.images.gt(127).to(torch.uint8).mul_(255)
        return Images(black_and_white, images.labels, images.class_names)


def _refuse_other_types(images: Images, named: str) -> None:
    """Refuse what a source of a user's own may return by mistake; `named` says which call did."""
    x, label = images.images, images.labels
    if x.dtype != torch.uint8 or x.ndim != 4:
        raise UserError(
            f"{named}: images are {x.dtype}, {tuple(x.shape)}; must be torch.uint8, (N, C, H, W), "
            "with 255 for white"
        )
    if label.dtype != torch.int64 or label.shape != x.shape[:1]:
        raise UserError(
            f"{named}: labels are {label.dtype}, {tuple(label.shape)}; must be torch.int64, "
            f"({len(x)},), one for each image"
        )


def identity(source: Source, binarize: bool) -> str:
    """Return letters that change when the images of a source or their processing do."""
    facts = (source.fingerprint, binarize)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def validation_order(images: Images) -> Tensor:
    """Return the order in which images are held out for validation: positions, (N,).

    It is the order of the images' own digests. So whoever holds out more images of a data set
    holds out all those that others do, and a part of it shares its order.
    """
    arrays = images.images.contiguous().numpy()
    digests = [hashlib.blake2b(image, digest_size=8).digest() for image in arrays]
    return torch.from_numpy(np.argsort(digests, kind="stable"))
