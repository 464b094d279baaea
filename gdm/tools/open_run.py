"""The one way to open a finished run: with the weights that are asked for, for whatever tool."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import model_metrics, samples
from gdm.evaluation.extractors import Extractor
from gdm.models.base import Model
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.recipes.tree import changes
from gdm.runs import catalogue
from gdm.runs.run import Run


@dataclass
class OpenRun:
    """A finished run that is open.

    Args:
        run: the run.
        name: what it is called in a picture.
        model: its model, with the weights that were asked for, on the device where it is to
            work; see `prepare`.
        recipe: what it is made from, with what the user has changed.
        data: its data set.
        facts: which weights these are: `run`, `checkpoint`, `weights`, `images_seen`.
        extractor: data set -> what knows the classes of its images; None for nothing that does.
    """

    run: Run
    name: str
    model: Model
    recipe: dict[str, Any]
    data: ImageDataModule
    facts: dict[str, Any] = field(default_factory=dict)
    extractor: Callable[..., Extractor] | None = None

    @property
    def changed(self) -> dict[str, Any]:
        """What the user has changed of the run's recipe: full key -> value."""
        return changes(self.run.recipe(), self.recipe)

    def features(self) -> Extractor:
        """Return the extractor of its data set, on the model's device.

        Raises:
            UserError: if it cannot be had.
        """
        return self.extractor(data=self.data).to(self.model.device)


class Extracting(Protocol):
    """Keys that say what images are evaluated by."""

    outputs: str
    extractor: Callable[..., Extractor] | None


class Comparing(Protocol):
    """Keys that say which further runs a run is compared with, and which weights of them."""

    compare: list[str]
    outputs: str
    checkpoint: str
    averaged: bool


def opened_run(
    run: Run,
    recipe: dict[str, Any],
    *,
    checkpoint: str = "last",
    averaged: bool = True,
    extractor: Callable[..., Extractor] | None = None,
    plugins: Sequence[str] = (),
) -> OpenRun:
    """Return a run with its model on the device where it is to work.

    Args:
        run: the run.
        recipe: its recipe, with changes that leave the weights alone.
        checkpoint: `last`, `best`, or the name of another file in the run's checkpoints.
        averaged: take the average of the weights where the run has kept one.
        extractor: as `extractor_of` gives it.
        plugins: packages that the recipe may name besides gdm.

    Raises:
        UserError: if the recipe is wrong, or the run has no such checkpoint.
    """
    check(recipe, trusted=plugins)
    data = build(recipe["dataset"], "dataset", plugins)
    return _opened(
        run,
        recipe,
        data=data,
        checkpoint=checkpoint,
        averaged=averaged,
        extractor=extractor,
        plugins=plugins,
    )


def _opened(
    run: Run,
    recipe: dict[str, Any],
    *,
    data: ImageDataModule,
    checkpoint: str,
    averaged: bool,
    extractor: Callable[..., Extractor] | None,
    plugins: Sequence[str],
) -> OpenRun:
    model, path = catalogue.read_model(run, checkpoint, averaged, recipe, plugins)
    model = model.to(device())
    facts = {
        "run": str(run.path),
        "checkpoint": path.stem,
        "weights": catalogue.kind_of_weights(model, averaged),
        "images_seen": model.images_seen,
    }
    name = str(recipe.get("name") or run.path.name).removesuffix(f"/{data.source.name}")
    return OpenRun(run, name, model, recipe, data, facts, extractor)


def device() -> str:
    """Return where models and extractors work: on the GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def extractor_of(
    options: Extracting, plugins: Sequence[str] = ()
) -> Callable[..., Extractor] | None:
    """Return what finds the extractor of a data set that a script's keys ask for, if any."""
    if options.extractor is None:
        return None
    return partial(options.extractor, outputs=Path(options.outputs), plugins=plugins)


def prepare(opened_runs: Iterable[OpenRun]) -> None:
    """Make models ready to sample from the weights that they have; this may take a while."""
    for opened in opened_runs:
        with opened.model.evaluating(averaged=False):  # the weights that were asked for
            model_metrics.prepare_sampling(opened.model, opened.data)


def refuse_other_data(run: Run, data: ImageDataModule) -> None:
    """Refuse to evaluate a run by other data than it was trained on.

    Raises:
        UserError: naming what has changed.
    """
    trained_on = run.manifest().get("data", data.fingerprint)
    if trained_on != data.fingerprint:
        raise UserError(
            f"{run} was trained on other data than dataset.* gives now; leave dataset.* out, or "
            f"evaluate its samples as a file: {run.command('sample', (), 'format=npz')}"
        )


def compared_runs(
    options: Comparing, opened: OpenRun, plugins: Sequence[str] = ()
) -> list[OpenRun]:
    """Return the further runs, with names that tell them from the first and one another.

    Args:
        options: the keys of the script.
        opened: the first run.
        plugins: packages that a recipe may name besides gdm.

    Raises:
        UserError: if there is no such run, it makes no images, or it was trained on other data
            than the first.
    """
    found, names = [], [opened.name]
    for reference in options.compare:
        run = catalogue.find(reference, Path(options.outputs))
        recipe = run.recipe()
        check(recipe, trusted=plugins)
        own = run.manifest().get("data")
        own = own or build(recipe["dataset"], "dataset", plugins).fingerprint
        if own != opened.data.fingerprint:
            raise UserError(
                f"compare=[{reference}]: {run} was trained on other data than {opened.run}; "
                "only metrics on the same images compare"
            )
        other = _opened(
            run,
            recipe,
            data=opened.data,
            checkpoint=options.checkpoint,
            averaged=options.averaged,
            extractor=opened.extractor,
            plugins=plugins,
        )
        samples.refuse_without_images(other.model, run)
        plain, number = other.name, 1
        while other.name in names:
            number += 1
            other.name = f"{plain} {number}"
        names.append(other.name)
        found.append(other)
    return found
