"""What a model may be told of an image."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
ONLY_LABELS = "since no network here reads captions yet (those of text-to-image models will)"
# what a model may be told: a field of the batches that it is fed
Condition = Literal["label"]


def class_numbers(label: int | Sequence[int] | Tensor, count: int, num_classes: int) -> Tensor:
    """Return labels as a tensor, (count,), if they are the numbers of classes.

    Raises:
        ValueError: if they are not, or are not as many.
    """
    last = num_classes - 1
    wanted = f"must be a class's number, 0 to {last}, or {count} of them, one for each index"
    try:
        found = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"condition={label!r}: {wanted}") from None
    if found.shape not in ((), (count,)):
        raise ValueError(f"condition has the shape {tuple(found.shape)}: {wanted}")
    if found.numel() and (
        found.dtype not in INTEGERS or int(found.min()) < 0 or int(found.max()) > last
    ):
        raise ValueError(f"condition={found.tolist()}: {wanted}")
    return found.long().expand(count)
