"""Every model in colour, at other sizes, and of images without classes or with many."""

from argparse import Namespace
from itertools import product

import pytest
import torch
from conftest import (
    BRIEF,
    SHORTER,
    LatentOptions,
    composed,
    latent_options,
    opened_as_it_begins,
    resumed,
    small,
    trained,
)
from photographs import PLUGINS
from test_resume import MODELS, KillAfter, assert_same_bits, by, killed, state

from gdm.errors import UserError
from gdm.evaluation import model_metrics, samples
from gdm.evaluation.classifier import NoClassifier
from gdm.pictures import figures, latent
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.recipes.options import options_from
from gdm.runs import catalogue
from gdm.tools.latent import tool as tools

NEED_CLASSES = ("classifier", "conditional_gan", "conditional_vae")
KINDS = {  # channels, pixels a side, classes; 28 grey ones are in tests/test_resume.py
    "grey 32": (1, 32, 10),
    "colour 32": (3, 32, 10),
    "colour 64": (3, 64, 0),
}
OF_EACH_FAMILY = ("classifier", "ddpm", "vae", "wgan_gp")  # these on all kinds, the rest nightly
CASES = [
    pytest.param(
        *(model, kind),
        marks=() if model in OF_EACH_FAMILY or kind == "colour 64" else pytest.mark.slow,
    )
    for model, kind in product(MODELS, KINDS)
]
STEPS = (  # six steps, of which the first two are saved before the run is killed
    "budget.images=60",
    "dataset.batch_size=10",
    "dataset.validation_size=20",
    "callbacks.validation=null",
    "callbacks.checkpoints.times=3",
    "logger=null",
)


def recipe_of(model: str, channels: int, resolution: int, num_classes: int, *more: str) -> dict:
    """Return the recipe of a short run on photographs."""
    own = (*small(model), *BRIEF, *SHORTER.get(model, ()), *more)
    recipe = composed(f"model={model}", "dataset=cifar10", *own)
    facts = {"channels": channels, "resolution": resolution, "native_resolution": resolution}
    for part in ("dataset", "model"):
        recipe[part]["facts"] |= facts | {"num_classes": num_classes}
    recipe["dataset"]["source"] = {
        "_target_": "photographs.Photographs",
        "channels": channels,
        "resolution": resolution,
        "num_classes": num_classes,
    }
    return recipe


@pytest.mark.parametrize(("model", "kind"), CASES)
def test_a_model_trains_goes_on_bit_for_bit_and_samples(model, kind, tmp_path):
    channels, resolution, num_classes = KINDS[kind]
    num_classes = num_classes or (10 if model in NEED_CLASSES else 0)
    recipe = recipe_of(model, channels, resolution, num_classes, *STEPS)
    whole = trained(recipe, tmp_path / "whole", PLUGINS)
    run = killed(recipe, tmp_path / "killed", by(KillAfter(3)), PLUGINS)
    assert_same_bits(state(resumed(run, plugins=PLUGINS)), state(whole))

    found = catalogue.load(run, plugins=PLUGINS)
    if not found.makes_images:
        return
    with found.evaluating(averaged=False):
        model_metrics.prepare_sampling(found, build(recipe["dataset"], "dataset", PLUGINS))
        x = found.sample(range(3))
    assert x.shape == (3, channels, resolution, resolution)
    assert x.isfinite().all()


# Without classes, and with many ------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_classes(tmp_path_factory):
    """An autoencoder of two dimensions, as it begins, of colour images without classes."""
    recipe = recipe_of("autoencoder", 3, 32, 0, "dataset.validation_size=20")
    data = build(recipe["dataset"], "dataset", PLUGINS)
    return opened_as_it_begins(recipe["model"], data, tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn on maps."""
    found, rendered = [], figures.rendered
    monkeypatch.setattr(latent, "rendered", lambda each: found.append(each) or rendered(each))
    return found


def test_codes_without_classes_are_on_the_map_and_measured(without_classes, drawn):
    opened = without_classes
    asked = ("num_images=20", "num_train=50", "num_samples=20", "num_paths=3", "manifold=2")
    options = latent_options("tool=map", *(f"tool.{each}" for each in asked))
    tool = options_from(LatentOptions, options).tool
    tool.refuse(opened, [], opened.data)
    found = tools.apply(tool, opened, [], opened.data, 0)
    assert {"map", "map_samples", "manifold", "steps"} <= found.pictures.keys()
    assert "classes" not in found.pictures
    assert len(drawn[0].axes[0].collections[0].get_offsets()) == 20
    assert drawn[0].axes[0].get_legend() is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["tool=reduce"], "its images have no classes"),
        (["tool=edit", "tool.attribute=[Cat,Dog]"], "attribute=Cat: the images have no such"),
        (["tool=morph", "tool.a=Cat"], r"tool\.a=Cat: the images have no classes"),
    ],
)
def test_tools_that_need_classes_refuse_images_without(without_classes, asked, message):
    opened = without_classes
    with pytest.raises(UserError, match=message):
        options_from(LatentOptions, latent_options(*asked)).tool.refuse(opened, [], opened.data)


def test_images_without_classes_go_to_the_projector_without_names(without_classes, tmp_path):
    opened = without_classes
    tool = options_from(LatentOptions, latent_options("tool=projector")).tool
    tools.apply(tool, opened, [], opened.data, 0).for_tensorboard(tmp_path)
    assert list(tmp_path.rglob("tensors.tsv"))
    assert not list(tmp_path.rglob("metadata.tsv"))


def test_no_classifier_evaluates_images_without_classes(without_classes):
    with pytest.raises(NoClassifier, match="have no classes, so that no classifier"):
        without_classes.features()


def test_no_two_of_a_hundred_classes_look_alike_on_a_map(drawn):
    names = tuple(f"class {number}" for number in range(100))
    latent.latent_map(torch.randn(200, 2), torch.arange(200) % 100, names)
    looks = {
        (tuple(each.get_facecolor()[0]), each.get_paths()[0].vertices.tobytes())
        for each in drawn[0].axes[0].collections
    }
    assert len(looks) == 100
    legend = drawn[0].axes[0].get_legend().get_window_extent()
    assert drawn[0].bbox.y0 <= legend.y0 <= legend.y1 <= drawn[0].bbox.y1


def test_a_hundred_classes_fit_a_page():
    names = tuple(f"class {number}" for number in range(100))
    assert max(figures.confusion_matrix(torch.eye(100), names).shape) < 4000
    model = Namespace(condition="label", num_classes=100)
    picture = samples.picture(torch.zeros(100, 3, 32, 32), model, None, names)
    assert max(picture.shape) < 4000


def test_captions_are_refused_in_one_line():
    recipe = composed("model=conditional_vae", *small("vae"), "model.condition=caption")
    with pytest.raises(
        UserError, match=r"model\.condition=caption: must be label, or null, since no net"
    ):
        check(recipe)
    with pytest.raises(UserError, match="condition=caption: must be label, since no network"):
        build(recipe["model"], "model")
