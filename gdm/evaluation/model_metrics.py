"""The one protocol, in its parts: what is measured of samples and of a model, for callbacks and
scripts alike.

Samples are 8-bit images in their native resolution, as a file would hold them; a set of them is
compared with all images of a split in the features of an extractor.
"""

import logging
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from gdm.data.batches import parts_of
from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.evaluation import distances
from gdm.models.base import GenerativeModel, Model
from gdm.theory.images import HALF_GREY_LEVEL, to_bytes, to_float
from gdm.theory.moments import Moments

log = logging.getLogger(__name__)

FLOATS_AT_A_TIME = 2**24  # of training images that samples are compared with
DENSITY_IMAGES = 20_000  # codes of that many training images settle a density of few dimensions


# The model's own metrics -------------------------------------------------------------------------


def evaluate(
    model: Model, data: ImageDataModule, split: str, limit: int | None = None
) -> dict[str, Any]:
    """Return the model's own metrics, averaged over the images of a split.

    Call it inside `model.evaluating()`, which also settles which weights are evaluated.

    Args:
        model: the model.
        data: the data set.
        split: `train`, `validation` or `test`.
        limit: number of images, the first of the split; None for all.
    """
    moments = defaultdict(Moments)
    num_images = 0
    for batch in data.batches(split, device=model.device, limit=limit):
        num_images += len(batch.x)
        for name, values in model.metrics(batch).items():
            moments[name].update(values)
    found = model.summarise(dict(moments))
    has_likelihood = model.likelihood_kind is not None and "bits_per_dim" in found
    kind = {"likelihood": model.likelihood_kind} if has_likelihood else {}
    return {"split": split, "num_images": num_images} | found | kind


def reconstruction(
    model: GenerativeModel, data: ImageDataModule, split: str, limit: int
) -> dict[str, float]:
    """Return how well 8-bit images come back from their codes: PSNR in dB and SSIM.

    Args:
        model: a model with codes.
        data: the data set.
        split: the split.
        limit: number of images, the first of the split.
    """
    likeness = Likeness()
    for batch in data.batches(split, device=model.device, limit=limit):
        likeness.update(images_back(model, batch.x, model.condition_of(batch)), batch.x)
    return likeness.metrics() | {"num_reconstructions": likeness.count}


def images_back(model: GenerativeModel, x: Tensor, condition: Tensor | None) -> Tensor:
    """Return images encoded and decoded: (N, C, H, W) -> (N, C, H, W) in [-1, 1]."""
    return model.decode(model.encode(x, condition), condition)


class Likeness:
    """How alike 8-bit images of a stream are to what they should be: mean PSNR and SSIM."""

    def __init__(self) -> None:
        self._psnr, self._ssim = Moments(), Moments()  # of each image

    @property
    def count(self) -> int:
        """Number of images."""
        return self._psnr.count

    def update(self, found: Tensor, x: Tensor) -> None:
        """Take in images, which are rounded to 8 bits, and originals: both (N, C, H, W)."""
        found = to_float(to_bytes(found).to(x.device))
        self._psnr.update(peak_signal_to_noise_ratio(found, x))
        self._ssim.update(
            structural_similarity_index_measure(found, x, data_range=(-1.0, 1.0), reduction="none")
        )

    def metrics(self) -> dict[str, float]:
        """Return `psnr` in dB and `ssim`, averaged over the images."""
        return {"psnr": float(self._psnr.mean), "ssim": float(self._ssim.mean)}


def peak_signal_to_noise_ratio(x: Tensor, y: Tensor) -> Tensor:
    """Return 10 log10(range^2 / mean squared error) of images in [-1, 1] in dB: (N, ...) -> (N,).

    Equal images have an error of half a grey level put in the place of none.
    """
    error = (x - y).square().flatten(1).mean(1).clamp_min(HALF_GREY_LEVEL**2)
    return 10 * torch.log10(4 / error)


def importance_weighted_bound(
    model: GenerativeModel, data: ImageDataModule, split: str, num_importance_samples: int
) -> dict[str, float]:
    """Return the bound on log p(x) of Burda et al. 2016 (equation 8), the mean in nats."""
    bound = Moments()
    for batch in data.batches(split, device=model.device):
        index = batch.index.tolist()
        bound.update(
            model.log_likelihood(batch.x, model.condition_of(batch), index, num_importance_samples)
        )
    return {
        "importance_weighted_bound": float(bound.mean),
        "importance_samples": num_importance_samples,
    }


def prepare_sampling(model: Model, data: ImageDataModule) -> None:
    """Let a model whose codes have no known distribution fit one to its training codes."""
    if model.makes_images:
        batches = data.batches("train", device=model.device, limit=DENSITY_IMAGES)
        model.prepare_sampling(batches)


def nearest_training_images(
    samples: Tensor, data: ImageDataModule, k: int
) -> tuple[Tensor, Tensor]:
    """Return distances, in grey levels as the root mean square over pixels, and positions of the
    nearest training images.

    Args:
        samples: (N, C, H, W) 8-bit values.
        data: the data set.
        k: how many.

    Returns:
        (N, k) root mean squared differences, ascending, and (N, k) positions in the split.
    """
    train = data.split("train").images
    size = max(1, min(10 * EVALUATION_BATCH, FLOATS_AT_A_TIME // samples[0].numel()))
    parts = (part.flatten(1).float() for part in parts_of(train, size))
    found, index = distances.nearest(samples.flatten(1).float(), parts, k)
    return found / samples[0].numel() ** 0.5, index
