"""MLflow, in a file of the run."""

import logging
import os
import sqlite3
import time
from contextlib import closing
from functools import cached_property
from typing import Any

from torch import Tensor

from gdm.pictures import grids
from gdm.training.loggers import RunLogger

MAX_PARAMS = 100  # that MLflow takes at once


class MLflow(RunLogger):
    """Writes into `mlflow.db`, an SQLite file, and pictures into `artifacts` beside it.

    Args:
        folder, purge_step: as `RunLogger` takes them.
        experiment: what the run belongs to.
    """

    name = "mlflow"
    title = "MLflow"
    libraries = ("mlflow", "sqlalchemy", "alembic")

    def __init__(self, folder: str, purge_step: int | None, experiment: str = "gdm") -> None:
        super().__init__(folder, purge_step)
        self.experiment_name = experiment
        self.database = self.folder.resolve() / "mlflow.db"
        self.artifacts = self.database.with_name("artifacts").as_uri()

    @cached_property
    def client(self) -> Any:
        """What writes into the file."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        for library in ("mlflow", "alembic"):  # they tell of every table that they make
            logging.getLogger(library).setLevel(logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=f"sqlite:///{self.database}")

    @cached_property
    def run_id(self) -> str:
        """The run in the file, the only one there; one that goes on has been there before."""
        is_there = self.database.exists()
        experiment = self.client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            made = self.client.create_experiment(self.experiment_name, self.artifacts)
            experiment = self.client.get_experiment(made)
        runs = self.client.search_runs([experiment.experiment_id])
        if not is_there or not runs:
            name = self.folder.resolve().parent.name
            return self.client.create_run(experiment.experiment_id, run_name=name).info.run_id
        run_id = runs[0].info.run_id
        self._go_on(run_id)
        self.client.update_run(run_id, status="RUNNING")
        return run_id

    def write_settings(self, settings: dict[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in settings.items()]
        for first in range(0, len(params), MAX_PARAMS):
            self.client.log_batch(self.run_id, params=params[first : first + MAX_PARAMS])

    def write_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        points = [Metric(name, value, now, step or 0) for name, value in metrics.items()]
        self.client.log_batch(self.run_id, metrics=points)

    def write_picture(self, name: str, picture: Tensor, step: int) -> None:
        # where MLflow looks for them: what it would write itself goes where the run was first
        folder = self.folder / "artifacts" / self.run_id / "artifacts" / name
        grids.save(picture, folder / f"{step:09d}.png")

    def write_end(self, succeeded: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if succeeded else "FAILED")

    def _go_on(self, run_id: str) -> None:
        """Remove the points that are void, and the settings, which may have changed; the pictures
        lie where the run lies now. MLflow itself can do none of these."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("DELETE FROM metrics WHERE step >= ?", (self.purge_step or 0,))
            connection.execute("DELETE FROM params")
            connection.execute("UPDATE experiments SET artifact_location = ?", (self.artifacts,))
            place = f"{self.artifacts}/{run_id}/artifacts"
            connection.execute("UPDATE runs SET artifact_uri = ?", (place,))
