"""What a run ends with: its final metrics and pictures."""

from collections.abc import Iterable
from typing import Any

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation import model_metrics
from gdm.models.base import Model
from gdm.runs.run import Run
from gdm.training import phase_pictures
from gdm.training.pictures import Pictures
from gdm.training.validation import named_metrics


def finish(
    model: Model,
    data: ImageDataModule,
    run: Run,
    recipe: dict[str, Any],
    loggers: Iterable,
    pictures: Pictures | None,
) -> dict[str, Any]:
    """Write the final metrics, draw the final pictures, and return the final record.

    Args:
        model, data, run, recipe, loggers: the run, whose training is over.
        pictures: what is drawn; None for nothing.
    """
    with model.evaluating():
        record = _final_record(model, data, run, loggers)
        if pictures is not None:
            pictures.draw(model, data, run, loggers, "final", record)
            phase_pictures.draw(model, run, loggers)
    for logger in loggers:
        logger.log_result(recipe, named_metrics(record))
    return record


def _final_record(
    model: Model, data: ImageDataModule, run: Run, loggers: Iterable
) -> dict[str, Any]:
    """Return the record of the last validation, or, if there was none, of one at all images."""
    for record in reversed(run.records()):
        if record["images"] == model.images_seen and record.get("split") == "validation":
            return record
    record = model_metrics.evaluate(model, data, "validation")
    run.record(model.images_seen, record)
    for logger in loggers:
        logger.log_metrics(named_metrics(record), model.images_seen)
    return record
