"""TensorBoard: curves, pictures, and a table of what was varied."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from gdm.training.loggers import RunLogger


class TensorBoard(RunLogger):
    """Writes event files; what a user varies goes to the hparams tab."""

    name = "tensorboard"
    title = "TensorBoard"

    @cached_property
    def writer(self) -> SummaryWriter:
        """What writes the events."""
        return SummaryWriter(str(self.folder), purge_step=self.purge_step)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Wait for the result: the hparams tab wants the names of its curves with them."""

    def write_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def write_picture(self, name: str, picture: Tensor, step: int) -> None:
        self.writer.add_image(name, picture, step)

    def write_result(self, settings: dict[str, Any], metrics: Iterable[str]) -> None:
        for summary in hparams(settings, dict.fromkeys(metrics, 0.0)):
            self.writer._get_file_writer().add_summary(summary)

    def flush(self) -> None:
        self.writer.flush()

    def write_end(self, succeeded: bool) -> None:
        self.writer.close()
