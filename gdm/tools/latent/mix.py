"""Styles of one image in the layers of another: which layers say what."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.models.base import GenerativeModel
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count, NonNegativeInt
from gdm.theory.images import grey_levels
from gdm.tools.latent.refusals import refuse_without_styles
from gdm.tools.latent.tool import Result, Tool
from gdm.tools.open_run import OpenRun

GROUPS = ("coarse", "middle", "fine")


class Mix(Tool):
    """Gives images the styles of others in some of their layers (Karras et al. 2019, figure 3).

    One table for each third of the layers, from the smallest maps to the largest: the image of a
    row takes these layers from the image of the column, and keeps the others.

    Args:
        num_rows, num_columns: images that keep most of their styles, and that lend some.
        first: index of the first latent; the rows' come before the columns'.
    """

    def __init__(self, num_rows: Count, num_columns: Count, first: NonNegativeInt) -> None:
        self.num_rows = num_rows
        self.num_columns = num_columns
        self.first = first

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_without_styles(opened)

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        model, last = opened.model, self.first + self.num_rows + self.num_columns
        codes = model.sample_codes(range(self.first, last), seed=seed)
        styles = model.styles(codes)  # (N, L, W)
        images = model.images_of_styles(styles).cpu()
        rows, columns = styles.split([self.num_rows, self.num_columns])
        groups: list[dict[str, Any]] = []
        drawn = {}
        for name, layers in _thirds(styles.shape[1]).items():
            mixed = _mixed(model, rows, columns, layers)  # (rows, columns, C, H, W)
            change = (mixed - images[: self.num_rows, None]).flatten(0, 1)
            groups.append(
                {
                    "styles": name,
                    "first_layer": layers.start + 1,
                    "last_layer": layers.stop,
                    "grey_levels_changed": float(grey_levels(change[:, None]).mean()),
                }
            )
            drawn[name] = self._table(images, mixed, name)
        return Result({"num_styles": styles.shape[1], "groups": groups}, drawn)

    def _table(self, images: Tensor, mixed: Tensor, name: str) -> Tensor:
        """Draw the mixed images, right of those of the rows and below those of the columns."""
        corner = torch.ones_like(images[:1])
        above = torch.cat([corner, images[self.num_rows :]])
        below = torch.cat([images[: self.num_rows, None], mixed], 1)
        numbers = [str(self.first + number) for number in range(len(images))]
        return image_table(
            torch.cat([above[None], below]),
            [f"{name} styles of", *numbers[: self.num_rows]],
            ["", *numbers[self.num_rows :]],
        )


def _thirds(num_styles: int) -> dict[str, range]:
    """Return the layers of each group, from the smallest maps to the largest."""
    bounds = [round(third * num_styles / 3) for third in range(4)]
    return {name: range(*bounds[third : third + 2]) for third, name in enumerate(GROUPS)}


def _mixed(model: GenerativeModel, rows: Tensor, columns: Tensor, layers: range) -> Tensor:
    """Return the images of styles (R, L, W) with some layers of others, (K, L, W), on the CPU:
    (R, K, C, H, W)."""
    inside = slice(layers.start, layers.stop)
    made = []
    for row in rows:
        styles = row.expand(len(columns), -1, -1).clone()
        styles[:, inside] = columns[:, inside]
        made.append(model.images_of_styles(styles).cpu())
    return torch.stack(made)
