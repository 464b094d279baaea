"""Recipes: what they may name, what they build, and how mistakes are called."""

import inspect
import sys

import pytest
import torch

from gdm.errors import UserError
from gdm.recipes.build import THIRD_PARTY, build, check_targets
from gdm.recipes.tree import assign, changes, nodes
from gdm.theory.learning_rates import Constant, Cosine

COSINE = {
    "_target_": "gdm.theory.learning_rates.Cosine",
    "warmup_fraction": 0.1,
    "final_factor": 0.5,
}
ADAM = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.5}


def test_a_node_becomes_the_object_it_names():
    cosine = build(COSINE)
    assert isinstance(cosine, Cosine)
    assert (cosine.warmup_fraction, cosine.final_factor) == (0.1, 0.5)


def test_lists_and_groups_are_built_part_by_part():
    built = build({"rates": [COSINE, 3, "text", None], "inner": {"rate": COSINE}})
    assert isinstance(built["rates"][0], Cosine)
    assert built["rates"][1:] == [3, "text", None]
    assert isinstance(built["inner"]["rate"], Cosine)


def test_changes_are_named_by_their_full_keys():
    before = {"model": {"sampler": {"steps": 25, "eta": 0.0}, "betas": [1, 2]}, "seed": 0}
    after = {"model": {"sampler": {"steps": 50}, "betas": [1, 3]}, "seed": 0}
    found = {"model.sampler.steps": 50, "model.sampler.eta": None, "model.betas.1": 3}
    assert changes(before, after) == found
    assert changes(before, before) == {}


def test_a_partial_node_waits_for_its_last_arguments():
    optimizer = build(ADAM)([torch.zeros(1, requires_grad=True)])
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults["lr"] == 0.5


def test_extra_arguments_belong_to_the_outermost_node_and_win():
    assert build(COSINE, final_factor=0.0).final_factor == 0.0
    node = {"_target_": "gdm.theory.learning_rates.Constant"}
    assert isinstance(build(node, warmup_fraction=0.5), Constant)


def test_a_recipe_is_left_as_it_was():
    recipe = {"rates": [dict(COSINE)]}
    build(recipe)
    assert recipe == {"rates": [COSINE]}


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.hub.load",
        "torch.nn.Linear",
        "torch.optim.Adam.step",
        "pathlib.Path",
        "hydra.utils.instantiate",
        "gdm",
        "gdm.models",
        "gdm.files.write_text",
        "gdm.recipes.build.build",
        "gdm.runs.catalogue.load",
        "gdm.cli.command_line.main",
        "gdm.training.training.Training",
        "gdm.theory.randomness.fold",
        "gdm.../scripts.train.train",
        "gdm.theory.learning_rates.math.cos",
        "my_package.Model",
        "",
    ],
)
def test_a_foreign_target_is_refused_with_its_full_key(target):
    tree = {"model": {"parts": [COSINE, {"_target_": target, "x": 1}]}}
    with pytest.raises(UserError) as refusal:
        build(tree)
    message = str(refusal.value)
    assert message.startswith(
        f"model.parts.1._target_={target}: a configuration may name what gdm"
    )
    assert "torch.optim.AdamW" in message
    assert "plugins=[my_package]" in message


@pytest.mark.parametrize(
    "target",
    [
        "gdm.theory.learning_rates.math",  # imported, not defined there
        "gdm.theory.learning_rates.Share",
        "gdm.theory.learning_rates.LearningRate",  # abstract
        "gdm.theory.learning_rates._Cosine",
        "gdm.theory.images.to_float",  # a function, of a room that offers classes alone
        "gdm.data.sources.urlopen",
    ],
)
def test_a_room_offers_only_the_classes_that_it_defines(target):
    with pytest.raises(UserError, match=r"^_target_=gdm\.\w+.* to offer"):
        check_targets({"_target_": target})


def test_a_misspelt_target_gets_the_nearest_spelling():
    with pytest.raises(UserError, match="no Cosin to offer; did you mean Cosine"):
        check_targets({"_target_": "gdm.theory.learning_rates.Cosin"})


def test_a_target_must_be_text():
    with pytest.raises(UserError, match="_target_=3: must be the dotted name"):
        check_targets({"_target_": 3})


def test_nothing_foreign_is_imported_to_find_out(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError):
        check_targets([COSINE, {"_target_": "trap.Model"}])
    assert "trap" not in sys.modules


def test_nothing_is_built_before_all_targets_are_checked():
    refused_by_its_constructor = COSINE | {"warmup": 3}
    with pytest.raises(UserError, match=r"b\._target_=os\.system"):
        build({"a": refused_by_its_constructor, "b": {"_target_": "os.system"}})


def test_a_plugin_is_allowed_by_naming_its_package(tmp_path, monkeypatch):
    package = tmp_path / "my_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text(
        "from os import system\n"
        "class Half:\n    def __init__(self, share: float): self.share = share\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "my_plugin.rates.Half", "share": 0.5}
    with pytest.raises(UserError):
        build(node)
    with pytest.raises(UserError):
        build(node, trusted=["my_plug"])
    assert build(node, trusted=["my_plugin"]).share == 0.5
    with pytest.raises(UserError, match="no system to offer"):
        build({"_target_": "my_plugin.rates.system"}, trusted=["my_plugin"])
    with pytest.raises(UserError, match=r"No module named 'my_plugin.gone'"):
        build({"_target_": "my_plugin.gone.Half"}, trusted=["my_plugin"])


@pytest.mark.parametrize("target", THIRD_PARTY)
def test_the_written_list_names_real_arguments(target):
    found = build({"_target_": target, "_partial_": True}).func
    assert set(THIRD_PARTY[target]) <= set(inspect.signature(found).parameters)


def test_a_third_party_target_takes_only_what_is_written():
    node = {"_target_": "pytorch_lightning.Trainer", "default_root_dir": "/tmp"}
    with pytest.raises(
        UserError, match=r"trainer.default_root_dir: Trainer takes no default_root"
    ):
        build(node, "trainer")


def test_missing_and_unknown_arguments_name_the_key():
    with pytest.raises(
        UserError, match=r"a.0: Cosine: missing a required argument: 'final_factor"
    ):
        build([{k: v for k, v in COSINE.items() if k != "final_factor"}], "a")
    with pytest.raises(UserError, match="a: Cosine: got an unexpected keyword argument 'x'"):
        build(COSINE | {"x": 1}, "a")


def test_a_constructors_value_error_names_the_key_and_others_keep_their_traceback(
    tmp_path, monkeypatch
):
    (tmp_path / "own_parts.py").write_text(
        "class Picky:\n    def __init__(self, x): raise ValueError('x is odd')\n"
        "class Broken:\n    def __init__(self, x): return None + x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"^model.part: x is odd$"):
        build({"part": {"_target_": "own_parts.Picky", "x": 1}}, "model", ["own_parts"])
    with pytest.raises(TypeError):
        build({"_target_": "own_parts.Broken", "x": 1}, "model", ["own_parts"])


def test_nodes_are_found_wherever_they_are():
    tree = {"a": {"_target_": "x", "b": [1, {"_target_": "y"}]}, "c": None}
    assert [key for key, _ in nodes(tree)] == ["a", "a.b.1"]


def test_assign_changes_one_key():
    recipe = {"model": {"rate": dict(COSINE)}, "seed": 0}
    assign(recipe, "seed", 3)
    assign(recipe, "model.rate.warmup_fraction", 0.0)
    assign(recipe, "model.rate", {"final_factor": 1.0})
    assert recipe == {
        "model": {"rate": COSINE | {"warmup_fraction": 0.0, "final_factor": 1.0}},
        "seed": 3,
    }
    assign(recipe, "model.rate", None)
    assert recipe["model"] == {"rate": None}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sed", 1, "sed: there is no such key; did you mean seed"),
        ("model.rate.warm_share", 1, "did you mean model.rate.warmup_fraction"),
        ("rate.warmup_fraction", 1, "did you mean model.rate.warmup_fraction"),
        ("seed.x", 1, "seed.x: there is no such key"),
        ("model.rate", 3, "model.rate=3: is a group of keys; it has model.rate._target_, "),
        ("model.rate", {"x": 3}, "model.rate.x: there is no such key"),
    ],
)
def test_assign_refuses_what_a_recipe_does_not_have(key, value, message):
    with pytest.raises(UserError, match=message):
        assign({"model": {"rate": dict(COSINE)}, "seed": 0}, key, value)
