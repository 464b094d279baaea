"""Changes of images that are as frequent as the discriminator knows its images by heart."""

import math

import pytest
import torch
from conftest import ROOT, composed, small
from sklearn.datasets import load_sample_images
from test_gan import batches, fit, weights

from gdm.data.batches import Batch
from gdm.errors import UserError
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.theory import adaptive_augmentation as changes
from gdm.theory.adaptive_augmentation import AdaptiveAugmentation

PHOTOGRAPH = torch.from_numpy(load_sample_images().images[0].copy()).permute(2, 0, 1)
COLOUR = PHOTOGRAPH.unfold(1, 32, 32).unfold(2, 32, 32).permute(1, 2, 0, 3, 4).flatten(0, 1)
COLOUR = COLOUR[:64] / 127.5 - 1
GREY = COLOUR.mean(1, keepdim=True)
GANS = sorted(
    path.stem
    for path in (ROOT / "configs" / "model").glob("*.yaml")
    if "discriminator" in composed(f"model={path.stem}")["model"]
)


def ada(p: float, **others) -> AdaptiveAugmentation:
    """Return an augmentation that begins with p; the other numbers are the paper's."""
    numbers = {"target": 0.6, "every": 4, "adjustment_images": 500_000, "max_p": 1.0}
    return AdaptiveAugmentation(initial_p=p, **numbers | others)


def number(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def luma(x: torch.Tensor) -> torch.Tensor:
    return x.mean(1, keepdim=True)


# The whole --------------------------------------------------------------------------------------


def test_at_0_images_are_the_same_ones_and_no_random_number_is_drawn():
    before = torch.get_rng_state()
    assert ada(0.0)(COLOUR) is COLOUR
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("x", [COLOUR, GREY], ids=["colour", "grey"])
def test_the_larger_p_the_fewer_images_stay_as_they_are(x):
    """Bit by bit, as those that no change was drawn for."""
    fractions = []
    for p in (0.01, 0.1, 0.5):
        torch.manual_seed(0)
        many = x.repeat(10, 1, 1, 1)
        fractions.append(float((ada(p)(many) == many).flatten(1).all(1).float().mean()))
    num_changes = 8 + (5 if x is COLOUR else 2) - 0.5 - 0.25  # of a flip or turn by nothing
    expected = [(1 - p) ** num_changes for p in (0.01, 0.1, 0.5)]
    assert fractions == pytest.approx(expected, abs=0.1)
    assert fractions[0] > fractions[1] > fractions[2]


@pytest.mark.parametrize("x", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("p", [0.3, 1.0])
def test_each_image_is_changed_by_itself_and_lets_gradients_through(x, p):
    others = x.clone()
    others[1:] = others[1:].flip(0)
    outputs = []
    for images in (x, others):
        torch.manual_seed(0)
        outputs.append(ada(p)(images))
    assert outputs[0].shape == x.shape
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert not torch.equal(outputs[0][1:], outputs[1][1:])

    x = x[:1].repeat(64, 1, 1, 1).requires_grad_()
    changed = ada(p)(x)
    assert len(changed.detach().flatten(1).unique(dim=0)) > 20
    (gradient,) = torch.autograd.grad(changed.square().sum(), x)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


def test_the_gradient_is_that_of_finite_differences_and_so_is_its_own():
    x = COLOUR[:2, :, :4, :4].double().requires_grad_()
    torch.manual_seed(0)
    p = torch.tensor(1.0)
    places, colours = changes.random_places(2, 4, p), changes.random_colours(2, 3, p)

    def changed(x):
        return changes.recoloured(changes.resampled(x, places.double()), colours.double())

    assert torch.autograd.gradcheck(changed, x)
    assert torch.autograd.gradgradcheck(lambda x: changed(x).tanh(), x)


def test_grey_images_get_lighter_darker_and_of_more_or_less_contrast():
    torch.manual_seed(0)
    colours = changes.random_colours(5000, 1, torch.tensor(1.0))
    factor, offset = colours[:, 0, 0], colours[:, 0, 1] / colours[:, 0, 0]
    assert float(factor.log2().std()) == pytest.approx(0.5, rel=0.05)
    assert float(factor.log2().mean()) == pytest.approx(0, abs=0.03)
    assert float(offset.std()) == pytest.approx(0.2, rel=0.05)
    assert float(offset.mean()) == pytest.approx(0, abs=0.01)


def test_p_is_the_probability_of_each_change():
    """Karras et al. 2020, appendix B: an image is turned, before or after it is stretched, or
    both, with probability p."""
    torch.manual_seed(0)
    places = changes.random_places(20_000, 32, torch.tensor(0.3))
    determinant = places[:, :2, :2].det()
    assert float((determinant < 0).float().mean()) == pytest.approx(0.15, abs=0.01)
    is_scaled = (determinant.abs() - 1).abs() > 1e-5  # neither turns nor stretches change areas
    assert float(is_scaled.float().mean()) == pytest.approx(0.3, abs=0.01)
    is_upright = (places[:, :2, :2] == 0).flatten(1).any(1)
    assert float(is_upright.float().mean()) == pytest.approx(0.7, abs=0.01)
    octaves = determinant[is_scaled].abs().log2() / 2
    assert float(octaves.std()) == pytest.approx(0.2, rel=0.05)
    assert float(octaves.mean()) == pytest.approx(0, abs=0.01)


# Places -----------------------------------------------------------------------------------------


def test_mirrored_turned_and_moved_images_have_the_same_pixels():
    x = COLOUR[:1]
    assert torch.equal(changes.resampled(x, changes.mirrored(number(1.0))), x.flip(3))
    for turns in range(4):
        places = changes.quarter_turned(number(turns))
        assert torch.equal(changes.resampled(x, places), x.rot90(turns, (2, 3)))
    moved = changes.resampled(x, changes.moved(number(3 / 32), number(-2 / 32)))
    assert torch.equal(moved[:, :, 2:, :-3], x[:, :, :-2, 3:])
    assert torch.equal(moved[:, :, 2:, -3:], x[:, :, :-2, -1:].expand(-1, -1, -1, 3))


def test_the_middle_of_a_turned_or_scaled_image_stays():
    row, column = torch.meshgrid(*[torch.linspace(-1, 1, 33)[:-1] + 1 / 32] * 2, indexing="ij")
    x = torch.stack([column, row]).unsqueeze(0)  # what a pixel shows is where it is from
    inner = slice(10, 22)
    turned = changes.resampled(x, changes.turned(number(math.pi / 6)))[..., inner, inner]
    distance = x.norm(dim=1)[..., inner, inner]
    torch.testing.assert_close(turned.norm(dim=1), distance, atol=1e-5, rtol=0)
    cosine = (turned * x[..., inner, inner]).sum(1) / distance.square()
    torch.testing.assert_close(cosine, torch.full_like(cosine, math.cos(math.pi / 6)))
    scaled = changes.resampled(x, changes.scaled(number(0.5), number(2.0)))[..., inner, inner]
    expected = x[..., inner, inner] * torch.tensor([0.5, 2.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(scaled, expected, atol=1e-5, rtol=0)


def test_resampling_is_torchs():
    torch.manual_seed(0)
    places = changes.random_places(len(COLOUR), 32, torch.tensor(0.8))
    grid = torch.nn.functional.affine_grid(places[:, :2], COLOUR.shape, align_corners=False)
    expected = torch.nn.functional.grid_sample(
        COLOUR, grid, padding_mode="border", align_corners=False
    )
    torch.testing.assert_close(changes.resampled(COLOUR, places), expected, atol=1e-4, rtol=0)


def test_a_plain_background_stays_plain():
    x = torch.full((100, 3, 32, 32), 1.0)
    x[:, :, 12:20, 12:20] = -1.0
    torch.manual_seed(0)
    result = changes.resampled(x, changes.random_places(100, 32, torch.tensor(1.0)))
    assert (result.amax((1, 2, 3)) == 1).all()
    dark = (1 - result).sum((1, 2, 3)) / (1 - x).sum((1, 2, 3))  # of the one square
    assert float(dark.mean()) < 1.2


# Colours ----------------------------------------------------------------------------------------


def test_brightness_adds_and_contrast_scales():
    amount = torch.full((len(COLOUR),), 0.3)
    brighter = changes.recoloured(COLOUR, changes.brightened(amount, 3))
    torch.testing.assert_close(brighter, COLOUR + 0.3)
    scaled = changes.recoloured(GREY, changes.contrasted(amount, 1))
    torch.testing.assert_close(scaled, 0.3 * GREY)


def test_a_flip_of_luma_changes_light_and_dark_and_keeps_the_rest():
    flipped = changes.recoloured(COLOUR, changes.luma_flipped(torch.ones(len(COLOUR))))
    torch.testing.assert_close(luma(flipped), -luma(COLOUR))
    torch.testing.assert_close(flipped - luma(flipped), COLOUR - luma(COLOUR))


@pytest.mark.parametrize("angle", [0.5, 2.0, -3.0])
def test_another_hue_keeps_luma_saturation_and_grey_images(angle):
    turns = changes.hue_turned(torch.full((len(COLOUR),), angle))
    turned = changes.recoloured(COLOUR, turns)
    torch.testing.assert_close(luma(turned), luma(COLOUR))
    before, after = COLOUR - luma(COLOUR), turned - luma(turned)
    torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1))
    torch.testing.assert_close((after * before).sum(1), math.cos(angle) * before.norm(dim=1) ** 2)
    grey = GREY.expand(-1, 3, -1, -1)
    torch.testing.assert_close(changes.recoloured(grey, turns), grey)


def test_a_third_of_a_turn_of_hue_makes_red_green_and_green_blue():
    red_green_blue = torch.eye(3).view(1, 3, 3, 1).repeat(1, 1, 1, 3)
    third = changes.hue_turned(number(2 * math.pi / 3))
    torch.testing.assert_close(changes.recoloured(red_green_blue, third),
                               red_green_blue.roll(1, 1), atol=1e-6, rtol=0)  # fmt: skip


def test_saturation_scales_the_distance_from_grey():
    more = changes.recoloured(COLOUR, changes.saturated(torch.full((len(COLOUR),), 2.5)))
    torch.testing.assert_close(luma(more), luma(COLOUR))
    torch.testing.assert_close(more - luma(more), 2.5 * (COLOUR - luma(COLOUR)))


def test_changes_of_colour_act_in_the_order_of_the_paper(monkeypatch):
    """Brightness is scaled by contrast, and the flip turns both."""
    for name, amount in (("BRIGHTNESS_STD", 0.2), ("SATURATION_STD", 0.0)):
        monkeypatch.setattr(changes, name, amount)
    torch.manual_seed(0)
    colours = changes.random_colours(5000, 3, torch.tensor(1.0))
    grey = torch.tensor([0.1, 0.1, 0.1, 1.0])
    factor = (colours[:, :3, :3] @ torch.ones(3))[:, 0]  # of luma, below 0 where it is flipped
    offset = (colours @ grey)[:, 0] / factor - 0.1
    assert float(offset.std()) == pytest.approx(0.2, rel=0.05)
    assert float((factor < 0).float().mean()) == pytest.approx(0.5, abs=0.03)


# p ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "sign"), [(0.81, 1), (0.79, -1), (0.5, -1), (1.0, 1)])
def test_p_rises_where_d_is_right_on_more_than_80_percent_of_real_images(fraction, sign):
    """Karras et al. 2020, section 3.1."""
    augmentation = ada(0.5)
    output = torch.ones(100)
    output[round(100 * fraction) :] = -3.0
    for _ in range(3):
        augmentation.adapt(output)
        assert float(augmentation.p) == 0.5
    augmentation.adapt(output)
    assert float(augmentation.p) == pytest.approx(0.5 + sign * 100 * 4 / 500_000, abs=1e-7)
    assert augmentation.health() == pytest.approx(
        {"augmentation_p": float(augmentation.p), "overfitting": 2 * fraction - 1}
    )


def test_batches_count_by_their_images():
    augmentation = ada(0.5, every=2, adjustment_images=1000)
    augmentation.adapt(torch.ones(90))
    augmentation.adapt(-torch.ones(10))
    assert augmentation.health()["overfitting"] == pytest.approx(0.8)
    assert float(augmentation.p) == pytest.approx(0.6)
    augmentation.adapt(-torch.ones(30))
    augmentation.adapt(-torch.ones(20))
    assert augmentation.health()["overfitting"] == -1
    assert float(augmentation.p) == pytest.approx(0.55)


def test_p_stays_between_0_and_its_bound():
    augmentation = ada(0.0, every=1, adjustment_images=100, max_p=0.8)
    augmentation.adapt(-torch.ones(10))
    assert float(augmentation.p) == 0
    for _ in range(20):
        augmentation.adapt(torch.ones(10))
    assert float(augmentation.p) == pytest.approx(0.8)


def test_without_a_target_p_stays_and_the_signal_is_measured():
    augmentation = ada(0.3, target=None, every=1, adjustment_images=10)
    augmentation.adapt(torch.ones(10))
    assert augmentation.health() == pytest.approx({"augmentation_p": 0.3, "overfitting": 1.0})


def test_p_does_not_begin_beyond_its_bound():
    with pytest.raises(ValueError, match=r"initial_p=0.9 exceeds max_p=0.8"):
        ada(0.9, max_p=0.8)


# In GANs ----------------------------------------------------------------------------------------


def gan(model: str, *overrides: str):
    """Return a small GAN with the weights that seed 0 gives it."""
    recipe = composed(f"model={model}", *small(model), "augmentation=ada", *overrides)
    check(recipe)
    torch.manual_seed(0)
    return build(recipe["model"], "model")


@pytest.mark.parametrize("model", GANS)
def test_every_gan_learns_through_it(model):
    sharp = "model.augmentation.every=2", "model.augmentation.adjustment_images=64"
    trained = fit(gan(model, "model.augmentation.initial_p=0.5", *sharp), 4)
    augmentation = trained.augmentation
    assert float(augmentation.p) in (0.0, 0.5, 1.0)  # two adjustments by 32 images of 64
    assert -1 <= float(augmentation.overfitting) <= 1
    assert weights(trained.generator).isfinite().all()
    without = fit(gan(model, "model.augmentation.target=null"), 4)
    assert not torch.equal(weights(trained.generator), weights(without.generator))


def test_at_0_a_gan_learns_what_it_would_without():
    plain = fit(gan("hinge_gan", "augmentation=null"), 4)
    with_ada = fit(gan("hinge_gan", "model.augmentation.target=null"), 4)
    assert torch.equal(weights(plain.generator), weights(with_ada.generator))


@pytest.mark.parametrize("objective", ["hinge", "least_squares", "wasserstein", "relativistic"])
def test_what_it_learns_from_is_whether_d_takes_real_images_for_real(objective, monkeypatch):
    """Where outputs have no zero, above the middle between the mean outputs."""
    model = gan("dcgan", f"objective={objective}", "model.augmentation.every=1")
    given, signals = [], []
    monkeypatch.setattr(model.augmentation, "adapt", lambda output: signals.append(output))
    keep = type(model).discriminate
    monkeypatch.setattr(type(model), "discriminate",
                        lambda *asked: given.append(keep(*asked)) or given[-1])  # fmt: skip
    fit(model, 1)
    real, fake = given[0].detach(), given[1].detach()
    zero = {"hinge": 0, "least_squares": 0.5}.get(objective, (real.mean() + fake.mean()) / 2)
    torch.testing.assert_close(signals[0], real - zero)
    assert not signals[0].requires_grad


def test_health_shows_p_and_the_signal_and_is_repeatable():
    model = gan("hinge_gan", "model.augmentation.initial_p=0.5", "model.augmentation.every=1")
    model = fit(model, 2)
    batch = batches(1)[0]
    first, second = model.health(batch), model.health(batch)
    assert first == second
    assert first["augmentation_p"] == pytest.approx(0.5, abs=0.01)
    assert -1 <= first["overfitting"] <= 1
    model.augmentation.p.zero_()  # D is shown augmented images, as in training
    assert model.health(batch)["discriminator_gradient"] != first["discriminator_gradient"]


@pytest.mark.parametrize("penalty", ["r1", "r1_r2", "gradient_penalty"])
def test_penalties_are_of_the_slope_at_what_d_is_shown(penalty):
    model = gan("dcgan", f"penalty={penalty}", "model.penalty.every=1",
                "model.augmentation.initial_p=1.0", "model.augmentation.target=null")  # fmt: skip
    batch: Batch = batches(1)[0]
    loss = model.penalty_loss(batch.x, batch.x.flip(0), batch.label)
    assert float(loss.detach()) > 0
    gradients = torch.autograd.grad(loss, [*model.discriminator.parameters()], allow_unused=True)
    assert any(float(each.abs().sum()) > 0 for each in gradients if each is not None)


def test_a_copy_that_is_timed_is_as_slow_as_a_run_gets():
    model = gan("hinge_gan")
    model.as_if_trained()
    assert float(model.augmentation.p) == 1
    fixed = gan("hinge_gan", "model.augmentation.target=null")
    fixed.as_if_trained()
    assert float(fixed.augmentation.p) == 0


def test_half_precision_keeps_places_exact():
    torch.manual_seed(0)
    expected = ada(0.8)(COLOUR)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ada(0.8)(COLOUR), expected)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"model\.augmentation\.target"):
        gan("hinge_gan", "model.augmentation.target=1.5")
