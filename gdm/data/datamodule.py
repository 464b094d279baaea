"""A data set in memory: its splits, the training stream, and batches to evaluate on."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from gdm.data.batches import Batch, TrainBatches, batch_of, beside, parts_of
from gdm.data.cache import digest
from gdm.data.choices import chosen, refuse_other_classes, refuse_other_shapes, refuse_other_types
from gdm.data.domains import rows_of_domains, two_domains
from gdm.data.images import Images
from gdm.data.memory import gathered, release_memory
from gdm.data.pairs import Kind, Pairing
from gdm.data.sources import Source
from gdm.errors import UserError
from gdm.recipes.ranges import Count
from gdm.theory.images import ImageFacts, to_float

EVALUATION_BATCH = 500


class ImageDataModule(LightningDataModule):
    """Training, validation and test images of one data set.

    The validation images are held out of the training images, the same ones in every run: those
    that come first in `validation_order`. The test images are not read before they are asked
    for.

    Where an image is to be made from another, the batches hold both: the image itself is their
    `x`, the other their `source`. The other of a pair follows from the image (`pairs`) or comes
    with it; the other of two `domains` is any image of the first, `x` one of the second.

    Args:
        source: where the images come from.
        facts: what is known of the images, which must be so.
        batch_size: images a training batch.
        validation_size: number of training images that are held out; None for a tenth, which
            is known once they are read.
        binarize: make the images black and white, at half of the range.
        resolution: pixels a side that the images are made, of a source that makes them in any
            size; None for a source whose images have one of their own.
        labels: what the classes are: a labelling of the source's or an attribute; None for the
            source's own classes.
        groups: the source's own classes that are kept; None for all.
        pairs: what is made of an image, as the source of a pair; None for images alone.
        pairing: how it is made; None for the usual way.
        domains: two lists of names, of classes by any labelling or of attributes: the images of
            the first are sources of those of the second, unpaired; None for one domain.

    Raises:
        ValueError: if the images have no such pairs, or there are not two domains.
        UserError: from `prepare`, if the data are not as described or cannot be had.
    """

    def __init__(
        self,
        source: Source,
        facts: ImageFacts,
        batch_size: Count,
        validation_size: Count | None,
        binarize: bool,
        resolution: Count | None = None,
        labels: str | None = None,
        groups: list[str] | None = None,
        pairs: Kind | None = None,
        pairing: Pairing | None = None,
        domains: list[list[str | int]] | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.facts = facts
        self.channels = facts.channels
        self.native_resolution = facts.native_resolution
        self.batch_size = batch_size
        self.validation_size = validation_size
        self.binarize = binarize
        self.resolution = resolution
        self.labels = labels
        self.groups = groups
        self.pairs = pairs
        self.pairing = pairing or Pairing()
        self.domains = two_domains(domains, pairs)
        self._make_source, self._source_channels = self.pairing.maker(pairs, facts)
        self._class_names: tuple[str, ...] | None = None  # known once the training images are
        self._splits: dict[str, Images] = {}
        self._first_domain: dict[str, Images] = {}
        self._positions: dict[str, Tensor] = {}
        self._stream: TrainBatches | None = None

    def prepare(self) -> None:
        """Read the training images and split them, once."""
        if "train" in self._splits:
            return
        images = self._load("train")
        self._class_names = images.class_names
        if self.validation_size is None:
            self.validation_size = max(len(images) // 10, 1)
        num_train = len(images) - self.validation_size
        if num_train < 1:
            raise UserError(
                f"dataset.validation_size={self.validation_size}: must leave some of the "
                f"{len(images)} training images to train on"
            )
        order = validation_order(images)
        held_out, rest = order.split([self.validation_size, num_train])
        self._keep("validation", images, held_out.sort().values)
        self._keep("train", images, rest.sort().values)
        release_memory()

    def _keep(self, name: str, images: Images, positions: Tensor) -> None:
        """Keep a split: the images of these positions, or those that each domain has of them."""
        if self.domains is not None:
            first, positions = rows_of_domains(images, self.domains, positions, name)
            self._first_domain[name] = self._processed(images.select(first))
        if name == "train" and self.batch_size > len(positions):
            raise UserError(
                f"dataset.batch_size={self.batch_size}: must be at most {len(positions)}, the "
                "number of training images"
            )
        self._positions[name] = positions
        self._splits[name] = self._processed(images.select(positions))

    def split(self, name: str) -> Images:
        """Return the images of `train`, `validation` or `test`."""
        self.prepare()
        if name == "test" and name not in self._splits:
            images = self._load("test")
            self._keep("test", images, torch.arange(len(images)))
        return self._splits[name]

    def first_domain(self, name: str) -> Images | None:
        """Return the images of the first of two domains in a split; None where there are none."""
        self.split(name)
        return self._first_domain.get(name)

    @property
    def source_facts(self) -> ImageFacts | None:
        """What is known of the images that images are made from; None of images alone."""
        channels = self._source_channels
        if self.domains is not None:
            channels = self.channels
        elif self.pairs is None:
            source = self.split("train").source
            channels = None if source is None else source.shape[1]
        return None if channels is None else replace(self.facts, channels=channels)

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
    def num_classes(self) -> int:
        """The number of classes, as the facts say it or else the images do."""
        known = self.facts.num_classes
        return len(self.class_names) if known is None else known

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names."""
        return self.split("train").class_names

    @property
    def fingerprint(self) -> str:
        """Letters that change when the images, their split or their processing do."""
        if self.validation_size is None:
            self.prepare()
        facts = (self.identity, self.validation_size)
        if self.pairs is not None:
            facts += (self.pairs, self.pairing)
        if self.domains is not None:
            facts += (self.domains,)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    @property
    def identity(self) -> str:
        """Letters that change when the images or their processing do, however they are split, and
        whatever they are to be made from: who knows the images knows them in pairs too."""
        options = {"resolution": self.resolution, "labels": self.labels, "groups": self.groups}
        return identity(self.source.fingerprint, self.binarize, options)

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
        part, first = self.split(split), self.first_domain(split)
        count = len(part) if limit is None else min(limit, len(part))
        for index in torch.arange(count).split(batch_size):
            batch = batch_of(part, index)
            if first is not None:  # from its start again where it is the smaller
                batch = beside(batch, first, index % len(first))
            yield self._as_floats(_moved(batch, device))

    # The training stream, as Lightning takes it --------------------------------------------------

    def set_stream(self, seed: int, start: int, stop: int) -> None:
        """Say which batches of the run with this seed are trained on next."""
        self._stream = TrainBatches(
            self.split("train"), self.batch_size, seed, start, stop, self.first_domain("train")
        )

    def train_dataloader(self) -> TrainBatches:
        """Return the stream that `set_stream` has set."""
        return self._stream

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn a batch of the stream into floats, on the device."""
        return self._as_floats(batch)

    def _as_floats(self, batch: Batch) -> Batch:
        source = batch.source if self.pairs is None else self._make_source(batch.x)
        source = None if source is None else to_float(source)
        return batch._replace(x=to_float(batch.x), source=source)

    def _load(self, name: str) -> Images:
        if self.resolution is None:
            images = self.source.load(name)
        else:
            images = self.source.load_at(name, self.resolution)
        refuse_other_types(images, f"{type(self.source).__name__}.load({name!r})")
        refuse_other_shapes(images, self.facts)
        images = chosen(images, self.groups, self.labels, self._class_names)
        refuse_other_classes(images, self.facts, name)
        if images.source is not None and self.pairs is not None:
            raise UserError(
                f"dataset.pairs={self.pairs}: the images of {self.source.name} are pairs already; "
                "leave it out"
            )
        if not images.images[:1].is_contiguous():  # an image's values do not lie in a row
            images = replace(images, images=images.images.contiguous())
        return images

    def _processed(self, images: Images) -> Images:
        if not self.binarize:
            return images
        source = None if images.source is None else _black_and_white(images.source)
        return replace(images, images=_black_and_white(images.images), source=source)


def settle_facts(recipe: dict[str, Any], data: ImageDataModule) -> None:
    """Write into a recipe what only the images tell: how many classes there are, and how many
    images are held out."""
    if recipe["dataset"].get("validation_size", 0) is None:
        data.prepare()
        recipe["dataset"]["validation_size"] = data.validation_size
    if recipe["dataset"].get("facts", {}).get("num_classes", 0) is None:
        for part in (recipe["dataset"], recipe["model"]):
            part["facts"]["num_classes"] = data.num_classes


def _moved(batch: Batch, device: torch.device | str) -> Batch:
    """Return a batch on a device; its indices stay on the CPU."""
    source = None if batch.source is None else batch.source.to(device)
    return batch._replace(x=batch.x.to(device), label=batch.label.to(device), source=source)


def _black_and_white(images: Tensor) -> Tensor:
    parts = (part.gt(127).to(torch.uint8).mul_(255) for part in parts_of(images, EVALUATION_BATCH))
    return gathered(parts, images.shape)


def identity(fingerprint: str, binarize: bool, chosen: dict[str, Any] | None = None) -> str:
    """Return letters that change when the images of a source or their processing do.

    Args:
        fingerprint: the source's.
        binarize: whether they are made black and white.
        chosen: what else was chosen of them, by name; None where nothing was.
    """
    named = {name: value for name, value in (chosen or {}).items() if value is not None}
    facts = (fingerprint, binarize, *([named] if named else []))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def validation_order(images: Images) -> Tensor:
    """Return the order in which images are held out for validation: positions, (N,).

    It is the order of the digests of the images, or of their originals. So whoever holds out more
    images of a data set holds out all those that others do, a part of it shares its order, and
    the same image in another size is held out too.
    """
    digests = images.digests
    if digests is None:
        digests = [digest(image) for image in images.images.contiguous().numpy()]
    return torch.from_numpy(np.argsort(digests, kind="stable"))
