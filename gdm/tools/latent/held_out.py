"""Held-out images, what a model's codes give back of them, and the linear codes beside these."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from gdm.data.batches import Batch
from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.models.base import GenerativeModel
from gdm.tools.latent.tool import (
    WITH_FEW_NUMBERS,
    refuse_codes_of_images_size,
    refuse_without_codes,
)
from gdm.tools.open_run import OpenRun

Split = Literal["validation", "test"]


def refuse_without_code_vectors(opened_runs: Iterable[OpenRun]) -> None:
    """Refuse models that do not encode images as few numbers."""
    for opened in opened_runs:
        refuse_without_codes(opened, WITH_FEW_NUMBERS)
        refuse_codes_of_images_size(opened)


def refuse_told_the_class(opened_runs: Iterable[OpenRun], why: str) -> None:
    """Refuse models whose encoder is told the class.

    Args:
        opened_runs: the models.
        why: what is wrong with that, as the end of a sentence.
    """
    for opened in opened_runs:
        if opened.model.condition is not None:
            raise UserError(f"{opened.run} is told the class beside the image, {why}")


def told_the_class(opened_runs: Iterable[OpenRun]) -> str:
    """Return a sentence that names the models that are told more than their codes; or none."""
    names = [opened.name for opened in opened_runs if opened.model.condition is not None]
    return f"Told the class beside the code: {', '.join(names)}." if names else ""


def refuse_empty(key: str, values: Sequence, example: str) -> None:
    """Refuse a list that names nothing."""
    if not values:
        raise UserError(f"{key}=[]: name one at least, such as {key}={example}")


def size_of_code(model: GenerativeModel) -> int:
    """Return how many numbers a code has: as many as a padded image where it is one."""
    return model.latent_dim or model.sample_codes([0])[0].numel()


def places(batch: Batch) -> list[str]:
    """Return what images are called in a picture: their places in the split."""
    return [str(place) for place in batch.index.tolist()]


class PrincipalComponents:
    """Codes by the linear map that gives images back with the least squared error: the projections
    on the axes of the largest variance (Pearson 1901), found from training images.

    Args:
        data: the data set.
        num_train: training images that the axes are found from, the first of the split.
        most: axes to find; of fewer images or pixels fewer.
    """

    def __init__(self, data: ImageDataModule, num_train: int, most: int) -> None:
        from sklearn.decomposition import PCA

        batches = data.batches("train", limit=num_train)
        x = torch.cat([batch.x.flatten(1) for batch in batches])  # (N, P)
        found = PCA(min(most, *x.shape), random_state=0).fit(x.numpy())
        self.mean = torch.from_numpy(found.mean_).float()
        self.axes = torch.from_numpy(found.components_).float().T  # (P, A)

    @property
    def count(self) -> int:
        """Number of axes."""
        return self.axes.shape[1]

    def encode(self, x: Tensor, dimension: int) -> Tensor:
        """Return codes of images: (N, C, H, W) -> (N, dimension), on the CPU."""
        return (x.cpu().flatten(1) - self.mean) @ self.axes[:, :dimension]

    def decode(self, z: Tensor, shape: Sequence[int]) -> Tensor:
        """Return images of codes: (N, dimension) -> (N, *shape) in [-1, 1]."""
        return (self.mean + z @ self.axes[:, : z.shape[1]].T).clamp(-1, 1).reshape(-1, *shape)
