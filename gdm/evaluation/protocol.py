"""The one protocol, whole: samples, or a model, and the test images -> one record."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import distances, features, model_metrics
from gdm.evaluation.extractors import Extractor
from gdm.evaluation.samples import SampleFile, with_progress
from gdm.evaluation.timing import MAX_TIMED_IMAGES, announce, seconds_each, seconds_of
from gdm.models.base import Model
from gdm.pictures import tables

log = logging.getLogger(__name__)

SPLIT = "test"  # the reference
NUM_SHOWN, NUM_NEAREST = 10, 7  # samples in the picture of neighbours, and neighbours of each
MAX_TIMED_SAMPLES = 100  # samples at a time that are timed, at most
MIN_ACCURACY = 0.7  # of a classifier below which what it says of samples is doubted


@dataclass
class Evaluation:
    """What has been found out.

    Args:
        record: the metrics, with what they depend on.
        neighbours: samples beside their nearest training images, one row per sample; None if
            not asked for.
    """

    record: dict[str, Any]
    neighbours: Tensor | None


@dataclass
class Evaluator:
    """Evaluates samples of a data set, and models of it, by all its test images.

    Args:
        data: the data set.
        extractor: what finds the features; None for models that make no images.
        pairwise: also compare all pairs.
        num_neighbours: how many samples' nearest training images are looked for.
    """

    data: ImageDataModule
    extractor: Extractor | None
    pairwise: bool = True
    num_neighbours: int = 1000

    def samples(self, batches: Iterator[Tensor], count: int) -> Evaluation:
        """Evaluate `count` samples, batches of 8-bit values, (B, C, H, W)."""
        extractor, data = self.extractor, self.data
        reference = features.features_of_split(extractor, data, SPLIT, None, self.pairwise)
        self._warn_of_poor_classifier(reference)
        first: list[Tensor] = []
        kept = _keeping_first(batches, self.num_neighbours, first)
        found = features.features_of(kept, extractor, self.pairwise)
        record = {
            "split": SPLIT,
            "num_reference": len(reference),
            "extractor": extractor.name,
            "extractor_checksum": extractor.checksum,
            "data": data.fingerprint,
        } | features.compare(found, reference, extractor)
        if reference.accuracy is not None:
            facts = {"accuracy": reference.accuracy, "split": SPLIT, "dataset": data.source.name}
            record["classifier"] = facts
        record["real"] = features.real_against_real(count, reference, extractor, data)
        picture = self._neighbours(torch.cat(first), record) if self.num_neighbours else None
        return Evaluation(record, picture)

    def model(
        self, model: Model, num_reconstructions: int, importance_samples: int | None
    ) -> dict[str, Any]:
        """Return the model's own metrics on the test images, within `model.evaluating()`."""
        record = model_metrics.evaluate(model, self.data, SPLIT)
        if model.encodes and num_reconstructions:
            record |= model_metrics.reconstruction(model, self.data, SPLIT, num_reconstructions)
        if importance_samples is not None:
            record |= model_metrics.importance_weighted_bound(
                model, self.data, SPLIT, importance_samples
            )
        return record

    def seconds_for_samples(self, count: int) -> dict[str, float]:
        """Return what evaluating `count` samples will take, besides making them."""
        data, extractor = self.data, self.extractor
        splits = {SPLIT: len(data.split(SPLIT)), "validation": len(data.split("validation"))}
        unknown = sum(
            size for name, size in splits.items() if not features.is_kept(extractor, data, name)
        )
        size = (data.channels, data.native_resolution, data.native_resolution)
        per_image = seconds_each(
            lambda few: extractor(torch.zeros(few, *size, dtype=torch.uint8)).features.cpu()
        )
        seconds = {"features": per_image * (count + unknown)}
        if self.pairwise:
            x, y = torch.rand(2, MAX_TIMED_IMAGES, extractor.dimension)
            per_pair = seconds_of(lambda: _all_pairs(x, y)) / (3 * MAX_TIMED_IMAGES**2)
            reference, real = splits[SPLIT], min(count, splits["validation"])
            pairs = sum(n**2 + reference**2 + n * reference for n in (count, real))
            seconds["pairs"] = per_pair * pairs
        if self.num_neighbours:
            few = data.split("validation").images[:MAX_TIMED_IMAGES]
            part = seconds_of(
                lambda: model_metrics.nearest_training_images(few, data, NUM_NEAREST)
            )
            per_sample = part / len(few)
            seconds["neighbours"] = 2 * per_sample * min(count, self.num_neighbours)
        return seconds

    def refuse_too_few(self, count: int) -> None:
        """Refuse so few images that metrics are not defined, and warn of few.

        Raises:
            UserError: naming the least number.
        """
        if count < features.MIN_IMAGES:
            raise UserError(
                f"{count} samples are too few to compare; take {features.MIN_IMAGES} or more"
            )
        held_out = len(self.data.split("validation"))
        if held_out < features.MIN_IMAGES:
            raise UserError(
                f"dataset.validation_size={held_out}: too few real images to stand beside the "
                f"samples; {features.MIN_IMAGES} or more are needed"
            )
        if count <= self.extractor.dimension:
            log.warning(
                "%d samples are no more than the %d features: the Frechet distance is far too "
                "large, as it is for so few real images",
                count, self.extractor.dimension,
            )  # fmt: skip
        if count > held_out:
            log.warning(
                "only %s real images are held out to stand beside %s samples: fewer images have a "
                "larger Frechet distance, and other recall and coverage; num_samples=%d compares "
                "them at equal numbers",
                f"{held_out:,}", f"{count:,}", held_out,
            )  # fmt: skip

    def _warn_of_poor_classifier(self, reference: features.FeatureSet) -> None:
        right = reference.accuracy
        if right is not None and right < MIN_ACCURACY:
            log.warning(
                "the classifier names only %.1f %% of the %s images of %s rightly: metrics that "
                "rest on it say little of the samples; extractor.weights= names a better one",
                100 * right, SPLIT, self.data.source.name,
            )  # fmt: skip

    def _neighbours(self, samples: Tensor, record: dict[str, Any]) -> Tensor:
        """Add the fraction of memorised samples to the record, and return the picture."""
        data = self.data
        far, index = model_metrics.nearest_training_images(samples, data, NUM_NEAREST)
        record["memorised"] = float(distances.memorised(far).double().mean())
        record["num_neighbours"] = len(samples)
        held_out = data.split("validation").images[: len(samples)]
        far, _ = model_metrics.nearest_training_images(held_out, data, NUM_NEAREST)
        record["real"]["memorised"] = float(distances.memorised(far).double().mean())
        nearest = data.split("train").images[index[:NUM_SHOWN]]  # (SHOWN, NEAREST, C, H, W)
        rows = torch.cat([samples[:NUM_SHOWN].unsqueeze(1), nearest], 1)
        names = ["sample", "nearest", *(f"{number}." for number in range(2, NUM_NEAREST + 1))]
        return tables.image_table(rows, [f"{number}" for number in range(len(rows))], names)


def _keeping_first(batches: Iterator[Tensor], count: int, kept: list[Tensor]) -> Iterator[Tensor]:
    """Pass batches on, and put the first `count` images of them into `kept`."""
    missing = count
    for batch in batches:
        if missing > 0:
            kept.append(batch[:missing])
            missing -= len(batch)
        yield batch


def evaluation_of_file(path: Path, evaluator: Evaluator) -> Evaluation:
    """Evaluate the samples in a file."""
    file = SampleFile(path, evaluator.data)
    evaluator.refuse_too_few(len(file))
    announce(evaluator.seconds_for_samples(len(file)))
    evaluation = evaluator.samples(with_progress(file.batches(), len(file)), len(file))
    evaluation.record["samples"] = str(path)
    return evaluation


def _all_pairs(x: Tensor, y: Tensor) -> None:
    distances.kernel_distance(x, y)
    distances.precision_recall(x, y, features.NEIGHBOURS)
