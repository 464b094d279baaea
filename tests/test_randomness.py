"""Randomness is a function of seed, purpose and place: these numbers, and independent ones."""

import pytest
import torch
from scipy.stats import kstest

from gdm.randomness import fold, generator, normal, seed_default_generators, uniform

# Another value here is another image from every seed, and a resumed run that goes on otherwise.
FOLDED = {
    (0,): 4246866556266386882,
    (0, "order", 0): 3471081512423777433,
    (0, "order", 1): 8024286156118006313,
    (1, "order", 0): 1209403590507862004,
    (7, "sample", 3): 8003448462884406798,
    (2**40, "noise 3", 10**6): 7813396199847026555,
}


@pytest.mark.parametrize(("parts", "expected"), FOLDED.items())
def test_a_seed_folds_into_the_same_number_for_ever(parts, expected):
    assert fold(*parts) == expected


def test_what_is_drawn_stays_the_same_for_ever():
    expected = [
        [-0.2125537, 1.4086394, -2.6714056],
        [1.3920710, 0.1292851, -0.0994091],
        [-0.8303003, -1.1867206, -1.0634185],
    ]
    found = normal([0, 1, 5], (3,), 0, "sample")
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-6)
    expected = [[0.6879146, 0.7472998, 0.6016589], [0.3678128, 0.0175021, 0.7216673]]
    found = uniform([0, 1], (3,), 7, "component")
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-6)


def test_every_seed_purpose_and_position_folds_into_another_number():
    parts = [
        (seed, purpose, index)
        for seed in range(5)
        for purpose in ("order", "sample", "noise 1", "noise 11")
        for index in range(500)
    ]
    folded = {fold(*each) for each in parts}
    assert len(folded) == len(parts)
    assert all(0 <= number < 2**63 for number in folded)
    assert fold(1, "a", 23) != fold(12, "a", 3) != fold(1, "a2", 3)  # parts do not run together


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"purpose": "another"}, {"indices": range(4000, 8000)}]
)
def test_distinct_seeds_purposes_and_indices_are_independent(other):
    asked = {"indices": range(4000), "shape": (4,), "seed": 0, "purpose": "sample"}
    x, y = (normal(**each).flatten().double() for each in (asked, asked | other))
    assert not (x == y).any()
    correlation = torch.corrcoef(torch.stack([x, y]))[0, 1]
    assert abs(float(correlation)) < 5 / len(x) ** 0.5  # five standard errors
    squares = torch.corrcoef(torch.stack([x.square(), y.square()]))[0, 1]
    assert abs(float(squares)) < 5 / len(x) ** 0.5


def test_neighbouring_indices_are_independent_and_all_follow_the_distribution():
    x = normal(range(5000), (), 3, "sample").double()
    assert abs(float(torch.corrcoef(torch.stack([x[1:], x[:-1]]))[0, 1])) < 5 / 5000**0.5
    assert kstest(x.numpy(), "norm").pvalue > 1e-3
    u = uniform(range(5000), (), 3, "sample").double()
    assert kstest(u.numpy(), "uniform").pvalue > 1e-3
    assert float(u.min()) >= 0
    assert float(u.max()) < 1


@pytest.mark.parametrize("draw", [normal, uniform])
def test_an_indexs_noise_does_not_depend_on_the_others_or_on_what_was_drawn_before(draw):
    whole = draw(range(10), (2, 3), 5, "sample")
    torch.rand(7)
    assert torch.equal(draw([7, 2], (2, 3), 5, "sample"), whole[[7, 2]])
    state = torch.get_rng_state()
    draw(range(3), (2,), 5, "sample")
    assert torch.equal(torch.get_rng_state(), state)  # nor does it move another stream


def test_generators_are_seeded_with_the_folded_number():
    expected = torch.Generator().manual_seed(fold(4, "order", 2))
    assert torch.equal(torch.randperm(50, generator=expected),
                       torch.randperm(50, generator=generator(4, "order", 2)))  # fmt: skip
    seed_default_generators(4, "step", 9)
    first = torch.rand(5)
    torch.manual_seed(fold(4, "step", 9))
    assert torch.equal(first, torch.rand(5))
