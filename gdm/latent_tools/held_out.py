"""Held-out images, what a model's codes give back of them, and the linear codes beside these."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from gdm.data.batches import Batch, to_float
from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.latent_tools.tool import (
    WITH_FEW_NUMBERS,
    refuse_codes_of_images_size,
    refuse_without_codes,
)
from gdm.models.base import GenerativeModel
from gdm.subjects import Subject

Split = Literal["validation", "test"]


def refuse_without_code_vectors(subjects: Iterable[Subject]) -> None:
    """Refuse models that do not encode images as few numbers."""
    for subject in subjects:
        refuse_without_codes(subject, WITH_FEW_NUMBERS)
        refuse_codes_of_images_size(subject)


def refuse_told_the_class(subjects: Iterable[Subject], why: str) -> None:
    """Refuse models whose encoder is told the class.

    Args:
        subjects: the models.
        why: what is wrong with that, as the end of a sentence.
    """
    for subject in subjects:
        if subject.model.conditional:
            raise UserError(f"{subject.run} is told the class beside the image, {why}")


def told_the_class(subjects: Iterable[Subject]) -> str:
    """Return a sentence that names the models that are told more than their codes; or none."""
    names = [subject.name for subject in subjects if subject.model.conditional]
    return f" Told the class beside the code: {', '.join(names)}." if names else ""


def refuse_empty(key: str, values: Sequence, example: str) -> None:
    """Refuse a list that names nothing."""
    if not values:
        raise UserError(f"{key}=[]: name one at least, such as {key}={example}")


def size_of_code(model: GenerativeModel) -> int:
    """Return how many numbers a code has: as many as a padded image where it is one."""
    return model.latent_dim or model.sample_codes([0])[0].numel()


def images_back(model: GenerativeModel, x: Tensor, label: Tensor) -> Tensor:
    """Return images encoded and decoded: (N, C, H, W), (N,) -> (N, C, H, W) in [-1, 1]."""
    return model.decode(model.encode(x, label), label)


def first(data: ImageDataModule, split: str, count: int, device: torch.device | str) -> Batch:
    """Return the first images of a split as one batch."""
    part = data.split(split).select(torch.arange(min(count, len(data.split(split)))))
    return Batch(to_float(part.images.to(device)), part.labels.to(device), torch.arange(len(part)))


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


def batches_of_codes(
    model: GenerativeModel, data: ImageDataModule, split: str, limit: int
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield the first images of a split with their codes, (B, D) on the CPU."""
    for batch in data.batches(split, device=model.device, limit=limit):
        yield batch, model.encode(batch.x, batch.label).cpu()
