"""Fidelity against diversity: what is won and lost by styles nearer to their mean."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import distances, features, samples
from gdm.evaluation.features import FeatureSet
from gdm.pictures.figures import curves
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count
from gdm.tools.latent.refusals import refuse_empty, refuse_without_styles
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun

PERCEIVED = ("precision", "recall")


class Truncation(Tool):
    """Samples with styles drawn towards their mean, w' = mean + psi (w - mean), and measures what
    that does (Karras et al. 2019, appendix B; Kynkäänniemi et al. 2019).

    - `truncation`: the same latents, one row each, one column per psi;
    - `fidelity`: precision and recall, and the Frechet distance, over psi.

    Args:
        psis: how far styles stay from their mean; 1 leaves them, 0 makes all images one.
        num_samples: that are measured for each psi, and as many validation images.
        num_shown: latents in the picture.
    """

    def __init__(self, psis: list[float], num_samples: Count, num_shown: Count) -> None:
        self.psis = psis
        self.num_samples = num_samples
        self.num_shown = num_shown

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_without_styles(opened)
        refuse_empty("tool.psis", self.psis, "[0.5,0.7,1]")
        if opened.extractor is None:
            raise UserError("extractor=null: fidelity is measured in features; name an extractor")
        if self.num_samples < features.MIN_IMAGES:
            raise UserError(
                f"tool.num_samples={self.num_samples}: must be at least {features.MIN_IMAGES}"
            )

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        extractor, asked = opened.features(), sorted(set(self.psis))
        real = features.features_of_split(extractor, data, SPLIT, self.num_samples)
        rows: list[dict[str, Any]] = []
        shown = []
        for psi in asked:
            opened.model.truncation = psi
            found, first = FeatureSet(), []
            for images in samples.draw(opened.model, len(real), None, seed):
                found.add(extractor(images))
                first.append(images[: self.num_shown - sum(map(len, first))])
            rows.append({"psi": psi, **_measured(found, real)})
            shown.append(torch.cat(first))
        table = image_table(
            torch.stack(shown, 1),
            [str(index) for index in range(len(shown[0]))],
            [rf"$\psi$={psi:g}" for psi in asked],
        )
        record = {"split": SPLIT, "num_samples": len(real), "by_psi": rows}
        return Result(record, {"truncation": table, "fidelity": _drawn(rows)})


def _measured(found: FeatureSet, real: FeatureSet) -> dict[str, float]:
    pairwise = distances.precision_recall(found.features, real.features)
    return {
        "frechet_distance": distances.frechet_distance(found.joint, real.joint),
        **{name: pairwise[name] for name in PERCEIVED},
    }


def _drawn(rows: list[dict[str, Any]]) -> Tensor:
    psis = [row["psi"] for row in rows]
    names = {name: name.replace("_", " ") for name in rows[0] if name != "psi"}
    panels = {
        title: {"samples": (psis, [row[name] for row in rows])} for name, title in names.items()
    }
    return curves(panels, r"$\psi$")
