"""The metrics of training itself, and the end of a run that has none any more."""

import time

import torch
from pytorch_lightning import Callback
from torch import Tensor

from gdm.errors import UserError
from gdm.recipes.ranges import Count


class Diverged(UserError):
    """A metric of training has become NaN or infinite."""


class TrainingMetrics(Callback):
    """Averages what `training_step` returns and writes it, with the learning rate and speed.

    The metrics stay on the device until they are written, so that no step waits for them; the
    same moment finds out whether one of them is no longer finite.

    Args:
        every_batches: number of batches that are averaged.

    Raises:
        Diverged: naming the term and the step.
    """

    def __init__(self, every_batches: Count) -> None:
        self.every_batches = every_batches
        self.latest: dict[str, float] = {}  # what the progress bar shows
        self._outputs: list[dict[str, Tensor]] = []
        self._since = 0.0

    def start(self) -> None:
        """Begin with none."""
        self._outputs.clear()
        self._since = time.perf_counter()

    def add(self, outputs: dict[str, Tensor]) -> None:
        """Take in what a step has returned."""
        self._outputs.append({term: value.detach() for term, value in outputs.items()})

    def is_due(self) -> bool:
        """Whether as many have gathered as are averaged."""
        return len(self._outputs) >= self.every_batches

    def flush(self, trainer, model) -> None:
        """Write what has gathered since the last time."""
        if not self._outputs:
            return
        terms = list(self._outputs[0])
        values = torch.stack([torch.stack([o[term] for term in terms]) for o in self._outputs])
        values = values.cpu().double()  # (steps, terms)
        self._outputs.clear()
        self._refuse_nonfinite(values, terms, model)
        now = time.perf_counter()
        speed = len(values) * model.batch_size / max(now - self._since, 1e-9)
        self._since = now
        self.latest = dict(zip(terms, values.mean(0).tolist(), strict=True))
        metrics = {f"train/{term}": value for term, value in self.latest.items()}
        metrics["train/images_per_second"] = speed
        for number, optimizer in enumerate(trainer.optimizers):
            suffix = f"_{number}" if number else ""
            metrics[f"train/learning_rate{suffix}"] = optimizer.param_groups[0]["lr"]
        for logger in trainer.loggers:
            logger.log_metrics(metrics, model.images_seen)

    def pause(self) -> None:
        """Leave the time since the last flush out of the speed."""
        self._since = time.perf_counter()

    def _refuse_nonfinite(self, values: Tensor, terms: list[str], model) -> None:
        bad_steps, bad_terms = torch.where(~torch.isfinite(values))
        if len(bad_steps) == 0:
            return
        first = int(bad_steps.min())
        names = [terms[i] for i in bad_terms[bad_steps == first].tolist()]
        # the loss is not finite because one of its terms is not
        named = [name for name in names if name != "loss"] or names
        step = model.batches_seen - len(values) + first + 1
        worst = float(values[first, terms.index(named[0])])
        raise Diverged(f"training diverged: {' and '.join(named)} became {worst} at step {step}")


def refuse_nonfinite_weights(model) -> None:
    """Make sure that a model is worth evaluating and saving.

    Raises:
        Diverged: if a weight is NaN or infinite.
    """
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise Diverged(
                f"training diverged: the weights {name} are not finite after step "
                f"{model.batches_seen}"
            )
