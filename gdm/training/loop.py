"""What happens around each step, in one place and in one order."""

from pytorch_lightning import Callback

from gdm.errors import UserError
from gdm.runs.run import Run
from gdm.training.metrics import TrainingMetrics, refuse_nonfinite_weights
from gdm.training.progress import ProgressBar
from gdm.training.pruning import Pruned, Pruning
from gdm.training.saving import Checkpoints
from gdm.training.signals import Interrupted, Signals
from gdm.training.validation import Validation

# What a recipe calls the parts below `callbacks`; any other name there is a user's own callback.
KINDS = {
    "metrics": TrainingMetrics,
    "validation": Validation,
    "checkpoints": Checkpoints,
    "progress": ProgressBar,
}


class Loop(Callback):
    """Calls metrics, validation, saving, progress and signals, after each step from top to bottom.

    It is one callback, since Lightning visits each at half a dozen hooks per step, which costs
    more than what most parts do. The parts are callbacks by type, so that a recipe has them beside
    a user's own, but Lightning knows only this one.

    Args:
        signals: what the run is asked to stop by.
        metrics, validation, saving, progress: None for a part that is switched off.
        pruning: what a run of a search is given up by; None for nothing.
    """

    def __init__(
        self,
        signals: Signals,
        metrics: TrainingMetrics | None = None,
        validation: Validation | None = None,
        saving: Checkpoints | None = None,
        progress: ProgressBar | None = None,
        pruning: Pruning | None = None,
    ) -> None:
        self.metrics = metrics
        self.validation = validation
        self.saving = saving
        self.progress = progress
        self.pruning = pruning
        self.signals = signals

    def on_train_start(self, trainer, model) -> None:
        if self.metrics is not None:
            self.metrics.start()
        if self.validation is not None:
            self.validation.announce(model)
            if model.batches_seen == 0:
                self.validate(trainer, model)
        if self.saving is not None:
            self.saving.start()
        if self.progress is not None:
            self.progress.start(model)
        reason = self._reason_to_prune(trainer, model)
        if reason is not None:  # killed after it was saved
            raise Pruned(reason)
        self.signals.start()

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if self.metrics is not None:
            self.metrics.add(outputs)
            if self.metrics.is_due():
                self.metrics.flush(trainer, model)
        reason = None
        if self.validation is not None and self.validation.is_due(model):
            self.validate(trainer, model)
            reason = self._reason_to_prune(trainer, model)
        is_asked_to_stop = self.signals.received is not None
        if is_asked_to_stop or reason or (self.saving is not None and self.saving.is_due(model)):
            self.save(trainer, model)
        if self.progress is not None and self.progress.is_due(model):
            self.progress.show(model, self.metrics.latest if self.metrics is not None else {})
        if is_asked_to_stop:
            raise Interrupted(self.signals.received)
        if reason is not None:
            raise Pruned(reason)

    def on_train_end(self, trainer, model) -> None:
        self.signals.stop()
        if self.signals.received is not None:  # too late for a step to see it
            raise Interrupted(self.signals.received)

    def on_exception(self, trainer, model, exception: BaseException) -> None:
        if self.progress is not None:
            self.progress.stop()
        self.signals.stop()

    def teardown(self, trainer, model, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()

    def validate(self, trainer, model) -> None:
        """Evaluate the model and draw, and keep it if it is the best so far."""
        self._refuse_nonfinite(trainer, model)
        self.validation.evaluate(trainer, model, self.saving)
        if self.metrics is not None:
            self.metrics.pause()

    def save(self, trainer, model) -> None:
        """Save the run, unless saving is switched off."""
        if self.saving is not None:
            self._refuse_nonfinite(trainer, model)
            self.saving.save(trainer, model)

    def _reason_to_prune(self, trainer, model) -> str | None:
        if self.pruning is None or model.batches_seen == model.num_batches:
            return None
        return self.pruning.reason(Run(trainer.default_root_dir), model.images_seen)

    def _refuse_nonfinite(self, trainer, model) -> None:
        """Write the metrics that have gathered, and let no broken model be evaluated or saved."""
        if self.metrics is not None:
            self.metrics.flush(trainer, model)
        refuse_nonfinite_weights(model)


def callbacks_in_order(
    callbacks: dict[str, Callback | None], signals: Signals, pruning: Pruning | None = None
) -> list[Callback]:
    """Return what Lightning calls: a user's own callbacks, then the loop.

    So what is validated and saved is what they have left, their state of this step included, and a
    signal that comes meanwhile is seen.

    Args:
        callbacks: what the recipe names, by its names.
        signals: what the run is asked to stop by.
        pruning: what a run of a search is given up by; None for nothing.
    """
    own = [each for name, each in callbacks.items() if name not in KINDS and each is not None]
    loop = Loop(
        signals,
        metrics=callbacks.get("metrics"),
        validation=callbacks.get("validation"),
        saving=callbacks.get("checkpoints"),
        progress=callbacks.get("progress"),
        pruning=pruning,
    )
    return [*own, loop]


def refuse_misplaced(callbacks: dict[str, Callback | None]) -> None:
    """Refuse parts that the loop would not find, and other callbacks in their places.

    Raises:
        UserError: naming the key and what belongs there.
    """
    for name, callback in callbacks.items():
        if callback is None:
            continue
        kind = KINDS.get(name)
        if kind is not None and not isinstance(callback, kind):
            raise UserError(
                f"callbacks.{name}: is a {type(callback).__name__}; must be a {kind.__name__}, or "
                "null; give a callback of your own another name"
            )
        for place, part in KINDS.items():
            if kind is None and isinstance(callback, part):
                raise UserError(
                    f"callbacks.{name}: is a {type(callback).__name__}; its name must be "
                    f"callbacks.{place}"
                )
