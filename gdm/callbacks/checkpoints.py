"""When a run is saved, and how it stops when it is asked to."""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pytorch_lightning import Callback

from gdm import checkpoints
from gdm.callbacks.budget import is_due
from gdm.callbacks.metrics import settle
from gdm.ranges import Count, Positive
from gdm.runs import Run

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The run was asked to stop, and has been saved as far as it had come."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class Checkpoints(Callback):
    """Saves the run at even distances, after some minutes, at its end, and on SIGTERM or Ctrl-C.

    While it trains, a signal is remembered until the step is done; a second one, or one at any
    other time, stops at once.

    Args:
        times: how often in a run; the last time is its end.
        every_minutes: time after which it is saved in any case.
    """

    def __init__(self, times: Count, every_minutes: Positive) -> None:
        self.times = times
        self.every_minutes = every_minutes
        self.failure: OSError | None = None  # why the last save failed, if it did
        self._saved_at = 0.0
        self._signal: int | None = None
        self._training = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and Ctrl-C for a while."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def setup(self, trainer, model, stage: str) -> None:
        self._training, self._signal = True, None

    def on_train_start(self, trainer, model) -> None:
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        minutes = (time.monotonic() - self._saved_at) / 60
        due = is_due(model.batches_seen, model.num_batches, self.times)
        if due or minutes >= self.every_minutes or self._signal is not None:
            self.save(trainer, model)
        if self._signal is not None:
            raise Interrupted(self._signal)

    def on_train_end(self, trainer, model) -> None:
        self._training = False

    def save(self, trainer, model) -> None:
        """Save the run; a disk that is full costs this checkpoint and no earlier one."""
        settle(trainer, model)
        path = Run(trainer.default_root_dir).checkpoints / checkpoints.LAST
        try:
            trainer.save_checkpoint(path, weights_only=False)  # the optimizer's state too
            self.failure = None
        except OSError as error:
            self.failure = error
            log.error("could not save %s (%s); the checkpoints before it are as they were", path,
                      error)  # fmt: skip
        self._saved_at = time.monotonic()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._training or self._signal is not None:
            raise Interrupted(number)
        self._signal = number
        log.info("%s: saving after this step", signal.Signals(number).name)
