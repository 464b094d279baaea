"""Samplers: a Gaussian is sampled back, relations between them, and another library's results."""

from itertools import pairwise

import pytest
import torch
from test_schedules import ALL, T, times

from gdm.theory.samplers import DDIM, DDPM, DPMSolver, Euler, Heun

MEAN, DEVIATION = 0.3, 0.25
SAMPLERS = {
    "ancestral, small variance": DDPM(300, False, False),
    "ancestral, large variance": DDPM(300, False, True),
    "DDIM": DDIM(300, False, 0.0),
    "DDIM with noise": DDIM(300, False, 1.0),
    "Euler": Euler(300, False),
    "Heun": Heun(100, False),
    "DPM-Solver++": DPMSolver(100, False),
}


def gaussian_denoiser(schedule):
    """E[x_0 | x_t] where x_0 is from N(MEAN, DEVIATION^2)."""

    def denoiser(x_t, t):
        alpha, sigma = schedule(t)
        gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        return MEAN + gain * (x_t - alpha * MEAN)

    return denoiser


def bent_denoiser(schedule):
    """An estimate that is no linear function of x_t, as a network's is not."""
    linear = gaussian_denoiser(schedule)
    return lambda x_t, t: torch.tanh(2 * linear(x_t, t)) + 0.1 * torch.sin(3 * x_t)


def noise_of(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda step: torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", ALL)
def test_a_gaussian_is_recovered(name, schedule):
    shape = (20_000, 1, 1, 1)
    noise = noise_of(shape, 0)
    sigma_1 = ALL[schedule](torch.ones(1, dtype=torch.float64))[1]
    x_0 = SAMPLERS[name](
        gaussian_denoiser(ALL[schedule]), ALL[schedule], sigma_1 * noise(0), noise
    )
    assert float(x_0.mean()) == pytest.approx(MEAN, abs=0.01)
    # large variances add a little at few steps
    assert float(x_0.std()) == pytest.approx(DEVIATION, rel=0.06)


@pytest.mark.parametrize("schedule", ALL)
def test_ddim_without_noise_is_euler_on_x_over_alpha_in_sigma_over_alpha(schedule):
    schedule = ALL[schedule]
    x = torch.randn(50, 1, 2, 2, dtype=torch.float64)
    x = x * schedule(torch.ones(1, dtype=torch.float64))[1]
    denoiser = bent_denoiser(schedule)
    ddim = DDIM(25, False, 0.0)(denoiser, schedule, x, None)
    torch.testing.assert_close(Euler(25, False)(denoiser, schedule, x, None), ddim, atol=1e-12,
                               rtol=1e-12)  # fmt: skip
    by_hand = x
    path = schedule.times(25)
    for t, s in pairwise(path):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        if alpha_t == 0:  # sigma / alpha is infinite at the pure noise of straight paths
            estimate = denoiser(by_hand, t)
            by_hand = alpha_s * estimate + sigma_s / sigma_t * by_hand
            continue
        slope = (by_hand - alpha_t * denoiser(by_hand, t)) / sigma_t
        by_hand = alpha_s * (by_hand / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) * slope)
    torch.testing.assert_close(by_hand, ddim, atol=1e-9, rtol=1e-9)


def test_ddim_with_all_noise_is_the_ancestral_sampler():
    schedule, x = ALL["cosine"], torch.randn(9, 1, 2, 2, dtype=torch.float64)
    denoiser = bent_denoiser(schedule)
    ddim = DDIM(20, True, 1.0)(denoiser, schedule, x, noise_of(x.shape, 1))
    ddpm = DDPM(20, True, False)(denoiser, schedule, x, noise_of(x.shape, 1))
    torch.testing.assert_close(ddim, ddpm, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("sampler", "order"), [(Euler, 1), (DPMSolver, 2), (Heun, 2)])
def test_halving_the_steps_divides_the_error_by_the_order_of_the_method(sampler, order):
    schedule = ALL["cosine"]

    def spread(t):
        """The standard deviation of x_t, along which the exact flow goes."""
        alpha, sigma = schedule(t)
        return (alpha**2 * DEVIATION**2 + sigma**2).sqrt()

    start, end = torch.tensor([0.9, 0.3], dtype=torch.float64)
    stds = torch.randn(50, 1, 1, 1, dtype=torch.float64)

    def error(steps: int) -> float:
        path = torch.linspace(start, end, steps + 1, dtype=torch.float64)
        x = schedule(start)[0] * MEAN + spread(start) * stds
        exact = schedule(end)[0] * MEAN + spread(end) * stds
        along = sampler(1, False).along(path, gaussian_denoiser(schedule), schedule, x)
        return float((list(along)[-1][1] - exact).abs().mean())

    assert error(200) / error(400) == pytest.approx(2**order, rel=0.1)


def test_heun_is_of_second_order_from_pure_noise_too():
    schedule = ALL["straight"]
    x_1 = torch.randn(50, 1, 1, 1, dtype=torch.float64)
    exact = MEAN + DEVIATION * x_1

    def error(steps: int) -> float:
        return float((Heun(steps, False)(gaussian_denoiser(schedule), schedule, x_1, None)
                      - exact).abs().mean())  # fmt: skip

    assert error(100) / error(200) > 3.5


def test_clipping_keeps_estimates_in_the_range_of_images():
    schedule, x = ALL["cosine"], torch.randn(9, 1, 2, 2, dtype=torch.float64)
    for sampler in (DDIM(5, True, 0.0), Heun(5, True), DPMSolver(5, True), DDPM(5, True, True)):
        x_0 = sampler(lambda x_t, t: 3 * torch.sign(x_t), schedule, x, noise_of(x.shape, 0))
        assert x_0.abs().max() <= 1 + 1e-9


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_number_of_evaluations_is_what_is_said(name):
    sampler, calls = SAMPLERS[name], []
    denoiser = gaussian_denoiser(ALL["cosine"])

    def counting(x_t, t):
        calls.append(1)
        return denoiser(x_t, t)

    x = torch.randn(3, 1, 1, 1, dtype=torch.float64)
    sampler(counting, ALL["cosine"], x, noise_of(x.shape, 0))
    assert len(calls) == sampler.network_evaluations


# Another library ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip(
        "diffusers", reason="the oracle of samplers: pip install -e '.[oracles]'"
    )


def in_double(scheduler, schedule):
    """Give another library's scheduler the same table in float64."""
    alpha_bar = schedule.alpha_bar[1:]
    scheduler.alphas_cumprod = alpha_bar
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


OPTIONS = {"timestep_spacing": "trailing"}  # from T downwards, as here


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_is_that_of_diffusers(diffusers, schedule, eta):
    schedule, x = ALL[schedule], torch.randn(7, 1, 2, 2, dtype=torch.float64)
    denoiser = bent_denoiser(schedule)
    theirs = in_double(
        diffusers.DDIMScheduler(T, clip_sample=False, set_alpha_to_one=True, **OPTIONS), schedule
    )
    theirs.set_timesteps(20)
    noise, x_t = noise_of(x.shape, 3), x
    for step in theirs.timesteps:
        t = times[step + 1]
        estimate = denoiser(x_t, t)
        alpha, sigma = schedule(t)
        epsilon = (x_t - alpha * estimate) / sigma
        own = noise(0) if eta else None
        x_t = theirs.step(epsilon, int(step), x_t, eta=eta, variance_noise=own).prev_sample
    ours = DDIM(20, False, eta)(denoiser, schedule, x, noise_of(x.shape, 3))
    torch.testing.assert_close(ours, x_t, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_dpm_solver_is_that_of_diffusers(diffusers, schedule):
    schedule, x = ALL[schedule], torch.randn(7, 1, 2, 2, dtype=torch.float64)
    denoiser = bent_denoiser(schedule)
    theirs = diffusers.DPMSolverMultistepScheduler(
        T, final_sigmas_type="zero", lower_order_final=True, euler_at_final=True,
        prediction_type="sample", **OPTIONS,
    )  # fmt: skip
    theirs.set_timesteps(20)
    u = [_u(schedule, times[step + 1]) for step in theirs.timesteps]
    theirs.sigmas = torch.tensor([*u, 0.0], dtype=torch.float64)
    x_t = x
    for step in theirs.timesteps:
        x_t = theirs.step(denoiser(x_t, times[step + 1]), step, x_t).prev_sample
    ours = DPMSolver(20, False)(denoiser, schedule, x, None)
    torch.testing.assert_close(ours, x_t, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "sampler"), [("Euler", Euler), ("Heun", Heun)])
@pytest.mark.parametrize("schedule", ["linear", "quadratic"])  # theirs works in float32
def test_euler_and_heun_are_those_of_diffusers(diffusers, schedule, name, sampler):
    schedule, x = ALL[schedule], torch.randn(7, 1, 2, 2, dtype=torch.float64)
    denoiser = bent_denoiser(schedule)
    theirs = getattr(diffusers, f"{name}DiscreteScheduler")(T, **OPTIONS)
    theirs.set_timesteps(20)
    path = schedule.times(20)
    u = torch.stack([*(_u(schedule, t) for t in path[:-1]), torch.zeros((), dtype=torch.float64)])
    y, places = x / schedule(path[0])[0], list(range(20))
    if name == "Heun":  # each but the last step comes twice, for both slopes
        u = torch.cat([u[:1], u[1:-1].repeat_interleave(2), u[-1:]])
        places = [0, *(place for place in range(1, 20) for _ in (0, 1))]
    theirs.sigmas = u
    for step, place in zip(theirs.timesteps, places, strict=True):
        alpha, sigma = schedule(path[place])
        estimate = denoiser(alpha * y, path[place])
        epsilon = (alpha * y - alpha * estimate) / sigma
        y = theirs.step(epsilon, step, y).prev_sample
    ours = sampler(20, False)(denoiser, schedule, x, None)
    torch.testing.assert_close(ours, y, rtol=1e-6, atol=1e-6)


def _u(schedule, t):
    alpha, sigma = schedule(t)
    return sigma / alpha


@pytest.mark.parametrize("large", [False, True])
def test_the_ancestral_sampler_is_that_of_diffusers(diffusers, large, monkeypatch):
    schedule, x = ALL["linear"], torch.randn(7, 1, 2, 2, dtype=torch.float64)
    denoiser, noise = bent_denoiser(schedule), noise_of(x.shape, 3)
    theirs = diffusers.DDPMScheduler(
        T, clip_sample=False, variance_type="fixed_large" if large else "fixed_small",
        prediction_type="sample", **OPTIONS,
    )  # fmt: skip
    in_double(theirs, schedule).set_timesteps(20)
    drawn = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
    monkeypatch.setattr(drawn, lambda *_, **__: noise(0))
    x_t = x
    for step in theirs.timesteps[:-1]:  # theirs adds noise in the last step too, if it is long
        x_t = theirs.step(denoiser(x_t, times[step + 1]), int(step), x_t).prev_sample
    path = list(DDPM(20, False, large).path(denoiser, schedule, x, noise_of(x.shape, 3)))
    torch.testing.assert_close(path[-2][1], x_t, rtol=1e-6, atol=1e-6)
