"""R3GAN (Huang et al. 2024): its networks, and what changes over the first part of a run."""

import math

import pytest
import torch
from conftest import composed, resumed, small, trained
from pytorch_lightning import Callback, Trainer
from test_resume import KillAfterSave, assert_same_bits, in_place_of, killed, state, unseen
from torch.utils.data import DataLoader

from gdm.data.batches import Batch
from gdm.networks import r3gan
from gdm.networks.r3gan import Discriminator, Generator
from gdm.recipes.build import build
from gdm.theory.adversarial import R1R2
from gdm.theory.ramps import Ramp

SMALL = {"channel_base": 256, "channel_max": 16, "group_channels": 8, "blocks_per_stage": 2}
PAPER = {"channel_base": 24576, "channel_max": 768, "group_channels": 16, "blocks_per_stage": 2}
SIZE = 8


def networks(channels: int = 3, resolution: int = 32, num_labels: int = 0):
    torch.manual_seed(0)
    shape = {"channels": channels, "resolution": resolution, "num_labels": num_labels}
    return Generator(latent_dim=64, **shape, **SMALL), Discriminator(**shape, **SMALL)


def trained_weights(network) -> None:
    """Let the layers that are 0 at first be none any more."""
    for weight in network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, 0.0, 0.1)


def num_weights(network) -> int:
    return sum(weight.numel() for weight in network.parameters())


# Networks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resolution", "num_labels", "of_generator", "of_discriminator"),
    [
        (32, 0, 20_732_160, 20_683_776),  # CIFAR
        (32, 10, 20_781_952, 21_280_512),
        (64, 0, 22_429_824, 22_381_440),  # FFHQ
        (256, 0, 23_057_952, 23_009_568),
    ],
)
def test_the_papers_networks_have_its_numbers_of_weights(
    resolution, num_labels, of_generator, of_discriminator
):
    with torch.device("meta"):
        generator = Generator(3, resolution, 64, num_labels, **PAPER)
        discriminator = Discriminator(3, resolution, num_labels, **PAPER)
    assert num_weights(generator) == of_generator
    assert num_weights(discriminator) == of_discriminator


@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_labels", [0, 5])
def test_networks_take_any_power_of_two(resolution, channels, num_labels):
    generator, discriminator = networks(channels, resolution, num_labels)
    labels = torch.eye(num_labels)[[0, 1, 2]] if num_labels else None
    x = generator(torch.randn(3, 64), labels)
    assert x.shape == (3, channels, resolution, resolution)
    assert discriminator(x, labels).shape == (3,)


def test_groups_that_do_not_fit_are_one_clear_line():
    for network in (Generator, Discriminator):
        latent = {"latent_dim": 8} if network is Generator else {}
        message = r"group_channels=12: must divide (16|32), twice the channels"
        with pytest.raises(ValueError, match=message):
            network(channels=1, resolution=32, num_labels=0, **latent,
                    **(SMALL | {"group_channels": 12}))  # fmt: skip


def test_residual_blocks_begin_as_the_identity():
    for network in networks():
        blocks = [each for each in network.modules() if isinstance(each, r3gan._Residual)]
        assert len(blocks) == 8
        for block in blocks:
            x = torch.randn(2, block.layers[0].in_channels, 8, 8)
            assert torch.equal(block(x), x)


@pytest.mark.parametrize("num_labels", [0, 5])
def test_networks_begin_linear_and_do_not_stay_so(num_labels):
    generator, discriminator = networks(num_labels=num_labels)
    label = torch.eye(5)[:1].expand(2, -1) if num_labels else None
    for network, inputs in (
        (generator, torch.randn(2, 64)),
        (discriminator, torch.randn(2, 3, 32, 32)),
    ):
        # affine: the mean of two inputs has the mean of their outputs
        middle = inputs.mean(0, keepdim=True).expand_as(inputs)
        torch.testing.assert_close(
            network(middle, label)[0], network(inputs, label).mean(0), rtol=1e-4, atol=1e-5
        )
        trained_weights(network)
        assert (network(middle, label)[0] - network(inputs, label).mean(0)).abs().max() > 1e-3


def test_a_discriminator_begins_with_one_slope_everywhere():
    _, discriminator = networks()
    slope = R1R2(1.0, 1).slope(
        lambda x: discriminator(x, None), torch.randn(4, 3, 32, 32), torch.zeros(4, 3, 32, 32)
    )
    torch.testing.assert_close(slope, slope[:1].expand(8))


def test_weights_begin_with_the_variance_that_the_depth_asks_for():
    """sqrt(2 / 1.04) L^(-1/4) / sqrt(fan-in), with L = 2 blocks at each of 4 resolutions."""
    torch.manual_seed(0)
    shape = {"channel_base": 4096, "channel_max": 128, "group_channels": 16, "blocks_per_stage": 2}
    network = Discriminator(3, 32, 0, **shape)
    block = next(each for each in network.modules() if isinstance(each, r3gan._Residual))
    widen, grouped = block.layers[0], block.layers[2]
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    assert float(widen.weight.detach().std()) == pytest.approx(gain / math.sqrt(128), rel=0.02)
    assert float(grouped.weight.detach().std()) == pytest.approx(
        gain / math.sqrt(16 * 9), rel=0.02
    )
    assert grouped.groups == 16
    assert not widen.bias.any()
    assert not grouped.bias.any()


def test_images_are_halved_and_doubled_by_1_2_1():
    up, down = r3gan._Up(2), r3gan._Down(2)
    x, y = torch.randn(3, 2, 8, 8), torch.randn(3, 2, 16, 16)
    assert torch.equal(up(x)[..., ::2, ::2], x)
    between = (x[..., :-1] + x[..., 1:]) / 2
    torch.testing.assert_close(up(x)[..., ::2, 1:-1:2], between)
    # doubling is the transpose of halving, but for the sum that each filter has
    torch.testing.assert_close((up(x) * y).sum(), 4 * (x * down(y)).sum(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(down(torch.ones(1, 2, 8, 8))[..., 1:, 1:], torch.ones(1, 2, 3, 3))


@pytest.mark.parametrize("network", [0, 1])
def test_both_networks_know_the_label(network):
    network = networks(num_labels=5)[network]
    trained_weights(network)
    x = torch.randn(1, 64) if isinstance(network, Generator) else torch.randn(1, 3, 32, 32)
    outputs = [network(x, label[None]) for label in torch.eye(5)]
    assert not torch.equal(outputs[0], outputs[1])


def test_an_output_is_a_function_of_its_own_image_alone():
    _, network = networks()
    trained_weights(network)
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(network(x, None)[:1], network(x[:1], None))


# Ramps ------------------------------------------------------------------------------------------


def test_a_ramp_is_half_a_cosine_over_its_fraction():
    ramp = Ramp(0.05, 0.005, 0.2)
    assert [ramp(p) for p in (0.0, 0.1, 0.2, 0.21, 1.0)] == pytest.approx(
        [0.05, 0.0275, 0.005, 0.005, 0.005]
    )
    assert ramp(0.05) == pytest.approx(0.005 + 0.045 * (1 + math.cos(math.pi / 4)) / 2)
    assert Ramp(0.05, 0.005, 0.0)(0.0) == 0.005


def gan(*overrides: str):
    torch.manual_seed(0)
    return build(composed("model=r3gan", *small("r3gan"), *overrides)["model"], "model")


def fit(model, num_batches: int, *callbacks: Callback):
    """Train a model on so many batches of noise, and return it."""
    images = torch.rand(num_batches, SIZE, 1, 28, 28) * 2 - 1
    label, index = torch.arange(SIZE) % 10, torch.arange(SIZE)
    model.set_progress(seed=0, batch_size=SIZE, num_batches=num_batches, batches_seen=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        callbacks=list(callbacks), enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches = [Batch(x, label, index) for x in images]
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return model


IN_A_RAMP = (
    "model.ramp_fraction=0.5",
    "model.final_penalty_factor=0.1",
    "model.final_beta_2=0.99",
)


def test_the_rate_beta_2_and_gamma_change_over_the_first_part_of_a_run():
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
            groups = [each.param_groups[0] for each in trainer.optimizers]
            torch.manual_seed(0)
            gamma = model.penalty_loss(batch.x, batch.x, batch.label)
            full = super(type(model), model).penalty_loss(batch.x, batch.x, batch.label)
            seen.append(
                [*(group["lr"] for group in groups), *(group["betas"][1] for group in groups),
                 float((gamma / full).detach())]
            )  # fmt: skip

    words = ("learning_rate=cosine", "model.learning_rate.warmup_fraction=0",
             "model.learning_rate.final_factor=0.25", "model.learning_rate.decay_fraction=0.5",
             "model.penalty.every=1", "optimizer=adam_r3gan_paper",
             "optimizer@model.discriminator_optimizer=adam_r3gan_paper")  # fmt: skip
    fit(gan(*words, *IN_A_RAMP), 6, Watch())
    middles = [(1 + math.cos(math.pi * min((b + 0.5) / 3, 1))) / 2 for b in range(6)]
    expected = [
        [5e-5 + 1.5e-4 * m, 5e-5 + 1.5e-4 * m, 0.99 - 0.09 * m, 0.99 - 0.09 * m, 0.1 + 0.9 * m]
        for m in middles
    ]
    for found, wanted in zip(seen, expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4)
    assert seen[3] == seen[5]


@pytest.mark.parametrize("unramped", ["model.final_beta_2=null", "optimizer=rmsprop"])
def test_an_optimizer_may_have_no_beta_2_to_change(unramped):
    model = fit(gan(unramped), 2)
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_a_run_depends_on_its_length_where_something_changes():
    constant = ("learning_rate=constant", "model.final_beta_2=null")
    assert gan("learning_rate=constant").depends_on_length
    assert gan(*constant, "model.final_penalty_factor=0.1").depends_on_length
    assert not gan(*constant, "model.final_penalty_factor=1.0").depends_on_length


def test_a_run_killed_within_a_ramp_equals_uninterrupted(tmp_path):
    recipe = unseen("r3gan")
    recipe["model"]["ramp_fraction"] = 0.8  # of 12 batches
    whole = trained(recipe, tmp_path / "whole")
    run = killed(recipe, tmp_path, in_place_of("checkpoints", KillAfterSave, 6))
    half_way = state(run)["optimizer_states"][1]["param_groups"][0]["betas"][1]
    assert 0.92 < half_way < 0.98
    assert_same_bits(state(resumed(run)), state(whole))


# The game ---------------------------------------------------------------------------------------


def test_the_generators_step_sees_real_images_again():
    model, seen = gan(), []
    discriminate = model.discriminate

    def watched(x, condition):
        seen.append(
            (torch.equal(x, batch_x[-1]), next(model.discriminator.parameters()).requires_grad)
        )
        return discriminate(x, condition)

    batch_x = []

    class Keep(Callback):
        def on_train_batch_start(self, trainer, model, batch, batch_idx: int) -> None:
            batch_x.append(batch.x)

    model.discriminate = watched
    fit(model, 1, Keep())
    # real and fake for D, then both again for G, whose step leaves D as it is
    assert seen == [(True, True), (False, True), (True, False), (False, False)]


def test_both_penalties_are_told_the_labels():
    model = gan("model.condition=label", "model.penalty.every=1")
    x, label = torch.rand(SIZE, 1, 28, 28), torch.arange(SIZE)
    trained_weights(model.discriminator)
    slope = model.slope(x, x, label)
    assert slope.shape == (2 * SIZE,)
    torch.testing.assert_close(slope[:SIZE], slope[SIZE:])
    others = model.slope(x, x, label.roll(1))
    assert not torch.allclose(slope, others)
    fit(model, 2)


def test_images_are_unbounded_in_training_and_bounded_for_users():
    model = gan("model.generator.bounded=false")
    model.generator.basis.data *= 100
    z = torch.randn(4, 64)
    raw = model.generate(z, None)
    assert raw.abs().max() > 1
    assert torch.equal(model.decode(z), raw.detach().clamp(-1, 1))
    assert model.sample(range(4)).abs().max() <= 1
    bounded = gan()  # the preset's, by tanh
    bounded.generator.basis.data *= 100
    assert bounded.generate(z, None).abs().max() <= 1


def test_health_measures_accuracies_from_the_middle_of_the_outputs():
    model = fit(gan(), 2)
    batch = Batch(torch.rand(SIZE, 1, 28, 28), torch.arange(SIZE), torch.arange(SIZE))
    metrics = model.health(batch)
    assert all(math.isfinite(value) for value in metrics.values())
    with torch.no_grad():
        model.discriminator.last.weight.mul_(0.0)
    real, fake = (
        torch.tensor([103.0, 102.0, 99.0, 101.0]),
        torch.tensor([98.0, 99.0, 101.0, 102.0]),
    )
    assert model._accuracies(real + 100, fake + 100) == {
        "real_accuracy": 0.75,
        "fake_accuracy": 0.5,
    }
    assert metrics.keys() >= {"real_accuracy", "fake_accuracy", "critic_slope"}


# The paper's settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("experiment", "gamma", "batch_size", "counts"),
    [
        ("r3gan_cifar", 0.05, 512, (20_781_952, 21_280_512)),
        ("r3gan_ffhq64", 2.0, 256, (22_429_824, 22_381_440)),
    ],
)
def test_the_experiments_are_the_paper(experiment, gamma, batch_size, counts):
    recipe = composed(f"experiment={experiment}")
    with torch.device("meta"):
        model = build(recipe["model"], "model")
    assert (num_weights(model.generator), num_weights(model.discriminator)) == counts
    assert recipe["dataset"]["batch_size"] == batch_size
    images = recipe["budget"]["images"]
    for start, end in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (5.0, 1.0)):  # of the ramp's 20 M
        progress = start * 20e6 / images
        cosine = (1 + math.cos(math.pi * end)) / 2
        rate = 2e-4 * model.learning_rate(progress)
        assert rate == pytest.approx(5e-5 + 1.5e-4 * cosine)
    assert model.ramp_fraction * images == pytest.approx(20e6)
    assert (model.penalty.weight, model.penalty.every) == (gamma, 1)
    assert model.final_penalty_factor == pytest.approx(0.1)
    for optimizer in (recipe["model"]["optimizer"], recipe["model"]["discriminator_optimizer"]):
        assert (optimizer["lr"], optimizer["betas"]) == (2e-4, [0.0, 0.9])
    assert model.final_beta_2 == 0.99
    assert model.objective.compares
    assert isinstance(model.penalty, R1R2)
    half_life = model.ema.half_life_images
    assert model.ema.warmup_fraction * 20e6 == pytest.approx(half_life)
