"""Samples as files: what is written is what was drawn, and what is read is what it should be."""

import os
import runpy
import shlex
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, composed
from PIL import Image

from gdm.cli.compose import compose_config
from gdm.errors import UserError
from gdm.evaluation import samples
from gdm.recipes.build import build
from gdm.recipes.options import options_from
from gdm.runs import catalogue, checkpoints
from gdm.runs.run import Run
from gdm.tools.open_run import OpenRun, opened_run
from gdm.tools.sample import SampleOptions, samples_path


@pytest.fixture(scope="module")
def data():
    return build(composed()["dataset"], "dataset")


@pytest.fixture
def images(data) -> torch.Tensor:
    return data.split("test").images[:20]


def saved(path, array):
    np.savez(path, arr_0=array)
    return path


def test_an_npz_is_in_the_fields_layout_and_reads_back_as_it_was(images, data, tmp_path):
    path = tmp_path / "samples.npz"
    samples.write(iter(images.split(7)), len(images), "npz", path)
    with np.load(path) as arrays:
        assert arrays["arr_0"].dtype == np.uint8
        assert arrays["arr_0"].shape == (20, 28, 28, 1)
        np.testing.assert_array_equal(arrays["arr_0"], images.permute(0, 2, 3, 1).numpy())
    file = samples.SampleFile(path, data)
    assert len(file) == 20
    assert torch.equal(torch.cat(list(file.batches(6))), images)


def test_pictures_hold_the_same_pixels(images, tmp_path):
    samples.write(iter(images.split(7)), len(images), "png", tmp_path / "folder")
    for number, image in enumerate(images):
        read = np.array(Image.open(tmp_path / "folder" / f"{number:06d}.png"))
        np.testing.assert_array_equal(read, image[0].numpy())


def test_padded_and_compressed_samples_of_others_are_read_too(images, data, tmp_path):
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2)).permute(0, 2, 3, 1).numpy()
    np.savez_compressed(tmp_path / "theirs.npz", arr_0=padded)
    file = samples.SampleFile(tmp_path / "theirs.npz", data)
    assert torch.equal(torch.cat(list(file.batches())), images)


@pytest.mark.parametrize("border", [0, 2])
def test_grey_samples_need_no_axis_for_their_one_channel(border, images, data, tmp_path):
    padded = np.pad(images[:, 0].numpy(), ((0, 0), (border, border), (border, border)))
    path = saved(tmp_path / "grey.npz", padded)
    file = samples.SampleFile(path, data)
    assert file.shape == (20, 28 + 2 * border, 28 + 2 * border, 1)
    assert torch.equal(torch.cat(list(file.batches(6))), images)
    data.channels = 3
    try:
        with pytest.raises(UserError, match=f"holds 20 x {28 + 2 * border} x"):
            samples.SampleFile(path, data)
    finally:
        data.channels = 1


def test_a_pipe_is_not_waited_for(data, tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(UserError, match=r"pipe\.npz: is no file; name an \.npz"):
        samples.SampleFile(tmp_path / "pipe.npz", data)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 28, 28, 3), np.uint8), "holds 5 x 28 x 28 x 3; must be N x 28 x 28 x 1 or"),
        (np.zeros((5, 1, 28, 28), np.uint8), "holds 5 x 1 x 28 x 28; must be"),
        (np.zeros((5, 28, 27), np.uint8), "holds 5 x 28 x 27; must be"),
        (np.zeros((5, 28), np.uint8), "holds 5 x 28; must be"),
        (np.zeros((0, 28, 28, 1), np.uint8), "holds 0 x 28"),
        (np.zeros((5, 28, 28, 1), np.float32), "holds float32; write 8-bit values, 0 to 255"),
        (np.ones((5, 28, 28, 1), np.uint8), "no value is above 1; 255 is white"),
        (np.array([None]), "holds object"),
        (np.full((4, 28, 28, 1), 9, np.uint8, order="F"), "is in Fortran's order"),
    ],
)
def test_samples_of_another_kind_are_refused(array, message, data, tmp_path):
    path = saved(tmp_path / "samples.npz", array)
    with pytest.raises(UserError, match=r"^samples=.*samples\.npz: " + message):
        samples.SampleFile(path, data)


def test_files_that_are_no_samples_are_refused(data, images, tmp_path):
    with pytest.raises(UserError, match=r"none\.npz: there is no such file; name an \.npz with"):
        samples.SampleFile(tmp_path / "none.npz", data)
    text = tmp_path / "text.npz"
    text.write_text("nothing")
    with pytest.raises(UserError, match=r"text\.npz: is no readable \.npz"):
        samples.SampleFile(text, data)
    np.savez(tmp_path / "other.npz", x=images.numpy())
    with pytest.raises(UserError, match=r"other\.npz: is no readable \.npz with an array arr_0"):
        samples.SampleFile(tmp_path / "other.npz", data)
    path = saved(tmp_path / "short.npz", images.permute(0, 2, 3, 1).numpy())
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(UserError, match=r"short\.npz"):
        samples.SampleFile(path, data)


def test_a_malformed_header_is_no_traceback(data, images, tmp_path):
    whole = saved(tmp_path / "whole.npz", images.permute(0, 2, 3, 1).numpy())
    for number, shape in enumerate(("(-5, 28, 28, 1)", "(5, 28, 28, ", "'five'", "5")):
        path = tmp_path / f"{number}.npz"
        with zipfile.ZipFile(whole) as file, zipfile.ZipFile(path, "w") as changed:
            header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
            array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            changed.writestr("arr_0.npy", array + file.read("arr_0.npy")[128:])
        with pytest.raises(UserError, match=rf"{number}\.npz: (holds|arr_0 is no array)"):
            samples.SampleFile(path, data)


def path_of(kind: str, to: Path) -> Path:
    composed = compose_config(ROOT / "configs", "sample", [f"format={kind}"])
    options = options_from(SampleOptions, composed | {"to": str(to)})
    return samples_path(options, None)


@pytest.mark.parametrize(("kind", "example"), [("npz", "samples.npz"), ("grid", "samples.png")])
def test_what_cannot_be_written_is_said_before_anything_is_drawn(kind, example, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"is a folder; name a file in it, such as {example}"):
        path_of(kind, tmp_path)
    for to in (tmp_path / "file" / example, Path("/proc/nowhere") / example):
        with pytest.raises(UserError, match="cannot be written"):
            path_of(kind, to)
    with pytest.raises(UserError, match="cannot be written"):
        path_of("png", tmp_path / "file")


def test_a_grid_of_pixels_is_no_drawing(tmp_path):
    for name in ("samples.pdf", "samples.svg", "samples"):
        with pytest.raises(UserError, match=rf"to=.*{name}: a picture of this kind is written as"):
            path_of("grid", tmp_path / name)
    assert path_of("grid", tmp_path / "samples.PNG") == tmp_path / "samples.PNG"


def test_a_model_that_makes_no_images_is_not_sampled(tmp_path):
    model = build(composed("model=classifier", "model.width=8")["model"], "model")
    with pytest.raises(UserError, match="is a Classifier, which makes no images to sample"):
        samples.refuse_without_images(model, Run(tmp_path))


def test_the_script_writes_the_images_of_the_run_and_says_where(
    short_vae, tmp_path, monkeypatch, capsys
):
    path, script = tmp_path / "my samples.npz", str(ROOT / "scripts" / "sample.py")
    asked = [f"run={short_vae.path}", "num_samples=12", "seed=3", "format=npz", f"to={path}"]
    monkeypatch.setattr(sys, "argv", [script, *asked])
    runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().out.strip() == shlex.quote(str(path))
    (drawn,) = samples.draw(catalogue.load(short_vae), 12, None, 3)
    with np.load(path) as arrays:
        written = torch.from_numpy(arrays["arr_0"]).permute(0, 3, 1, 2)
    assert (written.int() - drawn.int()).abs().max() <= 1


def test_images_of_other_weights_labels_and_recipes_have_other_names(short_vae):
    def name(changed=None, checkpoint="last", **keys) -> str:
        composed = compose_config(ROOT / "configs", "sample")
        recipe = short_vae.recipe() | (changed or {})
        opened = OpenRun(short_vae, "vae", None, recipe, None, {"checkpoint": checkpoint})
        return samples_path(options_from(SampleOptions, composed | keys), opened).name

    assert name() == "samples-100-seed-0-last.png"
    assert name(label="T-shirt/top") == "samples-100-seed-0-T-shirt-top-last.png"
    assert name(checkpoint="best", averaged=False) == "samples-100-seed-0-best-raw.png"
    assert name({"seed": 9}).startswith("samples-100-seed-0-last-")


def test_a_checkpoint_is_read_once_where_a_run_is_opened(short_vae, monkeypatch):
    read, asked = checkpoints.read, []
    monkeypatch.setattr(checkpoints, "read", lambda path: asked.append(path) or read(path))
    opened_run(short_vae, short_vae.recipe())
    assert asked == [short_vae.checkpoints / checkpoints.LAST]


def test_an_open_run_knows_which_weights_it_holds_and_what_was_changed(short_vae):
    recipe = short_vae.recipe()
    recipe["model"]["beta"] = 2.5
    opened = opened_run(short_vae, recipe, averaged=False)
    assert (opened.facts["checkpoint"], opened.facts["weights"]) == ("last", "raw")
    assert opened.facts["images_seen"] == short_vae.manifest()["images_seen"]
    assert opened.changed == {"model.beta": 2.5}
    assert opened.model.beta == 2.5
    assert opened_run(short_vae, short_vae.recipe()).facts["weights"] == "average"
    recipe["model"]["beta"] = -1
    with pytest.raises(UserError, match=r"model\.beta=-1: must be a number, at least 0"):
        opened_run(short_vae, recipe)
