"""Curves as CSV, for a spreadsheet or pandas."""

import csv
import io
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from gdm.files import remove_leftovers, write_text
from gdm.training.loggers import RunLogger

COLUMNS = ("images", "metric", "value")


class CSV(RunLogger):
    """Writes `metrics.csv`, one line per point of a curve, and `hyperparameters.csv`, one line in
    all; the pictures lie in the run's `samples` already.

    Points are lines of their own since curves have points at different times, and others may
    begin later: `pandas.read_csv(file).pivot(index="images", columns="metric", values="value")`.
    """

    name = "csv"
    title = "CSV"

    @cached_property
    def path(self) -> Path:
        """The file of points, once those that are void have left it."""
        path = self.folder / "metrics.csv"
        remove_leftovers(path)
        write_text(path, _lines([COLUMNS, *self._valid(path)]))
        return path

    def write_settings(self, settings: dict[str, Any]) -> None:
        write_text(self.folder / "hyperparameters.csv", _lines([settings, settings.values()]))

    def write_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        lines = _lines((step, name, value) for name, value in metrics.items())
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(lines)

    def write_picture(self, name: str, picture: Tensor, step: int) -> None:
        """Leave it to `samples`."""

    def _valid(self, path: Path) -> list[list[str]]:
        """Return the points that a resumed run will not write again; what is no whole line, as a
        crash may leave, is none."""
        if self.purge_step is None or not path.exists():
            return []
        text = path.read_text(encoding="utf-8", errors="replace")
        rows = csv.reader(text[: text.rfind("\n") + 1].splitlines())
        points = [row for row in rows if len(row) == len(COLUMNS) and row[0].isdigit()]
        return [point for point in points if int(point[0]) < self.purge_step]


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
