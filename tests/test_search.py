"""Searches: what Optuna suggests is a function of the run directories, whatever is killed."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import BRIEF, ROOT, SHORT, SMALL, UNDRAWN, composed, resumed

from gdm.cli.compose import arranged, compose_config, parse
from gdm.errors import UserError
from gdm.runs import catalogue
from gdm.runs.run import Run
from gdm.runs.sweeps import Job, Sweep
from gdm.training.pruning import Pruned, Pruning, curve
from gdm.training.sweep_options import SearchOptions
from gdm.training.training import Training

optuna = pytest.importorskip("optuna")

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from gdm.cli import searching  # noqa: E402
from gdm.cli.experiments import write_experiment  # noqa: E402
from gdm.tools import search as tool  # noqa: E402
from gdm.tools.objectives import refuse_impossible  # noqa: E402

SPACE = {
    "dim": CategoricalDistribution(["8", "16", "32"]),
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
}
COUNTS = (200, 400, 600)  # images seen at the validations
DEFAULTS = SearchOptions(
    trials=12,
    images=None,
    minutes=None,
    objectives=["frechet_distance"],
    seed=0,
    startup=4,
    batch=None,
    prune=None,
    prune_after=3,
    export=None,
)


@pytest.fixture(autouse=True)
def _disks_are_fast(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


class Killed(BaseException):
    """The process was killed."""


class Launcher:
    """Leaves run directories as trainings would; of a job it is done in steps, between which it
    may be killed.

    Args:
        sweep: the folder.
        steps: after which it is killed; None for never.
        end: a job's values -> how its training ends.
    """

    def __init__(self, sweep: Sweep, steps: int | None = None, end=lambda values: "finished"):
        self.sweep, self.steps, self.end = sweep, steps, end
        self.begun: list[int] = []

    def __call__(self, jobs) -> None:
        for job in jobs:
            values = job.trial["values"]
            self.step()
            run = self.sweep.run_of(job) or Run(self.sweep.path / job.name)
            if not run.path.exists():
                run.path.mkdir()
                run.describe(asked=job.asked, trial=job.trial)
            self.begun.append(run.manifest()["trial"]["number"])
            self.step()
            attempts = run.manifest().get("attempts", 0) + 1
            run.describe(status="running", num_batches=12, attempts=attempts)
            status = self.train(run, values)
            run.describe(status=status, seconds=30.0, images_seen=curve_end(run))
            self.step()

    def train(self, run: Run, values: dict) -> str:
        pruning, status = Pruning.of(run.manifest()["trial"]), self.end(values)
        run.metrics.unlink(missing_ok=True)
        for images in COUNTS:
            self.step()
            run.record(images, {"split": "validation"} | metrics_at(values, images))
            if pruning and images < COUNTS[-1] and pruning.reason(run, images):
                return "pruned"
            if status != "finished":
                return status
        return "finished"

    def step(self) -> None:
        if self.steps == 0:
            raise Killed
        self.steps = None if self.steps is None else self.steps - 1


def metrics_at(values: dict, images: int) -> dict[str, float]:
    """Return metrics that have their best at lr 1e-3 and dim 16, and improve with the images."""
    digits = abs(len(f"{values['lr']:.0e}") and (values["lr"] - 1e-3) * 1e3)
    distance = 100 + 10 * digits + 5 * (values["dim"] != "16") + 1000 / images
    return {"frechet_distance": distance, "elbo": -2 * distance, "kl": values["lr"]}


def curve_end(run: Run) -> int:
    return max(curve(run, "frechet_distance"), default=0)


def searched(folder: Path, steps=None, batch=1, end=lambda values: "finished", **options):
    """Search in a folder, and return the search; None if it was killed."""
    sweep = Sweep(folder)

    def job_of(number, values) -> Job:
        letters = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
        mistake = "it is refused" if end(values) == "refused" else None
        return Job(f"{number:03d}", letters, ("seed=0",), mistake)

    launcher = Launcher(sweep, steps, end)
    found = tool.Search(
        sweep, SPACE, replace(DEFAULTS, **options), "letters", job_of,
        lambda values: ["seed=0"], launcher, batch,
    )  # fmt: skip
    try:
        found.run()
    except Killed:
        return None
    found.begun = launcher.begun
    return found


def suggestions(found) -> list[dict]:
    return [trial.values for trial in found.trials]


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("prune", [None, "median"])
def test_a_search_that_is_killed_twice_suggests_what_the_undisturbed_one_does(
    tmp_path, batch, prune
):
    options = {"batch": batch, "prune": prune}
    undisturbed = searched(tmp_path / "whole", **options)
    assert len({str(values) for values in suggestions(undisturbed)}) == 12
    rules = [trial.job.trial for trial in undisturbed.trials]
    moments = random.Random(batch)
    for attempt in range(3):
        folder = tmp_path / f"killed{attempt}"
        for _ in range(2):
            assert searched(folder, moments.randrange(1, 30), **options) is None
        found = searched(folder, **options)
        assert suggestions(found) == suggestions(undisturbed)
        assert [trial.job.trial for trial in found.trials] == rules
        assert [t.found for t in found.trials] == [t.found for t in undisturbed.trials]
        assert [t.fate.status for t in found.trials] == [t.fate.status for t in undisturbed.trials]


def test_at_every_moment_a_search_may_be_killed(tmp_path):
    undisturbed = suggestions(searched(tmp_path / "whole", trials=6, startup=2, batch=2))
    for steps in range(0, 36, 3):
        folder = tmp_path / str(steps)
        assert searched(folder, steps, trials=6, startup=2, batch=2) is None
        assert suggestions(searched(folder, trials=6, startup=2, batch=2)) == undisturbed


def test_a_finished_search_trains_nothing_again_and_a_longer_one_extends_it(tmp_path):
    searched(tmp_path / "a", trials=5, batch=2)
    assert searched(tmp_path / "a", trials=5, batch=2).begun == []
    longer = searched(tmp_path / "a", trials=12, batch=2)
    assert longer.begun == list(range(5, 12))
    assert suggestions(longer) == suggestions(searched(tmp_path / "b", batch=2))


def test_a_batch_keeps_its_size_where_the_next_command_has_more_workers(tmp_path):
    undisturbed = searched(tmp_path / "whole", batch=2, trials=6, startup=1)
    for steps in (8, 15, 20):
        searched(tmp_path / str(steps), steps, batch=2, trials=6, startup=1)
        found = searched(tmp_path / str(steps), batch=4, trials=4, startup=1)
        assert suggestions(found) == suggestions(undisturbed)[:4]


def test_another_seed_suggests_otherwise(tmp_path):
    a, b = (searched(tmp_path / str(seed), seed=seed, trials=3) for seed in (0, 1))
    assert suggestions(a) != suggestions(b)


def test_what_was_begun_keeps_its_values_and_counts_whatever_the_next_command_asks(tmp_path):
    begun = searched(tmp_path / "a", trials=5)
    other = searched(tmp_path / "a", trials=3, seed=1)
    assert suggestions(other) == suggestions(begun)
    assert other.begun == []
    longer = searched(tmp_path / "a", trials=6, seed=1)
    assert suggestions(longer)[:5] == suggestions(begun)


def test_suggestions_follow_what_was_found(tmp_path):
    """After its random trials it keeps near the best more often than chance would."""
    found = searched(tmp_path / "a", trials=40, startup=10)
    later = [trial.values for trial in found.trials[20:]]
    assert sum(values["dim"] == "16" for values in later) > len(later) / 2
    assert found.best()[0].found[0] < 103


@pytest.mark.parametrize("name", ["frechet_distance", "elbo"])
def test_a_metric_is_searched_in_the_direction_that_the_table_says(tmp_path, name):
    found = searched(tmp_path / "a", objectives=[name], trials=8)
    values = [trial.found[0] for trial in found.trials]
    best = min(values) if name == "frechet_distance" else max(values)
    assert [trial.found for trial in found.best()] == [[best]]
    assert best != (max(values) if name == "frechet_distance" else min(values))


def test_several_objectives_have_a_front(tmp_path):
    objectives = ["frechet_distance", "loss"]

    class Two(Launcher):
        def train(self, run, values):
            lr = values["lr"]
            run.record(
                600, {"split": "validation", "frechet_distance": lr, "loss": (lr - 5e-3) ** 2}
            )
            return "finished"

    options = {"objectives": objectives, "trials": 15}
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(globals(), "Launcher", Two)
        patched.setitem(globals(), "curve_end", lambda run: 600)
        found = searched(tmp_path / "a", **options)
        searched(tmp_path / "b", 21, **options)
        assert suggestions(searched(tmp_path / "b", **options)) == suggestions(found)
    front = [trial.found for trial in found.best()]
    assert len(front) > 1
    assert front == sorted(front)
    for values in front:
        others = [trial.found for trial in found.trials if trial.found != values]
        assert not any(a <= values[0] and b <= values[1] for a, b in others)


@pytest.mark.parametrize("end", ["failed", "refused", "diverged"])
def test_trials_that_come_to_nothing_count_and_stop_nothing(tmp_path, end):
    def ends(values):
        return end if values["dim"] == "8" else "finished"

    found = searched(tmp_path / "a", end=ends)
    states = {trial.number: trial.state.name for trial in found.study.trials}
    assert len(found.trials) == 12
    for trial in found.trials:
        is_bad = trial.values["dim"] == "8"
        assert trial.fate.status == (end if is_bad else "finished")
        told = "FAIL" if end == "failed" else "PRUNED"
        assert states[trial.number] == (told if is_bad else "COMPLETE")
    assert found.best()[0].values["dim"] != "8"
    for steps in (10, 25):
        searched(tmp_path / "b", steps, end=ends)
    again = searched(tmp_path / "b", end=ends)
    assert suggestions(again) == suggestions(found)
    assert searched(tmp_path / "b", end=ends).begun == []


def test_a_mistake_in_all_trials_ends_the_search(tmp_path):
    with pytest.raises(UserError, match="all 5 trials are refused; it is refused"):
        searched(tmp_path / "a", end=lambda values: "refused")


def test_a_trial_that_nobody_begins_ends_the_search(tmp_path):
    sweep = Sweep(tmp_path / "a")
    found = tool.Search(
        sweep, SPACE, DEFAULTS, "letters", lambda number, values: Job("a", "a", ()),
        lambda values: [], lambda jobs: None,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"1 of 1 jobs of .* are not done: a"):
        found.run()


def test_an_objective_that_no_run_records_ends_the_search_after_its_first_batch(tmp_path):
    with pytest.raises(
        UserError, match=r"000 does not record .* it records frechet_distance, elbo"
    ):
        searched(tmp_path / "a", objectives=["precision"])
    assert len(list((tmp_path / "a").glob("*/manifest.json"))) == 1


# Length -----------------------------------------------------------------------------------------


def test_a_budget_in_images_or_minutes_ends_the_search_and_a_larger_one_extends_it(tmp_path):
    found = searched(tmp_path / "a", trials=None, images=2000)
    assert (len(found.trials), found.images) == (4, 2400)
    assert len(searched(tmp_path / "a", trials=None, images=4000).trials) == 7
    assert len(searched(tmp_path / "b", trials=None, minutes=2.2).trials) == 5
    assert len(searched(tmp_path / "c", trials=3, images=10**6, minutes=1000).trials) == 3
    assert len(searched(tmp_path / "d", trials=None).trials) == tool.DEFAULT_TRIALS


def test_a_budget_in_images_is_kept_through_kills(tmp_path):
    whole = searched(tmp_path / "a", trials=None, images=4000, prune="median")
    for steps in (5, 14, 22):
        searched(tmp_path / "b", steps, trials=None, images=4000, prune="median")
    found = searched(tmp_path / "b", trials=None, images=4000, prune="median")
    assert suggestions(found) == suggestions(whole)
    assert found.images == whole.images


def test_a_configuration_is_trained_once_and_a_space_that_is_exhausted_ends_the_search(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(SPACE, "lr", CategoricalDistribution([1e-3]))
    found = searched(tmp_path / "a", trials=None, images=10**9)
    assert len(found.begun) == 3
    assert len(found.trials) < 3 + 2 * tool.MAX_REPEATS
    assert found.images == 3 * 600
    assert suggestions(searched(tmp_path / "a", trials=None, images=10**9)) == suggestions(found)


# Pruning ----------------------------------------------------------------------------------------


def test_the_limits_are_medians_of_what_trials_of_earlier_batches_had_found(tmp_path):
    found = searched(tmp_path / "a", batch=2, prune="median")
    statuses = [trial.fate.status for trial in found.trials]
    assert set(statuses) == {"finished", "pruned"}
    for trial in found.trials:
        rule, first = trial.job.trial["prune"], trial.number // 2 * 2
        limits = {}
        for images in COUNTS:
            curves = [curve(t.fate.run, "frechet_distance") for t in found.trials[:first]]
            values = sorted(each[images] for each in curves if images in each)
            if len(values) >= 3:
                middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
                limits[images] = middle
        assert dict(rule["limits"]) == pytest.approx(limits)


def test_a_run_is_given_up_by_its_best_value_so_far(tmp_path):
    run = Run(tmp_path)
    pruning = Pruning("elbo", [(200, -5.0), (400, -3.0)])
    assert pruning.reason(run, 0) is None
    run.record(0, {"split": "validation", "elbo": -9.0})
    assert pruning.reason(run, 0) is None  # before the first limit
    run.record(200, {"split": "validation", "elbo": -4.0})
    run.record(200, {"split": "validation", "elbo": -99.0})  # evaluate.py's
    assert pruning.reason(run, 200) is None
    run.record(390, {"split": "validation", "elbo": -8.0})
    assert pruning.reason(run, 390) is None  # its best is -4 still, and the limit -5
    run.record(400, {"split": "validation", "elbo": -3.5})
    assert "elbo is -3.50 by 400 images" in pruning.reason(run, 400)
    assert pruning.reason(run, 399) is None
    assert Pruning.of({"prune": None}) is Pruning.of(None) is None


def test_a_pruned_run_is_saved_and_goes_on_by_hand_to_what_it_would_have_been(tmp_path, short_vae):
    recipe = composed(*SHORT) | {"outputs": str(tmp_path)}
    training = Training(recipe)
    training.pruning = Pruning("frechet_distance", [(200, 0.0)])
    run = catalogue.create(recipe)
    with pytest.raises(Pruned):
        training.run(run)
    manifest = run.manifest()
    assert (manifest["status"], manifest["images_seen"]) == ("pruned", 200)
    again = Training(recipe)  # killed before the status was written
    again.pruning = training.pruning
    with pytest.raises(Pruned):
        again.run(run, resume=True)
    assert [record["images"] for record in run.records()] == [0, 200]
    resumed(run)
    assert run.manifest()["status"] == "finished"
    assert curve(run, "frechet_distance") == curve(short_vae, "frechet_distance")


# The command line -------------------------------------------------------------------------------


def space_of(*overrides: str) -> dict:
    return searching._Words(parse(list(overrides))).space


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("lr=interval(1,3)", FloatDistribution(1, 3)),
        ("lr=tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("lr=tag(int, interval(1, 8))", IntDistribution(1, 8)),
        ("lr=int(interval(1, 8))", IntDistribution(1, 8)),
        ("lr=tag(int, log, interval(1, 8))", IntDistribution(1, 8, log=True)),
        ("lr=range(2,9,2)", IntDistribution(2, 8, step=2)),
        ("lr=range(4)", IntDistribution(0, 3)),
        ("lr=range(5,0,-1)", IntDistribution(1, 5)),
        ("lr=tag(log, range(1,9))", IntDistribution(1, 8, log=True)),
        ("lr=range(0.1,0.45,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("lr=8,16", CategoricalDistribution(["8", "16"])),
        ("lr=a,null,true,[1,2]", CategoricalDistribution(["a", "null", "True", "[1,2]"])),
        ("lr=shuffle(3,1,2)", CategoricalDistribution(["3", "1", "2"])),
    ],
)
def test_hydras_syntax_says_what_a_dimension_may_be(text, distribution):
    assert space_of(text, "seed=1") == {"lr": distribution}


def test_what_is_suggested_is_written_as_hydra_reads_it():
    words = ["a=range(0.1,0.45,0.1)", "b=tag(log,interval(1e-9,1))", "c=x,[1,y]"]
    words = searching._Words(parse([*words, "sweeper.trials=3", "d=5", "~e"]))
    text = words.overrides_of({"a": 0.30000000000000004, "b": 1.23456789012345e-07, "c": "[1,y]"})
    assert text == ["a=0.3", "b=1.23456789012345e-07", "c=[1,y]", "d=5", "~e"]
    assert [each.value() for each in parse(text)][:3] == [0.3, 1.23456789012345e-07, [1, "y"]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("lr=interval(3,1)", "begins with the smaller number"),
        ("lr=tag(log, interval(0,1))", "above 0"),
        ("lr=tag(lag, interval(0,1))", "did you mean log"),
        ("lr=tag(int, interval(0.5,2))", "whole numbers"),
        ("lr=tag(log, range(0.1,1,0.1))", "by steps of 1"),
        ("lr=range(3,3)", "no number"),
        ("lr=tag(log, choice(1,2))", "tags are for"),
        ("sweeper.objectives=elbo,loss", "no dimension"),
        ("outputs=a,b", "no dimension"),
        ("launcher=joblib,ray", "no dimension"),
    ],
)
def test_what_is_no_dimension_is_refused(text, reason):
    with pytest.raises(UserError, match=reason):
        space_of(text)


@pytest.mark.parametrize(
    ("options", "overrides", "reason"),
    [
        ({"objectives": ["frechet"]}, (), "did you mean frechet_distance"),
        ({"objectives": ["kl"]}, (), "neither way"),
        ({"objectives": ["confident"]}, (), "neither way"),
        ({"objectives": ["psnr"]}, (), r"evaluate\.py"),
        ({"objectives": []}, (), "at least one"),
        ({"objectives": ["elbo", "elbo"]}, (), "each once"),
        ({"objectives": ["precision"]}, (), "pairwise=false"),
        ({}, ("extractor=null",), "extractor=null"),
        ({}, ("callbacks.validation.quality=null",), "quality=null"),
        ({}, ("callbacks.validation=null",), "validation=null"),
        (
            {"objectives": ["elbo"], "prune": "median"},
            ("callbacks.validation=null",),
            "prune=median",
        ),
        ({"objectives": ["elbo", "loss"], "prune": "median"}, (), "one objective, not 2"),
    ],
)
def test_an_impossible_search_is_refused_before_anything_is_trained(options, overrides, reason):
    with pytest.raises(UserError, match=reason):
        refuse_impossible(replace(DEFAULTS, **options), SPACE, composed(*overrides))


def test_a_search_needs_a_dimension():
    with pytest.raises(UserError, match="no key has several values"):
        refuse_impossible(DEFAULTS, {}, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-m", "model.latent_dim=interval(1,2)"), "searched, by sweeper=optuna"),
        (("sweeper=optuna",), "which -m runs"),
        (
            ("-m", "sweeper=optuna", "seed=0", "sweeper.trials=0", "model.latent_dim=2,3"),
            "trials=0",
        ),
        (("-m", "sweeper=optima", "model.latent_dim=2,3"), "did you mean optuna"),
        (("-m", "sweeper=optuna", "sweeper.objectives=elbo", "seed=1,2"), "a list"),
    ],
)
def test_wrong_uses_are_one_line(run_script, tmp_path, arguments, reason):
    done = run_script("train", *arguments, f"outputs={tmp_path}")
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.count("error") == 1
    assert "Traceback" not in done.stderr


def test_without_optuna_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[optuna\]'"):
        searching._refuse_missing()


def test_trials_of_another_search_are_refused(tmp_path):
    searched(tmp_path / "a", trials=1)
    with pytest.raises(UserError, match="other dimensions or settings"):
        tool.Search(
            Sweep(tmp_path / "a"), SPACE, DEFAULTS, "others", None, lambda values: [], None
        )


def test_other_numbers_of_trials_and_other_places_are_the_same_search():
    one, two, other = (
        searching._Words(parse(words)).letters
        for words in (
            ["lr=1,2", "sweep.name=a", "sweeper.trials=2", "outputs=x"],
            ["outputs=y", "lr=1,2", "sweeper.trials=3", "launcher=joblib"],
            ["lr=1,3"],
        )
    )
    assert one == two != other


# What is left -----------------------------------------------------------------------------------


def test_the_study_is_exported_for_the_dashboard(tmp_path):
    found = searched(tmp_path / "night", prune="median")
    path = tmp_path / "new" / "study.db"
    found.export(path)
    found.export(path)  # again, in its place
    study = optuna.load_study(study_name="night", storage=f"sqlite:///{path}")
    assert [trial.params for trial in study.trials] == suggestions(found)
    assert study.best_trial.number == found.best()[0].number
    assert study.trials[0].user_attrs == {"status": "finished", "run": "000"}
    assert list(study.trials[0].intermediate_values) == list(COUNTS)


def test_nothing_but_a_study_is_written_into(tmp_path):
    (tmp_path / "mine.db").write_text("my thesis")
    found = searched(tmp_path / "night", trials=1)
    with pytest.raises(UserError, match=r"mine\.db: no study can be written"):
        found.export(tmp_path / "mine.db")
    assert (tmp_path / "mine.db").read_text() == "my thesis"


@pytest.mark.parametrize(
    "words",
    [
        ["model=vae", "likelihood=gaussian", "prior=mixture", "model.latent_dim=4", "trainer=cpu"],
        ["model=dcgan", "penalty=null", "optimizer=adam_gan", "extractor=null", "logger=null"],
        ["experiment=ddpm_mnist", "sampler=heun", "model.autoguidance=1.5", "callbacks=sparse"],
        ["callbacks.validation=null", "callbacks.progress.seconds=1e-05", "+dataset.extra='a: b'"],
    ],
)
def test_an_experiment_file_stands_for_the_overrides(tmp_path, monkeypatch, words):
    overrides = arranged(
        [*words, "sweep=x", "sweeper=optuna", "outputs=o", "seed=3"], ROOT / "configs"
    )
    (tmp_path / "experiment").mkdir()
    path = tmp_path / "experiment" / "best.yaml"
    assert write_experiment(path, "what\nit is", overrides) == []
    assert path.read_text().startswith("# @package _global_\n# what")
    wanted = compose_config(ROOT / "configs", "train", [*words, "seed=3"])
    monkeypatch.setattr(sys, "argv", ["train.py", f"--config-dir={tmp_path}"])
    assert compose_config(ROOT / "configs", "train", ["experiment=best"]) == wanted


def test_what_no_file_can_say_is_typed(tmp_path):
    words = ["plugins=[mine]", "~model.ema", "seed=1"]
    assert write_experiment(tmp_path / "best.yaml", "", words) == [
        "'plugins=[mine]'",
        "'~model.ema'",
    ]


JOURNEY = (
    *SMALL, *BRIEF, UNDRAWN, "sweeper=optuna", "sweep=night", "sweeper.startup=4",
    "sweeper.trials=12", "sweeper.prune=median", "sweeper.prune_after=3",
    "model.optimizer.lr=tag(log, interval(1e-4, 1e-2))", "model.latent_dim=8,16,32",
)  # fmt: skip


@pytest.mark.slow
def test_a_search_of_trained_runs_that_is_killed_twice_suggests_the_same(tmp_path):
    def search(folder: str, until: int | None = None) -> None:
        command = [
            sys.executable,
            "scripts/train.py",
            "-m",
            *JOURNEY,
            f"outputs={tmp_path / folder}",
        ]
        log = (tmp_path / f"{folder}.txt").open("a")
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        while process.poll() is None:
            time.sleep(0.2)
            records = (tmp_path / folder).glob("sweeps/night/*/metrics.jsonl")
            if until and sum(len(path.read_text().splitlines()) for path in records) >= until:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return
        assert until is None
        assert process.returncode == 0

    def trials(folder: str) -> list:
        runs = Sweep(tmp_path / folder / "sweeps" / "night").trials()
        return [
            (run.manifest()["trial"], run.manifest()["status"], curve(run, "frechet_distance"))
            for run in runs.values()
        ]

    search("whole")
    search("killed", until=10)
    search("killed", until=26)
    search("killed")
    assert trials("killed") == trials("whole")
    assert len(trials("whole")) == 12
    experiment = tmp_path / "killed" / "sweeps" / "night" / "experiment" / "best.yaml"
    assert (
        experiment.read_text()
        == (tmp_path / "whole" / "sweeps" / "night" / "experiment" / "best.yaml").read_text()
    )
