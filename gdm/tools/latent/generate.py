"""New images from codes: samples, what they resemble most, and which classes they are of."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation import distances, features, model_metrics, samples
from gdm.evaluation.extractors import Extractor
from gdm.evaluation.features import FeatureSet
from gdm.pictures.figures import class_fractions
from gdm.pictures.tables import titled_grids
from gdm.recipes.ranges import Count
from gdm.tools.latent.classes import classifier_of
from gdm.tools.latent.tool import SPLIT, Result, Tool
from gdm.tools.open_run import OpenRun


class Generate(Tool):
    """Draws samples of each run beside the training images that are nearest to them.

    - `samples` of the run, and `samples_2`, ... of those that are compared;
    - `classes`, where a classifier knows the images: the fractions of the classes among samples
      and among real images.

    Args:
        num_samples: samples whose classes are counted.
        num_shown: samples in a picture, the first; of these the nearest images are sought.
    """

    compares = True

    def __init__(self, num_samples: Count, num_shown: Count) -> None:
        self.num_samples = num_samples
        self.num_shown = num_shown

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        extractor = classifier_of(opened, data)
        real = self._real(extractor, data)
        runs: dict[str, dict[str, float]] = {}
        panels: dict[str, dict[str, Tensor]] = {}
        drawn: dict[str, Tensor] = {}
        for number, each in enumerate((opened, *others), start=1):
            shown, seen = self._sampled(each, extractor, seed)
            name = "samples" if number == 1 else f"samples_{number}"
            runs[each.name], drawn[name] = _beside_nearest(shown, each.name, data)
            if real is not None:
                *fractions, confident = seen.named.mean.tolist()
                runs[each.name] |= {"confident": confident}
                panels[each.name] = {
                    "samples": torch.tensor(fractions),
                    "real images": real.named.mean[:-1],
                }
        record: dict[str, Any] = {
            "num_samples": None if extractor is None else self.num_samples,
            "num_nearest": min(self.num_shown, self.num_samples),
            "runs": runs,
        }
        if real is not None:
            record |= _classes(panels, real, data)
            drawn["classes"] = class_fractions(panels, data.class_names, "fraction of images")
        return Result(record, drawn)

    def _sampled(
        self, opened: OpenRun, extractor: Extractor | None, seed: int
    ) -> tuple[Tensor, FeatureSet]:
        """Return the samples to show, 8-bit values, and what the classifier sees in all."""
        shown, seen = [], FeatureSet(pairwise=False)
        count = min(self.num_samples, self.num_shown) if extractor is None else self.num_samples
        for batch in samples.draw(opened.model, count, None, seed):
            if sum(map(len, shown)) < self.num_shown:
                shown.append(batch)
            if extractor is not None:
                seen.add(extractor(batch))
        return torch.cat(shown)[: self.num_shown], seen

    def _real(self, extractor: Extractor | None, data: ImageDataModule) -> FeatureSet | None:
        if extractor is None:
            return None
        return features.features_of_split(extractor, data, SPLIT, self.num_samples, pairwise=False)


def _beside_nearest(
    shown: Tensor, name: str, data: ImageDataModule
) -> tuple[dict[str, float], Tensor]:
    """Return how near samples, 8-bit values (N, C, H, W), are to training images, and a picture
    of them beside these."""
    apart, index = model_metrics.nearest_training_images(shown, data, 2)
    figures = {
        "grey_levels_to_the_nearest": float(apart[:, 0].mean()),
        "memorised": float(distances.memorised(apart).double().mean()),
    }
    nearest = data.split("train").images[index[:, 0]]
    panels = {f"samples of {name}": shown, "the nearest training image of each": nearest}
    return figures, titled_grids(panels, max(1, round(len(shown) ** 0.5)))


def _classes(
    panels: dict[str, dict[str, Tensor]], real: FeatureSet, data: ImageDataModule
) -> dict[str, Any]:
    """Return the fractions of the classes, one row per class, and how clear real images are."""
    classes = [
        {"class": name, "real_images": float(real.named.mean[number])}
        | {run: float(panel["samples"][number]) for run, panel in panels.items()}
        for number, name in enumerate(data.class_names)
    ]
    return {
        "confident_real_images": float(real.named.mean[-1]),
        "num_real_images": len(real),
        "classes": classes,
    }
