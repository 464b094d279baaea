"""A sweep is told by its run directories: it goes on where it stopped, whatever stopped it."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, SMALL

from gdm.errors import UserError
from gdm.files import locked
from gdm.runs import checkpoints
from gdm.runs.run import Run
from gdm.runs.sweeps import Job, Sweep
from gdm.tools import sweep as tool
from gdm.training.saving import Checkpoints

# As short as a training can be: 12 batches, saved four times.
TINY = (
    *SMALL, "trainer=cpu", "dataset.batch_size=50", "budget.images=600",
    "callbacks.validation=null", "extractor=null", "callbacks.metrics.every_batches=2",
    "callbacks.checkpoints.times=4", "logger=null", "dataset.validation_size=60",
)  # fmt: skip


@pytest.fixture
def swept(run_script, tmp_path):
    """Run a sweep called s of tiny trainings below tmp_path, and return how it ended."""

    def run(*arguments: str, outputs: Path = tmp_path):
        return run_script("train", "-m", *TINY, "sweep=s", f"outputs={outputs}", *arguments)

    return run


def folder(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path / "sweeps" / "s")


def fates(tmp_path: Path) -> dict[str, str]:
    """Return name -> status, as sweep.json tells."""
    found = json.loads((tmp_path / "sweeps" / "s" / "sweep.json").read_text())
    return {job["name"]: job["status"] for job in found["jobs"]}


def manifests(tmp_path: Path) -> dict[str, dict]:
    paths = (tmp_path / "sweeps" / "s").glob("*/manifest.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoints.read(run / "checkpoints" / checkpoints.LAST)["state_dict"]


def assert_same_runs(left: Path, right: Path) -> None:
    """Compare two sweeps run by run, to the bit."""
    names = {name for name, facts in manifests(left).items() if facts["status"] == "finished"}
    others = {name for name, facts in manifests(right).items() if facts["status"] == "finished"}
    assert names == others
    for name in names:
        runs = [root / "sweeps" / "s" / name for root in (left, right)]
        ours, theirs = map(weights, runs)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        lines = [(run / "metrics.jsonl").read_text().splitlines() for run in runs]
        assert len(lines[0]) == len(lines[1])


# One command -----------------------------------------------------------------------------------


def test_a_sweep_writes_what_it_was_asked_and_what_became_of_it(swept, tmp_path):
    done = swept("model=vae,beta_vae", "seed=1,2")
    assert done.returncode == 0, done.stderr
    names = [f"model={model},seed={seed}" for model in ("vae", "beta_vae") for seed in (1, 2)]
    assert fates(tmp_path) == dict.fromkeys(names, "finished")
    request = yaml.safe_load((tmp_path / "sweeps" / "s" / "sweep.yaml").read_text())
    assert request["axes"] == {"model": ["vae", "beta_vae"], "seed": [1, 2]}
    assert request["seeds"] == [1, 2]
    assert request["settings"]["budget.images"] == [600]
    assert request["commands"][0]["versions"]["torch"] in torch.__version__
    assert "s: 4 of 4 jobs done" in done.stdout
    assert "s: 1 of 4 jobs done, 3 left" in done.stderr


def test_the_same_command_does_nothing_and_more_values_extend_it(swept, tmp_path):
    swept("seed=1,2")
    before = {name: facts["attempts"] for name, facts in manifests(tmp_path).items()}
    done = swept("seed=1,2")
    assert done.returncode == 0
    assert "begins" not in done.stderr
    done = swept("seed=1,2,3", "model=vae")  # in another order, and with what is the default
    assert done.returncode == 0
    assert done.stderr.count("begins") == 1
    after = {name: facts["attempts"] for name, facts in manifests(tmp_path).items()}
    assert before.items() <= after.items()
    assert sorted(after) == ["seed=1", "seed=2", "seed=3"]


def test_a_failure_stops_nothing_and_is_tried_again(swept, tmp_path):
    done = swept("dataset.validation_size=50,10000,60")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "1 of 3 jobs" in done.stderr
    assert "dataset.validation_size=10000" in done.stderr.splitlines()[-1]
    assert fates(tmp_path) == {
        "dataset.validation_size=50": "finished",
        "dataset.validation_size=10000": "failed",
        "dataset.validation_size=60": "finished",
    }
    failed = manifests(tmp_path)["dataset.validation_size=10000"]
    assert failed["attempts"] == 2
    assert failed["error"].startswith("dataset.validation_size=10000")
    swept("dataset.validation_size=50,10000,60", "sweep.retries=0")
    assert manifests(tmp_path)["dataset.validation_size=10000"]["attempts"] == 3


def test_a_wrong_recipe_is_said_before_the_others_begin(swept, tmp_path):
    done = swept("model.optimizer.lr=-1,1e-3", "model.beta=1,sure")
    assert done.returncode == 1
    log = done.stderr
    assert log.index("model.optimizer.lr=-1: must be") < log.index("begins")
    assert (
        log.index("model.beta='sure'") < log.index("begins") if "model.beta='sure'" in log else 1
    )
    assert sorted(fates(tmp_path).values()) == ["finished", "refused", "refused", "refused"]
    assert list(manifests(tmp_path)) == ["model.optimizer.lr=0.001,model.beta=1"]


def test_what_hydra_cannot_compose_is_refused_like_the_rest(swept, tmp_path):
    done = swept("model=vae,ddpm", "schedule=cosine")
    assert done.returncode == 1
    assert fates(tmp_path)["model=vae"] == "refused"
    assert "Traceback" not in done.stderr


def test_what_diverged_is_listed_and_not_repeated(swept, tmp_path):
    done = swept("model.optimizer.lr=1e20,1e-3")
    assert done.returncode == 0  # it is a result
    assert "1 diverged" in done.stdout
    assert "training diverged" in done.stdout
    swept("model.optimizer.lr=1e20,1e-3")
    assert {facts["attempts"] for facts in manifests(tmp_path).values()} == {1}


class KilledError(BaseException):
    """Stands for kill -9: nothing that is not on the disk survives it."""


def test_a_job_that_was_killed_goes_on_to_the_same_bits(swept, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    swept("seed=1,2", outputs=whole)

    def killed(self, trainer, model):
        if model.batches_seen == 9:
            raise KilledError
        save(self, trainer, model)

    save = Checkpoints.save
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", killed)
        with contextlib.suppress(KilledError):
            swept("seed=1,2")
    assert manifests(tmp_path)["seed=1"]["images_seen"] == 450
    done = swept("seed=1,2")
    assert done.returncode == 0
    assert manifests(tmp_path)["seed=1"]["attempts"] == 2
    assert_same_runs(whole, tmp_path)


def test_a_job_that_was_killed_before_it_began_leaves_nothing_in_the_way(swept, tmp_path):
    (tmp_path / "sweeps" / "s" / "seed=1" / ".hydra").mkdir(parents=True)
    assert swept("seed=1,2").returncode == 0
    assert sorted(manifests(tmp_path)) == ["seed=1", "seed=2"]


def test_a_signal_ends_the_sweep_and_the_same_command_goes_on(swept, tmp_path, monkeypatch):
    def stopped(self, trainer, model):
        save(self, trainer, model)
        if model.batches_seen == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    save = Checkpoints.save
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", stopped)
        done = swept("seed=1,2")
    assert done.returncode == 128 + signal.SIGTERM
    assert fates(tmp_path) == {"seed=1": "interrupted", "seed=2": "waiting"}
    assert swept("seed=1,2").returncode == 0


def test_other_data_are_refused_and_other_code_is_said(swept, tmp_path):
    swept("seed=1,2")
    for name, facts in (("seed=1", {"data": "other"}), ("seed=2", {"commit": "0" * 12})):
        Run(tmp_path / "sweeps" / "s" / name).describe(**facts)
    done = swept("seed=1,2")
    assert done.returncode == 1
    assert "seed=1: it is done on other data" in done.stderr
    assert f"another version of the code: {'0' * 12}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "sweep=../x"], "sweep=../x: a sweep's name has letters, digits"),
        (["-m", "sweep.retries=-1", "seed=1,2"], "sweep.retries=-1: must be"),
        (["-m", "seed=1,2", "sweeps=x"], "sweeps: there is no such key"),
        (["-m", "seed=range(3,3)", "sweep=x"], "seed: has no value, and makes no job"),
        (["-m", "seed=1,2", "launcher=joblib", "launcher.workers=0"], "launcher.workers=0: must"),
        (["sweep=x"], "sweep=x: a sweep is made by -m; add it"),
        (["-m", "model=vae,nonsense", "sweep=x"], "model=nonsense: model has no such option"),
        (["-m", "seed=1,2", "launcher=nonsense"], "launcher=nonsense: launcher has no such"),
    ],
)
def test_a_wrong_sweep_is_one_line(run_script, tmp_path, arguments, said):
    done = run_script("train", *arguments, f"outputs={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {said}")
    assert not list(tmp_path.glob("sweeps/*/*/manifest.json"))


def test_a_glob_takes_all_options(run_script, tmp_path):
    done = run_script(
        "train", "-m", *TINY, "model=glob(*vae,exclude=cond*)", "sweep=s", f"outputs={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    assert sorted(fates(tmp_path)) == ["model=beta_vae", "model=vae"]


# Several processes -------------------------------------------------------------------------------


@pytest.fixture
def jobs(tmp_path) -> tuple[Sweep, list[Job]]:
    sweep = folder(tmp_path)
    jobs = [Job(f"seed={seed}", f"{seed:016}", (f"seed={seed}",)) for seed in range(4)]
    sweep.begin(jobs, {"seed": list(range(4))}, ["seed=0,1,2,3"])
    return sweep, jobs


def train(sweep: Sweep, job: Job, status: str = "finished") -> None:
    """Leave what a training leaves."""
    run = Run(sweep.path / job.name)
    attempts = run.manifest().get("attempts", 0) if run.path.exists() else 0
    run.path.mkdir(exist_ok=True)
    run.describe(status=status, asked=job.asked, attempts=attempts + 1, num_batches=1)


def test_a_launcher_that_breaks_is_started_again_for_the_rest(jobs):
    sweep, jobs = jobs
    launched = []

    def launch(some):
        launched.append([job.name for job in some])
        train(sweep, some[0])
        raise RuntimeError("a worker was killed")

    tool.settle(sweep, jobs, launch, retries=1)
    assert [len(some) for some in launched] == [4, 3, 2, 1]
    tool.refuse_undone(sweep, jobs)


def test_a_job_that_is_killed_each_time_is_given_up(jobs):
    sweep, jobs = jobs
    counts = []

    def launch(some):
        counts.append(len(some))
        for job in some:
            train(sweep, job, "running" if job.name == "seed=2" else "finished")

    tool.settle(sweep, jobs, launch, retries=2)
    assert counts == [4, 1, 1, 1]  # alone, since another may have been to blame
    with pytest.raises(UserError, match=r"1 of 4 jobs of .* are not done: seed=2;"):
        tool.refuse_undone(sweep, jobs)


def test_a_job_that_is_killed_beside_a_guilty_one_is_not_given_up(jobs):
    sweep, jobs = jobs

    def launch(some):
        names = [job.name for job in some]
        for job in some:
            is_killed = job.name == "seed=1" or "seed=1" in names
            train(sweep, job, "running" if is_killed else "finished")

    tool.settle(sweep, jobs, launch, retries=1)
    statuses = [fate.status for fate in sweep.fates(jobs).values()]
    assert statuses == ["finished", "interrupted", "finished", "finished"]


def test_a_launcher_that_begins_nothing_is_not_asked_for_ever(jobs):
    sweep, jobs = jobs
    train(sweep, jobs[0])
    launched = []
    tool.settle(sweep, jobs, launched.append, retries=1)
    assert len(launched) == 1


def test_a_job_that_failed_and_is_tried_again_elsewhere_is_running(jobs):
    sweep, jobs = jobs
    train(sweep, jobs[0], "failed")
    with Sweep(sweep.path).claimed(jobs[0]):
        assert sweep.fates(jobs)[jobs[0]].status == "running"
    with locked(Run(sweep.path / "seed=0").lock):  # a user goes on with it by hand
        assert sweep.fates(jobs)[jobs[0]].status == "running"
    assert sweep.fates(jobs)[jobs[0]].status == "failed"


@pytest.mark.parametrize("asked", ["/etc/passwd", "../up", "**", ["a"], None])
def test_a_foreign_manifest_is_no_run_of_a_sweep(jobs, asked):
    sweep, jobs = jobs
    (sweep.path / "theirs").mkdir()
    (sweep.path / "theirs" / "manifest.json").write_text(json.dumps({"asked": asked}))
    assert {fate.status for fate in sweep.fates(jobs).values()} == {"waiting"}


def test_weights_without_a_manifest_are_left_alone(swept, tmp_path):
    swept("seed=1")
    run = Run(next(path.parent for path in (tmp_path / "sweeps" / "s").glob("*/manifest.json")))
    (run.path / "manifest.json").unlink()
    assert swept("seed=1").returncode == 0
    assert (run.checkpoints / checkpoints.LAST).exists()


def test_what_another_process_has_is_waited_for(jobs, monkeypatch):
    sweep, jobs = jobs
    monkeypatch.setattr(tool, "POLL_SECONDS", 0.01)
    launched, polls = [], []

    def launch(some):
        launched.extend(job.name for job in some)
        for job in some:
            train(sweep, job)

    with contextlib.ExitStack() as held:
        held.enter_context(Sweep(sweep.path).claimed(jobs[1]))

        def wait(seconds):
            polls.append(seconds)
            if len(polls) == 3:
                held.close()  # its process has died

        monkeypatch.setattr(time, "sleep", wait)
        tool.settle(sweep, jobs, launch, retries=1)
    assert launched == ["seed=0", "seed=2", "seed=3", "seed=1"]
    assert len(polls) == 3


def test_a_damaged_manifest_counts_as_no_run(jobs):
    sweep, jobs = jobs
    train(sweep, jobs[0])
    (sweep.path / "seed=0" / "manifest.json").write_text("{")
    assert sweep.fates(jobs)[jobs[0]].status == "waiting"


def test_a_disk_without_room_is_one_line(jobs, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    sweep, jobs = jobs
    monkeypatch.setattr("gdm.runs.sweeps.write_text", full)
    with pytest.raises(UserError, match="nothing can be written there"):
        sweep.begin(jobs, {}, [])
    sweep.record()  # which can be done without


# Killed for real ---------------------------------------------------------------------------------

# Eight jobs, of which two fail once they have begun.
EIGHT = ("seed=1,2", "dataset.validation_size=60,70,80,10000")
WAYS = {
    "one process": [[]],
    "two processes": [[], []],
    "joblib": [["launcher=joblib"]],
    "submitit": [["launcher=submitit_local"]],
}


def command(outputs: Path, *arguments: str) -> list[str]:
    script = str(ROOT / "scripts" / "train.py")
    longer = ("callbacks.validation.pictures=null", "budget.images=3000")
    kept = [
        text
        for text in TINY
        if not text.startswith(("callbacks.validation", "budget", "extractor"))
    ]
    small = ("callbacks.validation.limit=60", "callbacks.validation.quality.num_samples=200")
    return [sys.executable, script, "-m", *kept, *longer, *small, "sweep=s",
            f"outputs={outputs}", *EIGHT, *arguments]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    outputs = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(outputs), capture_output=True, text=True)
    assert done.returncode == 1
    assert "2 of 8 jobs" in done.stderr
    return outputs


def kill_all(outputs: Path) -> None:
    """Kill every process that works on a sweep, as kill -9 does."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"SWEPT={outputs}".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize("way", WAYS)
def test_a_sweep_killed_three_times_ends_as_the_undisturbed_one(way, undisturbed, tmp_path):
    environment = os.environ | {"SWEPT": str(tmp_path)}
    moments = random.Random(way)
    for _ in range(3):
        started = [subprocess.Popen(command(tmp_path, *arguments), env=environment,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for arguments in WAYS[way]]  # fmt: skip
        time.sleep(moments.uniform(8, 40))
        kill_all(tmp_path)
        for process in started:
            process.wait()
    before = manifests(tmp_path)
    last = [subprocess.Popen(command(tmp_path, *arguments), env=environment, text=True,
                             stderr=subprocess.PIPE) for arguments in WAYS[way]]  # fmt: skip
    for process in last:
        _, said = process.communicate(timeout=500)
        assert process.returncode == 1
        assert "2 of 8 jobs" in said
    assert sorted(fates(tmp_path).values()) == ["failed"] * 2 + ["finished"] * 6
    for name, facts in before.items():  # what was done is not done again
        if facts["status"] == "finished":
            assert manifests(tmp_path)[name] == facts
    assert_same_runs(undisturbed, tmp_path)
    for name, facts in manifests(tmp_path).items():
        assert facts.get("final") == manifests(undisturbed)[name].get("final")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounts a small disk")
def test_a_disk_that_fills_costs_nothing_but_time(undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        done = subprocess.run(command(disk), capture_output=True, text=True)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "No space left" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=500m", str(disk)], check=True)
        done = subprocess.run(command(disk), capture_output=True, text=True)
        assert "2 of 8 jobs" in done.stderr
        assert_same_runs(undisturbed, disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
