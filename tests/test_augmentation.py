"""Random changes of images, through which gradients flow."""

import pytest
import torch
from sklearn.datasets import load_digits

from gdm.theory.augmentation import DiffAugment, mirrored, moved

IMAGES = torch.from_numpy(load_digits().images[:64] / 8 - 1).float().unsqueeze(1)
NONE = {"brightness": 0.0, "contrast": 0.0, "translation": 0.0, "cutout": 0.0}


def test_without_changes_images_stay_as_they_are():
    assert DiffAugment(**NONE)(IMAGES) is IMAGES


@pytest.mark.parametrize("change", NONE)
def test_each_change_does_something_to_each_image_by_itself_and_lets_gradients_through(change):
    torch.manual_seed(0)
    x = IMAGES[:1].repeat(64, 1, 1, 1).requires_grad_()
    changed = DiffAugment(**NONE | {change: 0.25})(x)
    assert changed.shape == x.shape
    assert len(changed.detach().flatten(1).unique(dim=0)) > 10
    (gradient,) = torch.autograd.grad(changed.square().sum(), x)
    assert float(gradient.abs().sum()) > 0


def test_brightness_shifts_and_contrast_scales():
    torch.manual_seed(0)
    difference = DiffAugment(**NONE | {"brightness": 0.3})(IMAGES) - IMAGES
    torch.testing.assert_close(difference, difference[:, :, :1, :1].expand_as(difference))
    assert 0.2 < difference.abs().max() <= 0.3
    scaled = DiffAugment(**NONE | {"contrast": 0.5})(IMAGES)
    torch.testing.assert_close(scaled.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)))
    factor = scaled.std((1, 2, 3)) / IMAGES.std((1, 2, 3))
    assert 0.5 <= factor.min() < 1 < factor.max() <= 1.5


@pytest.mark.parametrize("background", [-1.0, 0.5])
def test_what_moves_in_is_as_the_edge_and_nothing_else_changes(background):
    torch.manual_seed(0)
    x = torch.full((200, 1, 8, 8), background)
    x[:, :, 3:5, 3:5] = 1.0
    result = moved(x, 2)
    assert (result.sum((1, 2, 3)) == x.sum((1, 2, 3))).all()
    places = {tuple(each.squeeze().argmax().reshape(1).tolist()) for each in result}
    assert len(places) == 25  # five rows, five columns


def test_a_square_is_cut_out_anywhere_so_that_no_place_is_always_hidden():
    torch.manual_seed(0)
    is_hidden = DiffAugment(**NONE | {"cutout": 0.5})(torch.ones(2000, 1, 8, 8)) == 0
    assert is_hidden.sum((1, 2, 3)).max() == 16
    assert is_hidden.sum((1, 2, 3)).min() >= 4  # a quarter is left where it leaves the image
    assert is_hidden.float().mean(0).max() < 0.3
    assert is_hidden.float().mean(0).min() > 0.03


def test_half_of_the_images_are_mirrored():
    torch.manual_seed(0)
    result = mirrored(IMAGES)
    is_mirrored = (result == IMAGES.flip(3)).all(3).all(2).all(1)
    is_same = (result == IMAGES).all(3).all(2).all(1)
    assert (is_mirrored | is_same).all()
    assert 20 < int(is_mirrored.sum()) < 44
