"""Pictures: what they hold can be read, and printed."""

from argparse import Namespace

import pytest
import torch
from conftest import composed, small
from PIL import Image

from gdm.evaluation import protocol, samples
from gdm.pictures import figures, grids, latent, tables
from gdm.recipes.build import build
from gdm.training.pictures import Pictures

NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Ankle boot")


@pytest.mark.parametrize("stretch", [(0.01, 1.0), (1.0, 1.0), (300.0, 1.0)])
def test_no_name_on_a_map_lies_on_what_is_written_at_its_axes(stretch, monkeypatch):
    drawn = []
    rendered = figures.rendered
    monkeypatch.setattr(latent, "rendered", lambda figure: drawn.append(figure) or (
        rendered(figure)))  # fmt: skip
    random = torch.Generator().manual_seed(0)
    codes = torch.randn(400, 2, generator=random) * torch.tensor(stretch)
    label = torch.randint(len(NAMES), (400,), generator=random)
    axis_names = ("principal component 1", "principal component 2")
    latent.latent_map(codes, label, NAMES, axis_names=axis_names)
    (figure,) = drawn
    (axes,) = figure.axes
    whole = figure.bbox
    for axis in (axes.xaxis, axes.yaxis):
        written = axis.label.get_window_extent()
        assert whole.x0 <= written.x0 <= written.x1 <= whole.x1
        assert whole.y0 <= written.y0 <= written.y1 <= whole.y1
        for name in axes.texts:
            assert not name.get_window_extent().overlaps(written)


def test_figures_have_dots_enough_for_print(tmp_path):
    shares = torch.eye(3)
    picture = figures.confusion_matrix(shares, ("a", "b", "c"))
    grids.save(picture, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as written:
        assert written.size == (round(4.1 * figures.DPI), round(3.3 * figures.DPI))
    assert figures.DPI >= 200


def test_rows_of_a_class_have_its_name_and_others_are_grids(monkeypatch):
    drawn, image_table = [], tables.image_table
    monkeypatch.setattr(tables, "image_table", lambda *asked: drawn.append(asked) or (
        image_table(*asked)))  # fmt: skip
    model = Namespace(condition="label", num_classes=len(NAMES))
    x = torch.arange(15, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 28, 28)
    picture = samples.picture(x, model, None, NAMES)
    ((rows, row_names, _),) = drawn
    assert row_names == NAMES
    assert rows[:, :, 0, 0, 0].tolist() == [[k, k + len(NAMES)] for k in range(len(NAMES))]
    assert picture.shape[0] == 3
    plain = samples.picture(x, model, 3, NAMES)  # all of one class
    assert torch.equal(plain, grids.enlarged(grids.grid(x, 10), 2))
    many = torch.zeros(len(NAMES) * 1000, 1, 4, 4, dtype=torch.uint8)  # more than can be drawn
    assert samples.picture(many, model, None, NAMES).shape[2] == 2 * (1000 * 6 - 2)


def test_what_is_beside_a_sample_is_named(monkeypatch):
    drawn = []
    monkeypatch.setattr(tables, "image_table", lambda *asked: drawn.append(asked))
    data = build(composed()["dataset"], "dataset")
    evaluator = protocol.Evaluator(data, None, num_neighbours=12)
    evaluator._neighbours(data.split("test").images[:12], {"real": {}})
    ((rows, row_names, column_names),) = drawn
    assert rows.shape == (10, 8, 1, 28, 28)
    assert (row_names[0], row_names[9]) == ("0", "9")
    assert column_names == ["sample", "nearest", "2.", "3.", "4.", "5.", "6.", "7."]


def test_a_process_says_how_far_it_has_come(monkeypatch):
    drawn = []
    monkeypatch.setattr(tables, "image_table", lambda *asked: drawn.append(asked))
    pictures_of_run = Pictures(num_samples=4, num_reconstructions=4)
    data = build(composed()["dataset"], "dataset")
    torch.manual_seed(0)
    model = build(composed("model=ddpm", *small("ddpm"))["model"], "model")
    with model.evaluating():
        names = [name for name, _ in pictures_of_run.drawn(model, data, {})]
    assert names == ["samples", "forward", "backward"]
    (forward, backward) = drawn
    assert forward[2] == ["0", "0.11", "0.22", "0.33", "0.44", "0.56", "0.67", "0.78", "0.89", "1"]
    assert (backward[2][0], backward[2][-1], len(backward[2])) == ("0", "1", 4)
    assert forward[1][0] == "forward 1"
