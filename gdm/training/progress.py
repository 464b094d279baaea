"""One line that says how far a run is, how fast, and how well."""

import logging
import sys
import time
from contextlib import suppress

from pytorch_lightning import Callback
from rich.progress import BarColumn, Progress, TextColumn

from gdm.recipes.ranges import Positive

log = logging.getLogger(__name__)

REFRESHES_PER_SECOND = 4


class ProgressBar(Callback):
    """Shows images seen, images/s, the time left, and the metrics that the model names.

    On a terminal it is a bar; elsewhere a line in the log from time to time.

    Args:
        seconds: time between two lines where there is no terminal.
    """

    def __init__(self, seconds: Positive) -> None:
        self.seconds = seconds
        self._bar: Progress | None = None

    def start(self, model) -> None:
        """Begin to count time and images."""
        self._started = time.monotonic()
        self._first_batch = model.batches_seen
        self._interval = self.seconds
        if sys.stderr.isatty():
            self._interval = 1 / REFRESHES_PER_SECOND
            self._bar = Progress(BarColumn(), TextColumn("{task.description}"), auto_refresh=False)
            self._bar.start()
            self._task = self._bar.add_task("", total=model.num_batches)
        self._next = self._started + self._interval

    def is_due(self, model) -> bool:
        """Whether the line is old, or the last."""
        return time.monotonic() >= self._next or model.batches_seen >= model.num_batches

    def show(self, model, latest: dict[str, float]) -> None:
        """Write the line.

        Args:
            model: the model.
            latest: the metrics of training, as of late.
        """
        now = time.monotonic()
        self._next = now + self._interval
        line = self._line(model, latest, now - self._started)
        if self._bar is None:
            log.info(line)
            return
        self._bar.update(self._task, completed=model.batches_seen, description=line)
        with suppress(OSError):  # the terminal is gone; a run that is asked to stop saves
            self._bar.refresh()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()
            self._bar = None

    def _line(self, model, latest: dict[str, float], seconds: float) -> str:
        batches_per_second = (model.batches_seen - self._first_batch) / max(seconds, 1e-9)
        left = (model.num_batches - model.batches_seen) / max(batches_per_second, 1e-9)
        parts = [
            f"{model.images_seen:,} of {model.num_batches * model.batch_size:,} images",
            f"{batches_per_second * model.batch_size:,.0f} images/s",
            f"{int(left) // 60}:{int(left) % 60:02d} left",
        ]
        parts += [
            f"{name} {latest[name]:.4g}" for name in model.progress_metrics if name in latest
        ]
        return ", ".join(parts)
