"""A run directory that was sent, edited, damaged or half written: refused in one line, or mended,
and nothing outside of it is touched."""

import errno
import importlib.util
import json
import os
import shutil

import pytest
import torch
import yaml
from conftest import ROOT, composed, resumed

from gdm.cli.compose import compose_config
from gdm.cli.origin import Origin
from gdm.errors import UserError
from gdm.evaluation import samples
from gdm.files import durable_replacement, named_file
from gdm.runs import catalogue, checkpoints
from gdm.runs.reading import read_yaml
from gdm.training.training import Training, is_complete


@pytest.fixture
def copy(short_vae, tmp_path) -> catalogue.Run:
    """A copy of a finished run that a test may damage."""
    shutil.copytree(short_vae.path, tmp_path / "outputs" / "copy")
    return catalogue.Run(tmp_path / "outputs" / "copy")


@pytest.fixture
def other(tmp_path) -> catalogue.Run:
    """A run beside the copy that nothing is wrong with."""
    return catalogue.create(composed() | {"outputs": str(tmp_path / "outputs"), "name": "other"})


def edited(run: catalogue.Run, change) -> None:
    """Change a run's recipe as an editor would."""
    path = run.path / ".hydra" / "config.yaml"
    recipe = yaml.safe_load(path.read_text())
    change(recipe)
    path.write_text(yaml.safe_dump(recipe))


def flip_a_bit(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# A run that reaches outside itself ---------------------------------------------------------------

FILES = [".lock", "train.log", "metrics.jsonl", "samples/final.png", "checkpoints/last.ckpt"]
FOLDERS = ["samples", "checkpoints", "tensorboard", "latent", ".hydra/more"]


@pytest.mark.parametrize("name", FILES + FOLDERS)
def test_a_run_with_a_link_is_not_gone_on_with(name, copy, tmp_path):
    outside = tmp_path / "outside"
    if name in FILES:
        outside.write_text("mine")
    else:
        outside.mkdir()
    place = copy.path / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.symlink_to(outside)
    recipe = copy.recipe()
    recipe["budget"]["images"] = 700
    training = Training(recipe)
    with pytest.raises(UserError, match=f"{name} is a link"):
        training.run(copy, resume=True)
    assert (outside.read_text() if name in FILES else list(outside.iterdir())) in ("mine", [])


def test_a_run_with_a_pipe_is_not_waited_for(copy):
    os.mkfifo(copy.path / "samples" / "one.png")
    with pytest.raises(UserError, match="is no regular file"):
        copy.refuse_links()


def test_a_run_is_reached_through_a_link_to_it(copy, tmp_path):
    (tmp_path / "link").symlink_to(copy.path)
    catalogue.Run(tmp_path / "link").refuse_links()


# A recipe or a manifest that is not what it was --------------------------------------------------


def test_an_edited_recipe_is_not_gone_on_with(copy):
    def change(recipe):
        recipe["seed"] = 3
        recipe["model"]["optimizer"]["lr"] = 0.5
        recipe["budget"]["images"] = 700
        recipe["callbacks"]["checkpoints"]["times"] = 2

    before = copy.recipe()["model"]["optimizer"]["lr"]
    edited(copy, change)
    with pytest.raises(UserError) as refused:
        resumed(copy)
    message = str(refused.value)
    assert "seed is 3, was 0" in message
    assert f"model.optimizer.lr is 0.5, was {before}" in message
    assert f"rerun={copy.path}" in message
    assert not any(allowed in message for allowed in ("budget", "callbacks"))
    assert copy.manifest()["status"] == "finished"


def test_a_run_of_an_earlier_version_goes_on(copy):
    manifest = copy.manifest()
    manifest = {key: manifest[key] for key in manifest if key not in ("trained_recipe", "budget")}
    (copy.path / "manifest.json").write_text(json.dumps(manifest | {"recipe": "12345678"}))
    assert is_complete(copy, copy.recipe())
    resumed(copy)
    assert copy.manifest()["trained_recipe"]["model"] == copy.recipe()["model"]


def test_a_changed_length_is_written_down_everywhere(copy):
    recipe = copy.recipe()
    recipe["budget"]["images"] = 700
    resumed(copy, recipe)
    assert copy.recipe()["budget"] == copy.manifest()["budget"] == recipe["budget"]
    assert copy.manifest()["recipe"] == catalogue.recipe_hash(recipe)
    assert is_complete(copy, copy.recipe())


@pytest.mark.parametrize("moment", ["forget_after", "describe"])
def test_an_extension_that_was_killed_as_it_began_is_not_finished(moment, copy, monkeypatch):
    class KilledError(BaseException):
        pass

    def killed(*_, **__):
        raise KilledError

    recipe = copy.recipe()
    recipe["budget"]["images"] = 700
    with monkeypatch.context() as patch:
        patch.setattr(catalogue.Run, moment, killed)
        with pytest.raises(KilledError):
            resumed(copy, recipe)
    assert not is_complete(copy, copy.recipe())
    assert "extended" not in copy.manifest()
    resumed(copy)
    assert copy.manifest()["images_seen"] == 700
    assert copy.manifest()["extended"]
    assert is_complete(copy, copy.recipe())


def test_a_run_whose_last_weights_are_lost_is_not_finished(copy):
    assert is_complete(copy, copy.recipe())
    flip_a_bit(copy.checkpoints / checkpoints.LAST)
    assert not is_complete(copy, copy.recipe())


BAD_MANIFESTS = [b"\xff\x00", b"[]", b"", b'{"created": 5}', b'{"seconds": "x"}', b"[" * 100_000,
                 b'{"resumed": 1}', b'{"num_batches": ""}', b'{"trained_recipe": 1}']  # fmt: skip


@pytest.mark.parametrize("content", BAD_MANIFESTS)
def test_a_damaged_manifest_is_named_kept_and_hides_no_other_run(content, copy, other, tmp_path):
    path = copy.path / "manifest.json"
    path.write_bytes(content)
    assert catalogue.find("last", tmp_path / "outputs").path == other.path
    with pytest.raises(UserError, match=r"manifest\.json.*put back a copy of it, or remove it"):
        resumed(copy)
    with pytest.raises(UserError, match=r"manifest\.json"):
        copy.describe(status="finished")
    assert path.read_bytes() == content


def test_a_manifest_that_cannot_be_read_at_all_is_named(copy):
    (copy.path / "manifest.json").unlink()
    os.mkfifo(copy.path / "manifest.json")
    with pytest.raises(UserError, match="is no regular file"):
        copy.manifest()


def test_lines_of_metrics_that_are_none_are_passed_over(copy):
    records = copy.records()
    with copy.metrics.open("ab") as file:
        file.write(b'\xff\xfe\n[]\n5\n{"images": "x"}\n{}\n{"images"\n' + b"[" * 100_000 + b"\n")
    assert copy.records() == records
    recipe = copy.recipe()
    recipe["budget"]["images"] = 650
    assert [r["images"] for r in resumed(copy, recipe).records()][:4] == [0, 200, 400, 600]


@pytest.mark.parametrize("content", [b"\xff", b"[]", b"{}", b'{"images": "x"}', b"[" * 100_000])
def test_bad_facts_of_the_best_checkpoint_are_passed_over(content, copy):
    (copy.checkpoints / "best.json").write_bytes(content)
    assert copy.best() is None


@pytest.mark.parametrize("content", [b"\xff", b"{}", b"5", b"[a", b"[" * 1000])
def test_bad_overrides_are_named(content, copy):
    path = copy.path / ".hydra" / "overrides.yaml"
    path.write_bytes(content)
    before = copy.recipe()
    with pytest.raises(UserError, match=r"overrides\.yaml"):
        copy.write_recipe({}, [])
    assert path.read_bytes() == content
    assert copy.recipe() == before


BOMB = "a: &a [1]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
BAD_RECIPES = {
    "uses an alias": BOMB.encode(),
    "levels deep": b"a: " + b"[" * 50_000,
    "more than 100,000 bytes": b"a: 1\n" * 30_000,
    "utf-8": b"name: \xff\xfe\n",
    "not readable YAML": b"seed: 2023-99-99\n",
    "seed is '3'": b"seed: '3'\nmodel: {}\ndataset: {}\n",
    "model is '3'": b"seed: 3\nmodel: 3\ndataset: {}\n",
    "it has no dataset": b"seed: 3\nmodel: {_target_: x}\n",
    "it has no model": b"seed: 3\nmodel: {}\ndataset: {_target_: x}\n",
}


@pytest.mark.parametrize("words", BAD_RECIPES)
def test_a_recipe_that_is_none_is_one_line(words, copy):
    (copy.path / ".hydra" / "config.yaml").write_bytes(BAD_RECIPES[words])
    with pytest.raises(UserError, match=words) as refused:
        copy.recipe()
    assert "\n" not in str(refused.value)


def test_what_a_recipe_holds_twice_is_written_twice(tmp_path):
    run, twice = catalogue.Run(tmp_path), [0.9, 0.99]
    recipe = {key: {"_target_": "some.Class", "betas": twice} for key in ("model", "dataset")}
    recipe["seed"] = 0
    run.write_recipe(recipe, [])
    assert run.recipe() == recipe == read_yaml(tmp_path / ".hydra" / "config.yaml")


# Checkpoints -------------------------------------------------------------------------------------


def crafted(run: catalogue.Run, change) -> None:
    """Change what the last checkpoint holds, with the digest that this has."""
    path = run.checkpoints / checkpoints.LAST
    checkpoint = checkpoints.read(path)
    change(checkpoint)
    for name in (checkpoints.PREVIOUS, checkpoints.BEST):
        (run.checkpoints / name).unlink(missing_ok=True)
    checkpoints.write(checkpoint, path)
    (run.checkpoints / checkpoints.PREVIOUS).unlink()


CRAFTED = {
    "state_dict is missing": lambda saved: saved.pop("state_dict"),
    "batches_seen is missing": lambda saved: saved.pop("batches_seen"),
    "optimizer_states is missing": lambda saved: saved.pop("optimizer_states"),
    "pytorch-lightning_version is missing": lambda saved: saved.pop("pytorch-lightning_version"),
    "optimizer_states are none": lambda saved: saved.update(optimizer_states=[{}]),
    "batches_seen is -1": lambda saved: saved.update(batches_seen=-1),
    "no int": lambda saved: saved.update(batches_seen="12"),
    "no dict": lambda saved: saved.update(state_dict=[1]),
    "is no tensor": lambda saved: saved["state_dict"].update({"decoder.0.weight": "x"}),
    "hold NaN": lambda saved: saved["state_dict"]["decoder.0.weight"].fill_(torch.nan),
    "do not fit the model": lambda saved: saved["state_dict"].popitem(),
}


@pytest.mark.parametrize("words", CRAFTED)
def test_a_crafted_checkpoint_is_one_line(words, copy, caplog):
    crafted(copy, CRAFTED[words])
    for refused in (lambda: catalogue.load(copy), lambda: resumed(copy)):
        with pytest.raises(UserError) as error:
            refused()
        assert words in str(error.value) + caplog.text
        assert "\n" not in str(error.value)


def of_first_weight(saved) -> dict:
    return saved["optimizer_states"][0]["state"][0]


CRAFTED_OPTIMIZERS = {
    "another shape": lambda saved: of_first_weight(saved).update(exp_avg=torch.zeros(3, 1, 7)),
    "a part is missing": lambda saved: of_first_weight(saved).pop("exp_avg_sq"),
    "no tensor": lambda saved: of_first_weight(saved).update(exp_avg="x"),
    "a rate that is text": lambda saved: saved["optimizer_states"][0]["param_groups"][0].update(
        initial_lr="fast"
    ),
    "other groups": lambda saved: saved["optimizer_states"][0]["param_groups"].clear(),
    "one too many": lambda saved: saved["optimizer_states"].append(saved["optimizer_states"][0]),
}


@pytest.mark.parametrize("change", CRAFTED_OPTIMIZERS.values(), ids=CRAFTED_OPTIMIZERS)
def test_a_crafted_optimizer_is_one_line(change, copy):
    crafted(copy, change)
    recipe = copy.recipe()
    recipe["budget"]["images"] = 1200
    with pytest.raises(UserError, match=r"optimizer_states in \S+last.ckpt do not fit the model"):
        resumed(copy, recipe)
    assert catalogue.load(copy).images_seen == 600  # its weights are as good as they were


def test_a_checkpoint_that_is_no_dict_is_one_line(copy):
    path = copy.checkpoints / checkpoints.LAST
    torch.save([torch.zeros(1)], path)
    with pytest.raises(UserError, match="is damaged"):
        checkpoints.read(path)


def test_the_best_checkpoint_is_gone_on_from_where_no_other_is_whole(short_vae, copy, caplog):
    theirs = checkpoints.read(short_vae.checkpoints / checkpoints.LAST)["state_dict"]
    shutil.copy(copy.checkpoints / checkpoints.PREVIOUS, copy.checkpoints / checkpoints.BEST)
    copy.describe_best(copy.best() | {"images": 450})
    for name in (checkpoints.LAST, checkpoints.PREVIOUS):
        flip_a_bit(copy.checkpoints / name)
    assert catalogue.read_checkpoint(copy)[0].stem == "best"
    assert caplog.text.count("is damaged") == 2
    resumed(copy)
    ours = checkpoints.read(copy.checkpoints / checkpoints.LAST)["state_dict"]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_samples_are_named_by_the_checkpoint_that_they_come_from(copy, capsys):
    flip_a_bit(copy.checkpoints / checkpoints.LAST)
    spec = importlib.util.spec_from_file_location("sample", ROOT / "scripts" / "sample.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    options = compose_config(ROOT / "configs", "sample", ["num_samples=2"])
    script.sample(copy.recipe(), Origin("run", copy, options=options | {"run": str(copy.path)}))
    assert capsys.readouterr().out.strip().endswith("samples-2-seed-0-previous.png")


def test_what_killed_saves_left_is_swept_away_and_nothing_else(copy):
    left = [copy.checkpoints / ".last.ckpt.a1b2c3d4", copy.checkpoints / ".best.json.a1b2c3d4",
            copy.path / ".manifest.json.a1b2c3d4",
            copy.path / ".hydra" / ".config.yaml.a1b2c3d4"]  # fmt: skip
    kept = [copy.path / ".hydra" / ".config.yaml.swp", copy.path / ".notes.a1b2c3d4"]
    for path in left + kept:
        path.write_text("half")
    resumed(copy)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


# What cannot be written --------------------------------------------------------------------------


def test_a_new_run_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    recipe = composed() | {"outputs": str(tmp_path), "name": "new"}
    with pytest.raises(UserError, match="no folder can be made there"):
        catalogue.create(recipe | {"name": "a\0b"})
    monkeypatch.setattr("gdm.runs.run.write_text", full_disk)
    with pytest.raises(UserError, match="No space left"):
        catalogue.create(dict(recipe))
    monkeypatch.setattr(catalogue, "_own_folder", full_disk)
    with pytest.raises(UserError, match="No space left"):
        catalogue.create(dict(recipe))


def test_a_run_that_cannot_be_written_is_not_gone_on_with(copy, monkeypatch):
    monkeypatch.setattr("gdm.runs.run.write_text", full_disk)
    with pytest.raises(UserError, match=r"cannot be written .*No space left"):
        resumed(copy)
    assert copy.manifest()["status"] == "finished"


@pytest.mark.parametrize("kind", ["npz", "grid", "png"])
def test_a_disk_that_fills_while_samples_are_written_is_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("gdm.pictures.grids.save", full_disk)
    monkeypatch.setattr(samples, "write_npz", full_disk)
    batches = iter([torch.zeros(2, 1, 4, 4, dtype=torch.uint8)])
    with pytest.raises(UserError, match=r"could not write .*No space left"):
        samples.write(batches, 2, kind, tmp_path / "samples")


def test_a_device_or_a_pipe_is_neither_replaced_nor_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/null"):
        with pytest.raises(UserError, match="is a device, a pipe or a socket"):
            named_file(path, "samples.npz")
    with pytest.raises(OSError, match="no regular file"), durable_replacement(pipe) as temporary:
        temporary.write_text("x")
    with pytest.raises(UserError, match="is no file"):
        samples.SampleFile(pipe, data=None)
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["a\0b.npz", "x" * 300, "a\0b/file", "x" * 300 + "/file"])
def test_a_name_that_no_file_can_have_is_refused(name, tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        named_file(tmp_path / name, "samples.npz")


def test_measuring_a_budget_in_minutes_has_an_end(monkeypatch, tmp_path):
    asked = []

    def stopwatch(seconds, validation):
        asked.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr("gdm.training.measuring.Stopwatch", stopwatch)
    recipe = composed("budget.minutes=1e6", "trainer=cpu") | {"outputs": str(tmp_path)}
    with pytest.raises(KeyboardInterrupt):
        Training(recipe).settle_budget()
    assert asked[0] <= 120
