"""Progressive GAN: networks that grow, when they do, and what a run makes of it."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import BRIEF, SMALL_GAN, SMALL_NETWORKS, UNSEEN, composed, resumed, trained
from PIL import Image
from pytorch_lightning import Callback, Trainer
from test_gan import SIZE, batches, fit
from test_resume import KillAfter, KilledError, assert_same_bits, by, kill_again, killed, state
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, pad

from gdm.networks.equalised import (
    RELU_GAIN,
    EqualisedConv2d,
    EqualisedLinear,
    pixel_norm,
)
from gdm.networks.minibatch_std import MinibatchStd
from gdm.networks.progressive import Discriminator, Generator
from gdm.recipes.build import build
from gdm.runs import catalogue
from gdm.theory import growth
from gdm.theory.growth import GrowthByFraction, GrowthByImages
from gdm.training import phase_pictures
from gdm.training.measuring import _steps_of_phases
from gdm.training.saving import Checkpoints
from gdm.training.stopwatch import Stopwatch, middles
from gdm.training.training import Training

PAPER = GrowthByImages(stabilise_images=600_000, fade_images=600_000)
LENGTH = 12_000_000


def progan(*overrides: str):
    """Return a small progressive GAN with the weights that seed 0 gives it."""
    torch.manual_seed(0)
    recipe = composed("model=progan", *SMALL_NETWORKS, *overrides)["model"]
    return build(recipe, "model")


def at(model, level: float):
    """Bring a model to a level."""
    model.level_reached.fill_(level)
    return model


def upsampled(x: torch.Tensor) -> torch.Tensor:
    return interpolate(x, scale_factor=2)


def halved(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(x, 2)


# Networks ---------------------------------------------------------------------------------------


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("resolution", "channels", "of_generator", "of_discriminator"),
    [
        (32, 3, (20_719_628, 20_715_011), (20_726_785, 20_720_641)),
        (32, 1, (20_715_524, 20_713_985), (20_722_689, 20_719_617)),
        (64, 3, (22_490_383, 22_484_227), (22_498_049, 22_489_857)),
        (128, 3, (22_933_394, 22_926_467), (22_941_313, 22_932_097)),
        (1024, 3, (23_079_115, 23_071_507), (23_087_249, 23_077_137)),
    ],
)
def test_networks_are_as_large_as_the_papers(resolution, channels, of_generator, of_discriminator):
    """All layers, and those that the last level uses."""
    with torch.device("meta"):
        generator = Generator(channels, resolution, 512, 0, 16384, 512)
        discriminator = Discriminator(channels, resolution, 0, 16384, 512)
    for network, of_images, expected in (
        (generator, generator.to_image, of_generator),
        (discriminator, discriminator.from_image, of_discriminator),
    ):
        unused = sum(count(layer) for layer in of_images[:-1])
        assert (count(network), count(network) - unused) == expected


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return Generator(3, 32, 8, 0, 256, 16), Discriminator(3, 32, 0, 256, 16)


@pytest.mark.parametrize("level", [2, 2.5, 3, 3.1, 4, 5])
def test_layers_that_a_level_does_not_use_get_no_gradient(networks, level):
    generator, discriminator = networks
    image = generator(torch.randn(4, 8), None, level)
    assert image.shape == (4, 3, 2 ** math.ceil(level), 2 ** math.ceil(level))
    output = discriminator(image, None, level)
    assert output.shape == (4,)
    output.sum().backward()
    newest, faded = math.ceil(level) - 2, math.floor(level) - 2
    for network, of_images in (
        (generator, generator.to_image),
        (discriminator, discriminator.from_image),
    ):
        trained = [all(p.grad is not None for p in layer.parameters()) for layer in of_images]
        assert trained == [number in (newest, faded) for number in range(4)]
        blocks = [all(p.grad is not None for p in block.parameters()) for block in network.blocks]
        assert blocks == [number < len(blocks) - 3 + newest for number in range(len(blocks))]


@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_fade_begins_with_the_smaller_network_and_ends_with_the_larger(networks, level):
    generator, discriminator = networks
    z, x = torch.randn(4, 8), torch.randn(4, 3, 2**level, 2**level)
    smallest, almost = level - 1 + 1e-12, level - 1e-12
    before, after = generator(z, None, level - 1), generator(z, None, level)
    assert torch.equal(generator(z, None, smallest), upsampled(before))
    assert torch.equal(generator(z, None, almost), after)
    torch.testing.assert_close(
        generator(z, None, level - 0.75), 0.75 * upsampled(before) + 0.25 * after
    )
    before, after = discriminator(halved(x), None, level - 1), discriminator(x, None, level)
    assert torch.equal(discriminator(x, None, smallest), before)
    assert torch.equal(discriminator(x, None, almost), after)
    assert not torch.equal(before, after)


def test_the_generators_images_have_no_bound_but_a_users_have():
    model = progan()
    with torch.no_grad():
        model.generator.to_image[-1].bias += 3
    at(model, 5.0)
    z = torch.randn(4, 64)
    assert model.generate(z, None).max() > 1
    assert model.decode(z).max() == 1


def test_labels_reach_both_networks():
    torch.manual_seed(0)
    generator, discriminator = Generator(1, 16, 8, 3, 64, 8), Discriminator(1, 16, 3, 64, 8)
    z, x = torch.randn(3, 8), torch.randn(3, 1, 16, 16)
    left, right = torch.eye(3), torch.eye(3).roll(1, 0)
    assert not torch.allclose(generator(z, left, 4), generator(z, right, 4))
    assert not torch.allclose(discriminator(x, left, 4), discriminator(x, right, 4))
    # they are beside the latent before both are normalised: so twice both are the same
    torch.testing.assert_close(generator(2 * z, 2 * left, 4), generator(z, left, 4))


def test_the_discriminator_averages_before_it_activates():
    """Conv, average, bias and LeakyReLU, as one strided convolution of 4 x 4 does it."""
    torch.manual_seed(0)
    block = Discriminator(3, 16, 0, 64, 8).blocks[-1]
    x = torch.randn(2, 4, 16, 16)
    weight, bias = block[2].scaled()
    shifted = sum(pad(weight, (left, 1 - left, top, 1 - top)) for left in (0, 1) for top in (0, 1))
    fused = conv2d(block[:2](x), shifted / 4, bias + 1, stride=2, padding=1)
    with torch.no_grad():
        block[2].bias += 1  # a bias is no other where it is averaged
    torch.testing.assert_close(
        block(x), torch.nn.functional.leaky_relu(fused, 0.2), rtol=1e-4, atol=1e-5
    )


def test_doubling_and_convolving_is_one_transposed_convolution():
    torch.manual_seed(0)
    layer = EqualisedConv2d(4, 6, 3, padding=1, gain=RELU_GAIN, bias=None)
    x = torch.randn(2, 4, 8, 8)
    weight = layer.scaled()[0].flip(2, 3).transpose(0, 1)
    shifted = sum(pad(weight, (left, 1 - left, top, 1 - top)) for left in (0, 1) for top in (0, 1))
    fused = conv_transpose2d(x, shifted, stride=2, padding=1)
    torch.testing.assert_close(layer(upsampled(x)), fused, rtol=1e-4, atol=1e-5)


# Layers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_an_equalised_layer_keeps_the_variance(multiplier):
    torch.manual_seed(0)
    linear = EqualisedLinear(256, 512, gain=1.0, rate=multiplier)
    assert float(linear.weight.std()) == pytest.approx(1 / multiplier, rel=0.02)
    assert float(linear(torch.randn(512, 256)).var()) == pytest.approx(1, rel=0.05)
    conv = EqualisedConv2d(64, 128, 3, padding=1, rate=multiplier)
    inner = conv(torch.randn(16, 64, 16, 16))[..., 1:-1, 1:-1]
    assert float(inner.var()) == pytest.approx(1, rel=0.05)
    with_gain = EqualisedLinear(256, 512, gain=RELU_GAIN)(torch.randn(512, 256))
    assert float(with_gain.var()) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_adam_moves_what_counts_of_a_layer_by_its_scale(multiplier):
    """The first step of Adam is the learning rate, whatever the gradient; so is the bias's."""
    torch.manual_seed(0)
    layer = EqualisedLinear(64, 32, gain=2.0, bias=1.0, rate=multiplier)
    weight, bias = (each.detach().clone() for each in layer.scaled())
    torch.testing.assert_close(bias, torch.ones(32))
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2, eps=0)
    layer(torch.randn(8, 64)).square().sum().backward()
    optimizer.step()
    moved = [(now - then).abs() for now, then in zip(layer.scaled(), (weight, bias), strict=True)]
    expected = 1e-2 * multiplier * 2 / math.sqrt(64)
    torch.testing.assert_close(moved[0], torch.full_like(weight, expected), rtol=0.02, atol=1e-6)
    torch.testing.assert_close(
        moved[1], torch.full_like(bias, 1e-2 * multiplier), rtol=0.02, atol=1e-6
    )


def test_a_minibatchs_deviation_is_what_the_groups_differ_by():
    """Of equal images sqrt(1e-8); of N(0, 1) in fours the mean of sqrt(chi^2_3 / 4)."""
    layer = MinibatchStd()
    equal = torch.randn(1, 5, 4, 4).repeat(8, 1, 1, 1)
    torch.testing.assert_close(layer(equal)[:, 5], torch.full((8, 4, 4), 1e-4))
    torch.manual_seed(0)
    found = layer(torch.randn(4, 512, 16, 16))[:, -1]
    assert float(found.mean()) == pytest.approx(0.797885, rel=0.005)
    assert (found == found[0, 0, 0]).all()
    # images i, i + N / G, ... are a group
    strided = torch.randn(2, 5, 4, 4).repeat(4, 1, 1, 1)
    torch.testing.assert_close(layer(strided)[:, 5], torch.full((8, 4, 4), 1e-4))


def test_pixel_norm_makes_the_mean_square_1_and_forgets_the_scale():
    torch.manual_seed(0)
    x = torch.randn(3, 16, 4, 4)
    found = pixel_norm(x)
    torch.testing.assert_close(found.square().mean(1), torch.ones(3, 4, 4))
    torch.testing.assert_close(pixel_norm(7 * x), found)


# When they grow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 1024])
def test_the_papers_schedule(resolution):
    """lod = L - 2 - phase - max(n mod 1.2 M - 600,000, 0) / 600,000; here a level is L - lod."""
    last = int(math.log2(resolution))
    whole = (last - 2) * 1_200_000
    assert PAPER.level(whole, LENGTH, resolution) == last
    assert PAPER.level(whole - 1, LENGTH, resolution) < last
    assert PAPER.level(whole - 600_000, LENGTH, resolution) == last - 1  # stabilised until here
    for n in range(0, LENGTH, 77_777):
        phase, within = divmod(n, 1_200_000)
        lod = max(last - 2 - phase - max(within - 600_000, 0) / 600_000, 0)
        assert PAPER.level(n, LENGTH, resolution) == pytest.approx(last - lod)


def test_a_level_is_first_stabilised_and_then_the_next_one_ramps():
    of_first = [PAPER.level(n, LENGTH, 32) for n in range(0, 600_001, 60_000)]
    assert of_first == [2.0] * 11
    ramp = [PAPER.level(n, LENGTH, 32) for n in range(600_000, 1_200_001, 60_000)]
    assert ramp == pytest.approx([2 + k / 10 for k in range(11)])


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_growth_by_fraction_ends_there_whatever_the_length(fraction):
    by_fraction = GrowthByFraction(fraction)
    for length in (1000, 77_777, 10**9):
        assert by_fraction.level(length, length, 64) == pytest.approx(6)
        assert by_fraction.level(fraction * length + 1, length, 64) == 6
        for half in range(9):
            n = fraction * length * half / 8
            # phases of equal length: a whole level is reached with each second one
            expected = 2 + half // 2 if fraction else 6
            if half % 2 == 0 and n:
                assert by_fraction.level(n, length, 64) == pytest.approx(expected, abs=1e-5)
    assert by_fraction.depends_on_length
    assert not PAPER.depends_on_length


def test_phases_are_where_the_levels_change():
    """The first batch of each phase, from the levels that a run goes through."""
    model = progan()
    for growing, num_batches in ((0.5, 12), (0.5, 100), (0.37, 77), (1.0, 40), (0.0, 5)):
        model.growth = GrowthByFraction(growing)
        model.set_progress(seed=0, batch_size=SIZE, num_batches=num_batches, batches_seen=0)
        begins = model.phases(num_batches)
        assert list(begins) == ["4", "4 to 8", "8", "8 to 16", "16", "16 to 32", "32"]
        names = list(begins)
        for batch in range(num_batches):
            model.set_progress(0, SIZE, num_batches, batches_seen=batch + 1)
            below, above = 2 ** math.floor(model.level), 2 ** math.ceil(model.level)
            name = f"{below}" if below == above else f"{below} to {above}"
            assert [each for each in names if begins[each] <= batch][-1] == name
    model.growth = PAPER
    assert list(model.phases(700_000 // SIZE)) == ["4", "4 to 8"]  # of a shorter run


def test_real_images_are_faded_as_the_layers_are():
    x = torch.randn(2, 3, 16, 16)
    assert growth.faded(x, 4.0) is x
    assert torch.equal(growth.faded(x, 3 + 1e-12), upsampled(halved(x)))
    torch.testing.assert_close(
        growth.faded(x, 3.25), upsampled(halved(x)) + 0.25 * (x - upsampled(halved(x)))
    )
    torch.testing.assert_close(growth.faded(x, 2.0), halved(halved(x)))
    model, (batch,) = at(progan(), 5.0), batches(1)
    assert torch.equal(model.real_images(batch), batch.x)


class Resets(Callback):
    """The whole levels below and above, and whether the optimizers had a state, batch by batch."""

    def __init__(self) -> None:
        self.levels, self.steps = [], []

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
        self.levels.append((math.floor(model.level), math.ceil(model.level)))
        steps = {int(s["step"]) for o in trainer.optimizers for s in o.state.values()}
        self.steps.append(max(steps))


def test_optimizers_forget_exactly_when_layers_come_or_have_come():
    resets = Resets()
    fit(progan(), 48, resets)
    assert resets.levels[0] == (2, 2)
    assert resets.levels[-1] == (5, 5)
    changes = [a != b for a, b in pairwise(resets.levels)]
    assert sum(changes) == 6  # twice a level
    expected = 0
    for step, has_changed in zip(resets.steps, [True, *changes], strict=True):
        expected = 1 if has_changed else expected + 1
        assert step == expected


# The game ---------------------------------------------------------------------------------------


def test_the_drift_is_of_real_outputs_only():
    model = progan()
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([5.0, 7.0])
    expected = fake.mean() - real.mean() + 0.001 * (1 + 9) / 2
    torch.testing.assert_close(model.discriminator_loss(real, fake), expected)


@pytest.mark.parametrize("level", [2.0, 2.5, 4.0, 5.0])
def test_the_penalty_looks_at_images_of_the_level(level, monkeypatch):
    model, (batch,) = at(progan(), level), batches(1)
    seen = []
    forward = model.discriminator.forward
    monkeypatch.setattr(
        model.discriminator, "forward", lambda x, *rest: seen.append(x.shape) or forward(x, *rest)
    )
    fake = model.generate(torch.randn(SIZE, 64), None)
    assert fake.shape == batch.x.shape  # users see the whole resolution
    slope = model.slope(model.real_images(batch), fake, batch.label)
    side = 2 ** math.ceil(level)
    assert seen == [(SIZE, 1, side, side)]
    assert slope.shape == (SIZE,)


def test_instance_noise_is_as_strong_at_every_level():
    model, (batch,) = progan("model.instance_noise=0.4"), batches(1)
    model.set_progress(seed=0, batch_size=SIZE, num_batches=100, batches_seen=0)
    for level in (2.0, 4.0, 5.0):
        at(model, level)
        clean = growth.smaller(model.pad(batch.x), int(2**level))
        assert float((model.shown(batch.x) - clean).std()) == pytest.approx(0.4, rel=0.1)


def test_the_paper_has_its_own_numbers():
    recipe = composed("experiment=progan_paper")
    model = recipe["model"]
    for optimizer in (model["optimizer"], model["discriminator_optimizer"]):
        assert (optimizer["lr"], optimizer["betas"], optimizer["eps"]) == (1e-3, [0, 0.99], 1e-8)
    assert model["latent_dim"] == 512
    for network in (model["generator"], model["discriminator"]):
        assert (network["channel_base"], network["channel_max"]) == (2 * 8192, 512)
    assert model["growth"]["stabilise_images"] == model["growth"]["fade_images"] == 600_000
    assert (model["penalty"]["weight"], model["penalty"]["every"], model["drift"]) == (10, 1, 1e-3)
    assert model["num_discriminator_steps"] == 1
    batches_in_half_life = model["ema"]["half_life_images"] / recipe["dataset"]["batch_size"]
    assert 0.5 ** (1 / batches_in_half_life) == pytest.approx(0.999, abs=1e-6)
    assert model["learning_rate"]["_target_"].endswith("Constant")
    assert model["learning_rate"]["warmup_fraction"] == 0
    with torch.device("meta"):
        assert count(build(model, "model").generator) == 20_715_524


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [128, 256])
def test_a_step_at_large_images(resolution):
    recipe = composed("model=progan", "model.generator.channel_max=16", "growth=by_fraction",
                      "model.discriminator.channel_max=16")["model"]  # fmt: skip
    recipe["facts"] |= {
        "channels": 3, "resolution": resolution, "native_resolution": resolution,
    }  # fmt: skip
    torch.manual_seed(0)
    model = build(recipe, "model")
    batch = batches(1)[0]
    x = torch.randn(4, 3, resolution, resolution)
    batch = type(batch)(x, batch.label[:4], batch.index[:4])
    for seen in (0, 9):  # at 4 x 4, and at the whole resolution
        model.set_progress(seed=0, batch_size=4, num_batches=10, batches_seen=seen)
        trainer = Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, torch.utils.data.DataLoader([batch], batch_size=None))
    assert model.level == math.log2(resolution)
    with model.evaluating():
        assert model.sample(range(2)).shape == (2, 3, resolution, resolution)


# Runs -------------------------------------------------------------------------------------------


def a_run(*overrides: str) -> dict:
    """Return the recipe of 12 batches of 50, of which growing takes nine: phases of 1.5."""
    longer = ("model.growth.growing_fraction=0.75", "model.penalty.every=2")
    few = "dataset.validation_size=9000"
    return composed("model=progan", *SMALL_NETWORKS, *BRIEF, few, *longer, *overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trained(a_run(*UNSEEN), tmp_path_factory.mktemp("whole"))


def boundaries() -> list[int]:
    """Return the batches before, at, and after the beginning of each phase."""
    model = progan("model.growth.growing_fraction=0.75")
    model.set_progress(seed=0, batch_size=50, num_batches=12, batches_seen=0)
    begins = model.phases(12).values()
    return sorted({seen for begin in begins for seen in (begin, begin + 1, begin + 2) if seen})


class KillAfterSave(Checkpoints):
    """Saves after every batch, and kills the run after one of these saves."""

    def __init__(self, batches: int) -> None:
        super().__init__(times=12, every_minutes=5.0)
        self.batches = batches

    def save(self, trainer, model) -> None:
        super().save(trainer, model)
        if model.batches_seen == self.batches:
            raise KilledError


def after_save(batch: int):
    return lambda callbacks: callbacks.update(checkpoints=KillAfterSave(batch))


def test_a_run_killed_around_every_phases_beginning_is_the_uninterrupted_one(whole, tmp_path):
    """Each batch is trained, saved and killed after, or killed before it is saved."""
    moments = boundaries()
    assert moments == list(range(1, 11))

    run = killed(a_run(*UNSEEN), tmp_path, after_save(moments[0]))
    for batch in moments[1:]:
        kill_again(run, by(KillAfter(batch)))
        kill_again(run, after_save(batch))
    resumed(run)
    assert_same_bits(state(run), state(whole))


def test_a_checkpoint_knows_how_far_its_networks_had_grown(tmp_path):
    """Growth by a fraction of the run is not told by the images seen."""
    run = killed(a_run(*UNSEEN), tmp_path, after_save(6))
    model = catalogue.load(run)
    assert model.images_seen == 300
    assert model.level == 2 + 2  # a half of the levels, in 6 of 9 batches
    with model.evaluating():
        assert model.sample(range(3)).shape == (3, 1, 28, 28)


def test_samples_of_each_phase_are_drawn_side_by_side_after_a_resume_too(tmp_path):
    drawn = a_run("callbacks.validation.quality=null", "callbacks.validation.times=12")
    one = trained(drawn, tmp_path / "one")
    two = resumed(killed(drawn, tmp_path / "two", by(KillAfter(7))))
    pictures = [np.array(Image.open(run.samples / "growth.png")) for run in (one, two)]
    assert np.array_equal(*pictures)
    model = catalogue.load(one)
    model.num_batches = 12
    logged = []

    class Logger:
        def log_picture(self, name, picture, step) -> None:
            logged.append((name, step))

    phase_pictures.draw(model, one, [Logger()])
    assert logged == [("growth", 600)]
    phases = [path.stem.partition("-")[2] for path in sorted((one.samples / "phases").iterdir())]
    assert list(dict.fromkeys(phases)) == [
        "4", "4_to_8", "8", "8_to_16", "16", "16_to_32", "32",
    ]  # fmt: skip
    # 4 x 4 pixels are drawn with squares of 8 pixels, of which the border is cropped by 2
    first = phase_pictures._read(min((one.samples / "phases").glob("*-4.png")))
    assert first.shape == (8, 1, 28, 28)
    assert (first[..., 0:6, 0:6] == first[..., :1, :1]).all()
    assert (first[..., 6:14, 6:14] == first[..., 6:7, 6:7]).all()
    with model.evaluating():
        now = model.sample(range(8))
    last = phase_pictures._read(max((one.samples / "phases").iterdir()))
    assert (last.float() - (now + 1) * 127.5).abs().max() <= 1


def test_a_phase_without_a_validation_has_no_column_and_other_models_no_picture(
    tmp_path, monkeypatch
):
    seldom = a_run("callbacks.validation.quality=null", "callbacks.validation.times=1")
    columns = []

    def image_table(rows, row_names, column_names):
        columns.append(column_names)
        return torch.zeros(3, 2, 2, dtype=torch.uint8)

    monkeypatch.setattr(phase_pictures.tables, "image_table", image_table)
    trained(seldom, tmp_path / "progan")
    assert columns == [["4", "32"]]
    columns.clear()
    recipe = composed("model=dcgan", *SMALL_GAN, *BRIEF, "callbacks.validation.quality=null")
    run = trained(recipe, tmp_path / "dcgan")
    assert columns == []
    assert not (run.samples / "phases").exists()


# Minutes ----------------------------------------------------------------------------------------


def halves(num_steps: int) -> dict[str, int]:
    """Return two phases of equal length."""
    return {"cheap": 0, "dear": num_steps // 2}


def test_a_budget_is_spent_on_each_phase_at_its_own_cost():
    assert _steps_of_phases(100.0, [0.25, 0.75], halves) == 200
    by_images = {"cheap": 0, "dear": 100}
    assert _steps_of_phases(100.0, [0.25, 0.75], lambda _: by_images) == 200
    assert _steps_of_phases(24.9, [0.25, 0.75], lambda n: {"cheap": 0}) == 99  # not even there
    assert _steps_of_phases(0.1, [0.25, 0.75], halves) == 0


def test_a_budget_of_a_growing_run_is_met_and_no_longer_run_meets_it():
    model, costs = progan(), [0.011, 0.017, 0.019, 0.03, 0.033, 0.06, 0.1]
    for seconds in (0.5, 10.0, 600.0):
        steps = _steps_of_phases(seconds, costs, model.phases)

        def spent(num_steps: int) -> float:
            bounds = pairwise([*model.phases(num_steps).values(), num_steps])
            return sum(c * (b - a) for c, (a, b) in zip(costs, bounds, strict=True))

        assert spent(steps) <= seconds < spent(steps + 1)


def test_one_phase_is_counted_as_ever():
    one = {"training": 0}
    assert _steps_of_phases(10.0, [0.3], lambda _: one) == int(10.0 / 0.3)
    assert _steps_of_phases(-1.0, [0.3], lambda _: one) < 1


def test_each_phase_is_measured_in_its_middle():
    assert middles([0, 10, 10, 30], 100) == [5, 10, 20, 65]
    model, levels = progan(), []
    stopwatch = Stopwatch(0.0, None)
    stopwatch._measure_others = lambda trainer, model: None

    class Levels(Callback):
        def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx: int) -> None:
            levels.append(model.level)

    model.set_progress(seed=0, batch_size=SIZE, num_batches=10**9, batches_seen=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        callbacks=[Levels(), stopwatch], enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, torch.utils.data.DataLoader(batches(100), batch_size=None))
    assert len(stopwatch.step_seconds) == 7
    assert list(dict.fromkeys(round(level, 3) for level in levels)) == [
        2, 2.5, 3, 3.5, 4, 4.5, 5,
    ]  # fmt: skip


def test_other_models_are_measured_from_their_first_batch(tmp_path):
    model = build(composed("model=vae", "model.width=8")["model"], "model")
    model.set_progress(seed=0, batch_size=SIZE, num_batches=10**9, batches_seen=0)
    stopwatch = Stopwatch(0.0, None)
    stopwatch.on_train_start(None, model)
    assert model.batches_seen == 0
    assert model.phases(100) == {"training": 0}


def test_minutes_become_images_of_a_growing_run(tmp_path):
    recipe = a_run(*UNSEEN, "budget.images=null", "budget.minutes=1")
    training = Training(recipe | {"outputs": str(tmp_path)})
    training.settle_budget()
    assert training.recipe["budget"]["images"] > 0
