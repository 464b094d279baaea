"""Validation during training: metrics on validation images, and pictures."""

import logging
import time
from typing import Any

from pytorch_lightning import Callback

from gdm.evaluation import model_metrics
from gdm.evaluation.metrics import numbers
from gdm.recipes.ranges import Count
from gdm.runs.run import Run
from gdm.training.budget import is_due
from gdm.training.health import Health, say
from gdm.training.pictures import Pictures
from gdm.training.quality import Quality
from gdm.training.saving import CHOSEN_BY, Checkpoints

log = logging.getLogger(__name__)


class Validation(Callback):
    """Evaluates the model and draws pictures, before the first step and at even distances.

    Args:
        times: how often in a run, besides the first.
        limit: number of validation images for the model's own metrics; None for all.
        quality: what compares samples with the validation images, and so finds the best
            checkpoint; None for neither.
        pictures: what is drawn; None for nothing.
        health: what tells whether a GAN's two players are well; None for nothing.
    """

    def __init__(
        self,
        times: Count,
        limit: Count | None,
        quality: Quality | None,
        pictures: Pictures | None,
        health: Health | None = None,
    ) -> None:
        self.times = times
        self.limit = limit
        self.quality = quality
        self.health = health
        self.pictures = pictures
        self.started = time.monotonic()  # when the run began, less what it was away

    def announce(self, model) -> None:
        """Say how often the model is validated."""
        interval = max(1, model.num_batches // self.times) * model.batch_size
        log.info("the model is validated about every %s images", f"{interval:,}")

    def is_due(self, model) -> bool:
        """Whether it is time after this step."""
        return is_due(model.batches_seen, model.num_batches, self.times)

    def evaluate(self, trainer, model, saving: Checkpoints | None) -> None:
        """Evaluate the model and draw, at this moment, and keep it if it is the best so far.

        Args:
            trainer, model: the run.
            saving: what keeps the best; None if nothing is saved.
        """
        started = time.perf_counter()
        record = self.record(trainer, model)
        seconds = time.perf_counter() - started
        if CHOSEN_BY in record:
            may_be_best = saving is not None and model.images_seen > 0
            is_best = may_be_best and saving.keep_if_best(trainer, model, record)
            log.info(
                "%s images: Frechet distance %.2f of %d samples%s (%.1f s)",
                f"{model.images_seen:,}", record[CHOSEN_BY], record["n"],
                ", kept as the best" if is_best else "", seconds,
            )  # fmt: skip
        run = Run(trainer.default_root_dir)
        run.record(model.images_seen, record)
        run.note_validation(model.images_seen, time.monotonic() - self.started)
        metrics = named_metrics(record)
        metrics["validation/seconds"] = seconds
        if "health" in record:
            say(record["health"])
            found = numbers(record["health"])
            metrics |= {f"health/{name}": value for name, value in found.items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, model.images_seen)

    def record(self, trainer, model) -> dict[str, Any]:
        """Evaluate the model and draw, at this moment, and return the record."""
        data, run = trainer.datamodule, Run(trainer.default_root_dir)
        with model.evaluating():
            model_metrics.prepare_sampling(model, data)
            record = model_metrics.evaluate(model, data, "validation", self.limit)
            if self.quality is not None:
                record |= self.quality.measure(model, data)
            if self.pictures is not None:
                stage = f"{model.images_seen:09d}"
                self.pictures.draw(model, data, run, trainer.loggers, stage, record)
        found = self.health.measure(model, data, record) if self.health is not None else {}
        return record | ({"health": found} if found else {})


def named_metrics(record: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of a record by the names of their curves."""
    return {f"validation/{name}": value for name, value in numbers(record).items()}
