"""A finished run, or a file of samples, by the one protocol: what it takes is said first."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import model_metrics, protocol
from gdm.evaluation.extractors import Extractor
from gdm.evaluation.protocol import MAX_TIMED_SAMPLES, SPLIT, Evaluation, Evaluator
from gdm.evaluation.samples import draw, refuse_no_file, with_progress
from gdm.evaluation.timing import Clock, announce, seconds_each
from gdm.files import named_file, write_text
from gdm.models.base import Model
from gdm.pictures import grids
from gdm.recipes.ranges import Count, NonNegativeInt, Seed
from gdm.runs.run import Run
from gdm.tools import open_run
from gdm.tools.open_run import OpenRun

OF_A_RUN = (
    "num_samples", "seed", "averaged", "checkpoint", "reconstructions", "importance_samples",
    "batch_size",
)  # options that say nothing of a file of samples  # fmt: skip


@dataclass(frozen=True)
class EvaluateOptions:
    """The keys of scripts/evaluate.py.

    Args:
        run: its directory, a unique ending of its path, or last.
        samples: or a file of samples, an .npz with arr_0, uint8, N x H x W x C, or N x H x W of
            grey images.
        outputs: the folder of all runs.
        num_samples: how many samples of a run; of a file, all.
        seed: of the samples.
        averaged: false takes the weights themselves instead of their average.
        checkpoint: last or best.
        extractor: classifier or inception.
        pairwise: false leaves out kernel distance, precision, recall, density and coverage, which
            compare all pairs.
        neighbours: samples whose nearest training images are looked for.
        reconstructions: test images that are encoded and decoded.
        importance_samples: a number asks for the importance-weighted bound, where there is one,
            in as many passes.
        batch_size: images at a time; null for as many as are small enough together.
        to: the record's file; null for one in the run's samples/, or beside the file of samples.
        dataset: which images a file is compared with; a run has its own.
    """

    run: str | None
    samples: str | None
    outputs: str
    num_samples: Count
    seed: Seed
    averaged: bool
    checkpoint: str
    extractor: Callable[..., Extractor]
    pairwise: bool
    neighbours: NonNegativeInt
    reconstructions: NonNegativeInt
    importance_samples: Count | None
    batch_size: Count | None
    to: str | None
    dataset: ImageDataModule | None = None


def evaluate_run(opened: OpenRun, options: EvaluateOptions) -> tuple[Evaluation, list[Path]]:
    """Evaluate a run's model, put what is found on its record, and write it; return the files too.

    Raises:
        UserError: before anything takes long.
    """
    open_run.refuse_other_data(opened.run, opened.data)
    extractor = opened.features() if opened.model.makes_images else None
    path = evaluation_path(options, opened.data, extractor, opened)
    evaluator = Evaluator(opened.data, extractor, options.pairwise, options.neighbours)
    evaluation = evaluation_of_run(opened, evaluator, options)
    evaluation.record |= {"changed": opened.changed} if opened.changed else {}
    opened.run.record(opened.model.images_seen, evaluation.record)
    return evaluation, write_evaluation(evaluation, path)


def evaluate_file(
    options: EvaluateOptions, plugins: Sequence[str] = ()
) -> tuple[Evaluation, list[Path]]:
    """Evaluate the samples in a file, and write what is found; return the files too.

    Raises:
        UserError: before anything takes long.
    """
    data = options.dataset
    refuse_no_file(Path(options.samples))
    extractor = open_run.extractor_of(options, plugins)(data=data).to(open_run.device())
    path = evaluation_path(options, data, extractor)
    evaluator = Evaluator(data, extractor, options.pairwise, options.neighbours)
    evaluation = protocol.evaluation_of_file(Path(options.samples), evaluator)
    return evaluation, write_evaluation(evaluation, path)


def evaluation_of_run(
    opened: OpenRun, evaluator: Evaluator, options: EvaluateOptions
) -> Evaluation:
    """Sample from a run's model and evaluate it; what it takes is said first.

    Raises:
        UserError: if the samples are too few to compare, or there is no bound that is asked for.
    """
    model, count = opened.model, options.num_samples
    refuse_impossible_bound(model, evaluator.data, options.importance_samples)
    with model.evaluating(averaged=False):  # the weights are those that were asked for
        model_metrics.prepare_sampling(model, evaluator.data)  # the density, to these weights
        own = {"seed": options.seed} | {
            fact: opened.facts[fact] for fact in ("checkpoint", "weights")
        }
        if model.makes_images:
            evaluator.refuse_too_few(count)
        seconds = _seconds_of_model(model, evaluator.data, options)
        if not model.makes_images:
            announce(seconds)
            return Evaluation(own | evaluator.model(model, 0, None), None)
        announce(seconds | evaluator.seconds_for_samples(count))
        clock = Clock(draw(model, count, None, options.seed, options.batch_size))
        evaluation = evaluator.samples(with_progress(clock, count), count)
        own |= {
            "samples_per_second": count / clock.seconds,
            "network_evaluations": model.network_evaluations,
        }
        own |= evaluator.model(model, options.reconstructions, options.importance_samples)
    return Evaluation(evaluation.record | own, evaluation.neighbours)


def write_evaluation(evaluation: Evaluation, path: Path) -> list[Path]:
    """Write a record as JSON, and the picture of neighbours beside it; return what is written."""
    written = [path]
    try:
        write_text(path, json.dumps(evaluation.record, indent=2) + "\n")
        if evaluation.neighbours is not None:
            written.append(path.with_name(f"{path.stem}-neighbours.png"))
            grids.save(evaluation.neighbours, written[-1])
    except OSError as error:
        raise UserError(f"could not write {path} ({error}); to=FILE.json names another") from error
    return written


def refuse_contradictions(
    options: EvaluateOptions, run: Run | None, overrides: Sequence[str] = ()
) -> None:
    """Refuse options that exclude or miss one another.

    Args:
        options: the keys of the script.
        run: the run, if one is named.
        overrides: what the user wrote on the command line.
    """
    if run is not None and options.samples:
        raise UserError("run= and samples=: name one of them, a run or a file")
    if run is not None:
        return
    idle = [text for text in overrides if text.partition("=")[0] in OF_A_RUN]
    if idle:
        raise UserError(f"{' '.join(idle)}: is for run=; the samples of a file are as they are")
    if options.dataset is None:
        raise UserError(
            f"samples={options.samples}: say which images it is to be compared with, such as "
            "dataset=fashion_mnist"
        )


def evaluation_path(
    options: EvaluateOptions,
    data: ImageDataModule,
    extractor: Extractor | None,
    opened: OpenRun | None = None,
) -> Path:
    """Return the file that the record goes to: what `to` names, or one beside the samples whose
    name tells apart what was asked for.

    Args:
        options: the keys of the script.
        data: what the samples are compared with.
        extractor: what they are evaluated by; None for a model that makes none.
        opened: the run; None for a file of samples.

    Raises:
        UserError: if it cannot be written.
    """
    if options.to:
        return named_file(options.to, "record.json")
    evaluated_by = (data.fingerprint, extractor.checksum) if extractor else ()
    keys = vars(options) | ({"checkpoint": opened.facts["checkpoint"]} if opened else {})
    asked = [keys[key] for key in (*OF_A_RUN, "pairwise", "neighbours")]
    facts = (evaluated_by, asked, opened.changed if opened else {})
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:6]
    name = f"{extractor.name if extractor else 'metrics'}-{digest}.json"
    if opened is None:
        samples = Path(options.samples)
        return named_file(samples.with_name(f"{samples.stem}-{data.source.name}-{name}"), "")
    count = f"{options.num_samples}-" if extractor else ""
    path = opened.run.samples / f"evaluation-{keys['checkpoint']}-{count}{name}"
    return named_file(path, "")


def refuse_impossible_bound(
    model: Model, data: ImageDataModule, importance_samples: int | None
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
    model: Model, data: ImageDataModule, options: EvaluateOptions
) -> dict[str, float]:
    """Return what a model's samples and its own metrics will take."""
    count = options.num_samples
    test = len(data.split(SPLIT))
    per_image = seconds_each(lambda few: model_metrics.evaluate(model, data, SPLIT, few))
    seconds = {"metrics of the model": per_image * test}
    if model.makes_images:
        per_sample = seconds_each(
            lambda few: next(draw(model, few, None, 0, few)), min(MAX_TIMED_SAMPLES, count)
        )
        seconds |= {"samples": per_sample * count}
    if model.encodes and options.reconstructions:
        each = seconds_each(lambda few: model_metrics.reconstruction(model, data, SPLIT, few))
        seconds |= {"reconstructions": each * min(options.reconstructions, test)}
    if options.importance_samples is not None:
        seconds["importance-weighted bound"] = per_image * test * options.importance_samples
    return seconds
