"""Runs that are worked on: opened with the weights that are asked for, and named for pictures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import model_metrics, samples
from gdm.evaluation.extractors import Extractor
from gdm.models.base import GenerativeModel
from gdm.recipes.build import build
from gdm.runs import catalogue
from gdm.runs.run import Run


@dataclass
class OpenRun:
    """A run whose model is worked on.

    Args:
        run: the run.
        name: what it is called in a picture.
        model: its model, with the weights that were asked for; see `prepare`.
        facts: which weights these are.
        extractor: data set -> what knows the classes of its images; None for nothing that does.
    """

    run: Run
    name: str
    model: GenerativeModel
    facts: dict[str, Any] = field(default_factory=dict)
    extractor: Callable[..., Extractor] | None = None


def opened_run(
    run: Run,
    recipe: dict[str, Any],
    options: dict[str, Any],
    data: ImageDataModule,
    plugins: Iterable[str] = (),
) -> OpenRun:
    """Return a run with its model on the device where it is to work.

    Raises:
        UserError: if it has no such checkpoint, or makes no images.
    """
    checkpoint = catalogue.checkpoint_path(run, options["checkpoint"]).stem
    model = catalogue.load(run, checkpoint, options["averaged"], recipe, plugins)
    samples.refuse_without_images(model, run)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    facts = {
        "run": str(run.path),
        "checkpoint": checkpoint,
        "weights": "average" if options["averaged"] and model.ema is not None else "raw",
        "images_seen": model.images_seen,
    }
    name = str(recipe.get("name") or run.path.name).removesuffix(f"/{data.source.name}")
    return OpenRun(run, name, model, facts, extractor_of(options, plugins))


def prepare(opened_runs: Iterable[OpenRun], data: ImageDataModule) -> None:
    """Make models ready to sample from the weights that they have; this may take a while."""
    for opened in opened_runs:
        with opened.model.evaluating(averaged=False):  # the weights that were asked for
            model_metrics.prepare_sampling(opened.model, data)


def extractor_of(
    options: dict[str, Any], plugins: Iterable[str] = ()
) -> Callable[..., Extractor] | None:
    """Return what finds the extractor of a data set that a script's keys ask for, if any."""
    extractor = build(options["extractor"], "extractor", plugins)
    if extractor is None:
        return None
    return partial(extractor, outputs=Path(options["outputs"]), plugins=plugins)


def compared_runs(
    options: dict[str, Any],
    opened: OpenRun,
    data: ImageDataModule,
    plugins: Iterable[str] = (),
    key: str = "others",
) -> list[OpenRun]:
    """Return the further runs, with names that tell them from the first and one another.

    Args:
        options: the keys of the script.
        opened: the first run.
        data: its data set.
        plugins: packages that a recipe may name besides gdm.
        key: the key that lists them.

    Raises:
        UserError: if there is no such run, or it was trained on other data than the first.
    """
    found, names = [], [opened.name]
    for reference in options[key]:
        other = catalogue.find(reference, Path(options["outputs"]))
        recipe = other.recipe()
        own = other.manifest().get("data")
        if (own or build(recipe["dataset"], "dataset", plugins).fingerprint) != data.fingerprint:
            raise UserError(
                f"{key}=[{reference}]: {other} was trained on other data than {opened.run}; "
                "only figures on the same images compare"
            )
        found.append(opened_run(other, recipe, options, data, plugins))
        plain, number = found[-1].name, 1
        while found[-1].name in names:
            number += 1
            found[-1].name = f"{plain} {number}"
        names.append(found[-1].name)
    return found
