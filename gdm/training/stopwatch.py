"""What a step, a validation at the model and a checkpoint cost, measured on a throw-away copy."""

import time
from itertools import pairwise
from statistics import median

from pytorch_lightning import Callback

from gdm.runs.checkpoints import LAST
from gdm.runs.run import Run
from gdm.training.validation import Validation

LONG_VALIDATION_SECONDS = (
    3.0  # seconds of a validation beside which importing and allocating do not count
)
WARM_UP_STEPS = 5  # the first steps allocate, and tune what the later ones use


class Stopwatch(Callback):
    """Trains for a while, then validates the model and saves it once, and stops.

    A model with phases is placed into the middle of each, one after another, and trained for its
    part of the time.

    Args:
        seconds: how long to train.
        validation: what validates the model; None if nothing does.

    Attributes:
        step_seconds: what a step costs in each phase.
        validation_seconds, save_seconds: what the others cost in the last phase.
    """

    def __init__(self, seconds: float, validation: Validation | None) -> None:
        self.seconds = seconds
        self.validation = validation
        self.step_seconds: list[float] = []
        self.validation_seconds = self.save_seconds = 0.0
        self._moments: list[float] = []

    def on_train_start(self, trainer, model) -> None:
        self._middles = middles(list(model.phases(model.num_batches).values()), model.num_batches)
        if len(self._middles) > 1:
            self._enter_phase(model)

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        float(next(iter(outputs.values())))  # wait for the device
        self._moments.append(time.perf_counter())
        moments = self._moments[WARM_UP_STEPS:]
        if len(moments) < 2 or moments[-1] - moments[0] < self.seconds / len(self._middles):
            return
        self.step_seconds.append(_seconds_a_step(moments, model.batches_in_cycle))
        if len(self.step_seconds) < len(self._middles):
            self._enter_phase(model)
            return
        self._measure_others(trainer, model)
        trainer.should_stop = True

    def _enter_phase(self, model) -> None:
        self._moments.clear()
        middle = self._middles[len(self.step_seconds)]
        model.set_progress(model.seed, model.batch_size, model.num_batches, middle)

    def _measure_others(self, trainer, model) -> None:
        if self.validation is not None:
            self.validation_seconds = _seconds(lambda: self.validation.record(trainer, model))
            if (
                self.validation_seconds < LONG_VALIDATION_SECONDS
            ):  # the first one imports and allocates
                self.validation_seconds = _seconds(lambda: self.validation.record(trainer, model))
        path = Run(trainer.default_root_dir).checkpoints / LAST
        self.save_seconds = _seconds(lambda: trainer.save_checkpoint(path, weights_only=False))


def middles(begins: list[int], num_batches: int) -> list[int]:
    """Return the batch in the middle of each phase, given where these begin."""
    return [(begin + end) // 2 for begin, end in pairwise([*begins, num_batches])]


def _seconds_a_step(moments: list[float], cycle: int) -> float:
    """Return the median over whole cycles, which leaves out what else the machine does for a
    moment; where they are too long for two of them, the mean."""
    cycles = [after - before for before, after in pairwise(moments[::cycle])]
    if len(cycles) < 2:
        return (moments[-1] - moments[0]) / (len(moments) - 1)
    return median(cycles) / cycle


def _seconds(act) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
