"""How many images a number of minutes is, on this machine."""

import logging
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from pytorch_lightning import Callback, Trainer

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.models.base import Model
from gdm.runs.run import Run
from gdm.training.saving import Checkpoints
from gdm.training.stopwatch import Stopwatch
from gdm.training.validation import Validation

log = logging.getLogger(__name__)

MEASURED_FRACTION = 0.05  # of a budget in minutes goes, at most, into measuring
VALIDATED_FRACTION = 0.2  # of a budget in minutes goes, at most, into validation
MAX_MEASURED_SECONDS = 120
FINAL_VALIDATIONS = 2  # the first validation, and the pictures at the end


def measure(
    copy: Model,
    data: ImageDataModule,
    validation: Validation | None,
    trainer_of: Callable[[Run, list[Callback], list], Trainer],
    seconds: float,
) -> Stopwatch:
    """Return what a step, a validation at the model and a checkpoint cost.

    Args:
        copy: a model to throw away.
        data: the data set.
        validation: what validates the model; None if nothing does.
        trainer_of: a run, callbacks and loggers -> a trainer.
        seconds: the budget.
    """
    stopwatch = Stopwatch(min(seconds * MEASURED_FRACTION / 2, MAX_MEASURED_SECONDS), validation)
    with tempfile.TemporaryDirectory() as folder:
        trainer_of(Run(Path(folder)), [stopwatch], []).fit(copy, data)
    return stopwatch


def validate_less(validation: Validation, validation_seconds: float, seconds: float) -> None:
    """Validate less often where that would take too much of a budget in minutes."""
    times = affordable_validations(validation_seconds, seconds)
    if times < validation.times:
        log.info(
            "the model is validated %d times instead of %d, for at most %.0f %% of the time",
            times, validation.times, 100 * VALIDATED_FRACTION,
        )  # fmt: skip
        validation.times = times


def affordable_validations(validation_seconds: float, seconds: float) -> int:
    """Return how often a run of a length may be validated, besides the first and last time."""
    return max(
        1, int(VALIDATED_FRACTION * seconds / max(validation_seconds, 1e-9)) - FINAL_VALIDATIONS
    )


def steps_within(
    seconds: float,
    started: float,
    costs: Stopwatch,
    phases: Callable[[int], dict[str, int]],
    validation: Validation | None,
    saving: Checkpoints | None,
) -> int:
    """Return how many steps a budget leaves room for.

    Args:
        seconds: the budget.
        started: `time.monotonic()` when it began.
        costs: what has been measured.
        phases: steps of a run -> where its phases begin, as in `Model.phases`.
        validation, saving: what validates the model and what saves it; None if nothing does.

    Raises:
        UserError: if it leaves room for none.
    """
    validations = validation.times + FINAL_VALIDATIONS if validation else FINAL_VALIDATIONS
    left = seconds - (time.monotonic() - started)
    saves = validations + (
        saving.times if saving else 0
    )  # each validation may find the best so far
    left -= validations * costs.validation_seconds + saves * costs.save_seconds
    steps = _steps_of_phases(left, costs.step_seconds, phases)
    if steps < 1:
        raise UserError(
            f"budget.minutes={seconds / 60:g}: too short; start-up and evaluation alone take "
            f"{(seconds - left) / 60:.2g} minutes here"
        )
    return steps


def _steps_of_phases(
    seconds: float, step_seconds: list[float], phases: Callable[[int], dict[str, int]]
) -> int:
    """Return the length of the longest run whose steps take no longer than this."""
    most = int(seconds / min(step_seconds))
    if len(step_seconds) == 1 or most < 1:
        return most

    def seconds_of(num_steps: int) -> float:
        begins = [*phases(num_steps).values(), num_steps]  # of those that it reaches
        bounds = zip(step_seconds, pairwise(begins), strict=False)
        return sum(cost * (end - begin) for cost, (begin, end) in bounds)

    return bisect_right(range(1, most + 1), seconds, key=seconds_of)
