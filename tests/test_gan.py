"""The GAN: its networks, its two players' turns, and every remedy."""

import copy
from itertools import pairwise

import pytest
import torch
from conftest import BRIEF, SMALL_GAN, composed, trained
from pytorch_lightning import Callback, Trainer
from torch.utils.data import DataLoader

from gdm.data.batches import Batch
from gdm.data.mnist import FashionMNISTMini
from gdm.errors import UserError
from gdm.networks.dcgan import Discriminator, Generator
from gdm.recipes.build import build
from gdm.runs import catalogue, checkpoints
from gdm.theory.images import to_float

CLOTHES = FashionMNISTMini().load("train")
SIZE = 16


def batches(count: int) -> list[Batch]:
    """Return batches of clothes."""
    index = torch.arange(count * SIZE).view(count, SIZE)
    return [Batch(to_float(CLOTHES.images[i]), CLOTHES.labels[i].long(), i) for i in index]


def gan(*overrides: str, model: str = "dcgan"):
    """Return a small GAN with the weights that seed 0 gives it."""
    torch.manual_seed(0)
    return build(composed(f"model={model}", *SMALL_GAN, *overrides)["model"], "model")


def fit(model, num_batches: int, *callbacks: Callback):
    """Train a model on so many batches, and return it."""
    model.set_progress(seed=0, batch_size=SIZE, num_batches=num_batches, batches_seen=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        callbacks=list(callbacks), enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader(batches(num_batches), batch_size=None))
    return model


def weights(network) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


# Networks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_take_any_power_of_two(resolution, channels):
    x = Generator(channels, resolution, 100, 0, 4)(torch.randn(4, 100), None)
    assert x.shape == (4, channels, resolution, resolution)
    assert x.abs().max() < 1
    discriminator = Discriminator(channels, resolution, 0, 4, "none", "projection", 0.0, False)
    assert discriminator(x, None).shape == (4,)


def test_networks_begin_as_in_the_paper():
    """Radford et al. 2016, section 4: weights from N(0, 0.02), gains from N(1, 0.02)."""
    torch.manual_seed(0)
    for layer in Generator(3, 64, 100, 0, 64).modules():
        if isinstance(layer, torch.nn.ConvTranspose2d | torch.nn.Linear):
            assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.05)
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert float(layer.weight.mean()) == pytest.approx(1, abs=0.01)
            assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.3)


def test_the_paper_has_its_own_numbers():
    recipe = composed("experiment=dcgan_paper")["model"]
    recipe["facts"] |= {"channels": 3, "resolution": 64, "native_resolution": 64}
    torch.manual_seed(0)
    model = build(recipe, "model")
    assert len(weights(model.generator)) == 3_576_704
    assert len(weights(model.discriminator)) == 2_765_568
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in model.discriminator.modules()) == 3
    assert recipe["optimizer"]["lr"] == 2e-4 == recipe["discriminator_optimizer"]["lr"]
    assert recipe["optimizer"]["betas"] == [0.5, 0.999]
    assert model.penalty is None


def test_spectral_normalisation_makes_the_largest_singular_value_of_each_layer_1():
    torch.manual_seed(0)
    network = Discriminator(1, 16, 0, 8, "spectral", "projection", 0.0, False)
    for _ in range(100):  # of the power iteration
        network(torch.randn(2, 1, 16, 16), None)
    layers = [m for m in network.features.modules() if isinstance(m, torch.nn.Conv2d)]
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2)) == pytest.approx(
            1, 1e-3
        )


@pytest.mark.parametrize("conditioning", ["projection", "concatenation"])
def test_both_networks_of_a_conditional_gan_know_the_label(conditioning):
    model = gan(f"model.discriminator.conditioning={conditioning}", model="conditional_gan")
    fit(model, 3)
    (batch,) = batches(1)
    with model.evaluating():
        left, right = (model.sample(range(4), torch.full((4,), label)) for label in (0, 1))
        assert not torch.equal(left, right)
        others = (batch.label + 1) % 10
        assert not torch.equal(
            model.discriminate(batch.x, batch.label), model.discriminate(batch.x, others)
        )
        assert torch.equal(model.sample(range(10)), model.sample(range(10), torch.arange(10)))


def test_the_last_layer_sees_how_much_a_batch_differs():
    torch.manual_seed(0)
    with_std = Discriminator(1, 16, 0, 4, "none", "projection", 0.0, True).eval()
    without = Discriminator(1, 16, 0, 4, "none", "projection", 0.0, False).eval()
    image, others = torch.randn(1, 1, 16, 16), torch.randn(3, 1, 16, 16)
    varied, repeated = torch.cat([image, others]), image.repeat(4, 1, 1, 1)
    torch.testing.assert_close(without(varied, None)[0], without(repeated, None)[0])
    assert abs(with_std(varied, None)[0] - with_std(repeated, None)[0]) > 1e-4


# The two players --------------------------------------------------------------------------------


class Watch(Callback):
    """The weights of both players after each batch."""

    def __init__(self) -> None:
        self.generator, self.discriminator = [], []

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        self.generator.append(weights(model.generator))
        self.discriminator.append(weights(model.discriminator))


def changes(series: list[torch.Tensor]) -> list[bool]:
    return [not torch.equal(a, b) for a, b in pairwise(series)]


def test_the_generator_learns_once_in_so_many_steps_of_the_discriminator():
    watch = Watch()
    fit(gan("model.num_discriminator_steps=3"), 9, watch)
    assert changes(watch.discriminator) == [True] * 8
    assert changes(watch.generator) == [False, True, False, False, True, False, False, True]


def test_each_player_has_its_own_optimizer():
    slow = fit(gan("model.discriminator_optimizer.lr=1e-9"), 3)
    start = gan()
    assert (weights(slow.discriminator) - weights(start.discriminator)).abs().max() < 1e-7
    assert (weights(slow.generator) - weights(start.generator)).abs().max() > 1e-4
    assert build_of("optimizer@model.discriminator_optimizer=sgd") is torch.optim.SGD


def build_of(override: str) -> type:
    return gan(override).discriminator_optimizer.func


def test_the_rates_of_both_players_fall():
    rates = []

    class Rates(Callback):
        def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
            rates.append([each.param_groups[0]["lr"] for each in trainer.optimizers])

    fit(gan("model.discriminator_optimizer.lr=1e-3"), 8, Rates())
    assert rates[0] == [2e-3, 1e-3] == rates[3]
    factor = (1 - 7.5 / 8) / 0.95 / 0.5  # of a line that begins at half of what is not warm-up
    assert rates[-1] == pytest.approx([factor * 2e-3, factor * 1e-3])


def test_the_generators_average_is_sampled_and_the_discriminator_has_none():
    model = fit(gan(), 4)
    of_average = [name for name in model.state_dict() if name.startswith("ema.")]
    in_generator = [t for t in model.generator.state_dict().values() if t.is_floating_point()]
    assert len(of_average) == len(in_generator)
    with model.evaluating(averaged=False):
        raw = model.sample(range(4))
    with model.evaluating():
        averaged = model.sample(range(4))
    assert not torch.equal(raw, averaged)
    model.ema.give()
    with model.evaluating(averaged=False):
        assert torch.equal(averaged, model.sample(range(4)))


def test_a_step_of_the_average_is_worth_the_batches_between_two_of_the_generators():
    model = gan("model.num_discriminator_steps=3")
    steps = []
    model.ema.update = lambda images_seen, images: steps.append((images_seen, images))
    fit(model, 6)
    assert steps == [(48, 48), (96, 48)]


def test_images_seen_are_real_images_whatever_the_number_of_steps(tmp_path):
    every_fifth = "model.num_discriminator_steps=5"
    recipe = composed("model=wgan", *SMALL_GAN, *BRIEF, "dataset.batch_size=20", every_fifth)
    run = trained(recipe, tmp_path)
    assert run.manifest()["images_seen"] == 600
    state = checkpoints.read(run.checkpoints / checkpoints.LAST)["optimizer_states"]
    steps = [int(next(iter(each["state"].values()))["step"]) for each in state]
    assert steps == [6, 30]  # of the generator and of the discriminator
    assert catalogue.load(run).sample(range(3)).shape == (3, 1, 28, 28)


def test_padding_does_not_tell_real_images_from_fake_ones():
    model = gan()
    x = model.decode(torch.randn(4, 100))
    shown = model.shown(x)
    assert shown.shape == (4, 1, 32, 32)
    assert (shown[..., :2, :] == -1).all()
    assert (shown[..., -2:] == -1).all()


# Remedies: each changes what it is there for ----------------------------------------------------

REMEDIES = [
    "model.discriminator.dropout=0.3",
    "model.discriminator_optimizer.lr=1e-4",
    "model.discriminator.width=8",
    "model.label_noise.noise=0.2",
    "model.label_noise.flipped=0.2",
    "model.label_noise.smoothing=0.1",
    "model.instance_noise=0.2",
    "model.num_discriminator_steps=2",
    "model.optimizer.lr=1e-4",
    "model.discriminator.minibatch_std=true",
    "model.discriminator.normalisation=layer",
    "model.discriminator.normalisation=spectral",
    "model.augmentation.translation=0.125",
    "model.augmentation.cutout=0.5",
    "model.augmentation.brightness=0.2",
    "model.augmentation.contrast=0.2",
    "penalty=null model.discriminator.normalisation=batch",
    "model.max_weight=0.01",
    "model.max_gradient_norm=0.001",
    "model.penalty.weight=100",
    "model.penalty.every=1",
    "penalty=null",
    "penalty=gradient_penalty",
    *(f"objective={name}" for name in ("minimax", "least_squares", "hinge", "wasserstein")),
]


@pytest.fixture(scope="module")
def without_remedies():
    return weights(fit(gan(), 17).generator)


@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_remedy_reaches_the_generators_weights(remedy, without_remedies):
    """The same seed, batches and number of steps: what differs is the remedy's doing."""
    assert not torch.equal(weights(fit(gan(*remedy.split()), 17).generator), without_remedies)


def test_the_same_again_is_the_same(without_remedies):
    assert torch.equal(weights(fit(gan(), 17).generator), without_remedies)


def test_fewer_filters_make_a_smaller_discriminator():
    sizes = [len(weights(gan(f"model.discriminator.width={w}").discriminator)) for w in (4, 8)]
    assert sizes[0] < sizes[1] / 2


def test_dropout_dampens_the_discriminator_in_training_only():
    model, (batch,) = gan("model.discriminator.dropout=0.5"), batches(1)
    assert not torch.equal(*(model.discriminate(batch.x, batch.label) for _ in range(2)))
    model.eval()
    assert torch.equal(*(model.discriminate(batch.x, batch.label) for _ in range(2)))


def test_instance_noise_falls_to_nothing_over_the_run():
    model, (batch,) = gan("model.instance_noise=0.4"), batches(1)
    clean = model.pad(batch.x)
    for seen, expected in ((0, 0.4), (50, 0.2), (100, 0.0)):
        model.set_progress(seed=0, batch_size=SIZE, num_batches=100, batches_seen=seen)
        assert float((model.shown(batch.x) - clean).std()) == pytest.approx(expected, rel=0.05)


def test_clipped_weights_stay_within_their_bound():
    model = fit(gan("model.max_weight=0.01"), 2)
    assert weights(model.discriminator).abs().max() <= 0.01
    assert weights(model.generator).abs().max() > 0.01


def test_a_lazy_penalty_counts_seldom_and_as_much_in_sum():
    model, (batch,) = gan("model.penalty.every=4"), batches(1)
    costs = []
    for seen in range(8):
        model.batches_seen = seen
        costs.append(float(model.penalty_loss(batch.x, batch.x, batch.label)))
    assert [cost > 0 for cost in costs] == [True, False, False, False] * 2
    model.penalty.every = 1
    always = float(model.penalty_loss(batch.x, batch.x, batch.label))
    assert sum(costs) == pytest.approx(8 * always, rel=1e-5)


def test_real_and_fake_batches_have_their_own_batch_statistics():
    model, seen = gan("model.discriminator.normalisation=batch", "penalty=null"), []
    model.discriminator.features.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    fit(model, 1)
    assert seen == [SIZE, SIZE, SIZE]  # real, fake, and fake for the generator


def test_batch_normalisation_and_a_penalty_are_refused_together():
    with pytest.raises(UserError, match="penalty=null or model"):
        gan("model.discriminator.normalisation=batch")


def test_a_generator_that_would_never_learn_is_refused(tmp_path):
    recipe = composed("model=dcgan", *SMALL_GAN, *BRIEF, "model.num_discriminator_steps=13")
    with pytest.raises(UserError, match=r"num_discriminator_steps=13: .* only 12 batches"):
        trained(recipe, tmp_path)


def test_half_precision_trains_with_penalties_in_full():
    model = gan(model="wgan_gp")
    model.set_progress(seed=0, batch_size=SIZE, num_batches=3, batches_seen=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        precision="bf16-mixed", enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader(batches(3), batch_size=None))
    assert torch.isfinite(weights(model.discriminator)).all()
    (batch,) = batches(1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(0)
        in_half = model.slope(batch.x, batch.x, batch.label)
    torch.manual_seed(0)
    assert torch.equal(in_half, model.slope(batch.x, batch.x, batch.label))


# Health -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["dcgan", "hinge_gan", "wgan_gp", "conditional_gan"])
def test_looking_at_the_health_changes_nothing(model):
    model = fit(gan("model.discriminator.dropout=0.3", model=model), 2)
    model.train()
    before = copy.deepcopy(model.state_dict())
    (batch,) = batches(1)
    metrics = model.health(batch)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(torch.tensor(value)) for value in metrics.values())
    assert ("critic_slope" in metrics) == (model.penalty is not None)


def test_accuracies_are_shares_of_images_on_the_right_side():
    real, fake = torch.tensor([3.0, 2.0, -1.0, 1.0]), torch.tensor([-2.0, -1.0, 1.0, 2.0])
    assert gan()._accuracies(real, fake) == {"real_accuracy": 0.75, "fake_accuracy": 0.5}
    # least squares: one half is the middle; a critic: the middle of its mean outputs
    of_least_squares = gan("objective=least_squares")._accuracies(real - 1, fake + 1)
    assert of_least_squares == {"real_accuracy": 0.5, "fake_accuracy": 0.5}
    of_critic = gan("objective=wasserstein")._accuracies(real + 100, fake + 100)
    assert of_critic == {"real_accuracy": 0.75, "fake_accuracy": 0.5}


def test_gradients_are_those_that_the_players_would_follow():
    model = gan("penalty=null")
    (batch,) = batches(1)
    metrics = model.health(batch)
    fake = model.generate(model.sample_codes(range(SIZE)), None)
    real_output = model.discriminate(batch.x, batch.label)
    fake_output = model.discriminate(fake, batch.label)
    for name, loss, network in (
        ("generator_gradient", model.generator_loss(real_output, fake_output), model.generator),
        ("discriminator_gradient", model.discriminator_loss(real_output, fake_output),
         model.discriminator),
    ):  # fmt: skip
        model.zero_grad()
        loss.backward(retain_graph=True)
        gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
        assert metrics[name] == pytest.approx(float(gradient.norm()), rel=1e-4)
