"""The VAE's bound against exact likelihoods, and what is reported of its codes."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from gdm.data.batches import Batch
from gdm.models.vae import VAE
from gdm.theory import likelihoods
from gdm.theory.images import ImageFacts
from gdm.theory.learning_rates import Constant
from gdm.theory.moments import Moments
from gdm.theory.priors import Mixture, StandardNormal

LATENT_DIM, PIXELS, SIGMA = 2, 16 * 16, 0.3


def vae(**changes) -> VAE:
    arguments = {
        "facts": ImageFacts(channels=1, resolution=16, native_resolution=16, num_classes=10),
        "latent_dim": LATENT_DIM, "width": 8, "beta": 1.0, "condition": None,
        "likelihood": likelihoods.Gaussian(-2.0, True), "prior": StandardNormal,
        "optimizer": partial(torch.optim.Adam, lr=1e-3), "learning_rate": Constant(0.0),
        "ema": None, "max_gradient_norm": None,
    }  # fmt: skip
    return VAE(**arguments | changes)


class LinearGaussian(likelihoods.Gaussian):
    """A Gaussian likelihood of real-valued data, without bins."""

    def observed(self, x: Tensor, within_bin: Tensor) -> Tensor:
        return x


class PosteriorOfPPCA(nn.Module):
    """q(z | x) = N(M^-1 W^T x, sigma^2 M^-1), M = W^T W + sigma^2 I (Tipping and Bishop 1999)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        m = weight.T @ weight + SIGMA**2 * torch.eye(LATENT_DIM)
        self.projection = torch.linalg.solve(m, weight.T)
        self.log_variance = (SIGMA**2 / m.diagonal()).log()

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1) @ self.projection.T
        return torch.cat([mean, self.log_variance.expand_as(mean)], dim=1)


class LinearDecoder(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T).view(-1, 1, 16, 16)


@pytest.fixture
def ppca():
    """A linear VAE at the optimum of probabilistic PCA, and its exact distribution."""
    generator = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(PIXELS, LATENT_DIM, generator=generator))
    weight = directions * torch.tensor([2.0, 0.7])  # orthogonal: the true posterior is diagonal
    log_variance = float(torch.tensor(SIGMA**2).log())
    model = vae(likelihood=LinearGaussian(log_variance, False))
    model.encoder, model.decoder = PosteriorOfPPCA(weight), LinearDecoder(weight)
    covariance = weight @ weight.T + SIGMA**2 * torch.eye(PIXELS)
    return model, MultivariateNormal(torch.zeros(PIXELS), covariance), weight


def exact_and_bound(ppca, num_importance_samples: int = 1) -> tuple[Tensor, Tensor]:
    model, exact, _ = ppca
    torch.manual_seed(0)
    x = exact.sample((1,))
    draws = 4000
    repeated = x.view(1, 1, 16, 16).expand(draws, -1, -1, -1)
    with torch.no_grad():
        bound = model.log_likelihood(repeated, None, range(draws), num_importance_samples)
    return exact.log_prob(x)[0] + likelihoods.log_bin_volume(PIXELS), bound


def test_the_elbo_of_a_linear_vae_with_the_true_posterior_is_the_likelihood_of_ppca(ppca):
    exact, bound = exact_and_bound(ppca)
    assert float(bound.mean()) == pytest.approx(float(exact), abs=5 * float(bound.std()) / 63)


def test_the_elbo_is_lower_by_the_divergence_of_a_wrong_posterior(ppca):
    model, _, _ = ppca
    right = model.encoder.log_variance.clone()
    model.encoder.log_variance = right + 1.0
    exact, bound = exact_and_bound(ppca)
    # KL of N(m, e s^2) from N(m, s^2), unit by unit: (e - 1 - 1) / 2
    gap = LATENT_DIM * 0.5 * (torch.e - 2)
    assert float(exact - bound.mean()) == pytest.approx(gap, abs=5 * float(bound.std()) / 63)


def test_the_importance_weighted_bound_rises_to_the_likelihood_and_its_weights_are_unbiased(ppca):
    ppca[0].encoder.log_variance = ppca[0].encoder.log_variance + 1.0
    gaps = []
    for num_importance_samples in (1, 4, 16):
        exact, bound = exact_and_bound(ppca, num_importance_samples)
        weight = (bound - exact).exp()  # its mean is 1 for every number of samples
        assert float(weight.mean()) == pytest.approx(1, abs=5 * float(weight.std()) / 63)
        gaps.append(float(exact - bound.mean()))
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0
    assert gaps[2] < 0.06


def test_the_objective_is_reconstruction_plus_beta_times_kl():
    x = torch.rand(4, 1, 16, 16) * 2 - 1
    batch = Batch(x, torch.zeros(4).long(), torch.arange(4))
    for beta in (0.0, 1.0, 4.0):
        terms = vae(beta=beta).training_step(batch, 0)
        expected = terms["reconstruction"] + beta * terms["kl"]
        torch.testing.assert_close(terms["loss"], expected)


def test_the_reported_elbo_knows_no_beta():
    x = torch.rand(4, 1, 16, 16) * 2 - 1
    torch.manual_seed(0)
    plain = vae(beta=1.0).eval()
    other = vae(beta=7.0).eval()
    other.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(
            plain.log_likelihood(x, None, range(4)), other.log_likelihood(x, None, range(4))
        )


def bent_mixture(num_labels: int = 1, latent_dim: int = 3) -> Mixture:
    torch.manual_seed(0)
    mixture = Mixture(latent_dim, num_labels, num_components=5, rate_multiplier=10.0)
    for parameter in mixture.parameters():
        nn.init.normal_(parameter, std=0.08)
    return mixture


def reference(mixture: Mixture, label: int) -> MixtureSameFamily:
    components = Normal(mixture.mean, (mixture.log_variance / 2).exp())
    weights = mixture.log_weight(torch.tensor([label]), 1)[0].exp()
    return MixtureSameFamily(Categorical(weights), Independent(components, 1))


def test_a_mixture_has_the_density_of_torch_distributions():
    mixture = bent_mixture(num_labels=4)
    z = torch.randn(6, 3)
    for label in range(4):
        expected = reference(mixture, label).log_prob(z)
        actual = mixture.log_prob(z, torch.full((6,), label))
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_samples_of_a_mixture_have_its_mean_and_variance():
    mixture = bent_mixture()
    count = 40_000
    torch.manual_seed(1)
    noise = torch.rand(count), torch.randn(count, 3)
    with torch.no_grad():
        samples = mixture.transform(*noise, torch.zeros(count).long())
        exact = reference(mixture, 0)
    torch.testing.assert_close(samples.mean(0), exact.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(samples.var(0), exact.variance, atol=0.03, rtol=0.03)


def test_the_divergence_from_a_mixture_is_unbiased():
    """A mixture of equal standard normals has the closed form of one."""
    mean, log_variance = torch.tensor([[0.7, -0.4]]), torch.tensor([[-1.0, 0.5]])
    draws = 20_000
    torch.manual_seed(0)
    z = mean + (log_variance / 2).exp() * torch.randn(draws, 2)
    mixture = Mixture(2, num_labels=1, num_components=3, rate_multiplier=1.0)
    for parameter in mixture.parameters():
        nn.init.zeros_(parameter)
    label = torch.zeros(draws).long()
    with torch.no_grad():
        estimate = mixture.divergence(
            z, mean.expand(draws, -1), log_variance.expand(draws, -1), label
        )
    exact = StandardNormal(2, 1).divergence(mean, mean, log_variance, label)
    tolerance = 5 * float(estimate.std()) / draws**0.5
    assert float(estimate.mean()) == pytest.approx(float(exact), abs=tolerance)


def moments_of(values: Tensor) -> Moments:
    moments = Moments()
    moments.update(values)
    return moments


def test_kl_per_unit_of_the_standard_normal_sums_to_the_kl():
    mean, log_variance = torch.randn(50, 4).double(), torch.randn(50, 4).double()
    per_unit = StandardNormal(4, 1).divergence_per_unit(
        moments_of(mean), log_variance.exp().mean(0), log_variance.mean(0)
    )
    expected = likelihoods.gaussian_kl_per_unit(mean, log_variance).mean(0)
    torch.testing.assert_close(per_unit, expected)


@pytest.mark.parametrize(
    "prior", [StandardNormal, partial(Mixture, num_components=3, rate_multiplier=1.0)]
)
def test_a_collapsed_unit_is_not_active_and_tells_nothing(prior):
    model = vae(prior=prior, latent_dim=3)
    mean = torch.randn(500, 3) * torch.tensor([1.0, 1.0, 1e-3])  # the last is always the same
    log_variance = torch.log(torch.tensor([0.1, 0.1, 1.0])).expand(500, 3)
    zeros = torch.zeros(500)
    metrics = dict.fromkeys(("reconstruction", "kl", "elbo", "bits_per_dim"), zeros)
    metrics |= {
        "is_likelihood": torch.ones(500),
        "posterior_mean": mean,
        "posterior_log_variance": log_variance,
        "posterior_variance": log_variance.exp(),
    }
    report = model.summarise({name: moments_of(values) for name, values in metrics.items()})
    assert report["active_units"] == 2
    assert report["kl_per_unit"][2] == pytest.approx(0.0, abs=0.01)
    assert min(report["kl_per_unit"][:2]) > 0.5


def test_a_bernoulli_reports_no_elbo_of_grey_images():
    model = vae(likelihood=likelihoods.Bernoulli()).eval()
    grey = torch.rand(4, 1, 16, 16) * 2 - 1
    label = torch.zeros(4).long()
    for x, reported in ((grey, False), (grey.sign(), True)):
        with torch.no_grad():
            metrics = model.metrics(Batch(x, label, torch.arange(4)))
        report = model.summarise({name: moments_of(values) for name, values in metrics.items()})
        assert ("bits_per_dim" in report) == reported


def test_samples_depend_on_their_index_and_the_seed_alone():
    model = vae().eval()
    whole = model.sample(range(10), seed=3)
    parts = torch.cat([model.sample([i], seed=3) for i in range(10)])
    torch.testing.assert_close(whole, parts, atol=1 / 127.5, rtol=0)
    assert not torch.allclose(whole, model.sample(range(10), seed=4), atol=1e-3)


def test_a_conditional_vae_decodes_one_code_differently_for_each_class():
    model = vae(condition="label").eval()
    z = torch.zeros(10, LATENT_DIM)
    images = model.decode(z, torch.arange(10))
    assert len({tuple(image.flatten().tolist()) for image in images}) == 10
