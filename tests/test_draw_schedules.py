"""Schedules as one sees them: the lines are theirs, and a row is an image on its way to noise."""

import runpy
import sys

import pytest
import torch
from conftest import ROOT, composed
from PIL import Image

from gdm.cli.compose import nodes_of_group
from gdm.errors import UserError
from gdm.pictures import diffusion, figures
from gdm.recipes.build import build
from gdm.theory.images import to_float
from gdm.tools.schedules import MOMENTS, discrete_schedules, picture, training_image

NAMES = ["cosine", "linear", "quadratic", "sigmoid"]


@pytest.fixture(scope="module")
def schedules():
    return discrete_schedules(nodes_of_group(ROOT / "configs", "schedule"))


@pytest.fixture(scope="module")
def data():
    return build(composed()["dataset"], "dataset")


def test_all_schedules_that_keep_the_variance_are_drawn_a_line_and_a_row_each(
    schedules, data, monkeypatch
):
    drawn = []
    monkeypatch.setattr(diffusion, "schedules", lambda *arguments: drawn.extend(arguments))
    x_0 = to_float(training_image(data, 3))
    picture(schedules, x_0, 0)
    t, alpha_bar, images = drawn
    assert list(alpha_bar) == list(images) == NAMES
    for name in NAMES:
        assert (alpha_bar[name].diff() <= 0).all()
        table = torch.linspace(0, 1, schedules[name].num_steps + 1, dtype=torch.float64)
        torch.testing.assert_close(alpha_bar[name], schedules[name].alpha_bar[::2])
        torch.testing.assert_close(t, table[::2])
        assert images[name].shape == (MOMENTS, 1, 28, 28)
        assert torch.equal(images[name][0], x_0)
        epsilon = (images[name] - alpha_at(schedules[name]) * x_0)[-1]
        torch.testing.assert_close(epsilon, images["cosine"][-1], atol=0.02, rtol=0.02)


def alpha_at(schedule) -> torch.Tensor:
    alpha, _ = schedule(torch.linspace(0, 1, MOMENTS, dtype=torch.float64))
    return alpha.float()[:, None, None, None]


def test_colour_images_are_drawn_too_and_other_noise_is_another_picture(schedules):
    x_0 = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first, second = (figures.rendered(picture(schedules, x_0, seed)) for seed in (0, 1))
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_the_script_writes_the_same_picture_every_time(
    tmp_path, schedules, data, monkeypatch, capsys
):
    path = tmp_path / "new" / "schedules.png"
    script = ROOT / "scripts" / "draw_schedules.py"
    monkeypatch.setattr(sys, "argv", [str(script), "index=3", "seed=5", f"to={path}"])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip() == str(path)
    x_0 = to_float(training_image(data, 3))
    again = picture(schedules, x_0, 5)
    figures.save_figure(again, tmp_path / "again.png")
    with Image.open(path) as one, Image.open(tmp_path / "again.png") as other:
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("ending", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_a_picture_is_what_its_name_says_and_the_same_every_time(
    ending, start, schedules, data, tmp_path
):
    x_0 = to_float(training_image(data, 3))
    written = []
    for name in ("first", "second"):
        path = tmp_path / f"{name}{ending}"
        figures.save_figure(picture(schedules, x_0, 5), path)
        written.append(path.read_bytes())
    assert written[0].startswith(start)
    assert written[0] == written[1]
    assert written[0].count(b"<svg") == (ending == ".svg")


def test_an_ending_that_cannot_be_written_is_refused_first(tmp_path, monkeypatch, capsys):
    script = ROOT / "scripts" / "draw_schedules.py"
    monkeypatch.setattr(sys, "argv", [str(script), f"to={tmp_path}/schedules.jpg"])
    with pytest.raises(SystemExit) as refused:
        runpy.run_path(str(script), run_name="__main__")
    shown = f"{refused.value}{capsys.readouterr().err}".strip()
    assert shown.endswith("a picture of this kind is written as .png or .pdf or .svg; end it so")
    assert not (tmp_path / "schedules.jpg").exists()


def test_an_image_that_is_not_there_is_refused(data):
    with pytest.raises(UserError, match="index=9000: must be below 9000, the number of images"):
        training_image(data, 9000)
