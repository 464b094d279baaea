"""What the README says is what the project does."""

import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT, composed

from gdm.cli.compose import compose_config
from gdm.recipes import check
from gdm.tools.latent import tool
from gdm.training import training

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^python scripts/train\.py[^\n#]*", README, flags=re.MULTILINE)
OF_LATENTS = re.findall(r"^python scripts/latent\.py[^\n#]*", README, flags=re.MULTILINE)
NEW_RUNS = [text for text in COMMANDS if not re.search(r"resume=|rerun=|plugins=|-m ", text)]


def test_ci_runs_the_readmes_second_command():
    (command,) = [line for line in README.splitlines() if line.endswith("-m pytest")]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("command", NEW_RUNS)
def test_the_tours_commands_are_valid(command):
    recipe = composed(*shlex.split(command)[2:])
    check.check(recipe, root=training.layout)


@pytest.mark.parametrize("command", OF_LATENTS)
def test_the_commands_for_latent_spaces_are_valid(command):
    options = compose_config(ROOT / "configs", "latent", shlex.split(command)[2:])
    check.check(options, root=tool.LatentOptions)


def test_the_readmes_pictures_exist():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_ruff_is_clean(words):
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *words, "."], cwd=ROOT, capture_output=True, text=True
    )
    assert ruff.returncode == 0, ruff.stdout
