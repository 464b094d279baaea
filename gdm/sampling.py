"""Samples of a trained model, into files."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

from gdm import pictures
from gdm.errors import UserError
from gdm.files import durable_replacement
from gdm.models.base import GenerativeModel
from gdm.ranges import Count, Natural
from gdm.runs import Run

COLUMNS = 10
ENDINGS = {"png": "", "npz": ".npz", "grid": ".png"}


def layout(
    run: str | None,
    outputs: str,
    num_samples: Count,
    label: str | int | None,
    seed: Natural,
    averaged: bool,
    checkpoint: str,
    format: Literal["grid", "png", "npz"],
    to: str | None,
    batch_size: Count,
) -> None:
    """The keys of configs/sample.yaml, and what each holds."""


def draw(
    model: GenerativeModel, num_samples: int, label: int | None, seed: int, batch_size: int
) -> Iterator[Tensor]:
    """Yield samples 0, ..., num_samples - 1 as batches of 8-bit values, (N, C, H, W).

    Args:
        model: the model.
        num_samples: how many.
        label: the class of all, for a conditional model; None spreads them over all classes.
        seed: the seed of the whole set.
        batch_size: images at a time; it changes no image by more than a grey level.
    """
    for start in range(0, num_samples, batch_size):
        indices = range(start, min(start + batch_size, num_samples))
        labels = None if label is None else torch.full((len(indices),), label)
        yield pictures.to_bytes(model.sample(indices, labels, seed))


def class_number(
    label: str | int | None, class_names: tuple[str, ...], model: GenerativeModel
) -> int | None:
    """Return the number of a class that is named or numbered.

    Raises:
        UserError: if there is no such class, or the model knows no classes.
    """
    if label is None:
        return None
    if not model.conditional:
        raise UserError(f"label={label}: this model was trained without labels; leave label out")
    for number, name in enumerate(class_names):
        if str(label).casefold() in (str(number), name.casefold()):
            return number
    known = ", ".join(f"{number} {name}" for number, name in enumerate(class_names))
    raise UserError(f"label={label}: must be one of {known}")


def destination(options: dict[str, Any], run: Run) -> Path:
    """Return the file or folder that samples go to: what `to` names, or one in the run's samples
    whose name tells apart what was asked for.

    Raises:
        UserError: if a folder is named where a file is to be written.
    """
    ending = ENDINGS[options["format"]]
    if options["to"]:
        path = Path(options["to"])
        if ending and path.is_dir():
            raise UserError(f"to={path}: is a folder; name a file in it, such as samples{ending}")
        return path
    asked = (options["num_samples"], f"seed-{options['seed']}", options["label"],
             options["checkpoint"], None if options["averaged"] else "raw")  # fmt: skip
    name = "-".join(str(part).replace("/", "-") for part in asked if part is not None)
    return run.samples / f"samples-{name}{ending}"


def write(batches: Iterator[Tensor], kind: str, path: Path) -> None:
    """Write batches of 8-bit samples, (N, C, H, W).

    Args:
        batches: the samples.
        kind: `png` for a file an image in a folder, `npz` for the field's layout (`arr_0`,
            uint8, N x H x W x C), `grid` for one picture.
        path: the file or folder.
    """
    if kind == "png":
        images = (image for batch in batches for image in batch)
        for number, image in enumerate(images):
            pictures.save(image, path / f"{number:06d}.png")
        return
    samples = torch.cat(list(batches))
    with durable_replacement(path) as temporary:
        if kind == "npz":
            with temporary.open("wb") as file:
                np.savez(file, arr_0=samples.permute(0, 2, 3, 1).numpy())
        else:
            pictures.save(pictures.grid(samples, COLUMNS), temporary, scale=2)


def with_progress(batches: Iterator[Tensor], num_samples: int) -> Iterator[Tensor]:
    """Pass batches on and show how many samples a second there are."""
    columns = [BarColumn(), TextColumn("{task.completed:,} samples, {task.description}")]
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=num_samples)
        done = 0
        for batch in batches:
            done += len(batch)
            speed = done / max(time.monotonic() - started, 1e-9)
            bar.update(task, advance=len(batch), description=f"{speed:,.0f} samples/s")
            yield batch
