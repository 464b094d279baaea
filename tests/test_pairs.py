"""Pairs of any data set: the theory of each kind, and that pairs stay together."""

import math

import numpy as np
import pytest
import torch
from conftest import SHORT, composed, trained
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gdm.data.datamodule import ImageDataModule
from gdm.data.images import Images
from gdm.data.mnist import FashionMNISTMini
from gdm.data.pairs import Pairing
from gdm.errors import UserError
from gdm.evaluation.samples import SCALE
from gdm.pictures.grids import sources_and_targets
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.runs import catalogue
from gdm.theory.images import ImageFacts, to_float

KINDS = ("edges", "grey", "small", "masked", "noisy")


@pytest.fixture(scope="module")
def clothes() -> Tensor:
    return FashionMNISTMini().load("test").images[::20]  # (100, 1, 28, 28)


@pytest.fixture(scope="module")
def colours() -> Tensor:
    """Smooth pictures in colour, of 40 x 32 pixels."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(20, 3, 5, 4, generator=random)
    return F.interpolate(coarse, (40, 32), mode="bilinear").mul(255).round().to(torch.uint8)


def disc(inside: int, outside: int, size: int = 64, radius: float = 20) -> Tensor:
    place = torch.arange(size) - (size - 1) / 2
    distance = torch.hypot(place[:, None], place[None, :])
    return torch.where(distance < radius, inside, outside).to(torch.uint8).view(1, 1, size, size)


@pytest.mark.parametrize("kind", KINDS)
def test_sources_are_bytes_that_follow_from_each_image_alone(kind, colours):
    make = getattr(Pairing(), kind)
    whole = make(colours)
    channels = 1 if kind in ("edges", "grey") else 3
    assert whole.shape == (20, channels, 40, 32)
    assert whole.dtype == torch.uint8
    parts = torch.cat([make(part) for part in colours.flip(0).split(7)])
    assert torch.equal(parts.flip(0), whole)
    assert len({source.numpy().tobytes() for source in whole}) == 20


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_an_image_of_one_colour_has_no_edges(value):
    edges = Pairing().edges(torch.full((2, 3, 20, 20), value, dtype=torch.uint8))
    assert edges.unique().tolist() == [255]


@pytest.mark.parametrize(("inside", "outside"), [(255, 0), (0, 255), (128, 70)])
def test_the_edge_of_a_disc_is_a_thin_circle_whichever_side_is_brighter(inside, outside):
    (y, x) = (Pairing().edges(disc(inside, outside))[0, 0] == 0).nonzero(as_tuple=True)
    distance = torch.hypot(y - 31.5, x - 31.5)
    assert (distance - 20).abs().max() < 1.5
    assert len(y) < 1.3 * 2 * math.pi * 20  # about as many pixels as the circle is long
    angles = torch.atan2(y - 31.5, x - 31.5).sort().values
    assert angles.diff().max() < 0.15  # without a gap


def test_edges_lie_where_the_slope_that_scipy_finds_is_steep(clothes):
    from scipy.ndimage import gaussian_gradient_magnitude, maximum_filter

    is_edge = (Pairing().edges(clothes) == 0)[:, 0].numpy()
    slope = np.stack([gaussian_gradient_magnitude(x, 0.7) for x in clothes[:, 0].numpy() / 255.0])
    assert 0.05 < is_edge.mean() < 0.3
    assert slope[is_edge].min() > 0.04
    steepest = slope == maximum_filter(slope, (0, 3, 3))
    assert is_edge[steepest & (slope > 0.2)].mean() > 0.95  # no steep one is left out


def test_colours_of_equal_brightness_have_an_edge_between_them():
    left, right = torch.tensor([150, 0, 0]), torch.tensor([0, 76, 0])
    x = torch.cat(
        [left.view(1, 3, 1, 1).expand(1, 3, 8, 4), right.view(1, 3, 1, 1).expand(1, 3, 8, 4)], 3
    )
    x = x.to(torch.uint8)
    assert Pairing().grey(x).unique().numel() == 1
    columns = (Pairing().edges(x) == 0).all(2).flatten().nonzero().flatten().tolist()
    assert columns in ([3], [4])


def test_the_threshold_decides_how_steep_an_edge_is():
    step = disc(138, 100)
    assert (Pairing(edge_threshold=0.02).edges(step) == 0).any()
    assert not (Pairing(edge_threshold=0.2).edges(step) == 0).any()


def test_grey_is_how_bright_a_colour_is():
    x = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]], dtype=torch.uint8)
    assert Pairing().grey(x.view(4, 3, 1, 1)).flatten().tolist() == [76, 150, 29, 90]  # BT.601


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_small_keeps_the_mean_of_each_square(factor, colours):
    small = Pairing(factor=factor).small(colours).float()
    means = F.avg_pool2d(colours.float(), factor)
    assert (F.avg_pool2d(small, factor) - means).abs().max() <= 0.5
    assert torch.equal(small, F.interpolate(means.round(), (40, 32), mode="nearest"))


@pytest.mark.parametrize(
    ("fraction", "hidden"), [(0.5, 20 * 16), (1, 40 * 32), (0, 0), (0.25, 80)]
)
def test_the_mask_is_in_the_middle_and_the_rest_is_as_it_was(fraction, hidden, colours):
    masked = Pairing(masked_fraction=fraction).masked(colours)
    is_hidden = torch.zeros(40, 32, dtype=torch.bool)
    tall, wide = round(40 * fraction), round(32 * fraction)
    is_hidden[20 - tall // 2 : 20 + tall // 2, 16 - wide // 2 : 16 + wide // 2] = True
    assert is_hidden.sum() == hidden
    assert (masked[..., is_hidden] == 128).all()
    assert torch.equal(masked[..., ~is_hidden], colours[..., ~is_hidden])


@pytest.mark.parametrize("std", [0.05, 0.2])
def test_noise_is_normal_with_the_std_that_is_stated(std):
    from scipy.stats import kstest

    random = torch.Generator().manual_seed(0)
    x = torch.randint(126, 130, (100, 3, 32, 32), dtype=torch.uint8, generator=random)
    noise = (to_float(Pairing(noise_std=std).noisy(x)) - to_float(x)).double()
    count = noise.numel()
    assert noise.mean().abs() < 5 * std / math.sqrt(count)
    assert noise.std().item() == pytest.approx(std, rel=0.01)
    step = 0.5 * 0.4 / (std * 127.5)  # what rounding to grey levels makes of the density's top
    assert kstest(noise.flatten()[::30] / std, "norm").statistic < 0.01 + step
    flat = noise.flatten(1)
    correlation = np.corrcoef(flat)  # of the noise of two images
    assert np.abs(correlation[~np.eye(100, dtype=bool)]).max() < 5 / math.sqrt(3 * 32 * 32)
    beside = (noise[..., 1:] * noise[..., :-1]).mean() / std**2  # of neighbouring pixels
    assert beside.abs() < 5 / math.sqrt(count)


def test_images_that_differ_in_one_grey_level_have_other_noise():
    x = torch.full((2, 1, 32, 32), 128, dtype=torch.uint8)
    x[1, 0, 5, 5] += 1
    first, second = to_float(Pairing(noise_std=0.2).noisy(x)).flatten(1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


# In a data module --------------------------------------------------------------------------------


def data_of(*overrides: str):
    recipe = composed("dataset.batch_size=50", *overrides)["dataset"]
    check({"dataset": recipe})
    return build(recipe, "dataset")


@pytest.mark.parametrize("kind", ["edges", "small", "masked", "noisy"])
def test_pairs_stay_together_in_the_stream_and_the_splits(kind):
    data = data_of(f"dataset.pairs={kind}")
    make = getattr(Pairing(), kind)
    data.set_stream(seed=0, start=178, stop=182)  # from one epoch into the next
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    batches += [next(data.batches(split, 30)) for split in ("train", "validation", "test")]
    for batch in batches:
        x = ((batch.x + 1) * 127.5).round().to(torch.uint8)
        assert torch.equal(batch.source, to_float(make(x)))
    images = data.split("train").images
    assert torch.equal(batches[0].x, to_float(images[batches[0].index]))


def test_the_numbers_of_pairing_count():
    data = data_of("dataset.pairs=small", "dataset.pairing.factor=7")
    batch = next(data.batches("validation", 30))
    means = F.avg_pool2d(batch.source, 7)
    expected = F.interpolate(means, scale_factor=7, mode="nearest")
    assert torch.allclose(batch.source, expected, atol=1e-6)


def test_what_is_known_of_sources_is_known_without_reading():
    alone = data_of()
    grey = data_of("dataset.pairs=edges")
    assert alone.source_facts is None
    assert grey.source_facts == grey.facts
    cifar = [data_of("dataset=cifar10", f"dataset.pairs={kind}") for kind in KINDS]
    assert [data.source_facts.channels for data in cifar] == [1, 1, 3, 3, 3]
    assert {data.source_facts.native_resolution for data in cifar} == {32}
    assert not cifar[0]._splits


def test_pairs_have_their_own_fingerprint_and_the_images_the_same_identity():
    made = [data_of(), *(data_of(f"dataset.pairs={kind}") for kind in ("edges", "noisy")),
            data_of("dataset.pairs=noisy", "dataset.pairing.noise_std=0.1"),
            data_of("dataset.domains=[[Sneaker],[Ankle boot]]")]  # fmt: skip
    assert len({data.fingerprint for data in made}) == len(made)
    assert len({data.identity for data in made}) == 1  # so that their classifier knows them


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.pairs=gray"], r"dataset\.pairs=gray: must be one of edges, grey, small, ma"),
        (["dataset.pairs=grey"], r"dataset: pairs=grey: the images are grey already"),
        (
            ["dataset.pairs=small", "dataset.pairing.factor=5"],
            r"dataset: pairing\.factor=5: must divide the images' 28 pixels a side",
        ),
        (["dataset.pairing.masked_fraction=2"], r"dataset\.pairing\.masked_fraction=2: must be"),
    ],
)
def test_pairs_that_cannot_be_are_refused_in_one_line(overrides, message):
    with pytest.raises(UserError, match=message) as refused:
        data_of(*overrides)
    assert "\n" not in str(refused.value)


def test_a_recipe_of_before_makes_the_data_it_made():
    recipe = composed()["dataset"]
    now = build(recipe, "dataset")
    before = build({key: value for key, value in recipe.items()
                    if key not in ("pairs", "pairing", "domains")}, "dataset")  # fmt: skip
    assert before.fingerprint == now.fingerprint
    assert before.source_facts is None


class Paired(FashionMNISTMini):
    """Images with negatives beside them, as a source of a user's own may return them."""

    def __init__(self, change=lambda source: source) -> None:
        self.change = change

    def load(self, split: str) -> Images:
        images = super().load(split)
        return Images(images.images, images.labels, images.class_names,
                      source=self.change(255 - images.images))  # fmt: skip


def paired_data(**options):
    source = options.pop("source", Paired())
    return ImageDataModule(
        source, ImageFacts(1, 32, 28, 10), 50, 1000, **({"binarize": False} | options)
    )


def test_sources_that_come_with_the_images_stay_beside_them():
    data = paired_data()
    data.set_stream(seed=0, start=0, stop=3)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    for batch in [*batches, next(data.batches("validation")), next(data.batches("test"))]:
        assert torch.allclose(batch.source, -batch.x, atol=1e-6)
    black_and_white = next(paired_data(binarize=True).batches("test"))
    assert black_and_white.source.unique().tolist() == [-1, 1]
    assert data.source_facts == data.facts


def test_pairs_of_pairs_and_sources_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"pairs=edges: the images of .* are pairs already"):
        paired_data(pairs="edges").prepare()
    for change in (lambda x: x.float(), lambda x: x[:-1], lambda x: x[..., 1:]):
        with pytest.raises(
            UserError, match=r"load\('train'\): sources are .*must be torch\.uint8"
        ):
            paired_data(source=Paired(change)).prepare()


def test_a_picture_of_pairs_has_each_image_right_of_its_source(colours):
    source = Pairing().grey(colours)
    picture = sources_and_targets(source[:6], colours[:6])
    assert picture.shape == (3, 2 * 42 - 2, 8 * 34 - 2)
    assert torch.equal(picture[:, :40, :32], source[0].expand(3, -1, -1))
    assert torch.equal(picture[:, :40, 34:66], colours[0])
    assert torch.equal(picture[:, 42:, 102:134], colours[5])


def test_a_model_without_sources_trains_on_pairs_as_on_the_images(short_vae, tmp_path):
    run = trained(composed(*SHORT, "dataset.pairs=edges"), tmp_path)
    assert run.manifest()["status"] == "finished"
    assert not (short_vae.samples / "data.png").exists()
    shown = torch.from_numpy(np.array(Image.open(run.samples / "data.png")))[::SCALE, ::SCALE]
    first = build(run.recipe()["dataset"], "dataset").split("validation").images[:20]
    assert torch.equal(shown, sources_and_targets(Pairing().edges(first), first)[0])
    found, expected = (
        catalogue.read_checkpoint(each)[1]["state_dict"] for each in (run, short_vae)
    )
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name])
