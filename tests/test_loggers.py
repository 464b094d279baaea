"""What a run tells its loggers: the same to each, once, and whatever becomes of them."""

import ast
import csv
import shutil
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import BRIEF, ROOT, SMALL, UNDRAWN, composed, resumed, trained
from PIL import Image
from pytorch_lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gdm.cli import console
from gdm.errors import UserError
from gdm.runs import catalogue
from gdm.runs.run import Run
from gdm.training.csv_logger import CSV
from gdm.training.loggers import RunLogger
from gdm.training.mlflow_logger import MLflow
from gdm.training.training import Training
from gdm.training.wandb_logger import WandB

BOTH = (*SMALL, *BRIEF, UNDRAWN, "callbacks.validation.quality=null", "logger=[tensorboard,csv]")
BARE = (*SMALL, *BRIEF[:2], "budget.images=150", "callbacks=null")
SETTINGS = {"seed": 3, "model": {"_target_": "mine.Model", "beta": 0.123456789}}
PICTURE = (torch.arange(3 * 8 * 8) % 2).to(torch.uint8).view(3, 8, 8)  # nearly black


class KilledError(BaseException):
    """Stands for kill -9."""


class KillAfter(Callback):
    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if model.batches_seen == 9:
            raise KilledError


class Broken(CSV):
    """Raises at each call."""

    calls = 0

    def fail(self, *_):
        Broken.calls += 1
        raise RuntimeError("the library\nis broken")

    write_settings = write_metrics = write_picture = write_result = flush = write_end = fail


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Run:
    """A run with TensorBoard and CSV."""
    return trained(composed(*BOTH), tmp_path_factory.mktemp("both"))


def points(run: Run) -> list[list[str]]:
    """Return the points in a run's CSV, but for times, which differ from run to run."""
    rows = list(csv.reader((run.path / "csv" / "metrics.csv").open()))
    assert rows[0] == ["images", "metric", "value"]
    return [row for row in rows[1:] if "second" not in row[1]]


def without_times(run: Run) -> str:
    text = (run.path / "csv" / "metrics.csv").read_text()
    return "".join(line for line in text.splitlines(keepends=True) if "second" not in line)


# A run ------------------------------------------------------------------------------------------


def test_the_same_values_are_in_each(both):
    events = EventAccumulator(str(both.tensorboard)).Reload()
    shown = {
        (point.step, tag, np.float32(point.value))
        for tag in events.Tags()["scalars"]
        for point in events.Scalars(tag)
        if "second" not in tag
    }
    written = points(both)
    assert shown == {(int(step), name, np.float32(value)) for step, name, value in written}
    assert {name for _, name, _ in written} >= {"train/loss", "validation/elbo"}
    assert len(shown) == len(written)


def test_hyperparameters_are_one_line_of_csv(both):
    (row,) = csv.DictReader((both.path / "csv" / "hyperparameters.csv").open())
    assert row["model"] == "VAE"
    assert row["model.optimizer.lr"] == "0.004"
    assert row["budget.images"] == "600"


def test_a_resumed_csv_is_the_uninterrupted_one_byte_for_byte(both, tmp_path):
    recipe = composed(*BOTH) | {"outputs": str(tmp_path)}
    training, run = Training(recipe), catalogue.create(recipe)
    training.callbacks["killer"] = KillAfter()
    with pytest.raises(KilledError):
        training.run(run)
    assert points(run)[-1][0] == "400"  # of which the newest checkpoint, at 300, knows nothing
    with (run.path / "csv" / "metrics.csv").open("a") as file:
        file.write("50,train/lo")  # as a crash leaves it
    resumed(run)
    assert without_times(run) == without_times(both)


def test_a_logger_that_was_not_there_begins_where_the_run_goes_on(both, tmp_path):
    run = Run(tmp_path / "copy")
    shutil.copytree(both.path, run.path, ignore=shutil.ignore_patterns("csv", "tensorboard"))
    recipe = run.recipe()
    recipe["budget"]["images"] = 700
    resumed(run, recipe)
    assert {int(step) for step, _, _ in points(run)} == {700}


def test_a_logger_that_always_fails_leaves_a_finished_run_and_one_warning(
    tmp_path, monkeypatch, caplog
):
    recipe = composed(*BARE, "logger=[csv,tensorboard]")
    recipe["logger"]["csv"]["_target_"] = f"{__name__}.Broken"
    monkeypatch.setattr(Broken, "calls", 0)
    run = trained(recipe, tmp_path, [__name__])
    assert run.manifest()["status"] == "finished"
    assert caplog.text.count("stops here") == 1
    assert "CSV stops here (the library is broken); training goes on" in caplog.text
    assert Broken.calls == 1
    assert EventAccumulator(str(run.tensorboard)).Reload().Tags()["scalars"]  # the other goes on


def test_a_logger_that_cannot_start_costs_only_itself(tmp_path, caplog):
    (tmp_path / "csv").write_text("no folder")
    logger = CSV(tmp_path / "csv", None)
    logger.log_settings(SETTINGS)
    logger.log_metrics({"train/loss": 1.0}, 0)
    logger.close(succeeded=True)
    assert caplog.text.count("CSV stops here") == 1


# Before a run -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "libraries"), [
    ("wandb", "wandb"), ("mlflow", "mlflow and sqlalchemy and alembic"),
])  # fmt: skip
def test_a_library_that_is_missing_is_said_before_data_are_read(monkeypatch, option, libraries):
    for name in ("wandb", "mlflow", "sqlalchemy", "alembic"):
        monkeypatch.setitem(sys.modules, name, None)
    recipe = composed(*BARE, f"logger=[csv,{option}]")
    recipe["dataset"] = None  # whoever reads it fails otherwise
    with pytest.raises(UserError) as refused:
        Training(recipe)
    assert str(refused.value) == (
        f"logger={option} needs {libraries}: pip install -e '.[{option}]', or leave it: "
        "logger=tensorboard"
    )


def test_a_logger_in_the_place_of_another_is_refused():
    recipe = composed(*BARE, "logger=csv")
    recipe["logger"]["mine"] = recipe["logger"].pop("csv")
    with pytest.raises(UserError, match=r"logger\.mine: is a CSV; its name must be logger\.csv"):
        Training(recipe)


def test_what_is_not_chosen_is_not_imported():
    heavy = {"wandb", "mlflow", "torch.utils.tensorboard", "gdm.training.tensorboard"}
    at_import = set()
    for path in (ROOT / "gdm" / "training").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            at_import |= {(path.name, name) for name in names if name in heavy}
    assert at_import == {("tensorboard.py", "torch.utils.tensorboard")}


# One logger -------------------------------------------------------------------------------------


def written(kind: type[RunLogger], folder: Path, purge_step: int | None, steps) -> RunLogger:
    """Write settings, a picture and a curve whose values are 1/steps."""
    logger = kind(folder / kind.name, purge_step)
    logger.log_settings(SETTINGS | {"budget": {"images": max(steps)}})
    for step in steps:
        logger.log_metrics({"train/loss": 1 / step}, step)
        logger.log_picture("samples", PICTURE, step)
    logger.log_result(SETTINGS, ["train/loss"])
    logger.finalize("success")
    logger.close(succeeded=True)
    return logger


def test_csv_drops_what_is_void_and_keeps_what_needs_quotes(tmp_path):
    logger = CSV(tmp_path, None)
    logger.log_metrics({'a "strange", name': 0.1, "b": float("nan"), "c": 3}, 5)
    logger.log_metrics({"c": 1e-300}, 10)
    logger = CSV(tmp_path, 10)
    logger.log_metrics({"c": 2.0}, 15)
    expected = 'images,metric,value\n5,"a ""strange"", name",0.1\n5,b,nan\n5,c,3\n15,c,2.0\n'
    assert (tmp_path / "metrics.csv").read_text() == expected
    CSV(tmp_path, None).log_metrics({}, 0)
    assert (tmp_path / "metrics.csv").read_text() == "images,metric,value\n"


def test_wandb_without_a_network_holds_all_of_a_run(tmp_path, monkeypatch, caplog):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = Run(tmp_path / "run")
    written(WandB, run.path, None, [50, 100])
    written(WandB, run.path, 101, [150])
    wandb.teardown()  # which waits for the disk, as the end of a process does
    assert caplog.text == ""
    run.refuse_links()
    first, second = (path.read_bytes() for path in sorted(run.wandb.glob("offline-run-*/*.wandb")))
    for text in (b"model/beta", b"0.123456789", b"train/loss", b"0.02", b"0.01"):
        assert text in first
    assert b"0.006666666666666667" in second
    assert len({path.name for path in run.wandb.glob("offline-run-*/*.wandb")}) == 1  # one run
    pictures = sorted(run.wandb.glob("offline-run-*/files/media/images/samples_*.png"))
    assert len(pictures) == 3
    assert torch.equal(_pixels(pictures[0]), PICTURE)


def test_mlflow_in_a_file_holds_all_of_a_run(tmp_path, caplog):
    for library in MLflow.libraries:
        pytest.importorskip(library, reason="the extra mlflow is not installed")
    from mlflow import MlflowClient

    written(MLflow, tmp_path / "before", None, [50, 100, 150])
    run = Run(tmp_path / "run")
    (tmp_path / "before").rename(run.path)
    written(MLflow, run.path, 101, [150, 200])
    assert caplog.text == ""
    client = MlflowClient(tracking_uri=f"sqlite:///{run.mlflow / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("gdm").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params == {
        "seed": "3", "budget.images": "200", "model": "Model", "model.beta": "0.123456789",
    }  # fmt: skip
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == [
        (step, 1 / step) for step in (50, 100, 150, 200)
    ]
    assert found.data.metrics["train/loss"] == 1 / 200
    artifacts = run.mlflow / "artifacts" / found.info.run_id / "artifacts"  # where the run is now
    pictures = sorted((artifacts / "samples").iterdir())
    assert [path.name for path in pictures] == [f"{n:09d}.png" for n in (50, 100, 150, 200)]
    assert torch.equal(_pixels(pictures[0]), PICTURE)
    assert not (tmp_path / "before").exists()


def _pixels(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


# Its end ----------------------------------------------------------------------------------------


def test_what_to_type_is_said_of_what_was_written(both, tmp_path, capsys):
    run = Run(tmp_path / "a run")
    shutil.copytree(both.path, run.path)
    (run.wandb / "offline-run-1-x").mkdir(parents=True)
    run.mlflow.mkdir()
    sqlite3.connect(run.mlflow / "mlflow.db").execute("CREATE TABLE runs (a)")
    console.report(run, run.records()[-1])
    printed = capsys.readouterr().out
    assert f"  tensorboard --logdir '{run.path}'\n" in printed
    assert f"  wandb sync '{run.wandb}'/offline-run-*\n" in printed
    assert f"  mlflow ui --backend-store-uri 'sqlite:///{run.mlflow}/mlflow.db'\n" in printed

    shutil.rmtree(run.tensorboard)
    shutil.rmtree(run.wandb)
    shutil.rmtree(run.mlflow)
    console.report(run, run.records()[-1])
    printed = capsys.readouterr().out
    assert not any(word in printed for word in ("tensorboard", "wandb", "mlflow"))
    assert "\n\n" not in printed
