"""The one protocol, whole: a run or a file of samples -> one record, its cost said first."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import distances, features, model_metrics
from gdm.evaluation.extractors import Extractor
from gdm.evaluation.samples import SampleFile, draw, with_progress
from gdm.evaluation.timing import TIMED, Clock, announce, seconds_each, seconds_of
from gdm.files import named_file, write_text
from gdm.models.base import GenerativeModel
from gdm.pictures import figures, grids
from gdm.recipes.ranges import Count, Natural, Seed
from gdm.runs.run import Run

log = logging.getLogger(__name__)

SPLIT = "test"  # the reference
OF_A_RUN = (
    "num_samples", "seed", "averaged", "checkpoint", "reconstructions", "importance_samples",
    "batch_size",
)  # options that say nothing of a file of samples  # fmt: skip
SHOWN, NEAREST = 10, 7  # samples in the picture of neighbours, and neighbours of each
BATCH = 100  # samples at a time that are timed, at most
MIN_ACCURACY = 0.7  # of a classifier below which what it says of samples is doubted


def layout(
    run: str | None,
    samples: str | None,
    outputs: str,
    num_samples: Count,
    seed: Seed,
    averaged: bool,
    checkpoint: str,
    extractor: Callable[..., Extractor],
    pairwise: bool,
    neighbours: Natural,
    reconstructions: Natural,
    importance_samples: Count | None,
    batch_size: Count | None,
    to: str | None,
    dataset: ImageDataModule | None = None,
) -> None:
    """The keys of configs/evaluate.yaml, and what each holds."""


@dataclass
class Judgement:
    """What has been found out.

    Args:
        record: the figures, with what they depend on.
        neighbours: samples beside their nearest training images, a row each; None if not asked
            for.
    """

    record: dict[str, Any]
    neighbours: Tensor | None


@dataclass
class Judge:
    """Judges samples of a data set, and models of it, by all its test images.

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

    def samples(self, batches: Iterator[Tensor], count: int) -> Judgement:
        """Judge `count` samples, batches of 8-bit values, (B, C, H, W)."""
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
        return Judgement(record, picture)

    def model(
        self, model: GenerativeModel, num_reconstructions: int, importance_samples: int | None
    ) -> dict[str, Any]:
        """Return the model's own figures on the test images, within `model.evaluating()`."""
        record = model_metrics.evaluate(model, self.data, SPLIT)
        if model.has_codes and num_reconstructions:
            record |= model_metrics.reconstruction(model, self.data, SPLIT, num_reconstructions)
        if importance_samples is not None:
            record |= model_metrics.importance_weighted_bound(
                model, self.data, SPLIT, importance_samples
            )
        return record

    def seconds_for_samples(self, count: int) -> dict[str, float]:
        """Return what judging `count` samples will take, besides making them."""
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
            x, y = torch.rand(2, TIMED, extractor.dimension)
            per_pair = seconds_of(lambda: _all_pairs(x, y)) / (3 * TIMED**2)
            reference, real = splits[SPLIT], min(count, splits["validation"])
            pairs = sum(n**2 + reference**2 + n * reference for n in (count, real))
            seconds["pairs"] = per_pair * pairs
        if self.num_neighbours:
            few = data.split("validation").images[:TIMED]
            part = seconds_of(lambda: model_metrics.nearest_training_images(few, data, NEAREST))
            per_sample = part / len(few)
            seconds["neighbours"] = 2 * per_sample * min(count, self.num_neighbours)
        return seconds

    def refuse_too_few(self, count: int) -> None:
        """Refuse so few images that figures are not defined, and warn of few.

        Raises:
            UserError: naming the least number.
        """
        if count < features.FEWEST:
            raise UserError(
                f"{count} samples are too few to compare; take {features.FEWEST} or more"
            )
        held_out = len(self.data.split("validation"))
        if held_out < features.FEWEST:
            raise UserError(
                f"dataset.validation_size={held_out}: too few real images to stand beside the "
                f"samples; {features.FEWEST} or more are needed"
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
        """Add the share of memorised samples to the record, and return the picture."""
        data = self.data
        far, index = model_metrics.nearest_training_images(samples, data, NEAREST)
        record["memorised"] = float(distances.memorised(far).double().mean())
        record["num_neighbours"] = len(samples)
        held_out = data.split("validation").images[: len(samples)]
        far, _ = model_metrics.nearest_training_images(held_out, data, NEAREST)
        record["real"]["memorised"] = float(distances.memorised(far).double().mean())
        nearest = data.split("train").images[index[:SHOWN]]  # (SHOWN, NEAREST, C, H, W)
        rows = torch.cat([samples[:SHOWN].unsqueeze(1), nearest], 1)
        names = ["sample", "nearest", *(f"{number}." for number in range(2, NEAREST + 1))]
        return figures.image_table(rows, [f"{number}" for number in range(len(rows))], names)


def _keeping_first(batches: Iterator[Tensor], count: int, kept: list[Tensor]) -> Iterator[Tensor]:
    """Pass batches on, and put the first `count` images of them into `kept`."""
    missing = count
    for batch in batches:
        if missing > 0:
            kept.append(batch[:missing])
            missing -= len(batch)
        yield batch


def judge_run(model: GenerativeModel, judge: Judge, options: dict[str, Any]) -> Judgement:
    """Sample from a run's model and judge it; what it takes is said first.

    Args:
        model: the run's model, on the device where it is to work.
        judge: of the run's data set.
        options: the keys of configs/evaluate.yaml.
    """
    count, seed, batch_size = (options[key] for key in ("num_samples", "seed", "batch_size"))
    importance_samples = options["importance_samples"]
    refuse_impossible_bound(model, judge.data, importance_samples)
    with model.evaluating(averaged=False):  # the weights are those that were asked for
        model_metrics.prepare_sampling(model, judge.data)  # the codes' density, to these weights
        own = {
            "seed": seed,
            "checkpoint": options["checkpoint"],
            "weights": "average" if options["averaged"] and model.ema is not None else "raw",
        }
        if model.makes_images:
            judge.refuse_too_few(count)
        seconds = _seconds_of_model(model, judge.data, options)
        if not model.makes_images:
            announce(seconds)
            return Judgement(own | judge.model(model, 0, None), None)
        announce(seconds | judge.seconds_for_samples(count))
        clock = Clock(draw(model, count, None, seed, batch_size))
        judgement = judge.samples(with_progress(clock, count), count)
        own |= {
            "samples_per_second": count / clock.seconds,
            "network_evaluations": model.network_evaluations,
        }
        own |= judge.model(model, options["reconstructions"], importance_samples)
    return Judgement(judgement.record | own, judgement.neighbours)


def judge_file(path: Path, judge: Judge) -> Judgement:
    """Judge the samples in a file."""
    file = SampleFile(path, judge.data)
    judge.refuse_too_few(len(file))
    announce(judge.seconds_for_samples(len(file)))
    judgement = judge.samples(with_progress(file.batches(), len(file)), len(file))
    judgement.record["samples"] = str(path)
    return judgement


def write(judgement: Judgement, path: Path) -> list[Path]:
    """Write a record as JSON, and the picture of neighbours beside it; return what is written."""
    written = [path]
    try:
        write_text(path, json.dumps(judgement.record, indent=2) + "\n")
        if judgement.neighbours is not None:
            written.append(path.with_name(f"{path.stem}-neighbours.png"))
            grids.save(judgement.neighbours, written[-1])
    except OSError as error:
        raise UserError(f"could not write {path} ({error}); to=FILE.json names another") from error
    return written


def refuse_contradictions(
    options: dict[str, Any], run: Run | None, overrides: Sequence[str] = ()
) -> None:
    """Refuse options that exclude or miss one another.

    Args:
        options: the keys of configs/evaluate.yaml.
        run: the run, if one is named.
        overrides: what the user wrote on the command line.
    """
    if run is not None and options["samples"]:
        raise UserError("run= and samples=: name one of them, a run or a file")
    if run is not None:
        return
    idle = [text for text in overrides if text.partition("=")[0] in OF_A_RUN]
    if idle:
        raise UserError(f"{' '.join(idle)}: is for run=; the samples of a file are as they are")
    if options.get("dataset") is None:
        raise UserError(
            f"samples={options['samples']}: say which images it is to be compared with, such as "
            "dataset=fashion_mnist"
        )


def destination(
    options: dict[str, Any],
    run: Run | None,
    data: ImageDataModule,
    extractor: Extractor | None,
    changed: dict[str, Any] | None = None,
) -> Path:
    """Return the file that the record goes to: what `to` names, or one beside the samples whose
    name tells apart what was asked for.

    Args:
        options: the keys of configs/evaluate.yaml.
        run: the run; None for a file of samples.
        data: what it is compared with.
        extractor: what it is judged by, if it is.
        changed: what was changed of the run's recipe.

    Raises:
        UserError: if it cannot be written.
    """
    if options["to"]:
        return named_file(options["to"], "record.json")
    judged_by = (data.fingerprint, extractor.checksum) if extractor else ()
    asked = [options[key] for key in (*OF_A_RUN, "pairwise", "neighbours")]
    facts = (judged_by, asked, changed or {})
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:6]
    name = f"{extractor.name if extractor else 'figures'}-{digest}.json"
    if run is None:
        samples = Path(options["samples"])
        return named_file(samples.with_name(f"{samples.stem}-{data.source.name}-{name}"), "")
    count = f"{options['num_samples']}-" if extractor else ""
    return named_file(run.samples / f"evaluation-{options['checkpoint']}-{count}{name}", "")


def refuse_other_data(run: Run, data: ImageDataModule) -> None:
    """Refuse to judge a run by other data than it was trained on.

    Raises:
        UserError: naming what has changed.
    """
    trained_on = run.manifest().get("data", data.fingerprint)
    if trained_on != data.fingerprint:
        raise UserError(
            f"{run} was trained on other data than dataset.* gives now; leave dataset.* out, or "
            "judge its samples as a file: scripts/sample.py run=... format=npz"
        )


def refuse_impossible_bound(
    model: GenerativeModel, data: ImageDataModule, importance_samples: int | None
) -> None:
    """Refuse to weigh codes of a model that draws none, or has no likelihood of the images.

    Raises:
        UserError: if `importance_samples` is a number all the same.
    """
    if importance_samples is None:
        return
    named = f"importance_samples={importance_samples}"
    if not model.weighs_codes:
        kind = type(model).__name__
        without = "; the bound that it has is reported without" if model.likelihood_kind else ""
        raise UserError(
            f"{named}: a {kind} has no importance-weighted bound{without}; leave it out"
        )
    with model.evaluating(averaged=False):
        record = model_metrics.evaluate(model, data, SPLIT, limit=2)
    if "bits_per_dim" not in record:
        raise UserError(
            f"{named}: this model has no likelihood of these images, nor a bound on it; leave "
            "importance_samples out"
        )


def _seconds_of_model(
    model: GenerativeModel, data: ImageDataModule, options: dict[str, Any]
) -> dict[str, float]:
    """Return what a model's samples and its own figures will take."""
    count = options["num_samples"]
    test = len(data.split(SPLIT))
    per_image = seconds_each(lambda few: model_metrics.evaluate(model, data, SPLIT, few))
    seconds = {"figures of the model": per_image * test}
    if model.makes_images:
        per_sample = seconds_each(
            lambda few: next(draw(model, few, None, 0, few)), min(BATCH, count)
        )
        seconds |= {"samples": per_sample * count}
    if model.has_codes and options["reconstructions"]:
        each = seconds_each(lambda few: model_metrics.reconstruction(model, data, SPLIT, few))
        seconds |= {"reconstructions": each * min(options["reconstructions"], test)}
    if options["importance_samples"] is not None:
        seconds["importance-weighted bound"] = per_image * test * options["importance_samples"]
    return seconds


def _all_pairs(x: Tensor, y: Tensor) -> None:
    distances.kernel_distance(x, y)
    distances.precision_recall(x, y, features.NEIGHBOURS)
