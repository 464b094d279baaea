"""How the training of a GAN stands, and which known failure it shows.

A GAN's losses say little: both players' losses move with each other. What tells a healthy run from
a failed one is how sure the discriminator is, whether the generator still gets a gradient, and
whether its images differ from each other as real ones do.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gdm import distances
from gdm.adversarial import Minimax, Wasserstein
from gdm.models.base import GenerativeModel

DUPLICATE = 0.5  # of the distance below which 5 % of real images have a neighbour
RARE = 0.05


@dataclass(frozen=True)
class Sign:
    """A figure on the wrong side of a threshold, and why the threshold is there."""

    figure: str
    reason: str
    above: float = -math.inf
    below: float = math.inf

    def shows(self, figures: dict[str, float]) -> bool:
        """Whether the figure is known and lies beyond the threshold."""
        return self.figure in figures and self.above < figures[self.figure] < self.below


@dataclass(frozen=True)
class Failure:
    """A known way to fail: recognised where all its signs show in a model to which it applies, and
    what may help."""

    name: str
    signs: tuple[Sign, ...]
    remedies: Callable[[GenerativeModel], list[str]]
    applies: Callable[[GenerativeModel], bool] = lambda model: True


def judges_each_image(model: GenerativeModel) -> bool:
    """Whether the discriminator says of an image that it is real; a critic of the Wasserstein
    distance is meant to tell the two sets apart as well as it can."""
    return model.objective.boundary is not None


def weaker_discriminator(model: GenerativeModel) -> list[str]:
    """Return overrides that weaken the discriminator, those that it does not have yet."""
    width = getattr(model.discriminator, "width", 0)
    helps = {
        "objective=non_saturating": isinstance(model.objective, Minimax),
        "model.discriminator.dropout=0.3": getattr(model.discriminator, "dropout", 1.0) < 0.3,
        f"model.discriminator_optimizer.lr={rate(model.discriminator_optimizer) / 4:.2g}": True,
        f"model.discriminator.width={width // 2}": width > 1,
        "model.targets.noise=0.2": model.targets.noise < 0.2,
        "model.targets.flipped=0.05": model.targets.flipped < 0.05,
        "model.instance_noise=0.2": model.instance_noise < 0.2,
    }
    return [override for override, does in helps.items() if does]


def stronger_discriminator(model: GenerativeModel) -> list[str]:
    """Return overrides that help against a generator that repeats itself."""
    has_deviation = getattr(model.discriminator, "minibatch_deviation", True)
    is_wasserstein = isinstance(model.objective, Wasserstein)
    helps = {
        f"model.optimizer.lr={rate(model.optimizer) / 4:.2g}": True,
        f"model.discriminator_optimizer.lr={rate(model.discriminator_optimizer) * 4:.2g}": True,
        f"model.num_discriminator_steps={model.num_discriminator_steps + 2}": True,
        "model.discriminator.minibatch_deviation=true": not has_deviation,
        "objective=wasserstein penalty=gradient_penalty": not is_wasserstein,
    }
    return [override for override, does in helps.items() if does]


def firmer_penalty(model: GenerativeModel) -> list[str]:
    """Return overrides that help against a critic whose slope is out of hand."""
    return [
        f"model.penalty.weight={4 * model.penalty.weight:g}",
        f"model.discriminator_optimizer.lr={rate(model.discriminator_optimizer) / 4:.2g}",
    ]


def rate(optimizer: partial) -> float:
    """Return the learning rate that an optimizer is given, as recipes build one."""
    return optimizer.keywords["lr"]


# In this order: what the first one says explains the signs of those below it.
FAILURES = (
    Failure(
        "discriminator overpowers the generator",
        (
            Sign("real_accuracy", "healthy ones were right in 31 to 90 % of cases", above=0.97),
            Sign("fake_accuracy", "healthy ones were right in 54 to 95 % of cases", above=0.97),
            Sign("generator_gradient", "healthy ones were 0.1 or more, and these fall to 1e-4",
                 below=0.02),
        ),
        weaker_discriminator,
        judges_each_image,
    ),
    Failure(
        "mode collapse, the generator repeats itself",
        (
            Sign("images", "an untrained generator repeats itself too", above=10_000),
            Sign("near_duplicates", "real images and healthy samples have none", above=0.05),
        ),
        stronger_discriminator,
    ),
    Failure(
        "mode collapse, samples differ less than real images",
        (
            Sign("images", "at first all samples are the mean image", above=20_000),
            Sign("spread", "healthy samples have 0.9 of real images' and more", below=0.6),
        ),
        stronger_discriminator,
    ),
    Failure(
        "mode collapse, classes are missing",
        (
            Sign("images", "at first all samples are alike", above=20_000),
            Sign("class_variety", "healthy samples had 0.8 of real images' and more", below=0.5),
        ),
        stronger_discriminator,
    ),
    Failure(
        "the critic's slope is out of hand",
        (Sign("critic_slope", "it is to be 1, and a penalty that holds keeps it within 0.5 to 1.5",
              above=3.0),),
        firmer_penalty,
    ),
)  # fmt: skip


def diversity(samples: Tensor, real: Tensor) -> dict[str, float]:
    """Return how much samples differ from each other, compared with as many real images.

    Distances are Euclidean, between pixels. `spread` is the mean distance of two samples over
    that of two real images; `near_duplicates` the share of samples whose nearest other sample is
    as near as next to no real image is.

    Args:
        samples: (N, C, H, W).
        real: (N, C, H, W).
    """
    samples, real = samples.flatten(1), real.flatten(1)
    to_neighbour = distances.nearest(real, [real], 2)[0][:, 1]  # the nearest is the image itself
    too_near = DUPLICATE * to_neighbour.quantile(RARE)
    near = distances.nearest(samples, [samples], 2)[0][:, 1] < too_near
    spread = distances.mean_distance(samples) / distances.mean_distance(real)
    return {"spread": spread, "near_duplicates": float(near.double().mean())}


def class_variety(histogram: Sequence[float], real_histogram: Sequence[float]) -> float:
    """Return the number of classes that are in use, exp(entropy), over that of real images.

    Args:
        histogram: share of each class among samples.
        real_histogram: share of each class among real images.
    """
    return _perplexity(histogram) / _perplexity(real_histogram)


def verdict(figures: dict[str, float], model: GenerativeModel) -> str | None:
    """Return the first failure that the figures show, with overrides to try; None for none.

    Args:
        figures: of `GAN.health`, `diversity`, `class_variety`, and the number of `images` seen.
        model: the model, whose settings the remedies start from.
    """
    for failure in FAILURES:
        shows = all(sign.shows(figures) for sign in failure.signs)
        if shows and failure.applies(model):
            return f"{failure.name}: try {' or '.join(failure.remedies(model))}"
    return None


def _perplexity(histogram: Sequence[float]) -> float:
    p = torch.tensor(histogram, dtype=torch.float64)
    return float((-torch.special.xlogy(p, p).sum()).exp())
