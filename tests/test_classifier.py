"""The classifier: it learns, it says how sure it may be, and the one that is shipped is good."""

import json
import re
import runpy
import shutil
import sys
from collections import defaultdict

import pytest
import torch
from conftest import BRIEF, ROOT, composed, short, trained
from safetensors import safe_open
from safetensors.torch import save_file

from gdm.data.batches import Batch
from gdm.data.datamodule import validation_order
from gdm.data.emoji import FONT, RESOLUTIONS, SYSTEM_FOLDERS, EmojiFont
from gdm.data.mnist import FashionMNIST
from gdm.errors import UserError
from gdm.evaluation import extractors, model_metrics
from gdm.evaluation.classifier import (
    SHIPPED,
    ClassifierFeatures,
    NoClassifier,
    read_classifier,
)
from gdm.evaluation.classifier import shipped as files_shipped
from gdm.models.classifier import NUM_BINS
from gdm.recipes.build import build
from gdm.runs import catalogue
from gdm.theory.moments import Moments
from gdm.tools.export import export
from gdm.tools.open_run import OpenRun, opened_run

FASHION = SHIPPED / "fashion_mnist_classifier.safetensors"


def classifier(*overrides: str):
    torch.manual_seed(0)
    return build(composed("model=classifier", "model.width=8", *overrides)["model"], "model")


@pytest.fixture(scope="module")
def data():
    return build(composed()["dataset"], "dataset")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    recipe = short("classifier")
    recipe["budget"]["images"] = 3000
    return trained(recipe, tmp_path_factory.mktemp("classifier"))


def report(model, confidence: torch.Tensor, right: torch.Tensor) -> dict:
    """Return the report on predictions of class 0 with these confidences."""
    others = (1 - confidence) / (model.num_classes - 1)
    probabilities = others.unsqueeze(1).repeat(1, model.num_classes)
    probabilities[:, 0] = confidence
    model.features_and_probabilities = lambda x: (None, probabilities)
    metrics = model.metrics(Batch(None, torch.where(right, 0, 1), torch.arange(len(right))))
    moments = {name: Moments() for name in metrics}
    for name, values in metrics.items():
        moments[name].update(values)
    return model.summarise(moments)


def test_it_learns_real_clothes(run):
    record = run.records()[-1]
    assert record["accuracy"] > 0.4  # after a third of an epoch
    assert len(record["confusion"]) == 10
    assert all(sum(row) == pytest.approx(1) for row in record["confusion"])
    diagonal = [record["confusion"][k][k] for k in range(10)]
    assert sum(diagonal) / 10 == pytest.approx(record["accuracy"], abs=0.05)


def test_confidence_that_is_kept_is_calibrated_and_boasting_is_not():
    confidence = torch.linspace(0.2, 0.98, 40_000)
    right = torch.rand(40_000, generator=torch.Generator().manual_seed(0)) < confidence
    assert report(classifier(), confidence, right)["calibration_error"] < 0.02
    confidence = torch.full((1000,), 0.9)
    right = torch.arange(1000) < 600
    found = report(classifier(), confidence, right)
    assert found["calibration_error"] == pytest.approx(0.3, abs=1e-4)
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["confusion"][0][0] == found["confusion"][1][0] == 1


def test_the_calibration_error_is_that_of_a_sum_over_bins():
    generator = torch.Generator().manual_seed(1)
    confidence = 0.15 + 0.8 * torch.rand(2000, generator=generator)
    right = torch.rand(2000, generator=generator) < 0.5
    expected = 0.0
    for number in range(NUM_BINS):
        inside = (confidence >= number / NUM_BINS) & (confidence < (number + 1) / NUM_BINS)
        if inside.any():
            gap = right[inside].double().mean() - confidence[inside].double().mean()
            expected += float(inside.double().mean() * gap.abs())
    found = report(classifier(), confidence, right)["calibration_error"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_augmentation_moves_and_mirrors_each_image_by_itself():
    x = torch.full((256, 2, 32, 32), -1.0)
    x[:, 1, 10, 12] = 1
    torch.manual_seed(0)
    moved = classifier("model.shift=2").augment(x)
    assert moved.shape == x.shape
    assert (moved[:, 0] == -1).all()
    assert (moved == 1).sum((1, 2, 3)).tolist() == [1] * 256
    rows, columns = (moved[:, 1] == 1).nonzero()[:, 1:].unbind(1)
    assert set(rows.tolist()) == set(range(8, 13))
    assert set(columns.tolist()) == set(range(10, 15)) | set(range(17, 22))  # 31 - 12 = 19
    torch.manual_seed(0)
    assert torch.equal(classifier("model.shift=2").augment(x), moved)
    still = classifier("model.shift=0", "model.flip=false")
    assert torch.equal(still.augment(x), x)


@pytest.mark.parametrize(("native", "resolution", "channels"), [(13, 16, 1), (60, 64, 3)])
def test_other_kinds_of_images_are_padded_by_the_classifier(native, resolution, channels):
    model = classifier(
        f"dataset.facts.native_resolution={native}", f"dataset.facts.resolution={resolution}",
        f"dataset.facts.channels={channels}", "dataset.facts.num_classes=7",
        "model.num_features=24",
    ).eval()  # fmt: skip
    x = torch.rand(5, channels, native, native) * 2 - 1
    found, probabilities = model.features_and_probabilities(x)
    assert found.shape == (5, 24)
    assert probabilities.shape == (5, 7)
    assert torch.equal(found, model.features(x))
    assert torch.equal(probabilities, model.probabilities(x))


def test_an_image_has_the_same_features_in_any_batch(run, data):
    model = catalogue.load(run)
    x = next(data.batches("validation", 64)).x
    whole, probabilities = model.features_and_probabilities(x)
    alone = torch.cat([model.features(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(whole[:5], alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(64))


def test_the_report_does_not_depend_on_the_batches_of_the_stream(run, data):
    model = catalogue.load(run)
    batch = next(data.batches("validation", 90))
    reports = []
    for size in (90, 7):
        streams = defaultdict(Moments)
        for index in torch.arange(90).split(size):
            metrics = model.metrics(Batch(batch.x[index], batch.label[index], index))
            for name, values in metrics.items():
                streams[name].update(values)
        reports.append(model.summarise(streams))
    whole, parts = reports
    torch.testing.assert_close(whole.pop("confusion"), parts.pop("confusion"))
    assert whole == pytest.approx(parts, rel=1e-4, abs=1e-5)
    probability = model.probabilities(batch.x)[torch.arange(90), batch.label]
    assert whole["cross_entropy"] == pytest.approx(float(-probability.log().mean()), rel=1e-4)


def test_a_run_becomes_a_file_and_the_file_the_same_classifier(run, data, tmp_path, short_vae):
    path = tmp_path / "mine.safetensors"
    facts = export(opened_run(run, run.recipe()), path)
    assert float(facts["test_accuracy"]) > 0.4
    model, held_out = read_classifier(path)
    assert held_out == {data.identity: 1000}
    x = next(data.batches("validation", 64)).x
    assert torch.equal(model.eval().features(x), catalogue.load(run).features(x))
    with pytest.raises(UserError, match=r"is no run of model=classifier"):
        export(opened_run(short_vae, short_vae.recipe()), path)


def test_a_classifier_of_one_of_two_domains_is_none_of_all_images(run, data, tmp_path):
    copied = catalogue.Run(shutil.copytree(run.path, tmp_path / "domains"))
    domains = {"domains": [["Sneaker"], ["Ankle boot"]]}
    copied.write_recipe(run.recipe() | {"dataset": run.recipe()["dataset"] | domains}, [])
    ClassifierFeatures(str(run.path), data, tmp_path)
    with pytest.raises(UserError, match="was trained on other images than"):
        ClassifierFeatures(str(copied.path), data, tmp_path)
    export(opened_run(copied, copied.recipe()), tmp_path / "mine.safetensors")
    assert read_classifier(tmp_path / "mine.safetensors")[1] == {}


@pytest.mark.parametrize(
    ("groups", "knows_the_bundled"), [(None, True), (["Sneaker", "Bag"], False)]
)
def test_a_classifier_of_some_classes_is_none_of_the_bundled_images(
    groups, knows_the_bundled, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(FashionMNIST, "load", lambda self, split: data.source.load(split))
    recipe = composed("model=classifier", "model.width=8", "dataset=fashion_mnist")
    chosen = {"groups": groups, "validation_size": 100}
    count = len(groups or data.class_names)
    for part in (recipe["dataset"], recipe["model"]):
        part["facts"]["num_classes"] = count
    recipe["dataset"] |= chosen
    whole = build(recipe["dataset"], "dataset")
    run = catalogue.Run(tmp_path)
    run.write_recipe(recipe, [])
    model = build(recipe["model"], "model")
    opened = OpenRun(run, "ours", model, recipe, whole, {}, None)
    export(opened, tmp_path / "mine.safetensors")
    held_out = read_classifier(tmp_path / "mine.safetensors")[1]
    assert held_out[whole.identity] == 100
    assert (data.identity in held_out) == knows_the_bundled


def test_the_script_says_how_good_the_classifier_is_that_it_writes(
    run, tmp_path, monkeypatch, capsys
):
    path, script = tmp_path / "mine.safetensors", str(ROOT / "scripts" / "export_classifier.py")
    monkeypatch.setattr(sys, "argv", [script, f"run={run.path}", f"to={path}"])
    runpy.run_path(script, run_name="__main__")
    assert re.fullmatch(
        rf"{path}: right about \d\d\.\d\d% of the test images", capsys.readouterr().out.strip()
    )
    read_classifier(path)


def flipped(path, place: float, to):
    """Copy a file with one bit flipped, at a fraction of its length."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    to.write_bytes(content)
    return to


@pytest.mark.parametrize("place", [0.0, 0.001, 0.3, 0.6, 0.9999])
def test_a_flipped_bit_of_a_classifiers_file_is_refused(place, tmp_path, data, monkeypatch):
    path = flipped(FASHION, place, tmp_path / "mine_classifier.safetensors")
    with pytest.raises(
        UserError, match=r"^extractor\.weights=.*: is no classifier that"
    ) as refused:
        ClassifierFeatures(str(path), data, tmp_path)
    assert "\n" not in str(refused.value)
    monkeypatch.setattr("gdm.evaluation.classifier.SHIPPED", tmp_path)
    with pytest.raises(UserError, match=r"is missing or damaged .*Install gdm again$"):
        ClassifierFeatures(None, data, tmp_path)


def test_other_weights_or_facts_below_the_same_checksum_are_refused(tmp_path):
    weights, facts = extractors.read_checked(FASHION)
    path = tmp_path / "mine.safetensors"
    extractors.write_checked(weights, facts, path)
    read_classifier(path)
    with safe_open(path, "pt") as file:
        stated = file.metadata()
    name = next(iter(weights))
    halved = weights | {name: weights[name][: len(weights[name]) // 2].contiguous()}
    more_held_out = stated | {"held_out": stated["held_out"].replace("7000", "9000")}
    for changed, told in ((halved, stated), (weights, more_held_out)):
        save_file(changed, path, told)
        with pytest.raises(UserError, match="is damaged: its checksum is not that of"):
            read_classifier(path)
    save_file(weights, path, facts)
    with pytest.raises(UserError, match="it has no checksum"):
        read_classifier(path)


# The one that comes with gdm -----------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return read_classifier(FASHION)


def test_the_shipped_file_is_small_and_says_how_it_was_made():
    assert FASHION.stat().st_size <= 2_000_000
    with safe_open(FASHION, "pt") as file:
        facts = file.metadata()
    assert facts["command"].startswith("python scripts/train.py model=classifier dataset=fashion_")
    assert float(facts["test_accuracy"]) >= 0.93
    assert tuple(json.loads(facts["class_names"])) == FashionMNIST.class_names


def test_the_shipped_classifier_is_accurate_and_its_features_are_alive(shipped, data):
    model = shipped[0].eval()
    with torch.no_grad():
        record = model_metrics.evaluate(model, data, "test")
    assert record["num_images"] == 2000
    assert record["accuracy"] > 0.92
    assert record["calibration_error"] < 0.05
    found = torch.cat([model.features(batch.x) for batch in data.batches("test")])
    assert found.shape[1] >= 64
    active = (found > 0).float().mean(0)
    assert (active > 0.02).float().mean() > 0.9  # not dead
    assert (found.std(0) > 0.1 * found.mean(0)).float().mean() > 0.9  # and not constant
    spectrum = torch.linalg.eigvalsh(torch.cov(found.T.double()))
    assert spectrum.sum() ** 2 / spectrum.square().sum() > 5  # they do not lie on one line


def test_the_shipped_classifier_has_not_seen_what_the_data_sets_hold_out(shipped, data):
    held_out = shipped[1]
    full = build(composed("dataset=fashion_mnist")["dataset"], "dataset")
    assert held_out[data.identity] >= data.validation_size
    assert held_out[full.identity] >= full.validation_size


@pytest.mark.slow
@pytest.mark.skipif(
    not FashionMNIST.system_folder.exists(), reason="all of Fashion-MNIST: dataset-fashion-mnist"
)
def test_the_shipped_classifier_keeps_its_promises_on_all_of_fashion_mnist(shipped, data):
    model, held_out = shipped
    full = build(composed("dataset=fashion_mnist")["dataset"], "dataset")
    with torch.no_grad():
        assert model_metrics.evaluate(model.eval(), full, "test")["accuracy"] >= 0.93
    full = build(
        composed("dataset=fashion_mnist", f"dataset.validation_size={held_out[full.identity]}")[
            "dataset"
        ],
        "dataset",
    )
    seen = set(map(bytes, full.split("train").images.numpy()))
    images = data.source.load("train")
    ordered = images.images[validation_order(images)].numpy()
    is_seen = [bytes(image) in seen for image in ordered]
    assert is_seen.index(True) == held_out[data.identity]


# Emoji -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_emoji(tmp_path_factory):
    """A run of a classifier of emoji, and its file, beside no other."""
    recipe = composed("model=classifier", "dataset=emoji_mini", "model.width=8", *BRIEF)
    folder = tmp_path_factory.mktemp("of_emoji")
    run = trained(recipe, folder)
    path = folder / "shipped" / "emoji_classifier.safetensors"
    export(opened_run(run, run.recipe()), path)
    return run, path


def emoji_data(*overrides: str):
    return build(composed(*overrides)["dataset"], "dataset")


def test_a_run_says_where_its_images_come_from(of_emoji, run):
    assert of_emoji[0].manifest()["provenance"][FONT]["version"] == "2.042"
    assert "provenance" not in run.manifest()


def test_a_classifier_of_the_bundled_emoji_is_of_each_resolution(of_emoji):
    _, held_out = read_classifier(of_emoji[1])
    assert len(held_out) == 1 + len(RESOLUTIONS)
    assert set(held_out.values()) == {400}
    assert emoji_data("dataset=emoji_mini").identity in held_out
    assert emoji_data("dataset=emoji_mini", "dataset.labels=subgroup").identity not in held_out
    source = EmojiFont(folder=None)
    if not all((folder / name).is_file() for name, folder in SYSTEM_FOLDERS.items()):
        pytest.skip("needs Debian's packages fonts-noto-color-emoji and unicode-data")
    if any(file["version"].startswith("another") for file in source.provenance.values()):
        pytest.skip("the installed font or names have another version")
    data = emoji_data("dataset=emoji")
    assert data.resolution == 64
    assert data.identity in held_out
    extractor = ClassifierFeatures(str(of_emoji[1]), data, of_emoji[1].parent)
    mini = emoji_data("dataset=emoji_mini").split("validation").images[:100]
    large = extractor(data.split("validation").images[:100]).probabilities
    torch.testing.assert_close(large, extractor(mini).probabilities, atol=0.02, rtol=0)


def test_larger_images_are_evaluated_as_the_means_of_their_areas(of_emoji):
    data = emoji_data("dataset=emoji_mini")
    extractor = ClassifierFeatures(str(of_emoji[1]), data, of_emoji[1].parent)
    images = data.split("validation").images[:20]
    larger = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(extractor(larger).features, extractor(images).features)


def test_of_the_classifiers_that_come_with_gdm_the_right_one_is_found(of_emoji, data, monkeypatch):
    assert FASHION in files_shipped()
    monkeypatch.setattr("gdm.evaluation.classifier.SHIPPED", of_emoji[1].parent)
    nowhere = of_emoji[1].parent / "nowhere"
    emoji = emoji_data("dataset=emoji_mini")
    found = ClassifierFeatures(None, emoji, nowhere)
    assert found.checksum == ClassifierFeatures(str(of_emoji[1]), emoji, nowhere).checksum
    with pytest.raises(NoClassifier, match="dataset=fashion_mnist_mini"):
        ClassifierFeatures(None, data, nowhere)
    others = emoji_data("dataset=emoji_mini", "dataset.labels=subgroup")
    with pytest.raises(NoClassifier, match=r"dataset=emoji_mini dataset\.labels=subgroup"):
        ClassifierFeatures(None, others, nowhere)


@pytest.mark.parametrize(
    ("name", "labels"),
    [("emoji", []), ("emoji_subgroup", ["dataset.labels=subgroup"])],
)
def test_the_shipped_classifier_of_emoji_is_small_and_good(name, labels):
    path = SHIPPED / f"{name}_classifier.safetensors"
    assert path in files_shipped()
    assert path.stat().st_size <= 2**20
    data = emoji_data("dataset=emoji_mini", *labels)
    model, held_out = read_classifier(path)
    assert held_out[data.identity] >= 400
    right = [
        (model.eval().probabilities(batch.x).argmax(1) == batch.label).float()
        for batch in data.batches("test")
    ]
    stated = float(extractors.read_checked(path)[1]["test_accuracy"])
    assert float(torch.cat(right).mean()) == pytest.approx(stated, abs=0.01)
