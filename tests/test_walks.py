"""Latent spaces: the density of an autoencoder's codes, walks, distributions and maps of codes."""

import math
import sys

import pytest
import torch

from gdm.errors import UserError
from gdm.theory import walks
from gdm.theory.densities import GaussianMixture
from gdm.theory.randomness import normal, uniform
from gdm.tools.latent import distributions, projections


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


# Walks -------------------------------------------------------------------------------------------

T = torch.linspace(0, 1, 9)


def gaussian(count: int, dimension: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


def test_a_straight_line_starts_and_ends_at_the_codes_and_halves_in_the_middle():
    a, b = gaussian(2, 12).unflatten(1, (3, 2, 2))
    line = walks.straight_line(a, b, T)
    torch.testing.assert_close(line[[0, 4, 8]], torch.stack([a, (a + b) / 2, b]))


def test_a_great_circle_keeps_the_length_and_turns_by_equal_angles():
    a, b = torch.nn.functional.normalize(gaussian(2, 50), dim=1) * 7
    path = walks.great_circle(a, b, T)
    torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]))
    torch.testing.assert_close(path.norm(dim=1), torch.full((9,), 7.0))
    angles = torch.acos((path[1:] * path[:-1]).sum(1) / 49)
    whole = torch.acos(a @ b / 49)
    torch.testing.assert_close(angles, (whole / 8).expand(8), atol=1e-3, rtol=0)
    assert walks.straight_line(a, b, T).norm(dim=1)[4] < 6  # a chord is nearer


def test_a_great_circle_has_a_centre_and_takes_lengths_from_one_to_the_other():
    centre = torch.tensor([10.0, -4.0])
    a, b = centre + torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    path = walks.great_circle(a, b, T, centre)
    torch.testing.assert_close((path - centre).norm(dim=1), 1 + 2 * T)
    same = walks.great_circle(a, a, T, centre)  # no angle: a line that stays
    torch.testing.assert_close(same, a.expand(9, 2))
    across = walks.great_circle(a, 2 * centre - a, T, centre)  # any circle would do: a line
    torch.testing.assert_close(across[4], centre)


def test_the_direction_of_a_linear_model_is_the_attribute():
    attribute = gaussian(1, 16, seed=1)[0]
    has = torch.arange(8000) % 4 == 0
    codes = gaussian(8000, 16) + has[:, None] * attribute
    direction = walks.attribute_direction(codes, has)
    torch.testing.assert_close(direction, attribute, atol=0.08, rtol=0)
    walked = walks.moved(codes[:3], direction, torch.tensor([0.0, 2.0]))
    assert torch.equal(walked[:, 0], codes[:3])
    torch.testing.assert_close(walked[:, 1] - codes[:3], (2 * direction).expand(3, 16))


def test_a_traversal_moves_one_unit_a_row():
    z, spread = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 0.0])
    walked = walks.traversal(z, spread, torch.tensor([-1.0, 0.0, 2.0]))
    assert walked.shape == (3, 3, 3)
    assert torch.equal(walked[:, 1], z.expand(3, 3))
    assert torch.equal(walked[0, 2], torch.tensor([2.0, 2.0, 3.0]))
    assert torch.equal(walked[1, 0], torch.tensor([1.0, 1.0, 3.0]))
    assert torch.equal(walked[2], z.expand(3, 3))


def test_a_grid_of_quantiles_holds_equal_shares_of_the_codes_row_by_row_from_the_top():
    codes = gaussian(20_000, 2) * torch.tensor([1.0, 3.0])
    grid, x, y = walks.quantile_grid(codes, 5)
    expected = torch.distributions.Normal(0, 1).icdf((torch.arange(5) + 0.5) / 5)
    torch.testing.assert_close(x, expected, atol=0.05, rtol=0)
    torch.testing.assert_close(y, 3 * expected, atol=0.15, rtol=0)
    rows = grid.unflatten(0, (5, 5))
    assert torch.equal(rows[0, :, 0], x)
    assert torch.equal(rows[:, 0, 1], y.flip(0))


# Distributions -----------------------------------------------------------------------------------

STRETCH = torch.tensor([[3.0, 1.0], [0.0, 0.1]])


def ring(count: int) -> torch.Tensor:
    angle = 2 * torch.pi * torch.rand(count, generator=torch.Generator().manual_seed(1))
    radius = 1 + 0.05 * gaussian(count, 1)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def nats_from_nearest_normal(codes: torch.Tensor, train: torch.Tensor) -> float:
    log_density = distributions.fitted(train, 1).log_prob(codes.double())
    return distributions.nats_from(codes, distributions.mixture_of(train), log_density)


def test_normal_codes_are_no_distance_from_normal_and_a_ring_is_however_it_is_stretched():
    train, codes = gaussian(3000, 2) @ STRETCH + 5, gaussian(3000, 2, seed=1) @ STRETCH + 5
    assert nats_from_nearest_normal(codes, train) == pytest.approx(0, abs=0.02)
    train, codes = ring(6000).split(3000)
    far = nats_from_nearest_normal(codes, train)
    # the entropy of a ring: log(2 pi) along it, and across it that of N(0, 0.05^2)
    entropy = math.log(2 * math.pi) + 0.5 * math.log(2 * math.pi * math.e * 0.05**2)
    normal = math.log(2 * math.pi * math.e) + math.log(0.5)  # its covariance is I / 2
    assert normal - entropy - 0.3 < far < normal - entropy + 0.05  # a bound from below
    assert nats_from_nearest_normal(codes @ STRETCH, train @ STRETCH) == pytest.approx(far, 0.05)


def test_clusters_in_many_dimensions_are_as_far_from_normal_as_they_are():
    middles = 4 * gaussian(5, 32, seed=7)
    label = torch.arange(12_000) % 5
    train, codes = (gaussian(12_000, 32) + middles[label]).split(6000)
    parts = torch.distributions.MultivariateNormal(middles, torch.eye(32))
    own = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.full((5,), 0.2)), parts
    )
    mixture = distributions.mixture_of(train)
    assert distributions.nats_from(codes, mixture, own.log_prob(codes)) < 0.05
    log_density = distributions.fitted(train, 1).log_prob(codes.double())
    truth = float(own.log_prob(codes).mean() - log_density.mean())
    assert truth > 3
    found = distributions.nats_from(codes, mixture, log_density)
    assert truth - 2.5 < found < truth + 0.05


def test_the_distance_from_a_density_is_the_kl_divergence():
    whole = 0.5 * gaussian(8000, 2) + torch.tensor([1.0, 0.0])
    train, codes = whole.split(4000)
    density = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    own = torch.distributions.MultivariateNormal(torch.tensor([1.0, 0.0]), 0.25 * torch.eye(2))
    expected = float(torch.distributions.kl_divergence(own, density))
    mixture = distributions.mixture_of(train)
    found = distributions.nats_from(codes, mixture, density.log_prob(codes))
    assert found == pytest.approx(expected, abs=0.08)


def test_whitened_codes_have_no_mean_and_unit_covariance():
    codes = ring(4000) @ STRETCH + 5
    white = distributions.whitened(codes)
    torch.testing.assert_close(white.T.cov(), torch.eye(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(white.mean(0), torch.zeros(2).double(), atol=1e-6, rtol=0)
    constant = torch.cat([codes, torch.zeros(4000, 1)], 1)  # a unit that never changes
    assert distributions.whitened(constant).isfinite().all()


def test_shares_are_apart_by_what_would_have_to_move_and_by_chance_as_draws_are():
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.3, 0.3, 0.4])
    assert distributions.apart(p, q) == pytest.approx(0.2)
    assert distributions.apart(p, p) == 0
    draws = torch.distributions.Multinomial(400, p).sample((4000, 2)) / 400
    mean = sum(distributions.apart(a, b) for a, b in draws) / 4000
    assert distributions.apart_by_chance(p, 400, 400) == pytest.approx(mean, rel=0.05)


def test_a_class_twice_as_wide_has_four_times_the_area():
    label = torch.arange(8000) % 2
    codes = gaussian(8000, 2) * (1 + label[:, None])
    areas = distributions.class_areas(codes @ STRETCH, label, num_classes=3)
    torch.testing.assert_close(areas, torch.tensor([0.2, 0.8, 0.0]).double(), atol=0.02, rtol=0)
    wide = gaussian(8000, 6) * (1 + label[:, None])  # in any dimension
    assert distributions.class_areas(wide, label, 2)[1] == pytest.approx(0.8, abs=0.02)
    flat = distributions.class_areas(wide[:12], label[:12], 2)  # 6 codes fill no volume of 6
    assert torch.equal(flat, torch.zeros(2).double())


def test_the_nearest_class_is_that_of_most_codes_around():
    label = torch.arange(300) % 3
    codes = gaussian(300, 2) * 0.1 + 5 * label[:, None]
    points = torch.tensor([[0.2, 0.0], [9.0, 11.0], [5.0, 4.0]])
    assert distributions.nearest_class(points, codes, label).tolist() == [0, 2, 1]


def test_the_density_of_a_mixture_is_that_of_torch():
    density = GaussianMixture(latent_dim=2, num_components=3)
    density.fit(torch.cat([gaussian(200, 2) @ STRETCH, ring(200)]))
    parts = torch.distributions.MultivariateNormal(density.mean, scale_tril=density.factor)
    mixed = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(density.weight), parts
    )
    z = gaussian(50, 2, seed=2)
    torch.testing.assert_close(density.log_prob(z), mixed.log_prob(z))


# Maps --------------------------------------------------------------------------------------------


def test_principal_components_keep_the_largest_variance_and_place_further_codes_alike():
    codes = gaussian(500, 5) * torch.tensor([0.1, 3.0, 0.1, 7.0, 0.1])
    placed, further = projections.principal_components(codes, codes[:4], seed=0)
    torch.testing.assert_close(placed[:4], further)
    assert torch.corrcoef(torch.stack([placed[:, 0], codes[:, 3]])).abs()[0, 1] > 0.99


def test_neighbours_stay_together_on_a_map_and_a_seed_makes_it():
    label = torch.arange(90) % 3
    codes = gaussian(90, 8) * 0.1 + 5 * label[:, None]
    placed, further = projections.neighbour_embedding(codes, codes[:6] + 0.01, seed=1)
    assert torch.equal(distributions.nearest_class(further, placed, label), label[:6])
    assert torch.equal(placed, projections.neighbour_embedding(codes, codes[:6] + 0.01, seed=1)[0])
    assert projections.neighbour_embedding(codes, codes[:1], seed=2**60)[0].isfinite().all()


def test_a_missing_library_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"projection=umap: needs umap-learn; .*\[umap\]"):
        projections.manifold_approximation(torch.zeros(9, 3), torch.zeros(1, 3), seed=0)
