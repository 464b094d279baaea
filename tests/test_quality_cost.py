"""Quality against cost: a point is what evaluation finds, and each has its own price."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, SHORT, UNDRAWN, composed, script_called, trained
from PIL import Image

from gdm.cli.compose import compose_config, nodes_of_group
from gdm.errors import UserError
from gdm.evaluation import features, protocol
from gdm.evaluation.classifier import ClassifierFeatures
from gdm.recipes.build import build
from gdm.recipes.options import options_from
from gdm.tools import open_run, quality_cost, quality_cost_points
from gdm.tools.evaluate import EvaluateOptions, evaluation_of_run

ASKED = ("samplers=[heun,ddim]", "steps=[4,2]", "num_samples=60")
NODES = nodes_of_group(ROOT / "configs", "sampler")


@pytest.fixture(scope="module")
def data():
    return build(composed()["dataset"], "dataset")


@pytest.fixture(scope="module")
def evaluator(data):
    extractor = ClassifierFeatures(None, data, Path("nowhere"))
    return protocol.Evaluator(data, extractor, pairwise=False, num_neighbours=0)


def options_of(*overrides: str) -> quality_cost.QualityCostOptions:
    composed = compose_config(ROOT / "configs", "quality_cost", [*ASKED, *overrides])
    return options_from(quality_cost.QualityCostOptions, composed)


@pytest.fixture(scope="module")
def written(short_ddpm, short_vae, tmp_path_factory):
    """What the script says and writes: its lines, its log, and the record's file."""
    path = tmp_path_factory.mktemp("curve") / "curve.png"
    words = [f"run={short_ddpm.path}", *ASKED, f"to={path}", f"compare=[{short_vae.path}]"]
    shown, log = io.StringIO(), io.StringIO()
    with redirect_stdout(shown), redirect_stderr(log):
        status = script_called("quality_cost", *words)
    assert status == 0, log.getvalue()
    return shown.getvalue(), log.getvalue(), path


def test_every_sampler_has_a_point_a_number_of_steps_at_its_own_cost(written, short_vae):
    record = json.loads(written[2].with_suffix(".json").read_text())
    vae, *points = record["points"]
    assert [
        (point["sampler"], point["steps"], point["network_evaluations"]) for point in points
    ] == [("heun", 2, 6), ("heun", 4, 14), ("ddim", 2, 4), ("ddim", 4, 8)]
    assert (vae["network_evaluations"], vae["run"]) == (1, str(short_vae.path))
    facts = {"n": 60, "seed": 0, "split": "test", "num_reference": 2000, "data": record["data"]}
    assert facts.items() <= record.items()
    assert record["real"]["n"] == 60
    for point in record["points"]:
        assert point["frechet_distance"] > record["real"]["frechet_distance"] > 0
        assert point["seconds_per_sample"] > 0
        assert (point["checkpoint"], point["weights"]) == ("last", "average")
    assert points[-1]["sampler_arguments"] == {"clip": True, "eta": 0.0}


def test_a_point_is_what_evaluation_finds_with_that_sampler(written, short_ddpm, evaluator):
    record = json.loads(written[2].with_suffix(".json").read_text())
    opened = open_run.opened_run(short_ddpm, short_ddpm.recipe())
    opened.model.sampler = build(NODES["ddim"] | {"num_steps": 4}, "sampler")
    asked = compose_config(ROOT / "configs", "evaluate", ["num_samples=60", "reconstructions=0"])
    options = options_from(EvaluateOptions, asked)
    again = evaluation_of_run(opened, evaluator, options).record
    (point,) = [
        each for each in record["points"][1:] if (each["sampler"], each["steps"]) == ("ddim", 4)
    ]
    assert point["frechet_distance"] == pytest.approx(again["frechet_distance"], rel=1e-6)
    assert point["network_evaluations"] == again["network_evaluations"]
    assert record["real"]["frechet_distance"] == again["real"]["frechet_distance"]
    assert record["extractor_checksum"] == again["extractor_checksum"]


def test_the_script_says_what_is_ahead_what_is_done_and_what_it_found(written):
    shown, log, path = written
    assert log.index("about ") < log.index("1 of 5: ") < log.index("5 of 5: ddpm, ddim in 4 steps")
    table = path.with_suffix(".md").read_text()
    assert table.startswith(f"| {' | '.join(quality_cost.COLUMNS)} |")
    assert "| ddpm | heun | 4 | 14 | " in table
    assert "| 60 real images | " in table
    assert "60 samples, 2,000 test images of fashion_mnist_mini, classifier" in table
    assert all(word in shown for word in ("Frechet", "heun", "60 real"))
    assert shown.split()[-3:] == [str(path.with_suffix(end)) for end in (".png", ".md", ".json")]
    with Image.open(path) as picture:
        assert picture.size == (1600, 1100)


def test_guidance_has_its_price_and_runs_of_one_name_are_told_apart(short_ddpm, data):
    settings = quality_cost.sampler_settings(options_of(), NODES)
    recipe = short_ddpm.recipe()
    recipe["model"] |= {"guidance": 2.0, "condition": "label"}
    model = build(recipe["model"], "model")
    model.sampler = settings[0].sampler
    assert model.network_evaluations == 2 * 3
    options = options_of(f"compare=[{short_ddpm.path},{short_ddpm.path}]")
    opened = open_run.opened_run(short_ddpm, short_ddpm.recipe())
    others = open_run.compared_runs(options, opened)
    assert [each.name for each in (opened, *others)] == ["ddpm", "ddpm 2", "ddpm 3"]


def test_different_curves_have_different_files(short_ddpm, data, evaluator, tmp_path):
    def path(*overrides):
        return quality_cost.curve_path(options_of(*overrides), opened, evaluator.extractor)

    opened = open_run.OpenRun(short_ddpm, "ddpm", None, short_ddpm.recipe(), data)

    asked = ("seed=1", "steps=[3]", "samplers=[ddim]", "averaged=false", "checkpoint=best",
             "num_samples=70", "compare=[last]")  # fmt: skip
    assert len({path(), *map(path, asked)}) == len(asked) + 1
    assert path() == path("batch_size=null")
    assert path(f"to={tmp_path}/epoch-0.5").name == "epoch-0.5.png"
    assert path(f"to={tmp_path}/curve.json").name == "curve.png"
    assert path(f"to={tmp_path}/curve.svg").name == "curve.svg"
    assert path(f"to={tmp_path}/curve.pdf").name == "curve.pdf"
    with pytest.raises(
        UserError, match=r"curve\.jpg: a picture of this kind is written as \.png or"
    ):
        path(f"to={tmp_path}/curve.jpg")


# Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("samplers=[dimm]", r"samplers=\[dimm\]: there is no such sampler; did you mean ddim\?; "
         "there are ddim, ddpm, ddpm_paper, dpm_solver, euler, heun"),
        ("samplers=[]", r"samplers=\[\]: name one at least, such as samplers=\[ddim,heun\]"),
        ("steps=[]", r"steps=\[\]: name one at least, such as steps=\[5,10\]"),
    ],
)  # fmt: skip
def test_a_list_that_names_no_way_to_sample_is_refused(asked, message):
    with pytest.raises(UserError, match=message):
        quality_cost.sampler_settings(options_of(asked), NODES)


def test_the_runs_own_sampler_is_no_point():
    with pytest.raises(UserError, match=r"sampler=heun: here samplers=\[\.\.\.\] and steps="):
        quality_cost.refuse_idle(["seed=1", "sampler=heun", "samplers=[ddim]"])
    quality_cost.refuse_idle(["samplers=[ddim]", "model.guidance=2"])


def test_only_a_run_with_a_sampler_has_a_curve_and_only_one_with_images_a_point(
    short_vae, short_ddpm, data, tmp_path
):
    with pytest.raises(UserError, match="its model has no sampler whose steps could be chosen"):
        quality_cost.refuse_without_sampler(open_run.opened_run(short_vae, short_vae.recipe()))
    quality_cost.refuse_without_sampler(open_run.opened_run(short_ddpm, short_ddpm.recipe()))
    opened = open_run.OpenRun(short_ddpm, "ddpm", None, {}, data)
    with pytest.raises(UserError, match="no run 'nowhere' in"):
        open_run.compared_runs(options_of("compare=[nowhere]"), opened)
    recipe = composed("model=classifier", *SHORT, UNDRAWN, "budget.images=50")
    blind = trained(recipe | {"extractor": None}, tmp_path)
    with pytest.raises(UserError, match="is a Classifier, which makes no images to sample"):
        open_run.compared_runs(options_of(f"compare=[{blind.path}]"), opened)


def test_other_data_and_too_few_samples_and_a_place_that_cannot_be_written_are_refused(
    short_vae, short_ddpm, data, evaluator, tmp_path
):
    binarized = build(composed("dataset.binarize=true")["dataset"], "dataset")
    opened = open_run.OpenRun(short_ddpm, "ddpm", None, {}, data)
    options = options_of(f"compare=[{short_vae.path}]", f"to={tmp_path}")
    with pytest.raises(UserError, match=r"was trained on other data than .*; only metrics on"):
        open_run.compared_runs(options, replace(opened, data=binarized))
    few = options_of("num_samples=3")
    with pytest.raises(UserError, match=f"3 samples are too few.*{features.MIN_IMAGES} or more"):
        quality_cost_points.measure(opened, [], [], evaluator, few)
    (tmp_path / "file").write_text("")
    for place in ("file/curve.png", "folder.png"):
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=f"to={tmp_path}/{place}: "):
            quality_cost.curve_path(
                replace(options, to=f"{tmp_path}/{place}"), opened, evaluator.extractor
            )
