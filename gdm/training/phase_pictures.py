"""What the same samples were like in each phase of training, side by side.

Samples are kept in the run's folder at every validation, so that a run that was interrupted, or
resumed, has those of its earlier phases too.
"""

from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gdm.models.base import Model
from gdm.pictures import grids, tables
from gdm.runs.run import Run

FOLDER = "phases"  # of the run's samples
NUM_SAMPLES = 8  # rows


def keep_samples(model: Model, run: Run) -> None:
    """Keep the first samples of a model whose training has phases, within `model.evaluating()`.

    They are one below another in a file that is called after the images seen and the phase, such
    as `000064000-4_to_8.png`.
    """
    phases = model.phases(model.num_batches)
    if not model.makes_images or len(phases) < 2:
        return
    last_batch = max(0, model.batches_seen - 1)
    phase = list(phases)[bisect_right(list(phases.values()), last_batch) - 1]
    column = grids.grid(model.sample(range(NUM_SAMPLES)), 1, gap=0)
    path = run.samples / FOLDER / f"{model.images_seen:09d}-{_in_file_name(phase)}.png"
    run.keep(lambda: grids.save(column, path))


def draw(model: Model, run: Run, loggers: Iterable) -> None:
    """Draw the samples that were kept last in each phase into `growth.png` and the loggers: rows
    of the same latent, a column per phase; nothing of a model that has no phases."""
    kept = {phase: _last_kept(phase, model, run) for phase in model.phases(model.num_batches)}
    columns = {phase: _read(path) for phase, path in kept.items() if path is not None}
    if not columns:
        return
    names = [f"sample {number + 1}" for number in range(NUM_SAMPLES)]
    rows = torch.stack(list(columns.values()), dim=1)  # (N, K, C, H, W)
    picture = tables.image_table(rows, names, list(columns))
    run.keep(lambda: grids.save(picture, run.samples / "growth.png"))
    for logger in loggers:
        logger.log_picture("growth", picture, model.images_seen)


def _in_file_name(phase: str) -> str:
    return phase.replace(" ", "_")


def _last_kept(phase: str, model: Model, run: Run) -> Path | None:
    """Return the newest file of a phase; of a run that began anew, none of its former future."""
    files = (run.samples / FOLDER).glob(f"*-{_in_file_name(phase)}.png")
    past = [path for path in files if int(path.name.partition("-")[0]) <= model.images_seen]
    return max(past, default=None)


def _read(path: Path) -> Tensor:
    """Return the images of a file, 8-bit values: (N, C, H, W)."""
    from PIL import Image

    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture))  # (N H, W) or (N H, W, C)
    column = pixels.view(*pixels.shape[:2], -1).permute(2, 0, 1)  # (C, N H, W)
    return column.unflatten(1, (NUM_SAMPLES, -1)).transpose(0, 1)
