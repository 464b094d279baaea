"""Streamed moments against those of the whole."""

import torch

from gdm.moments import Moments


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
