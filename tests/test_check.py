"""Every bad value, with the message that names its key, the value and what is allowed."""

import math

import pytest

from gdm.errors import UserError
from gdm.recipes.check import check, show, words
from gdm.recipes.ranges import (
    Count,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveFraction,
)

RATE = {"_target_": "gdm.theory.learning_rates.Cosine", "warmup_fraction": 0.1, "final_factor": 0}
ADAM = {
    "_target_": "torch.optim.Adam",
    "_partial_": True,
    "lr": 1e-3,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0,
    "amsgrad": False,
    "fused": None,
}
SGD = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "momentum": 0.0}
VAE = {
    "_target_": "gdm.models.vae.VAE",
    "facts": {
        "_target_": "gdm.theory.images.ImageFacts",
        "channels": 1,
        "resolution": 32,
        "native_resolution": 28,
        "num_classes": 10,
    },
    "latent_dim": 4,
    "width": 8,
    "beta": 1,
    "condition": None,
    "likelihood": {"_target_": "gdm.theory.likelihoods.Bernoulli"},
    "prior": {"_target_": "gdm.theory.priors.StandardNormal", "_partial_": True},
    "optimizer": ADAM,
    "learning_rate": RATE,
    "ema": None,
    "max_gradient_norm": None,
}


def refusal(recipe: dict, root=None) -> str:
    with pytest.raises(UserError) as caught:
        check(recipe, root)
    return str(caught.value)


def test_a_good_recipe_passes():
    check({"model": VAE})
    check({"model": VAE | {"optimizer": SGD}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_dim": 0}, "model.latent_dim=0: must be a whole number, at least 1"),
        ({"latent_dim": -3}, "model.latent_dim=-3: must be a whole number, at least 1"),
        ({"latent_dim": 2.0}, "model.latent_dim=2.0: must be a whole number, at least 1"),
        ({"latent_dim": "two"}, "model.latent_dim=two: must be a whole number, at least 1"),
        ({"latent_dim": True}, "model.latent_dim=true: must be a whole number, at least 1"),
        ({"latent_dim": None}, "model.latent_dim=null: must be a whole number, at least 1"),
        ({"latent_dim": [2]}, "model.latent_dim=[2]: must be a whole number, at least 1"),
        ({"beta": -0.5}, "model.beta=-0.5: must be a number, at least 0"),
        ({"beta": math.nan}, "model.beta=nan: must be a number, at least 0"),
        ({"beta": math.inf}, "model.beta=inf: must be a number, at least 0"),
        ({"condition": 1}, "model.condition=1: must be label, or null"),
        ({"condition": "yes"}, "model.condition=yes: must be label, or null"),
        (
            {"max_gradient_norm": 0},
            "model.max_gradient_norm=0: must be a number, above 0, or null",
        ),
        ({"ema": 0.999}, "model.ema=0.999: must be a _target_ of class EMA, or null"),
        (
            {"ema": RATE},
            "model.ema=gdm.theory.learning_rates.Cosine: must be a _target_ of class EMA",
        ),
        (
            {"likelihood": VAE["prior"]},
            "model.likelihood=gdm.theory.priors.StandardNormal: must be a _target_ of class Lik",
        ),
        (
            {"prior": {"_target_": "gdm.theory.priors.StandardNormal"}},
            "model.prior=gdm.theory.priors.StandardNormal: "
            "must be a _target_ of class Prior with _partial_: true",
        ),
        (
            {"prior": ADAM},
            "model.prior=torch.optim.Adam: must be a _target_ of class Prior with _partial_",
        ),
        ({"optimizer": 0.1}, "model.optimizer=0.1: must be a _target_ with _partial_: true"),
        ({"learning_rate": None}, "model.learning_rate=null: must be a _target_ of class Learn"),
        ({"schedule": RATE}, "model.schedule: VAE takes no schedule; it takes latent_dim, lik"),
        ({"latent_dims": 3}, "model.latent_dims: VAE takes no latent_dims; did you mean latent_d"),
        (
            {"learning_rate": RATE | {"warmup_fraction": 1.5}},
            "model.learning_rate.warmup_fraction=1.5: must be a number, between 0 and 1",
        ),
        (
            {"learning_rate": RATE | {"_partial_": "yes"}},
            "model.learning_rate._partial_=yes: must be true or false",
        ),
        (
            {"learning_rate": RATE | {"_partial_": True}},
            "model.learning_rate=gdm.theory.learning_rates.Cosine: must be a _target_ of class",
        ),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(change, message):
    assert refusal({"model": VAE | change}).startswith(message)


def test_a_missing_argument_is_named():
    without = {name: value for name, value in VAE.items() if name != "latent_dim"}
    message = "model.latent_dim is missing: must be a whole number, at least 1"
    assert refusal({"model": without}) == message


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (ADAM | {"lr": -1}, "model.optimizer.lr=-1: must be a number, above 0"),
        (ADAM | {"lr": "fast"}, "model.optimizer.lr=fast: must be a number, above 0"),
        (ADAM | {"betas": [0.9]}, "model.optimizer.betas=[0.9]: must be a list (a number, betw"),
        (ADAM | {"betas": 0.9}, "model.optimizer.betas=0.9: must be a list (a number, between"),
        (ADAM | {"momentum": 0.9}, "model.optimizer.momentum: Adam takes no momentum; it takes l"),
        (ADAM | {"params": []}, "model.optimizer.params: Adam takes no params"),
        # what only the optimizer itself can say, found by making one for a dummy parameter
        (ADAM | {"betas": [0.9, 1]}, "model.optimizer.betas=[0.9,1]: Invalid beta parameter"),
        (SGD | {"nesterov": True}, "model.optimizer.nesterov=true: Nesterov momentum requires a"),
    ],
)
def test_a_bad_optimizer_is_found_before_there_are_parameters(optimizer, message):
    assert refusal({"model": VAE | {"optimizer": optimizer}}).startswith(message)


def layout(
    seed: NonNegativeInt, name: str | None, rates: dict[str, RuntimeError | None], x: int = 0
):
    """The outermost keys of a recipe."""


def test_the_outermost_keys_are_those_of_the_root():
    good = {"seed": 0, "name": None, "rates": {"a": None}}
    check(good, layout)
    check(good | {"x": 3}, layout)
    assert refusal(good | {"seeds": 1}, layout).startswith(
        "seeds: the configuration takes no seeds; did you mean seed?; it takes seed, name"
    )
    assert refusal({"seed": 0}, layout) == "name is missing: must be text, or null"
    assert refusal(good | {"seed": -1}, layout) == "seed=-1: must be a whole number, at least 0"
    assert refusal(good | {"rates": {"b": 3}}, layout).startswith("rates.b=3: must be a _target_")


def test_targets_are_checked_first():
    assert refusal({"a": VAE | {"width": 0}, "b": {"_target_": "os.system"}}).startswith("b._targ")


@pytest.mark.parametrize(
    ("hint", "good", "bad", "said"),
    [
        (Count, [1, 7], [0, 1.0, True, "1"], "a whole number, at least 1"),
        (NonNegativeInt, [0], [-1], "a whole number, at least 0"),
        (Positive, [1, 0.1], [0, -1.0, math.inf, math.nan], "a number, above 0"),
        (NonNegative, [0, 0.0], [-1e-9, math.nan], "a number, at least 0"),
        (Fraction, [0, 1, 0.5], [1.01, -0.01], "a number, between 0 and 1"),
        (PositiveFraction, [1, 0.5], [0, 1.5], "a number, above 0, at most 1"),
    ],
)
def test_ranges(hint, good, bad, said):
    def root(x: hint): ...

    for value in good:
        check({"x": value}, root)
    for value in bad:
        assert refusal({"x": value}, root) == f"x={show(value)}: must be {said}"
    assert words(hint) == said
