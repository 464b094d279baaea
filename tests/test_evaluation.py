"""The protocol: one number however samples come, real images as the floor, and no surprises."""

import json
import math
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import (
    FEW_COMPONENTS,
    ROOT,
    SHORT,
    UNDRAWN,
    UNSEEN,
    composed,
    resumed,
    small,
    trained,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import avg_pool2d

from gdm.cli import console
from gdm.cli.compose import compose_config
from gdm.errors import UserError
from gdm.evaluation import distances, features, metrics, model_metrics, protocol, samples
from gdm.evaluation.classifier import SHIPPED, ClassifierFeatures, NoClassifier, _command
from gdm.evaluation.extractors import Extractor, Features
from gdm.recipes.build import build
from gdm.recipes.options import options_from
from gdm.runs import catalogue
from gdm.theory.images import to_float
from gdm.tools.evaluate import (
    EvaluateOptions,
    evaluation_of_run,
    evaluation_path,
    refuse_contradictions,
    refuse_impossible_bound,
)
from gdm.tools.open_run import OpenRun, refuse_other_data
from gdm.training.quality import Quality
from gdm.training.saving import Checkpoints
from gdm.training.training import Training

FASHION = SHIPPED / "fashion_mnist_classifier.safetensors"
QUICK = ("pairwise=false", "neighbours=20", "reconstructions=40", "num_samples=60")


class Blocks(Extractor):
    """The mean grey of blocks of 4 x 4 pixels."""

    name, checksum, dimension = "blocks", "0" * 16, 49

    def __call__(self, images):
        return Features(avg_pool2d(to_float(images), 4).flatten(1), None)

    def to(self, device):
        return self


def data_of(*overrides: str):
    return build(composed(*overrides)["dataset"], "dataset")


@pytest.fixture(scope="module")
def data():
    return data_of()


@pytest.fixture(scope="module")
def classifier(data):
    return ClassifierFeatures(None, data, Path("nowhere"))


@pytest.fixture(scope="module")
def evaluator(data, classifier):
    return protocol.Evaluator(data, classifier, num_neighbours=100)


def evaluated(evaluator, images, batch_size=100):
    return evaluator.samples(iter(images.split(batch_size)), len(images)).record


# What the metrics mean ---------------------------------------------------------------------------


def test_real_images_score_as_real_noise_terribly_and_one_repeated_image_has_no_recall(
    evaluator, data
):
    held_out = data.split("validation").images
    real = evaluated(evaluator, held_out)
    for name in ("frechet_distance", "precision", "recall", "confident"):
        assert real[name] == pytest.approx(real["real"][name])
    assert real["memorised"] < 0.05
    assert real["confident"] > 0.7
    assert max(real["class_histogram"]) < 0.15

    random = torch.Generator().manual_seed(0)
    noise = torch.randint(256, held_out.shape, dtype=torch.uint8, generator=random)
    of_noise = evaluated(evaluator, noise)
    assert of_noise["frechet_distance"] > 30 * real["frechet_distance"]
    assert of_noise["kernel_distance"] > 10 * of_noise["kernel_distance_error"]
    assert of_noise["recall"] < 0.05
    assert of_noise["coverage"] < 0.05

    repeated = evaluated(evaluator, held_out[:1].expand(500, -1, -1, -1))
    assert repeated["recall"] == 0
    assert repeated["inception_score"] == pytest.approx(1)
    assert sorted(repeated["class_histogram"])[-1] == 1


def test_training_images_are_found_to_be_memorised(evaluator, data):
    record = evaluated(evaluator, data.split("train").images[:100])
    assert record["memorised"] == 1
    assert record["real"]["memorised"] < 0.05


def test_order_and_batches_of_the_samples_change_no_metric(evaluator, data):
    images = data.split("validation").images
    first = evaluated(evaluator, images)
    shuffled = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    without_neighbours = protocol.Evaluator(data, evaluator.extractor, num_neighbours=0)
    again = evaluated(without_neighbours, shuffled, batch_size=33)
    for name, value in metrics.numbers(again).items():
        assert value == pytest.approx(first[name], rel=1e-6, abs=1e-9)
    assert evaluated(evaluator, images) == first


def test_what_is_streamed_keeps_no_features_and_gives_the_same(evaluator, data):
    images = data.split("validation").images
    streamed = protocol.Evaluator(data, evaluator.extractor, pairwise=False, num_neighbours=0)
    whole, part = evaluated(evaluator, images), evaluated(streamed, images)
    assert part["frechet_distance"] == pytest.approx(whole["frechet_distance"], rel=1e-9)
    assert "kernel_distance" not in part
    found = features.features_of(iter(images.split(100)), evaluator.extractor, pairwise=False)
    assert all(tensor.numel() <= evaluator.extractor.dimension**2 for tensor in tensors_in(found))


def tensors_in(value, seen=None):
    if isinstance(value, torch.Tensor):
        yield value
    elif hasattr(value, "__dict__"):
        for each in vars(value).values():
            yield from tensors_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from tensors_in(each)


def test_the_floor_has_as_many_images_as_there_are_samples_or_as_are_held_out(evaluator, data):
    images = data.split("test").images
    assert evaluated(evaluator, images[:300])["real"]["n"] == 300
    assert evaluated(evaluator, images)["real"]["n"] == len(data.split("validation")) == 1000


def test_too_few_samples_are_refused_and_few_are_warned_of(evaluator, data, caplog):
    images = data.split("validation").images
    with pytest.raises(UserError, match="3 samples are too few to compare; take 7"):
        evaluator.refuse_too_few(3)
    scarce = protocol.Evaluator(data_of("dataset.validation_size=5"), evaluator.extractor)
    with pytest.raises(UserError, match=r"dataset\.validation_size=5: too few real images"):
        scarce.refuse_too_few(1000)
    with pytest.raises(UserError, match="samples cannot be evaluated by 5 images"):
        Training(composed(*SHORT, "dataset.validation_size=5"))
    evaluator.refuse_too_few(1001)
    assert "only 1,000 real images are held out to stand beside 1,001 samples" in caplog.text
    evaluator.refuse_too_few(20)
    assert 0 <= evaluated(evaluator, images[:7])["recall"] <= 1
    assert "20 samples are no more than" in caplog.text


def test_equal_images_have_the_psnr_of_rounding_and_noise_that_of_its_strength():
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = 0.1 * torch.ones_like(x)
    assert model_metrics.peak_signal_to_noise_ratio(x, x).min() > 50
    expected = 10 * math.log10(4 / 0.01)
    found = model_metrics.peak_signal_to_noise_ratio(x + noise, x)
    assert found.tolist() == pytest.approx([expected] * 4, rel=1e-4)


# Kept features -----------------------------------------------------------------------------------


def test_features_of_a_split_are_computed_once(data, tmp_path, monkeypatch):
    monkeypatch.setenv("GDM_DATA", str(tmp_path))
    extractor, calls = Blocks(), []
    monkeypatch.setattr(
        Blocks, "__call__", lambda self, x, find=Blocks.__call__: calls.append(1) or find(self, x)
    )
    first = features.features_of_split(extractor, data, "test")
    assert len(calls) > 0
    number = len(calls)
    again = features.features_of_split(extractor, data, "test")
    assert len(calls) == number
    assert torch.equal(first.features, again.features)

    other = data_of("dataset.validation_size=900")
    features.features_of_split(extractor, other, "test")
    assert len(calls) == 2 * number

    for path in (tmp_path / "features").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    repaired = features.features_of_split(extractor, data, "test")
    assert torch.equal(first.features, repaired.features)


def test_kept_features_that_are_damaged_are_computed_again(data, tmp_path, monkeypatch):
    monkeypatch.setenv("GDM_DATA", str(tmp_path))
    whole = features.features_of_split(Blocks(), data, "validation").features
    (path,) = (tmp_path / "features").iterdir()
    kept = load_file(path)
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    nan = kept["features"].clone()
    nan[3, 5] = torch.nan
    for damaged in (kept["features"][:500].contiguous(), nan):
        for told in (facts, None):
            save_file({"features": damaged}, path, told)
            again = features.features_of_split(Blocks(), data, "validation").features
            assert torch.equal(again, whole)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.equal(features.features_of_split(Blocks(), data, "validation").features, whole)
    assert torch.equal(load_file(path)["features"], kept["features"])  # and kept as they were


def test_a_cache_that_cannot_be_written_only_costs_time(data, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GDM_DATA", str(tmp_path / "file"))
    found = features.features_of_split(Blocks(), data, "validation")
    assert len(found) == 1000
    assert "computed again" in caplog.text


# Which classifier --------------------------------------------------------------------------------


def test_the_classifier_that_comes_with_gdm_has_seen_no_held_out_image(data):
    assert ClassifierFeatures(None, data, Path("nowhere")).class_names == data.class_names
    more = data_of("dataset.validation_size=5000")
    with pytest.raises(NoClassifier, match=r"with dataset\.validation_size=5000, to evaluate"):
        ClassifierFeatures(None, more, Path("nowhere"))
    with pytest.raises(UserError, match=r"was trained on some of the images that dataset\.valid"):
        ClassifierFeatures(str(FASHION), more, Path("nowhere"))


def test_where_a_tenth_is_held_out_the_classifier_is_found_too(data):
    tenth = data_of("dataset.validation_size=null")  # of 10,000
    assert ClassifierFeatures(None, tenth, Path("nowhere")).class_names == data.class_names


def test_for_other_images_the_command_is_named_and_what_it_trains_is_found(tmp_path, caplog):
    other = data_of("dataset.binarize=true")
    with pytest.raises(
        UserError,
        match=r"train one: python scripts/train\.py model=classifier dataset=fashion_mnist_mini "
        r"dataset\.binarize=true",
    ):
        ClassifierFeatures(None, other, tmp_path)
    recipe = composed("model=classifier", *SHORT, "dataset.binarize=true")
    run = trained(recipe, tmp_path)
    found = ClassifierFeatures(None, other, tmp_path)
    assert found.checksum == ClassifierFeatures(str(run.path), other, Path("nowhere")).checksum
    with pytest.raises(UserError, match="was trained on other images than dataset=fashion_mnist_"):
        ClassifierFeatures(str(run.path), data_of(), tmp_path)
    assert (run.samples / "confusion-final.png").exists()
    assert not (run.samples / "final.png").exists()
    assert "accuracy" in run.records()[-1]

    vae = trained(composed(*SHORT, "dataset.binarize=true", "budget.images=50"), tmp_path)
    assert vae.records()[-1]["extractor_checksum"] == found.checksum


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("nothing.safetensors", "there is no such file, and no run 'nothing.safetensors' in"),
        ("README.md", "is no classifier that python scripts/export_classifier.py wrote"),
    ],
)
def test_what_is_no_classifier_is_refused(weights, message, data, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=rf"extractor\.weights={weights}: {message}"):
        ClassifierFeatures(weights, data, Path("nowhere"))


def test_the_command_that_writes_a_classifier_is_named_as_it_is_typed(data, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gdm evaluate"])
    with pytest.raises(UserError, match="is no classifier that gdm export-classifier wrote"):
        ClassifierFeatures(str(ROOT / "README.md"), data, Path("nowhere"))


def test_a_run_of_another_model_is_no_classifier(short_vae, data):
    with pytest.raises(UserError, match=r"is no run of model=classifier"):
        ClassifierFeatures(str(short_vae.path), data, Path("nowhere"))


# During training ---------------------------------------------------------------------------------


def test_validations_evaluate_samples_and_the_best_checkpoint_is_the_one_they_liked_best(
    short_vae, caplog
):
    validations = [record for record in short_vae.records() if record["split"] == "validation"]
    assert all(record["n"] == 200 for record in validations)
    assert {"extractor", "extractor_checksum", "weights", "seed"} <= validations[0].keys()
    best = min(validations[1:], key=lambda record: record["frechet_distance"])
    model = catalogue.load(short_vae, "best")
    assert model.images_seen == best["images"]

    data = build(short_vae.recipe()["dataset"], "dataset")
    quality = Quality(200, pairwise=False)
    quality.extractor = ClassifierFeatures(None, data, Path("nowhere"))
    with model.evaluating(averaged=False):
        assert quality.measure(model, data)["frechet_distance"] == pytest.approx(
            best["frechet_distance"], rel=1e-4
        )


def test_only_a_lower_metric_of_the_same_kind_replaces_the_best_checkpoint(tmp_path, monkeypatch):
    recipe = composed(*SHORT, *UNSEEN)
    run = trained(recipe, tmp_path)
    saving, model = Checkpoints(1, 60.0), catalogue.load(run)
    record = {"frechet_distance": 5.0, "n": 200, "num_reference": 60, "extractor_checksum": "a"}

    class Trainer:
        default_root_dir = run.path

        def save_checkpoint(self, path, weights_only):
            path.write_text("full" if full else str(record["frechet_distance"]))
            if full:
                path.unlink()
                raise OSError("the disk is full")

    def keeps(**changes) -> bool:
        record.update(changes)
        return saving.keep_if_best(Trainer(), model, record)

    full = True
    assert not keeps()
    full = False
    assert keeps(frechet_distance=7.0)  # a save that failed left nothing to beat
    assert not keeps(frechet_distance=7.0)
    assert not keeps(frechet_distance=9.0)
    assert keeps(frechet_distance=6.0)
    assert (run.checkpoints / "best.ckpt").read_text() == "6.0"
    assert keeps(frechet_distance=8.0, extractor_checksum="b")  # another measure
    assert not keeps(frechet_distance=8.5)
    with monkeypatch.context() as patched:  # which way is better is the table's to say
        patched.setitem(metrics.METRICS, "frechet_distance", metrics.Metric(better="higher"))
        assert not keeps(frechet_distance=7.5)
        assert keeps(frechet_distance=8.5)

    run.forget_after(model.images_seen)
    assert (run.checkpoints / "best.ckpt").exists()
    run.forget_after(model.images_seen - 1)
    assert not (run.checkpoints / "best.ckpt").exists()
    assert keeps(frechet_distance=8.5)


def test_an_autoencoder_is_evaluated_with_a_density_of_the_codes_that_it_has_now(tmp_path, data):
    run = trained(composed("model=autoencoder", *SHORT, *FEW_COMPONENTS, *UNSEEN), tmp_path)
    stale, fresh = catalogue.load(run), catalogue.load(run)
    with torch.no_grad():
        for tensor in stale.density.buffers():
            tensor.add_(1)
    evaluator = protocol.Evaluator(data, Blocks(), pairwise=False, num_neighbours=0)
    options = composed_options("num_samples=50", "reconstructions=0")
    found = [
        evaluation_of_run(opened(model, data), evaluator, options).record
        for model in (stale, fresh)
    ]
    assert found[0]["frechet_distance"] == pytest.approx(found[1]["frechet_distance"], rel=1e-6)


def test_the_test_images_are_not_read_in_training(tmp_path, monkeypatch):
    from gdm.data.mnist import FashionMNISTMini

    load = FashionMNISTMini.load
    asked = []
    monkeypatch.setattr(
        FashionMNISTMini, "load", lambda self, split: asked.append(split) or load(self, split)
    )
    trained(composed(*SHORT), tmp_path)
    assert set(asked) == {"train"}


def test_evaluation_of_samples_can_be_switched_off(tmp_path):
    for off in ("callbacks.validation.quality=null", "~extractor"):
        run = trained(composed(*SHORT, UNDRAWN, off) | {"extractor": None}, tmp_path / off)
        assert "frechet_distance" not in run.records()[-1]
        assert not (run.checkpoints / "best.ckpt").exists()
        with pytest.raises(UserError, match="has no checkpoint 'best'"):
            catalogue.load(run, "best")


def test_a_resumed_run_finds_the_same_best(short_vae, tmp_path):
    training = Training(short_vae.recipe() | {"outputs": str(tmp_path)})
    run = catalogue.create(training.recipe)
    half = training.recipe | {"budget": training.recipe["budget"] | {"images": 300}}
    half["model"] = half["model"] | {"learning_rate": constant(half)}
    whole = training.recipe | {"model": half["model"]}
    run.write_recipe(half, [])
    Training(half).run(run)
    resumed(run, whole)
    uninterrupted = trained(whole, tmp_path / "whole")
    best = catalogue.load(run, "best")
    assert best.images_seen == catalogue.load(uninterrupted, "best").images_seen


def constant(recipe) -> dict:
    return composed(*SHORT, "learning_rate=constant")["model"]["learning_rate"]


# The script --------------------------------------------------------------------------------------


def test_a_run_and_a_file_of_its_samples_get_the_same_metrics(run_script, short_vae, tmp_path):
    path, run = tmp_path / "record.json", catalogue.Run(tmp_path / "run")
    shutil.copytree(short_vae.path, run.path)
    words = [f"run={run.path}", *QUICK, "importance_samples=2", f"to={path}"]
    done = run_script("evaluate", *words)
    assert done.returncode == 0, done.stderr
    assert "about" in done.stderr
    assert "frechet_distance" in done.stdout
    record = json.loads(path.read_text())
    assert record == {key: value for key, value in run.records()[-1].items()
                      if key != "images"}  # fmt: skip
    facts = {"n": 60, "seed": 0, "checkpoint": "last", "weights": "average", "split": "test"}
    assert facts.items() <= record.items()
    assert {"extractor_checksum", "elbo", "psnr", "ssim", "samples_per_second"} <= record.keys()
    assert record["importance_weighted_bound"] < 0
    assert (tmp_path / "record-neighbours.png").exists()

    data = build(short_vae.recipe()["dataset"], "dataset")
    model = catalogue.load(short_vae)
    file = tmp_path / "samples.npz"
    samples.write(samples.draw(model, 60, None, 0, 250), 60, "npz", file)
    evaluator = protocol.Evaluator(
        data, ClassifierFeatures(None, data, Path("nowhere")), pairwise=False, num_neighbours=20
    )
    again = protocol.evaluation_of_file(file, evaluator).record
    for name, value in metrics.numbers(again).items():
        assert value == pytest.approx(record[name], rel=1e-6)


def test_a_run_is_evaluated_by_its_own_data_alone(short_vae, monkeypatch):
    with pytest.raises(UserError, match=r"was trained on other data than dataset\.\* gives now"):
        refuse_other_data(short_vae, data_of("dataset.binarize=true"))
    monkeypatch.setattr(sys, "argv", ["gdm evaluate"])  # what the user can type
    with pytest.raises(UserError, match=r"as a file: gdm sample run=\S+ format=npz$"):
        refuse_other_data(short_vae, data_of("dataset.binarize=true"))
    refuse_other_data(short_vae, data_of())


def test_different_evaluations_have_different_files(short_vae, data, classifier, tmp_path):
    def path(run=short_vae, extractor=classifier, **changes):
        options = replace(composed_options(), samples=str(tmp_path / "theirs.npz"), **changes)
        facts = {"checkpoint": options.checkpoint}
        found = run and OpenRun(run, "vae", None, run.recipe(), data, facts)
        return evaluation_path(options, data, extractor, found)

    others = [
        path(extractor=Blocks()), path(pairwise=False), path(importance_samples=5), path(seed=1),
        path(averaged=False), path(checkpoint="best"), path(num_samples=10), path(run=None),
        path(run=None, extractor=Blocks()), path(extractor=None),
    ]  # fmt: skip
    assert len({path(), *others}) == len(others) + 1
    assert path() == path()


def test_a_run_that_lost_its_files_is_passed_over_when_a_classifier_is_looked_for(
    tmp_path, caplog
):
    caplog.set_level("INFO")
    binarized = data_of("dataset.binarize=true")
    recipe = composed(
        "model=classifier", *SHORT, "dataset.binarize=true", "budget.images=100", UNDRAWN
    )
    whole, broken = trained(recipe, tmp_path), trained(recipe, tmp_path)
    shutil.rmtree(broken.checkpoints)
    found = ClassifierFeatures(None, binarized, tmp_path)
    assert found.checksum == ClassifierFeatures(str(whole.path), binarized, tmp_path).checksum
    assert f"passing over the classifier of {broken}" in caplog.text
    ending = whole.path.name
    assert found.checksum == ClassifierFeatures(ending, binarized, tmp_path).checksum


def test_the_command_for_digits_does_not_mirror_them(tmp_path):
    digits = data_of("dataset=mnist")
    command = _command(digits, tmp_path, ["mine"])
    assert "model.flip=false" in command
    assert f"outputs={tmp_path}" in command
    assert "plugins=[mine]" in command
    assert "flip" not in _command(data_of(), Path("outputs"), [])


MISTAKES = [
    (("samples=a.npz", "dataset=fashion_mnist_mini", "seed=1"), "seed=1: is for run=; the sampl"),
    ((), "run= is missing: name a run's directory, an ending of it, or last, or samples=FILE.npz"),
    (("samples=a.npz",), "samples=a.npz: say which images it is to be compared with"),
    (("samples=a.npz", "dataset=fashion_mnist_mini"), "samples=a.npz: there is no such file"),
    (("run=nowhere", "outputs=nowhere"), "no run 'nowhere'"),
    (("run=nowhere", "extractor=clasifier"), "extractor=clasifier: extractor has no such option"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_clear_line(arguments, message, run_script):
    done = run_script("evaluate", *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in done.stderr


def test_what_an_option_cannot_be_is_said_before_anything_is_computed(short_vae, data):
    options = composed_options("importance_samples=4")
    evaluator = protocol.Evaluator(data, Blocks())
    model = catalogue.load(short_vae)
    model.summarise = lambda moments: {"reconstruction": 1.0}
    with pytest.raises(UserError, match="importance_samples=4: this model has no likelihood"):
        evaluation_of_run(opened(model, data), evaluator, options)
    with pytest.raises(UserError, match="name one of them"):
        refuse_contradictions(composed_options("samples=a.npz"), short_vae)


def test_a_bound_without_codes_to_weigh_is_refused_before_anything_is_evaluated(data):
    torch.manual_seed(0)
    ddpm = build(composed("model=ddpm", *small("ddpm"))["model"], "model")
    assert ddpm.likelihood_kind == "bound"
    evaluator = protocol.Evaluator(data, Blocks())
    options = composed_options("importance_samples=4", "num_samples=10000")
    started = time.monotonic()
    with pytest.raises(UserError, match="importance_samples=4: a DDPM has no importance-weighted"):
        evaluation_of_run(opened(ddpm, data), evaluator, options)
    assert time.monotonic() - started < 5
    refuse_impossible_bound(ddpm, data, None)


def test_what_a_model_tells_of_likelihoods_is_declared(data):
    kinds = {"vae": "bound", "ddpm": "bound", "edm": None, "autoencoder": None, "dcgan": None}
    for name, kind in kinds.items():
        model = build(composed(f"model={name}", *small(name), *binary(name))["model"], "model")
        assert model.likelihood_kind == kind
        with model.evaluating():
            record = model_metrics.evaluate(model, data, "test", limit=2)
        assert ("bits_per_dim" in record) == (kind is not None)


def binary(name: str) -> tuple[str, ...]:
    return ("likelihood=gaussian",) if name == "vae" else ()


def test_metrics_are_printed_with_units_direction_and_real_images_integers_too(
    capsys, data, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "120")
    record = {
        "split": "test", "num_images": 2000, "num_reference": 2000, "n": 1000, "seed": 3,
        "extractor": "classifier", "extractor_checksum": "c" * 16,
        "classifier": {"accuracy": 0.354, "split": "test", "dataset": "clothes"},
        "frechet_distance": 12.5, "confident": 0.8, "class_histogram": [0.1] * 10,
        "network_evaluations": 1250, "psnr": 21.0, "num_reconstructions": 40, "mine": 0.25,
        "real": {"n": 1000, "frechet_distance": 2.5, "confident": 0.9,
                 "class_histogram": [0.1] * 10},
    }  # fmt: skip
    console.report_evaluation(record, data.class_names)
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1]
            for line in capsys.readouterr().out.splitlines() if line.startswith("│")}  # fmt: skip
    rows = {name: [cell.strip() for cell in cells] for name, cells in rows.items()}
    assert rows["network_evaluations"] == ["1,250", "", "per sample", "lower"]
    assert rows["frechet_distance"] == ["12.500", "2.500", "", "lower"]
    assert rows["confident"] == ["0.8000", "0.9000", "fraction of samples", "as real"]
    assert rows["psnr"] == ["21.00", "", "dB, 40 images", "higher"]
    assert rows["mine"] == ["0.2500", "", "", ""]  # a metric of the user's own
    assert rows["fraction of Bag"] == ["0.100", "0.100", "", "as real"]
    assert "seed" not in rows


def test_the_last_table_of_a_run_has_real_images_beside_what_is_confident(short_vae, capsys):
    record = short_vae.records()[-1]
    assert record["real"]["n"] == record["num_reference"]
    console.report(short_vae, record)
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if line.startswith("│ confident")]
    assert f"{record['real']['confident']:.4f}" in line
    assert record["real"]["confident"] > 0.7
    (line,) = [line for line in shown.splitlines() if line.startswith("│ elbo")]
    assert "nats" in line
    assert "higher" in line


def test_a_value_is_printed_and_compared_as_the_table_says():
    assert metrics.shown("network_evaluations", 1250) == "1,250"
    assert metrics.shown("elbo", -1234.5678) == "-1,234.57"
    assert metrics.shown("mine", 0.5) == "0.5000"
    assert metrics.at_least_as_good("frechet_distance", 2.0, 3.0)
    assert metrics.at_least_as_good("accuracy", 0.9, 0.8)
    for name in ("frechet_distance", "accuracy"):
        assert metrics.at_least_as_good(name, 1.0, 1.0)
        assert metrics.at_least_as_good(name, 1.0, 2.0) != metrics.at_least_as_good(name, 2.0, 1.0)
    for name in ("confident", "kl", "mine"):
        with pytest.raises(ValueError, match=f"no value of {name} is better than another"):
            metrics.at_least_as_good(name, 1.0, 2.0)


def test_every_metric_of_a_record_has_its_place_in_the_table(evaluator, data, short_vae):
    record = evaluated(evaluator, data.split("validation").images[:60])
    for each in (record, *short_vae.records()):
        assert metrics.numbers(each).keys() <= metrics.METRICS.keys()


def test_a_useless_classifier_is_warned_of_and_stands_in_the_record(
    data, evaluator, caplog, capsys
):
    record = evaluated(evaluator, data.split("test").images[:60])
    assert record["classifier"]["accuracy"] > 0.9
    assert "rightly" not in caplog.text
    useless = ClassifierFeatures(None, data, Path("nowhere"))
    with torch.no_grad():
        useless.model.network.head.weight.mul_(-1)
    useless.checksum = "u" * 16
    record = evaluated(
        protocol.Evaluator(data, useless, num_neighbours=0), data.split("test").images[:9]
    )
    assert record["classifier"]["accuracy"] < 0.1
    assert record["classifier"]["dataset"] == "fashion_mnist_mini"
    assert "of the test images of fashion_mnist_mini rightly" in caplog.text
    console.report_evaluation(record, data.class_names)
    assert "a classifier of fashion_mnist_mini, right on" in capsys.readouterr().out


def composed_options(*overrides: str) -> EvaluateOptions:
    composed = compose_config(ROOT / "configs", "evaluate", list(overrides))
    return options_from(EvaluateOptions, composed)


def opened(model, data) -> OpenRun:
    facts = {"checkpoint": "last", "weights": "average"}
    return OpenRun(catalogue.Run("nowhere"), "a run", model, {}, data, facts)


def test_distances_are_those_of_the_rooms_functions(evaluator, data):
    images = data.split("validation").images[:200]
    record = evaluated(evaluator, images)
    reference = features.features_of_split(evaluator.extractor, data, "test")
    found = evaluator.extractor(images).features
    kernel, error = distances.kernel_distance(found, reference.features)
    assert record["kernel_distance"] == pytest.approx(kernel)
    assert record["kernel_distance_error"] == pytest.approx(error)
    assert np.isfinite(error)
    assert FASHION.stat().st_size <= 2 * 2**20
