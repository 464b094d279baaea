"""Images to codes and back, in batches, and what a model is told beside them."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.data.images import Images
from gdm.models.base import GenerativeModel
from gdm.theory.images import to_float
from gdm.tools.latent.tool import SPLIT
from gdm.tools.open_run import OpenRun

log = logging.getLogger(__name__)

ANNOUNCED_SECONDS = 20  # seconds ahead that are announced


@dataclass
class Coded:
    """Images with their codes, on the CPU.

    Args:
        images: (N, C, H, W) 8-bit values.
        label: (N,) classes.
        z: the codes, (N, ...).
    """

    images: Tensor
    label: Tensor
    z: Tensor


def coded(
    model: GenerativeModel, images: Images, limit: int | None = None, drawn_by: int | None = None
) -> Coded:
    """Encode images, or the first `limit` of them.

    Args:
        model: a model with codes.
        images: the images.
        limit: how many; None for all.
        drawn_by: a seed; then codes are as training sees them, which a VAE draws. None for the
            means of what it draws.
    """
    x, label = images.images[:limit], images.labels[:limit]

    def encoded(index: Tensor) -> Tensor:
        part, own = to_float(x[index].to(model.device)), told(model, label[index])
        if drawn_by is None:
            return model.encode(part, own)
        return model.draw_codes(part, own, index.tolist(), drawn_by)

    return Coded(x, label, _in_batches(encoded, len(x), "encoding"))


def told(model: GenerativeModel, label: Tensor | None) -> Tensor | None:
    """Return what a model is told of images of these classes, (N,); None for nothing."""
    return label.to(model.device) if label is not None and model.condition == "label" else None


def classes_in_turn(model: GenerativeModel, indices: Iterable[int]) -> Tensor:
    """Return what samples of these indices are told where a model is told the class, (N,)."""
    return torch.tensor([index % max(model.num_classes, 1) for index in indices])


def code_of_index(
    model: GenerativeModel, data: ImageDataModule, index: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the code of a validation image or, for a model without an encoder, the latent of an
    index, (D,), and its class, (1,)."""
    if not model.encodes:
        return model.sample_codes([index], seed=seed).cpu()[0], classes_in_turn(model, [index])
    one = coded(model, data.split(SPLIT).select(torch.tensor([index])))
    return one.z[0], one.label


def decoded(model: GenerativeModel, z: Tensor, label: Tensor | None) -> Tensor:
    """Decode codes in batches: (N, ...), (N,) -> (N, C, H, W) in [-1, 1], on the CPU."""

    def images(index: Tensor) -> Tensor:
        own = None if label is None else label[index]
        return model.decode(z[index].to(model.device), told(model, own))

    return _in_batches(images, len(z), "decoding")


def _in_batches(act: Callable[[Tensor], Tensor], count: int, doing: str) -> Tensor:
    """Return what indices 0, ..., count - 1 become, on the CPU; what takes long is announced."""
    parts, started = [], time.monotonic()
    for index in torch.arange(count).split(EVALUATION_BATCH):
        parts.append(act(index).cpu())
        ahead = (time.monotonic() - started) * (count / len(index) - 1)
        if len(parts) == 1 and ahead > ANNOUNCED_SECONDS:
            log.info("%s %s images: about %.0f s more", doing, f"{count:,}", ahead)
    return torch.cat(parts)


def told_the_class(opened_runs: Iterable[OpenRun]) -> str:
    """Return a sentence that names the models that are told more than their codes; or none."""
    names = [opened.name for opened in opened_runs if opened.model.condition is not None]
    return f"Told the class beside the code: {', '.join(names)}." if names else ""


def size_of_code(model: GenerativeModel) -> int:
    """Return how many numbers a code has: as many as a padded image where it is one."""
    return model.latent_dim or model.sample_codes([0])[0].numel()
