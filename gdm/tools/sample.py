"""Images sampled from the model of a finished run, and written."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gdm.errors import UserError
from gdm.evaluation import samples
from gdm.files import named_file, named_folder
from gdm.pictures import grids
from gdm.recipes.ranges import Count, NonNegative, Seed
from gdm.runs.catalogue import recipe_hash
from gdm.tools import open_run
from gdm.tools.open_run import OpenRun

ENDINGS = {"png": "", "npz": ".npz", "grid": ".png"}  # png: a folder with one file per image


@dataclass(frozen=True)
class SampleOptions:
    """The keys of scripts/sample.py.

    Args:
        run: its directory, a unique ending of its path, or last.
        outputs: the folder of all runs.
        num_samples: how many images.
        label: a class's name or number, for a conditional model; null spreads the images over all
            classes.
        seed: image i depends on the seed and on i only, however many are made.
        averaged: false takes the weights themselves instead of their average.
        checkpoint: last or best.
        format: grid is one PNG; png one file per image; npz arr_0, uint8, N x H x W x C.
        to: the file or folder; null for one in the run's samples/.
        batch_size: images at a time; null for as many as are small enough together.
        truncation: of a StyleGAN, how far styles stay from their mean: 1 leaves them, less gives
            clearer images that differ less; null for what the run has.
    """

    run: str | None
    outputs: str
    num_samples: Count
    label: str | int | None
    seed: Seed
    averaged: bool
    checkpoint: str
    format: Literal["grid", "png", "npz"]
    to: str | None
    batch_size: Count | None
    truncation: NonNegative | None


def sample(opened: OpenRun, options: SampleOptions) -> Path:
    """Write images of a run's model; return the file or folder.

    Raises:
        UserError: if the model makes none, does not know the label, or nothing can be written.
    """
    model = opened.model
    samples.refuse_without_images(model, opened.run)
    if options.truncation is not None:
        _truncate(opened, options.truncation)
    data = opened.data
    is_renamed = data.labels is not None or data.groups is not None  # only the images tell how
    names = data.class_names if is_renamed else data.source.class_names
    label = samples.class_number(options.label, names, model)
    path = samples_path(options, opened)
    open_run.prepare([opened])
    with model.evaluating(averaged=False):  # the weights are those that were asked for
        batches = samples.draw(model, options.num_samples, label, options.seed, options.batch_size)
        shown = samples.with_progress(batches, options.num_samples)
        lay_out = partial(samples.picture, model=model, label=label, class_names=names)
        samples.write(shown, options.num_samples, options.format, path, lay_out)
    return path


def _truncate(opened: OpenRun, truncation: float) -> None:
    if not opened.model.has_styles:
        kind = type(opened.model).__name__
        raise UserError(
            f"truncation={truncation:g}: {opened.run} is a {kind}, which has no styles; leave it "
            "out"
        )
    opened.model.truncation = truncation


def samples_path(options: SampleOptions, opened: OpenRun) -> Path:
    """Return the file or folder that images go to: what `to` names, or one in the run's samples
    whose name tells apart what was asked for.

    Raises:
        UserError: if a folder is named where a file is to be written, or it cannot be.
    """
    ending = ENDINGS[options.format]
    if options.to:
        return _checked(Path(options.to), ending)
    truncation = None if options.truncation is None else f"truncation-{options.truncation:g}"
    asked = (options.num_samples, f"seed-{options.seed}", options.label,
             opened.facts["checkpoint"], None if options.averaged else "raw",
             recipe_hash(opened.changed)[:6] if opened.changed else None, truncation)  # fmt: skip
    name = "-".join(str(part).replace("/", "-") for part in asked if part is not None)
    return _checked(opened.run.samples / f"samples-{name}{ending}", ending)


def _checked(path: Path, ending: str) -> Path:
    if not ending:
        return named_folder(path, path)
    named = named_file(path, f"samples{ending}")
    if ending == ".png":
        grids.refuse_ending(path, (ending,))
    return named
