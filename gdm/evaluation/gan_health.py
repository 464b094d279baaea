"""How the training of a GAN stands, and which known failure it shows.

A GAN's losses say little: both players' losses move with each other. What tells a healthy run from
a failed one is how sure the discriminator is, whether the generator still gets a gradient, and
whether its images differ from each other as real ones do.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gdm.evaluation import distances
from gdm.models.base import Model
from gdm.networks.discriminator import Discriminator
from gdm.theory.adversarial import GradientPenalty, Minimax

DUPLICATE = 0.5  # of the distance below which 5 % of real images have a neighbour
RARE_FRACTION = 0.05
MOST_REMEDIES = 4  # that are named at once


@dataclass(frozen=True)
class Sign:
    """A metric on the wrong side of a threshold, and why the threshold is there."""

    metric: str
    reason: str
    above: float = -math.inf
    below: float = math.inf

    def shows(self, metrics: dict[str, float]) -> bool:
        """Whether the metric is known and lies beyond the threshold."""
        return self.metric in metrics and self.above < metrics[self.metric] < self.below


@dataclass(frozen=True)
class Failure:
    """A known way to fail: recognised where all its signs show in a model to which it applies, and
    what may help."""

    name: str
    signs: tuple[Sign, ...]
    remedies: Callable[[Model], list[str]]
    applies: Callable[[Model], bool] = lambda model: True


def sees_images_one_by_one(model: Model) -> bool:
    """Whether the discriminator says of an image that it is real; a critic of the Wasserstein
    distance is meant to tell the two sets apart as well as it can."""
    return model.objective.boundary is not None


def holds_slopes_at_one(model: Model) -> bool:
    """Whether a penalty is there to keep the critic's slope at 1."""
    return isinstance(model.penalty, GradientPenalty)


def has_styles(model: Model) -> bool:
    """Whether the generator maps latents to styles, and adds noise at its layers."""
    return model.has_styles


def weaker_discriminator(model: Model) -> list[str]:
    """Return overrides that weaken the discriminator, the best first."""
    declared = _declared(model)
    width, dropout = declared.width or 0, declared.dropout
    helps = {
        "objective=non_saturating": isinstance(model.objective, Minimax),
        "penalty=r1": model.penalty is None and declared.normalisation != "batch",
        "model.discriminator.dropout=0.3": dropout is not None and dropout < 0.3,
        **_rate("model.discriminator_optimizer.lr", model.discriminator_optimizer, 0.25),
        "model.instance_noise=0.2": model.instance_noise < 0.2,
        "model.label_noise.noise=0.2": model.label_noise.noise < 0.2,
        "model.label_noise.flipped=0.05": model.label_noise.flipped < 0.05,
        "model.label_noise.smoothing=0.1": model.label_noise.smoothing < 0.1,
        f"model.discriminator.width={width // 2}": width > 1,
    }
    return [override for override, does in helps.items() if does][:MOST_REMEDIES]


def stronger_discriminator(model: Model) -> list[str]:
    """Return overrides against a generator that repeats itself, the best first."""
    helps = {
        **_rate("model.optimizer.lr", model.optimizer, 0.25),
        **_rate("model.discriminator_optimizer.lr", model.discriminator_optimizer, 4),
        f"model.num_discriminator_steps={model.num_discriminator_steps + 2}": True,
        "model=wgan_gp": sees_images_one_by_one(model),
        "model.discriminator.minibatch_std=true": _declared(model).minibatch_std is False,
    }
    return [override for override, does in helps.items() if does][:MOST_REMEDIES]


def firmer_penalty(model: Model) -> list[str]:
    """Return overrides against a critic whose slope is out of hand."""
    slower = _rate("model.discriminator_optimizer.lr", model.discriminator_optimizer, 0.25)
    return [f"model.penalty.weight={4 * model.penalty.weight:g}", *slower]


def fewer_ways_around_latents(model: Model) -> list[str]:
    """Return overrides against a generator whose images differ by the noise of its layers."""
    return ["model.generator.noise=false", *_rate("model.optimizer.lr", model.optimizer, 0.25)]


def _declared(model: Model) -> Discriminator:
    """Return what the discriminator says of itself; nothing, if it is one of the user's own that
    declares nothing."""
    own = model.discriminator
    return own if isinstance(own, Discriminator) else Discriminator()


def _rate(key: str, optimizer: Callable, factor: float) -> dict[str, bool]:
    """Return the override that multiplies a learning rate, if a recipe has set it."""
    given = getattr(optimizer, "keywords", {})
    return {f"{key}={factor * given['lr']:.2g}": True} if "lr" in given else {}


# An untrained generator makes one grey image, and that is no failure.
TRAINED = Sign("generator_steps", "healthy samples were varied after 150 steps", above=300)
SURE = (
    Sign("real_accuracy", "healthy discriminators were right in 10 to 90 % of cases", above=0.95),
    Sign("fake_accuracy", "healthy discriminators were right in 15 to 95 % of cases", above=0.95),
)
WINS = (  # where samples are poor too, less tells who is too strong
    Sign("real_accuracy", "a generator that collapses fools its discriminator", above=0.8),
    Sign("fake_accuracy", "a generator that collapses fools its discriminator", above=0.8),
)
REPEATS = Sign("near_duplicates", "real images and healthy samples have none", above=0.05)
ALIKE = Sign("spread", "healthy samples have 0.9 of real images' and more", below=0.6)
FEW_CLASSES = Sign("class_variety", "healthy samples have 0.8 of real ones' and more", below=0.5)
NO_GRADIENT = Sign(
    "generator_gradient", "healthy ones are 0.02 or more, and these fall to 1e-4", below=0.01
)
STEEP = Sign(
    "critic_slope", "it is to be 1; with a penalty that holds it is 0.5 to 1.5", above=3.0
)
NOISY = Sign(
    "noise_fraction", "noise is for details; above, it varies images more than latents", above=0.5
)

# In this order: what the first ones say explains the signs of those below them.
OVERPOWERED = "discriminator overpowers the generator"
FAILURES = (
    Failure(OVERPOWERED, (*SURE, NO_GRADIENT), weaker_discriminator, sees_images_one_by_one),
    Failure(OVERPOWERED, (*WINS, TRAINED, ALIKE), weaker_discriminator, sees_images_one_by_one),
    Failure(OVERPOWERED, (*WINS, TRAINED, REPEATS), weaker_discriminator, sees_images_one_by_one),
    Failure("mode collapse, the generator repeats itself", (TRAINED, REPEATS),
            stronger_discriminator),
    Failure("mode collapse, samples differ less than real images", (TRAINED, ALIKE),
            stronger_discriminator),
    Failure("mode collapse, classes are missing", (TRAINED, FEW_CLASSES), stronger_discriminator),
    Failure("the critic's slope is out of hand", (STEEP,), firmer_penalty, holds_slopes_at_one),
    Failure("the generator ignores its latents", (TRAINED, NOISY), fewer_ways_around_latents,
            has_styles),
)  # fmt: skip


def diversity(samples: Tensor, real: Tensor) -> dict[str, float]:
    """Return how much samples differ from each other, compared with as many real images.

    Distances are Euclidean, between pixels. `spread` is the mean distance of two samples over
    that of two real images; `near_duplicates` the fraction of samples whose nearest other sample
    is as near as next to no real image is.

    Args:
        samples: (N, C, H, W), two or more.
        real: (N, C, H, W), two or more that are not all the same.
    """
    samples, real = samples.flatten(1), real.flatten(1)
    to_neighbour = distances.nearest(real, [real], 2)[0][:, 1]  # the nearest is the image itself
    too_near = DUPLICATE * to_neighbour[to_neighbour > 0].quantile(RARE_FRACTION)  # none is a copy
    near = distances.nearest(samples, [samples], 2)[0][:, 1] < too_near
    spread = distances.mean_distance(samples) / distances.mean_distance(real)
    return {"spread": spread, "near_duplicates": float(near.double().mean())}


def class_variety(histogram: Sequence[float], real_histogram: Sequence[float]) -> float:
    """Return the number of classes that are in use, exp(entropy), over that of real images.

    Args:
        histogram: fraction of each class among samples.
        real_histogram: fraction of each class among real images.
    """
    return _perplexity(histogram) / _perplexity(real_histogram)


def verdict(metrics: dict[str, float], model: Model) -> str | None:
    """Return the first failure that the metrics show, with overrides to try; None for none.

    Args:
        metrics: of `GAN.health`, `diversity` and `class_variety`.
        model: the model, whose settings the remedies start from.
    """
    for failure in FAILURES:
        shows = all(sign.shows(metrics) for sign in failure.signs)
        if shows and failure.applies(model):
            return f"{failure.name}: try {' or '.join(failure.remedies(model))}"
    return None


def _perplexity(histogram: Sequence[float]) -> float:
    p = torch.tensor(histogram, dtype=torch.float64)
    return float((-torch.special.xlogy(p, p).sum()).exp())
