"""Held-out images, what a model's codes give back of them, and the linear codes beside these."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from gdm.data.batches import Batch, to_float
from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.latent_tools.tool import Subject, refuse_codes_of_images_size, refuse_without_codes
from gdm.models.base import GenerativeModel
from gdm.moments import JointMoments

Split = Literal["validation", "test"]


def refuse_without_code_vectors(subjects: Iterable[Subject]) -> None:
    """Refuse models that do not encode images as few numbers."""
    for subject in subjects:
        refuse_without_codes(subject)
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


def refuse_empty(key: str, values: Sequence, example: str) -> None:
    """Refuse a list that names nothing."""
    if not values:
        raise UserError(f"{key}=[]: name one at least, such as {key}={example}")


def size_of_code(model: GenerativeModel, data: ImageDataModule) -> int:
    """Return how many numbers a code has: as many as an image where it is one."""
    return model.latent_dim or data.channels * data.native_resolution**2


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


def principal_axes(covariance: Tensor) -> Tensor:
    """Return the axes of the largest variance first, as columns: (D, D) -> (D, D)."""
    return torch.linalg.eigh(covariance).eigenvectors.flip(1)


class PrincipalComponents:
    """Codes by the linear map that gives images back with the least squared error: the projections
    on the axes of the largest variance (Pearson 1901), found from training images.

    Args:
        data: the data set.
        num_train: training images that the axes are found from, the first of the split.
    """

    def __init__(self, data: ImageDataModule, num_train: int) -> None:
        moments = JointMoments()
        for batch in data.batches("train", limit=num_train):
            moments.update(batch.x.flatten(1))
        self.mean = moments.mean.float()
        self.axes = principal_axes(moments.covariance).float()  # (P, P)

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
