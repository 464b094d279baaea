"""Schedules as one sees them: alpha_bar over t, and an image on its way to noise."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.pictures import diffusion
from gdm.recipes.build import build
from gdm.recipes.ranges import NonNegativeInt, Seed
from gdm.theory.randomness import normal
from gdm.theory.schedules import Discrete, Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 501  # of a curve
MOMENTS = 11  # of the image


@dataclass(frozen=True)
class DrawSchedulesOptions:
    """The keys of scripts/draw_schedules.py.

    Args:
        dataset: where the image comes from.
        index: which training image.
        seed: of the noise.
        to: the picture, .png, .pdf or .svg.
    """

    dataset: ImageDataModule
    index: NonNegativeInt
    seed: Seed
    to: str


def discrete_schedules(
    nodes: dict[str, dict[str, Any]], plugins: Iterable[str] = ()
) -> dict[str, Discrete]:
    """Return the schedules among these that preserve the variance: alpha_t^2 + sigma_t^2 = 1.

    Args:
        nodes: option of `schedule=` -> what builds it.
        plugins: packages that a node may name besides gdm.
    """
    built = {name: build(node, f"schedule={name}", plugins) for name, node in nodes.items()}
    return {name: each for name, each in built.items() if isinstance(each, Discrete)}


def training_image(data: ImageDataModule, index: int) -> Tensor:
    """Return a training image as 8-bit values, (C, H, W).

    Raises:
        UserError: if there are not so many.
    """
    images = data.split("train").images
    if index >= len(images):
        raise UserError(f"index={index}: must be below {len(images)}, the number of images")
    return images[index]


def noised(schedule: Schedule, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
    """Return x_t = alpha_t x_0 + sigma_t epsilon at every time: twice (C, H, W), (M,) ->
    (M, C, H, W)."""
    alpha_t, sigma_t = (each.float()[:, None, None, None] for each in schedule(t))
    return alpha_t * x_0 + sigma_t * epsilon


def picture(schedules: dict[str, Discrete], x_0: Tensor, seed: int) -> "Figure":
    """Draw schedules above an image that each turns into the same noise.

    Args:
        schedules: by their names.
        x_0: the image, (C, H, W) in [-1, 1].
        seed: of the noise.
    """
    t = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    moments = torch.linspace(0, 1, MOMENTS, dtype=torch.float64)
    (epsilon,) = normal([0], x_0.shape, seed, "forward process")
    alpha_bar = {name: schedule(t)[0].square() for name, schedule in schedules.items()}
    images = {name: noised(each, x_0, epsilon, moments) for name, each in schedules.items()}
    return diffusion.schedules(t, alpha_bar, images)
