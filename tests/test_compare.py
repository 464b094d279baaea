"""Comparing runs: what shares a column, what a row says of its seeds, and what of the rest."""

import csv
import io
import json
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import ROOT, SHORT, UNDRAWN, composed, trained
from handmade_runs import evaluated, handmade, validation

from gdm.cli.command_line import with_paths_named
from gdm.cli.compose import compose_config
from gdm.errors import UserError
from gdm.recipes.options import options_from
from gdm.runs.run import Run
from gdm.tools.comparing import texts
from gdm.tools.comparing.compare import (
    Compared,
    CompareOptions,
    compare,
    folder_of,
    lacking_evaluation,
    refuse_nothing_finished,
    write,
)
from gdm.tools.comparing.comparison import Column, Comparison, Row
from gdm.tools.comparing.statistics import against, cell_of, welch

DISTANCE = "frechet_distance"


def options_of(*runs: Path | str, **keys) -> CompareOptions:
    composed = compose_config(ROOT / "configs", "compare")
    return options_from(CompareOptions, composed | {"runs": list(map(str, runs))} | keys)


def compared(*runs: Path | str, **keys) -> Compared:
    return compare(options_of(*runs, **keys), "python scripts/compare.py")


def table(*runs: Path | str, **keys) -> Comparison:
    return compared(*runs, **keys).comparison


def columns_named(comparison: Comparison, name: str) -> list[Column]:
    return [column for column in comparison.columns if column.name == name]


def values_of(row: Row, column: Column) -> dict[str, float] | None:
    return row.cells[column.key].values if column.key in row.cells else None


@pytest.fixture
def sweep(tmp_path) -> Path:
    """Three configurations with three seeds each; of distances 9 to 11, 9.5 to 11.5, 20 to 22."""
    folder = tmp_path / "families"
    for latent_dim, middle in ((8, 10.5), (16, 10.0), (32, 21.0)):
        for seed in (0, 1, 2):
            records = [
                validation(30, images=0),
                validation(middle + 1),
                evaluated(middle - 1 + seed),
            ]
            changes = {"model.latent_dim": latent_dim}
            handmade(folder / f"latent_dim={latent_dim},seed={seed}", changes, seed, records)
    return folder


# Rows over seeds ---------------------------------------------------------------------------------


def test_a_row_is_a_configuration_with_mean_and_spread_over_its_seeds(sweep):
    found = table(sweep)
    assert found.title == "families"
    assert found.settings == ["model.latent_dim"]
    assert [row.name for row in found.rows] == [
        "vae latent_dim=16", "vae latent_dim=8", "vae latent_dim=32"
    ]  # fmt: skip
    (first, _, last), (test, during) = found.rows, columns_named(found, DISTANCE)
    cell = last.cells[test.key]
    assert cell.values == {"0": 20.0, "1": 21.0, "2": 22.0}
    assert (cell.mean, cell.std, cell.n) == (21.0, 1.0, 3)
    assert last.cells[during.key].std == 0
    assert (first.num_seeds, first.settings) == (3, {"model.latent_dim": "16"})
    assert first.real[test.key] == 2.25
    assert during.key not in first.real
    assert [member.seed for member in first.members] == [0, 1, 2]
    assert len({row.id for row in found.rows}) == 3
    assert json.loads(json.dumps(asdict(found)))["rows"][0]["name"] == "vae latent_dim=16"


def test_mean_and_spread_are_those_of_numpys_textbook():
    values = {"0": 0.1, "1": 0.4, "5": 0.25, "7": 0.3}
    cell = cell_of(values)
    assert cell.mean == pytest.approx(sum(values.values()) / 4)
    assert cell.std == pytest.approx(statistics.stdev(values.values()))
    assert cell_of({"0": 3.0}).std is None


def test_costs_come_along_with_their_units(sweep):
    found = table(sweep)
    costs = {column.name: column for column in found.columns if column.kind == "cost"}
    assert list(costs) == [
        "parameters", "images_seen", "minutes", "peak_memory", "samples_per_second",
        "network_evaluations",
    ]  # fmt: skip
    cells = found.rows[0].cells
    assert {name: cells[column.key].mean for name, column in costs.items()} == {
        "parameters": 1234, "images_seen": 600, "minutes": 1.5, "peak_memory": 500,
        "samples_per_second": 100.5, "network_evaluations": 1,
    }  # fmt: skip
    assert (costs["minutes"].unit, costs["minutes"].better) == ("min", "lower")


def test_what_earlier_versions_did_not_record_is_an_empty_cell(tmp_path):
    handmade(tmp_path / "runs" / "new")
    old = {"num_parameters": None, "validated_at": None, "peak_memory_mib": None}
    plain = evaluated(11.0)
    del plain["likelihood"]
    changes = {"model.width": 8}
    handmade(tmp_path / "runs" / "old", changes, records=[validation(9), plain], **old)
    found = table(tmp_path / "runs")
    (row,) = [row for row in found.rows if "width=8" in row.name]
    (parameters,) = columns_named(found, "parameters")
    assert parameters.key not in row.cells
    assert row.members[0].curves[0].minutes == [None]
    likelihoods = [each for each in columns_named(found, "bits_per_dim") if "|test|" in each.key]
    assert [each.how.partition(",")[0] for each in likelihoods] == [
        "a bound", "exact or a bound: not recorded"
    ]  # fmt: skip


def test_group_by_says_what_a_row_is_and_what_it_is_a_mean_over(sweep):
    found = table(sweep, group_by=["model.width"])
    (row,) = found.rows
    assert (row.num_seeds, len(row.members)) == (3, 9)
    assert row.cells[columns_named(found, DISTANCE)[0].key].n == 9
    assert "rows are means over model.latent_dim too, which differ within a row" in found.notes
    seeds = table(sweep, group_by=["seed"], sort="seed").rows
    assert [row.settings for row in seeds] == [{"seed": "0"}, {"seed": "1"}, {"seed": "2"}]


def test_the_same_seed_again_counts_once_and_is_said(sweep):
    newer = "2026-11-29T10:00:00+00:00"
    changes = {"model.latent_dim": 8}
    again = handmade(sweep / "again", changes, 0, [evaluated(99.0)], created=newer)
    found = table(sweep)
    (row,) = [row for row in found.rows if row.settings["model.latent_dim"] == "8"]
    assert row.cells[columns_named(found, DISTANCE)[0].key].values["0"] == 99.0
    assert str(again.path) in [member.path for member in row.members]
    assert len(row.members) == 3
    assert any("a newer run has the same recipe, seed and data" in note for note in found.notes)


def test_minutes_are_one_setting_whatever_they_were_settled_to(tmp_path):
    for seed, images in enumerate((900, 1000, 1100)):
        changes = {"budget.images": images}
        handmade(tmp_path / "runs" / f"{seed}", changes, seed, minutes_wished=5)
    (row,) = table(tmp_path / "runs").rows
    assert row.num_seeds == 3
    handmade(tmp_path / "runs" / "ten", {"budget.images": 2000}, minutes_wished=10)
    found = table(tmp_path / "runs")
    assert found.settings == ["budget.minutes"]
    assert {row.settings["budget.minutes"] for row in found.rows} == {"5", "10"}


def test_families_are_named_by_their_option_and_only_by_what_tells_them_apart(tmp_path):
    handmade(tmp_path / "runs" / "vae")
    handmade(tmp_path / "runs" / "gan", model="dcgan")
    handmade(tmp_path / "runs" / "gan8", {"dataset.batch_size": 8}, model="dcgan")
    found = table(tmp_path / "runs")
    assert sorted(row.name for row in found.rows) == [
        "dcgan batch_size=64", "dcgan batch_size=8", "vae"
    ]  # fmt: skip
    by_name = {row.name: row.settings for row in found.rows}
    assert by_name["vae"]["model"] == "VAE"
    assert by_name["dcgan batch_size=8"]["model"] == "GAN"
    assert by_name["dcgan batch_size=8"]["model.latent_dim"] != by_name["vae"]["model.latent_dim"]
    assert by_name["dcgan batch_size=8"]["model.beta"] == ""


# Columns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"n": 2000},
        {"num_reference": 500},
        {"extractor_checksum": "f" * 16},
        {"extractor": "inception"},
        {"weights": "raw"},
        {"data": "0" * 16},
        {"split": "validation"},
        {"changed": {"model.sampler.num_steps": 4}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_numbers_that_were_measured_otherwise_never_share_a_column(tmp_path, other):
    handmade(tmp_path / "runs" / "one", seed=0, records=[evaluated(10.0)])
    handmade(tmp_path / "runs" / "other", seed=1, records=[evaluated(20.0, **other)])
    found = table(tmp_path / "runs")
    (row,) = found.rows
    columns = columns_named(found, DISTANCE)
    assert sorted(values_of(row, column).popitem()[1] for column in columns) == [10.0, 20.0]
    assert len({column.key for column in columns}) == 2
    assert len({column.how for column in columns} | {other.get("data")}) >= 2
    assert any(f"{DISTANCE} was measured in 2 ways" in note for note in found.notes)


def test_exact_likelihoods_and_bounds_have_columns_of_their_own(tmp_path):
    handmade(tmp_path / "runs" / "one", records=[evaluated(10.0)])
    records = [evaluated(10.0, likelihood="exact")]
    handmade(tmp_path / "runs" / "other", {"model.width": 8}, records=records)
    columns = columns_named(table(tmp_path / "runs"), "bits_per_dim")
    assert sorted(column.how.partition(",")[0] for column in columns) == ["a bound", "exact"]


def test_a_model_without_an_average_stands_beside_the_averages_of_others(tmp_path):
    handmade(tmp_path / "runs" / "averaged")
    records = [evaluated(11.0, weights="raw")]
    handmade(tmp_path / "runs" / "plain", {"model.ema": None}, records=records)
    found = table(tmp_path / "runs")
    test, *_ = columns_named(found, DISTANCE)
    assert [row.cells[test.key].mean for row in found.rows] == [10.0, 11.0]


def test_tests_come_before_validations_and_both_say_how(sweep):
    test, during = columns_named(table(sweep), DISTANCE)
    assert test.how == (
        "1,000 samples, 2,000 test images of FashionMNISTMini, classifier 22d409c6c161e9b9, "
        "averaged weights where there is an average, last checkpoint, beside them 1,000 held-out "
        "real images"
    )
    assert during.how.startswith("during training, 200 samples, 1,000 validation images")
    assert (test.unit, test.better, test.decimals, test.kind) == ("", "lower", 3, "metric")


def test_the_newest_record_of_a_protocol_counts_and_none_of_an_earlier_state(tmp_path):
    path = tmp_path / "runs" / "one"
    handmade(path, records=[evaluated(8.0), evaluated(7.0)])
    found = table(path)
    (column,) = columns_named(found, DISTANCE)
    assert values_of(found.rows[0], column) == {"0": 7.0}
    other = tmp_path / "runs" / "longer"
    records = [validation(9.0, images=300), evaluated(8.0, images=300), validation(5.0)]
    handmade(other, seed=1, records=records, extended=True)
    found = table(other)
    (column,) = columns_named(found, DISTANCE)
    assert "validation" in column.key
    assert values_of(found.rows[0], column) == {"1": 5.0}
    marks = found.rows[0].members[0].marks
    assert any("evaluated before it was trained to its end" in mark for mark in marks)
    assert "made longer after it was trained for a shorter budget" in marks


def test_the_best_checkpoint_has_a_column_while_it_is_the_best(tmp_path):
    record = evaluated(6.0, images=300, checkpoint="best")
    run = handmade(tmp_path / "run", records=[evaluated(8.0), record])
    run.checkpoints.mkdir()
    run.describe_best({"images": 300, DISTANCE: 5.0})
    last, best = columns_named(table(run.path), DISTANCE)
    assert ("last checkpoint" in last.how, "best checkpoint" in best.how) == (True, True)
    run.describe_best({"images": 450, DISTANCE: 4.0})
    assert columns_named(table(run.path), DISTANCE) == [last]


def test_metrics_are_chosen_by_name_and_costs_come_along_unless_one_is(sweep):
    found = table(sweep, metrics=["recall", "precision"])
    assert [column.name for column in found.columns][:3] == ["recall", "precision", "parameters"]
    found = table(sweep, metrics=["recall", "minutes"])
    assert [column.name for column in found.columns] == ["recall", "minutes"]
    whole = compared(sweep, metrics=["recall"]).whole
    assert {DISTANCE, "recall", "minutes", "elbo"} <= {column.name for column in whole.columns}


def test_curves_are_of_validations_over_images_and_minutes(sweep):
    member = table(sweep).rows[0].members[0]
    (curve,) = [each for each in member.curves if each.metric == DISTANCE]
    assert (curve.images, curve.values) == ([0, 600], [30, 11.0])
    assert curve.minutes == [0.1, 1.0]
    assert curve.how == columns_named(table(sweep), DISTANCE)[1].key


# Order, and chance -------------------------------------------------------------------------------


def test_rows_are_in_the_order_that_is_asked_for(sweep):
    def dims(**keys):
        return [row.settings["model.latent_dim"] for row in table(sweep, **keys).rows]

    assert dims() == ["16", "8", "32"]
    assert dims(sort="model.latent_dim") == ["8", "16", "32"]
    assert dims(sort="kernel_distance") == ["16", "8", "32"]
    records = [evaluated(50.0, recall=0.9)]
    handmade(sweep / "recalls", {"model.latent_dim": 64}, records=records)
    assert dims(sort="recall")[0] == "64"
    handmade(sweep / "unmeasured", {"model.latent_dim": 2}, records=[])
    assert dims()[-1] == "2"


def test_a_difference_is_called_beyond_chance_by_welchs_test(sweep):
    by_dim = {row.settings["model.latent_dim"]: row.notes[0] for row in table(sweep).rows}
    label = "frechet distance (test, n=1000): "
    assert by_dim["16"] == f"{label}the best"
    best = "vae latent_dim=16"
    test = "(Welch's t-test: p = 0.57, n = 3 and 3)"
    assert by_dim["8"] == f"{label}not to be told from {best} by these seeds {test}"
    assert by_dim["32"].startswith(
        f"{label}worse than {best} beyond chance (Welch's t-test: p = 0"
    )
    assert any("Welch's t-test over the seeds" in note for note in table(sweep).notes)


def test_welchs_p_is_that_of_the_formula():
    """t = (a - b) / sqrt(s_a^2 / n + s_b^2 / m), by hand: -1.5 / sqrt(2.5 / 2 + 0.02 / 2)."""
    from scipy import stats

    a, b = [1.0, 3.0], [3.4, 3.6]
    spread = 2.0 / 2 + 0.02 / 2
    freedom = spread**2 / (1.0**2 + 0.01**2)
    assert welch(a, b) == pytest.approx(2 * stats.t.sf(1.5 / spread**0.5, freedom))
    assert welch([1.0], b) is None
    assert welch([1.0, 1.0], [2.0, 2.0]) is None


def test_of_one_seed_nothing_is_said():
    one, two = cell_of({"0": 1.0}), cell_of({"0": 1.0, "1": 2.0})
    assert against("best", one, two) == "nothing can be said of chance from one seed"
    assert against("best", two, one) == "nothing can be said of chance from one seed"
    same = cell_of({"0": 1.0, "1": 1.0})
    assert against("best", same, same) == "the same over all seeds"
    other = cell_of({"0": 2.0, "1": 2.0})
    assert against("best", same, other) == "no spread over seeds to judge chance by"


def test_a_number_that_is_none_comes_last_and_is_compared_with_nothing(sweep):
    for seed in (0, 1):
        records = [evaluated(float("nan") if seed else float("inf"))]
        handmade(sweep / f"nan-{seed}", {"model.latent_dim": 64}, seed, records)
    *rows, last = table(sweep).rows
    assert last.settings == {"model.latent_dim": "64"}
    assert not any("distance" in note for note in last.notes)
    assert rows[0].notes[0].endswith("the best")


# Unfinished and doubtful -------------------------------------------------------------------------


def test_runs_that_are_not_finished_are_listed_with_why_and_how_to_go_on(sweep):
    cut_off = handmade(sweep / "cut", records=[validation(9.0, images=300)], status="running",
                       images_seen=None)  # fmt: skip
    handmade(sweep / "nan", status="diverged", error="training diverged: loss became nan")
    handmade(sweep / "odd", status=None)
    handmade(sweep / "broken").path.joinpath("manifest.json").write_text("{")
    found = table(sweep)
    by_name = {Path(each.path).name: each for each in found.unfinished}
    assert len(found.rows) == 3
    cut = by_name["cut"]
    assert (cut.status, cut.images_seen) == ("running", 300)
    assert cut.why == "it is being trained, or was killed"
    assert shlex.split(cut.go_on)[-1] == f"resume={cut_off.path}".replace("=", "=", 1)
    assert by_name["nan"].why == "training diverged: loss became nan"
    assert "rerun=" in by_name["nan"].go_on
    assert by_name["odd"].status == "unknown"
    assert by_name["broken"].status == "unreadable"
    assert "not readable JSON" in by_name["broken"].why
    assert compared(sweep).is_at_work


def test_a_recipe_that_was_edited_is_marked_with_what_is_other(sweep):
    run = Run(sweep / "latent_dim=8,seed=1")
    path = run.path / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("beta: 1.0", "beta: 2.0"))
    found = table(sweep, group_by=["model.latent_dim"])
    marks = [member.marks for row in found.rows for member in row.members if member.marks]
    assert marks == [["recipe edited since it was trained: model.beta is 2.0, was 1.0"]]
    assert any(note.startswith(f"{run} is marked: recipe edited") for note in found.notes)
    other = Run(sweep / "latent_dim=16,seed=1").path / ".hydra" / "config.yaml"
    other.write_text(other.read_text().replace("detect_anomaly: false", "detect_anomaly: true"))
    said = "recipe edited since it was trained (outside of seed, model and dataset)"
    assert any(said in note for note in table(sweep).notes)


@pytest.mark.parametrize("tamper", ["change", "drop", "strip"])
def test_records_that_were_edited_are_marked(sweep, tamper):
    run = Run(sweep / "latent_dim=8,seed=1")
    lines = run.metrics.read_text().splitlines()
    if tamper == "change":
        lines[-1] = lines[-1].replace('"frechet_distance": 10.5', '"frechet_distance": 1.5')
    elif tamper == "drop":
        del lines[1]
    else:
        record = json.loads(lines[-1])
        del record["digest"]
        lines[-1] = json.dumps(record)
    run.metrics.write_text("\n".join(lines) + "\n")
    found = table(sweep)
    marks = {member.path: member.marks for row in found.rows for member in row.members}
    number = 2 if tamper == "drop" else 3
    (mark,) = marks.pop(str(run))
    assert mark.startswith(f"metrics.jsonl edited: record {number} is not what was written")
    assert not any(marks.values())


def test_records_of_earlier_versions_are_unsigned_and_not_marked(sweep):
    run = Run(sweep / "latent_dim=8,seed=1")
    plain = [json.dumps(record) + "\n" for record in run.records()]
    run.metrics.write_text("".join(plain))
    assert not any("marked" in note for note in table(sweep).notes)
    run.record(600, evaluated(9.0))
    assert [edited for _, edited in run.checked_records()] == [False] * 4


def test_records_that_two_processes_write_at_once_are_not_taken_for_edited(tmp_path):
    run = handmade(tmp_path / "run")
    before = run.metrics.read_text()
    run.record(600, evaluated(9.0))
    added = run.metrics.read_text().removeprefix(before)
    run.metrics.write_text(before)
    run.record(600, evaluated(8.0))
    with run.metrics.open("a") as file:
        file.write(added)
    assert [edited for _, edited in run.checked_records()] == [False] * 4


def test_what_a_resumed_run_forgets_leaves_no_gap_and_what_was_edited_stays_visible(tmp_path):
    records = [validation(9, images=0), validation(8, images=300), validation(7, images=900)]
    run = handmade(tmp_path / "run", records=[*records, evaluated(6.0)])
    run.forget_after(600)
    assert [edited for _, edited in run.checked_records()] == [False] * 3
    run.metrics.write_text(run.metrics.read_text().replace('distance": 8,', 'distance": 1,'))
    run.forget_after(600)
    assert [edited for _, edited in run.checked_records()] == [False, True, False]


def test_code_and_devices_that_differ_are_said(sweep):
    handmade(sweep / "elsewhere", {"model.latent_dim": 8}, 9, commit="def", device="H200")
    notes = table(sweep).notes
    assert "the runs were made by different versions of the code: abc, def" in notes
    assert "minutes were measured on different devices: H200, cpu" in notes


# Which runs --------------------------------------------------------------------------------------


def test_runs_are_named_by_folder_glob_ending_or_last_and_count_once(sweep, monkeypatch):
    monkeypatch.chdir(sweep.parent)
    outputs = Path("outputs")
    shutil.move(sweep, outputs / "sweeps" / "families")

    def paths(*references):
        found = table(*references)
        return sorted({Path(each.path).name for row in found.rows for each in row.members})

    everything = paths("outputs")
    assert len(everything) == 9
    assert paths("outputs/sweeps/families/") == paths("families") == everything
    assert paths("outputs/sweeps/*/*seed=1") == paths("sweeps/*/*seed=1")
    assert len(paths("outputs/sweeps/*/*seed=1")) == 3
    assert paths("last", "latent_dim=8,seed=0", "outputs/sweeps/families/latent_dim=8,seed=0")
    assert len(paths("latent_dim=8,seed=0", "outputs/sweeps/families/latent_dim=8,seed=0")) == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["outputs/a", "sort=minutes"], ["sort=minutes", "runs=[outputs/a]"]),
        (["--watch", "a", "-c", "job"], ["watch=true", "-c", "job", "runs=[a]"]),
        (["s/x=1,seed=2", "s/x=1,seed=3"], ['runs=["s/x=1,seed=2","s/x=1,seed=3"]']),
        (["runs=[a]", "--help"], ["runs=[a]", "--help"]),
    ],
)
def test_paths_on_a_command_line_need_no_key(words, named):
    assert with_paths_named(words, "runs") == named


@pytest.mark.parametrize(
    ("runs", "keys", "message"),
    [
        ([], {}, "name runs, sweeps or globs, such as outputs/sweeps/families"),
        (["nowhere"], {}, "no run 'nowhere' in"),
        (["empty"], {}, "empty: there is no run in this folder"),
        (["none*"], {}, r"none\*: no run matches"),
        ([""], {}, r"runs=\[''\]: name runs"),
        (["families"], {"metrics": ["frechet"]},
         r"metrics=\[frechet\]: there is no such metric; did you mean frechet_distance\?"),
        (["families"], {"metrics": ["accuracy"]},
         r"metrics=\[accuracy\]: none of these runs has measured it; they have bits_per_dim"),
        (["families"], {"group_by": ["model.latent"]},
         r"group_by=\[model.latent\]: no recipe has such a key; did you mean model.latent_dim\?"),
        (["families"], {"sort": "frechet_distanc"},
         "sort=frechet_distanc: is neither a metric .*; did you mean frechet_distance"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(sweep, monkeypatch, runs, keys, message):
    monkeypatch.chdir(sweep.parent)
    Path("empty").mkdir()
    with pytest.raises(UserError, match=message) as refusal:
        compared(*runs, **keys)
    assert runs in ([], ["nowhere"]) or "\n" not in str(refusal.value)


def test_a_table_without_rows_is_refused_with_how_to_go_on(tmp_path):
    handmade(tmp_path / "runs" / "one", status="interrupted")
    handmade(tmp_path / "runs" / "two", status="running")
    found = compared(tmp_path / "runs", metrics=["accuracy"], group_by=["x"], sort="y").comparison
    with pytest.raises(UserError, match=r"none .* finished \(1 interrupted, 1 running\).*resume="):
        refuse_nothing_finished(found)
    assert texts.terminal_lines(found, 80)


# Texts -------------------------------------------------------------------------------------------

NASTY = "a|b & c_d $5 50% #1 {x} ~ ^ \\ <b> *x* `y` =1+1 \x1b[31m"


@pytest.fixture
def nasty(sweep) -> Compared:
    """A comparison with a name that means something to every format."""
    found = compared(sweep)

    def renamed(comparison: Comparison) -> Comparison:
        first, *rest = comparison.rows
        return replace(comparison, rows=[replace(first, name=NASTY), *rest])

    return Compared(renamed(found.comparison), renamed(found.whole), False)


def test_the_csv_has_every_value_with_how_it_was_measured(nasty):
    rows = list(csv.DictReader(io.StringIO(texts.csv_text(nasty.whole))))
    assert len(rows) == sum(
        cell.n for row in nasty.whole.rows for cell in row.cells.values()
    )  # fmt: skip
    (found,) = [
        row for row in rows
        if row["key"].startswith("frechet_distance|test") and row["seed"] == "2"
        and row["model.latent_dim"] == "32"
    ]  # fmt: skip
    assert (float(found["value"]), float(found["mean"]), float(found["std"])) == (22, 21, 1)
    assert (found["n"], found["real images"], found["better"]) == ("3", "2.25", "lower")
    assert "2,000 test images" in found["how"]
    assert "\x1b" not in texts.csv_text(nasty.whole)
    assert texts._inert("=1+1") == "'=1+1"
    assert texts._inert("-1.5e-3") == "-1.5e-3"


def test_the_markdown_is_a_table_of_equally_many_cells(nasty):
    text = texts.markdown(nasty.comparison)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert counts == {len(re.findall(r"(?<!\\)\|", lines[0]))}
    assert len(lines) == 2 + 3 + 1
    assert "| 21.000 ± 1.000 |" in text
    assert lines[-1].startswith("| real images |")
    assert r"a\|b & c\_d" in text
    assert "\x1b" not in text


def test_the_latex_is_a_booktabs_table_with_nothing_unescaped(nasty):
    text = texts.latex(nasty.comparison)
    body = text[text.index(r"\begin{tabular}") : text.index(r"\end{tabular}")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 3 + 1
    columns = re.search(r"\{tabular\}\{([lr]+)\}", body)[1]
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    assert all(rule in body for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"21.000 $\pm$ 1.000" in body
    named = next(row for row in rows if "5 50" in row)
    assert r"c\_d \$5 50\% \#1 \{x\} \textasciitilde{} \textasciicircum{}" in named
    assert not re.search(r"(?<!\\)[%#_]", body)


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_the_table_fits_the_terminal_and_says_what_it_leaves_out(sweep, width):
    handmade(sweep / "nan", status="diverged", error="training diverged: loss became nan")
    found = table(sweep)
    lines = texts.terminal_lines(found, width)
    typed = [line for line in lines if line.strip().startswith("python ")]
    assert max(len(line) for line in lines if line not in typed) <= width
    text = "\n".join(lines)
    assert "10.000\u00a0±\u00a01.000" in text
    assert "…" not in text
    left_out = " ".join(text.partition("left out for want of width: ")[2].split())
    heads = " ".join(line for line in lines if line.startswith("┃"))
    for column in found.columns:
        word = column.name.split("_")[-1]
        assert word in heads or texts.heading(column) in left_out, column.name
    assert "diverged at 600 images" in " ".join(text.split())
    assert len(typed) == 1


def test_many_rows_leave_their_notes_to_the_files(tmp_path):
    for number in range(30):
        for seed in (0, 1):
            records = [evaluated(10.0 + number + seed)]
            path = tmp_path / "runs" / f"{number}-{seed}"
            handmade(path, {"model.latent_dim": 2 + number}, seed, records)
    found = table(tmp_path / "runs")
    text = "\n".join(texts.terminal_lines(found, 100))
    assert "and 20 more rows, all of which are in compare.md" in text
    by_two_metrics = 2 * 29
    assert texts.markdown(found).count("Welch's t-test: p") == by_two_metrics


# The whole ---------------------------------------------------------------------------------------


def test_the_files_lie_in_the_sweep_or_where_one_says(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_of(options_of(sweep)) == sweep
    assert folder_of(options_of(sweep, to="here")) == Path("here")
    several = folder_of(options_of(sweep / "*seed=1", sweep))
    assert several.parent == Path("outputs/comparisons")
    one = folder_of(options_of(sweep / "latent_dim=8,seed=0"))
    assert one.parent == Path("outputs/comparisons")
    Path("file").write_text("")
    with pytest.raises(UserError, match="to=file: is a file; name a folder"):
        folder_of(options_of(sweep, to="file"))
    found = compared(sweep)
    written = write(found, sweep)
    assert [path.name for path in written] == [
        "compare.html", "compare.csv", "compare.md", "compare.tex"
    ]  # fmt: skip
    assert "vae latent_dim=16" in written[0].read_text()
    assert compared(sweep).comparison.rows == found.comparison.rows


def test_the_script_prints_the_table_and_the_files(sweep, run_script, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    done = run_script("compare", str(sweep), "metrics=[frechet_distance,minutes]")
    assert done.returncode == 0, done.stderr
    assert "vae latent_dim=16" in done.stdout
    assert "21.000\u00a0±\u00a01.000" in done.stdout
    assert done.stdout.split()[-4:] == [
        str(sweep / f"compare.{ending}") for ending in ("html", "csv", "md", "tex")
    ]
    command = f"python scripts/compare.py 'metrics=[frechet_distance,minutes]' 'runs=[{sweep}]'"
    assert table(sweep).command == "python scripts/compare.py"
    assert command.split()[1] in (sweep / "compare.html").read_text()
    done = run_script("compare", "nowhere-at-all")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no run 'nowhere-at-all' in")
    done = run_script("compare")
    assert done.stderr.startswith("error: name runs, sweeps or globs")


def test_watching_ends_when_no_run_is_at_work(sweep, run_script, monkeypatch):
    run = handmade(sweep / "late", {"model.latent_dim": 64}, status="running")
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            run.describe(status="finished")

    monkeypatch.setattr("gdm.cli.compare.time.sleep", sleep)
    done = run_script("compare", str(sweep), "--watch", "watch_seconds=7")
    assert done.returncode == 0, done.stderr
    assert looks == [7, 7, 7]
    assert done.stdout.count("1 runs are not finished; next look in 7 s") == 2
    assert "vae latent_dim=64" in done.stdout

    def interrupt(seconds):
        raise KeyboardInterrupt

    run.describe(status="running")
    monkeypatch.setattr("gdm.cli.compare.time.sleep", interrupt)
    done = run_script("compare", str(sweep), "watch=true")
    assert done.returncode == 0
    assert "stopped watching" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by /proc")
def test_500_runs_are_compared_within_10_seconds_and_500_mb(tmp_path):
    for number in range(500):
        records = [validation(30.0 - at, images=50 * at, kl_per_unit=[0.1] * 32)
                   for at in range(13)]  # fmt: skip
        changes = {"model.latent_dim": 2 + number // 5}
        distance = 10 + number / 7
        handmade(tmp_path / f"{number}", changes, number % 5, [*records, evaluated(distance)])
    started = time.process_time()
    found = compared(tmp_path)
    write(found, tmp_path)
    assert time.process_time() - started < 10
    assert len(found.comparison.rows) == 100
    code = (
        "import runpy, sys; sys.argv[0] = 'compare.py';"
        "runpy.run_path('scripts/compare.py', run_name='__main__');"
        "print('torch' in sys.modules, open('/proc/self/status').read())"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "False Name:" in done.stdout
    kilobytes = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)[1]
    assert int(kilobytes) < 500_000


def test_trained_runs_are_ranked_as_their_own_evaluations_rank_them(tmp_path, run_script):
    """What compare says of runs that it evaluates is what each one's record says."""
    for images, seed in ((200, 0), (600, 0), (600, 1)):
        recipe = composed(*SHORT, UNDRAWN, f"budget.images={images}", f"seed={seed}")
        trained(recipe, tmp_path / "runs")
    lacking = lacking_evaluation(options_of(tmp_path / "runs", num_samples=60))
    assert len(lacking) == 3
    done = run_script("compare", str(tmp_path / "runs"), "evaluate=true", "num_samples=60")
    assert done.returncode == 0, done.stderr
    assert lacking_evaluation(options_of(tmp_path / "runs", num_samples=60)) == []
    found = table(tmp_path / "runs", group_by=["budget.images", "seed"])
    assert not any("marked" in note for note in found.notes)
    distances = {}
    for run in lacking:
        (file,) = run.samples.glob("evaluation-last-60-*.json")
        distances[str(run)] = json.loads(file.read_text())[DISTANCE]
    ranked = [member.path for row in found.rows for member in row.members]
    assert ranked == sorted(distances, key=distances.get)
    column, *_ = columns_named(found, DISTANCE)
    shown = {row.members[0].path: row.cells[column.key].mean for row in found.rows}
    assert shown == distances
    (likelihood, *_) = columns_named(found, "bits_per_dim")
    assert likelihood.how.startswith("a bound, 2,000 test images")
    member = found.rows[0].members[0]
    (curve,) = [each for each in member.curves if each.metric == "elbo"]
    assert curve.minutes == sorted(curve.minutes)
    assert 0 < curve.minutes[0] <= curve.minutes[-1] <= member.minutes + 0.01
    parameters, *_ = columns_named(found, "parameters")
    assert found.rows[0].cells[parameters.key].mean > 1000
