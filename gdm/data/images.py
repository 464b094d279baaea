"""Images with what is known of them: classes, captions, attributes, the other image of a pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gdm.data.memory import gathered
from gdm.errors import UserError

CHUNK = 500  # images that are copied at a time


class Labelling(NamedTuple):
    """One way to name the classes of images.

    `labels` is (N,) int64, the numbers of `class_names`.
    """

    labels: Tensor
    class_names: tuple[str, ...]


class Attributes(NamedTuple):
    """What each image has and lacks: `values` is (N, A) uint8 of 0 and 1, in columns `names`."""

    values: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class Images:
    """Images in memory, or in a file that is mapped to it.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 classes; all 0 where there are none.
        class_names: the classes' names; none of images without classes.
        captions: what each image shows, in words; None where nobody has said so.
        attributes: what each has and lacks; None where nobody has said so.
        labellings: further ways to name the classes, by name.
        source: what each image is to be made from, (N, C', H, W) uint8, of pairs.
        digests: what the images' content, or that of their originals, digests to, (N,) of 8
            bytes, by which they are held out; None to have it computed.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    captions: tuple[str, ...] | None = None
    attributes: Attributes | None = None
    labellings: Mapping[str, Labelling] = field(default_factory=dict)
    source: Tensor | None = None
    digests: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: Tensor) -> "Images":
        """Return the images of these indices, (M,), in their order. Those that follow one another
        are not copied: they stay where they are."""
        rows = _as_slice(indices)
        return replace(
            self,
            images=_rows(self.images, rows),
            labels=self.labels[rows],
            captions=self.captions and tuple(self.captions[n] for n in indices.tolist()),
            attributes=self.attributes
            and Attributes(self.attributes.values[rows], self.attributes.names),
            labellings={
                name: Labelling(each.labels[rows], each.class_names)
                for name, each in self.labellings.items()
            },
            source=None if self.source is None else _rows(self.source, rows),
            digests=None if self.digests is None else self.digests[indices.numpy()],
        )

    def labelled(self, by: str) -> "Images":
        """Return the same images with other classes: those of a labelling, or having an attribute
        or not.

        Raises:
            UserError: if the images have neither of this name.
        """
        if by in self.labellings:
            return replace(self, labels=self.labellings[by].labels,
                           class_names=self.labellings[by].class_names)  # fmt: skip
        names = self.attributes.names if self.attributes else ()
        if by not in names:
            known = ", ".join([*self.labellings, *names]) or "no other labels than their classes"
            raise UserError(f"dataset.labels={by}: these images have {known}")
        column = self.attributes.values[:, names.index(by)].long()
        return replace(self, labels=column, class_names=(f"not {by}", by))

    def numbers_of(self, classes: Sequence[str], key: str) -> Tensor:
        """Return the indices of the images of some classes, (M,).

        Raises:
            UserError: if `key` names no class, one twice, or one that there is not.
        """
        if not classes or len(set(classes)) < len(classes):
            raise UserError(
                f"{key}=[{','.join(classes)}]: must name one or more classes, each once"
            )
        for name in classes:
            if name not in self.class_names:
                known = ", ".join(self.class_names) or "no classes"
                raise UserError(f"{key}: there is no class {name}; the images have {known}")
        chosen = torch.tensor([self.class_names.index(name) for name in classes])
        return torch.isin(self.labels, chosen).nonzero().flatten()

    def only_named(self, class_names: Sequence[str]) -> "Images":
        """Return the same images with the numbers that their classes have among other names."""
        numbers = torch.tensor([
            class_names.index(name) if name in class_names else -1 for name in self.class_names
        ])  # fmt: skip
        return replace(self, labels=numbers[self.labels], class_names=tuple(class_names))


def _rows(images: Tensor, rows: slice | Tensor) -> Tensor:
    """Return some of the images; copies of many of them lie in a file."""
    if isinstance(rows, slice):
        return images[rows]
    return gathered((images[part] for part in rows.split(CHUNK)), (len(rows), *images.shape[1:]))


def _as_slice(indices: Tensor) -> slice | Tensor:
    """Return indices that follow one another as a slice."""
    count = len(indices)
    if count and torch.equal(indices, torch.arange(int(indices[0]), int(indices[0]) + count)):
        return slice(int(indices[0]), int(indices[0]) + count)
    return indices
