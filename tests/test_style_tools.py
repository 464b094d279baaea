"""The tools for styles: mixed, truncated, found again, walked and edited."""

from itertools import pairwise

import pytest
import torch
from conftest import latent_options, small
from torch import nn

from gdm.errors import UserError
from gdm.evaluation import distances
from gdm.evaluation.features import MIN_IMAGES
from gdm.models.base import GenerativeModel
from gdm.recipes.build import build
from gdm.theory.images import to_float
from gdm.theory.randomness import normal
from gdm.tools.latent import tool
from gdm.tools.latent.morph import path_length
from gdm.tools.open_run import OpenRun

NEW = ("mix", "project", "truncation")


@pytest.fixture(scope="module")
def stylegan(opened_of):
    """A StyleGAN with the weights that it begins with, whose images differ enough to see."""
    opened = opened_of("model=stylegan2", *small("stylegan2"), name="styles")
    opened.model.w_mean.copy_(opened.model.sample_codes(range(500)).mean(0))
    return opened


def used(opened, data, *overrides: str, seed: int = 0) -> tool.Result:
    asked = build(latent_options(*overrides)["tool"], "tool")
    asked.refuse(opened, (), data)
    return tool.apply(asked, opened, (), data, seed)


# Mixing ------------------------------------------------------------------------------------------


def test_mixed_images_have_the_layers_of_two(stylegan, data):
    result = used(stylegan, data, "tool=mix", "tool.num_rows=2", "tool.num_columns=3")
    assert list(result.pictures) == ["coarse", "middle", "fine"]
    groups = result.record["groups"]
    assert groups[0]["first_layer"] == 1
    assert groups[-1]["last_layer"] == result.record["num_styles"]
    ends = [(group["first_layer"], group["last_layer"]) for group in groups]
    assert all(after[0] == before[1] + 1 for before, after in pairwise(ends))
    assert all(group["grey_levels_changed"] > 0 for group in groups)


def test_all_layers_of_another_image_are_that_image(stylegan, data):
    model = stylegan.model
    with model.evaluating(averaged=False):
        codes = model.sample_codes(range(2))
        mine, theirs = model.styles(codes)
        mixed = torch.cat([mine[:3], theirs[3:]])[None]
        assert not torch.equal(model.images_of_styles(mixed), model.decode(codes[1:]))
        mixed[:, :3] = theirs[:3]
        torch.testing.assert_close(model.images_of_styles(mixed), model.decode(codes[1:]))


# Truncation --------------------------------------------------------------------------------------


def test_truncation_goes_from_one_image_to_all_there_are(stylegan, data):
    result = used(stylegan, data, "tool=truncation", "tool.psis=[1,0,0.5]",
                  "tool.num_samples=60", "tool.num_shown=3")  # fmt: skip
    rows = result.record["by_psi"]
    assert [row["psi"] for row in rows] == [0.0, 0.5, 1.0]
    assert rows[0]["recall"] == 0  # one image
    assert set(result.pictures) == {"truncation", "fidelity"}
    assert all(row["frechet_distance"] > 0 for row in rows)


def test_few_samples_and_no_extractor_are_refused(stylegan, data):
    with pytest.raises(UserError, match=f"must be at least {MIN_IMAGES}"):
        used(stylegan, data, "tool=truncation", "tool.num_samples=3")
    with pytest.raises(UserError, match=r"tool.psis=\[\]: name one at least"):
        used(stylegan, data, "tool=truncation", "tool.psis=[]")


@pytest.mark.parametrize("name", NEW)
def test_a_model_without_styles_is_refused(gan, data, name):
    with pytest.raises(UserError, match="is a GAN, whose images have no styles"):
        used(gan, data, f"tool={name}")


# Projection --------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A model whose images are linear in their one style, of 8 numbers."""

    condition, encodes, num_classes, device, makes_images = None, False, 10, "cpu", True
    has_styles, has_code_density, latent_dim, ema = True, False, 8, None
    evaluating = GenerativeModel.evaluating

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("matrix", torch.randn(8, 28 * 28) / 20)

    def prepare_sampling(self, batches):
        pass

    def sample_codes(self, indices, condition=None, seed=0):
        return normal(indices, (8,), seed, "sample")

    def styles(self, w, truncation=None):
        return w.unsqueeze(1)

    def images_of_styles(self, styles):
        return (styles[:, 0] @ self.matrix).unflatten(1, (1, 28, 28))


def test_the_style_of_an_image_of_its_own_is_found_again(stylegan, data):
    linear = OpenRun(stylegan.run, "linear", Linear(), {}, data, {}, None)
    asked = ("tool=project", "tool.num_images=3", "tool.num_steps=300")
    found = used(linear, data, *asked).record["projected"]
    assert found["generated"]["std_from_own"] < 0.02
    assert found["generated"]["psnr"] > 30
    assert found["held_out"]["psnr"] < 20  # no clothes are linear in eight numbers
    assert found["generated"]["std_from_mean"] == pytest.approx(1, abs=0.5)


def test_a_search_goes_on_towards_the_image_and_is_the_same_again(stylegan, data):
    few = used(stylegan, data, "tool=project", "tool.num_images=2", "tool.num_steps=1")
    many = used(stylegan, data, "tool=project", "tool.num_images=2", "tool.num_steps=100")
    for kind in ("held_out", "generated"):
        before, after = (each.record["projected"][kind]["psnr"] for each in (few, many))
        assert after > before + 1  # dB
    assert list(many.pictures) == ["projected"]
    again = used(stylegan, data, "tool=project", "tool.num_images=2", "tool.num_steps=1")
    assert again.record["projected"] == few.record["projected"]


# Walks -------------------------------------------------------------------------------------------


def test_the_length_of_a_path_is_torchmetrics(stylegan):
    """Its own interpolation between latents, in the features of its own network."""
    from torchmetrics.functional.image import perceptual_path_length

    torch.manual_seed(0)
    matrix = torch.randn(3 * 32 * 32, 8, dtype=torch.float64)

    class Matrix(nn.Module):
        def sample(self, count):
            return torch.randn(count, 8, dtype=torch.float64)

        def forward(self, z):
            return (z @ matrix.T).unflatten(1, (3, 32, 32))

    class Squared(nn.Module):
        def forward(self, x, y):
            return (x - y).square().flatten(1).sum(1)

    torch.manual_seed(1)
    expected, *_ = perceptual_path_length(
        Matrix(), num_samples=64, batch_size=64, interpolation_method="lerp", epsilon=1e-3,
        resize=None, sim_net=Squared(), lower_discard=None, upper_discard=None,
    )  # fmt: skip
    torch.manual_seed(1)
    a, b = Matrix().sample(64), Matrix().sample(64)
    scale = 2 / 255  # torchmetrics takes 8-bit values, and brings them to [-1, 1]
    found = path_length(lambda z: z @ matrix.T * scale, a, b)
    assert float(found.mean()) == pytest.approx(float(expected), rel=1e-3)
    torch.testing.assert_close(found, ((b - a) @ matrix.T * scale).square().sum(1))


def test_a_morph_of_styles_says_how_fast_images_change(stylegan, vae_record, data):
    result = used(stylegan, data, "tool=morph", "tool.num_images=3", "tool.num_pairs=20")
    assert result.record["perceptual_path_length"] > 0
    assert vae_record["perceptual_path_length"] > 0
    none = used(stylegan, data, "tool=morph", "tool.num_images=3", "tool.num_pairs=0")
    assert "perceptual_path_length" not in none.record


@pytest.fixture(scope="module")
def vae_record(opened_of, data):
    opened = opened_of("model=vae", *small("vae"), name="vae")
    return used(opened, data, "tool=morph", "tool.num_images=3", "tool.num_pairs=20").record


def test_a_mean_of_the_middle_leaves_out_either_end():
    numbers = torch.cat([torch.ones(98), torch.tensor([1e6, -1e6])])
    assert distances.mean_of_middle(numbers, rare=0.02) == pytest.approx(1)


def test_units_of_styles_are_moved_by_their_own_spread(stylegan, data):
    result = used(stylegan, data, "tool=traverse", "tool.num_units=4", "tool.num_images=3")
    spread = {unit["std"] for unit in result.record["units"]}
    assert len(spread) > 4  # not 1 for all
    assert "over sampled styles" in result.remark


# Editing -----------------------------------------------------------------------------------------


class Clothes(nn.Module):
    """A model whose styles are the training images themselves."""

    condition, encodes, num_classes, device, makes_images = None, False, 10, "cpu", True
    has_styles, has_code_density, latent_dim, ema = True, False, 784, None
    evaluating = GenerativeModel.evaluating

    def __init__(self, data) -> None:
        super().__init__()
        self.images = data.split("train").images

    def prepare_sampling(self, batches):
        pass

    def sample_codes(self, indices, condition=None, seed=0):
        return to_float(self.images[list(indices)]).flatten(1)

    def decode(self, z, condition=None):
        return z.unflatten(1, (1, 28, 28)).clamp(-1, 1)


def test_samples_that_a_classifier_is_sure_of_give_a_direction(stylegan, data, tmp_path):
    clothes = OpenRun(stylegan.run, "clothes", Clothes(data), {}, data, {}, stylegan.extractor)
    result = used(clothes, data, "tool=edit", "tool.attribute=[Pullover,Dress]",
                  "tool.num_train=1500", "tool.num_held_out=50", "tool.alphas=[0,1]")  # fmt: skip
    plain, edited = result.record["by_alpha"]
    assert plain["p_without"] > 0.8 > 0.1 > plain["p_with"]
    assert edited["p_with"] > plain["p_with"]
    assert edited["p_without"] < plain["p_without"]
    assert result.record["num_train_with"] > 50
    assert result.record["told_apart_along_direction"] > 0.9


def test_samples_without_an_attribute_are_one_clear_line(stylegan, data):
    with pytest.raises(UserError, match="of 20 samples 0 have the attribute for sure"):
        used(stylegan, data, "tool=edit", "tool.attribute=[Pullover,Dress]", "tool.num_train=20")
