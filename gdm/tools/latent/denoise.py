"""Noise that codes do not carry: noisy images, encoded and decoded."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.evaluation import model_metrics
from gdm.evaluation.model_metrics import Likeness
from gdm.pictures.figures import curves
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count, Positive
from gdm.tools.latent.coding import told, told_the_class
from gdm.tools.latent.noise import FRACTIONS, NOISES
from gdm.tools.latent.refusals import refuse_empty, refuse_without_code_vectors
from gdm.tools.latent.tool import Result, Split, Tool, places
from gdm.tools.open_run import OpenRun

NOISY = "noisy image"
STRENGTHS = {
    "gaussian": "standard deviation of the noise, of a range from -1 to 1",
    "salt_and_pepper": "fraction of the pixels that are made black or white",
    "masking": "fraction of the pixels that are made black",
    "cutout": "fraction of the area that is made black",
}


class Denoise(Tool):
    """Encodes and decodes noisy held-out images, and measures how near the clean ones that comes.

    Models get the noisy values as they are, beyond the range too, as in training; pictures and
    metrics are of 8-bit images.

    - `denoised`: clean images, the same with noise, and what each run makes of them;
    - `strengths`: PSNR and SSIM over the strength of the noise, before and after. No model comes
      above the line of its clean images: what their own codes give back.

    Args:
        noise: `gaussian`, `salt_and_pepper`, `masking` (single pixels) or `cutout` (a square).
        strength: of the picture: the standard deviation, in units of the images' range [-1, 1],
            of the first, and the fraction of the pixels of the others.
        strengths: of the curves.
        split: whose images: `validation` or `test`.
        num_images: images that are measured, the first of the split.
        num_shown: images in the picture.
    """

    compares = True

    def __init__(
        self,
        noise: Literal["gaussian", "salt_and_pepper", "masking", "cutout"],
        strength: Positive,
        strengths: list[Positive],
        split: Split,
        num_images: Count,
        num_shown: Count,
    ) -> None:
        for each in (strength, *strengths):
            if noise in FRACTIONS and each > 1:
                raise ValueError(
                    f"strength={each}: is a fraction of the pixels with noise={noise}, at most 1"
                )
        self.noise = noise
        self.strength = strength
        self.strengths = strengths
        self.split = split
        self.num_images = num_images
        self.num_shown = num_shown

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_empty("tool.strengths", self.strengths, "[0.2,0.4]")
        refuse_without_code_vectors((opened, *others))

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        opened_runs = (opened, *others)
        strengths = sorted({self.strength, *self.strengths})
        measured = {s: self._measured(opened_runs, data, s, seed) for s in strengths}
        clean = {
            each.name: model_metrics.reconstruction(each.model, data, self.split, self.num_images)
            for each in opened_runs
        }
        at_strength = {name: dict(found) for name, found in measured[self.strength].items()}
        for name, found in clean.items():
            at_strength[name] |= {
                "psnr_gained": at_strength[name]["psnr"] - at_strength[NOISY]["psnr"],
                "psnr_of_clean_images": found["psnr"],
                "ssim_of_clean_images": found["ssim"],
            }
        record: dict[str, Any] = {
            "split": self.split,
            "num_images": min(self.num_images, len(data.split(self.split))),
            f"{self.noise}_{self.strength:g}": at_strength,
            "by_strength": [
                {"strength": float(s), "of": name} | found
                for s in strengths
                for name, found in measured[s].items()
            ],
        }
        pictured = {
            "denoised": self._picture(opened_runs, data, seed, at_strength),
            "strengths": self._curves(measured, clean),
        }
        return Result(record, pictured, remark=told_the_class(opened_runs))

    def _measured(
        self, opened_runs: Sequence[OpenRun], data: ImageDataModule, strength: float, seed: int
    ) -> dict[str, dict[str, float]]:
        """Return how like the clean images the noisy ones and each run's answers are."""
        found: dict[str, Likeness] = defaultdict(Likeness)
        for batch in data.batches(self.split, limit=self.num_images):
            noisy = NOISES[self.noise](batch.x, batch.index.tolist(), strength, seed)
            found[NOISY].update(noisy, batch.x)
            for each in opened_runs:
                found[each.name].update(_restored(each, noisy, batch.label), batch.x)
        return {name: likeness.metrics() for name, likeness in found.items()}

    def _picture(
        self,
        opened_runs: Sequence[OpenRun],
        data: ImageDataModule,
        seed: int,
        metrics: dict[str, dict[str, float]],
    ) -> Tensor:
        shown = next(data.batches(self.split, self.num_shown))
        index = shown.index.tolist()
        noisy = NOISES[self.noise](shown.x, index, self.strength, seed)
        rows = [shown.x, noisy, *(_restored(each, noisy, shown.label) for each in opened_runs)]
        names = ["clean", f"noisy: {metrics[NOISY]['psnr']:.1f} dB"]
        names += [f"{each.name}: {metrics[each.name]['psnr']:.1f} dB" for each in opened_runs]
        return image_table(torch.stack(rows), names, places(shown))

    def _curves(
        self,
        measured: dict[float, dict[str, dict[str, float]]],
        clean: dict[str, dict[str, float]],
    ) -> Tensor:
        panels, levels = {}, {}
        for metric, label in (("psnr", "PSNR (dB)"), ("ssim", "SSIM")):
            panels[label] = {
                name if name == NOISY else f"{name}, from the noisy image": (
                    list(measured), [found[name][metric] for found in measured.values()]
                )
                for name in (NOISY, *clean)
            }  # fmt: skip
            levels[label] = {
                f"{name}, from the clean image": found[metric] for name, found in clean.items()
            }
        return curves(panels, STRENGTHS[self.noise], levels)


def _restored(opened: OpenRun, noisy: Tensor, label: Tensor) -> Tensor:
    """Return what the codes of noisy images give back: (N, C, H, W), (N,) -> (N, C, H, W)."""
    model = opened.model
    return model_metrics.images_back(model, noisy.to(model.device), told(model, label)).cpu()
