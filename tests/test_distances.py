"""Distances against closed forms, brute force, and the libraries that are known for them."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, softmax
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from gdm.data.mnist import FashionMNISTMini
from gdm.evaluation.distances import (
    frechet_distance,
    inception_score,
    kernel_distance,
    memorised,
    nearest,
    precision_recall,
)
from gdm.theory.images import to_float
from gdm.theory.moments import JointMoments

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchmetrics.*")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def shuffled(rows: torch.Tensor) -> torch.Tensor:
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))]


def noise_images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)


def joint(values: torch.Tensor) -> JointMoments:
    moments = JointMoments()
    moments.update(values)
    return moments


def frechet(x: torch.Tensor, y: torch.Tensor) -> float:
    return frechet_distance(joint(x), joint(y))


def blocks(images: torch.Tensor) -> torch.Tensor:
    """Return the mean grey of blocks of 4 x 4 pixels, (N, 49)."""
    return avg_pool2d(to_float(images), 4).flatten(1)


@pytest.fixture(scope="module")
def training_images():
    return FashionMNISTMini().load("train").images


@pytest.fixture(scope="module")
def test_images():
    return FashionMNISTMini().load("test").images


@pytest.fixture(scope="module")
def samples(training_images):
    """Features of real images with noise in them."""
    images = to_float(training_images[:700])
    return avg_pool2d(images + 0.3 * normal(*images.shape).float(), 4).flatten(1)


@pytest.fixture(scope="module")
def reference(test_images):
    return blocks(test_images[:900])


class Identity(nn.Module):
    """The extractor of an oracle that is handed the features themselves."""

    num_features = 49

    def forward(self, x):
        return x


def told(metric, samples, reference):
    """Return what an oracle says of two sets of features."""
    metric.update(reference.double(), real=True)
    metric.update(samples.double(), real=False)
    return metric.compute()


# What the metrics mean ---------------------------------------------------------------------------


def test_real_images_score_as_real_and_noise_terribly(training_images, test_images):
    reference = blocks(test_images)
    real, noise = blocks(training_images[:2000]), blocks(noise_images(2000))
    assert frechet(noise, reference) > 100 * frechet(real, reference)
    distance, error = kernel_distance(real, reference)
    assert abs(distance) < 4 * error
    distance, error = kernel_distance(noise, reference)
    assert distance > 50 * error
    of_real, of_noise = precision_recall(real, reference), precision_recall(noise, reference)
    assert of_real["precision"] > 0.8
    assert of_real["recall"] > 0.8
    assert of_real["density"] == pytest.approx(1, abs=0.1)
    assert of_real["coverage"] > 0.9
    assert of_noise["recall"] == 0
    # one outlier has a ball so wide that much noise is in it (Naeem et al. 2020, section 3.1)
    assert of_noise["precision"] < 0.4
    assert of_noise["density"] < 0.1
    assert of_noise["coverage"] < 0.01


@pytest.mark.parametrize("place", [0, 500])
@pytest.mark.parametrize("rounding", [0, 3e-7])
def test_one_repeated_real_image_is_precise_and_has_no_recall(reference, place, rounding):
    """Whether or not other batches have rounded the features of the copies in other ways."""
    image = reference[place]
    repeated = image * (1 + rounding * normal(400, 49).float())
    found = precision_recall(repeated, reference)
    assert found["precision"] == 1
    assert found["recall"] == 0
    assert found["coverage"] < 0.05
    radii = radii_in_full(reference, 5)
    within = distances_in_full(image[None], reference) < radii
    within_or_on = distances_in_full(image[None], reference) < radii * (1 + 1e-5)
    highest = within.sum() if rounding == 0 else within_or_on.sum()
    assert within.sum() / 5 <= found["density"] + 1e-6
    assert found["density"] <= highest / 5 + 1e-6


@pytest.mark.parametrize("order", ["same", "shuffled"])
def test_a_set_against_itself_is_at_no_distance_and_as_dense_as_itself(reference, order):
    again = shuffled(reference) if order == "shuffled" else reference
    assert 0 <= frechet(again, reference) < 1e-9
    perfect = {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    assert precision_recall(again, reference) == perfect


def test_order_and_batches_change_nothing(samples, reference):
    again = shuffled(samples)
    moments = JointMoments()
    for part in again.split(37):
        moments.update(part)
    expected = frechet(samples, reference)
    assert frechet_distance(moments, joint(reference)) == pytest.approx(expected, rel=1e-9)
    expected = kernel_distance(samples, reference)
    assert kernel_distance(again, reference) == pytest.approx(expected, rel=1e-9)
    assert precision_recall(again, reference) == precision_recall(samples, reference)


# Frechet distance --------------------------------------------------------------------------------


def with_moments(mean: torch.Tensor, covariance: torch.Tensor, count: int) -> torch.Tensor:
    """Return vectors whose sample mean and covariance are these, up to rounding."""
    x = normal(count, len(mean))
    x = x - x.mean(0)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False)
    return mean + (torch.linalg.cholesky(covariance) @ whitened).T


def test_frechet_distance_of_gaussians_is_the_closed_form():
    """Where the covariances share their axes it is a sum over these."""
    axes = torch.linalg.qr(normal(6, 6)).Q
    variance = torch.tensor([1e-10, 0.1, 0.5, 1.0, 2.0, 3.0]).double()
    other_variance = 2 * torch.ones(6).double()
    mean, other_mean = torch.arange(6).double(), torch.zeros(6).double()
    x = with_moments(mean, axes * variance @ axes.T, 50)
    y = with_moments(other_mean, axes * other_variance @ axes.T, 70)
    expected = mean.square().sum() + (variance.sqrt() - other_variance.sqrt()).square().sum()
    assert frechet(x, y) == pytest.approx(float(expected), rel=1e-9)


def test_frechet_distance_of_many_samples_comes_near_the_closed_form():
    found = [frechet(2 * normal(20_000, 1, seed=i), 1 + normal(20_000, 1, seed=-i))
             for i in range(1, 21)]  # fmt: skip
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(1 + (2 - 1) ** 2, abs=3 * error)


def test_frechet_distance_is_scipys_and_torchmetrics(samples, reference):
    m, m_r = samples.double().mean(0), reference.double().mean(0)
    c, c_r = samples.T.double().cov(), reference.T.double().cov()
    root = scipy.linalg.sqrtm((c @ c_r).numpy()).real
    by_scipy = float((m - m_r).square().sum() + c.trace() + c_r.trace()) - 2 * np.trace(root)
    assert frechet(samples, reference) == pytest.approx(by_scipy, rel=1e-6)
    oracle = told(FrechetInceptionDistance(Identity()), samples, reference)
    assert frechet(samples, reference) == pytest.approx(float(oracle), rel=1e-6)


def test_fewer_images_than_features_cost_no_digits():
    """Without covariances: the trace of the root is the nuclear norm of X Y^T."""
    x, y = normal(40, 300) * torch.arange(1, 301) ** -0.5, normal(60, 300, seed=1)
    x_0, y_0 = (x - x.mean(0)) / math.sqrt(39), (y - y.mean(0)) / math.sqrt(59)
    expected = (
        (x.mean(0) - y.mean(0)).square().sum()
        + x_0.square().sum()
        + y_0.square().sum()
        - 2 * torch.linalg.matrix_norm(x_0 @ y_0.T, "nuc")
    )
    assert frechet(x, y) == pytest.approx(float(expected), rel=1e-12)


def test_frechet_distance_of_one_distribution_falls_as_one_over_the_number_of_images():
    def bias(count, repetitions):
        return np.mean([frechet(normal(count, 64, seed=2 * i), normal(count, 64, seed=2 * i + 1))
                        for i in range(repetitions)])  # fmt: skip

    of_thousand, of_five_thousand = bias(1000, 8), bias(5000, 4)
    assert of_thousand == pytest.approx(2.3, rel=0.05)
    assert of_five_thousand == pytest.approx(0.46, rel=0.05)
    # to first order D (D + 1) / (2 n) from the covariances and 2 D / n from the means
    assert of_five_thousand == pytest.approx(64 * 65 / 10_000 + 128 / 5000, rel=0.05)


def test_features_that_never_vary_are_no_obstacle(samples, reference):
    def dead(x):
        return torch.cat([x, torch.ones(len(x), 3)], 1)

    expected = frechet(samples, reference)
    assert frechet(dead(samples), dead(reference)) == pytest.approx(expected, rel=1e-9)
    one_image = samples[:1].expand(50, -1)
    expected = (samples[0] - reference.mean(0)).square().sum() + reference.var(0).sum()
    assert frechet(one_image, reference) == pytest.approx(float(expected), rel=1e-5)


# Kernel distance ---------------------------------------------------------------------------------


def kernel_in_full(x, y):
    """Return the mean kernel of all pairs of different images within, less that between."""
    x, y = x.double(), y.double()

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        return (kernel(a, a).sum() - kernel(a, a).trace()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def test_kernel_distance_is_that_of_full_matrices_and_torchmetrics(samples, reference):
    expected = kernel_in_full(samples, reference)
    assert kernel_distance(samples, reference)[0] == pytest.approx(expected, rel=1e-9)
    metric = KernelInceptionDistance(Identity(), subsets=1, subset_size=700)
    oracle, _ = told(metric, samples, reference[:700])
    found, _ = kernel_distance(samples, reference[:700])
    assert found == pytest.approx(float(oracle), rel=1e-6)


def test_the_error_is_that_of_leaving_images_out_one_at_a_time(samples, reference):
    x, y = samples[:12], reference[:9]

    def spread(left_out):
        return (len(left_out) - 1) * np.var(left_out)

    without_x = [kernel_in_full(torch.cat([x[:i], x[i + 1 :]]), y) for i in range(12)]
    without_y = [kernel_in_full(x, torch.cat([y[:i], y[i + 1 :]])) for i in range(9)]
    expected = math.sqrt(spread(without_x) + spread(without_y))
    assert kernel_distance(x, y)[1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("shift", "error_over_spread"), [(0, math.sqrt(2)), (0.3, 1)])
def test_kernel_distance_has_no_bias_and_the_error_is_its_spread(shift, error_over_spread):
    found = [kernel_distance(normal(100, 8, seed=2 * i) + shift, normal(150, 8, seed=2 * i + 1))
             for i in range(300)]  # fmt: skip
    distance, error = np.array(found).T
    expected = expected_kernel_distance(shift)
    assert distance.mean() == pytest.approx(expected, abs=3 * distance.std() / math.sqrt(300))
    root_mean_square = math.sqrt(np.mean(error**2))
    assert root_mean_square / distance.std() == pytest.approx(error_over_spread, rel=0.15)


def expected_kernel_distance(shift: float, d: int = 8) -> float:
    """Return the squared discrepancy of N(a, I) and N(0, I) where a is d times the shift.

    With s = x . y / d, E[(s + 1)^3] = 1 + 3 E[s] + 3 E[s^2] + E[s^3]. For two of N(a, I), with
    r = |a|^2: d E[s] = r, d^2 E[s^2] = d + 2 r + r^2, d^3 E[s^3] = r^3 + 6 r^2 + 3 (d + 2) r.
    For two of N(0, I) that is r = 0, and between the sets d^2 E[s^2] = d + r, the others zero.
    """
    r = d * shift**2
    within_x = (
        3 * r / d + 3 * (d + 2 * r + r**2) / d**2 + (r**3 + 6 * r**2 + 3 * (d + 2) * r) / d**3
    )
    return within_x + 3 / d - 2 * 3 * (d + r) / d**2


# Precision, recall, density, coverage ------------------------------------------------------------


def distances_in_full(x, y):
    x, y = x.double(), y.double()
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def radii_in_full(x, k):
    return distances_in_full(x, x).sort(1).values[:, k]


def precision_recall_in_full(samples, reference, k):
    """Return the definitions of Naeem et al. 2020, section 3, a matrix each."""
    between = distances_in_full(reference, samples)
    in_reference = between < radii_in_full(reference, k)[:, None]
    in_samples = between < radii_in_full(samples, k)
    return {
        "precision": float(in_reference.any(0).double().mean()),
        "recall": float(in_samples.any(1).double().mean()),
        "density": float(in_reference.sum(0).double().mean() / k),
        "coverage": float((between.amin(1) < radii_in_full(reference, k)).double().mean()),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_their_definitions(samples, reference, k):
    found = precision_recall(samples, reference, k)
    assert found == pytest.approx(precision_recall_in_full(samples, reference, k), rel=1e-12)
    assert 0.1 < found["precision"] < 0.99
    assert 0.1 < found["recall"] < 0.99


def test_duplicates_and_outliers_keep_the_definitions(samples, reference):
    samples = torch.cat([samples[:300], samples[:200], reference[:50], reference[:50]])
    samples[7] = 1e6
    reference = torch.cat([reference[:400], reference[:100], reference[:1].expand(4, -1)])
    expected = precision_recall_in_full(samples, reference, 3)
    assert precision_recall(samples, reference, 3) == pytest.approx(expected, rel=1e-12)


def test_an_offset_of_all_features_changes_no_precision(samples, reference):
    samples, reference = samples.double(), reference.double()
    expected = precision_recall(samples, reference)
    assert precision_recall(samples + 1e6, reference + 1e6) == expected


# Inception score ---------------------------------------------------------------------------------


def score(probabilities: torch.Tensor) -> float:
    mean_log = torch.special.xlogy(probabilities, probabilities).sum(1).mean()
    return inception_score(probabilities.mean(0), float(mean_log))


def test_inception_score_is_one_for_constant_predictions_and_the_classes_for_confident_ones():
    constant = torch.tensor([0.2, 0.3, 0.5, 0]).double().expand(100, -1)
    assert score(constant) == pytest.approx(1)
    assert score(torch.eye(7).double().repeat(20, 1)) == pytest.approx(7)
    assert score(torch.eye(7).double()[[0] * 20]) == pytest.approx(1)


def test_inception_score_is_torchmetrics():
    logits = 3 * normal(500, 10)
    metric = InceptionScore(Identity(), splits=1)
    metric.update(logits)
    assert score(softmax(logits, 1)) == pytest.approx(float(metric.compute()[0]), rel=1e-6)


# Neighbours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 128, 900])
def test_nearest_is_brute_force_however_the_searched_are_parted(samples, reference, rows):
    found, index = nearest(samples, reference.split(rows), 4)
    expected = distances_in_full(samples, reference).sort(1)
    torch.testing.assert_close(found, expected.values[:, :4], rtol=1e-6, atol=0)
    assert torch.equal(index, expected.indices[:, :4])


def test_copies_are_memorised_and_held_out_images_are_not(training_images, test_images):
    def fraction_memorised(images):
        searched = (part.flatten(1).float() for part in training_images.split(2500))
        found, _ = nearest(images.flatten(1).float(), searched, 2)
        return float(memorised(found).double().mean())

    copies = training_images[:300]
    near_copies = (copies.float() + 2 * normal(*copies.shape)).round().clamp(0, 255)
    assert fraction_memorised(copies) == 1
    assert fraction_memorised(near_copies) > 0.95
    assert fraction_memorised(test_images[:1000]) < 0.05


def test_memorised_is_at_most_a_third_as_far_as_the_second_nearest():
    distances = torch.tensor([[1.0, 3.0, 3.0], [1.01, 3.0, 9.0], [0.0, 0.0, 1.0], [2.0, 2.0, 2.0]])
    assert memorised(distances).tolist() == [True, False, True, False]
