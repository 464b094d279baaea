"""Noise schedules against their closed forms, and the times that models are trained at."""

import math

import pytest
import torch

from gdm.theory.schedules import (
    Cosine,
    Karras,
    Linear,
    Quadratic,
    Sigmoid,
    Straight,
    TrainingTimes,
)

T = 1000
DISCRETE = {
    "linear": lambda steps: Linear(steps, 1e-4, 0.02),
    "quadratic": lambda steps: Quadratic(steps, 1e-4, 0.02),
    "cosine": lambda steps: Cosine(steps, 0.008, 0.999),
    "sigmoid": lambda steps: Sigmoid(steps, -3.0, 3.0, 1.0, 0.999),
}
ALL = {name: make(T) for name, make in DISCRETE.items()} | {
    "straight": Straight(),
    "karras": Karras(0.002, 80.0, 7.0),
}
times = torch.arange(T + 1, dtype=torch.float64) / T


@pytest.mark.parametrize("name", ALL)
def test_the_signal_to_noise_ratio_falls(name):
    t = torch.linspace(1e-6, 1 - 1e-9, 5000, dtype=torch.float64)
    assert (ALL[name].log_snr(t).diff() < 0).all()


@pytest.mark.parametrize("name", ALL)
def test_there_is_no_noise_in_data(name):
    alpha, sigma = ALL[name](torch.zeros(3, dtype=torch.float64))
    assert alpha.tolist() == [1, 1, 1]
    assert sigma.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_schedules_keep_the_variance_and_their_tables_are_exact_float64(name):
    schedule = ALL[name]
    alpha, sigma = schedule(times)
    assert alpha.dtype == torch.float64
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha), rtol=0, atol=1e-15)
    product = 1.0
    for i, beta in enumerate(schedule.betas().tolist(), start=1):
        product *= 1 - beta
        assert float(alpha[i] ** 2) == pytest.approx(product, rel=1e-9)
    halfway = schedule(torch.tensor([0.5 / T], dtype=torch.float64))[0]
    assert alpha[1] < halfway < alpha[0]


def test_linear_and_quadratic_betas_are_those_of_the_papers():
    linear, quadratic = ALL["linear"].betas(), ALL["quadratic"].betas()
    for betas in (linear, quadratic):
        assert float(betas[0]) == pytest.approx(1e-4, rel=1e-12)
        assert float(betas[-1]) == pytest.approx(0.02, rel=1e-12)
    second = linear.diff()
    torch.testing.assert_close(second, second[0].expand(T - 1))
    second = quadratic.sqrt().diff()
    torch.testing.assert_close(second, second[0].expand(T - 1))
    # Ho et al. 2020, section 4: almost nothing of the image is left
    assert float(ALL["linear"].alpha_bar[-1]) == pytest.approx(4.036e-5, rel=1e-3)


@pytest.mark.parametrize("name", ["linear", "quadratic"])
def test_another_number_of_steps_ends_at_about_the_same_noise(name):
    for steps in (21, 100, 4000):
        schedule = DISCRETE[name](steps)
        assert float(schedule.betas().max()) < 1
        assert float(schedule.alpha_bar[-1]) < 1e-3
    fine = DISCRETE[name](4000)(times)[0]
    torch.testing.assert_close(fine, ALL[name](times)[0], rtol=0, atol=2e-3)


def test_cosine_is_its_closed_form_before_the_cut():
    alpha_bar = ALL["cosine"].alpha_bar

    def f(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    for i in range(T - 20):
        assert float(alpha_bar[i]) == pytest.approx(f(i / T) / f(0), rel=1e-9)
    assert float(ALL["cosine"].betas().max()) == 0.999
    log_snr = float(ALL["cosine"].log_snr(torch.tensor(0.5, dtype=torch.float64)))
    share = f(0.5) / f(0)
    assert log_snr == pytest.approx(math.log(share / (1 - share)), rel=1e-9)


def test_sigmoid_is_its_closed_form_before_the_cut():
    def g(v):
        return 1 / (1 + math.exp(v))

    for i in range(0, T - 20, 7):
        expected = (g(-3 + 6 * i / T) - g(3)) / (g(-3) - g(3))
        assert float(ALL["sigmoid"].alpha_bar[i]) == pytest.approx(expected, rel=1e-9)


def test_karras_goes_evenly_in_the_root_of_sigma():
    schedule = ALL["karras"]
    sigma = schedule(schedule.times(18))[1]
    assert float(sigma[0]) == pytest.approx(80)
    assert float(sigma[-2]) == pytest.approx(0.002, rel=1e-6)
    assert float(sigma[-1]) == 0
    i = torch.arange(18, dtype=torch.float64)
    # Karras et al. 2022, equation 5
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(sigma[:-1], expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_training_times_have_the_log_snr_that_was_asked_for(name):
    drawn = TrainingTimes(ALL[name], 1.0, 1.5)((torch.arange(20_000) + 0.5) / 20_000)
    log_snr = ALL[name].log_snr(drawn)
    assert float(log_snr.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(log_snr.std()) == pytest.approx(1.5, abs=0.03)


def test_uniform_training_times_of_a_discrete_schedule_are_its_steps():
    drawn = TrainingTimes(ALL["cosine"], 0.0, None)((torch.arange(T) + 0.5) / T)
    torch.testing.assert_close(drawn, times[1:])
    edges = TrainingTimes(ALL["cosine"], 0.0, None)(torch.tensor([0.0, 1.0]))
    assert edges.tolist() == [1 / T, 1.0]
    drawn = TrainingTimes(ALL["cosine"], 0.0, 2.0)(torch.rand(1000)) * T
    torch.testing.assert_close(drawn, drawn.round())


def test_training_times_are_never_those_of_no_noise():
    for schedule in ALL.values():
        for std in (None, 2.0):
            t = TrainingTimes(schedule, 0.0, std)(torch.tensor([0.0, 0.5, 1.0]))
            assert (schedule(t)[1] > 0).all()
            assert (t <= 1).all()


@pytest.mark.parametrize("name", DISCRETE)
def test_the_signal_to_noise_ratio_is_that_of_alpha_bar(name):
    alpha_bar = ALL[name].alpha_bar[1:]
    expected = (alpha_bar / (1 - alpha_bar)).log()
    torch.testing.assert_close(ALL[name].log_snr(times[1:]), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Karras(0.002, 80.0, 0.001), r"rho=0\.001 is too small"),
        (lambda: Linear(1000, 1e-4, 2.0), "betas must lie between 0 and 1"),
        (lambda: Cosine(1000, 0.008, 1.0), "betas must lie between 0 and 1"),
        (lambda: Sigmoid(1000, -3.0, 3.0, 0.001, 0.999), "betas must lie between 0 and 1"),
        (lambda: TrainingTimes(ALL["cosine"], 100.0, 1.0), "next to no such times"),
        (lambda: Karras(2.0, 1.0, 7.0), r"sigma_min=2\.0 must be below sigma_max=1\.0"),
        (lambda: Sigmoid(100, 3.0, -3.0, 1.0, 0.999), "must be below end"),
    ],
)
def test_ends_in_the_wrong_order_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
