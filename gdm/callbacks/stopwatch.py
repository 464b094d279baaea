"""What a step, a look at the model and a checkpoint cost, measured on a throw-away copy."""

import time

from pytorch_lightning import Callback

from gdm.callbacks.validation import Validation
from gdm.checkpoints import LAST
from gdm.runs import Run

WARM_UP_STEPS = 5  # the first steps allocate, and tune what the later ones use


class Stopwatch(Callback):
    """Trains for a while, then looks at the model and saves it once, and stops.

    Args:
        seconds: how long to train.
        validation: what looks at the model; None if nothing does.
    """

    def __init__(self, seconds: float, validation: Validation | None) -> None:
        self.seconds = seconds
        self.validation = validation
        self.step_seconds = self.look_seconds = self.save_seconds = 0.0

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if batch_idx + 1 <= WARM_UP_STEPS:
            self._started = time.perf_counter()
            return
        float(outputs["loss"])  # wait for the device
        elapsed = time.perf_counter() - self._started
        self.step_seconds = elapsed / (batch_idx + 1 - WARM_UP_STEPS)
        if elapsed < self.seconds:
            return
        if self.validation is not None:
            self.validation.look(trainer, model)  # the first one imports and allocates
            self.look_seconds = _seconds(lambda: self.validation.look(trainer, model))
        path = Run(trainer.default_root_dir).checkpoints / LAST
        self.save_seconds = _seconds(lambda: trainer.save_checkpoint(path, weights_only=False))
        trainer.should_stop = True


def _seconds(act) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
