"""What autoencoders are used for: the theory, each tool as a journey, and every mistake."""

import io
import json
import math
from dataclasses import replace

import pytest
import torch
from conftest import ROOT, SplitsAsked, composed, latent_options
from PIL import Image

from gdm.errors import UserError
from gdm.models.base import GenerativeModel
from gdm.pictures import tables
from gdm.recipes import check
from gdm.recipes.build import build
from gdm.runs.run import Run
from gdm.theory import images
from gdm.theory.images import to_float
from gdm.theory.randomness import generator
from gdm.tools.latent import (
    compress,
    denoise,
    file_sizes,
    generate,
    noise,
    principal_components,
    reduce,
    tool,
)
from gdm.tools.latent.quantiser import UniformQuantiser, code_lengths, level_probabilities

FEW = {
    "reconstruct": ("tool.num_images=60", "tool.num_shown=4", "tool.num_train=300"),
    "denoise": ("tool.num_images=60", "tool.num_shown=4", "tool.strengths=[0.2,0.6]"),
    "compress": (
        "tool.num_images=40", "tool.num_shown=4", "tool.num_train=300", "tool.bits=[2,8]",
        "tool.qualities=[1,20,95]",
    ),
    "reduce": ("tool.num_images=60", "tool.num_train=300"),
    "generate": ("tool.num_samples=30", "tool.num_shown=9"),
}  # fmt: skip
PICTURES = {
    "reconstruct": {"reconstructions", "psnr"},
    "denoise": {"denoised", "strengths"},
    "compress": {"rate_distortion", "images"},
    "reduce": {"accuracy"},
    "generate": {"samples", "samples_2", "classes"},
}


@pytest.fixture(scope="module")
def vae(opened_of):
    return opened_of("model=vae", "model.width=8", "model.latent_dim=6", name="vae")


@pytest.fixture(scope="module")
def conditional(opened_of):
    return opened_of("model=conditional_vae", "model.width=8", name="conditional")


def made(name: str, *overrides: str) -> tool.Tool:
    options = latent_options(f"tool={name}", *FEW[name], *overrides)
    check.check(options, root=tool.LatentOptions)
    return build(options["tool"], "tool")


def used(name: str, opened, data, *overrides: str, others=(), seed: int = 0) -> tool.Result:
    return tool.apply(made(name, *overrides), opened, others, data, seed)


class Perfect:
    """A model whose codes are the images themselves, unless something is done to them."""

    latent_dim, condition, num_classes, device, encodes = 784, None, 10, "cpu", True

    @property
    def decoding_network(self):
        return self.decoder

    condition_of = GenerativeModel.condition_of

    def __init__(self, restored=None):
        self.restored = restored
        self.decoder = torch.nn.Linear(3, 5)  # 20 weights

    def encode(self, x, condition=None):
        return x.flatten(1)

    def decode(self, z, condition=None):
        return z.reshape(-1, 1, 28, 28) if self.restored is None else self.restored[: len(z)]


def perfect(restored=None) -> tool.OpenRun:
    return tool.OpenRun(Run(ROOT), "perfect", Perfect(restored), {}, None)


# Codes in few bits -------------------------------------------------------------------------------


def test_a_quantiser_is_within_half_a_cell_inside_its_range_and_exact_at_its_centres():
    codes = torch.rand(4000, 3, generator=generator(0, "codes")) * torch.tensor([1.0, 5.0, 0.1])
    for bits in (1, 3, 8):
        quantiser = UniformQuantiser(codes, bits)
        levels = quantiser.levels(codes)
        inside = (codes >= quantiser.low) & (codes <= quantiser.low + 2**bits * quantiser.width)
        error = (quantiser.centres(levels) - codes).abs()
        assert ((error <= quantiser.width / 2 + 1e-9) | ~inside).all()
        assert inside.double().mean() > 0.85
        assert levels.min() == 0
        assert levels.max() == 2**bits - 1
        every = torch.arange(2**bits)[:, None].expand(-1, 3)
        assert (quantiser.levels(quantiser.centres(every)) == every).all()


def test_the_error_of_uniform_codes_falls_by_six_decibels_a_bit():
    codes = torch.rand(5000, 2, generator=generator(0, "codes"))
    errors = []
    for bits in (4, 5, 6):
        quantiser = UniformQuantiser(codes, bits)
        errors.append((quantiser.centres(quantiser.levels(codes)) - codes).square().mean())
        assert errors[-1] == pytest.approx(4.0**-bits / 12, rel=0.05)  # width^2 / 12
    assert 10 * math.log10(errors[0] / errors[1]) == pytest.approx(6.02, abs=0.3)


def test_one_bit_of_normal_codes_is_as_good_as_lloyd_and_max_found():
    codes = torch.randn(20_000, 1, generator=generator(0, "codes"))
    quantiser = UniformQuantiser(codes, 1)
    error = (quantiser.centres(quantiser.levels(codes)) - codes).square().mean()
    assert error == pytest.approx(1 - 2 / math.pi, abs=0.01)  # Max 1960, table I


def test_a_constant_number_is_kept_and_costs_nothing():
    codes = torch.stack([torch.full((500,), 0.25), torch.linspace(0, 1, 500)], 1)
    quantiser = UniformQuantiser(codes, 4)
    levels = quantiser.levels(codes)
    assert quantiser.centres(levels)[:, 0].numpy() == pytest.approx(0.25)
    probabilities = level_probabilities(levels, 16)
    assert code_lengths(levels[:, :1], probabilities[:1]).mean() < 0.1


def test_the_entropy_of_uniform_levels_is_their_bits_and_no_level_is_impossible():
    levels = torch.arange(16).repeat(100)[:, None].expand(-1, 3)
    probabilities = level_probabilities(levels, 16)
    assert code_lengths(levels, probabilities).numpy() == pytest.approx(3 * 4)
    few = level_probabilities(torch.zeros(10, 1, dtype=torch.int64), 4)
    assert few.sum() == pytest.approx(1)
    assert code_lengths(torch.tensor([[3]]), few).isfinite().all()
    entropy = -(few * few.log2()).sum()
    assert entropy < 2


# Files -------------------------------------------------------------------------------------------


def test_a_jpeg_is_weighed_with_and_without_its_headers():
    image = torch.randint(0, 256, (1, 28, 28), generator=generator(0, "x"), dtype=torch.uint8)
    whole, scan, back = file_sizes.jpeg(image, 50)
    buffer = io.BytesIO()
    Image.fromarray(image[0].numpy()).save(buffer, "JPEG", quality=50)
    written = buffer.getvalue()
    begin = written.index(b"\xff\xda") + 2  # of the scan's header, which says how long it is
    header = written[begin : begin + int.from_bytes(written[begin : begin + 2])]
    assert header[-3:] == b"\x00\x3f\x00"  # all 64 coefficients in one scan
    data = written[begin + len(header) :].removesuffix(b"\xff\xd9")
    assert file_sizes.jpeg_scan(written) == data
    assert scan == len(data) < whole <= len(written)
    assert back.shape == image.shape
    assert (back.float() - image.float()).abs().mean() < 60


def test_files_of_colour_images_are_weighed_too():
    image = torch.full((3, 32, 32), 90, dtype=torch.uint8)
    whole, scan, back = file_sizes.jpeg(image, 90)
    assert back.shape == (3, 32, 32)
    assert 0 < scan < whole
    whole, alone = file_sizes.png(image)
    assert 0 < alone <= whole - 8 - 25 - 12 - 12  # signature, header, end, a chunk's frame


def test_bytes_at_equal_psnr_are_interpolated_inside_the_range_alone():
    curve = [(400.0, 30.0), (100.0, 20.0)]
    assert compress.size_at(20, curve) == pytest.approx(100)
    assert compress.size_at(30, curve) == pytest.approx(400)
    assert compress.size_at(25, curve) == pytest.approx(200)  # halfway in the logarithm
    assert compress.size_at(19.9, curve) is None
    assert compress.size_at(30.1, curve) is None


# Noise -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(noise.NOISES))
def test_noise_belongs_to_its_image_and_has_the_strength_asked_for(kind):
    x = torch.zeros(200, 1, 28, 28)
    index = list(range(200))
    noisy = noise.NOISES[kind](x, index, 0.25, seed=3)
    alone = noise.NOISES[kind](x[7:9], [7, 8], 0.25, seed=3)
    assert torch.equal(noisy[7:9], alone)
    other = noise.NOISES[kind](x, index, 0.25, seed=4)
    assert not torch.equal(noisy, other)
    if kind == "gaussian":
        assert noisy.std() == pytest.approx(0.25, abs=0.01)
        return
    assert noisy.abs().max() <= 1
    changed = noisy.abs() > 0.5
    assert changed.double().mean() == pytest.approx(0.25, abs=0.01)
    if kind == "salt_and_pepper":
        assert (noisy > 0.5).double().mean() == pytest.approx(0.125, abs=0.01)
    else:
        assert not (noisy > 0.5).any()


def test_a_hole_is_a_whole_square_anywhere_in_the_image():
    holes = noise.cutout(torch.ones(500, 3, 20, 20), range(500), 0.25, 0) < 0
    assert (holes.flatten(1).sum(1) == 3 * 100).all()
    rows, columns = holes[:, 0].any(2), holes[:, 0].any(1)
    assert (rows.sum(1) == 10).all()
    assert (columns.sum(1) == 10).all()
    assert rows.any(0).all()  # every row is hit in some image


# The tools as journeys ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEW)
def test_a_tool_finds_metrics_and_pictures_the_same_each_time(name, vae, autoencoder, data):
    found = used(name, vae, data, others=[autoencoder], seed=1)
    again = used(name, vae, data, others=[autoencoder], seed=1)
    assert json.loads(json.dumps(found.record)) == json.loads(json.dumps(again.record))
    assert set(found.pictures) == PICTURES[name]
    for key, picture in found.pictures.items():
        assert picture.dtype == torch.uint8
        assert picture.shape[0] in (1, 3)
        assert min(picture.shape[1:]) > 100
        assert torch.equal(picture, again.pictures[key])
    for each in (vae, autoencoder):
        assert each.name in json.dumps(found.record)


def test_perfect_codes_give_everything_back(data):
    made_tool = made("reconstruct")
    found = made_tool.use(perfect(), (), data, 0)
    metrics = found.record["runs"]["perfect"]
    assert metrics["psnr"] == pytest.approx(54.15, abs=0.01)  # half a grey level
    assert metrics["ssim"] == pytest.approx(1)
    assert metrics["sharpness"] == pytest.approx(1)
    assert metrics["psnr_of_linear_codes"] is None  # as many as pixels lose nothing
    assert "with 784" in found.remark
    linear = [row["psnr"] for row in found.record["linear_codes"]]
    assert linear == sorted(linear)


def test_a_model_that_knows_the_clean_images_denoises_perfectly(data):
    clean = next(data.batches("validation", 60)).x
    found = made("denoise", "tool.noise=cutout").use(perfect(clean), (), data, 0)
    metrics = found.record["cutout_0.5"]
    assert metrics["perfect"]["psnr"] == pytest.approx(54.15, abs=0.01)
    assert metrics["noisy image"]["psnr"] < 20
    gained = metrics["perfect"]["psnr"] - metrics["noisy image"]["psnr"]
    assert metrics["perfect"]["psnr_gained"] == pytest.approx(gained)
    left = made("denoise").use(perfect(), (), data, 0).record["gaussian_0.5"]
    assert left["perfect"]["psnr"] == pytest.approx(left["noisy image"]["psnr"])
    rows = found.record["by_strength"]
    assert [row["strength"] for row in rows if row["of"] == denoise.NOISY] == [0.2, 0.5, 0.6]


def test_compression_counts_what_it_says(vae, conditional, data):
    record = used("compress", vae, data, others=[conditional]).record
    two, eight = (row for row in record["codes"] if row["run"] == "vae")
    assert (two["bytes_of_codes"], eight["bytes_of_codes"]) == (6 * 2 / 8, 6.0)
    assert two["bytes_entropy_coded"] <= 6 * 2.2 / 8
    told = next(row for row in record["codes"] if row["run"] == "conditional")
    assert told["bytes_of_codes"] == pytest.approx((32 * 2 + math.log2(10)) / 8)
    decoder = sum(parameter.numel() for parameter in vae.model.decoder.parameters())
    tables = 6 * (2 + 2**2)  # low, width and four probabilities of each number
    assert record["models"]["vae"]["decoder_bytes"] == 4 * (decoder + tables)
    assert "not counted" in record["notes"]["decoder"]
    for row in record["jpeg"]:
        assert row["bytes_of_jpeg_data"] < row["bytes_of_jpeg_files"]
    sizes = [row["bytes_of_jpeg_files"] for row in record["jpeg"]]
    assert sizes == sorted(sizes)
    assert record["png"]["lossless"]["bytes_of_png_data"] < record["raw_bytes"]
    assert two["bytes_of_jpeg_files_at_equal_psnr"] == "none"  # an untrained model


def test_eight_bits_of_every_pixel_are_as_good_as_the_image_and_jpeg_is_smaller(data):
    record = made("compress").use(perfect(), (), data, 0).record
    two, eight = record["codes"]
    assert eight["bytes_of_codes"] == record["raw_bytes"] == 784
    assert eight["psnr"] > 40
    assert isinstance(two["bytes_of_jpeg_files_at_equal_psnr"], float)
    assert record["models"]["perfect"]["decoder_bytes"] == 80 + 4 * 784 * (2 + 2**8)


def test_a_decoder_is_paid_for_by_what_images_save_at_the_fewest_bits_that_cost_little(data):
    record = made("compress", "tool.bits=[2,7,8]").use(perfect(), (), data, 0).record
    facts, rows = record["models"]["perfect"], {row["bits"]: row for row in record["codes"]}
    chosen = rows[facts["bits_that_cost_little"]]
    best = max(row["psnr"] for row in rows.values())
    assert chosen["psnr"] >= best - 0.1 > rows[2]["psnr"]
    assert all(row["psnr"] < best - 0.1 for bits, row in rows.items() if bits < chosen["bits"])
    two = made("compress", "tool.bits=[2]").use(perfect(), (), data, 0).record
    row, facts = two["codes"][0], two["models"]["perfect"]
    saved = row["bytes_of_jpeg_files_at_equal_psnr"] - row["bytes_entropy_coded"]
    assert saved > 0
    paid = facts["images_that_pay_for_the_decoder"]
    assert paid == pytest.approx(facts["decoder_bytes"] / saved)
    told = perfect()
    told.model.condition = "label"
    row_told = made("compress", "tool.bits=[2]").use(told, (), data, 0).record["codes"][0]
    class_bytes = row_told["bytes_entropy_coded"] - row["bytes_entropy_coded"]
    assert class_bytes == pytest.approx(math.log2(10) / 8)


def test_neighbours_know_the_class_where_codes_tell_classes_apart(data):
    told = perfect()
    labels = {bytes(x.numpy()): int(label) for split in ("train", "validation")
              for x, label in zip(data.split(split).images, data.split(split).labels,
                                  strict=True)}  # fmt: skip

    def encode(x, condition=None):
        known = [labels[bytes(image.numpy())] for image in images.to_bytes(x)]
        return torch.eye(10)[known] + 0.01 * x.flatten(1)[:, 300:310]

    told.model.encode, told.model.latent_dim = encode, 10
    rows = made("reduce").use(told, (), data, 0).record["accuracy"]
    assert [row["codes"] for row in rows] == ["perfect", "PCA 10", "pixels"]
    assert rows[0]["accuracy_k_1"] == rows[0]["accuracy_k_5"] == 1
    for row in rows[1:]:
        assert 0.4 < row["accuracy_k_1"] < 1
        shares = [row["accuracy_k_1"], row["accuracy_k_5"]]
        error = max((share * (1 - share) / 60) ** 0.5 for share in shares)
        assert row["standard_error"] == pytest.approx(error)


def test_the_nearest_decides_between_equal_numbers_of_votes():
    votes = torch.tensor([[3, 1, 1], [2, 0, 1], [4, 4, 0], [5, 6, 6]])
    assert reduce.majority(votes).tolist() == [1, 2, 4, 6]
    assert reduce.majority(votes[:, :2]).tolist() == [3, 2, 4, 5]


def test_linear_codes_of_full_size_lose_nothing(data):
    components = principal_components.PrincipalComponents(data, 1000, 784)
    x = next(data.batches("validation", 5)).x
    back = components.decode(components.encode(x, 784), x.shape[1:])
    assert torch.allclose(back, x, atol=1e-3)


def test_training_images_are_nothing_away_from_the_nearest_and_stand_beside_themselves(
    vae, data, monkeypatch
):
    train, drawn = data.split("train").images, []
    monkeypatch.setattr(vae.model, "sample", lambda indices, condition=None, seed=0: to_float(
        train[list(indices)]))  # fmt: skip
    grids = tables.titled_grids
    monkeypatch.setattr(generate, "titled_grids", lambda panels, *a: drawn.append(panels) or grids(
        panels, *a))  # fmt: skip
    found = used("generate", vae, data).record["runs"]["vae"]
    assert found["grey_levels_to_the_nearest"] == pytest.approx(0, abs=0.01)
    assert found["memorised"] == 1
    samples, nearest = drawn[0].values()
    assert torch.equal(samples, nearest)


def test_half_of_the_contrast_is_half_of_the_sharpness(data):
    clean = next(data.batches("validation", 60)).x
    found = made("reconstruct").use(perfect(clean / 2), (), data, 0).record["runs"]["perfect"]
    assert found["sharpness"] == pytest.approx(0.5, abs=0.01)


def test_the_noise_that_is_shown_is_the_noise_that_is_measured(data, monkeypatch):
    drawn, image_table = [], tables.image_table
    monkeypatch.setattr(denoise, "image_table", lambda rows, *names: drawn.append(rows) or (
        image_table(rows, *names)))  # fmt: skip
    made("denoise", "tool.noise=masking").use(perfect(), (), data, 5)
    shown = next(data.batches("validation", 4))
    expected = noise.masking(shown.x, [0, 1, 2, 3], 0.5, 5)
    clean, noisy, restored = drawn[0]
    assert torch.equal(clean, shown.x)
    assert torch.equal(noisy, expected)
    assert torch.equal(restored, expected)  # perfect codes carry all of it


def test_samples_of_every_family_stand_beside_their_nearest_training_images(gan, data):
    found = used("generate", gan, data, others=[])
    metrics = found.record["runs"]["gan"]
    assert set(metrics) == {"grey_levels_to_the_nearest", "memorised", "confident"}
    assert 0 <= metrics["confident"] <= 1
    assert sum(row["gan"] for row in found.record["classes"]) == pytest.approx(1)
    assert found.record["num_nearest"] == 9


def test_without_a_classifier_samples_are_drawn_all_the_same(vae, data):
    nobody = replace(vae, extractor=None)
    found = used("generate", nobody, data)
    assert set(found.pictures) == {"samples"}
    assert "classes" not in found.record


def test_diffusion_models_give_images_back_too(ddpm, data):
    found = used("reconstruct", ddpm, data, "tool.num_images=4", "tool.num_shown=2")
    assert found.record["runs"]["ddpm"]["numbers_in_a_code"] == 784


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("reconstruct", {"train", "validation"}),  # principal components
        ("denoise", {"validation"}),
        ("compress", {"train", "validation"}),  # the quantiser and the frequencies
        ("reduce", {"train", "validation"}),  # neighbours
        ("generate", {"train", "validation"}),  # nearest images, and the fractions of real ones
    ],
)
def test_what_is_fitted_is_fitted_to_training_images_and_measured_on_others(
    vae, data, monkeypatch, tmp_path, name, splits
):
    monkeypatch.setenv("GDM_DATA", str(tmp_path))  # where nothing has been looked at before
    spy = SplitsAsked(data)
    used(name, vae, spy)
    assert spy.asked == splits
    if name in ("reconstruct", "denoise", "compress", "reduce"):
        spy = SplitsAsked(data)
        used(name, vae, spy, "tool.split=test")
        assert spy.asked == splits - {"validation"} | {"test"}


def test_linear_codes_are_found_from_training_images_and_are_those_of_a_library(data):
    spy = SplitsAsked(data)
    components = principal_components.PrincipalComponents(spy, 300, 4)
    assert spy.asked == {"train"}
    x = data.split("train").images[:300].flatten(1) / 127.5 - 1
    axes = torch.linalg.eigh(x.T.cov()).eigenvectors.flip(1)[:, :4]
    torch.testing.assert_close((components.axes.T @ axes).abs(), torch.eye(4), atol=0.01, rtol=0)


def test_test_images_are_read_where_they_are_asked_for_alone(vae):
    fresh = build(composed("dataset.validation_size=200")["dataset"], "dataset")
    used("reduce", vae, fresh)
    assert "test" not in fresh._splits
    record = used("reduce", vae, fresh, "tool.split=test").record
    assert record["split"] == "test"
    assert "test" in fresh._splits


# Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name", "asked", "message"),
    [
        ("gan", "reconstruct", [], "is a GAN, which has no codes of images"),
        ("gan", "denoise", [], "which has no codes of images"),
        ("gan", "reduce", [], "which has no codes of images"),
        ("ddpm", "denoise", [], "is a DDPM, whose codes are as large as its images"),
        ("ddpm", "compress", [], "whose codes are as large as its images"),
        ("ddpm", "reduce", [], "whose codes are as large as its images"),
        ("conditional", "reduce", [], "is told the class beside the image, so its codes need no"),
        ("vae", "denoise", ["tool.strengths=[]"], "tool.strengths=[]: name one at least, such a"),
        ("vae", "compress", ["tool.bits=[]"], "tool.bits=[]: name one at least, such as tool.b"),
        ("vae", "compress", ["tool.qualities=[]"], "tool.qualities=[]: name one at least"),
        ("vae", "reduce", ["tool.neighbours=[]"], "tool.neighbours=[]: name one at least"),
        ("vae", "denoise", ["tool.noise=snow"], "tool.noise=snow: must be"),
        ("vae", "denoise", ["tool.strength=0"], "tool.strength=0: must be a number, above 0"),
        ("vae", "denoise", ["tool.strength=-1"], "tool.strength=-1: must be a number, above 0"),
        (
            "vae", "denoise", ["tool.noise=masking", "tool.strengths=[0.5,1.5]"],
            "strength=1.5: is a fraction of the pixels with noise=masking, at most 1",
        ),
        ("vae", "compress", ["tool.bits=[0]"], "tool.bits=[0]: must be"),
        ("vae", "compress", ["tool.bits=[17]"], "tool.bits=[17]: must be"),
        ("vae", "compress", ["tool.qualities=[100]"], "tool.qualities=[100]: must be"),
        ("vae", "reduce", ["tool.split=train"], "tool.split=train: must be"),
        ("vae", "generate", ["tool.num_samples=0"], "tool.num_samples=0: must be"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_clear_line(request, data, model, name, asked, message):
    with pytest.raises(UserError) as refused:
        made(name, *asked).refuse(request.getfixturevalue(model), [], data)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_runs_that_are_compared_must_have_codes_too(vae, gan, data):
    with pytest.raises(UserError, match="is a GAN, which has no codes"):
        made("compress").refuse(vae, [gan], data)
