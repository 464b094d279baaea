"""What the README and the pages in docs/ say is what the project does."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from conftest import ROOT, composed

from gdm.cli.benchmark import PARTS
from gdm.cli.command_line import main
from gdm.cli.compose import compose_config
from gdm.errors import UserError
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.runs import catalogue
from gdm.runs.sweeps import Sweep, asked_for
from gdm.tools import evaluate, export, quality_cost, sample, schedules, search
from gdm.tools.comparing import compare
from gdm.tools.latent import tool
from gdm.training.options import TrainOptions

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
README = PAGES[0].read_text()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:gdm|configs|scripts|tests|docs)/[\w./]*)`")
PLUGINS = "my_package"  # of which the pages show the files
OPTIONS = {
    "train": TrainOptions,
    "sample": sample.SampleOptions,
    "evaluate": evaluate.EvaluateOptions,
    "compare": compare.CompareOptions,
    "latent": tool.LatentOptions,
    "quality_cost": quality_cost.QualityCostOptions,
    "draw_schedules": schedules.DrawSchedulesOptions,
    "export_classifier": export.ExportOptions,
}
# Models whose runs a command may be meant for, in this order.
EARLIER_RUNS = (
    ("model=vae",),
    ("model=ddpm",),
    ("model=ddpm", "model.condition=label"),
    ("model=classifier",),
)


class Block(NamedTuple):
    """A fenced block of a page; one that shows a file begins with the file's path."""

    page: str
    language: str
    text: str

    @property
    def path(self) -> str | None:
        first = re.match(r"(?:# @package .*\n)?# (\S+/\S+)\n", self.text)
        return first[1] if first else None


BLOCKS = [Block(page.name, *block) for page in PAGES for block in FENCED.findall(page.read_text())]
FILES = {block.path: block.text for block in BLOCKS if block.path}


class Command(NamedTuple):
    """A line of a shell that a page shows: a script and its arguments."""

    script: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join([self.script, *self.arguments])


def commands() -> list[Command]:
    """Return the project's own commands in all pages, each once."""
    lines = (
        line for block in BLOCKS if block.language == "bash" for line in block.text.split("\n")
    )
    found = {}
    for line in lines:
        words = shlex.split(line.replace("RUN,...", "RUN"), comments=True)
        if words[:1] == ["python"] and words[1].startswith("scripts/"):
            words = [Path(words[1]).stem, *words[2:]]
        elif words[:1] == ["gdm"]:
            words = [words[1].replace("-", "_"), *words[2:]]
        else:
            continue
        found[Command(words[0], tuple("run=last" if w == "run=RUN" else w for w in words[1:]))] = 1
    return list(found)


COMMANDS = commands()
COMPOSED = [command for command in COMMANDS if command.script != "benchmark"]


@pytest.fixture
def at_work(tmp_path, monkeypatch):
    """A folder to type commands in, with the files that the pages show."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == PLUGINS]:
        del sys.modules[name]


def typed(command: Command, monkeypatch) -> list[tuple]:
    """Compose and check what a command says, up to where its work would begin.

    Returns:
        The recipe and the model of each run.

    Raises:
        UserError: if the command is refused.
    """
    made = []
    monkeypatch.setattr(search, "_trials_of", lambda options: 2)

    def task(recipe, origin):
        if origin.sweep is not None:  # as if it were trained
            sweep = Sweep(Path(recipe["outputs"], origin.sweep))
            job = sweep.job(asked_for(recipe))
            run = sweep.create(job, dict(recipe), origin.choices)
            run.describe(status="finished", images_seen=1)
            run.record(1, {"split": "validation", "frechet_distance": 1.0})
        options = origin.options if origin.kind == "run" else recipe
        check(options, root=OPTIONS[command.script], trusted=origin.plugins)
        if "model" in recipe:
            check(recipe, trusted=origin.plugins)
            facts = recipe["model"]["facts"]
            if facts["num_classes"] is None:  # the images tell, which are not there
                facts["num_classes"] = 2
            made.append((recipe, build(recipe["model"], "model", origin.plugins)))
        else:
            made.append((recipe, None))

    elsewhere = [word for word in command.arguments if word.startswith("launcher")]
    compose_config(ROOT / "configs", command.script, elsewhere)  # its jobs would not be seen here
    here = [word for word in command.arguments if word not in elsewhere]
    monkeypatch.setattr(sys, "argv", [f"{command.script}.py", *here])
    try:
        main(command.script, task, ROOT / "configs")
    except SystemExit as stop:
        raise UserError(stop.code) from stop
    return made


@pytest.mark.parametrize("command", COMPOSED, ids=str)
def test_the_pages_commands_are_valid(command, at_work, monkeypatch):
    if not any(re.match("(run|rerun|resume)=", word) for word in command.arguments):
        assert typed(command, monkeypatch)
        return
    refusals = []
    for overrides in EARLIER_RUNS:
        shutil.rmtree("outputs", ignore_errors=True)
        catalogue.create(composed(*overrides))
        try:
            assert typed(command, monkeypatch)
            return
        except UserError as error:
            refusals.append(f"{' '.join(overrides)}: {error}")
    pytest.fail("\n".join(refusals))


def test_every_script_has_a_command_in_the_pages():
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    scripts -= {"make_fashion_mnist_mini", "make_emoji_mini"}
    assert {command.script for command in COMMANDS} >= scripts


def test_the_benchmarks_parts_are_those_of_the_page():
    parts = {word for command in COMMANDS if command.script == "benchmark" for word in command[1]}
    assert parts
    assert parts <= set(PARTS)


def test_ones_own_model_is_trained_on_ones_own_data(at_work, monkeypatch):
    (command,) = [
        each for each in COMMANDS if {"model=linear_vae", "dataset=squares"} <= {*each.arguments}
    ]
    ((recipe, model),) = typed(command, monkeypatch)
    data = build(recipe["dataset"], "dataset", [PLUGINS])
    optimizer = model.configure_optimizers()
    losses = []
    for batch_idx, batch in enumerate(islice(data.batches("train", 64), 20)):
        losses.append(model.training_step(batch, batch_idx)["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert model.sample(range(5)).shape == (5, 1, 16, 16)


@pytest.mark.parametrize("page", sorted({b.page for b in BLOCKS if b.language == "python"}))
def test_the_pages_python_runs(page, at_work, monkeypatch, short_vae):
    shutil.copytree(short_vae.path, at_work / "outputs" / "vae" / short_vae.path.name)
    for block in (each for each in BLOCKS if (each.page, each.language) == (page, "python")):
        exec(compile(block.text, page, "exec"), {"__name__": "typed"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_links_lead_somewhere(page):
    text = FENCED.sub("", page.read_text())
    for link in LINK.findall(text):
        name, _, anchor = link.partition("#")
        if "://" in name:
            continue
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_exist(page):
    named = [path for path in PATH.findall(page.read_text()) if "mine" not in path]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_picture_is_shown():
    text = "".join(page.read_text() for page in PAGES)
    pictures = [path.name for path in (ROOT / ".github" / "pictures").iterdir()]
    assert pictures
    assert [name for name in pictures if f".github/pictures/{name})" not in text] == []


def test_the_readme_is_short_and_leads_to_every_page():
    links = LINK.findall(README)
    assert len(README.splitlines()) <= 165
    assert [page for page in PAGES[1:] if str(page.relative_to(ROOT)) not in links] == []


def test_ci_runs_the_readmes_test_command():
    (command,) = [line for line in README.splitlines() if line.endswith("-m pytest")]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert command in [line for run in steps for line in run.splitlines()]


def test_the_version_to_cite_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    told = [citation[key] for key in ("title", "version", "license")]
    assert told == [project[key] for key in ("name", "version", "license")]


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_ruff_is_clean(words):
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *words, "."], cwd=ROOT, capture_output=True, text=True
    )
    assert ruff.returncode == 0, ruff.stdout
