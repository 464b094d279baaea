"""The density of an autoencoder's codes recovers the distribution it is fitted to."""

import pytest
import torch

from gdm.latent import GaussianMixture
from gdm.randomness import normal, uniform


def drawn(density: GaussianMixture, count: int, latent_dim: int) -> torch.Tensor:
    noise = normal(range(count), (latent_dim,), 0, "sample")
    return density(uniform(range(count), (), 0, "component"), noise)


def test_one_component_has_the_mean_and_covariance_of_the_codes():
    torch.manual_seed(0)
    codes = torch.randn(4000, 3) @ torch.tensor([[2.0, 0, 0], [1, 0.5, 0], [0, -1, 0.1]])
    codes = codes + torch.tensor([5.0, -3.0, 0.0])
    density = GaussianMixture(latent_dim=3, num_components=1)
    density.fit(codes)
    samples = drawn(density, 20_000, 3)
    torch.testing.assert_close(samples.mean(0), codes.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(samples.T.cov(), codes.T.cov(), atol=0.2, rtol=0)


def test_a_mixture_samples_clusters_by_their_share_and_nothing_between_them():
    torch.manual_seed(0)
    left = torch.randn(3000, 2) * 0.1 - 5
    right = torch.randn(1000, 2) * 0.1 + 5
    density = GaussianMixture(latent_dim=2, num_components=2)
    density.fit(torch.cat([left, right]))
    samples = drawn(density, 8000, 2)
    assert (samples.abs() > 4).all()
    assert float((samples[:, 0] < 0).float().mean()) == pytest.approx(0.75, abs=0.02)


def test_a_fit_is_a_function_of_the_codes_and_is_kept_with_the_weights():
    codes = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    first, second, restored = (GaussianMixture(2, 4) for _ in range(3))
    first.fit(codes)
    torch.manual_seed(99)
    second.fit(codes)
    restored.load_state_dict(first.state_dict())
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(drawn(first, 50, 2), drawn(restored, 50, 2))
