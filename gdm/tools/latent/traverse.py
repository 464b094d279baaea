"""One latent dimension at a time, around an image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation import model_metrics
from gdm.models.base import GenerativeModel
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count, NonNegativeInt, Positive
from gdm.theory import walks
from gdm.theory.images import grey_levels
from gdm.tools.latent.coding import code_of_index, coded, decoded
from gdm.tools.latent.refusals import refuse_codes_of_images_size, refuse_index, refuse_single
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun

SPREAD_OF = 1000  # sampled styles whose standard deviation is a unit's
NUM_LEAST_UNITS = 3  # units at the end of the order that are shown when not all are


class Traverse(Tool):
    """Moves an image along each unit of its code, z + a s_d e_d with a from -reach to reach.

    s_d is the unit's standard deviation over validation images, of codes as training sees them.
    Units are ordered by their KL; for a model that has none by their variance; for a model that
    encodes nothing by how much they change the image. A unit whose row does not change is dead.

    Args:
        index: which validation image; for a model without an encoder, which latent.
        num_units: rows; of more units the last ones of the order are shown too.
        num_images: columns, an odd number has the code itself in the middle.
        reach: how far, in standard deviations of the unit.
    """

    def __init__(
        self, index: NonNegativeInt, num_units: Count, num_images: Count, reach: Positive
    ) -> None:
        self.index = index
        self.num_units = num_units
        self.num_images = num_images
        self.reach = reach

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_single(self.num_images)
        refuse_codes_of_images_size(opened)
        refuse_index(self.index, opened, data, "tool.index")

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        model, multiples = opened.model, self._multiples()
        z, label, spread = self._start(model, data, seed)
        walked = walks.traversal(z, spread, multiples)  # (D, K, D)
        flat = walked.flatten(0, 1)
        images = decoded(model, flat, label.expand(len(flat))).unflatten(0, walked.shape[:2])
        change = _change(images)
        kl = model_metrics.evaluate(model, data, SPLIT).get("kl_per_unit")
        measure, unit = _order(model, kl, spread, change)
        order = measure.argsort(descending=True, stable=True)
        shown = order if len(order) <= self.num_units else self._ends(order)
        names = [f"unit {d + 1}: {measure[d]:.2f} {unit}" for d in shown.tolist()]
        columns = [
            rf"{multiple:+.1f} $s$" if multiple else "code" for multiple in multiples.tolist()
        ]
        record: dict[str, Any] = {
            "split": SPLIT,
            "ordered_by": unit,
            "units": [
                {"unit": d + 1, **({"kl": kl[d]} if kl else {}), "std": float(spread[d]),
                 "grey_levels_changed": float(change[d])}
                for d in order.tolist()
            ],
        }  # fmt: skip
        picture = image_table(images[shown], names, columns)
        return Result(record, {"traverse": picture}, remark=self._remark(model, len(shown)))

    def _remark(self, model: GenerativeModel, num_shown: int) -> str:
        """Explain what is written in the picture."""
        of_latents = "over sampled styles" if model.has_styles else "of the latents, which is 1"
        of = "over validation images" if model.encodes else of_latents
        return (
            f"s: a unit's standard deviation {of}. A row is a unit; {num_shown} of the code's "
            f"{model.latent_dim} are shown."
        )

    def _multiples(self) -> Tensor:
        """Return how far to move, (K,) from -reach to reach, and 0 itself in the middle."""
        half = torch.linspace(1, -1, self.num_images)
        return self.reach * (half.flip(0) - half) / 2

    def _start(
        self, model: GenerativeModel, data: ImageDataModule, seed: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a code, (D,), its class, (1,), and the spread of each unit, (D,)."""
        z, label = code_of_index(model, data, self.index, seed)
        if model.has_styles:
            return z, label, model.sample_codes(range(SPREAD_OF), seed=seed).cpu().std(0)
        if not model.encodes:
            return z, label, torch.ones(model.latent_dim)
        return z, label, coded(model, data.split(SPLIT), drawn_by=seed).z.std(0)

    def _ends(self, order: Tensor) -> Tensor:
        """Return the first units of an order and the last few, `num_units` of them."""
        last = min(NUM_LEAST_UNITS, self.num_units // 2)
        return torch.cat([order[: self.num_units - last], order[len(order) - last :]])


def _order(
    model: GenerativeModel, kl: list[float] | None, spread: Tensor, change: Tensor
) -> tuple[Tensor, str]:
    """Return by what the units are ordered, (D,), and its unit."""
    if kl:
        return torch.tensor(kl), "nats"
    return (spread.square(), "variance") if model.encodes else (change, "grey levels")


def _change(images: Tensor) -> Tensor:
    """Return how far the images of each unit lie from their mean, in grey levels, as
    the root mean square over pixels: (D, K, C, H, W) -> (D,)."""
    apart = images - images.mean(1, keepdim=True)
    return grey_levels(apart.flatten(1, 2))
