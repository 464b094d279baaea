"""A look at the model during training: figures on validation data and pictures."""

import time

from pytorch_lightning import Callback

from gdm import evaluation
from gdm.callbacks.budget import is_due
from gdm.callbacks.metrics import TrainingMetrics, settle
from gdm.callbacks.pictures import Pictures
from gdm.callbacks.together import part_of
from gdm.ranges import Count
from gdm.runs import Run


class Validation(Callback):
    """Evaluates the model and draws pictures, before the first step and at even distances.

    Args:
        times: how often in a run, besides the first.
        limit: number of validation images; None for all.
        pictures: what is drawn; None for nothing.
    """

    def __init__(self, times: Count, limit: Count | None, pictures: Pictures | None) -> None:
        self.times = times
        self.limit = limit
        self.pictures = pictures

    def on_train_start(self, trainer, model) -> None:
        if model.batches_seen == 0:
            self.look(trainer, model)

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if is_due(model.batches_seen, model.num_batches, self.times):
            self.look(trainer, model)

    def look(self, trainer, model) -> None:
        """Evaluate the model and draw, at this moment."""
        settle(trainer, model)
        started = time.perf_counter()
        data, run = trainer.datamodule, Run(trainer.default_root_dir)
        with model.evaluating():
            evaluation.prepare_sampling(model, data)
            record = evaluation.evaluate(model, data, "validation", self.limit)
            if self.pictures is not None:
                self.pictures.draw(model, data, run, trainer.loggers, f"{model.images_seen:09d}")
        seconds = time.perf_counter() - started
        run.record(model.images_seen, record)
        figures = {f"validation/{name}": v for name, v in evaluation.numbers(record).items()}
        figures["validation/seconds"] = seconds
        for logger in trainer.loggers:
            logger.log_metrics(figures, model.images_seen)
        metrics = part_of(trainer, TrainingMetrics)
        if metrics is not None:
            metrics.pause()
