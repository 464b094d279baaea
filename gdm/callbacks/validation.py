"""A look at the model during training: figures on validation data and pictures."""

import logging
import time
from typing import Any

from pytorch_lightning import Callback

from gdm import evaluation
from gdm.callbacks.budget import is_due
from gdm.callbacks.checkpoints import Checkpoints
from gdm.callbacks.metrics import TrainingMetrics, settle
from gdm.callbacks.pictures import Pictures
from gdm.callbacks.quality import Quality
from gdm.callbacks.together import part_of
from gdm.ranges import Count
from gdm.runs import Run

log = logging.getLogger(__name__)

CHOSEN_BY = "frechet_distance"  # the checkpoint where it is lowest is kept as the best
COMPARABLE = ("n", "num_images", "extractor_checksum")  # figures of other records do not compare


class Validation(Callback):
    """Evaluates the model and draws pictures, before the first step and at even distances.

    Args:
        times: how often in a run, besides the first.
        limit: number of validation images for the model's own figures; None for all.
        quality: what compares samples with the validation images, and so finds the best
            checkpoint; None for neither.
        pictures: what is drawn; None for nothing.
    """

    def __init__(
        self, times: Count, limit: Count | None, quality: Quality | None, pictures: Pictures | None
    ) -> None:
        self.times = times
        self.limit = limit
        self.quality = quality
        self.pictures = pictures

    def on_train_start(self, trainer, model) -> None:
        interval = max(1, model.num_batches // self.times) * model.batch_size
        log.info("the model is looked at about every %s images", f"{interval:,}")
        if model.batches_seen == 0:
            self.look(trainer, model)

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if is_due(model.batches_seen, model.num_batches, self.times):
            self.look(trainer, model)

    def look(self, trainer, model) -> None:
        """Evaluate the model and draw, at this moment, and keep it if it is the best so far."""
        settle(trainer, model)
        started = time.perf_counter()
        data, run = trainer.datamodule, Run(trainer.default_root_dir)
        with model.evaluating():
            evaluation.prepare_sampling(model, data)
            record = evaluation.evaluate(model, data, "validation", self.limit)
            if self.quality is not None:
                record |= self.quality.measure(model, data)
            if self.pictures is not None:
                stage = f"{model.images_seen:09d}"
                self.pictures.draw(model, data, run, trainer.loggers, stage, record)
        seconds = time.perf_counter() - started
        if CHOSEN_BY in record:
            self._compare_with_earlier(trainer, model, record, run, seconds)
        run.record(model.images_seen, record)
        figures = {f"validation/{name}": v for name, v in evaluation.numbers(record).items()}
        figures["validation/seconds"] = seconds
        for logger in trainer.loggers:
            logger.log_metrics(figures, model.images_seen)
        metrics = part_of(trainer, TrainingMetrics)
        if metrics is not None:
            metrics.pause()

    def _compare_with_earlier(
        self, trainer, model, record: dict[str, Any], run: Run, seconds: float
    ) -> None:
        earlier = [
            each[CHOSEN_BY]
            for each in run.records()
            if each["images"] > 0
            and each["split"] == "validation"
            and all(each.get(fact) == record[fact] for fact in COMPARABLE)
        ]
        is_best = model.images_seen > 0 and record[CHOSEN_BY] < min(earlier, default=float("inf"))
        log.info(
            "%s images: Frechet distance %.2f of %d samples%s (%.1f s)",
            f"{model.images_seen:,}", record[CHOSEN_BY], record["n"],
            ", the best so far" if is_best else "", seconds,
        )  # fmt: skip
        saving = part_of(trainer, Checkpoints)
        if is_best and saving is not None:
            saving.save_best(trainer, model)
