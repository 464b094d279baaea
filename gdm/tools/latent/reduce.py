"""Codes as few numbers that tell images apart: what the nearest neighbours know of the class."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gdm.data.batches import Batch
from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation import distances
from gdm.pictures import figures
from gdm.recipes.ranges import Count
from gdm.tools.latent.principal_components import PrincipalComponents
from gdm.tools.latent.refusals import (
    refuse_empty,
    refuse_told_the_class,
    refuse_without_code_vectors,
)
from gdm.tools.latent.tool import Result, Split, Tool
from gdm.tools.open_run import OpenRun

Coding = Callable[[Batch], Tensor]  # images -> (N, D), on the CPU


class Reduce(Tool):
    """Classifies held-out images by their nearest training images, in the space of the codes.

    Beside it stand principal components of as many dimensions, and the pixels themselves. No label
    has been seen by any of these; so how often the neighbours are right says how well the few
    numbers keep apart what looks different.

    - `accuracy`: the fraction that is right, with standard errors.

    Args:
        neighbours: how many vote; the nearest decides between equal numbers of votes.
        split: whose images are classified: `validation` or `test`.
        num_images: how many, the first of the split.
        num_train: training images that are the neighbours, and that the principal components are
            found from, the first of the split.
    """

    compares = True

    def __init__(
        self, neighbours: list[Count], split: Split, num_images: Count, num_train: Count
    ) -> None:
        self.neighbours = neighbours
        self.split = split
        self.num_images = num_images
        self.num_train = num_train

    def refuse(self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule) -> None:
        if not data.num_classes:
            raise UserError(
                f"{opened.run}: its images have no classes, which neighbours could name"
            )
        refuse_empty("tool.neighbours", self.neighbours, "[1,5]")
        most = min(self.num_train, data.num_train)
        if max(self.neighbours) > most:
            raise UserError(
                f"tool.neighbours={self.neighbours}: must be at most {most}, the number of "
                "training images to choose from (tool.num_train)"
            )
        refuse_without_code_vectors((opened, *others))
        refuse_told_the_class((opened, *others), "so its codes need not know it")

    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Result:
        pixels = data.channels * data.native_resolution**2
        sizes = {each.model.latent_dim for each in (opened, *others)}
        most = min(max(sizes), pixels)
        components = PrincipalComponents(data, self.num_train, most)
        codings: dict[str, tuple[int, Coding]] = {}
        for each in (opened, *others):
            codings[each.name] = each.model.latent_dim, _of_model(each)
        for size in sorted(size for size in sizes if size <= components.count):
            codings[f"PCA {size}"] = size, _of_components(components, size)
        codings["pixels"] = pixels, lambda batch: batch.x.flatten(1)
        rows, bars, errors = [], {}, {}
        for name, (size, coding) in codings.items():
            right = self._right(coding, data)
            count = len(next(iter(right.values())))
            accuracies = {k: float(each.double().mean()) for k, each in right.items()}
            error = max(
                (accuracy * (1 - accuracy) / count) ** 0.5 for accuracy in accuracies.values()
            )
            label = f"{name}\n({size} numbers)"
            bars[label] = {
                f"{k} neighbour{'s' * (k > 1)}": accuracy for k, accuracy in accuracies.items()
            }
            errors[label] = error
            rows.append(
                {"codes": name, "numbers": size}
                | {f"accuracy_k_{k}": accuracy for k, accuracy in accuracies.items()}
                | {"standard_error": error}
            )
        record: dict[str, Any] = {
            "split": self.split,
            "num_images": min(self.num_images, len(data.split(self.split))),
            "num_neighbours_to_choose_from": min(self.num_train, data.num_train),
            "accuracy": rows,
        }
        picture = figures.accuracy_bars(
            bars, "held-out images classified right", 1 / data.num_classes, errors
        )
        return Result(record, {"accuracy": picture})

    def _right(self, coding: Coding, data: ImageDataModule) -> dict[int, Tensor]:
        """Return which held-out images their neighbours name right: k -> (N,)."""
        held_out = list(self._coded(coding, data, self.split, self.num_images))
        z, label = (torch.cat(parts) for parts in zip(*held_out, strict=True))
        known = data.split("train").labels
        train = (part for part, _ in self._coded(coding, data, "train", self.num_train))
        _, index = distances.nearest(z, train, max(self.neighbours))
        return {k: majority(known[index[:, :k]]) == label for k in sorted(set(self.neighbours))}

    @staticmethod
    def _coded(
        coding: Coding, data: ImageDataModule, split: str, limit: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield codes and classes of the first images of a split."""
        for batch in data.batches(split, limit=limit):
            yield coding(batch), batch.label


def majority(votes: Tensor) -> Tensor:
    """Return the class with the most votes, of equals the one that comes first: (N, K) -> (N,)."""
    counts = one_hot(votes).sum(1).gather(1, votes)  # (N, K), of each vote's class
    return votes.gather(1, counts.argmax(1, keepdim=True))[:, 0]


def _of_model(opened: OpenRun) -> Coding:
    model = opened.model
    return lambda batch: model.encode(batch.x.to(model.device)).cpu()


def _of_components(components: PrincipalComponents, size: int) -> Coding:
    return lambda batch: components.encode(batch.x, size)
