"""What a source returns: whether it is what was said, and what is chosen of it."""

from collections.abc import Sequence

import torch

from gdm.data.images import Images
from gdm.errors import UserError
from gdm.theory.images import ImageFacts


def chosen(
    images: Images,
    groups: Sequence[str] | None,
    labels: str | None,
    class_names: Sequence[str] | None = None,
) -> Images:
    """Return the images of the groups that are kept, with the classes that are asked for.

    Args:
        images: of one split.
        groups: the source's own classes that are kept; None for all.
        labels: what the classes are: a labelling of the source's or an attribute; None for the
            source's own classes.
        class_names: of the training images' classes, which other splits have too; None for
            those of `labels` that the images of the groups have.

    Raises:
        UserError: if there is no such group, labelling or attribute.
    """
    if groups is not None:
        kept = images.select(images.numbers_of(groups, "dataset.groups"))
        images = kept if labels else kept.only_named(groups)
    if labels is not None:
        images = images.labelled(labels)
    if groups is not None and labels is not None:
        found = {images.class_names[number] for number in images.labels.unique().tolist()}
        names = class_names or [name for name in images.class_names if name in found]
        images = images.only_named(names)
    return images


def refuse_other_types(images: Images, named: str) -> None:
    """Refuse what a source of a user's own may return by mistake; `named` says which call did.

    Raises:
        UserError: if images, labels or sources are no tensors as `Images` has them.
    """
    x, label = images.images, images.labels
    if x.dtype != torch.uint8 or x.ndim != 4:
        raise UserError(
            f"{named}: images are {x.dtype}, {tuple(x.shape)}; must be torch.uint8, (N, C, H, W), "
            "with 255 for white"
        )
    if label.dtype != torch.int64 or label.shape != x.shape[:1]:
        raise UserError(
            f"{named}: labels are {label.dtype}, {tuple(label.shape)}; must be torch.int64, "
            f"({len(x)},), one for each image"
        )
    source = images.source
    if source is not None and (
        source.dtype != torch.uint8
        or source.ndim != 4
        or (len(source), *source.shape[2:]) != (len(x), *x.shape[2:])
    ):
        raise UserError(
            f"{named}: sources are {source.dtype}, {tuple(source.shape)}; must be torch.uint8, "
            f"({len(x)}, C, {', '.join(map(str, x.shape[2:]))}), one for each image"
        )


def refuse_other_shapes(images: Images, facts: ImageFacts) -> None:
    """Refuse images of other channels or another size than the facts say.

    Raises:
        UserError: saying both.
    """
    shape = tuple(images.images.shape[1:])
    expected = (facts.channels, facts.native_resolution, facts.native_resolution)
    if shape != expected:
        raise UserError(
            "dataset.facts.channels and dataset.facts.native_resolution say that an image "
            f"is {expected}, but it is {shape}"
        )


def refuse_other_classes(images: Images, facts: ImageFacts, split: str) -> None:
    """Refuse more or fewer classes than the facts say, and labels that are the number of none.

    Raises:
        UserError: saying which; `split` is named.
    """
    count = len(images.class_names)
    if facts.num_classes is not None and count != facts.num_classes:
        raise UserError(
            f"dataset.facts.num_classes={facts.num_classes}: the images have {count} classes; "
            f"write dataset.facts.num_classes={count}"
        )
    last = max(count - 1, 0)  # of images without classes all labels are 0
    if len(images) and not 0 <= int(images.labels.min()) <= int(images.labels.max()) <= last:
        raise UserError(
            f"the labels of the {split} images must be between 0 and {last}, the number of "
            "the last class"
        )
