"""TensorBoard, on an axis of images seen, in a run's own directory."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard.summary import hparams

from gdm.recipes.tree import PARTIAL, TARGET, flat, nodes

log = logging.getLogger(__name__)

VARIED = ("seed", "budget", "model", "dataset")  # the rest leaves the weights alone
# What the data settle, and what no column can show.
LEFT_OUT = (TARGET, PARTIAL, "channels", "resolution", "native_resolution", "num_classes")
LARGEST = 2**63  # of a whole number there


class TensorBoard(TensorBoardLogger):
    """Writes curves and pictures; a disk that fills stops the curves, not the training.

    Args:
        folder: where the event files go.
        purge_step: what was written from this number of images on is void, since a resumed run
            writes it again; None for a new run.
    """

    def __init__(self, folder: str | Path, purge_step: int | None) -> None:
        super().__init__(
            folder, name="", version="", default_hp_metric=False, purge_step=purge_step
        )
        self._failed = False

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._write(lambda: super(TensorBoard, self).log_metrics(metrics, step))

    def log_picture(self, name: str, picture: Tensor, step: int) -> None:
        """Write a picture of 8-bit values, (C, H, W)."""
        self._write(lambda: self.experiment.add_image(name, picture, step))

    def log_result(self, recipe: dict[str, Any], metrics: Iterable[str]) -> None:
        """Write what a user varies, for the hparams tab.

        Args:
            recipe: the whole recipe.
            metrics: the names of curves, whose last values stand beside it.
        """
        self._write(lambda: self._log_hparams(varied(recipe), dict.fromkeys(metrics, 0.0)))

    def save(self) -> None:
        self._write(super().save)

    def finalize(self, status: str) -> None:
        self._write(lambda: super(TensorBoard, self).finalize(status))

    def _log_hparams(self, settings: dict[str, Any], metrics: dict[str, float]) -> None:
        for summary in hparams(settings, metrics):
            self.experiment._get_file_writer().add_summary(summary)  # it may be closed

    def _write(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except (OSError, ValueError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(reason, OSError):  # Lightning raises a ValueError in its place
                raise
            self._failed = True
            log.warning("TensorBoard stops here (%s); training goes on", reason)


def varied(recipe: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """Return what tells runs apart by its full keys: scalars of the model, its data and length,
    and what the model is made of by its classes' names."""
    kept = {key: recipe[key] for key in VARIED if key in recipe}
    classes = {key: node[TARGET].rpartition(".")[2] for key, node in nodes(kept)}
    scalars = {
        key: str(value) if isinstance(value, int) and abs(value) >= LARGEST else value
        for key, value in flat(kept).items()
        if key.rpartition(".")[2] not in LEFT_OUT and value != "None" and "/" not in str(value)
    }
    return {key: classes[key] for key in classes if key not in ("budget", "dataset")} | scalars
