"""When a run is saved."""

import logging
import time
from typing import Any

from pytorch_lightning import Callback

from gdm.evaluation import model_metrics
from gdm.evaluation.metrics import at_least_as_good
from gdm.recipes.ranges import Count, Positive
from gdm.runs import checkpoints
from gdm.runs.run import Run
from gdm.training.budget import is_due

log = logging.getLogger(__name__)

CHOSEN_BY = "frechet_distance"  # the checkpoint where this metric is best is kept
COMPARABLE = ("n", "num_reference", "extractor_checksum")  # other metrics do not compare


class Checkpoints(Callback):
    """Saves the run at even distances, after some minutes, and at its end.

    Args:
        times: how often in a run; the last time is its end.
        every_minutes: time after which it is saved in any case.
    """

    def __init__(self, times: Count, every_minutes: Positive) -> None:
        self.times = times
        self.every_minutes = every_minutes
        self.failure: OSError | None = None  # why the last save failed, if it did
        self._saved_at = 0.0

    def start(self) -> None:
        """Begin to count the minutes."""
        self._saved_at = time.monotonic()

    def is_due(self, model) -> bool:
        """Whether to save after this step."""
        minutes = (time.monotonic() - self._saved_at) / 60
        due = is_due(model.batches_seen, model.num_batches, self.times)
        return due or minutes >= self.every_minutes

    def save(self, trainer, model) -> None:
        """Save the run; a disk that is full costs this checkpoint and no earlier one."""
        if model.batches_seen == model.num_batches:  # what sampling needs is kept with the weights
            with model.evaluating():
                model_metrics.prepare_sampling(model, trainer.datamodule)
        self.failure = self._write(trainer, checkpoints.LAST)
        self._saved_at = time.monotonic()

    def keep_if_best(self, trainer, model, record: dict[str, Any]) -> bool:
        """Keep the run as it is now if no kept one is as good, and say whether it has been
        kept.

        Args:
            trainer, model: the run.
            record: what was found out about the model as it is.
        """
        run = Run(trainer.default_root_dir)
        best = run.best()
        comparable = isinstance((best or {}).get(CHOSEN_BY), float) and all(
            best.get(fact) == record[fact] for fact in COMPARABLE
        )
        if comparable and at_least_as_good(CHOSEN_BY, best[CHOSEN_BY], record[CHOSEN_BY]):
            return False
        if best is not None and not comparable:
            log.warning("the best checkpoint was evaluated otherwise than now; it is chosen anew")
        if self._write(trainer, checkpoints.BEST) is not None:
            return False
        facts = {fact: record[fact] for fact in (CHOSEN_BY, *COMPARABLE)}
        run.keep(lambda: run.describe_best({"images": model.images_seen} | facts))
        return True

    def _write(self, trainer, name: str) -> OSError | None:
        path = Run(trainer.default_root_dir).checkpoints / name
        try:
            trainer.save_checkpoint(path, weights_only=False)  # the optimizer's state too
        except OSError as error:
            log.error("could not save %s (%s); the checkpoints before it are as they were", path,
                      error)  # fmt: skip
            return error
        return None
