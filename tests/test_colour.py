"""Every model in colour, at other sizes, and of images without classes or with many."""

import pytest
from conftest import (
    BRIEF,
    SHORTER,
    composed,
    resumed,
    small,
    trained,
)
from photographs import PLUGINS
from test_resume import MODELS, KillAfter, assert_same_bits, by, killed, state

from gdm.evaluation import model_metrics
from gdm.recipes.build import build
from gdm.runs import catalogue

NEED_CLASSES = ("classifier", "conditional_gan", "conditional_vae")
KINDS = {  # channels, pixels a side, classes; 28 grey ones are in tests/test_resume.py
    "grey 32": (1, 32, 10),
    "colour 32": (3, 32, 10),
    "colour 64": (3, 64, 0),
}
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
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
        samples = found.sample(range(3))
    assert samples.shape == (3, channels, resolution, resolution)
    assert samples.isfinite().all()
