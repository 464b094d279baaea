"""Likelihoods and divergences against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from gdm.theory import likelihoods


@pytest.fixture
def images():
    values = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return values / 127.5 - 1


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_kl_of_a_gaussian_is_that_of_torch_distributions():
    mean, log_variance = randn(7, 4), randn(7, 4) / 2
    q = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(q, Normal(0.0, 1.0))
    torch.testing.assert_close(likelihoods.gaussian_kl_per_unit(mean, log_variance), expected)


def test_gaussian_likelihood_is_a_density_times_the_volume_of_an_8_bit_bin(images):
    likelihood = likelihoods.Gaussian(log_variance=-1.3, learn_variance=True)
    output = randn(*images.shape)
    density = Normal(output, math.exp(-0.65)).log_prob(images).flatten(1).sum(1)
    expected = density - 3 * 8 * 8 * math.log(127.5)
    torch.testing.assert_close(likelihood.log_prob(output, images), expected)


def test_bernoulli_likelihood_is_that_of_torch_distributions(images):
    white = (images > 0).float()
    output = randn(*images.shape)
    expected = Bernoulli(logits=output).log_prob(white).flatten(1).sum(1)
    actual = likelihoods.Bernoulli().log_prob(output, 2 * white - 1)
    torch.testing.assert_close(actual, expected)


def test_bernoulli_mean_is_the_probability_of_white():
    output = randn(2, 1, 4, 4)
    torch.testing.assert_close(likelihoods.Bernoulli().mean(output), 2 * output.sigmoid() - 1)


def test_bernoulli_describes_black_and_white_images_only(images):
    black_and_white = torch.where(images > 0, 1.0, -1.0)
    assert likelihoods.Bernoulli().describes(black_and_white).all()
    assert not likelihoods.Bernoulli().describes(images).any()


def test_probabilities_of_all_grey_levels_bounded_by_the_density_sum_to_at_most_one():
    """exp E[log density * volume] is at most the probability of a bin; summed over all bins it
    is at most 1, and near 1 for a smooth density."""
    likelihood = likelihoods.Gaussian(log_variance=-2.0, learn_variance=False)
    values = (torch.arange(256) / 127.5 - 1).view(-1, 1, 1, 1)
    output = torch.full_like(values, 0.1)
    noises = torch.linspace(0.005, 0.995, 100)
    bounds = [
        likelihood.log_prob(output, likelihood.observed(values, torch.full_like(values, noise)))
        for noise in noises
    ]
    total = torch.stack(bounds).mean(0).exp().sum()
    assert 0.98 < total <= 1.0


def test_bits_per_dimension_of_a_uniform_8_bit_image_are_eight():
    num_dimensions = 28 * 28
    nats = torch.tensor(-num_dimensions * math.log(256.0))
    torch.testing.assert_close(
        likelihoods.bits_per_dimension(nats, num_dimensions), torch.tensor(8.0)
    )


def test_dequantised_values_stay_within_their_bin(images):
    for noise in (0.0, 1.0 - 1e-6):
        spread = likelihoods.dequantise(images, torch.full_like(images, noise))
        values = ((spread + 1) * 127.5).double()
        original = ((images + 1) * 127.5).round().double()
        assert ((values - original).abs() <= 0.5 + 1e-3).all()


def test_squared_error_sums_over_pixels():
    x, y = torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5)
    assert likelihoods.squared_error(x, y).tolist() == [4.0, 4.0]
