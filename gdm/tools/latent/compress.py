"""Codes in the place of files: how many bytes an image takes, and how well it comes back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation.model_metrics import Likeness
from gdm.models.base import GenerativeModel
from gdm.pictures.figures import curves
from gdm.pictures.tables import image_table
from gdm.recipes.ranges import Count, Range
from gdm.theory.images import to_bytes, to_float
from gdm.theory.moments import Moments
from gdm.tools.latent.coding import coded, told
from gdm.tools.latent.file_sizes import jpeg, png
from gdm.tools.latent.quantiser import UniformQuantiser, code_lengths, level_probabilities
from gdm.tools.latent.refusals import refuse_empty, refuse_without_code_vectors
from gdm.tools.latent.tool import Result, Split, Tool, places
from gdm.tools.open_run import OpenRun

Bits = Annotated[int, Range(1, 16)]
Quality = Annotated[int, Range(1, 95)]  # what Pillow recommends
NO_OVERLAP = "none"
MAX_LOSS_DB = 0.1  # dB that rounding may cost where codes are shown
LEGEND = (
    f"bits that cost little: the fewest whose rounding costs at most {MAX_LOSS_DB} dB. "
    "entropy coded: "
    "by an ideal coder. images that pay for the decoder: against whole JPEG files at equal PSNR, "
    "then if JPEG had no headers. All notes are in record.json."
)
TICKS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))  # bytes
NOTES = {
    "bytes_of_codes": "numbers in a code times bits, over 8; codes of many images are packed",
    "bytes_entropy_coded": "by an ideal entropy coder, each number apart, with the frequencies of "
    "training codes; evaluated on held-out codes",
    "bytes_of_jpeg_files": "whole files, with Huffman tables of their own where that is shorter",
    "bytes_of_jpeg_data": "the compressed data alone, with the standard's tables: what JPEG would "
    "take if headers and tables were known to the reader, as the decoder is",
    "decoder": "the weights of the decoder and the tables of the quantiser and the entropy coder "
    "(decoder_bytes, 32 bits per number) are not counted in bytes of an image: they are sent once "
    "for any number of images, which pay for them by what each is smaller than as a JPEG file",
    "equal_psnr": "JPEG's bytes at the same mean PSNR, their logarithm interpolated between two "
    f"qualities; '{NO_OVERLAP}' where JPEG has no such PSNR at the qualities asked for",
}


@dataclass
class Coder:
    """A model with the quantiser of its codes, and with how probable each level is."""

    model: GenerativeModel
    quantiser: UniformQuantiser
    probabilities: Tensor  # (D, levels)


class Compress(Tool):
    """Rounds codes to few bits, and compares bytes and quality of held-out images with JPEG.

    - `rate_distortion`: PSNR and SSIM over the bytes of an image, codes and files;
    - `images`: some images by codes with the fewest bits that cost little, and by JPEG at the
      quality that comes nearest in PSNR.

    The quantiser and the frequencies for the entropy coder are fitted on training codes.

    Args:
        bits: of each number of a code.
        qualities: of JPEG, from 1 to 95.
        split: whose images: `validation` or `test`.
        num_images: images that are measured, the first of the split.
        num_shown: images in the picture.
        num_train: training images whose codes are fitted to, the first of the split.
    """

    compares = True

    def __init__(
        self,
        bits: list[Bits],
        qualities: list[Quality],
        split: Split,
        num_images: Count,
        num_shown: Count,
        num_train: Count,
    ) -> None:
        self.bits = bits
        self.qualities = qualities
        self.split = split
        self.num_images = num_images
        self.num_shown = num_shown
        self.num_train = num_train

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        refuse_empty("tool.bits", self.bits, "[2,4,8]")
        refuse_empty("tool.qualities", self.qualities, "[5,50]")
        refuse_without_code_vectors((opened, *others))
        levels, most = 2 ** max(self.bits), min(self.num_train, data.num_train)
        if levels > most:
            raise UserError(
                f"tool.bits={self.bits}: {levels} levels take as many training images at least to "
                f"count how often each comes, and there are {most} (tool.num_train)"
            )

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        files, lossless = self._jpeg(data), self._png(data)
        codes, models, rows = {}, {}, []
        for each in (opened, *others):
            train = coded(each.model, data.split("train"), self.num_train).z
            coders = {bits: _fitted(each.model, train, bits) for bits in sorted(set(self.bits))}
            found = {
                bits: metrics | _at_equal_psnr(metrics["psnr"], files)
                for bits, metrics in self._measured(coders, data).items()
            }
            chosen = _fewest_bits(found)
            codes[each.name] = found
            models[each.name] = _facts(each.model, found[chosen], chosen)
            rows.append((each.name, chosen, found[chosen], coders[chosen]))
        record: dict[str, Any] = {
            "split": self.split,
            "num_images": min(self.num_images, len(data.split(self.split))),
            "models": models,
            "codes": [
                {"run": name, "bits": bits} | metrics
                for name, found in codes.items() for bits, metrics in found.items()
            ],
            "jpeg": [{"quality": quality} | metrics for quality, metrics in files.items()],
            "png": {"lossless": lossless},
            "raw_bytes": float(data.channels * data.native_resolution**2),
            "notes": NOTES,
        }  # fmt: skip
        drawn = {
            "rate_distortion": _curves(codes, files, lossless),
            "images": self._picture(rows, files, data),
        }
        return Result(record, drawn, remark=LEGEND)

    def _measured(
        self, coders: dict[int, Coder], data: ImageDataModule
    ) -> dict[int, dict[str, float]]:
        """Return bytes and quality of held-out images: bits of a number -> metrics."""
        model = next(iter(coders.values())).model
        bits_of_class = math.log2(data.num_classes) if model.condition == "label" else 0.0
        length = {bits: Moments() for bits in coders}
        likeness = {bits: Likeness() for bits in coders}
        for batch in data.batches(self.split, device=model.device, limit=self.num_images):
            z = model.encode(batch.x, model.condition_of(batch)).cpu()
            for bits, coder in coders.items():
                levels = coder.quantiser.levels(z)
                length[bits].update(code_lengths(levels, coder.probabilities))
                likeness[bits].update(_decoded(coder, levels, batch.label), batch.x)
        return {
            bits: {
                "bytes_of_codes": (model.latent_dim * bits + bits_of_class) / 8,
                "bytes_entropy_coded": (float(length[bits].mean) + bits_of_class) / 8,
                **likeness[bits].metrics(),
            }
            for bits in coders
        }

    def _jpeg(self, data: ImageDataModule) -> dict[int, dict[str, float]]:
        """Return bytes and quality of JPEG on held-out images: its quality -> metrics."""
        found = {}
        for quality in sorted(set(self.qualities)):
            whole, scan, likeness = Moments(), Moments(), Likeness()
            for batch in data.batches(self.split, limit=self.num_images):
                written = [jpeg(image, quality) for image in to_bytes(batch.x)]
                files, scans, back = zip(*written, strict=True)
                whole.update(torch.tensor(files))
                scan.update(torch.tensor(scans))
                likeness.update(to_float(torch.stack(back)), batch.x)
            found[quality] = {
                "bytes_of_jpeg_files": float(whole.mean),
                "bytes_of_jpeg_data": float(scan.mean),
                **likeness.metrics(),
            }
        return found

    def _png(self, data: ImageDataModule) -> dict[str, float]:
        """Return the bytes of PNG on held-out images."""
        sizes = Moments()
        for batch in data.batches(self.split, limit=self.num_images):
            sizes.update(torch.tensor([png(image) for image in to_bytes(batch.x)]))
        whole, alone = sizes.mean.tolist()
        return {"bytes_of_png_files": whole, "bytes_of_png_data": alone}

    def _picture(
        self,
        rows: list[tuple[str, int, dict[str, float], Coder]],
        files: dict[int, dict[str, float]],
        data: ImageDataModule,
    ) -> Tensor:
        shown = next(data.batches(self.split, self.num_shown))
        images, names = [shown.x], [f"original, {shown.x[0].numel():,} bytes"]
        for name, bits, metrics, coder in rows:
            own = shown.x.to(coder.model.device), shown.label.to(coder.model.device)
            levels = coder.quantiser.levels(coder.model.encode(*own).cpu())
            images.append(_decoded(coder, levels, own[1]).cpu())
            size, psnr = metrics["bytes_entropy_coded"], metrics["psnr"]
            names.append(f"{name}, {bits} bits per number: {size:.0f} bytes, {psnr:.1f} dB")
        target = rows[0][2]["psnr"]
        quality = min(files, key=lambda each: abs(files[each]["psnr"] - target))
        back = torch.stack([jpeg(image, quality)[2] for image in to_bytes(shown.x)])
        images.append(to_float(back))
        metrics = files[quality]
        size, psnr = metrics["bytes_of_jpeg_files"], metrics["psnr"]
        names.append(f"JPEG, quality {quality}: {size:.0f} bytes, {psnr:.1f} dB")
        return image_table(torch.stack(images), names, places(shown))


def size_at(psnr: float, curve: Sequence[tuple[float, float]]) -> float | None:
    """Return the bytes at which a curve has this PSNR; None where it has not.

    Between two points the logarithm of the bytes is interpolated, since every further bit of a
    number is worth about as many dB.

    Args:
        psnr: in dB.
        curve: bytes and PSNR of each point, in any order.
    """
    sizes, values = zip(*sorted(curve, key=lambda point: point[1]), strict=True)
    if not values[0] <= psnr <= values[-1]:
        return None
    return float(np.exp(np.interp(psnr, values, np.log(sizes))))


def _fitted(model: GenerativeModel, train: Tensor, bits: int) -> Coder:
    quantiser = UniformQuantiser(train, bits)
    levels = quantiser.levels(train)
    return Coder(model, quantiser, level_probabilities(levels, quantiser.num_levels))


def _decoded(coder: Coder, levels: Tensor, label: Tensor) -> Tensor:
    """Return the images of rounded codes: (N, D), (N,) -> (N, C, H, W)."""
    z = coder.quantiser.centres(levels).float()
    return coder.model.decode(z.to(coder.model.device), told(coder.model, label))


def _fewest_bits(found: dict[int, dict[str, float]]) -> int:
    """Return the fewest bits that cost little against the best."""
    best = max(metrics["psnr"] for metrics in found.values())
    return min(bits for bits, metrics in found.items() if metrics["psnr"] >= best - MAX_LOSS_DB)


def _at_equal_psnr(psnr: float, files: dict[int, dict[str, float]]) -> dict[str, float | str]:
    """Return JPEG's bytes at a PSNR, with and without headers and tables."""
    found = {}
    for kind in ("bytes_of_jpeg_files", "bytes_of_jpeg_data"):
        size = size_at(psnr, [(each[kind], each["psnr"]) for each in files.values()])
        found[f"{kind}_at_equal_psnr"] = NO_OVERLAP if size is None else size
    return found


def _facts(model: GenerativeModel, metrics: dict[str, float | str], bits: int) -> dict[str, Any]:
    """Return what a decoder weighs with its tables, and after how many images codes and decoder
    are lighter than JPEG files, and than JPEG's data alone.
    """
    weights = model.decoding_network
    numbers = sum(parameter.numel() for parameter in weights.parameters())
    weight = 4.0 * (numbers + model.latent_dim * (2 + 2**bits))  # low, width, probabilities
    own = metrics["bytes_entropy_coded"]
    return {
        "numbers_in_a_code": model.latent_dim,
        "bits_that_cost_little": bits,
        "decoder_bytes": weight,
        "images_that_pay_for_the_decoder": _paying(
            weight, own, metrics["bytes_of_jpeg_files_at_equal_psnr"]
        ),
        "if_jpeg_had_no_headers": _paying(
            weight, own, metrics["bytes_of_jpeg_data_at_equal_psnr"]
        ),
    }


def _paying(weight: float, own: float, other: float | str) -> float | str:
    """Return the number of images after which a weight is paid for by smaller images."""
    if isinstance(other, str):
        return other
    return weight / (other - own) if other > own else "never"


def _curves(
    codes: dict[str, dict[int, dict[str, float]]],
    files: dict[int, dict[str, float]],
    lossless: dict[str, float],
) -> Tensor:
    """Draw quality over bytes."""
    series = {
        f"{name}, {how}": [(each[key], each) for each in found.values()]
        for name, found in codes.items()
        for how, key in (
            ("entropy-coded", "bytes_entropy_coded"), ("fixed length", "bytes_of_codes"),
        )
    } | {
        "JPEG files": [(each["bytes_of_jpeg_files"], each) for each in files.values()],
        "JPEG without headers, tables": [
            (each["bytes_of_jpeg_data"], each) for each in files.values()
        ],
    }  # fmt: skip
    panels = {
        label: {
            name: ([size for size, _ in points], [each[metric] for _, each in points])
            for name, points in series.items()
        }
        for metric, label in (("psnr", "PSNR (dB)"), ("ssim", "SSIM"))
    }
    places = {
        "PNG files, lossless": lossless["bytes_of_png_files"],
        "PNG without headers, lossless": lossless["bytes_of_png_data"],
    }
    sizes = [size for points in series.values() for size, _ in points] + list(places.values())
    ticks = [tick for tick in TICKS if min(sizes) / 2 <= tick <= max(sizes) * 2]
    return curves(panels, "bytes per image", places=places, ticks=ticks)
