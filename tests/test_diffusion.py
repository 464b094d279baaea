"""Diffusion models: what networks learn to predict, guidance, the bound, codes, and the U-Nets."""

import math
import weakref

import pytest
import torch
from conftest import ROOT, composed, small
from torch import Tensor, nn
from torch.distributions import Normal

from gdm.errors import UserError
from gdm.evaluation import model_metrics
from gdm.evaluation.samples import grid
from gdm.networks.unet import SmallUNet, UNet
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.runs import catalogue
from gdm.theory import likelihoods
from gdm.theory.guidance import guided
from gdm.theory.images import to_float
from gdm.theory.samplers import Heun
from gdm.theory.schedules import alpha_sigma
from gdm.training.options import TrainOptions

DIFFUSION = ("ddpm", "edm", "flow_matching")


def built(model: str, *overrides: str):
    torch.manual_seed(0)
    return build(composed(f"model={model}", *small(model), *overrides)["model"], "model")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    data = build(composed()["dataset"], "dataset")
    return to_float(data.split("validation").images[:64])


# Predictions and estimates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("ddpm", ("prediction=epsilon",)),
        ("ddpm", ("prediction=x_0",)),
        ("ddpm", ("prediction=v",)),
        ("ddpm", ("schedule=linear",)),
        ("edm", ()),
        ("flow_matching", ()),
    ],
)
def test_a_perfect_prediction_gives_the_image_back(model, overrides, images):
    model = built(model, *overrides)
    t = model.times(torch.linspace(0.02, 0.98, len(images)))
    epsilon = torch.randn_like(images)
    alpha, sigma = alpha_sigma(model.schedule, t)
    x_t = alpha * images + sigma * epsilon
    target = model.prediction.target(images, epsilon, alpha, sigma)
    estimate = model.prediction.estimate(x_t, target, alpha, sigma)
    torch.testing.assert_close(estimate, images, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("overrides", "needed"),
    [
        (("model=ddpm", "prediction=velocity"), "Velocity needs a schedule of class Straight"),
        (("model=edm", "prediction=v"), "V needs a schedule of class Discrete"),
        (
            ("model=flow_matching", "schedule=karras"),
            "Velocity needs a schedule of class Straight",
        ),
        (("model=ddpm", "prediction=x_0", "schedule=straight"), "DDPM needs .* class Discrete"),
    ],
)
def test_a_prediction_refuses_a_schedule_that_its_formulas_do_not_hold_for(overrides, needed):
    with pytest.raises(UserError, match=needed):
        build(composed(*overrides)["model"], "model")


def test_an_epsilon_network_is_trained_on_the_noise_itself(images):
    model = built("ddpm", "prediction=epsilon")
    model.network.forward = lambda x, time, label: torch.zeros_like(x)
    epsilon = torch.randn_like(images)
    t = model.times(torch.rand(len(images)))
    error = model.error(images, epsilon, t, None)
    torch.testing.assert_close(error, epsilon.square().flatten(1).mean(1))


def test_what_edms_network_sees_and_predicts_has_variance_one_at_every_noise():
    model = built("edm")
    x_0, epsilon = 0.5 * torch.randn(400, 1, 28, 28), torch.randn(400, 1, 28, 28)
    seen = []
    model.network.forward = lambda x, time, label: seen.append(x) or x
    for u in (0.02, 0.5, 0.98):
        t = model.times(torch.tensor([u])).expand(400)
        alpha, sigma = alpha_sigma(model.schedule, t)
        model.predict(alpha * x_0 + sigma * epsilon, t, None)
        target = model.prediction.target(x_0, epsilon, alpha, sigma)
        assert float(seen[-1].std()) == pytest.approx(1, abs=0.02)
        assert float(target.std()) == pytest.approx(1, abs=0.02)


def test_edms_noise_in_training_is_that_of_the_paper():
    model = built("edm")
    sigma = model.schedule(model.times((torch.arange(10_000) + 0.5) / 10_000))[1]
    assert float(sigma.log().mean()) == pytest.approx(-1.2, abs=0.02)
    assert float(sigma.log().std()) == pytest.approx(1.2, abs=0.02)


# Labels and guidance -----------------------------------------------------------------------------


def test_guidance_is_a_line_through_two_estimates():
    def one(x_t, t):
        return x_t + 1

    def two(x_t, t):
        return x_t - 1

    x = torch.zeros(2)
    for guidance, expected in ((0, -1), (1, 1), (3, 5)):
        assert guided(one, two, guidance)(x, None).tolist() == [expected] * 2


def test_labels_are_left_out_as_often_as_asked_and_guidance_costs_two_passes(images):
    model = built("ddpm", "model.condition=label", "model.label_dropout=0.3")
    labels = []
    model.error = lambda x_0, epsilon, t, condition: (
        labels.append(condition) or epsilon.mean((1, 2, 3))
    )
    label = torch.arange(len(images)) % 10
    for number in range(60):
        model.training_step(_Batch(images, label), number)
    fraction = (torch.cat(labels) == 10).double().mean()
    assert float(fraction) == pytest.approx(0.3, abs=0.03)
    kept = torch.cat(labels) != 10
    assert torch.equal(torch.cat(labels)[kept], label.repeat(60)[kept])
    assert model.network_evaluations == model.sampler.network_evaluations == 5  # 3 steps of Heun
    model.guidance = 3.0
    assert model.network_evaluations == 10


class _Batch:
    def __init__(self, x, label):
        self.x, self.label = x, label


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_a_conditional_models_samples_depend_on_the_label_but_for_no_guidance(guidance):
    model = built("ddpm", "model.condition=label", f"model.guidance={guidance}")
    for parameter in model.network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    with model.evaluating(averaged=False):
        zeros = model.sample(range(3), torch.zeros(3).long())
        ones = model.sample(range(3), torch.ones(3).long())
        mixed = model.sample(range(3), torch.tensor([0, 1, 0]))
    assert torch.equal(zeros, ones) == (guidance == 0)
    torch.testing.assert_close(mixed[0], zeros[0], rtol=0, atol=2e-2)
    torch.testing.assert_close(mixed[1], ones[1], rtol=0, atol=2e-2)


def test_what_the_network_was_early_in_the_run_guides_samples_away_from_itself(short_ddpm):
    model = catalogue.load(short_ddpm)
    assert int(model.guide_images) == 50  # a tenth of 12 batches of 50
    early, late = model.guide.state_dict(), model.network.state_dict()
    assert any(not torch.equal(early[name], late[name]) for name in late)
    assert model.network_evaluations == 2 * model.sampler.network_evaluations
    x_t, t = torch.randn(2, 1, 28, 28), torch.tensor(0.5, dtype=torch.float64)
    with model.evaluating(averaged=False):
        now = model.denoise(x_t, t.expand(2), None)
        then = model.denoise(x_t, t.expand(2), None, model.guide)
        torch.testing.assert_close(
            model.denoiser(None, autoguided=True)(x_t, t), then + 2.0 * (now - then)
        )
        model.autoguidance = 1.0
        torch.testing.assert_close(model.denoiser(None, autoguided=True)(x_t, t), now)
    assert model.network_evaluations == model.sampler.network_evaluations


def test_what_a_look_will_cost_is_measured_with_the_guide():
    model = built("ddpm")
    assert not model.is_autoguided
    model.as_if_trained()
    assert model.is_autoguided


def test_guidance_without_labels_is_refused():
    from gdm.errors import UserError

    with pytest.raises(UserError, match=r"model: autoguidance=2\.0 needs a guide"):
        built("ddpm", "model.guide_fraction=null")
    with pytest.raises(UserError, match=r"model: guidance=3\.0 leads towards labels"):
        built("ddpm", "model.guidance=3.0")


def test_samples_of_a_conditional_model_get_a_row_a_class():
    model = built("ddpm", "model.condition=label")
    x = torch.arange(30).view(30, 1, 1, 1).expand(-1, 1, 2, 2).to(torch.uint8)  # class: i % 10
    picture = grid(x, model, None)[0]
    assert picture.shape == (10 * 4 - 2, 3 * 4 - 2)
    assert [int(value) % 10 for value in picture[::4, 0]] == list(range(10))
    assert [int(value) for value in picture[4, ::4]] == [1, 11, 21]


# Samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm_solver", "euler", "heun"])
@pytest.mark.parametrize("model", DIFFUSION)
def test_an_image_depends_on_seed_and_index_alone(model, sampler):
    model = built(model, f"sampler={sampler}", "model.sampler.num_steps=4")
    for parameter in model.network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    with model.evaluating(averaged=False):
        together = model.sample(range(6), seed=1)
        single = torch.cat([model.sample([index], seed=1) for index in (4, 5)])
        other = model.sample(range(6), seed=2)
    torch.testing.assert_close(together[4:], single, rtol=0, atol=1e-2)
    assert not torch.allclose(together, other, atol=0.1)


def test_the_memory_of_sampling_does_not_grow_with_the_steps():
    model = built("ddpm", "sampler=ddpm", "model.sampler.num_steps=40")
    kept = []

    def denoise(x_t, t, condition, network=None):
        kept.append(weakref.ref(x_t))
        assert sum(each() is not None for each in kept) <= 3
        return x_t

    model.denoise = denoise
    model.sample(range(2))
    assert len(kept) == 40


def test_the_processes_end_at_noise_and_begin_at_noise(images):
    model = built("ddpm")
    with model.evaluating():
        pictures = model.process_images(_Batch(images[:3], torch.zeros(3).long()))
        samples = model.sample(range(3))
    assert pictures["forward"].shape[:2] == (3, 10)
    torch.testing.assert_close(pictures["forward"][:, 0], images[:3], rtol=0, atol=1e-6)
    assert float(pictures["forward"][:, -1].std()) == pytest.approx(1, abs=0.1)
    assert float(pictures["backward"][:, 0].std()) == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(
        pictures["backward"][:, -1].clamp(-1, 1), samples, rtol=0, atol=1e-5
    )


# The variational bound ---------------------------------------------------------------------------


def test_a_discretised_gaussian_is_a_distribution_over_the_256_values():
    values = (torch.arange(256) / 127.5 - 1).view(256, 1, 1, 1)
    for mean, std in ((0.3, 0.05), (-1.0, 0.001), (0.99, 0.5), (0.0, 3.0)):
        log_std = torch.tensor(std).log()
        mean_of_all = torch.full_like(values, mean)
        log_p = likelihoods.discretised_gaussian_log_prob(values, mean_of_all, log_std)
        assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-4)
        assert torch.isfinite(log_p).all()
    exact = Normal(0.3, 0.05).cdf(values[170] + 0.5 / 127.5) - Normal(0.3, 0.05).cdf(
        values[170] - 0.5 / 127.5
    )
    found = likelihoods.discretised_gaussian_log_prob(
        values[170:171], torch.tensor(0.3), torch.tensor(0.05).log()
    )
    assert float(found.exp()) == pytest.approx(float(exact), rel=1e-3)


def test_the_bound_of_gaussian_data_is_its_exact_sum_and_above_the_entropy():
    """Pixels in N(m, s^2), whose posterior at every SNR is known."""
    schedule = ("schedule=linear", "model.schedule.first_beta=4e-4")  # more than a grey level
    model = built("ddpm", *schedule, "prediction=x_0")
    mean, std, count = 0.1, 0.3, 1000
    generator = torch.Generator().manual_seed(0)
    x = mean + std * torch.randn(count, 1, 28, 28, generator=generator)
    x = ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1

    def exact(x_t, t, condition, network):
        alpha, sigma = alpha_sigma(model.schedule, t)
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        return mean + gain * (x_t - alpha * mean)

    model.predict = exact
    with torch.no_grad():
        terms = model.bound(x, None, range(count))
    bits = {name: values.double() / 28**2 / math.log(2) for name, values in terms.items()}
    snr = model.schedule.log_snr(torch.arange(1, 1001, dtype=torch.float64) / 1000).exp()
    variance = std**2 / (1 + std**2 * snr)  # of x_0, given x_t
    diffusion = float((0.5 * -snr.diff() * variance[1:]).sum()) / math.log(2)
    error = float(bits["diffusion"].std()) / count**0.5
    assert error < 0.05
    assert float(bits["diffusion"].mean()) == pytest.approx(diffusion, abs=4 * error)
    spread = Normal(0.0, float(snr[0]) ** -0.5).entropy() / math.log(2) + math.log2(127.5)
    assert float(bits["reconstruction"].mean()) == pytest.approx(float(spread), abs=0.03)
    assert float(bits["prior"].mean()) < 1e-4
    entropy = float(Normal(mean, std).entropy()) / math.log(2) + math.log2(127.5)
    assert diffusion + float(spread) > entropy


def test_one_drawn_step_of_the_bound_stands_for_the_sum_of_all(images):
    model = built("ddpm", "model.schedule.num_steps=30", "prediction=x_0")
    model.predict = lambda x_t, t, condition, network: 0.9 * x_t  # good at little noise only
    x = images[:1].expand(3000, -1, -1, -1)
    with torch.no_grad():
        drawn = model.bound(x, None, range(3000))
    whole, times = 0.0, torch.arange(1, 31, dtype=torch.float64) / 30
    snr = model.schedule.log_snr(times).exp()
    for place in range(1, 30):
        t = times[place].expand(50)
        alpha, sigma = alpha_sigma(model.schedule, t)
        x_t = alpha * images[:1] + sigma * torch.randn(50, 1, 28, 28)
        error = (images[:1] - (0.9 * x_t).clamp(-1, 1)).square().flatten(1).sum(1).mean()
        whole += 0.5 * float(snr[place - 1] - snr[place]) * float(error)
    mean, error = float(drawn["diffusion"].mean()), float(drawn["diffusion"].std()) / 3000**0.5
    assert mean == pytest.approx(whole, abs=4 * error + 0.01 * whole)
    assert error < 0.03 * whole


def test_the_terms_of_the_bound_add_up_and_are_reported(images):
    model = built("ddpm")
    data = build(composed()["dataset"], "dataset")
    with model.evaluating():
        record = model_metrics.evaluate(model, data, "validation", 100)
    parts = ("bits_prior", "bits_diffusion", "bits_reconstruction")
    assert record["bits_per_dim"] == pytest.approx(sum(record[part] for part in parts), rel=1e-6)
    assert sum(record["bits_by_time"]) == pytest.approx(record["bits_diffusion"], rel=1e-6)
    assert len(record["bits_by_time"]) == 10


# Codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", DIFFUSION)
def test_codes_of_images_are_noise_and_decode_to_the_images(model, images):
    model = built(model, "model.inversion_steps=60")

    def exact(x_t, t, condition):  # of data in N(0, 0.5^2), whose flow is known
        alpha, sigma = alpha_sigma(model.schedule, t)
        return alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * x_t

    model.denoise = exact
    x = (0.5 * torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    z = model.encode(x)
    assert float(z.std()) == pytest.approx(1, abs=0.08)
    decoded = model.decode(z)
    assert model_metrics.peak_signal_to_noise_ratio(decoded, x).min() > 35


# Networks ----------------------------------------------------------------------------------------


def test_the_unet_of_the_paper_has_35_7_million_parameters():
    recipe = composed("experiment=ddpm_cifar10")
    check(recipe, root=TrainOptions)
    network = build(recipe["model"]["network"], "network")(channels=3, num_labels=0)
    assert isinstance(network, UNet)
    assert sum(parameter.numel() for parameter in network.parameters()) == 35_746_307
    with torch.no_grad():
        assert network(torch.randn(2, 3, 32, 32), torch.tensor([3.0, 900.0])).shape[1:] == (
            3,
            32,
            32,
        )


def test_the_experiment_is_the_paper():
    recipe = composed("experiment=ddpm_cifar10")
    model = recipe["model"]
    steps = recipe["budget"]["images"] / recipe["dataset"]["batch_size"]
    assert steps == 800_000
    assert model["learning_rate"]["warmup_fraction"] * steps == 5000
    decay = 0.5 ** (recipe["dataset"]["batch_size"] / model["ema"]["half_life_images"])
    assert decay == pytest.approx(0.9999, abs=1e-8)
    assert model["schedule"]["_target_"] == "gdm.theory.schedules.Linear"
    assert model["schedule"]["num_steps"] == model["sampler"]["num_steps"] == 1000
    assert model["prediction"]["_target_"] == "gdm.theory.predictions.Epsilon"
    assert model["log_snr_std"] is None
    assert model["optimizer"]["lr"] == 2e-4
    assert model["network"]["dropout"] == 0.1
    assert model["sampler"]["large_variance"] is True
    assert model["flip"] is True
    assert model["max_gradient_norm"] == 1
    assert model["ema"]["warmup_fraction"] is None
    assert model["optimizer"]["betas"] == [0.9, 0.999]
    assert (model["schedule"]["first_beta"], model["schedule"]["last_beta"]) == (1e-4, 0.02)


def num_multiply_adds(network: nn.Module, *inputs: Tensor) -> int:
    """Return the multiplications, each with an addition, of convolutions and linear layers."""
    counts = []

    def count(layer: nn.Module, _, output: Tensor) -> None:
        counts.append(layer.weight[0].numel() * output.numel())

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return sum(counts)


def test_the_small_network_is_as_small_as_its_yaml_says():
    network = build(composed("model=ddpm")["model"]["network"], "network")(
        channels=1, num_labels=0
    )
    assert isinstance(network, SmallUNet)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    pairs = num_multiply_adds(network, torch.zeros(1, 1, 28, 28), torch.zeros(1))
    path = ROOT / "configs" / "network" / "small_unet.yaml"
    said = path.read_text().splitlines()[1]
    assert f"{parameters / 1e6:.2f} million parameters" in said
    assert f"{pairs / 1e6:.1f} million multiply-adds" in said


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize(("channels", "labels"), [(1, 0), (3, 10)])
def test_networks_begin_with_zero_and_all_their_weights_learn(channels, labels, attention):
    small_one = SmallUNet(channels, labels, [16, 16, 32], 2, attention, 0.1)
    large_one = UNet(channels, labels, 32, [1, 2], 1, [1] if attention else [], 0.1)
    for network in (small_one, large_one):
        x, time = torch.randn(4, channels, 16, 16), torch.rand(4) * 1000
        label = torch.tensor([0, 1, labels, labels]) if labels else None
        assert (network(x, time, label) == 0).all()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        network(x, time, label).square().mean().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_networks_know_the_time():
    network = SmallUNet(1, 0, [16, 16], 2, False, 0.0)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        early, late = (network(x, torch.tensor([time])) for time in (10.0, 11.0))
    assert (early - late).abs().max() > 1e-4


# A whole run -------------------------------------------------------------------------------------


def test_a_run_leaves_pictures_of_both_processes_and_terms_of_the_bound(short_ddpm):
    run = short_ddpm
    names = {path.name for path in run.samples.iterdir()}
    assert {"final.png", "forward-final.png", "backward-final.png"} <= names
    record = run.records()[-1]
    assert {"bits_per_dim", "bits_prior", "frechet_distance", "loss"} <= record.keys()
    model = catalogue.load(run)
    assert model.sampler.num_steps == 3
    changed = run.recipe()
    changed["model"]["sampler"] = composed("model=ddpm", "sampler=ddim")["model"]["sampler"]
    assert catalogue.load(run, recipe=changed).network_evaluations == 2 * 25
    assert isinstance(model.sampler, Heun)
