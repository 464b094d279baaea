"""The command gdm: what the scripts do, called from any folder, and what helps to type it."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gdm.cli.main import TASKS, main
from gdm.recipes import terminal
from gdm.runs.run import Run

ROOT = Path(__file__).parents[1]
OF_ITS_OWN = ["benchmark"]  # takes no configuration
SCRIPTS = {name: name.replace("-", "_") for name in TASKS}
NOT_OF_USERS = {"make_fashion_mnist_mini", "make_emoji_mini"}


@pytest.fixture
def gdm(monkeypatch, capsys, tmp_path):
    """Call the command in this process: its output, and what it exits with."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[str, str | int | None]:
        monkeypatch.setattr(sys, "argv", ["/somewhere/bin/gdm", *arguments])
        try:
            main()
        except SystemExit as stop:
            return capsys.readouterr().out, stop.code
        return capsys.readouterr().out, 0

    return call


def test_every_script_is_a_command_with_the_same_task():
    pages = {path.stem for path in (ROOT / "scripts").glob("*.py")} - NOT_OF_USERS
    assert pages == set(SCRIPTS.values())
    for name, script in SCRIPTS.items():
        spec = importlib.util.spec_from_file_location(script, ROOT / "scripts" / f"{script}.py")
        page = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(page)
        assert vars(page)[TASKS[name].__name__] is TASKS[name]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_alone_it_says_what_there_is(gdm, arguments):
    shown, status = gdm(*arguments)
    assert status == 0
    for name in [*TASKS, "completion", "--version"]:
        assert f" {name} " in shown
    assert max(map(len, shown.splitlines())) <= 99


def test_its_version_is_the_packages(gdm):
    assert gdm("--version") == ("gdm 0.1.0\n", 0)


def test_a_slip_of_the_finger_is_one_line_with_what_was_meant(gdm):
    assert gdm("trian") == (
        "",
        "error: trian: there is no such command; did you mean train?; gdm --help",
    )


@pytest.mark.parametrize("name", [name for name in TASKS if name not in OF_ITS_OWN])
def test_its_help_is_in_the_form_that_was_typed(gdm, name):
    shown, status = gdm(name, "--help")
    assert status in (0, None)
    assert f"\n  gdm {name} " in shown
    assert "python scripts/" not in shown


def test_what_options_stand_on_is_not_offered(gdm):
    shown, _ = gdm("train", "--help")
    assert "\nmodel: autoencoder, " in shown
    assert "base" not in shown
    for written in ("model=base/diffusion", "model/base=diffusion", "base=script"):
        shown, said = gdm("train", written)
        assert said.startswith(f"error: {written.partition('=')[0]}")
        assert "base/" not in said.partition(": ")[2].partition(": ")[2]


def test_nothing_is_called_null(gdm):
    for group in ("penalty", "prior"):
        said = gdm("train", f"{group}=none")[1]
        assert said == f"error: {group}=none: nothing is written {group}=null"


@pytest.mark.parametrize("overrides", [["model=wgan"], ["model=dcgan", "penalty=null"]])
def test_a_gan_without_a_penalty_has_none(gdm, overrides):
    shown, _ = gdm("train", *overrides, "--cfg", "job")
    assert "discriminator_optimizer:" in shown
    assert "  penalty: null\n" in shown


def test_a_preset_goes_where_it_is_asked_for(gdm):
    """It stands on another, whose own place is the model's first optimizer."""
    key = "optimizer@model.discriminator_optimizer"
    shown, _ = gdm("train", "model=dcgan", f"{key}=adam_wgan_gp", "--cfg", "job")
    first, second = (
        shown.index(f"  {name}:\n") for name in ("optimizer", "discriminator_optimizer")
    )
    assert shown[first:].split("lr: ")[1].startswith("0.002\n")
    assert shown[second:].split("lr: ")[1].startswith("0.0001\n")


def test_what_to_type_next_is_in_the_form_that_was_typed(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gdm train", "seed=1"])
    assert Run(tmp_path).command("sample") == f"gdm sample run={tmp_path}"
    assert terminal.command("export_classifier") == "gdm export-classifier"
    monkeypatch.setattr(sys, "argv", ["scripts/train.py", "seed=1"])
    assert terminal.command("export_classifier") == "python scripts/export_classifier.py"


# The shell --------------------------------------------------------------------------------------


def completed(gdm, monkeypatch, line: str) -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    return gdm("completion", "words")[0].split()


def test_words_are_completed(gdm, monkeypatch, tmp_path):
    models = {f"model={path.stem}" for path in (ROOT / "configs" / "model").glob("*.yaml")}
    assert completed(gdm, monkeypatch, "gdm tr") == [*TASKS, "completion"]
    assert set(completed(gdm, monkeypatch, "gdm train model=")) == models
    assert set(completed(gdm, monkeypatch, "gdm train seed=1 mod")) == {"model=", "model."}
    assert "base=" not in completed(gdm, monkeypatch, "gdm train ")
    assert completed(gdm, monkeypatch, "gdm sample num") == ["num_samples="]
    assert completed(gdm, monkeypatch, "gdm nothing num") == []
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").touch()
    mine = completed(gdm, monkeypatch, f"gdm train --config-dir={tmp_path} model=")
    assert set(mine) == {*models, "model=mine"}


def test_bash_completes_by_it(tmp_path):
    command = tmp_path / "gdm"
    command.write_text(f"#!{sys.executable}\nfrom gdm.cli.main import main\nmain()\n")
    command.chmod(0o755)
    line = "gdm train model=beta"
    script = (
        f"PATH={tmp_path}:$PATH\n"
        'eval "$(gdm completion bash)"\n'
        f"COMP_LINE='{line}' COMP_POINT={len(line)}\n"
        '_gdm; echo "${COMPREPLY[@]}"\n'
        "COMP_WORDBREAKS=' '\n"
        '_gdm; echo "${COMPREPLY[@]}"\n'
        "complete -p gdm\n"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[:2] == ["beta_vae", "model=beta_vae"]
    assert "-F _gdm gdm" in done.stdout


def test_it_loads_nothing_heavy_before_it_must():
    code = "import sys, gdm.cli.main; print({'torch', 'numpy', 'rich'} & set(sys.modules))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_every_package_is_in_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"]) - {"gdm.configs"}
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "gdm").rglob("*.py")}
    assert listed == {".".join(folder.parts) for folder in folders}
