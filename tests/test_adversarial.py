"""Adversarial losses and penalties against the theory."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from gdm.theory.adversarial import (
    R1,
    R1R2,
    GradientPenalty,
    Hinge,
    LabelNoise,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
    slope_at,
)

OBJECTIVES = [NonSaturating(), Minimax(), LeastSquares(), Hinge(), Wasserstein()]
OUTPUT = torch.linspace(-3, 3, 13, dtype=torch.float64)
REAL, FAKE = torch.ones_like(OUTPUT), torch.zeros_like(OUTPUT)


def gradient(function, output: float) -> float:
    output = torch.tensor(output, dtype=torch.float64, requires_grad=True)
    return float(torch.autograd.grad(function(output), output)[0])


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: type(each).__name__)
def test_the_discriminator_wants_large_outputs_for_real_and_small_for_fake(objective):
    middle = 0.0 if objective.boundary is None else objective.boundary
    assert gradient(objective.of_real, middle) < 0 < gradient(objective.of_fake, middle)
    assert gradient(objective.of_generator, middle) < 0  # and the generator large ones


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: type(each).__name__)
def test_labels_of_1_and_0_are_real_and_fake(objective):
    assert torch.equal(objective.of_discriminator(OUTPUT, REAL), objective.of_real(OUTPUT))
    assert torch.equal(objective.of_discriminator(OUTPUT, FAKE), objective.of_fake(OUTPUT))


@pytest.mark.parametrize("realness", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_soft_labels_are_those_of_the_cross_entropy(realness):
    label = torch.full_like(OUTPUT, realness)
    expected = binary_cross_entropy_with_logits(OUTPUT, label, reduction="none")
    torch.testing.assert_close(NonSaturating().of_discriminator(OUTPUT, label), expected)


@pytest.mark.parametrize("realness", [0.0, 0.1, 0.5, 1.0])
def test_soft_labels_are_the_targets_of_least_squares(realness):
    """(output - label)^2 / 2, up to a constant."""
    label = torch.full_like(OUTPUT, realness)
    difference = LeastSquares().of_discriminator(OUTPUT, label) - (OUTPUT - realness) ** 2 / 2
    torch.testing.assert_close(difference, difference[0].expand_as(difference))


def test_the_best_discriminator_measures_the_jensen_shannon_divergence():
    """Goodfellow et al. 2014, theorem 1: at D = p / (p + q) the value is 2 JSD - 2 log 2."""
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.1, 0.3, 0.6]).double()
    logits = (p / q).log()
    loss = (p * Minimax().of_real(logits) + q * Minimax().of_fake(logits)).sum()
    middle = (p + q) / 2
    divergence = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    assert float(-loss) == pytest.approx(
        float(2 * divergence) - 2 * float(torch.tensor(2.0).log())
    )


def test_minimax_gives_no_gradient_where_the_discriminator_is_sure_and_non_saturating_does():
    assert gradient(Minimax().of_generator, 0.0) == gradient(NonSaturating().of_generator, 0.0)
    assert abs(gradient(Minimax().of_generator, -20.0)) < 1e-8
    assert gradient(NonSaturating().of_generator, -20.0) == pytest.approx(-1.0)


def test_the_hinge_asks_no_more_than_a_margin_of_1():
    assert gradient(Hinge().of_real, 1.5) == 0 == gradient(Hinge().of_fake, -1.5)
    assert gradient(Hinge().of_real, 0.5) == -1 == -gradient(Hinge().of_fake, -0.5)


def test_a_critic_of_slope_1_measures_the_distance_of_two_points():
    def critic(x):  # towards the real point, the best of slope 1
        return x.flatten(1) @ torch.tensor([0.6, 0.8])

    real, fake = torch.tensor([[[[3.0]], [[4.0]]]]), torch.zeros(1, 2, 1, 1)
    loss = Wasserstein().of_real(critic(real)) + Wasserstein().of_fake(critic(fake))
    assert float(-loss) == pytest.approx(5.0)
    assert float(slope_at(real, critic)) == pytest.approx(1.0)


def test_a_relativistic_discriminator_learns_differences_and_the_generator_the_reverse():
    """Huang et al. 2024, equation 2: a constant added to all outputs changes nothing."""
    real, fake = OUTPUT, OUTPUT.flip(0) / 2
    objective = Relativistic()
    loss = objective.discriminator_loss(real, fake, REAL, FAKE)
    torch.testing.assert_close(loss, -torch.sigmoid(real - fake).log())
    shifted = objective.discriminator_loss(real + 5, fake + 5, REAL, FAKE)
    torch.testing.assert_close(loss, shifted)
    mistaken = objective.generator_loss(real, fake)
    torch.testing.assert_close(mistaken, -torch.sigmoid(fake - real).log())
    # labels the wrong way round: the pair is
    torch.testing.assert_close(objective.discriminator_loss(real, fake, FAKE, REAL), mistaken)


# Penalties --------------------------------------------------------------------------------------


def images(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_the_slope_is_the_norm_over_all_of_an_image():
    weight = torch.randn(2, 4, 4)
    slope = slope_at(images(0), lambda x: (x * weight).sum((1, 2, 3)))
    torch.testing.assert_close(slope, weight.norm().expand(6))


def test_the_gradient_penalty_costs_what_a_slope_differs_from_1():
    penalty = GradientPenalty(10.0, 1)
    assert penalty.cost(torch.tensor([0.0, 1.0, 3.0])).tolist() == [1.0, 0.0, 4.0]


def test_r1_and_r2_are_the_costs_of_real_and_of_fake_images_together():
    real, fake = images(0), images(1, 2.0)

    def critic(x):
        return x.square().flatten(1).sum(1)  # of slope 2 |x|

    both = R1R2(1.0, 1)
    cost = both.cost(both.slope(critic, real, fake)).mean()
    expected = sum(0.5 * (2 * x).square().flatten(1).sum(1).mean() for x in (real, fake))
    torch.testing.assert_close(cost, expected)


def test_the_gradient_penalty_looks_between_real_and_fake_at_one_point_of_each_pair():
    real, fake, seen = images(0), images(1), []

    def discriminator(x):
        seen.append(x.detach())
        return x.square().sum((1, 2, 3))

    GradientPenalty(10.0, 1).slope(discriminator, real, fake)
    share = ((seen[0] - fake) / (real - fake)).flatten(1)  # the same all over an image
    torch.testing.assert_close(share, share[:, :1].expand_as(share), rtol=1e-3, atol=1e-3)
    assert 0 <= share.min() < share.max() <= 1
    assert len(share[:, 0].unique()) == 6


def test_r1_is_half_the_squared_slope_at_real_images():
    """D(x) = |x|^2 / 2 has the slope |x|."""
    penalty, real = R1(1.0, 1), images(0)
    slope = penalty.slope(lambda x: x.square().sum((1, 2, 3)) / 2, real, images(1))
    squared = real.square().sum((1, 2, 3))
    torch.testing.assert_close(penalty.cost(slope), squared / 2)


@pytest.mark.parametrize("penalty", [R1(1.0, 1), GradientPenalty(10.0, 1)])
def test_a_penalty_is_in_full_precision_and_teaches_the_discriminator(penalty):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 8, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(32, 1)
    )

    def cost():
        torch.manual_seed(1)  # the same points between
        slope = penalty.slope(lambda x: network(x).squeeze(1), images(0), images(1))
        return penalty.cost(slope).mean()

    with torch.autocast("cpu", torch.bfloat16):
        in_half = cost()
    assert in_half.dtype == torch.float32
    assert float(in_half) == float(cost())
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(20):
        optimizer.zero_grad()
        cost().backward()
        optimizer.step()
    assert float(cost()) < float(in_half)


# Labels -----------------------------------------------------------------------------------------


def test_without_remedies_the_discriminator_is_told_the_truth():
    real, fake = LabelNoise(0.0, 0.0, 0.0)(OUTPUT)
    assert torch.equal(real, REAL)
    assert torch.equal(fake, FAKE)


def test_smoothing_lowers_the_labels_of_real_images_alone():
    real, fake = LabelNoise(0.1, 0.0, 0.0)(OUTPUT)
    assert torch.equal(real, 0.9 * REAL)
    assert torch.equal(fake, FAKE)


def test_a_share_of_the_labels_is_flipped():
    torch.manual_seed(0)
    real, fake = LabelNoise(0.0, 0.2, 0.0)(torch.zeros(20_000))
    assert set(real.tolist()) == {0.0, 1.0} == set(fake.tolist())
    assert float(1 - real.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(fake.mean()) == pytest.approx(0.2, abs=0.01)


def test_noise_on_the_labels_leaves_them_between_0_and_1():
    torch.manual_seed(0)
    real, fake = LabelNoise(0.5, 0.0, 0.1)(torch.zeros(20_000))
    assert float(real.std()) == pytest.approx(0.1, abs=0.01)
    assert 0 <= fake.min() < fake.max() <= 1
