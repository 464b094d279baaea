"""The tools of the latent space: each as a journey, and every mistake in one line."""

import json
import shutil
import sys
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from conftest import ROOT, SHORT, SplitsAsked, composed, latent_options, short, small, trained
from PIL import Image, ImageSequence
from torch.distributions import Normal

from gdm.cli import console
from gdm.errors import UserError
from gdm.models.base import GenerativeModel
from gdm.pictures import latent
from gdm.recipes import check
from gdm.recipes.build import build
from gdm.recipes.options import options_from
from gdm.runs.run import Run
from gdm.theory.images import to_float
from gdm.tools import open_run
from gdm.tools.latent import diagnostics, tool

TOOLS = sorted(path.stem for path in (ROOT / "configs" / "tool").glob("*.yaml"))
FEW = ("tool.num_images=120", "tool.num_samples=40", "tool.num_paths=5", "tool.manifold=3",
       "tool.num_sampled=6", "tool.num_train=400")  # fmt: skip
TWO = ("prior=standard_normal", "model.latent_dim=2")


@pytest.fixture(scope="module")
def vae(opened_of):
    return opened_of("model=vae", "model.width=8", *TWO, name="vae")


def made(*overrides: str) -> tool.Tool:
    return build(latent_options(*overrides)["tool"], "tool")


def gaussian(count: int, dimension: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def used(opened, data, *overrides: str, others=(), seed: int = 0) -> tool.Result:
    return tool.apply(made(*overrides), opened, others, data, seed)


def message_of(opened, data, *overrides: str, others=()) -> str:
    with pytest.raises(UserError) as refused:
        made(*overrides).refuse(opened, others, data)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# The script --------------------------------------------------------------------------------------


def test_the_script_prints_metrics_and_writes_record_and_pictures_into_the_run(
    run_script, tmp_path
):
    recipe = composed(*SHORT, *TWO, "callbacks.validation=null", "dataset.validation_size=300")
    run = trained(recipe | {"name": "short"}, tmp_path)
    done = run_script("latent", f"run={run.path}", f"compare=[{run.path}]", *FEW)
    assert done.returncode == 0, done.stderr
    folder = run.path / "latent" / "map"
    record = json.loads((folder / "record.json").read_text())
    assert (record["tool"], record["options"]["num_images"]) == ("map", 120)
    assert (record["checkpoint"], record["seed"]) == ("last", 0)
    assert [each["name"] for each in record["compared_with"]] == ["short 2"]
    assert record["drawbacks"]["short"] == record["drawbacks"]["short 2"]
    assert "tool.num_samples=40" in record["overrides"]
    assert all(word in done.stdout for word in ("nats from normal", "Ankle boot", "short 2"))
    written = done.stdout.split()[-8:]
    assert written[0] == str(folder / "record.json")
    for path in written[1:]:
        with Image.open(path) as picture:
            assert min(picture.size) > 100


def test_every_tool_is_in_the_help_and_its_options_fit_the_layout(run_script):
    shown = run_script("latent", "--help").stdout
    for name in TOOLS:
        assert f"\n{name} " in shown
        options = latent_options(f"tool={name}")
        check.check(options, root=tool.LatentOptions)
        assert tool.name_of(build(options["tool"], "tool")) == name
    assert shown.count("\n  python scripts/latent.py ") >= 6


def test_a_later_use_leaves_no_picture_of_an_earlier_one_and_none_of_another_tool(
    vae, data, tmp_path
):
    tool.write(used(vae, data, "tool=morph"), tmp_path)
    tool.write(found := used(vae, data, *FEW), tmp_path)
    assert (tmp_path / "manifold.png").exists()
    others = {name: each for name, each in found.pictures.items() if name != "manifold"}
    tool.write(replace(found, pictures=others), tmp_path)
    assert not (tmp_path / "manifold.png").exists()
    left = {path.name for path in tmp_path.iterdir()} - {"record.json"}
    assert left == {*json.loads((tmp_path / "record.json").read_text())["files"], "morph.png",
                    "straight-line.gif", "great-circle.gif"}  # fmt: skip


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"to={tmp_path}/file/there: cannot be written"):
        tool.destination(made(), Run(tmp_path), f"{tmp_path}/file/there")
    assert tool.destination(made(), Run(tmp_path), None) == tmp_path / "latent" / "map"


def test_a_record_is_shown_as_tables(capsys):
    record = {
        "tool": "walk", "name": "ours", "dataset": "theirs", "share": 0.25, "count": 7,
        "split": "test", "num_images": 1200,
        "by_step": [{"step": 1, "psnr": 20.5}, {"step": 2, "psnr": None}],
        "of_runs": {"run_1": {"nats": 1.5}, "run_2": {"nats": 2.5, "bits": 123.45}},
        "remark": "In a word.",
        "compared_with": [{"name": "two"}],
    }  # fmt: skip
    console.report_found(record)
    shown = capsys.readouterr().out
    expected = (
        "walk of ours, theirs, 1,200 test images", "share", "0.250", "by step", "20.500",
        "of runs", "run_2", "bits", "123.5", "In a word.",
    )  # fmt: skip
    for text in expected:
        assert text in shown
    assert "compared" not in shown


# Map ---------------------------------------------------------------------------------------------


def test_a_map_of_two_dimensions_has_contours_samples_and_a_plane(vae, autoencoder, data):
    found = used(vae, data, *FEW, others=[autoencoder])
    assert set(found.pictures) == {
        "map", "map_samples", "manifold", "classes", "steps", "largest_jumps", "distribution"
    }  # fmt: skip
    metrics = found.record["drawbacks"]
    assert list(metrics) == ["vae", "plain"]
    for each in metrics.values():
        assert each["largest_area_over_smallest"] >= 1
        assert 0 <= each["samples_off"] <= 1
        assert each["largest_step_over_mean"] >= 1
        assert 0.05 <= each["change_in_largest_5_percent_of_steps"] <= 1
        assert 0 <= each["clear_images_on_paths"] <= 1
        assert each["nats_from_uniform"] > each["nats_from_normal"]  # of first weights: no box
    for kind in ("area of codes", "samples", "uniform samples"):
        shares = [row[kind] for row in found.record["classes"] if row["model"] == "plain"]
        assert len(shares) == 10
        assert sum(shares) == pytest.approx(1)
    again = used(vae, data, *FEW, others=[autoencoder])
    assert again.record == found.record
    assert all(torch.equal(again.pictures[name], found.pictures[name]) for name in found.pictures)


@pytest.mark.parametrize("projection", ["pca", "tsne", "umap"])
def test_more_dimensions_are_projected(opened_of, data, projection):
    if projection == "umap":
        pytest.importorskip("umap", reason="the extra umap is not installed")
    opened = opened_of("model=conditional_vae", "model.width=8", "model.latent_dim=4")
    opened.extractor = None
    found = used(opened, data, *FEW, f"tool.projection={projection}")
    assert "manifold" not in found.pictures
    assert "distribution" not in found.pictures
    assert found.record["classes_by"] == "nearest codes"
    assert "clear_images_on_paths" not in found.record["drawbacks"]["ours"]


def test_codes_as_large_as_images_are_mapped_too_without_the_drawbacks_of_few_numbers(ddpm, data):
    few = ("tool.num_images=12", "tool.num_sampled=2")
    found = used(ddpm, data, *few)
    assert set(found.pictures) == {"map", "map_samples"}
    assert "drawbacks" not in found.record
    shown = message_of(ddpm, data, *few, others=[ddpm])
    assert "is a DDPM, whose codes are as large as its images" in shown


class Bent(torch.nn.Module):
    """A model whose first pixel is a function of its two-dimensional code, class 0 within."""

    latent_dim, num_classes, device, condition, has_code_density = 2, 2, "cpu", None, False

    def __init__(self, pixel) -> None:
        super().__init__()
        self.pixel = pixel

    def draw_codes(self, x, condition, index, seed):
        return x[:, 0, 0, :2]

    def decode(self, z, condition):
        return self.pixel(z[:, 0])[:, None, None, None].expand(len(z), 1, 4, 4)

    def sample_codes(self, indices, seed=0):
        return torch.randn(len(indices), 2, generator=torch.Generator().manual_seed(seed))


class Plane:
    """Codes as images: 8-bit values of a normal distribution, class 1 twice as wide."""

    num_classes = 2

    def split(self, name):
        from gdm.data.images import Images

        label = torch.arange(1000) % 2
        z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        values = 127.5 + 20 * z * (1 + label[:, None])
        x = values.round().clamp(0, 255).to(torch.uint8)[:, None, None].expand(1000, 1, 1, 2)
        return Images(x, label, ("narrow", "wide"))


def test_an_even_decoder_changes_alike_at_every_step_and_a_torn_one_at_few(tmp_path):
    def metrics(pixel) -> dict[str, float]:
        opened = tool.OpenRun(Run(tmp_path), "bent", Bent(pixel), {}, None)
        return diagnostics.measure(opened, Plane(), None, 1000, 200, 100, 20, 1000, seed=0).metrics

    even, torn = metrics(lambda z: z), metrics(lambda z: 1.0 * (z > 0))
    assert even["largest_step_over_mean"] < 1.8  # steps have all directions
    assert torn["largest_step_over_mean"] > 10
    assert torn["change_in_largest_5_percent_of_steps"] == pytest.approx(1)
    assert even["change_in_largest_5_percent_of_steps"] < 0.1
    assert even["largest_area_over_smallest"] == pytest.approx(4, rel=0.15)
    assert 0 < even["nats_from_normal"] < 0.2
    assert even["nats_from_standard_normal"] > even["nats_from_normal"]


def test_metrics_of_a_straight_decoder_are_those_of_its_codes(tmp_path):
    """The pixel is z_1, so that a path of one standard deviation changes it by its cosine."""
    opened = tool.OpenRun(Run(tmp_path), "straight", Bent(lambda z: z), {}, None)
    measured = diagnostics.measure(opened, Plane(), None, 1000, 200, 100, 20, 1000, seed=0)
    std = measured.codes[:, 0].std()
    mean_cosine = 2 / torch.pi
    expected = float(127.5 * std * mean_cosine / 20)
    assert measured.metrics["grey_levels_per_step"] == pytest.approx(expected, rel=0.1)
    assert measured.metrics["off_by_chance"] < 0.1
    far = tool.OpenRun(Run(tmp_path), "far", Bent(lambda z: z), {}, None)
    far.model.sample_codes = lambda indices, seed=0: torch.full((len(indices), 2), 0.9)  # all wide
    off = diagnostics.measure(far, Plane(), None, 1000, 200, 100, 20, 1000, seed=0).metrics[
        "samples_off"
    ]
    assert off == pytest.approx(0.5, abs=0.05)  # half of the codes are narrow


def test_images_between_codes_of_two_clusters_are_less_clear_than_at_them(tmp_path):
    class Named(torch.nn.Module):
        def forward(self, x):
            sure = (to_float(x)[:, 0, 0, 0].abs() > 0.3).float()[:, None]
            return Namespace(probabilities=torch.cat([0.5 + 0.5 * sure, 0.5 - 0.5 * sure], 1))

    class Two(Plane):
        def split(self, name):
            images = super().split(name)
            side = torch.tensor([30.0, 225.0])[torch.arange(1000) // 500]
            return replace(images, images=(side[:, None, None, None] + images.images / 25).byte())

    opened = tool.OpenRun(Run(tmp_path), "two", Bent(lambda z: z), {}, None)
    found = diagnostics.measure(opened, Two(), Named(), 1000, 500, 100, 20, 1000, seed=0).metrics
    assert found["clear_images_of_decoded_codes"] == 1
    assert found["clear_images_between_codes"] == 0  # one of either side
    assert found["clear_images_of_decoded_codes"] > found["clear_images_of_uniform_samples"] > 0.4


def test_contours_hold_their_share_of_samples_each_axis_in_its_place(vae, data, monkeypatch):
    drawn = {}

    def spy(*arguments, **options):
        drawn["contours"] = drawn.get("contours") or (arguments[4:5] or [None])[0]
        return latent_map(*arguments, **options)

    latent_map = latent.latent_map
    monkeypatch.setattr(latent, "latent_map", spy)
    wide = torch.tensor([1.0, 3.0])
    model = vae.model
    monkeypatch.setattr(model, "code_log_prob",
                        lambda z: Normal(0, wide.to(z)).log_prob(z).sum(1))  # fmt: skip
    monkeypatch.setattr(
        model, "sample_codes",
        lambda indices, condition=None, seed=0: wide * gaussian(len(indices), 2, seed),
    )  # fmt: skip
    used(vae, data, *FEW)
    x, y, heights, levels = drawn["contours"]
    expected = Normal(0, wide).log_prob(torch.stack([x[20], y[70]])).sum()
    assert float(heights[70, 20]) == pytest.approx(float(expected), abs=1e-4)
    z = wide * gaussian(20_000, 2, seed=5)
    for name, level in levels.items():
        inside = (Normal(0, wide).log_prob(z).sum(1) > level).float().mean()
        assert 100 * float(inside) == pytest.approx(float(name.split()[0]), abs=2)


@pytest.mark.parametrize(("model", "whose"), [("vae", "the prior"), ("autoencoder", "the codes")])
def test_a_plane_has_lines_at_quantiles_of_what_is_sampled(
    request, data, monkeypatch, model, whose
):
    opened, drawn = request.getfixturevalue(model), []
    manifold = latent.manifold
    monkeypatch.setattr(latent, "manifold", lambda *a: drawn.append(a) or manifold(*a))
    used(opened, data, *FEW)
    ((_, x, _, labels),) = drawn
    assert all(label.endswith(f"quantiles of {whose}") for label in labels)
    if model == "vae":
        expected = Normal(0, 1).icdf(torch.tensor([1 / 6, 0.5, 5 / 6]))
    else:
        part = data.split("validation").select(torch.arange(120))
        codes = opened.model.encode(part.images / 127.5 - 1)
        expected = codes[:, 0].quantile(torch.tensor([1 / 6, 0.5, 5 / 6]))
    torch.testing.assert_close(x, expected, atol=0.05, rtol=0.02)


# Traverse ----------------------------------------------------------------------------------------


def test_units_come_by_their_kl_and_a_dead_one_changes_nothing(opened_of, data):
    opened = opened_of("model=vae", "model.width=8", "prior=standard_normal",
                         "model.latent_dim=6")  # fmt: skip
    first = next(layer for layer in opened.model.decoder.modules() if hasattr(layer, "weight"))
    with torch.no_grad():
        first.weight[:, 2] = 0
    found = used(opened, data, "tool=traverse", "tool.num_units=4", "tool.num_images=3")
    units = found.record["units"]
    assert [unit["kl"] for unit in units] == sorted((u["kl"] for u in units), reverse=True)
    (dead,) = [unit for unit in units if unit["unit"] == 3]
    assert dead["grey_levels_changed"] == pytest.approx(0, abs=1e-4)
    assert min(u["grey_levels_changed"] for u in units if u["unit"] != 3) > 1e-3
    assert found.record["ordered_by"] == "nats"
    assert "s: a unit's standard deviation over validation images" in found.remark
    assert "4 of the code's 6 are shown" in found.remark


def test_units_without_a_kl_come_by_variance_and_latents_by_what_they_change(
    autoencoder, gan, data
):
    found = used(autoencoder, data, "tool=traverse")
    stds = [unit["std"] for unit in found.record["units"]]
    assert found.record["ordered_by"] == "variance"
    assert stds == sorted(stds, reverse=True)
    found = used(gan, data, "tool=traverse", "tool.index=100000")
    changes = [unit["grey_levels_changed"] for unit in found.record["units"]]
    assert (found.record["ordered_by"], len(changes)) == ("grey levels", 100)
    assert changes == sorted(changes, reverse=True)


def test_units_are_moved_by_the_std_of_drawn_codes(vae, data):
    found = used(vae, data, "tool=traverse", seed=3)
    split = data.split("validation")
    x = split.images / 127.5 - 1
    drawn = vae.model.draw_codes(x, None, range(len(x)), 3).std(0)
    units = sorted(found.record["units"], key=lambda unit: unit["unit"])
    assert [unit["std"] for unit in units] == pytest.approx(drawn.tolist(), rel=1e-4)


# Morph -------------------------------------------------------------------------------------------


def test_a_morph_has_two_strips_and_two_animations(vae, data, tmp_path):
    asked = ("tool=morph", "tool.a=3", "tool.b=Bag", "tool.num_images=5", "tool.frames_between=2")
    found = used(vae, data, *asked)
    assert (found.record["from"], found.record["to"]) == ("image 3", "Bag")
    frames = found.animations["straight-line"]
    assert frames.shape == (16, 1, 28, 28)  # 9 there, and 7 back without the ends
    assert torch.equal(frames[1], frames[-1])
    assert torch.equal(frames[0], found.animations["great-circle"][0])
    mean = used(vae, data, *asked, "tool.of_class=mean").animations["straight-line"]
    assert torch.equal(mean[0], frames[0])
    assert not torch.equal(mean[8], frames[8])
    written = tool.write(found, tmp_path)
    assert [path.name for path in written] == [
        "record.json", "morph.png", "straight-line.gif", "great-circle.gif"
    ]  # fmt: skip
    with Image.open(written[-1]) as animation:
        assert animation.size == (224, 224)
        assert animation.info["loop"] == 0
        shown = [frame.info["duration"] for frame in ImageSequence.Iterator(animation)]
    assert sum(shown) == 16 * 80  # like frames are one that is shown for longer


def test_a_great_circle_stays_as_far_from_the_centre_as_its_ends(gan, data):
    paths = used(gan, data, "tool=morph", "tool.a=5", "tool.b=123456").record["paths"]
    round_it, straight = paths["great circle"], paths["straight line"]
    least = min(round_it["distance_from_centre_least"], straight["distance_from_centre_at_ends"])
    assert least > 0.9 * round_it["distance_from_centre_at_ends"]
    assert straight["distance_from_centre_least"] < 0.85 * least


def test_the_circle_is_about_the_mean_of_what_is_sampled(autoencoder, data):
    paths = used(autoencoder, data, "tool=morph", "tool.a=0", "tool.b=9").record["paths"]
    images = data.split("validation").images[[0, 9]] / 127.5 - 1
    centre = autoencoder.model.sample_codes(range(1000)).mean(0)
    expected = (autoencoder.model.encode(images) - centre).norm(dim=1).mean()
    found = paths["great circle"]["distance_from_centre_at_ends"]
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_a_conditional_model_can_be_held_to_one_class(opened_of, data):
    opened = opened_of("model=conditional_gan", *small("conditional_gan"))
    asked = ("tool=morph", "tool.a=3", "tool.b=7", "tool.num_images=3", "tool.frames_between=2")
    model, told = opened.model, []
    decode = model.decode
    model.decode = lambda z, label: told.append(label.tolist()) or decode(z, label)
    assert used(opened, data, *asked).record["label"] is None
    assert told[0] == [3, 3, 7, 7, 7]  # as before, the class of a up to the middle
    told.clear()
    held = used(opened, data, *asked, "tool.label=Bag")
    assert told == [[8] * 5] * 2
    assert held.record["label"] == "Bag"
    told.clear()
    used(opened, data, *asked, "tool.label=8")
    assert told == [[8] * 5] * 2


def test_diffusion_models_morph_by_inversion(ddpm, data):
    found = used(ddpm, data, "tool=morph", "tool.num_images=3", "tool.frames_between=1")
    assert found.animations["great-circle"].shape == (4, 1, 28, 28)


# Edit --------------------------------------------------------------------------------------------

BRIEFLY = ("tool=edit", "tool.num_train=300", "tool.num_held_out=10", "tool.num_shown=2")


@pytest.mark.parametrize("asked", ["[Pullover,dress]", '"Pullover -> Dress"', "[2,3]"])
def test_an_edit_between_classes_says_what_it_moved_and_what_it_kept(vae, data, asked):
    found = used(vae, data, *BRIEFLY, f"tool.attribute={asked}", "tool.alphas=[1,0,-1]")
    record = found.record
    assert record["attribute"] == "Pullover -> Dress"
    assert (record["num_train"], record["num_held_out"]) == (300, 10)
    assert [row["alpha"] for row in record["by_alpha"]] == [-1, 0, 1]
    before = record["by_alpha"][1]
    assert before["individuality"] == 1
    assert "psnr" not in before
    for row in record["by_alpha"]:
        assert 0 <= row["p_with"] + row["p_without"] <= 1
    assert record["by_alpha"][2]["psnr"] > 5
    assert 0.5 <= record["told_apart_along_direction"] <= 1


def test_an_attribute_of_a_file_is_that_of_its_image_and_evaluated_by_validation_images(
    vae, data, tmp_path
):
    whole = data.source.load("train").images  # in the order of the file
    bright = whole.float().flatten(1).mean(1) > 80
    lines = ["name,bright,dull", *(f"x,{int(b)},{int(not b)}" for b in bright.tolist())]
    (tmp_path / "of.csv").write_text("\n".join(lines))
    asked = (*BRIEFLY, f"tool.csv={tmp_path}/of.csv", "tool.num_held_out=60")
    found = used(vae, data, *asked, "tool.column=bright")
    assert (found.record["attribute"], found.record["num_train"]) == ("bright", 300)
    first = data.split("train").images[:300].float().flatten(1).mean(1) > 80
    assert found.record["num_train_with"] == int(first.sum())
    assert found.record["num_held_out"] == found.record["num_held_out_with"] == 60
    assert found.record["told_apart_along_direction"] > 0.6
    assert all(0 <= row["p_with"] <= 1 for row in found.record["by_alpha"])
    blind = replace(vae, name="blind", facts={}, extractor=None)
    found = used(blind, data, *BRIEFLY, f"tool.csv={tmp_path}/of.csv", "tool.column=dull")
    assert "p_with" not in found.record["by_alpha"][0]


@pytest.fixture(scope="module")
def of_emoji(tmp_path_factory):
    """A model of images with attributes, with the weights that it begins with."""
    recipe = composed("dataset=emoji_mini", "model=vae", "model.width=8", *TWO)
    data = build(recipe["dataset"], "dataset")
    torch.manual_seed(0)
    model = build(recipe["model"], "model").eval()
    run = Run(tmp_path_factory.mktemp("of_emoji"))
    return open_run.OpenRun(run, "emoji", model, {}, data, {"run": "emoji"}, None)


ENOUGH = ("tool=edit", "tool.num_held_out=10", "tool.num_shown=2")


def test_an_attribute_of_the_data_set_is_taken_by_name(of_emoji):
    data = of_emoji.data
    found = used(of_emoji, data, *ENOUGH, "tool.attribute=dark_skin", "tool.num_train=800")
    train = data.split("train")
    column = train.attributes.names.index("dark_skin")
    assert (found.record["attribute"], found.record["num_train"]) == ("dark_skin", 800)
    assert found.record["num_train_with"] == int(train.attributes.values[:800, column].sum())
    assert found.record["num_held_out"] == found.record["num_held_out_with"] == 10


@pytest.mark.parametrize("asked", ["[light_skin,dark_skin]", "'light_skin->dark_skin'"])
def test_an_edit_leads_from_one_attribute_to_another(of_emoji, asked):
    found = used(of_emoji, of_emoji.data, *ENOUGH, f"tool.attribute={asked}")
    assert found.record["attribute"] == "light_skin -> dark_skin"
    captions = of_emoji.data.split("train").captions
    dark = ["dark skin" in name.replace("-dark", "") for name in captions]
    light = ["light skin" in name.replace("-light", "") for name in captions]
    one = [a != b for a, b in zip(dark, light, strict=True)]
    assert found.record["num_train"] == sum(one)
    with_it = sum(each and is_dark for each, is_dark in zip(one, dark, strict=True))
    assert found.record["num_train_with"] == with_it


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("red_hiar", "tool.attribute=red_hiar: the images have no such attribute; did you mean "
                     "red_hair?; they have light_skin, medium_light_skin"),
        ("[blond_hair,redhair]", "tool.attribute=redhair: the images have no such attribute"),
        ("[man,woman,boy]", "name one attribute, or two"),
        ("[red_hair,red_hair]", "tool.attribute=red_hair -> red_hair: 0 of 0 training images"),
        ("[Flags,Flag]", "tool.attribute=Flag: must be one of 0 Smileys & Emotion"),
    ],
)  # fmt: skip
def test_attributes_that_there_are_not_are_named_with_those_there_are(of_emoji, asked, message):
    assert message in message_of(of_emoji, of_emoji.data, "tool=edit", f"tool.attribute={asked}")


def test_of_images_without_classes_what_is_misspelt_was_an_attribute(of_emoji, monkeypatch):
    monkeypatch.setattr(type(of_emoji.data), "class_names", ())
    asked = ("tool=edit", "tool.attribute=[blondhair,redhair]")
    assert "blondhair: the images have no such attribute; did you mean blond_hair?" in message_of(
        of_emoji, of_emoji.data, *asked
    )


def test_rows_and_values_of_a_file_are_checked(vae, data, tmp_path):
    path = tmp_path / "of.csv"
    asked = ("tool=edit", f"tool.csv={path}")
    assert f"tool.csv={path}: cannot be read" in message_of(vae, data, *asked)
    path.write_text("sleeve,name\n1,x\n0,y\n")
    assert "tool.column=sleeves: " in message_of(vae, data, *asked, "tool.column=sleeves")
    shown = message_of(vae, data, *asked, "tool.column=sleeve")
    assert "has 2 rows; must be 10,000, one for each of the data set's training images" in shown
    path.write_text("sleeve\n" + "1\n" * 9999 + "2\n")
    shown = message_of(vae, data, *asked, "tool.column=sleeve")
    assert "tool.column=sleeve: row 10000 holds '2'; must be 0 or 1" in shown
    path.write_text("sleeve\n" + "1\n" * 10000)
    shown = message_of(vae, data, *asked, "tool.column=sleeve")
    assert shown.startswith("tool.column=sleeve: 9800 of 9800 training images have this attribute")


class Pixels(torch.nn.Module):
    """A model whose codes are the images themselves, or which gives one image for every code."""

    latent_dim, condition, encodes, num_classes, device = 784, None, True, 10, "cpu"
    makes_images, has_styles = True, False
    ema = None

    def __init__(self, one: bool = False) -> None:
        super().__init__()
        self.one = one

    evaluating = GenerativeModel.evaluating

    def prepare_sampling(self, batches):
        pass

    def encode(self, x, condition=None):
        return x.flatten(1)

    def decode(self, z, condition=None):
        x = z.reshape(-1, 1, 28, 28).clamp(-1, 1)
        return torch.zeros_like(x) if self.one else x


def test_an_edit_takes_the_classifier_from_class_to_class_and_says_what_is_left(vae, data):
    pixels = replace(vae, name="pixels", model=Pixels(), facts={})
    asked = ("tool=edit", "tool.attribute=[Trouser,T-shirt/top]", "tool.alphas=[0,1,3]")
    found = used(pixels, data, *asked)
    plain, _, far = found.record["by_alpha"]
    assert plain["p_without"] > 0.8 > 0.2 > plain["p_with"]
    assert far["p_with"] > plain["p_with"] + 0.3
    assert found.record["with_the_attribute"]["p_with"] > 0.6
    assert found.record["told_apart_along_direction"] > 0.9
    assert plain["individuality"] == 1
    assert 0.05 < far["individuality"] < 0.9  # black and white cut off
    same = replace(vae, name="same", model=Pixels(one=True), facts={}, extractor=None)
    assert used(same, data, *asked).record["by_alpha"][-1]["individuality"] == 0
    single = used(pixels, data, *asked, "tool.num_held_out=1").record["by_alpha"][-1]
    assert "individuality" not in single  # there is nothing to be told from


# Projector ---------------------------------------------------------------------------------------


def test_the_projector_gets_codes_classes_and_thumbnails(vae, data, capsys, tmp_path):
    folder = tool.folder_for_tensorboard(vae.run, None)
    assert folder == vae.run.tensorboard
    for _ in range(2):  # a second use replaces the first
        found = used(vae, data, "tool=projector", "tool.num_images=50")
        tool.write(found, tmp_path, folder)
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "thumbnails.png"}
    config = (folder / "projector_config.pbtxt").read_text()
    assert config.count("tensor_name") == 1
    assert all(word in config for word in ("tensors.tsv", "metadata.tsv", "sprite.png"))
    (where,) = folder.glob("**/tensors.tsv")
    codes = [line.split("\t") for line in where.read_text().splitlines()]
    labels = where.with_name("metadata.tsv").read_text().splitlines()
    split = data.split("validation")
    assert labels == [data.class_names[label] for label in split.labels[:50].tolist()]
    expected = vae.model.encode(split.select(torch.arange(50)).images.float() / 127.5 - 1)
    read = torch.tensor([[float(value) for value in line] for line in codes])
    torch.testing.assert_close(read, expected, atol=1e-4, rtol=1e-4)
    with Image.open(where.with_name("sprite.png")) as sprite:
        assert sprite.size == (8 * 28, 8 * 28)
    assert str(folder) in found.record["remark"]
    assert found.record["written_to"] == str(folder)
    assert "warning" not in capsys.readouterr().out


def test_what_goes_elsewhere_leaves_the_run_as_it_was(short_vae, run_script, tmp_path):
    run, elsewhere = Run(tmp_path / "run"), tmp_path / "else where"
    shutil.copytree(short_vae.path, run.path)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    asked = ("tool=projector", "tool.num_images=20", f"to={elsewhere}", f"outputs={tmp_path}")
    done = run_script("latent", f"run={run.path}", *asked)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    assert (elsewhere / "projector_config.pbtxt").exists()
    assert list(elsewhere.glob("**/tensors.tsv"))
    assert f"tensorboard --logdir '{elsewhere}'" in done.stdout.replace("\n", " ")


# What is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "splits"),
    [
        (["tool=map", *FEW], {"validation", "train"}),  # densities are fitted to training codes
        (["tool=traverse"], {"validation"}),
        (["tool=morph", "tool.b=Bag"], {"validation"}),
        (["tool=projector", "tool.num_images=20"], {"validation"}),
        (["tool=edit", "tool.attribute=[Bag,Coat]", "tool.num_train=99"], {"validation", "train"}),
    ],
)
def test_what_is_shown_and_evaluated_are_validation_images(vae, data, asked, splits):
    spy = SplitsAsked(data)
    found = used(vae, spy, *asked)
    assert spy.asked - {"train"} == splits - {"train"}
    assert ("train" in spy.asked) == ("train" in splits)
    assert found.record.get("split", "validation") == "validation"


# Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ("gan", ["tool=map"], "is a GAN, which has no codes of images; this tool takes an autoe"),
        ("gan", ["tool=projector"], "which has no codes of images"),
        ("gan", ["tool=edit"], "which has no codes of images"),
        ("ddpm", ["tool=morph", "tool.of_class=mean"], "whose codes are as large as its images"),
        ("ddpm", ["tool=traverse"], "whose codes are as large as its images"),
        ("vae", ["tool=map", "tool.num_images=9"], "tool.num_images=9: must be at least 10"),
        ("vae", ["tool=traverse", "tool.index=200"], "tool.index=200: must be between 0 and 199"),
        ("vae", ["tool=morph", "tool.a=200"], "tool.a=200: must be between 0 and 199, one of th"),
        ("vae", ["tool=morph", "tool.b=-1"], "tool.b=-1: must be between 0 and 199"),
        ("vae", ["tool=morph", "tool.b=Hat"], "tool.b=Hat: must be one of 0 T-shirt/top, 1 Tro"),
        ("vae", ["tool=morph", "tool.num_images=1"], "tool.num_images=1: must be at least 2"),
        (
            "vae",
            ["tool=morph", "tool.label=Bag"],
            "tool.label=Bag: this model was trained without",
        ),
        ("gan", ["tool=morph", "tool.a=Bag"], "which encodes no images; give the index of a la"),
        ("vae", ["tool=edit"], "name one attribute: tool.attribute=[Pullover,Dress]"),
        (
            "vae",
            ["tool=edit", "tool.attribute=[Bag,Coat]", "tool.csv=x.csv"],
            "name one attribute",
        ),
        ("vae", ["tool=edit", "tool.attribute=Bag"], "tool.attribute=Bag: must be two classes"),
        ("vae", ["tool=edit", "tool.attribute=[Bag,Hat]"], "tool.attribute=Hat: must be one of"),
        ("vae", ["tool=edit", "tool.attribute=[Bag,8]"], "the two classes must differ"),
        ("vae", ["tool=edit", "tool.alphas=[]"], "tool.alphas=[]: name one step at least"),
        ("vae", ["tool=projector", "tool.num_images=90000"], "must be at most 85264; TensorBoard"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(request, data, model, asked, message):
    assert message in message_of(request.getfixturevalue(model), data, *asked)


def test_a_missing_library_is_said_before_anything_is_computed(vae, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    assert "needs umap-learn" in message_of(vae, data, "tool.projection=umap")


def test_a_class_that_is_not_there_cannot_be_held(opened_of, data):
    opened = opened_of("model=conditional_gan", *small("conditional_gan"))
    shown = message_of(opened, data, "tool=morph", "tool.label=Hat")
    assert shown.startswith("tool.label=Hat: must be one of 0 T-shirt/top")


def test_a_conditional_model_has_no_direction_between_the_classes_it_is_told(opened_of, data):
    opened = opened_of("model=conditional_vae", "model.width=8")
    shown = message_of(opened, data, "tool=edit", "tool.attribute=[Pullover,Dress]")
    assert "is told the class beside the code" in shown


def test_other_data_is_no_comparison(vae, data, tmp_path):
    recipe = short("vae") | {"extractor": None, "callbacks": None}
    other = trained(recipe, tmp_path)  # which holds out 1,000 images
    options = options_from(tool.LatentOptions, latent_options(f"compare=[{other.path}]"))
    with pytest.raises(UserError, match=r"compare=\[.*was trained on other data than"):
        open_run.compared_runs(options, vae)
