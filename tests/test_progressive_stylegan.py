"""StyleGAN as it was first, on networks that grow: sizes, adaptive instance norm, levels."""

import pytest
import torch
from conftest import SMALL_NETWORKS, composed
from torch.nn.functional import interpolate

from gdm.models.progressive_gan import ProgressiveGAN
from gdm.models.stylegan import StyleGAN
from gdm.networks.stylegan import Epilogue, Generator, smoothed
from gdm.recipes.build import build


def generator(resolution: int = 32, **changed) -> Generator:
    torch.manual_seed(0)
    numbers = {"num_mapping_layers": 2, "channel_base": 64, "channel_max": 8} | changed
    return Generator(
        channels=3, resolution=resolution, latent_dim=changed.pop("latent_dim", 12), num_labels=0,
        **{key: numbers[key] for key in ("num_mapping_layers", "channel_base", "channel_max")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [(32, 22_841_356), (64, 25_137_935), (128, 25_843_858), (1024, 26_219_627)],
)
def test_the_generator_is_as_large_as_the_papers(resolution, expected):
    with torch.device("meta"):
        paper = Generator(3, resolution, 512, 0, 8, 16384, 512)
    assert sum(each.numel() for each in paper.parameters()) == expected


def test_a_style_gives_each_map_its_mean_and_its_spread():
    """Equation 1: whatever goes in, a map's mean is the shift and its std 1 + scale."""
    torch.manual_seed(0)
    layer, w = Epilogue(5, 12, 16).eval(), torch.randn(4, 12)
    scale, shift = layer.style(w).chunk(2, dim=1)
    for x in (torch.randn(4, 5, 16, 16), 7 * torch.randn(4, 5, 16, 16) - 3):
        out = layer(x, w).flatten(2)
        torch.testing.assert_close(out.mean(2), shift, rtol=1e-4, atol=1e-4)
        std = out.std(2, correction=0)
        torch.testing.assert_close(std, (1 + scale).abs(), rtol=1e-4, atol=1e-4)


def test_noise_has_a_strength_for_each_map_that_begins_at_0():
    layer, x, w = Epilogue(5, 12, 8), torch.randn(2, 5, 8, 8), torch.randn(2, 12)
    assert torch.equal(layer(x, w), layer(x, w))  # in training too
    with torch.no_grad():
        layer.strength[2] = 1.0
    changed = (layer(x, w) != layer(x, w)).flatten(2).any(2)
    assert changed.tolist() == [[False, False, True, False, False]] * 2
    layer.eval()
    assert torch.equal(layer(x, w), layer(x, w))


def test_the_constant_begins_as_ones_and_a_style_as_no_style():
    network = generator()
    assert torch.equal(network.synthesis.constant, torch.ones_like(network.synthesis.constant))
    for layer in network.modules():
        if isinstance(layer, Epilogue):
            assert not layer.style.bias.any()


def test_the_filter_is_1_2_1_along_both_axes():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 16
    taps = torch.tensor([0.0, 1, 2, 1, 0])
    assert torch.equal(smoothed(x)[0, 0], torch.outer(taps, taps))


@pytest.mark.parametrize("whole", [2, 3, 4])
def test_a_fade_begins_with_the_images_before_it_and_ends_with_the_new_ones(whole):
    network, z = generator().eval(), torch.randn(3, 12)
    before = interpolate(network(z, None, float(whole)), scale_factor=2)
    torch.testing.assert_close(network(z, None, whole + 1e-6), before, rtol=1e-4, atol=1e-4)
    after = network(z, None, whole + 1.0)
    torch.testing.assert_close(network(z, None, whole + 1 - 1e-6), after, rtol=1e-4, atol=1e-4)
    half = network(z, None, whole + 0.5)
    torch.testing.assert_close(half, (before + after) / 2, rtol=1e-4, atol=1e-4)


def test_styles_of_layers_that_are_to_come_change_nothing():
    network, styles = generator().eval(), torch.randn(2, 8, 12)
    others = styles.clone()
    others[:, 4:] = 0
    at_8 = network.synthesis(styles, 3.0)
    assert at_8.shape == (2, 3, 8, 8)
    assert torch.equal(network.synthesis(others, 3.0), at_8)
    assert not torch.equal(network.synthesis(others, 4.0), network.synthesis(styles, 4.0))


def test_it_is_both_and_its_samples_have_the_whole_size_at_every_level():
    torch.manual_seed(0)
    model = build(composed("model=stylegan", *SMALL_NETWORKS)["model"], "model")
    assert isinstance(model, StyleGAN)
    assert isinstance(model, ProgressiveGAN)
    for level in (2.0, 2.5, 5.0):
        model.level_reached.fill_(level)
        with model.evaluating():
            assert model.sample(range(2)).shape == (2, 1, 28, 28)
            codes = model.sample_codes(range(2))
            assert torch.equal(model.decode(codes), model.sample(range(2)))


def test_the_paper_has_its_own_numbers():
    node = composed("experiment=stylegan_ffhq")["model"]
    assert node["penalty"] == {
        "_target_": "gdm.theory.adversarial.R1", "weight": 10.0, "every": 1,
    }  # fmt: skip
    assert node["growth"]["stabilise_images"] == node["growth"]["fade_images"] == 600_000
    assert node["optimizer"]["lr"] == 1e-3
    assert node["optimizer"]["betas"] == [0.0, 0.99]
    assert node["mixing_probability"] == 0.9
    assert node["generator"]["num_mapping_layers"] == 8
    assert node["path_length"] is None
