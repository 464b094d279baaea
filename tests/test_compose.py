"""The command line: what it composes, what it reopens, and what it says of mistakes."""

import logging
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import composed
from hydra.errors import HydraException

from gdm.cli.command_line import main
from gdm.cli.compose import BASES, compose_config, parse
from gdm.cli.model_groups import refuse_unused
from gdm.cli.new_run import job_name
from gdm.cli.origin import Origin
from gdm.cli.train import train
from gdm.errors import UserError
from gdm.recipes.build import THIRD_PARTY, locate
from gdm.recipes.check import check, check_quickly, schema
from gdm.recipes.terminal import override
from gdm.recipes.tree import arguments, nodes
from gdm.runs.run import Run
from gdm.training.options import TrainOptions

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
OPTIONS = sorted(
    (path.parent.name, path.stem) for path in CONFIGS.glob("*/*.yaml") if path.parent.name != BASES
)
OF_OTHER_SCRIPTS = {"tool": "latent"}
MODELS = sorted((option for group, option in OPTIONS if group == "model"), key="vae".__ne__)


class Line:
    """A command line in this process: what its task was called with, and how it ended."""

    def __init__(self, monkeypatch, capsys) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.calls, self.status = [], 0
        self.task = lambda recipe, origin: None

    def __call__(self, *arguments: str, script: str = "train", configs: Path = CONFIGS) -> str:
        def task(recipe, origin):
            self.calls.append((recipe, origin))
            self.task(recipe, origin)

        self.calls, self.status = [], 0
        self.monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        try:
            main(script, task, configs)
        except SystemExit as stop:
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
            self.status = 1 if isinstance(stop.code, str) else stop.code or 0
        captured = self.capsys.readouterr()
        self.shown = captured.out
        return captured.err.strip()

    @property
    def recipe(self) -> dict:
        return self.calls[-1][0]

    @property
    def origin(self) -> Origin:
        return self.calls[-1][1]


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Line(monkeypatch, capsys)
    root.handlers[:], root.level = handlers, level


SAVED = []  # the text of a recipe, once it is composed


@pytest.fixture
def saved(line):
    """The directory of an earlier run, below outputs/."""
    if not SAVED:
        line("model.latent_dim=3", "budget.images=1000")
        SAVED.append(yaml.safe_dump(line.recipe))
    folder = Path("outputs/vae/first/.hydra")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(*SAVED)
    return folder.parent


# Every YAML -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_makes_a_good_recipe_with_one_model_at_least(group, option):
    if (group, option) == ("launcher", "ray"):
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="it is large")
    if group in OF_OTHER_SCRIPTS:
        script = compose_config(CONFIGS, OF_OTHER_SCRIPTS[group], [f"{group}={option}"])
        check(script)
        return check_keys(script)
    mistakes = []
    first = sorted(MODELS, key=lambda model: group not in composed(f"model={model}")["model"])
    for model in [option] if group == "model" else first:
        try:
            recipe = composed(f"model={model}", f"{group}={option}")
            check(recipe)
        except (UserError, HydraException) as mistake:
            mistakes.append(str(mistake))
            continue
        return check_keys(recipe)
    pytest.fail("\n".join(mistakes))


def check_keys(recipe: dict) -> None:
    """A node lists all that its target takes, so that every key can be overridden."""
    for key, node in nodes(recipe):
        listed = set(arguments(node))
        if node["_target_"] in THIRD_PARTY:
            assert listed <= set(THIRD_PARTY[node["_target_"]]), key
        elif node.get("_partial_"):
            assert listed <= set(schema(locate(node))), key
        else:
            assert listed == set(schema(locate(node))), key


def test_the_default_is_a_vae_on_the_bundled_data(line):
    assert line() == ""
    assert line.recipe["model"]["_target_"] == "gdm.models.vae.VAE"
    assert line.recipe["dataset"]["source"]["_target_"].endswith("FashionMNISTMini")
    assert line.recipe["trainer"]["accelerator"] == "auto"
    assert not {"hydra", "plugins", "rerun", "resume"} & set(line.recipe)


def test_a_recipe_is_plain_and_resolved(line):
    line("dataset.facts.channels=3")
    assert line.recipe["model"]["facts"]["channels"] == 3
    assert yaml.safe_load(yaml.safe_dump(line.recipe)) == line.recipe


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("model.conditional=true", "model.conditional: write model.condition=label, or null now"),
        (
            "model.learning_rate.warmup_share=0",
            "model.learning_rate.warmup_share: write model.learning_rate.warmup_fraction now",
        ),
        ("dataset.channels=3", "dataset.channels: write dataset.facts.channels now"),
        ("density=gaussian", "model.density: VAE takes no density; it takes latent_dim"),
        ("model.optimizer.lr=-1", "model.optimizer.lr=-1: must be a number, above 0"),
        ("model.latent_dim=0", "model.latent_dim=0: must be a whole number, at least 1"),
        ("trainer.devices=2", "trainer.devices=2: must be 1, since a run uses one device"),
        ("trainer.precision=8", "trainer.precision=8: must be one of 32-true, bf16-mixed"),
        ("trainer.accelerator=tpu", "trainer.accelerator=tpu: must be one of auto, cpu, gpu"),
        ("+trainer.logger=true", "trainer.logger: Trainer takes no logger; it takes accelerator"),
        ("~model.beta", "model.beta is missing: must be a number, at least 0"),
        ("model.optimizer.betas=[0.9,1]", "model.optimizer.betas=[0.9,1]: Invalid beta"),
        ("likelihood=null", "model.likelihood is missing: must be a _target_ of class Likelihood"),
    ],
)
def test_a_configuration_that_composes_may_still_be_refused(line, argument, message):
    line.task = lambda recipe, origin: check(recipe)
    assert line(argument).startswith(f"error: {message}")
    assert line.status == 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "budget.epochs=1e308",
            "budget.epochs=1e+308: must be a number, above 0, at most 1000000",
        ),
        ("budget.images=1" + 30 * "0", "budget.images=1" + 30 * "0" + ": must be a whole number"),
        ("budget.images=1" + 400 * "0", "budget.images=1" + 400 * "0" + ": must be a whole num"),
        ("budget.minutes=1e308", "budget.minutes=1e+308: must be a number, above 0, at most 1000"),
        (
            "seed=1" + 30 * "0",
            "seed=1" + 30 * "0" + ": must be a whole number, between 0 and 9223",
        ),
    ],
)
def test_a_number_beyond_all_use_is_refused(line, argument, message):
    line.task = lambda recipe, origin: check(recipe, root=TrainOptions)
    assert line(argument).startswith(f"error: {message}")


# A new run --------------------------------------------------------------------------------------


def test_a_task_learns_where_its_recipe_comes_from(line):
    line("model=beta_vae", "seed=3", "optimizer=sgd", "plugins=[mine,yours]", "logger=null")
    origin = line.origin
    assert (origin.kind, origin.run, origin.sweep) == ("new", None, None)
    assert origin.overrides[:3] == ["model=beta_vae", "seed=3", "optimizer=sgd"]
    assert origin.plugins == ["mine", "yours"]
    assert origin.choices["model"] == "beta_vae"
    assert origin.choices["dataset"] == "fashion_mnist_mini"
    assert line.recipe["logger"] is None
    assert line.recipe["model"]["optimizer"]["_target_"] == "torch.optim.SGD"


def test_hydra_writes_nothing(line):
    line("seed=1")
    assert list(Path().iterdir()) == []


def test_plugins_come_from_the_command_line_alone(line, tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "theirs.yaml").write_text("# @package _global_\nplugins: [evil]\nseed: 5\n")
    assert line("experiment=theirs", f"--config-dir={tmp_path}") == ""
    assert line.recipe["seed"] == 5
    assert line.origin.plugins == []
    assert "plugins" not in line.recipe


def test_a_seed_that_not_every_library_takes_is_refused(line):
    line.task = lambda recipe, origin: check(recipe, root=TrainOptions)
    assert line(f"seed={2**63 - 1}") == ""
    assert line(f"seed={10**400}").endswith(f": must be a whole number, between 0 and {2**63 - 1}")


@pytest.mark.parametrize("budget", ["epochs=1e308", f"images={10**30}", "minutes=1e308"])
def test_a_budget_without_end_is_refused(budget, line):
    line.task = lambda recipe, origin: check_quickly(recipe)
    assert line(f"budget.{budget}").startswith(f"error: budget.{budget.split('=')[0]}=1")
    assert line.status == 1


def test_a_debugging_run_is_short_and_looks_for_nan(line):
    line("trainer=debug")
    assert line.recipe["budget"]["images"] == 2560
    validation = line.recipe["callbacks"]["validation"]
    assert (validation["times"], validation["limit"]) == (2, 200)
    assert validation["quality"]["num_samples"] == 100
    assert validation["pictures"]["num_samples"] == 20
    check(line.recipe)
    assert line.recipe["trainer"]["detect_anomaly"] is True
    assert line.recipe["trainer"]["accelerator"] == "cpu"


@pytest.mark.parametrize(
    ("overrides", "left"),
    [
        (["callbacks=null"], None),
        (["callbacks.validation=null"], {"validation": None}),
        (["callbacks.validation.quality=null"], {"validation": {"quality": None}}),
    ],
)
def test_a_debugging_run_keeps_off_what_is_switched_off(overrides, left, line, saved):
    line("trainer=debug", *overrides)
    check(line.recipe)
    assert_within(left, line.recipe["callbacks"])
    line("rerun=first", *overrides)
    (saved / ".hydra" / "config.yaml").write_text(yaml.safe_dump(line.recipe))
    line("rerun=first", "trainer=debug")
    assert line.recipe["trainer"]["detect_anomaly"] is True
    check(line.recipe)
    assert_within(left, line.recipe["callbacks"])


def assert_within(part, whole) -> None:
    """Compare what a part names."""
    if isinstance(part, dict):
        for key in part:
            assert_within(part[key], whole[key])
    else:
        assert part == whole


def test_flags_and_overrides_come_in_any_order(line):
    assert line("seed=5", "--cfg", "job", "model.beta=2") == ""
    assert yaml.safe_load(line.shown)["seed"] == 5
    assert line.calls == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.latnt_dim=3"], "model.latnt_dim: there is no such key; did you mean model.late"),
        (["lr=3"], "lr: there is no such key; did you mean model.optimizer.lr?"),
        (
            ["optimizer.lr=3"],
            "optimizer.lr: there is no such key; did you mean model.optimizer.lr",
        ),
        (["sed=3"], "sed: there is no such key; did you mean seed?"),
        (["seed.x=3"], "seed.x: there is no such key"),
        (["modle=vae"], "modle: there is no such key; did you mean model?"),
        (["model=vea"], "model=vea: model has no such option; did you mean vae?; it has autoenc"),
        (["model=3"], "model=3: model has no such option; it has autoencoder"),
        (["dataset=fashion"], "dataset=fashion: dataset has no such option; did you mean fashion"),
        (["model=autoencoder", "model.beta=3"], "model.beta: there is no such key"),
        (["vae"], "vae: write key=value or group=option"),
        (["seeds"], "seeds: write key=value or group=option; did you mean seed?"),
        (["seed=1,2"], "seed=1,2: several values are a sweep, which -m runs; a list is written"),
        (["name=a=b"], "name=a=b: mismatched input '='"),
        (["name=x(y"], "name=x(y: "),
        (["seed=${nothing}"], "seed: Interpolation key 'nothing' not found"),
        (["plugins=mine"], "plugins=mine: must be a list of packages, plugins=[mine]"),
        (["optimizer@model.o=sgd"], "Could not override 'optimizer@model.o'."),
        (["hydra.nothing=3"], "Could not override 'hydra.nothing'."),
        (["model.lr=3"], "model.lr: there is no such key; did you mean model.optimizer.lr?"),
        (["model=VAE"], "model=VAE: model has no such option; did you mean vae?"),
        (["trainer.max_epochs=3"], "trainer.max_epochs: there is no such key; did you mean budg"),
        (["seed"], "seed: write seed=..., with a value"),
        (["model=[vae]"], "model=[vae]: model has no such option; did you mean vae?"),
        (["model=vae.yaml"], "model=vae.yaml: model has no such option; did you mean vae?"),
        (["-m", "model=vae,vae.yaml"], "model=vae.yaml: model has no such option"),
        (["hydra.run.dir=there"], "hydra.run.dir=there: where runs are made is said by outputs="),
        (["outputs="], "outputs=: must be text, the folder of all runs"),
        (["-m", "outputs=", "seed=1,2"], "outputs=: must be text, the folder of all runs"),
        (["outputs=null"], "outputs=null: must be text, the folder of all runs"),
        (["resume="], "resume= is empty: name a run's directory"),
        (["rerun=''"], "rerun= is empty: name a run's directory"),
        (["name=a;b"], "name=a;b: it has a quote or a sign that cannot be read there; as text"),
        (["name=a'b"], "name=a'b: it has a quote or a sign that cannot be read there; as text"),
        (["model.density.num_components=3"], "model.density.num_components: the model has no gro"),
        ([f"seed={'9' * 5000}"], f"seed={'9' * 5000}: "),
        (["-m", "model=vae,vea"], "model=vea: model has no such option; did you mean vae?"),
        (["-m", "seed=1,2", "model.betta=3"], "model.betta: there is no such key; did you mean"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_clear_line(line, arguments, message):
    shown = line(*arguments)
    assert shown.startswith(f"error: {message}")
    assert "\n" not in shown
    assert line.status == 1
    assert line.calls == []


def test_a_broken_file_is_named(line, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "broken.yaml").write_text("a: [1,\n")
    shown = line("experiment=broken", f"--config-dir={tmp_path}")
    assert shown.startswith("error: ")
    assert "Traceback" not in shown


def test_a_users_mistake_has_no_traceback_and_ours_has(line):
    def mistake(recipe, origin):
        raise UserError("the model is too shy")

    line.task = mistake
    assert line() == "error: the model is too shy"

    def defect(recipe, origin):
        raise ZeroDivisionError

    line.task = defect
    with pytest.raises(ZeroDivisionError):
        line()


def test_a_tasks_own_exit_status_is_kept(line):
    line.task = lambda recipe, origin: sys.exit(143)
    line()
    assert line.status == 143


# Sweeps -----------------------------------------------------------------------------------------


def test_several_values_run_another_script_once_each(line):
    assert line("-m", "seed=1,2", "index=0,3", script="draw_schedules") == ""
    assert [(recipe["seed"], recipe["index"]) for recipe, _ in line.calls] == [
        (1, 0), (1, 3), (2, 0), (2, 3),
    ]  # fmt: skip
    assert line.shown.splitlines() == [
        f"run {number} of the sweep: seed={seed} index={index}"
        for number, (seed, index) in enumerate([(1, 0), (1, 3), (2, 0), (2, 3)], start=1)
    ]


def test_a_failed_call_is_logged_at_once_and_stops_no_other(line):
    seen = []

    def task(recipe, origin):
        print(f"job {recipe['seed']}")
        seen.append(recipe["seed"])
        if recipe["seed"] == 1:
            raise UserError("a shy model")
        if recipe["seed"] == 2:
            raise ZeroDivisionError("a defect")

    line.task = task
    shown = line("-m", "seed=1,2,3", script="draw_schedules")
    assert seen == [1, 2, 3]
    assert line.status == 1
    assert shown == "error: 2 of the sweep's runs failed: seed=1; seed=2"
    log = line.shown
    assert log.index("job 1") < log.index("seed=1 failed: a shy model") < log.index("job 2")
    assert log.count("Traceback") == 1
    assert log.index("seed=2 failed") < log.index("ZeroDivisionError: a defect")


def test_nothing_is_made_where_outputs_is_empty(line, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "nowhere.yaml").write_text("# @package _global_\noutputs: ''\n")
    shown = line("experiment=nowhere", f"--config-dir={tmp_path}")
    assert shown.startswith("error: outputs=: must be text, the folder of all runs")


@pytest.mark.parametrize("stop", [SystemExit(143), SystemExit(130)])
def test_a_signal_stops_the_whole_sweep(line, stop):
    def task(recipe, origin):
        raise stop

    line.task = task
    line("-m", "seed=1,2,3")
    assert len(line.calls) == 1
    assert line.status == stop.code


# An earlier run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["last", "first", "vae/first", "outputs/vae/first"])
def test_rerun_hands_over_the_saved_recipe(line, saved, reference):
    assert line(f"rerun={reference}") == ""
    assert line.recipe == yaml.safe_load((saved / ".hydra/config.yaml").read_text())
    assert line.origin.kind == "rerun"
    assert line.origin.run.path.resolve() == saved.resolve()


def test_rerun_takes_keys_and_surroundings(line, saved):
    assert line("rerun=first", "model.latent_dim=5", "trainer=cpu", "logger=null", "seed=3") == ""
    assert line.recipe["model"]["latent_dim"] == 5
    assert line.recipe["trainer"]["accelerator"] == "cpu"
    assert line.recipe["logger"] is None
    assert line.recipe["seed"] == 3
    assert line.recipe["budget"]["images"] == 1000
    assert line.origin.overrides[:2] == ["model.latent_dim=5", "trainer=cpu"]


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("logger=csv", ["csv"]),
        ("logger=[tensorboard,csv]", ["tensorboard", "csv"]),
        ("logger=[]", None),
        ("logger=null", None),
        ("~logger", None),
    ],
)
@pytest.mark.parametrize("reference", [[], ["resume=first"], ["rerun=first"]])
def test_a_run_takes_any_number_of_loggers(line, saved, written, names, reference):
    assert line(*reference, written) == ""
    assert line.recipe["logger"] is None if names is None else list(line.recipe["logger"]) == names
    check(line.recipe, root=TrainOptions)


def test_a_sweep_may_vary_the_loggers(line):
    line("-m", "logger=[csv,wandb],mlflow,[]")  # and says that nothing was trained
    assert [list(recipe["logger"] or []) for recipe, _ in line.calls] == [
        ["csv", "wandb"], ["mlflow"], [],
    ]  # fmt: skip
    assert line("-m", "logger=[csv,wandb],[cvs]").startswith("error: logger=cvs: logger has no")


def test_single_keys_of_a_logger_change_on_resuming(line, saved):
    assert line("resume=first", "logger=[csv,wandb]", "logger.wandb.project=mine") == ""
    assert line.recipe["logger"]["wandb"]["project"] == "mine"


@pytest.mark.parametrize("reference", [[], ["resume=first"]])
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("logger=[csv,tensorbord]", "logger=tensorbord: logger has no such option; did you mean"),
        ("logger=[csv,null]", "logger=null: logger has no such option"),
        ("logger=none", "logger=none: nothing is written logger=null"),
        ("trainer=[cpu,gpu]", "trainer=[cpu,gpu]: trainer has no such option"),
    ],
)
def test_what_is_no_logger_is_one_clear_line(line, saved, reference, written, message):
    assert line(*reference, written).startswith(f"error: {message}")
    assert (line.status, line.calls) == (1, [])


def test_a_new_length_replaces_the_old_in_any_unit(line, saved):
    line("resume=first", "budget.epochs=40")
    assert line.origin.kind == "resume"
    assert line.recipe["budget"] == {
        "_target_": "gdm.training.budget.Budget",
        "epochs": 40,
        "images": None,
        "minutes": None,
    }
    line("rerun=first", "trainer=debug")
    assert (line.recipe["budget"]["images"], line.recipe["budget"]["epochs"]) == (2560, None)


def test_the_outputs_folder_is_not_taken_from_a_run_that_was_sent(line, saved):
    path = saved / ".hydra" / "config.yaml"
    recipe = yaml.safe_load(path.read_text()) | {"outputs": "/somewhere/else", "plugins": ["evil"]}
    path.write_text(yaml.safe_dump(recipe))
    line("rerun=first")
    assert line.recipe["outputs"] == "outputs"
    assert line.origin.plugins == []
    saved.rename("elsewhere")
    line("rerun=elsewhere", "outputs=there", "plugins=[mine]")
    assert line.recipe["outputs"] == "there"
    assert line.origin.plugins == ["mine"]


def test_what_looks_like_an_interpolation_in_a_saved_recipe_stays_text(line, saved, monkeypatch):
    monkeypatch.setenv("SECRET", "told")
    path = saved / ".hydra" / "config.yaml"
    recipe = yaml.safe_load(path.read_text()) | {"name": "${oc.env:SECRET}"}
    path.write_text(yaml.safe_dump(recipe))
    line("rerun=first", "trainer=cpu", "model.beta=2")
    assert line.recipe["name"] == "${oc.env:SECRET}"


@pytest.mark.parametrize("name", ["a b", 'say "no"', "it's", "größe", "~x", "a,b", "a\\", "[1]"])
def test_what_is_printed_to_be_typed_can_be_pasted(name, line, saved):
    folder = saved.parent / name
    saved.rename(folder)
    script, _, *words = shlex.split(Run(folder).command("train", ["mine"], "budget.images=5"))
    assert script == "python"
    assert line(*words) == ""
    assert line.origin.run.path == folder
    assert line.origin.plugins == ["mine"]
    assert line(*shlex.split(override("name", name))) == ""
    assert line.recipe["name"] == name


@pytest.mark.parametrize(
    "text", ["null", "12", "1e3", "", " lead", "${x}", 'a\\"b', "x\\\\", "(x)"]
)
def test_text_stays_text_however_it_looks(text):
    (parsed,) = parse(shlex.split(override("to", text)))
    assert parsed.value() == text


@pytest.mark.parametrize("name", ["a=b", "a'b", "a;b"])
def test_the_hint_for_special_characters_can_be_pasted(name, line):
    hint = line(f"name={name}").partition("as text it is written ")[2]
    assert line(*shlex.split(hint)) == ""
    assert line.recipe["name"] == name


def test_a_folder_in_letters_beyond_ascii_needs_no_quotes(line):
    assert line("outputs=größe/中") == ""
    assert line.recipe["outputs"] == "größe/中"


def test_the_users_own_folder_is_kept_in_what_is_to_be_typed(line, saved, tmp_path):
    own = tmp_path / "my own"
    (own / "trainer").mkdir(parents=True)
    text = (CONFIGS / "trainer" / "cpu.yaml").read_text()
    (own / "trainer" / "ours.yaml").write_text(text + "precision: bf16-mixed\n")
    option = f"--config-dir={own}"
    assert line("rerun=first", "trainer=ours", option) == ""
    assert line.recipe["trainer"]["precision"] == "bf16-mixed"
    assert Run(saved).command("train").endswith(f" '--config-dir={own}'")
    assert line("trainer=ours", "model.latnt_dim=3", option).startswith(
        "error: model.latnt_dim: there is no such key; did you mean model.latent_dim?"
    )
    assert "ours" in line("trainer=our", option)


def test_a_folder_of_runs_is_said_to_be_one(line, saved):
    shown = line("rerun=outputs/vae/")
    assert shown.startswith("error: outputs/vae/ is a folder of runs; name one, the newest last:")
    assert "outputs/vae/first" in shown


def test_names_from_files_do_not_steer_the_terminal(line):
    def mistake(recipe, origin):
        raise UserError("the column \x1b[2J\x9b\r is missing")

    line.task = mistake
    assert line() == r"error: the column \x1b[2J\x9b\r is missing"


def test_a_saved_recipe_can_be_shown(line, saved):
    line("rerun=first", "model.ema=null", "--cfg", "job")
    assert yaml.safe_load(line.shown)["model"]["ema"] is None
    assert line.calls == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rerun=none"], "no run 'none' in outputs"),
        (["rerun=first", "outputs=there"], "no run 'first' in there"),
        (["rerun=first", "resume=first"], "rerun=first resume=first: name one run"),
        (["rerun=first", "-m", "seed=1,2"], "rerun= takes one run at a time, without -m"),
        (["rerun=first", "seed=1,2"], "seed=1,2: with rerun= write key=value, with one value"),
        (["rerun=first", "+model.x=1"], "+model.x=1: with rerun= write key=value"),
        (["rerun=first", "~model"], "~model: with rerun= write key=value"),
        (
            ["rerun=first", "model=vae"],
            "model=vae: rerun= keeps what was trained; it takes single",
        ),
        (["rerun=first", "dataset=mnist"], "dataset=mnist: rerun= keeps what was trained"),
        (["rerun=first", "optimizer=sgd"], "optimizer=sgd: rerun= keeps what was trained"),
        (
            ["rerun=first", "prediction=v"],
            "prediction=v: rerun= keeps what was trained; it takes single keys, and the groups "
            "trainer, callbacks, logger and extractor; another prediction is another training: "
            "start a new run",
        ),
        (
            ["rerun=first", "optimizer@model.optimizer=sgd"],
            "optimizer@model.optimizer=sgd: rerun=",
        ),
        (["rerun=first", "trainer=cpuu"], "trainer=cpuu: trainer has no such option; did you mea"),
        (["rerun=first", "model.latent=3"], "model.latent: there is no such key; did you mean"),
        (["rerun=first", "model.optimizer=3"], "model.optimizer=3: is a group of keys; it has"),
        (["rerun=first", "what"], "what: write key=value or group=option"),
        (
            ["resume=first", "seed=3"],
            "seed=3: resume= goes on with the same training; it takes bu",
        ),
        (["resume=first", "model.beta=3"], "model.beta=3: resume= goes on with the same training"),
        (["resume=first", "optimizer=sgd"], "optimizer=sgd: resume= goes on with the same train"),
        (["resume=first", "name=there"], "name=there: resume= goes on with the same training"),
        (["resume=first", "budget.epoch=3"], "budget.epoch: there is no such key; did you mean b"),
    ],
)
def test_a_mistake_about_an_earlier_run_is_one_clear_line(line, saved, arguments, message):
    assert line(*arguments).startswith(f"error: {message}")
    assert line.status == 1
    assert line.calls == []


@pytest.mark.parametrize("script", ["train", "sample", "evaluate", "latent", "quality_cost"])
def test_a_run_with_a_link_is_opened_by_no_script_that_may_write_into_it(line, saved, script):
    (saved / "samples").symlink_to("/tmp")
    key = "resume" if script == "train" else "run"
    assert "samples is a link" in line(f"{key}=first", script=script)
    assert (line.status, line.calls) == (1, [])
    assert line("rerun=first") == ""


def test_a_script_that_works_on_a_run_has_keys_of_its_own(line, saved, tmp_path):
    (tmp_path / "draw.yaml").write_text("run: null\noutputs: outputs\nnum_samples: 16\n")
    overrides = ["num_samples=4", "model.beta=2", "dataset.batch_size=7"]
    assert line("run=first", *overrides, script="draw", configs=tmp_path) == ""
    assert line.origin.kind == "run"
    assert line.origin.options["num_samples"] == 4
    assert line.recipe["model"]["beta"] == 2
    assert line.recipe["dataset"]["batch_size"] == 7
    shown = line("run=first", "num_sample=4", script="draw", configs=tmp_path)
    assert shown.startswith("error: num_sample: there is no such key")
    assert line("num_samples=4", script="draw", configs=tmp_path).startswith(
        "error: run= is missi"
    )


def test_a_finished_diffusion_model_takes_another_sampler_whole(line, saved):
    message = line("run=first", "sampler=heun", script="sample")
    assert message == "error: sampler=heun: the model of this run takes no sampler"
    line("model=ddpm", "sampler=ddim", "model.sampler.eta=0.5")
    path = saved / ".hydra/config.yaml"
    path.write_text(yaml.safe_dump(line.recipe))
    trained = line.recipe["model"]
    assert line("run=first", "model.sampler.num_steps=7", "sampler=heun", script="sample") == ""
    assert line.recipe["model"]["sampler"] == {
        "_target_": "gdm.theory.samplers.Heun",
        "num_steps": 7,
        "clip": True,
    }
    assert line.recipe["model"] | {"sampler": None} == trained | {"sampler": None}
    assert line("rerun=first", "sampler=heun").startswith("error: sampler=heun: rerun= keeps what")


# Names and speed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ["name=../../etc", "dataset.source.folder=/etc/passwd"],
        ["dataset.source.folder=../../x"],
        ["..=.."],
        [".hidden=1"],
        ["-rf=1"],
        ["model.beta=1\n2\0"],
        [f"model.latent_dim={'9' * 500}"],
        ["dataset.source.folder=\u00e4\u4e2d"],
    ],
)
def test_a_jobs_name_is_short_and_safe(overrides):
    name = job_name(overrides)
    assert re.fullmatch(r"[A-Za-z0-9_=,.+-]{1,80}", name)
    assert ".." not in name
    assert name[0] not in ".-"


def test_a_jobs_name_is_readable_and_tells_jobs_apart():
    assert job_name(["model=vae", "seed=1", "outputs=/tmp/x"]) == "model=vae,seed=1"
    assert job_name(["a=x/y"]) != job_name(["a=x-y"]) != job_name(["a=x_y"])
    long = [job_name([f"a={'9' * 200}{digit}"]) for digit in "12"]
    assert long[0] != long[1]


QUERIES = [
    ["--help"],
    ["--cfg", "job"],
    ["-sc", "query=bash"],
    ["rerun=nothing"],
    ["rerun=tests"],
    ["budget.epochs=0"],
    ["budget.epochs=1", "budget.images=1"],
    ["budget.epochs=1e308"],
    ["budget.minutes=1e308"],
    ["trainer.devices=2"],
]


@pytest.mark.parametrize("query", QUERIES, ids=" ".join)
def test_questions_and_quick_refusals_are_answered_without_importing_torch(
    query, tmp_path, monkeypatch
):
    monkeypatch.setenv("COMP_LINE", "python train.py model.")
    ours = tmp_path / "ours.py"
    ours.write_text(
        "import atexit, sys\n"
        "atexit.register(lambda: print('heavy', sorted({'torch', 'numpy'} & set(sys.modules))))\n"
        "from pathlib import Path\n"
        "from gdm.cli.command_line import main\n"
        "from gdm.recipes.check import check_quickly\n"
        f"main('train', lambda recipe, _: check_quickly(recipe), Path({str(CONFIGS)!r}))\n"
    )
    command = [sys.executable, str(ours), *query]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == (0 if query[0].startswith("-") else 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "heavy []" in done.stdout


def test_help_explains_groups_options_and_typical_commands(line):
    line("--help")
    groups = {group for group, _ in OPTIONS}
    assert all(f"\n{group}: " in line.shown for group in groups)
    assert line.shown.count("\n  python scripts/train.py ") >= 9
    for word in ("rerun=RUN", "resume=RUN", "budget.minutes", "-m", "--cfg job", "plugins="):
        assert word in line.shown


def test_the_further_runs_of_a_curve_were_called_others(line, saved):
    message = line("run=first", "others=[second]", script="quality_cost")
    assert message == "error: others: write compare now"
    assert line("others=[second]") == "error: others: there is no such key"


def test_a_group_that_a_model_lacks_is_refused_with_the_models_that_have_it(line):
    line.task = train
    assert line("prediction=v") == (
        "error: prediction=v: model=vae has no group prediction; models with one: "
        "ddpm, edm, flow_matching"
    )
    assert line("model.prediction=v") == (
        "error: model.prediction: the model has no group prediction; models with one: "
        "ddpm, edm, flow_matching"
    )


def test_null_of_a_group_is_nothing_to_a_model_without_it(line):
    def task(recipe, origin):
        refuse_unused(recipe, origin)
        check(recipe, root=TrainOptions)

    line.task = task
    assert line("penalty=null") == ""
    assert "penalty" not in line.recipe["model"]
    assert line("model=dcgan", "penalty=null") == ""
    assert line.recipe["model"]["penalty"] is None
