"""Pictures: what they hold can be read, and printed."""

import pytest
import torch
from PIL import Image

from gdm import pictures

NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Ankle boot")


@pytest.mark.parametrize("stretch", [(0.01, 1.0), (1.0, 1.0), (300.0, 1.0)])
def test_no_name_on_a_map_lies_on_what_is_written_at_its_axes(stretch, monkeypatch):
    drawn = []
    rendered = pictures.rendered
    monkeypatch.setattr(pictures, "rendered", lambda figure: drawn.append(figure) or (
        rendered(figure)))  # fmt: skip
    random = torch.Generator().manual_seed(0)
    codes = torch.randn(400, 2, generator=random) * torch.tensor(stretch)
    label = torch.randint(len(NAMES), (400,), generator=random)
    axis_names = ("principal component 1", "principal component 2")
    pictures.latent_map(codes, label, NAMES, axis_names=axis_names)
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
    picture = pictures.confusion_matrix(shares, ("a", "b", "c"))
    pictures.save(picture, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as written:
        assert written.size == (round(4.1 * pictures.DPI), round(3.3 * pictures.DPI))
    assert pictures.DPI >= 200
