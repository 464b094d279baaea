"""How images come back from codes of different sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation import model_metrics
from gdm.models.base import GenerativeModel
from gdm.pictures.figures import curves
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count
from gdm.theory.moments import Moments
from gdm.tools.latent.coding import size_of_code, told, told_the_class
from gdm.tools.latent.principal_components import PrincipalComponents
from gdm.tools.latent.refusals import refuse_without_codes
from gdm.tools.latent.tool import Result, Split, Tool, places
from gdm.tools.open_run import OpenRun

SIZES = (1, 2, 4, 8, 16, 32, 64)  # of linear codes, beside which the models stand


class Reconstruct(Tool):
    """Shows held-out images above what the codes of each run give back of them, and measures it.

    - `reconstructions`: the images, one row per run;
    - `psnr`: how well they come back over the size of the code, with what linear codes of the same
      size can do, which are the principal components of training images.

    `sharpness` is the mean absolute difference between neighbouring pixels, over that of the
    originals: 1 is as sharp, less is blurry.

    Args:
        split: whose images: `validation` or `test`.
        num_images: images that are measured, the first of the split.
        num_shown: images in the picture.
        num_train: training images that the linear codes are found from.
    """

    compares = True

    def __init__(
        self, split: Split, num_images: Count, num_shown: Count, num_train: Count
    ) -> None:
        self.split = split
        self.num_images = num_images
        self.num_shown = num_shown
        self.num_train = num_train

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        for each in (opened, *others):
            refuse_without_codes(each)

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        opened_runs = (opened, *others)
        runs = {each.name: self._measured(each.model, data) for each in opened_runs}
        linear = self._linear(data, {run["numbers_in_a_code"] for run in runs.values()})
        for run in runs.values():
            run["psnr_of_linear_codes"] = linear.get(run["numbers_in_a_code"])
        record: dict[str, Any] = {
            "split": self.split,
            "num_images": min(self.num_images, len(data.split(self.split))),
            "runs": runs,
            "linear_codes": [{"numbers_in_a_code": n, "psnr": linear[n]} for n in sorted(linear)],
        }
        drawn = {
            "reconstructions": self._picture(opened_runs, runs, data),
            "psnr": _psnr_over_size(runs, linear),
        }
        remark = f"{_explanation(runs)} {told_the_class(opened_runs)}".rstrip()
        return Result(record, drawn, remark=remark)

    def _measured(self, model: GenerativeModel, data: ImageDataModule) -> dict[str, Any]:
        """Return how images come back from the codes of a model, and how sharp they are."""
        likeness, edges, edges_back = model_metrics.Likeness(), Moments(), Moments()
        for batch in data.batches(self.split, device=model.device, limit=self.num_images):
            back = model_metrics.images_back(model, batch.x, model.condition_of(batch))
            likeness.update(back, batch.x)
            edges.update(_edges(batch.x))
            edges_back.update(_edges(back))
        sharpness = float(edges_back.mean / edges.mean)
        size = size_of_code(model)
        return {"numbers_in_a_code": size} | likeness.metrics() | {"sharpness": sharpness}

    def _linear(self, data: ImageDataModule, sizes: set[int]) -> dict[int, float]:
        """Return the PSNR of principal components: how many -> dB."""
        asked = {
            *SIZES,
            *(size for size in sizes if size < data.channels * data.native_resolution**2),
        }
        components = PrincipalComponents(data, self.num_train, max(asked))
        found = {
            size: model_metrics.Likeness() for size in sorted(asked) if size <= components.count
        }
        for batch in data.batches(self.split, limit=self.num_images):
            for size, likeness in found.items():
                z = components.encode(batch.x, size)
                likeness.update(components.decode(z, batch.x.shape[1:]), batch.x)
        return {size: likeness.metrics()["psnr"] for size, likeness in found.items()}

    def _picture(
        self, opened_runs: Sequence[OpenRun], runs: dict[str, Any], data: ImageDataModule
    ) -> Tensor:
        shown = next(data.batches(self.split, self.num_shown))
        rows = [shown.x]
        for each in opened_runs:
            x, own = shown.x.to(each.model.device), told(each.model, shown.label)
            rows.append(model_metrics.images_back(each.model, x, own).cpu())
        names = [
            f"{name}: {run['numbers_in_a_code']} numbers, {run['psnr']:.1f} dB"
            for name, run in runs.items()
        ]
        return image_table(torch.stack(rows), ["original", *names], places(shown))


def _psnr_over_size(runs: dict[str, dict[str, Any]], linear: dict[int, float]) -> Tensor:
    """Draw how well images come back over the size of the code, beside linear codes."""
    sizes = sorted(linear)
    series = {"principal components": (sizes, [linear[size] for size in sizes])} | {
        name: ([run["numbers_in_a_code"]], [run["psnr"]]) for name, run in runs.items()
    }
    ticks = sorted({*SIZES, *(run["numbers_in_a_code"] for run in runs.values())})
    return curves({"PSNR (dB)": series}, "numbers in a code", ticks=ticks)


def _edges(x: Tensor) -> Tensor:
    """Return the mean absolute difference between neighbouring pixels: (N, C, H, W) -> (N,)."""
    across, down = x.diff(dim=3).abs().flatten(1), x.diff(dim=2).abs().flatten(1)
    return torch.cat([across, down], 1).mean(1)


def _explanation(runs: dict[str, dict[str, Any]]) -> str:
    """Answer why images come back blurry, with the numbers of the runs."""
    sizes = ", ".join(
        f"{run['psnr']:.1f} dB and {run['sharpness']:.2f} of the sharpness with "
        f"{run['numbers_in_a_code']}"
        for run in sorted(runs.values(), key=lambda run: run["numbers_in_a_code"])
    )
    return (
        "Images that differ share a code where it has few numbers, and the answer with the least "
        "squared error is their mean, in which edges that do not lie in the same place are "
        f"smeared. More numbers tell more images apart: {sizes}."
    )
