"""The keys of scripts/train.py."""

from collections.abc import Callable
from dataclasses import dataclass

from pytorch_lightning import Callback, Trainer

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation.extractors import Extractor
from gdm.models.base import Model
from gdm.recipes.ranges import Seed
from gdm.training.budget import Budget
from gdm.training.loggers import RunLogger


@dataclass(frozen=True)
class TrainOptions:
    """The outermost keys of a recipe, and what each of them builds.

    Args:
        seed: all randomness follows from it.
        outputs: the folder of all runs.
        name: the run's folder below it; null: model/dataset.
        budget: the run's length.
        model: what is trained.
        dataset: the images.
        callbacks: what is done while training, by names; null for nothing.
        logger: what writes curves and pictures, by names; null for nothing.
        extractor: the features that samples are evaluated in; null: they are not evaluated.
        trainer: the device, and how exactly it calculates.
    """

    seed: Seed
    outputs: str
    name: str | None
    budget: Budget
    model: Model
    dataset: ImageDataModule
    callbacks: dict[str, Callback | None] | None
    logger: dict[str, Callable[..., RunLogger] | None] | None
    extractor: Callable[..., Extractor] | None
    trainer: Trainer
