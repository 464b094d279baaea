"""The one protocol: a model and a split -> a record; used by callbacks and scripts alike."""

from collections import defaultdict
from typing import Any

from gdm.data.datamodule import ImageDataModule
from gdm.models.base import GenerativeModel
from gdm.moments import Moments

DENSITY_IMAGES = 20_000  # codes of that many training images settle a density of few dimensions


def evaluate(
    model: GenerativeModel, data: ImageDataModule, split: str, limit: int | None = None
) -> dict[str, Any]:
    """Return the model's figures, averaged over the images of a split, as a record.

    Call it inside `model.evaluating()`, which also settles which weights are judged.

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
        for name, values in model.figures(batch.x, batch.label, batch.index.tolist()).items():
            moments[name].update(values)
    return {"split": split, "n": num_images} | model.report(dict(moments))


def prepare_sampling(model: GenerativeModel, data: ImageDataModule) -> None:
    """Let a model whose codes have no known distribution fit one to its training codes."""
    model.prepare_sampling(data.batches("train", device=model.device, limit=DENSITY_IMAGES))


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """Return the single numbers of a record, without its counts and lists."""
    return {name: value for name, value in record.items() if isinstance(value, float)}
