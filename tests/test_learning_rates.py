"""Learning rates against closed forms."""

import math

import pytest

from gdm.theory.learning_rates import Constant, Cosine, Linear


def test_every_rate_rises_linearly_over_the_warm_up():
    for rate in (Constant(0.2), Linear(0.2, 0.0), Cosine(0.2, 0.0)):
        assert [rate(p) for p in (0.0, 0.05, 0.1)] == pytest.approx([0.0, 0.25, 0.5])
        assert rate(0.2) == pytest.approx(1.0)


def test_constant_stays():
    assert {Constant(0.0)(p / 10) for p in range(11)} == {1.0}


def test_linear_is_a_straight_line_to_the_final_factor():
    rate = Linear(0.0, 0.1)
    assert [rate(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.55, 0.1])


def test_a_line_may_begin_late():
    rate = Linear(0.2, 0.1, constant_fraction=0.5)
    assert [rate(p) for p in (0.2, 0.6, 0.8, 1.0)] == pytest.approx([1.0, 1.0, 0.55, 0.1])


def test_cosine_is_half_a_cosine_to_the_final_factor():
    rate = Cosine(0.0, 0.1)
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * p)) / 2 for p in (0.0, 0.3, 1.0)]
    assert [rate(p) for p in (0.0, 0.3, 1.0)] == pytest.approx(expected)


def test_a_cosine_may_end_early():
    rate = Cosine(0.2, 0.1, decay_fraction=0.5)
    assert [rate(p) for p in (0.2, 0.4, 0.6, 0.8, 1.0)] == pytest.approx([1, 0.55, 0.1, 0.1, 0.1])


def test_a_rate_says_whether_it_depends_on_the_length_of_the_run():
    assert not Constant(0.1).decays
    assert Linear(0.1, 0.0).decays
    assert Cosine(0.1, 0.0).decays
