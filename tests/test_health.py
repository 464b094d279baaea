"""Which failure a GAN shows, and what its user is told."""

import re
import shlex

import pytest
import torch
from conftest import SHORT, SMALL_GAN, composed, short, trained
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from gdm.data.mnist import FashionMNISTMini
from gdm.errors import UserError
from gdm.evaluation import gan_health
from gdm.networks.discriminator import Discriminator
from gdm.recipes import check
from gdm.recipes.build import build
from gdm.theory.images import to_float
from gdm.training.options import TrainOptions

CLOTHES = to_float(FashionMNISTMini().load("train").images[:1000])
GANS = ["dcgan", "lsgan", "hinge_gan", "wgan", "wgan_gp", "conditional_gan"]
HEALTHY = {
    "generator_steps": 800.0,
    "real_accuracy": 0.7,
    "fake_accuracy": 0.8,
    "generator_gradient": 0.3,
    "discriminator_gradient": 1.0,
    "critic_slope": 1.0,
    "spread": 0.97,
    "near_duplicates": 0.0,
    "class_variety": 0.98,
}
FAILED = {
    "discriminator overpowers": {
        "real_accuracy": 1.0, "fake_accuracy": 1.0, "generator_gradient": 1e-3,
        "near_duplicates": 0.9, "spread": 0.1,
    },
    "the discriminator overpowers": {  # whose gradient does not vanish, such as non_saturating's
        "real_accuracy": 1.0, "fake_accuracy": 1.0, "generator_gradient": 19.0, "spread": 0.4,
    },
    "repeats itself": {"near_duplicates": 0.3},
    "differ less": {"spread": 0.2},
    "classes are missing": {"class_variety": 0.3},
    "slope is out of hand": {"critic_slope": 30.0},
}  # fmt: skip


def model(name: str = "dcgan", *overrides: str):
    return build(composed(f"model={name}", *SMALL_GAN, *overrides)["model"], "model")


# Diversity --------------------------------------------------------------------------------------


def test_real_images_are_as_varied_as_real_images():
    found = gan_health.diversity(CLOTHES[:500], CLOTHES[500:])
    assert found["spread"] == pytest.approx(1, abs=0.05)
    assert found["near_duplicates"] < 0.01


def test_one_image_again_and_again_has_no_variety():
    found = gan_health.diversity(CLOTHES[:1].repeat(200, 1, 1, 1), CLOTHES[:200])
    assert found == {"spread": 0.0, "near_duplicates": 1.0}


def test_a_few_images_with_noise_are_near_duplicates_although_they_differ():
    few = CLOTHES[:10].repeat(20, 1, 1, 1)
    found = gan_health.diversity(few + 0.02 * torch.randn(few.shape), CLOTHES[:200])
    assert found["near_duplicates"] > 0.9
    assert found["spread"] > 0.8


def test_variety_counts_the_classes_in_use():
    tenth = [0.1] * 10
    assert gan_health.class_variety(tenth, tenth) == pytest.approx(1)
    assert gan_health.class_variety([0.5, 0.5] + [0.0] * 8, tenth) == pytest.approx(0.2)
    assert gan_health.class_variety([0.9, 0.1], [0.9, 0.1]) == pytest.approx(1)


# Verdicts ---------------------------------------------------------------------------------------


def test_a_healthy_run_has_no_verdict():
    assert gan_health.verdict(HEALTHY, model()) is None
    assert (
        gan_health.verdict({"generator_steps": 1e4}, model()) is None
    )  # nothing known is nothing wrong


@pytest.mark.parametrize("failure", FAILED)
def test_a_failure_is_named(failure):
    name = "wgan_gp" if failure == "slope is out of hand" else "dcgan"
    assert failure.removeprefix("the ") in gan_health.verdict(
        HEALTHY | FAILED[failure], model(name)
    )


def test_an_untrained_generator_is_not_said_to_have_collapsed():
    start = HEALTHY | {"near_duplicates": 1.0, "spread": 0.0, "class_variety": 0.1}
    assert gan_health.verdict(start | {"generator_steps": 0.0}, model()) is None


def test_a_sure_discriminator_is_no_failure_while_the_generator_learns():
    sure = HEALTHY | {"real_accuracy": 1.0, "fake_accuracy": 1.0}
    assert gan_health.verdict(sure, model()) is None


@pytest.mark.parametrize("name", GANS)
def test_every_remedy_can_be_pasted(name):
    for failure in gan_health.FAILURES:
        if not failure.applies(model(name)):
            continue
        remedies = failure.remedies(model(name))
        assert len(remedies) >= 2
        for remedy in remedies:
            recipe = composed(f"model={name}", *shlex.split(remedy))
            check.check(recipe, root=TrainOptions)
            assert recipe != composed(f"model={name}"), remedy


def test_a_critic_is_meant_to_tell_real_from_fake():
    sure = HEALTHY | {"real_accuracy": 1.0, "fake_accuracy": 1.0, "generator_gradient": 1e-4}
    assert gan_health.verdict(sure, model("wgan")) is None
    assert gan_health.verdict(sure, model("dcgan")).startswith("discriminator overpowers")


def test_what_a_run_has_is_not_proposed_to_it():
    overrides = (
        "model.discriminator.dropout=0.3", "model.label_noise.noise=0.2",
        "model.instance_noise=0.5",
    )  # fmt: skip
    said = gan_health.verdict(
        HEALTHY | FAILED["discriminator overpowers"], model("dcgan", *overrides)
    )
    assert "dropout" not in said
    assert "label_noise.noise" not in said
    assert "instance_noise" not in said
    assert "objective=non_saturating" not in said
    assert "penalty=r1" not in said
    assert "objective=non_saturating" in gan_health.verdict(
        HEALTHY | FAILED["discriminator overpowers"], model("dcgan", "objective=minimax")
    )


class PlainCritic(nn.Module):
    """A discriminator of one's own that declares nothing."""

    def __init__(self, channels: int, resolution: int, num_labels: int) -> None:
        super().__init__()
        self.dropout = nn.Linear(channels * resolution**2, 1)  # a name that means something else


class DeclaringCritic(Discriminator):
    """One that can be weakened by its dropout."""

    dropout = 0.1


def test_of_ones_own_discriminator_only_what_it_declares_is_proposed():
    fails = HEALTHY | FAILED["discriminator overpowers"]
    gan = model("dcgan", "model.label_noise.noise=0.2", "model.instance_noise=0.5")
    for network, proposed in ((PlainCritic(1, 8, 0), 0), (DeclaringCritic(), 1)):
        gan.discriminator = network
        said = gan_health.verdict(fails, gan)
        assert said.count("model.discriminator.") == proposed, said
    assert "model.discriminator.dropout=0.3" in said


# In a run ---------------------------------------------------------------------------------------


def test_health_is_in_the_log_the_records_and_tensorboard(tmp_path):
    run = trained(short("dcgan"), tmp_path)
    validations = [record for record in run.records() if record["split"] == "validation"]
    names = {"real_accuracy", "fake_accuracy", "generator_gradient", "discriminator_gradient",
             "critic_slope", "spread", "near_duplicates", "class_variety"}  # fmt: skip
    assert all(names <= record["health"].keys() for record in validations)
    lines = [line for line in run.log.read_text().splitlines() if "health: " in line]
    assert len(lines) == len(validations)
    events = EventAccumulator(str(run.tensorboard)).Reload()
    assert {f"health/{name}" for name in names} <= set(events.Tags()["scalars"])


def test_models_without_a_discriminator_have_no_health(tmp_path):
    run = trained(composed(*SHORT, "budget.images=50"), tmp_path)
    assert all("health" not in record for record in run.records())
    assert "health" not in run.log.read_text()


@pytest.mark.parametrize("count", [1, 0])
def test_diversity_needs_two_images(count):
    line = f"callbacks.validation.health.num_images={count}"
    with pytest.raises(
        UserError, match=r"health\.num_images=.: must be a whole number, at least 2"
    ):
        check.check(composed("model=dcgan", line), root=TrainOptions)


# The two failures, with real images. A run is told by what it says in the second half.

AT_ONCE = ("learning_rate=constant", "model.learning_rate.warmup_fraction=0", "penalty=null")
SABOTAGE = {
    "healthy": (),
    "discriminator overpowers the generator": (
        *AT_ONCE, "objective=minimax",
        "model.optimizer.lr=2e-5", "model.discriminator_optimizer.lr=2e-3",
    ),
    "discriminator overpowers the generator, which gets a gradient": (
        *AT_ONCE, "model.optimizer.lr=1e-5", "model.discriminator_optimizer.lr=2e-3",
    ),
    "mode collapse": (
        *AT_ONCE, "model.optimizer.lr=1e-2", "model.discriminator_optimizer.lr=2e-5",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("failure", SABOTAGE)
def test_a_sabotaged_run_gets_its_verdict_and_a_healthy_one_none(failure, seed, tmp_path):
    recipe = composed(
        "model=dcgan", "trainer=cpu", "budget.images=40000", f"seed={seed}",
        "callbacks.validation.times=8", "callbacks.validation.pictures=null", *SABOTAGE[failure],
    )  # fmt: skip
    run = trained(recipe, tmp_path)
    said = [record["health"].get("verdict", "healthy") for record in run.records()]
    assert all(each.startswith(failure.split(",")[0]) for each in said[4:]), said
    if failure == "healthy":
        assert set(said) == {"healthy"}
    else:
        assert re.search(r"try \S+=\S+ or ", said[-1])
        assert f"; {said[-1]}" in run.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", GANS)
def test_no_model_is_said_to_fail_with_its_defaults(name, tmp_path):
    recipe = composed(
        f"model={name}", "trainer=cpu", "budget.images=40000",
        "callbacks.validation.times=8", "callbacks.validation.pictures=null",
    )  # fmt: skip
    run = trained(recipe, tmp_path)
    assert all("verdict" not in record["health"] for record in run.records())
