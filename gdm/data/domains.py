"""Two domains, for models that turn images of the first into images of the second, unpaired."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from gdm.data.images import CHUNK, Attributes, Images
from gdm.data.memory import gathered
from gdm.data.sources import Source
from gdm.errors import UserError

Names = Sequence[str]
T = TypeVar("T")


def two_domains(
    domains: Sequence[Sequence[str | int]] | None, pairs: str | None
) -> tuple[Names, Names] | None:
    """Return two domains as texts; None for none.

    Raises:
        ValueError: if there are not two, one has no names, or the images are in pairs.
    """
    if domains is None:
        return None
    if len(domains) != 2 or not all(domains):
        raise ValueError("domains: must be two lists of names, as in [[Sneaker],[Ankle boot]]")
    if pairs is not None:
        raise ValueError(f"pairs={pairs}: images of two domains are not in pairs; leave one out")
    first, second = (tuple(map(str, names)) for names in domains)
    return first, second


def rows_of_domains(
    images: Images, domains: tuple[Names, Names], positions: Tensor, split: str
) -> tuple[Tensor, Tensor]:
    """Return which images of a split each of two domains has.

    Args:
        images: the images, of this split and perhaps of others.
        domains: the names of each.
        positions: of the split among the images, (N,).
        split: its name, for messages.

    Raises:
        UserError: if there is no such name, a domain is empty, or an image is in both.
    """
    first, second = (torch.isin(positions, _rows_named(images, names)) for names in domains)
    both = int((first & second).sum())
    if both:
        raise UserError(
            f"dataset.domains={_shown(domains)}: {both:,} {split} images are in both domains"
        )
    for names, has in zip(domains, (first, second), strict=True):
        if not has.any():
            more = "; hold out more: dataset.validation_size=" if split == "validation" else ""
            raise UserError(f"dataset.domains: {_shown([names])} has no {split} images{more}")
    return positions[first], positions[second]


def _rows_named(images: Images, names: Names) -> Tensor:
    """Return the images that belong to any of these names, (M,)."""
    return torch.cat([_rows_of(images, name) for name in names])


def _rows_of(images: Images, name: str) -> Tensor:
    """Return the images of a class by the first labelling that knows it, or with an attribute."""
    labellings = [(images.labels, images.class_names), *images.labellings.values()]
    for labels, class_names in labellings:
        if name in class_names:
            return (labels == class_names.index(name)).nonzero().flatten()
    if images.attributes is not None and name in images.attributes.names:
        column = images.attributes.values[:, images.attributes.names.index(name)]
        return column.nonzero().flatten()
    known = [", ".join(class_names) for _, class_names in labellings if class_names]
    known += [", ".join(images.attributes.names)] if images.attributes else []
    raise UserError(
        f"dataset.domains: there is no class or attribute {name}; the images have "
        f"{'; '.join(known) or 'neither'}"
    )


def _shown(domains: Sequence[Names]) -> str:
    return "[" + ",".join(f"[{','.join(names)}]" for names in domains) + "]"


class TwoSets(Source):
    """Two data sets of one size and number of channels, whose classes are which set it is.

    An image has the caption that its own set gives it, the empty one where that has none, and of
    attributes that only the other set knows it has none.

    Args:
        first: a data set.
        second: another.
    """

    name = "two_sets"

    def __init__(self, first: Source, second: Source) -> None:
        self.sources = {"first": first, "second": second}
        self.class_names = (first.name, second.name)
        self.flip_keeps_class = first.flip_keeps_class and second.flip_keeps_class
        if first.name == second.name:
            raise ValueError(f"first, second: both are {first.name}; name two data sets")

    @property
    def given(self) -> dict[str, Any]:
        return dict(self.sources)

    @property
    def fingerprint(self) -> str:
        both = "".join(self._of_each(lambda source: source.fingerprint))
        return hashlib.sha256(both.encode()).hexdigest()[:16]

    def load(self, split: str) -> Images:
        return self._joined(self._of_each(lambda source: source.load(split)))

    def load_at(self, split: str, resolution: int) -> Images:
        return self._joined(self._of_each(lambda source: source.load_at(split, resolution)))

    def _of_each(self, ask: Callable[[Source], T]) -> list[T]:
        """Ask both; an error names its keys as those of the one that it is of."""
        answers = []
        for key, source in self.sources.items():
            try:
                answers.append(ask(source))
            except UserError as error:
                text = str(error).replace("dataset.source.", f"dataset.source.{key}.")
                raise UserError(text) from error
        return answers

    def _joined(self, parts: Sequence[Images]) -> Images:
        shapes = [tuple(part.images.shape[1:]) for part in parts]
        if shapes[0] != shapes[1]:
            first, second = (f"{name} has images of {shape}" for name, shape in
                             zip(self.class_names, shapes, strict=True))  # fmt: skip
            raise UserError(f"dataset=two_sets: {first}, {second}; they must be alike")
        labels = torch.arange(2).repeat_interleave(torch.tensor([len(part) for part in parts]))
        digests = [part.digests for part in parts]
        return Images(
            gathered(
                (chunk for part in parts for chunk in part.images.split(CHUNK)),
                (len(labels), *shapes[0]),
            ),
            labels,
            self.class_names,
            captions=_captions_of(parts),
            attributes=_attributes_of(parts),
            digests=None if any(each is None for each in digests) else np.concatenate(digests),
        )


def _captions_of(parts: Sequence[Images]) -> tuple[str, ...] | None:
    """Return the captions of all images, empty where a part has none; None where none has."""
    if all(part.captions is None for part in parts):
        return None
    return tuple(text for part in parts for text in part.captions or [""] * len(part))


def _attributes_of(parts: Sequence[Images]) -> Attributes | None:
    """Return the attributes that any part knows, 0 where a part does not; None where none does."""
    known = [part.attributes.names if part.attributes else () for part in parts]
    names = tuple(dict.fromkeys(name for each in known for name in each))
    if not names:
        return None
    values = torch.zeros(sum(map(len, parts)), len(names), dtype=torch.uint8)
    start = 0
    for part, of_part in zip(parts, known, strict=True):
        if of_part:
            columns = [names.index(name) for name in of_part]
            values[start : start + len(part), columns] = part.attributes.values
        start += len(part)
    return Attributes(values, names)
