"""TensorBoard, on an axis of images seen, in a run's own directory."""

import logging
from collections.abc import Callable
from pathlib import Path

from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard.summary import hparams

log = logging.getLogger(__name__)


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

    def log_result(self, settings: dict[str, object], final: dict[str, float], step: int) -> None:
        """Write the settings with the final figures, for the hparams tab."""
        self.log_metrics(final, step)
        self._write(lambda: self._log_hparams(settings, final))

    def save(self) -> None:
        self._write(super().save)

    def finalize(self, status: str) -> None:
        self._write(lambda: super(TensorBoard, self).finalize(status))

    def _log_hparams(self, settings: dict[str, object], final: dict[str, float]) -> None:
        for summary in hparams(settings, final):
            self.experiment._get_file_writer().add_summary(summary)  # it may be closed

    def _write(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except OSError as error:
            self._failed = True
            log.warning("TensorBoard stops here (%s); training goes on", error)
