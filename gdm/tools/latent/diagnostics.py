"""The three drawbacks of a plain autoencoder's latent space, measured of any model with codes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation.extractors import Extractor
from gdm.evaluation.features import CONFIDENT
from gdm.models.base import GenerativeModel
from gdm.theory.images import grey_levels_changed
from gdm.theory.randomness import normal, uniform
from gdm.theory.walks import TINY
from gdm.tools.latent import distributions
from gdm.tools.latent.classes import probabilities
from gdm.tools.latent.coding import classes_in_turn, coded, decoded
from gdm.tools.latent.tool import SPLIT
from gdm.tools.open_run import OpenRun

LARGEST_STEPS = 0.05  # fraction of the steps whose part in all change is reported


@dataclass
class Diagnosis:
    """What is found of one model.

    Args:
        metrics: single numbers.
        codes: of validation images, as training sees them, (N, D).
        label: their classes, (N,).
        fractions: what falls to each class, by what is divided among them -> (K,); nothing where
            images have no classes.
        change: grey levels by which the image changes at each step of each path, (P, S).
        largest_jump: images along the path with the largest change in one step, (S + 1, C, H, W).
    """

    metrics: dict[str, float]
    codes: Tensor
    label: Tensor
    fractions: dict[str, Tensor]
    change: Tensor
    largest_jump: Tensor


def measure(
    opened: OpenRun,
    data: ImageDataModule,
    extractor: Extractor | None,
    num_images: int,
    num_samples: int,
    num_paths: int,
    num_steps: int,
    num_train: int,
    seed: int,
) -> Diagnosis:
    """Measure how far codes are from simple densities, the room of each class and its fraction of
    the samples, and how evenly images change along short steps.

    Args:
        opened: a model with vectors as codes.
        data: the data set.
        extractor: what knows the classes; None for the classes of the nearest codes.
        num_images: validation images whose codes are looked at.
        num_samples: samples whose classes are counted.
        num_paths, num_steps: paths from codes in random directions, each one standard deviation
            of the codes long, and the steps of each.
        num_train: training images whose codes densities are fitted to.
        seed: of drawn codes, samples and directions.
    """
    model = opened.model
    part = coded(model, data.split(SPLIT), num_images, drawn_by=seed)
    codes, label = part.z, part.label
    fractions, clear = {}, {}
    if data.num_classes:
        fractions, clear = _of_classes(
            model, codes, label, data.num_classes, extractor, num_samples, seed
        )
    change, images = _steps(model, codes, label, num_paths, num_steps, seed)
    metrics = {
        **_distances(model, codes, coded(model, data.split("train"), num_train, drawn_by=seed).z),
        **_fractions_compared(fractions, min(num_samples, len(codes)), num_samples),
        **_evenness(change),
    }
    if extractor is not None:
        clear["on_paths"] = _clear(probabilities(extractor, images.flatten(0, 1)))
        middles = _between(model, codes, label, num_samples)
        clear["between_codes"] = _clear(probabilities(extractor, middles))
        metrics |= {f"clear_images_{where}": fraction for where, fraction in clear.items()}
    return Diagnosis(
        metrics, codes, label, fractions, change, images[change.max(1).values.argmax()]
    )


def _distances(model: GenerativeModel, codes: Tensor, train: Tensor) -> dict[str, float]:
    """Return how far codes are, at least, from the nearest normal distribution, from N(0, I), from
    a uniform one over their range, and from what the model samples them from, in nats.
    """
    width = (codes.amax(0) - codes.amin(0)).double().clamp_min(TINY)
    log_densities = {
        "normal": distributions.fitted(train, 1).log_prob(codes.double()),
        "standard_normal": Normal(0.0, 1.0).log_prob(codes.double()).sum(1),
        "uniform": -width.log().sum().expand(len(codes)),  # log (1 / volume)
    }
    if model.has_code_density:
        log_densities["own_samples"] = model.code_log_prob(codes.to(model.device)).cpu()
    mixture = distributions.mixture_of(train)
    return {
        f"nats_from_{name}": distributions.nats_from(codes, mixture, log_density)
        for name, log_density in log_densities.items()
    }


def _fractions_compared(fractions: dict[str, Tensor], n: int, m: int) -> dict[str, float]:
    """Return how unequal the classes' areas are, and how far the fractions of m samples are from
    those of n decoded codes, with how far chance alone would take them.
    """
    if not fractions:
        return {}
    areas, of_codes = fractions["area of codes"], fractions["decoded codes"]
    found = {}
    if (areas > 0).any():
        found["largest_area_over_smallest"] = float(areas.max() / areas[areas > 0].min())
    for kind in ("samples", "uniform samples"):
        found[f"{kind.replace(' ', '_')}_off"] = distributions.apart(fractions[kind], of_codes)
    return found | {"off_by_chance": distributions.apart_by_chance(of_codes, n, m)}


def _of_classes(
    model: GenerativeModel,
    codes: Tensor,
    label: Tensor,
    num_classes: int,
    extractor: Extractor | None,
    num_samples: int,
    seed: int,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return what each class has, (K,), of the room that codes take, of the images decoded from
    them, of samples, and of images decoded from anywhere in the codes' range; and the fractions of
    these images that are clear, where a classifier tells.
    """
    within = uniform(range(num_samples), codes.shape[1:], seed, "uniform")
    anywhere = codes.amin(0) + within.to(codes) * (codes.amax(0) - codes.amin(0))
    in_turn = classes_in_turn(model, range(num_samples))
    decoded_from = {
        "decoded codes": (codes[:num_samples], label[:num_samples]),
        "samples": (model.sample_codes(range(num_samples), seed=seed).cpu(), in_turn),
        "uniform samples": (anywhere, in_turn),
    }
    fractions = {"area of codes": distributions.class_areas(codes, label, num_classes)}
    clear = {}
    for name, (z, own) in decoded_from.items():
        if extractor is None:  # the codes' own classes are known
            near = distributions.nearest_class
            named = own if name == "decoded codes" else near(z, codes, label)
        else:
            p = probabilities(extractor, decoded(model, z, own))
            named, clear[f"of_{name.replace(' ', '_')}"] = p.argmax(1), _clear(p)
        fractions[name] = torch.bincount(named, minlength=num_classes).double() / len(named)
    return fractions, clear


def _between(model: GenerativeModel, codes: Tensor, label: Tensor, count: int) -> Tensor:
    """Return the images half-way between pairs of codes; a conditional model is told the class of
    the first.
    """
    count = min(count, len(codes) // 2)
    return decoded(model, (codes[:count] + codes[-count:]) / 2, label[:count])


def _steps(
    model: GenerativeModel, codes: Tensor, label: Tensor, num_paths: int, num_steps: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the grey levels by which images change along paths, (P, S), and the images.

    A path leads from a code in a random direction, as far as one standard deviation of the
    codes there, so that codes of any scale are stepped alike.
    """
    count = min(num_paths, len(codes))
    direction = normal(range(count), codes.shape[1:], seed, "direction").double()
    unit = direction / direction.norm(dim=1, keepdim=True)
    path = (unit @ distributions.covariance_factor(codes).T).to(codes)  # as long as the codes vary
    t = torch.linspace(0, 1, num_steps + 1)[:, None]
    z = codes[:count, None] + t * path[:, None]  # (P, S + 1, D)
    own = label[:count].repeat_interleave(num_steps + 1)
    images = decoded(model, z.flatten(0, 1), own).unflatten(0, z.shape[:2])
    return grey_levels_changed(images), images


def _evenness(change: Tensor) -> dict[str, float]:
    """Return how far the change of images is from the same at every step."""
    _, whole = concentration(change)
    in_largest = whole[max(1, round(LARGEST_STEPS * (len(whole) - 1)))]
    return {
        "grey_levels_per_step": float(change.mean()),
        "largest_step_over_mean": float(change.max() / change.mean()),
        "change_in_largest_5_percent_of_steps": float(in_largest),
    }


def concentration(change: Tensor) -> tuple[Tensor, Tensor]:
    """Return which fraction of all change lies in which fraction of the steps, the largest first.

    Args:
        change: at each step, of any shape.

    Returns:
        The fractions of the steps and of the change, from 0 to 1.
    """
    steps = change.flatten().double().sort(descending=True).values
    whole = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0) / steps.sum()])
    return torch.linspace(0, 1, len(whole)), whole


def _clear(p: Tensor) -> float:
    """Return the fraction of images that a classifier names with confidence: (N, K)."""
    return float((p.max(1).values >= CONFIDENT).float().mean())
