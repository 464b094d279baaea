"""The points of quality against cost: samples by every sampler, evaluated and timed."""

import logging
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import partial
from typing import Any

import torch

from gdm.evaluation import features, protocol, samples, timing
from gdm.evaluation.extractors import Extractor
from gdm.models.base import GenerativeModel
from gdm.recipes.tree import arguments
from gdm.tools.open_run import OpenRun
from gdm.tools.quality_cost import QualityCostOptions, SamplerSetting

log = logging.getLogger(__name__)

MOST_STEPS_TIMED = 5  # an evaluation costs the same in any step


def measure(
    opened: OpenRun,
    settings: Sequence[SamplerSetting],
    others: Sequence[OpenRun],
    evaluator: protocol.Evaluator,
    options: QualityCostOptions,
) -> dict[str, Any]:
    """Evaluate a run's samples by every sampler, and those of other runs; what it takes is said
    first.

    Args:
        opened: the run of a diffusion model; its sampler is left as the last one.
        settings: the samplers of its samples.
        others: further runs, of any family.
        evaluator: of the runs' data set.
        options: the keys of the script.

    Returns:
        The points, and what they depend on.

    Raises:
        UserError: if the samples are too few to compare.
    """
    data, extractor, count = evaluator.data, evaluator.extractor, options.num_samples
    evaluator.refuse_too_few(count)
    timing.announce(_seconds_ahead(opened, settings, others, evaluator, options))
    reference = features.features_of_split(extractor, data, protocol.SPLIT, pairwise=False)
    points: list[dict[str, Any]] = []
    for point in _points(
        opened, settings, others, partial(_metrics, reference, extractor, options)
    ):
        points.append(point)
        log.info("%d of %d: %s", len(points), len(others) + len(settings), _line(point))
    real = features.real_against_real(count, reference, extractor, data)
    return {
        "run": str(opened.run.path),
        "n": count,
        "seed": options.seed,
        "batch_size": options.batch_size,
        "split": protocol.SPLIT,
        "num_reference": len(reference),
        "data": data.fingerprint,
        "dataset": data.source.name,
        "extractor": extractor.name,
        "extractor_checksum": extractor.checksum,
        "device": _device(opened.model),
        "real": {"n": real["n"], "frechet_distance": real["frechet_distance"]},
        "points": points,
    }


def _points(
    opened: OpenRun,
    settings: Sequence[SamplerSetting],
    others: Sequence[OpenRun],
    metrics_of: Callable[[GenerativeModel], dict[str, float]],
) -> Iterator[dict[str, Any]]:
    """Yield what is found of each further run, then of the run by each sampler."""
    for other in others:
        yield {"name": other.name, **other.facts} | metrics_of(other.model)
    for setting in settings:
        opened.model.sampler = setting.sampler
        own = arguments(setting.node)
        facts = {"sampler": setting.name, "steps": own.pop("num_steps"), "sampler_arguments": own}
        yield {"name": opened.name, **opened.facts} | facts | metrics_of(opened.model)


def _metrics(
    reference: features.FeatureSet,
    extractor: Extractor,
    options: QualityCostOptions,
    model: GenerativeModel,
) -> dict[str, float]:
    """Sample from a model, and return how far its samples are from real images and what they
    cost."""
    count = options.num_samples
    with model.evaluating(averaged=False):
        clock = timing.Clock(samples.draw(model, count, None, options.seed, options.batch_size))
        shown = samples.with_progress(clock, count)
        found = features.features_of(shown, extractor, pairwise=False)
    return {
        "network_evaluations": model.network_evaluations,
        "frechet_distance": features.compare(found, reference, extractor)["frechet_distance"],
        "seconds_per_sample": clock.seconds / count,
    }


def _seconds_ahead(
    opened: OpenRun,
    settings: Sequence[SamplerSetting],
    others: Sequence[OpenRun],
    evaluator: protocol.Evaluator,
    options: QualityCostOptions,
) -> dict[str, float]:
    """Return what each part will take, from what a sample in few steps takes."""
    count = options.num_samples

    def per_sample(model: GenerativeModel) -> float:
        with model.evaluating(averaged=False):
            return timing.seconds_each(
                lambda few: next(samples.draw(model, few, None, options.seed, few)),
                min(protocol.MAX_TIMED_SAMPLES, count),
            )

    model = opened.model
    few = min(MOST_STEPS_TIMED, *(setting.sampler.num_steps for setting in settings))
    model.sampler = copy(settings[0].sampler)
    model.sampler.num_steps = few
    per_evaluation = per_sample(model) / model.network_evaluations
    evaluations = 0
    for setting in settings:
        model.sampler = setting.sampler
        evaluations += model.network_evaluations
    seconds = {"samples": count * per_evaluation * evaluations}
    if others:
        seconds["samples of others"] = count * sum(per_sample(each.model) for each in others)
    return seconds | evaluator.seconds_for_samples(count * (len(settings) + len(others)))


def _device(model: GenerativeModel) -> str:
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"{model.device.type}, {torch.get_num_threads()} threads"


def _line(point: dict[str, Any]) -> str:
    way = f", {point['sampler']} in {point['steps']} steps" if "sampler" in point else ""
    return (
        f"{point['name']}{way}: Frechet distance {point['frechet_distance']:,.2f} at "
        f"{point['network_evaluations']:,} network evaluations"
    )
