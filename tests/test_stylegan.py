"""StyleGAN2: its layers and networks against the papers, styles, path lengths, and its health."""

import copy
import math
import shlex
from itertools import pairwise

import pytest
import torch
from conftest import SMALL_NETWORKS, composed
from pytorch_lightning import Trainer
from test_gan import batches, fit, weights
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, mse_loss
from torch.utils.data import DataLoader

from gdm.evaluation import gan_health
from gdm.models.stylegan import noise_fraction
from gdm.networks import stylegan2
from gdm.networks.equalised import EqualisedConv2d, EqualisedLinear
from gdm.networks.resampling import TAPS, blurred, doubled
from gdm.networks.stylegan2 import Discriminator, Generator, Mapping, ModulatedConv2d, StyledLayer
from gdm.recipes import check
from gdm.recipes.build import build
from gdm.theory.path_length import PathLength, path_lengths
from gdm.training.options import TrainOptions

MEAN = ["w_mean", "path_length.mean"]  # running means
NO_MIXING = "model.mixing_probability=0"


AS_IN_THE_PAPER = (
    "path_length=lazy",
    "model.generator.patch_size=1",
    "model.generator.bounded=false",
    "model.discriminator.patch_size=1",
)


def gan(*overrides: str):
    """Return a small StyleGAN2 with the weights that seed 0 gives it."""
    torch.manual_seed(0)
    words = ("model=stylegan2", *AS_IN_THE_PAPER, *SMALL_NETWORKS, *overrides)
    return build(composed(*words)["model"], "model")


@pytest.fixture(scope="module")
def trained_gan():
    """One that has seen a few batches, which nobody changes."""
    return fit(gan(), 5).eval()


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# Equalised layers and resampling -----------------------------------------------------------------


def test_a_layer_of_the_mapping_learns_at_a_hundredth_of_the_rate():
    """Weights have a std of 100 and the factor 0.01 / sqrt(512); a step of SGD moves the effective
    weight 0.01^2 times as far, and one of Adam 0.01 times."""
    torch.manual_seed(0)
    slow = Mapping(512, 0, 512, 1).layers[0]
    assert float(slow.weight.detach().std()) == pytest.approx(100, rel=0.01)
    assert slow.scale == pytest.approx(0.01 / math.sqrt(512))
    fast, x, moved = EqualisedLinear(512, 512), torch.randn(4, 512), []
    with torch.no_grad():
        fast.weight.copy_(slow.weight * 0.01)
    torch.testing.assert_close(fast(x), slow(x))
    for layer in (slow, fast):
        (gradient,) = torch.autograd.grad(layer(x).square().mean(), layer.weight)
        moved.append(gradient * layer.scale)
    torch.testing.assert_close(moved[0], moved[1] * 1e-4, rtol=1e-3, atol=1e-12)


def test_bias_begins_at_what_is_asked_for_whatever_the_rate():
    layer = EqualisedLinear(4, 3, rate=0.01, bias=1.0)
    assert torch.equal(layer(torch.zeros(1, 4)), torch.ones(1, 3))
    assert EqualisedConv2d(4, 3, 1, bias=None).bias is None


def test_the_filter_is_the_outer_product_of_1_3_3_1():
    torch.manual_seed(0)
    x, taps = torch.randn(2, 3, 9, 7), torch.tensor(TAPS)
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)
    torch.testing.assert_close(taps, torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8)
    for padding in (0, 1, 2):
        expected = 4 * conv2d(x, kernel, padding=padding, groups=3)
        torch.testing.assert_close(blurred(x, padding, gain=4.0), expected)


def test_the_filters_gradients_are_right_twice_over():
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: blurred(x, 1, 4.0), x)
    assert torch.autograd.gradgradcheck(lambda x: blurred(x, 2).square(), x)


def test_doubling_is_bilinear_inside_of_an_image():
    x = torch.randn(2, 3, 8, 8)
    inside = (..., slice(1, -1), slice(1, -1))
    expected = interpolate(x, scale_factor=2, mode="bilinear")[inside]
    torch.testing.assert_close(doubled(x)[inside], expected)


# Modulated convolutions --------------------------------------------------------------------------


def output_of(layer: ModulatedConv2d, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    y, demodulation = layer(x, w)
    return y if demodulation is None else y * demodulation


@pytest.mark.parametrize("doubles", [False, True])
@pytest.mark.parametrize("demodulates", [False, True])
def test_scaling_maps_is_scaling_the_weights_of_each_image(demodulates, doubles):
    """Karras et al. 2020, equations 1 and 3, by a convolution with groups."""
    torch.manual_seed(0)
    layer = ModulatedConv2d(6, 5, 3, 8, demodulates, doubles)
    x, w = torch.randn(4, 6, 7, 7), torch.randn(4, 8)
    kernels = layer.scale * layer.weight * layer.affine(w)[:, None, :, None, None]
    if demodulates:
        kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    grouped = x.reshape(1, 24, 7, 7)
    if doubles:
        per_image = kernels.transpose(1, 2).flatten(0, 1)
        y = conv_transpose2d(grouped, per_image, stride=2, groups=4)
        y = blurred(y.unflatten(1, (4, 5))[0], 1, gain=4.0)
    else:
        y = conv2d(grouped, kernels.flatten(0, 1), padding=1, groups=4).unflatten(1, (4, 5))[0]
    torch.testing.assert_close(output_of(layer, x, w), y, rtol=1e-5, atol=1e-5)


def test_a_demodulated_output_forgets_the_size_of_styles_and_weights():
    torch.manual_seed(0)
    layer = ModulatedConv2d(16, 8, 3, 8)
    x, w = torch.randn(4, 16, 8, 8), torch.randn(4, 8)
    before = output_of(layer, x, w)
    with torch.no_grad():
        layer.weight.mul_(7)
    torch.testing.assert_close(output_of(layer, x, w), before, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        layer.affine.weight.mul_(3)
        layer.affine.bias.mul_(3)
    torch.testing.assert_close(output_of(layer, x, w), before, rtol=1e-4, atol=1e-5)


def test_a_demodulated_output_of_independent_inputs_has_variance_1_whatever_the_style():
    torch.manual_seed(0)
    layer = ModulatedConv2d(16, 8, 3, 8)
    x, w = torch.randn(400, 16, 12, 12), 3 * torch.randn(1, 8)
    y = output_of(layer, x, w.expand(400, -1))[..., 1:-1, 1:-1]  # without the zeros of the edge
    variances = y.var((0, 2, 3))
    torch.testing.assert_close(variances, torch.ones_like(variances), rtol=0.1, atol=0)


def test_styles_begin_around_1():
    torch.manual_seed(0)
    layer = ModulatedConv2d(16, 8, 3, 512)
    styles = layer.affine(torch.randn(1000, 512)).detach()
    assert torch.equal(layer.affine(torch.zeros(1, 512)), torch.ones(1, 16))
    assert float(styles.mean()) == pytest.approx(1, abs=0.15)
    assert float(styles.std()) == pytest.approx(1, abs=0.15)


# The generator -----------------------------------------------------------------------------------


def generator(resolution: int = 32, num_labels: int = 0, channels: int = 3) -> Generator:
    torch.manual_seed(0)
    return Generator(channels, resolution, 12, num_labels, 2, 64, 8, True)


@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
@pytest.mark.parametrize("num_labels", [0, 3])
def test_networks_take_any_power_of_two(resolution, num_labels):
    g = generator(resolution, num_labels)
    labels = torch.eye(3)[[0, 2, 1, 1]] if num_labels else None
    x = g(torch.randn(4, 12), labels)
    assert x.shape == (4, 3, resolution, resolution)
    assert g.num_styles == 2 * math.log2(resolution) - 2
    for residual in (False, True):
        d = Discriminator(3, resolution, num_labels, 64, 8, residual, True)
        assert d(x, labels).shape == (4,)


@pytest.mark.parametrize("resolution", [8, 24])
def test_other_resolutions_are_refused(resolution):
    with pytest.raises(ValueError, match=f"power of two, 16 to 1024, not {resolution}"):
        generator(resolution)


def counts(experiment: str, *overrides: str, **facts: int) -> tuple[int, int, int]:
    """Return the parameters of the generator, its styles, and the discriminator's parameters."""
    recipe = composed(f"experiment={experiment}", *overrides)["model"]
    recipe["facts"] |= facts | {"native_resolution": facts["resolution"]}
    with torch.device("meta"):
        model = build(recipe | {"ema": None}, "model")
    return size(model.generator), model.generator.num_styles, size(model.discriminator)


def test_the_papers_networks_have_the_papers_sizes():
    """What StyleGAN2 and StyleGAN2-ADA print, and what follows from their channels."""
    ffhq = "stylegan2_ffhq"
    assert counts(ffhq, channels=3, resolution=1024) == (30_370_060, 18, 29_012_513)
    assert counts(ffhq, channels=3, resolution=256) == (30_034_338, 14, 28_864_129)
    half = [f"model.{each}.channel_base=16384" for each in ("generator", "discriminator")]
    assert counts(ffhq, *half, channels=3, resolution=256) == (24_767_458, 14, 24_001_089)
    half.append("model.generator.num_mapping_layers=2")
    assert counts(ffhq, *half, channels=3, resolution=64) == (22_243_608, 10, 23_407_361)
    assert counts(ffhq, *half, channels=1, resolution=32) == (19_943_435, 8, 21_506_049)
    cifar = "stylegan2_cifar"
    assert counts(cifar, channels=3, resolution=32) == (19_947_539, 8, 20_720_641)
    assert counts(cifar, "model.condition=label", channels=3, resolution=32) == (
        20_215_315, 8, 23_089_664,
    )  # fmt: skip


def test_single_layers_of_the_paper_have_the_sizes_that_logs_show():
    with torch.device("meta"):
        g = Generator(3, 1024, 512, 0, 8, 32768, 512, True)
        d = Discriminator(3, 1024, 0, 32768, 512, True, True)
        assert sum(each.numel() for each in generator_buffers(32)) == 2704
        assert sum(each.numel() for each in generator_buffers(64)) == 10896
    assert size(g.mapping) == 2_101_248
    assert size(g.synthesis) == 28_268_812
    assert size(g.synthesis.layers[0]) == 2_622_465
    assert size(g.synthesis.to_images[0]) == 264_195
    assert size(d.from_image) == 128


def generator_buffers(resolution: int) -> list[torch.Tensor]:
    return list(Generator(3, resolution, 512, 0, 2, 16384, 512, True).buffers())


def test_the_experiments_have_the_papers_settings():
    ffhq, cifar = (composed(f"experiment=stylegan2_{name}")["model"] for name in ("ffhq", "cifar"))
    assert ffhq["path_length"]["weight"] == 2
    assert ffhq["path_length"]["every"] == 4
    assert ffhq["penalty"] | {"weight": 10, "every": 16} == ffhq["penalty"]
    assert ffhq["mixing_probability"] == 0.9
    assert cifar["path_length"] is None
    assert cifar["mixing_probability"] == 0
    assert cifar["penalty"]["weight"] == 0.01
    assert cifar["optimizer"]["lr"] == 2.5e-3 == cifar["discriminator_optimizer"]["lr"]
    assert cifar["optimizer"]["betas"] == [0.0, 0.99]


def test_only_a_latents_direction_counts():
    g, z = generator(), torch.randn(5, 12)
    for factor in (0.1, 7.0):
        torch.testing.assert_close(g.mapping(factor * z, None), g.mapping(z, None))
    assert not torch.allclose(g.mapping(-z, None), g.mapping(z, None))


def test_noise_counts_for_nothing_at_first_and_is_constant_in_evaluation():
    g, z = generator().train(), torch.randn(4, 12)
    strengths = [layer.noise_strength for layer in g.synthesis.layers]
    assert all(float(each.detach()) == 0 and each.shape == () for each in strengths)
    assert torch.equal(g(z, None), g(z, None))
    with torch.no_grad():
        for strength in strengths:
            strength.fill_(0.5)
    assert not torch.allclose(g(z, None), g(z, None))
    g.eval()
    assert torch.equal(g(z, None), g(z, None))
    torch.testing.assert_close(g(z, None)[1:2], g(z[1:2], None), rtol=1e-4, atol=1e-5)


def test_noise_is_added_before_the_activation_one_number_a_pixel():
    torch.manual_seed(0)
    layer = StyledLayer(4, 3, 5, 8, True).eval()
    x, w = torch.randn(2, 4, 8, 8), torch.randn(2, 5)
    with torch.no_grad():
        layer.noise_strength.fill_(0.5)
        layer.bias.normal_()
    clean = output_of(layer.convolution, x, w)
    expected = nn.LeakyReLU(0.2)(clean + 0.5 * layer.noise + layer.bias) * math.sqrt(2)
    torch.testing.assert_close(layer(x, w), expected)


def test_without_noise_there_is_none():
    g = Generator(1, 16, 12, 0, 2, 64, 8, False)
    assert not list(g.buffers())
    assert not [name for name, _ in g.named_parameters() if "noise" in name]
    assert g(torch.randn(2, 12), None).shape == (2, 1, 16, 16)


def test_an_image_is_the_sum_of_doubled_images_of_each_resolution():
    g = generator().eval()
    styles, images = torch.randn(2, g.num_styles, 12), g.synthesis.to_images
    own = []
    hooks = [each.register_forward_hook(lambda m, i, o: own.append(o)) for each in images]
    whole = g.synthesis(styles)
    for hook in hooks:
        hook.remove()
    parts = []
    for stage, image in enumerate(own):
        for _ in range(len(own) - 1 - stage):
            image = doubled(image)
        parts.append(image)
        alone = copy.deepcopy(g.synthesis)
        with torch.no_grad():
            for other, to_image in enumerate(alone.to_images):
                if other != stage:
                    to_image.convolution.weight.zero_()
        torch.testing.assert_close(alone(styles), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("crossover", range(1, 8))
def test_a_crossover_leaves_the_layers_before_it(crossover):
    g, seen = generator().eval(), []
    for layer in g.synthesis.layers:
        layer.register_forward_hook(lambda m, i, o: seen.append(o))
    styles = torch.randn(2, g.num_styles, 12)
    others = styles.clone()
    others[:, crossover:] += 1
    images = g.synthesis(styles), g.synthesis(others)
    same = [torch.equal(*pair) for pair in zip(seen[:7], seen[7:], strict=True)]
    assert same == [number < crossover for number in range(7)]
    assert not torch.equal(*images)


# The discriminator -------------------------------------------------------------------------------


def test_a_residual_block_is_the_mean_of_two_ways_that_keeps_the_variance():
    torch.manual_seed(0)
    block, x = stylegan2.Block(4, 6, residual=True), torch.randn(3, 4, 8, 8)
    plain = copy.deepcopy(block)
    plain.shortcut = None
    shortcut = block.shortcut(blurred(x, 1))
    torch.testing.assert_close(block(x), (plain(x) + shortcut) * math.sqrt(0.5))


def test_a_label_is_told_by_projection():
    torch.manual_seed(0)
    d = Discriminator(1, 16, 3, 64, 8, True, False)
    x, labels, seen = torch.randn(4, 1, 16, 16), torch.eye(3)[[0, 1, 2, 0]], []
    d.last.register_forward_hook(lambda m, i, o: seen.append(o))
    output = d(x, labels)
    vector = d.of_label(torch.empty(4, 0), labels)
    torch.testing.assert_close(output, (seen[0] * vector).sum(1) / math.sqrt(8))
    assert not torch.allclose(output, d(x, labels.roll(1, 0)))
    assert len(d.of_label.layers) == 8


# Path lengths ------------------------------------------------------------------------------------


def test_the_path_length_of_a_linear_generator():
    """Images A w: E |A^T y|^2 = |A|^2 / (H W), whatever w; with L styles, the mean over them."""
    torch.manual_seed(0)
    a = torch.randn(2, 5, 3 * 4 * 4)  # L, W, pixels
    styles = torch.randn(40_000, 2, 5, requires_grad=True)
    images = torch.einsum("nlw,lwp->np", styles, a).view(-1, 3, 4, 4)
    lengths = path_lengths(images, styles)
    expected = float(a.square().sum((1, 2)).mean()) / 16
    assert float(lengths.detach().square().mean()) == pytest.approx(expected, rel=0.01)
    assert lengths.shape == (40_000,)


def test_a_length_is_the_root_of_the_mean_over_styles_and_not_the_mean_of_roots():
    styles = torch.randn(3, 4, 5, requires_grad=True)
    factors = torch.tensor([0.0, 1.0, 2.0, 5.0])[:, None]
    images = (factors * styles).sum((1, 2)).view(-1, 1, 1, 1)
    lengths = path_lengths(images, styles)
    torch.manual_seed(0)
    y = torch.randn_like(images)
    torch.manual_seed(0)
    torch.testing.assert_close(
        path_lengths((factors * styles).sum((1, 2)).view(-1, 1, 1, 1), styles),
        y.abs().flatten() * math.sqrt(5 * (0 + 1 + 4 + 25) / 4),
    )
    assert len(lengths) == 3


def linear_images(styles: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return (styles.flatten(1) @ a).view(len(styles), 1, 2, 2)


def test_the_penalty_follows_the_running_mean():
    torch.manual_seed(0)
    a, styles = torch.randn(6, 4), torch.randn(50, 2, 3, requires_grad=True)
    cost, mean = PathLength(weight=2.0, every=4, decay=0.01, batch_fraction=0.5), 0.0
    for seed in range(3):
        torch.manual_seed(seed)
        lengths = path_lengths(linear_images(styles, a), styles)
        mean += 0.01 * (float(lengths.detach().mean()) - mean)
        torch.manual_seed(seed)
        penalty = cost(linear_images(styles, a), styles)
        assert float(cost.mean) == pytest.approx(mean, rel=1e-5)
        assert float(penalty.detach()) == pytest.approx(
            8 * float((lengths.detach() - mean).square().mean()), rel=1e-4
        )


def test_the_penalty_pulls_lengths_to_the_mean():
    torch.manual_seed(0)
    a = torch.randn(6, 4, requires_grad=True)
    cost = PathLength(weight=1.0, every=1, decay=0.01, batch_fraction=1.0)
    cost.mean.fill_(3.0)
    optimizer = torch.optim.Adam([a], lr=0.05)
    for _ in range(300):
        styles = torch.randn(200, 2, 3, requires_grad=True)
        optimizer.zero_grad()
        cost(linear_images(styles, a), styles).backward()
        optimizer.step()
        cost.mean.fill_(3.0)
    styles = torch.randn(2000, 2, 3, requires_grad=True)
    lengths = path_lengths(linear_images(styles, a), styles)
    assert float(lengths.detach().mean()) == pytest.approx(3, rel=0.15)


def test_a_lazy_path_length_counts_seldom_and_as_much_in_sum():
    model, costs = gan(), []
    for step in range(1, 9):
        model.set_progress(seed=0, batch_size=16, num_batches=99, batches_seen=step)
        torch.manual_seed(0)
        costs.append(float(torch.as_tensor(model.generator_penalty(None)).detach()))
        model.path_length.mean.zero_()
    assert [cost > 0 for cost in costs] == [False, False, False, True] * 2
    model.path_length.every = 1
    torch.manual_seed(0)
    assert sum(costs) == pytest.approx(
        8 * float(torch.as_tensor(model.generator_penalty(None)).detach()), rel=1e-5
    )


def test_path_lengths_count_the_generators_steps():
    model = gan("model.num_discriminator_steps=3")
    due = []
    for seen in range(3, 37, 3):  # the generator's turns
        model.set_progress(seed=0, batch_size=4, num_batches=99, batches_seen=seen)
        due.append(float(torch.as_tensor(model.generator_penalty(None)).detach()) > 0)
    assert due == [False, False, False, True] * 3
    assert model.batches_in_cycle == math.lcm(16, 12)
    assert gan("model.path_length.every=5").batches_in_cycle == 80
    assert gan("penalty=null", "path_length=null").batches_in_cycle == 1


def test_the_generator_steps_on_the_path_length():
    """At the fourth step, and at none before it."""
    for num_batches, same in ((3, True), (4, False)):
        with_cost, without = (fit(gan(*each), num_batches) for each in ((), ("path_length=null",)))
        found = torch.equal(weights(with_cost.generator), weights(without.generator))
        assert found == same


def test_half_precision_trains_with_path_lengths_in_full():
    model = gan("model.condition=label", "model.penalty.every=2")
    model.set_progress(seed=0, batch_size=16, num_batches=5, batches_seen=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        precision="bf16-mixed", enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, DataLoader(batches(5), batch_size=None))
    assert torch.isfinite(weights(model)).all()
    model.set_progress(seed=0, batch_size=16, num_batches=5, batches_seen=4)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        in_half = path_penalty(model)
    torch.manual_seed(0)
    assert torch.equal(in_half, path_penalty(model))


def path_penalty(model) -> torch.Tensor:
    """Return the cost at running means of 0."""
    model.path_length.mean.zero_()
    return model.generator_penalty(torch.arange(8))


# Styles ------------------------------------------------------------------------------------------


def test_mixed_styles_are_those_of_two_latents_from_one_layer_on():
    model, z, crossovers = gan("model.mixing_probability=1"), torch.randn(6, 64), set()
    own = model.repeated(model.generator.mapping(z, None))
    assert all(torch.equal(own[:, 0], own[:, layer]) for layer in range(8))
    for seed in range(60):
        torch.manual_seed(seed)
        mixed = model.mixed_styles(z, None)
        kept = [(mixed[i] == own[i]).all(1).tolist() for i in range(6)]
        crossover = sum(kept[0])
        assert kept == [[True] * crossover + [False] * (8 - crossover)] * 6  # one for the batch
        assert all(torch.equal(a, b) for a, b in pairwise(mixed[:, crossover:].unbind(1)))
        crossovers.add(crossover)
    assert crossovers == set(range(1, 8))


@pytest.mark.parametrize("probability", [0.0, 0.9])
def test_styles_are_mixed_as_often_as_is_asked(probability):
    model, z = gan(f"model.mixing_probability={probability}"), torch.randn(2, 64)
    own = model.repeated(model.generator.mapping(z, None))
    torch.manual_seed(0)
    mixed = [not torch.equal(model.mixed_styles(z, None), own) for _ in range(400)]
    assert sum(mixed) / 400 == pytest.approx(probability, abs=0.05)


def test_samples_are_never_mixed(trained_gan):
    w = trained_gan.sample_codes(range(3))
    assert torch.equal(w, trained_gan.generator.mapping(trained_gan.latents(range(3)), None))
    assert torch.equal(trained_gan.decode(w), trained_gan.sample(range(3)))
    assert torch.equal(trained_gan.styles(w), w[:, None].expand(-1, 8, -1))


def truncating(model, psi: float, last: int | None = None):
    """Return the model with another truncation, which its weights do not know of."""
    other = copy.deepcopy(model)
    other.truncation, other.truncated_styles = psi, last
    return other


def test_truncation_by_1_changes_nothing_and_by_0_leaves_one_image(trained_gan):
    w = trained_gan.sample_codes(range(4))
    whole = trained_gan.decode(w)
    assert torch.equal(truncating(trained_gan, 1.0).decode(w), whole)
    torch.testing.assert_close(
        truncating(trained_gan, 1.0 + 1e-7).decode(w), whole, rtol=1e-4, atol=1e-4
    )
    one = truncating(trained_gan, 0.0)
    assert torch.equal(one.styles(w)[2, 5], trained_gan.w_mean)
    images = one.decode(w)
    torch.testing.assert_close(images, images[:1].expand_as(images))
    assert float((whole - whole[:1]).abs().max()) > 1e-3


def test_truncation_scales_the_deviation_of_w_and_keeps_its_mean(trained_gan):
    w = trained_gan.sample_codes(range(2000))
    half = truncating(trained_gan, 0.5).styles(w)[:, 0]
    whole = trained_gan.styles(w)[:, 0]
    torch.testing.assert_close(half.std(0), 0.5 * whole.std(0))
    mean = trained_gan.w_mean
    torch.testing.assert_close(half - mean, 0.5 * (whole - mean))


def test_only_the_coarsest_styles_are_truncated(trained_gan):
    w = trained_gan.sample_codes(range(3))
    cut, whole = truncating(trained_gan, 0.5, 3).styles(w), trained_gan.styles(w)
    same = [torch.equal(cut[:, layer], whole[:, layer]) for layer in range(8)]
    assert same == [False] * 3 + [True] * 5


def test_truncation_is_of_samples_and_training_does_not_know_of_it():
    left, right = (fit(gan(f"model.truncation={psi}"), 3) for psi in (1.0, 0.5))
    assert torch.equal(weights(left.generator), weights(right.generator))
    with left.evaluating(), right.evaluating():
        assert not torch.equal(left.sample(range(3)), right.sample(range(3)))


def test_images_for_users_are_clamped_and_training_sees_them_as_they_are():
    model, z = gan(), torch.randn(3, 64)
    with torch.no_grad():
        model.generator.synthesis.to_images[-1].bias.fill_(5.0)
        assert float(model.generate(z, None).min()) > 1
    model.eval()
    assert torch.equal(model.decode(z), torch.ones(3, 1, 28, 28))  # whatever the code
    assert torch.equal(model.sample(range(3)), torch.ones(3, 1, 28, 28))


def test_a_style_can_be_followed_to_the_image_it_made(trained_gan):
    """What tools that search for styles need: gradients through the images."""
    own, another = trained_gan.sample_codes(range(2)).split(1)
    target = trained_gan.decode(own)
    styles = trained_gan.styles(another).detach().clone().requires_grad_()
    optimizer, errors = torch.optim.Adam([styles], lr=0.05), []
    for _ in range(40):
        optimizer.zero_grad()
        error = mse_loss(trained_gan.images_of_styles(styles), target)
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.5 * errors[0]


def test_a_class_can_be_asked_for():
    model = fit(gan("model.condition=label"), 4)
    with model.evaluating():
        left, right = (model.sample(range(4), torch.full((4,), label)) for label in (0, 1))
    assert not torch.equal(left, right)
    left, right = (model.sample_codes(range(2), label) for label in (3, 4))
    assert not torch.equal(left, right)


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_patches_are_pixels_of_the_same_images(patch_size):
    """Maps of fewer places, images of the same size; with tanh they stay within bounds."""
    shape = {"channels": 3, "resolution": 32, "num_labels": 0}
    numbers = {"channel_base": 64, "channel_max": 8, "patch_size": patch_size}
    torch.manual_seed(0)
    made = Generator(
        latent_dim=12, num_mapping_layers=2, noise=True, bounded=True, **shape, **numbers
    )
    x = made(10 * torch.randn(2, 12), None)
    assert x.shape == (2, 3, 32, 32)
    assert float(x.detach().abs().max()) <= 1
    assert made.num_styles == 8 - 2 * (patch_size.bit_length() - 1)
    d = Discriminator(residual=True, minibatch_std=True, **shape, **numbers)
    assert d(x, None).shape == (2,)
    assert d.from_image.weight.shape[1] == 3 * patch_size**2


# Running means -----------------------------------------------------------------------------------


def test_running_means_are_saved_and_the_average_of_weights_does_not_know_them():
    model = fit(gan(), 5)
    state = model.state_dict()
    assert all(name in state for name in MEAN)
    averaged = [name for name in state if name.startswith("ema.")]
    assert not [name for name in averaged if "mean" in name]
    assert float(model.path_length.mean) > 0
    assert float(model.w_mean.norm()) > 0
    other = gan()
    other.load_state_dict(state)
    assert all(torch.equal(other.state_dict()[name], state[name]) for name in MEAN)
    with model.evaluating():  # lends the average
        assert all(torch.equal(model.state_dict()[name], state[name]) for name in MEAN)


def test_the_mean_of_w_is_that_of_all_batches_and_later_forgets_them():
    model = gan()
    model.set_progress(seed=0, batch_size=4000, num_batches=9, batches_seen=1)
    model.follow_mean(None)
    with torch.no_grad():
        expected = model.generator.mapping(torch.randn(20_000, 64), None).mean(0)
    torch.testing.assert_close(model.w_mean, expected, rtol=0, atol=0.1)
    model.set_progress(seed=0, batch_size=4000, num_batches=9, batches_seen=10_000)
    model.w_mean.fill_(100.0)
    model.follow_mean(None)
    torch.testing.assert_close(model.w_mean, 0.995 * 100 + 0.005 * expected, rtol=0, atol=1e-3)


# Health ------------------------------------------------------------------------------------------


def test_looking_at_the_health_changes_nothing_and_is_the_same_again():
    model, (batch,) = fit(gan(), 5).train(), batches(1)
    before = copy.deepcopy(model.state_dict())
    metrics = model.health(batch)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert metrics == model.health(batch)
    assert metrics["path_length"] > 0
    assert 0 <= metrics["noise_fraction"] <= 1


def test_the_fraction_of_noise():
    """Images a z + b n: b^2 / (a^2 + b^2)."""
    torch.manual_seed(0)
    z, n, m = torch.randn(3, 3000, 1, 4, 4)
    for a, b in ((1.0, 0.0), (1.0, 1.0), (3.0, 1.0), (0.0, 1.0)):
        found = noise_fraction(a * z + b * n, a * z + b * m)
        assert found == pytest.approx(b**2 / (a**2 + b**2), abs=0.01)
    assert noise_fraction(torch.ones(4, 1, 2, 2), torch.ones(4, 1, 2, 2)) == 0


def test_a_generator_that_ignores_its_latents_is_named():
    model, (batch,) = gan(NO_MIXING).train(), batches(1)
    assert model.health(batch)["noise_fraction"] == 0
    with torch.no_grad():
        for layer in model.generator.synthesis.layers:
            layer.noise_strength.fill_(3.0)
            layer.convolution.affine.weight.zero_()  # no latent comes in
        for to_image in model.generator.synthesis.to_images:
            to_image.convolution.affine.weight.zero_()
    metrics = model.health(batch) | {"generator_steps": 1000.0, "real_accuracy": 0.5}
    assert metrics["noise_fraction"] > 0.9
    assert "ignores its latents: try model.generator.noise=false" in gan_health.verdict(
        metrics, model
    )
    metrics["noise_fraction"] = 0.3
    assert gan_health.verdict(metrics, model) is None


def test_every_remedy_can_be_pasted():
    for failure in gan_health.FAILURES:
        if not failure.applies(gan()):
            continue
        for remedy in failure.remedies(gan()):
            recipe = composed("model=stylegan2", *shlex.split(remedy))
            check.check(recipe, root=TrainOptions)
            assert recipe != composed("model=stylegan2"), remedy
