"""The journeys of a run: trained, interrupted, diverged, on a full disk, within its minutes."""

import errno
import fcntl
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, SHORT, UNSEEN, composed, resumed, trained
from PIL import Image
from pytorch_lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from gdm.cli import console
from gdm.errors import UserError
from gdm.evaluation.classifier import NoClassifier
from gdm.files import locked
from gdm.runs import catalogue, checkpoints
from gdm.training.loggers import varied
from gdm.training.loop import Loop, refuse_misplaced
from gdm.training.machine import peak_memory_mib
from gdm.training.measuring import affordable_validations
from gdm.training.metrics import Diverged
from gdm.training.progress import ProgressBar
from gdm.training.signals import Interrupted, Signals
from gdm.training.tensorboard import TensorBoard
from gdm.training.training import Training


def started(recipe: dict, folder) -> tuple[Training, catalogue.Run]:
    """Return a training and its run directory, before the first step."""
    recipe = recipe | {"outputs": str(folder)}
    training = Training(recipe)
    run = catalogue.create(recipe)
    run.write_recipe(recipe, [])
    return training, run


def test_a_run_leaves_what_its_user_expects(short_vae):
    manifest = short_vae.manifest()
    assert manifest["status"] == "finished"
    assert manifest["images_seen"] == 600
    assert {"versions", "commit", "data", "device", "seed", "seconds", "peak_memory_mib"} <= set(
        manifest
    )
    assert Image.open(short_vae.samples / "final.png").size == (10 * 60 - 4, 56)
    assert (short_vae.samples / "000000000.png").exists()
    assert short_vae.log.exists()
    events = EventAccumulator(str(short_vae.tensorboard)).Reload()
    assert {"samples", "reconstructions"} <= set(events.Tags()["images"])
    assert {"train/loss", "validation/elbo"} <= set(events.Tags()["scalars"])
    for name in (checkpoints.LAST, checkpoints.PREVIOUS):
        assert checkpoints.damage(short_vae.checkpoints / name) is None


def test_what_is_compared_in_tensorboard_is_what_a_user_varies(short_vae):
    events = EventAccumulator(str(short_vae.tensorboard)).Reload()
    metadata = events.summary_metadata["_hparams_/session_start_info"]
    content = HParamsPluginData.FromString(metadata.plugin_data.content)
    columns = dict(content.session_start_info.hparams.items())
    assert columns["model"].string_value == "VAE"
    assert columns["model.optimizer"].string_value == "Adam"
    assert columns["model.optimizer.lr"].number_value == 0.004
    assert columns["dataset.source"].string_value == "FashionMNISTMini"
    assert len(columns) < 40
    rest = ("_target_", "callbacks", "trainer", "logger", "outputs", "resolution")
    assert not any(word in key for key in columns for word in rest)
    shown = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    metrics = {
        each.name.tag for each in HParamsPluginData.FromString(shown).experiment.metric_infos
    }
    assert "validation/elbo" in metrics
    assert metrics <= set(events.Tags()["scalars"])
    assert not any(tag.startswith("final/") for tag in events.Tags()["scalars"])


def test_what_is_compared_in_tensorboard_takes_any_recipe(tmp_path):
    recipe = {"seed": 10**400, "budget": {"images": None}, "dataset": {"folder": "/tmp/mine"}}
    assert varied(recipe) == {"seed": str(10**400)}
    logger = TensorBoard(tmp_path, None)
    logger.log_result(recipe, ["validation/elbo"])
    logger.finalize("success")


def test_a_disk_that_is_full_from_the_start_stops_the_curves_only(tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    logger = TensorBoard(tmp_path, None)
    logger.log_metrics({"train/loss": 1.0}, 0)  # Lightning makes a ValueError of it
    assert "No space left on device" in caplog.text
    logger.log_metrics({"train/loss": 1.0}, 1)
    assert caplog.text.count("TensorBoard stops here") == 1


def test_a_full_disk_under_a_thread_that_writes_curves_is_no_traceback(capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # and back
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    console.log_to_console()

    def fail(error):
        raise error

    for error in (OSError(errno.ENOSPC, "full"), ZeroDivisionError("a defect")):
        thread = threading.Thread(target=fail, args=(error,))
        thread.start()
        thread.join()
    shown = capsys.readouterr().err
    assert "full" not in shown
    assert "a defect" in shown


def test_a_run_is_looked_at_before_the_first_step_and_at_even_distances(short_vae):
    records = [record for record in short_vae.records() if record["split"] == "validation"]
    assert [record["images"] for record in records] == [0, 200, 400, 600]
    assert records[-1]["num_images"] == 60
    assert short_vae.manifest()["final"] == records[-1]


def test_a_run_that_was_not_looked_at_ends_with_figures_on_all_validation_images(tmp_path):
    run = trained(composed(*SHORT, "callbacks.validation=null"), tmp_path)
    (record,) = run.records()
    assert (record["split"], record["num_images"]) == ("validation", 1000)


def test_training_lowers_the_bound(short_vae):
    first, *_, last = [r["elbo"] for r in short_vae.records() if r["split"] == "validation"]
    assert last > first


def test_a_notebook_gets_the_model_with_its_averaged_weights(short_vae):
    model = catalogue.load(short_vae)
    raw = catalogue.load(short_vae.path, averaged=False)
    samples = model.sample(range(4))
    assert samples.shape == (4, 1, 28, 28)
    assert samples.abs().max() <= 1
    assert not model.training
    assert not torch.equal(samples, raw.sample(range(4)))


def test_two_latent_dimensions_are_drawn_as_maps(tmp_path):
    two = ("model.latent_dim=2", "prior=standard_normal")
    run = trained(composed(*SHORT, *two, "callbacks.validation.quality=null"), tmp_path)
    for name in ("latent_map", "latent_map_samples", "latent_samples"):
        assert (run.samples / f"{name}-final.png").exists()


def test_an_autoencoder_samples_from_the_density_of_its_training_codes(tmp_path):
    run = trained(composed("model=autoencoder", *SHORT, *UNSEEN), tmp_path)
    model = catalogue.load(run)
    training = Training(run.recipe())
    codes = torch.cat([model.encode(batch.x) for batch in training.data.batches("train")])
    sampled = model.sample_codes(range(2000))
    std = codes.std(0)
    assert ((sampled.mean(0) - codes.mean(0)).abs() < 0.3 * std).all()
    assert ((sampled.std(0) / std - 1).abs() < 0.3).all()


class Send(Callback):
    """Sends this process a signal at the end of a batch."""

    def __init__(self, number: int, batches: int) -> None:
        self.number = number
        self.batches = batches

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        if model.batches_seen == self.batches:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def default_hangup():
    """Take SIGHUP as a terminal's programs do, even where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_run_under_nohup_outlives_its_terminal(default_hangup):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = Signals()
    with signals.listening():
        signals.start()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGUSR1) == signals._on_signal
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_terminal_that_is_closed_does_not_keep_the_run_from_saving(tmp_path, short_vae):
    ours, theirs = os.openpty()
    process = command(*SHORT, *UNSEEN, *LONGER, f"outputs={tmp_path}", stdin=theirs, stderr=theirs,
                      stdout=theirs, preexec_fn=lambda: _lead(theirs))  # fmt: skip
    os.close(theirs)
    wait_for(lambda: on_record(1, tmp_path), process)
    os.close(ours)
    assert process.wait(timeout=120) == 129
    run = catalogue.find("last", tmp_path)
    assert run.manifest()["status"] == "interrupted"
    assert (run.checkpoints / checkpoints.LAST).exists()


def _lead(terminal: int) -> None:
    """Make this process the leader of a terminal's session, which the hangup goes to."""
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        (signal.SIGHUP, 129),
        (signal.SIGUSR1, 128 + signal.SIGUSR1),
    ],
)
def test_a_signal_saves_and_stops_with_its_exit_status(
    number, status, first, tmp_path, short_vae, default_hangup
):
    training, run = started(composed(*SHORT, *UNSEEN), tmp_path)
    training.callbacks = (
        {"send": Send(number, 5)} | training.callbacks
        if first
        else (training.callbacks | {"send": Send(number, 5)})
    )
    with pytest.raises(Interrupted) as stop:
        training.run(run)
    assert stop.value.exit_status == status
    assert run.manifest()["status"] == "interrupted"
    assert checkpoints.read(run.checkpoints / checkpoints.LAST)["batches_seen"] == 5
    resumed(run)
    theirs = checkpoints.read(short_vae.checkpoints / checkpoints.LAST)["state_dict"]
    for name, tensor in checkpoints.read(run.checkpoints / "last.ckpt")["state_dict"].items():
        assert torch.equal(tensor, theirs[name]), name


class Noted:
    """A part of the loop that is always due, and notes what is asked of it."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls
        self.latest = {}

    def __getattr__(self, asked: str):
        return lambda *arguments: self.calls.append(f"{self.name}.{asked}") or True


def test_after_a_step_the_parts_come_in_the_order_that_is_written_down():
    calls = []
    parts = {name: Noted(name, calls) for name in ("metrics", "validation", "saving", "progress")}
    loop = Loop(SimpleNamespace(received=signal.SIGTERM), **parts)
    with pytest.raises(Interrupted):
        loop.on_train_batch_end(None, torch.nn.Linear(1, 1), {}, None, 0)
    assert [call for call in calls if "is_due" not in call] == [
        "metrics.add", "metrics.flush",
        "metrics.flush", "validation.evaluate", "metrics.pause",
        "metrics.flush", "saving.save",  # for its own time and for the signal, once
        "progress.show",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ({"metrics": Callback()}, r"^callbacks\.metrics: is a Callback; must be a Training"),
        ({"bar": ProgressBar(1.0)}, r"^callbacks\.bar: is a Prog.* must be callbacks\.progress$"),
    ],
)
def test_parts_of_the_loop_under_other_names_are_refused(callbacks, message):
    with pytest.raises(UserError, match=message):
        refuse_misplaced(callbacks)


def test_a_nan_stops_the_run_and_names_term_step_and_checkpoint(tmp_path):
    training, run = started(composed(*SHORT, *UNSEEN), tmp_path)

    class Poison(Callback):
        def on_train_batch_start(self, trainer, model, batch, batch_idx: int) -> None:
            if batch_idx == 7:  # the eighth step
                model.decoder[0].weight.data[0] = float("nan")

    training.callbacks["poison"] = Poison()
    with pytest.raises(Diverged) as error:
        training.run(run)
    assert "reconstruction became nan at step 8" in str(error.value)
    assert str(run.checkpoints / checkpoints.LAST) in str(error.value)
    assert run.manifest()["status"] == "diverged"
    kept = checkpoints.read(run.checkpoints / checkpoints.LAST)
    assert kept["batches_seen"] == 6
    assert all(torch.isfinite(tensor).all() for tensor in kept["state_dict"].values())


def test_a_full_disk_costs_no_earlier_checkpoint_and_is_said(tmp_path, monkeypatch, caplog):
    training, run = started(composed(*SHORT, *UNSEEN), tmp_path)
    save = torch.save

    class FullDisk(io.BytesIO):
        def write(self, data) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full(checkpoint, file, *arguments, **options):
        disk = FullDisk() if checkpoint["batches_seen"] in (6, 9) else file
        save(checkpoint, disk, *arguments, **options)

    monkeypatch.setattr(torch, "save", full)
    training.run(run)
    assert caplog.text.count("No space left on device") == 2
    names = {path.name for path in run.checkpoints.glob("*.ckpt")}
    assert names - {checkpoints.BEST} == {checkpoints.LAST, checkpoints.PREVIOUS}
    assert checkpoints.read(run.checkpoints / checkpoints.PREVIOUS)["batches_seen"] == 3


def test_metrics_are_kept_without_the_graphs_that_they_came_from(short_vae):
    training = Training(short_vae.recipe())
    metrics = training.callbacks["metrics"]
    term = torch.ones(1, requires_grad=True) * 2
    training.model.set_progress(seed=0, batch_size=1, num_batches=1000, batches_seen=1)
    metrics.add({"loss": term})
    assert metrics._outputs[0]["loss"].grad_fn is None


def test_a_run_that_is_being_trained_is_not_resumed(tmp_path):
    training, run = started(composed(*SHORT), tmp_path)
    before = run.manifest()
    with locked(run.path / ".lock"), pytest.raises(UserError, match="is in use"):
        training.run(run, resume=True)
    assert run.manifest() == before


@pytest.mark.parametrize(
    ("platform", "kernels", "mib"), [("linux", 3 * 2**10, 3), ("darwin", 3 * 2**20, 3)]
)
def test_the_peak_of_memory_is_in_the_units_of_the_platform(platform, kernels, mib, monkeypatch):
    usage = SimpleNamespace(ru_maxrss=kernels)
    module = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage)
    monkeypatch.setitem(sys.modules, "resource", module)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory_mib() == mib


def test_the_peak_of_memory_is_known_on_windows(monkeypatch):
    memory = SimpleNamespace(peak_wset=3 * 2**20)
    process = SimpleNamespace(memory_info=lambda: memory)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(sys, "platform", "win32")
    assert peak_memory_mib() == 3


def test_a_refused_resume_leaves_the_recipe_as_it_was(short_vae):
    recipe = short_vae.recipe()
    shorter = recipe | {"budget": recipe["budget"] | {"images": 300}}
    with pytest.raises(UserError, match="more than the budget"):
        Training(shorter).run(short_vae, resume=True)
    assert short_vae.recipe() == recipe


def test_an_autoencoder_without_validation_still_fits_its_density(tmp_path):
    run = trained(composed("model=autoencoder", *SHORT, "~callbacks.validation"), tmp_path)
    assert catalogue.load(run).density.mean.abs().sum() > 0


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8, 0.999])
def test_a_flipped_bit_anywhere_is_noticed(place, short_vae, tmp_path):
    whole = checkpoints.digest(checkpoints.read(short_vae.checkpoints / "last.ckpt"))
    data = bytearray((short_vae.checkpoints / "last.ckpt").read_bytes())
    data[int(len(data) * place)] ^= 4
    path = tmp_path / "last.ckpt"
    path.write_bytes(data)
    try:
        values = checkpoints.digest(checkpoints.read(path))
    except UserError:
        return  # noticed
    assert values == whole  # the bit lay in padding, between the records


def test_a_budget_that_is_too_short_to_look_even_once_is_refused(tmp_path):
    recipe = composed(*SHORT, "budget.images=null", "budget.minutes=0.0001")  # of any machine
    with pytest.raises(UserError, match=r"budget\.minutes=0\.0001: too short"):
        Training(recipe).settle_budget()


def test_what_is_printed_at_the_end_exists_and_can_be_typed(short_vae, tmp_path, capsys):
    console.report(short_vae, short_vae.records()[-1], plugins=["mine"])
    printed = capsys.readouterr().out
    assert str(short_vae.samples / "final.png") in printed
    assert f"sample.py run={short_vae.path} 'plugins=[mine]'" in printed

    recipe = composed(*SHORT[:4], "~callbacks.validation")
    recipe["logger"] = None
    run = trained(recipe, tmp_path)
    console.report(run, run.records()[-1])
    printed = capsys.readouterr().out
    assert "final.png" not in printed
    assert "tensorboard" not in printed


@pytest.mark.parametrize("library", [None, "found"])
def test_an_evaluation_that_would_be_refused_is_not_offered(
    short_vae, library, capsys, monkeypatch
):
    monkeypatch.setattr(console, "find_spec", lambda name: library)

    def offered(missing: NoClassifier | None) -> list[str]:
        console.report(short_vae, short_vae.records()[-1], missing=missing)
        lines = capsys.readouterr().out.partition("Next:\n")[2].splitlines()
        return [line.strip().replace(str(short_vae.path), "HERE") for line in lines][2:-1]

    evaluate = "python scripts/evaluate.py run=HERE"
    assert offered(None) == [evaluate]
    assert offered(NoClassifier("none yet", "train one")) == ["train one", evaluate]
    by_inception = [f"{evaluate} extractor=inception"] if library else []
    assert offered(NoClassifier("no classes")) == by_inception


def test_a_resumed_run_remembers_where_it_was_resumed_and_warns(short_vae, tmp_path, caplog):
    run = catalogue.Run(tmp_path / "copy")
    shutil.copytree(short_vae.path, run.path)
    run.describe(threads=99)
    resumed(run)
    assert run.manifest()["resumed"][-1]["threads"] == torch.get_num_threads()
    assert "threads were 99" in run.log.read_text()


def test_a_log_disk_that_fills_does_not_stop_training(tmp_path, monkeypatch, caplog):
    from gdm.pictures import grids

    training, run = started(composed(*SHORT), tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_image", full)
    monkeypatch.setattr(grids, "save", full)
    run.metrics.mkdir()  # cannot be appended to
    training.run(run)
    assert run.manifest()["status"] == "finished"
    assert "training goes on" in caplog.text


def test_a_budget_in_minutes_becomes_images_in_the_recipe(tmp_path):
    recipe = composed(*SHORT, *UNSEEN, "budget.images=null", "budget.minutes=0.1")
    recipe["outputs"] = str(tmp_path)
    training = Training(recipe)
    training.settle_budget()
    images = training.recipe["budget"]["images"]
    assert images % 50 == 0
    assert training.recipe["budget"]["minutes"] is None
    run = catalogue.create(training.recipe)
    run.write_recipe(training.recipe, [])
    training.run(run)
    manifest = run.manifest()
    assert manifest["minutes_wished"] == 0.1
    assert manifest["images_seen"] == images


def test_looks_take_little_of_a_budget_in_minutes(tmp_path):
    assert affordable_validations(validation_seconds=1.0, seconds=60) == 10
    assert affordable_validations(validation_seconds=100.0, seconds=60) == 1
    assert affordable_validations(validation_seconds=0.0, seconds=60) > 1000
    recipe = composed(*SHORT, "budget.images=null", "budget.minutes=0.3",
                      "callbacks.validation.times=100000")  # fmt: skip
    training = Training(recipe)
    training.settle_budget()
    times = training.recipe["callbacks"]["validation"]["times"]
    assert 1 <= times < 100000
    assert training.callbacks["validation"].times == times


def test_a_batch_that_is_too_small_for_the_network_is_refused():
    recipe = composed("model=classifier", "trainer=cpu", "dataset.batch_size=1")
    with pytest.raises(UserError, match=r"dataset\.batch_size=1: .* at least 2 images"):
        Training(recipe)


def test_names_that_leave_the_outputs_folder_are_refused(tmp_path):
    for name in ("../elsewhere", "/tmp/elsewhere", "a/../../b", " "):
        recipe = {"outputs": str(tmp_path / "outputs"), "name": name}
        with pytest.raises(UserError, match="inside the outputs folder"):
            catalogue.create(recipe)
    assert not (tmp_path / "elsewhere").exists()


def test_a_hundred_runs_started_at_once_do_not_collide(tmp_path):
    recipe = {"outputs": str(tmp_path), "name": "crowd"}
    paths = {catalogue.create(dict(recipe)).path for _ in range(100)}
    assert len(paths) == 100
    in_sweep = {
        catalogue.create(dict(recipe), sweep="sweeps/s", job="seed=0").path for _ in range(3)
    }
    assert len(in_sweep) == 3


def test_a_run_is_found_by_path_ending_or_last(tmp_path):
    made = []
    for number in range(3):
        run = catalogue.create({"outputs": str(tmp_path), "name": f"model{number}"})
        run.write_recipe({}, [])
        made.append(run.path)
        time.sleep(0.001)
    assert catalogue.find(str(made[0]), tmp_path).path == made[0]
    assert catalogue.find(made[1].name[-20:], tmp_path).path == made[1]
    assert catalogue.find("last", tmp_path).path == made[2]
    with pytest.raises(UserError, match="no run 'nothing'"):
        catalogue.find("nothing", tmp_path)


def test_a_run_without_a_checkpoint_says_how_to_get_one(tmp_path):
    run = catalogue.create({"outputs": str(tmp_path), "name": "empty"})
    run.write_recipe(composed(), [])
    with pytest.raises(UserError, match="resume="):
        catalogue.load(run)


def test_a_recipe_that_comes_with_a_run_cannot_name_a_foreign_target(short_vae, tmp_path):
    recipe = short_vae.recipe()
    recipe["model"]["likelihood"] = {"_target_": "os.system", "command": "touch pwned"}
    run = catalogue.create({"outputs": str(tmp_path), "name": "foreign"})
    run.write_recipe(recipe, [])
    run.checkpoints.mkdir()
    (run.checkpoints / "last.ckpt").write_bytes((short_vae.checkpoints / "last.ckpt").read_bytes())
    with pytest.raises(UserError, match=r"model\.likelihood.*os\.system"):
        catalogue.load(run)


def test_a_checkpoint_that_holds_foreign_objects_is_refused(tmp_path):
    class Foreign:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'pwned'}",)

    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": Foreign()}, path)
    with pytest.raises(UserError, match="more than tensors"):
        checkpoints.read(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ({"precision": "16-mixed"}, "trainer.precision=16-mixed"),
        ({"accelerator": "gpu"}, "trainer=cpu"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU, which makes both possible")
def test_what_the_machine_lacks_is_refused(trainer, words):
    recipe = composed(*SHORT)
    recipe["trainer"] |= trainer
    with pytest.raises(UserError, match=words):
        Training(recipe)


# The command itself, in a process of its own -----------------------------------------------------


def command(*arguments: str, **options) -> subprocess.Popen:
    words = [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments]
    options = {"stderr": subprocess.PIPE} | options
    return subprocess.Popen(words, text=True, cwd=ROOT, **options)


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.03)


LONGER = ("budget.images=50000", "callbacks.validation.times=100")


def on_record(images: int, folder) -> bool:
    """Whether a run below a folder has been looked at after so many images."""
    lines = [json.loads(line) for path in folder.glob("*/*/*/metrics.jsonl")
             for line in path.read_text().splitlines() if line.endswith("}")]  # fmt: skip
    return any(line["images"] >= images for line in lines)


def killed_at(images: int, folder, number: int, *overrides: str) -> tuple[catalogue.Run, int]:
    """Start the command, and send a signal once so many images are on record."""
    process = command(*SHORT, *overrides, f"outputs={folder}")
    wait_for(lambda: on_record(images, folder), process)
    process.send_signal(number)
    process.communicate(timeout=120)
    return catalogue.find("last", folder), process.returncode


def test_the_command_resumes_after_kill_9_to_the_same_bits(run_script, tmp_path, short_vae):
    run, status = killed_at(200, tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert run_script("train", f"resume={run.path}", f"outputs={tmp_path}").returncode == 0
    ours = checkpoints.read(run.checkpoints / checkpoints.LAST)["state_dict"]
    theirs = checkpoints.read(short_vae.checkpoints / checkpoints.LAST)["state_dict"]
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("model", ["autoencoder", "conditional_vae"])
@pytest.mark.parametrize("images", [0, 400, 600])
def test_the_command_resumes_after_kill_9_anywhere(model, images, tmp_path):
    run, _ = killed_at(images, tmp_path / "killed", signal.SIGKILL, f"model={model}")
    command(f"resume={run.path}", f"outputs={tmp_path / 'killed'}").wait(timeout=120)
    whole = trained(composed(f"model={model}", *SHORT), tmp_path / "whole")
    ours = checkpoints.read(run.checkpoints / checkpoints.LAST)["state_dict"]
    theirs = checkpoints.read(whole.checkpoints / checkpoints.LAST)["state_dict"]
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.slow  # like the terminal's signal above, of which the process ends the same way
def test_the_command_saves_on_sigterm_and_exits_with_143(tmp_path):
    once_begun = 1
    run, status = killed_at(once_begun, tmp_path, signal.SIGTERM, *UNSEEN, *LONGER)
    assert status == 143
    assert run.manifest()["status"] == "interrupted"
    assert (run.checkpoints / checkpoints.LAST).exists()
