"""How the training of a GAN stands, at every validation."""

import logging
from typing import Any

import torch

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation import gan_health
from gdm.evaluation.metrics import numbers
from gdm.models.base import Model
from gdm.recipes.ranges import AtLeastTwo

log = logging.getLogger(__name__)


class Health:
    """Measures how the two players of a GAN stand and how varied the samples are, and names a
    known failure with what may help.

    Args:
        num_images: of the validation images and of the samples.
    """

    def __init__(self, num_images: AtLeastTwo) -> None:
        self.num_images = num_images

    def measure(
        self, model: Model, data: ImageDataModule, record: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the metrics of a model as it is, and its `verdict` if it fails.

        Args:
            model: the model, with its own weights and in training mode, as it is optimised.
            data: the data set.
            record: what else is known of this moment, such as the classes of samples.
        """
        batch = next(iter(data.batches("validation", self.num_images, model.device)))
        metrics = model.health(batch)
        if not metrics:
            return {}
        if len(batch.x.unique(dim=0)) > 1:
            with model.evaluating():
                samples = model.sample(range(len(batch.x)))
            metrics |= gan_health.diversity(samples.cpu(), batch.x.cpu())
        if "class_histogram" in record:
            labels = data.split("validation").labels
            real = torch.bincount(labels, minlength=data.num_classes) / len(labels)
            metrics["class_variety"] = gan_health.class_variety(
                record["class_histogram"], real.tolist()
            )
        said = gan_health.verdict(metrics, model)
        return metrics | ({"verdict": said} if said else {})


def say(found: dict[str, Any]) -> None:
    """Write what was found into the log, in one line."""
    metrics = ", ".join(f"{name} {value:.2g}" for name, value in numbers(found).items())
    if "verdict" in found:
        log.warning("health: %s; %s", metrics, found["verdict"])
    else:
        log.info("health: %s", metrics)
