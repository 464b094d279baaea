"""8-bit images and floats."""

import pytest
import torch

from gdm.evaluation.extractors import Features
from gdm.theory.images import grey_levels, to_bytes, to_float
from gdm.tools.latent.classes import probabilities


def test_values_between_two_grey_levels_go_to_the_nearer_and_those_beyond_to_the_ends():
    x = torch.tensor([-3.0, -1.0, 0.5 / 127.5 - 1.001, 0.7 / 127.5 - 1, 1.0, 3.0])
    assert to_bytes(x).tolist() == [0, 0, 0, 1, 255, 255]


def test_floats_are_not_taken_for_8_bit_values():
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(TypeError, match=r"torch\.uint8, not torch\.float32"):
        to_float(x)


def test_a_difference_in_grey_levels_is_its_root_mean_square_over_an_image():
    x = torch.tensor([[10, 20], [30, 40]], dtype=torch.uint8).view(1, 1, 2, 2)
    y = torch.tensor([[13, 16], [30, 40]], dtype=torch.uint8).view(1, 1, 2, 2)
    found = grey_levels(to_float(y) - to_float(x))
    assert found.shape == (1,)
    assert float(found) == pytest.approx(((3**2 + 4**2) / 4) ** 0.5, rel=1e-5)


def test_a_classifier_sees_decoded_images_as_a_file_would_hold_them():
    x = torch.linspace(-1.5, 1.5, 600).view(600, 1, 1, 1)
    seen = []

    def extractor(images):
        seen.append(images)
        return Features(images, images.flatten(1).float())

    assert torch.equal(probabilities(extractor, x), to_bytes(x).flatten(1).float())
    assert all(images.dtype == torch.uint8 for images in seen)
