"""Runs and recipes of an earlier version open for ever: tests/old_runs holds them as they were
written, one run and the default recipe of every model.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import composed, resumed

from gdm.data.pairs import Pairing
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.recipes.moved import upgraded
from gdm.recipes.tree import arguments, nodes
from gdm.runs import catalogue
from gdm.runs.run import Run
from gdm.theory.images import to_bytes
from gdm.training.options import TrainOptions

OLD = Path(__file__).with_name("old_runs")
RECIPES = sorted(OLD.glob("*.yaml"))


@pytest.fixture
def old_run(tmp_path) -> Run:
    shutil.copytree(OLD / "edm", tmp_path / "edm")
    return Run(tmp_path / "edm")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_old_recipe_is_one_of_today(path):
    old = yaml.safe_load(path.read_text())
    recipe = upgraded(old)
    assert recipe != old
    assert upgraded(recipe) == recipe
    assert list(recipe["logger"]) == ["tensorboard"]
    check(recipe, root=TrainOptions)
    assert _shape(recipe) == _shape(composed(f"model={path.stem}"))
    if path.stem in ("conditional_gan", "ddpm", "classifier"):
        assert build(recipe["model"], "model").state_dict().keys()


def _shape(recipe: dict) -> dict:
    """Return what is built where, from which arguments; what is null may be left out."""
    return {
        key: (
            node["_target_"],
            {name for name, value in arguments(node).items() if value is not None},
        )
        for key, node in nodes(recipe)
    }


def test_the_numbers_of_pairs_are_the_same_wherever_they_stand():
    """A recipe of before there were pairs is compared with one of today without a difference."""
    old = upgraded(yaml.safe_load(RECIPES[0].read_text()))
    for recipe in (old, composed()):
        assert build(recipe["dataset"]["pairing"], "pairing") == Pairing()


def test_an_old_run_gives_the_same_samples(old_run):
    model = catalogue.load(old_run)
    with model.evaluating(averaged=False):
        images = to_bytes(model.sample(range(6), seed=3))
    expected = torch.from_numpy(np.load(OLD / "edm_samples.npz")["images"])
    assert (images.int() - expected.int()).abs().max() <= 1  # another machine may round otherwise


def test_an_old_run_goes_on(old_run):
    recipe = old_run.recipe()
    recipe["budget"] |= {"images": 704}
    resumed(old_run, recipe)
    assert old_run.manifest()["images_seen"] == 704
    assert old_run.recipe() == upgraded(old_run.recipe())
