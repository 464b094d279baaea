"""From an image back to the style that a generator makes it of."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, mse_loss

from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.evaluation import model_metrics
from gdm.evaluation.classifier import ClassifierFeatures
from gdm.models.base import GenerativeModel
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count, Positive
from gdm.theory.images import to_float
from gdm.theory.randomness import generator
from gdm.tools.latent.classes import classifier_of
from gdm.tools.latent.refusals import refuse_without_styles
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun

log = logging.getLogger(__name__)

MEAN_OF = 10_000  # sampled styles, for their mean and their spread
STARTS = 1000  # of these, from the nearest of which a search starts
RISES, FALLS = 0.05, 0.25  # fractions of the steps in which the rate rises, and falls
NOISE, NOISY = 0.05, 0.75  # of a style's spread at first; fraction of the steps it fades over
SCALES = 3  # halvings of the images that are compared, besides the images themselves

Distance = Callable[[Tensor, Tensor], Tensor]  # (N, C, H, W), (N, C, H, W) -> (N,)


class Project(Tool):
    """Searches the style w whose image is nearest to a given one, by gradient descent (Karras et
    al. 2020, StyleGAN2, section 5 and appendix D, without the search for noise).

    It is done for held-out images, which the generator may not be able to make, and for images
    that it has made itself, whose styles are to be found again. Near means alike in pixels, at
    several scales, and in a classifier's features where one knows the images. The paper starts at
    the mean style; between classes that is no image, and some searches stayed there, so that here
    they start at the nearest of some sampled ones.

    `std_from_mean` is how far a style lies from the mean of sampled ones, in their standard
    deviations; `std_from_own` how far one that was found lies from the one it is to be.

    Args:
        num_images: of the validation images, and as many generated ones.
        num_steps: of Adam, for all images at once.
        lr: its rate, which rises at first and falls at last.
    """

    def __init__(self, num_images: Count, num_steps: Count, lr: Positive) -> None:
        self.num_images = num_images
        self.num_steps = num_steps
        self.lr = lr

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_without_styles(opened)

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        model = opened.model
        real = to_float(data.split(SPLIT).images[: self.num_images]).to(model.device)
        own = model.sample_codes(range(len(real)), seed=seed)
        made = model.images_of_styles(model.styles(own, truncation=1.0))
        sampled = model.sample_codes(range(MEAN_OF), seed=seed + 1)
        mean, spread = sampled.mean(0), (sampled - sampled.mean(0)).square().mean().sqrt()
        distance = _distance(classifier_of(opened, data))
        targets = torch.cat([real, made])
        start = _nearest(model, targets, sampled[:STARTS], distance)
        found = self._search(model, targets, start, spread, distance, seed)
        with torch.no_grad():
            back = model.images_of_styles(model.styles(found, truncation=1.0))
        facts = _facts(back, targets, found, mean, spread)
        from_own = (found[len(real) :] - own).square().mean(1).sqrt() / spread
        kinds = {"held_out": slice(0, len(real)), "generated": slice(len(real), None)}
        record: dict[str, Any] = {"split": SPLIT, "num_steps": self.num_steps}
        record["projected"] = {
            kind: {name: float(values[part].mean()) for name, values in facts.items()}
            for kind, part in kinds.items()
        }
        record["projected"]["generated"]["std_from_own"] = float(from_own.mean())
        rows = torch.stack([real, back[: len(real)], made, back[len(real) :]]).cpu()
        names = ["held out", "projected", "generated", "projected"]
        return Result(record, {"projected": image_table(rows, names, ())})

    def _search(
        self,
        model: GenerativeModel,
        targets: Tensor,
        start: Tensor,
        spread: Tensor,
        distance: Distance,
        seed: int,
    ) -> Tensor:
        """Return the styles that are found, (N, W)."""
        chance = generator(seed, "project")
        with torch.enable_grad():
            w = start.clone().requires_grad_()
            optimizer = torch.optim.Adam([w], betas=(0.9, 0.999))
            for step in range(self.num_steps):
                progress = step / self.num_steps
                optimizer.param_groups[0]["lr"] = self.lr * _rate(progress)
                std = NOISE * spread * max(0.0, 1 - progress / NOISY) ** 2
                noise = std * torch.randn(w.shape, generator=chance).to(w)
                images = model.images_of_styles(model.styles(w + noise, truncation=1.0))
                loss = distance(images, targets).sum()
                (w.grad,) = torch.autograd.grad(loss, [w])
                optimizer.step()
                if step == 0 or (step + 1) % 100 == 0:
                    log.info("step %d of %d: distance %.3g", step + 1, self.num_steps,
                             float(loss.detach()) / len(targets))  # fmt: skip
        return w.detach()


def _nearest(
    model: GenerativeModel, targets: Tensor, candidates: Tensor, distance: Distance
) -> Tensor:
    """Return for each target the style whose image is the nearest: (N, ...), (M, W) -> (N, W)."""
    apart = []
    for part in candidates.split(EVALUATION_BATCH):
        images = model.images_of_styles(model.styles(part, truncation=1.0))
        each = [distance(images, target.expand_as(images)) for target in targets]
        apart.append(torch.stack(each))
    return candidates[torch.cat(apart, 1).argmin(1)]


def _rate(progress: float) -> float:
    """Return the factor of the rate: a line up, 1, and half a cosine down."""
    down = min(1.0, (1 - progress) / FALLS)
    return min(1.0, progress / RISES) * (0.5 - 0.5 * math.cos(math.pi * down))


def _distance(extractor: ClassifierFeatures | None) -> Distance:
    """Return how unlike images are, (N,): the squared difference of pixels at each scale, and of
    a classifier's features relative to the length of those that are wanted."""

    def apart(x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros(len(x), device=x.device)
        if extractor is not None:
            wanted = extractor.features_of(y)
            missed = (extractor.features_of(x) - wanted).square().sum(1)
            total = total + missed / wanted.square().sum(1)
        for _ in range(SCALES + 1):
            total = total + mse_loss(x, y, reduction="none").flatten(1).mean(1)
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
        return total

    return apart


def _facts(
    back: Tensor, targets: Tensor, found: Tensor, mean: Tensor, spread: Tensor
) -> dict[str, Tensor]:
    """Return what is said of each projection, (N,) each."""
    return {
        "psnr": model_metrics.peak_signal_to_noise_ratio(back, targets),
        "std_from_mean": (found - mean).square().mean(1).sqrt() / spread,
    }
