"""A script's keys: the dataclass, its docstring, the file in configs/ and --help say the same."""

import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace
from importlib import import_module

import pytest
from conftest import ROOT

from gdm.cli.compose import compose_config
from gdm.errors import UserError
from gdm.recipes.options import arguments_explained, help_text, options_from
from gdm.recipes.ranges import Count

SCRIPTS = {
    "sample": "gdm.tools.sample.SampleOptions",
    "evaluate": "gdm.tools.evaluate.EvaluateOptions",
    "compare": "gdm.tools.comparing.compare.CompareOptions",
    "latent": "gdm.tools.latent.tool.LatentOptions",
    "quality_cost": "gdm.tools.quality_cost.QualityCostOptions",
    "draw_schedules": "gdm.tools.schedules.DrawSchedulesOptions",
    "export_classifier": "gdm.tools.export.ExportOptions",
}


def options_of(script: str) -> type:
    module, _, name = SCRIPTS[script].rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_key_of_a_script_has_a_field_a_meaning_and_a_default(script):
    kind, composed = options_of(script), compose_config(ROOT / "configs", script)
    names = [field.name for field in fields(kind)]
    assert names == list(arguments_explained(kind.__doc__))
    optional = {"dataset"} if script == "evaluate" else set()
    assert set(composed) == set(names) - optional
    made = options_from(kind, composed)
    with pytest.raises(FrozenInstanceError):
        made.outputs = "elsewhere"
    assert "outputs" not in names or replace(made, outputs="elsewhere").outputs == "elsewhere"


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_docstring_with_the_defaults_and_needs_no_torch(script):
    heavy = "import atexit, runpy, sys; atexit.register(lambda: print('torch' in sys.modules))"
    run = f"runpy.run_path('scripts/{script}.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", f"{heavy}; sys.argv = ['{script}.py', '--help']; {run}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *shown, has_torch = done.stdout.strip().splitlines()
    assert has_torch == "False"
    words = " ".join(" ".join(shown).split())
    for name, meaning in arguments_explained(options_of(script).__doc__).items():
        assert any(line.startswith(f"{name} ") for line in shown)
        assert meaning in words
    assert all(len(line) < 100 for line in shown)
    assert shown.count("Examples:") + shown.count("Example:") == 1


def test_a_default_is_shown_beside_its_key_as_it_is_written():
    defaults = {"to": "x.png", "index": 3, "seed": None, "dataset": "mnist"}
    lines = help_text(SCRIPTS["draw_schedules"], defaults).splitlines()
    assert lines[0] == "dataset  where the image comes from (mnist)"
    assert lines[1:3] == ["index    which training image (3)", "seed     of the noise"]


@dataclass(frozen=True)
class Two:
    """Two keys.

    Args:
        count: a number: how
            many.
        words: some.

    Raises:
        Nothing: at all.
    """

    count: Count
    words: list[str]


def test_meanings_are_read_line_by_line_and_only_of_the_arguments():
    assert arguments_explained(Two.__doc__) == {"count": "a number: how many", "words": "some"}
    assert arguments_explained("Nothing is said.") == {}


@pytest.mark.parametrize(
    ("composed", "message"),
    [
        ({"count": 0, "words": []}, "count=0: must be a whole number, at least 1"),
        ({"count": 1}, "words is missing: must be a list (text)"),
        ({"count": 1, "words": [], "word": 1}, "word: the configuration takes no word; did you"),
    ],
)
def test_a_key_that_a_script_does_not_take_is_refused(composed, message):
    with pytest.raises(UserError, match=re.escape(message)):
        options_from(Two, composed)


def test_what_a_key_names_is_built():
    made = options_from(options_of("latent"), compose_config(ROOT / "configs", "latent"))
    assert type(made.tool).__name__ == "Map"
    assert made.extractor.func.__name__ == "ClassifierFeatures"
    assert is_dataclass(made)
