"""Streamed moments against those of the whole."""

import numpy as np
import pytest
import torch

from gdm.theory.moments import JointMoments, Moments


def test_merged_batches_have_the_moments_of_the_whole():
    values = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)).double()
    values += 1e8  # a large offset, where raw sums of squares lose all their digits
    left, right = Moments(), Moments()
    for part in values[:700].split(64):
        left.update(part)
    for part in values[700:].split(13):
        right.update(part)
    left.merge(right)
    assert left.count == 1000
    torch.testing.assert_close(left.mean, values.mean(0))
    torch.testing.assert_close(left.variance, values.var(0, unbiased=False), rtol=1e-6, atol=0)


def test_single_numbers_work_too():
    moments = Moments()
    moments.update(torch.tensor([1.0, 2.0]))
    moments.update(torch.tensor([6.0]))
    assert float(moments.mean) == 3.0
    assert float(moments.variance) == torch.tensor([1.0, 2.0, 6.0]).var(unbiased=False)


def correlated(count: int, offset: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    return torch.randn(count, 5, generator=generator, dtype=torch.float64) @ mixture + offset


def joint(values: torch.Tensor, sizes: list[int]) -> JointMoments:
    moments = JointMoments()
    for part in values.split(sizes):
        moments.update(part)
    return moments


@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("sizes", [[500], [1] * 500, [2, 0, 398, 100]])
def test_joint_moments_are_numpys_in_any_batches_and_at_any_offset(sizes, offset):
    values = correlated(500, offset)
    moments = joint(values, sizes)
    assert moments.count == 500
    np.testing.assert_allclose(moments.mean, values.numpy().mean(0), rtol=1e-12, atol=1e-12)
    expected = np.cov((values - offset).numpy(), rowvar=False)  # less rounding than of `values`
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-8)
    np.testing.assert_allclose(moments.variance, values.var(0, unbiased=False), rtol=1e-8)


@pytest.mark.parametrize("first", [0, 1, 250, 500])
def test_joint_moments_of_two_parts_are_those_of_the_whole(first):
    values = correlated(500, 3)
    moments = joint(values[:first], [first])
    moments.merge(joint(values[first:], [500 - first]))
    whole = joint(values, [500])
    assert moments.count == whole.count
    torch.testing.assert_close(moments.mean, whole.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.covariance, whole.covariance, rtol=1e-12, atol=1e-14)


def test_joint_moments_of_single_precision_are_summed_in_double():
    values = correlated(500, 1000).float()
    moments = joint(values, [100] * 5)
    assert moments.covariance.dtype == torch.float64
    np.testing.assert_allclose(
        moments.covariance, np.cov(values.double().numpy(), rowvar=False), rtol=1e-9
    )
