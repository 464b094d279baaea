"""Attributes that some images have and some have not, of a data set or from a file."""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gdm.data.images import Images
from gdm.errors import UserError
from gdm.recipes.spelling import nearest


@dataclass
class Attribute:
    """Images with and without an attribute.

    Args:
        name: what it is called.
        train, has: images that the direction is found from, and whether each has it, (N,).
        held_out, held_out_has: further images, which it is evaluated by.
        source, target: the classes without and with it; None for what is no class.
    """

    name: str
    train: Images
    has: Tensor
    held_out: Images
    held_out_has: Tensor
    source: int | None = None
    target: int | None = None


def complete(attribute: Attribute, key: str = "tool.attribute") -> Attribute:
    """Return an attribute that some images have and some have not, in both parts; `key` names
    it."""
    for name, has in (("training", attribute.has), ("held-out", attribute.held_out_has)):
        if has.all() or not has.any():
            raise UserError(
                f"{key}={attribute.name}: {int(has.sum())} of {len(has)} {name} images have this "
                "attribute; a direction takes some with it and some without"
            )
    return attribute


def read_column(file: str, column: str | None, count: int) -> Tensor:
    """Return a column of zeros and ones as booleans, (count,).

    Raises:
        UserError: if there is no such file or column, or it holds something else.
    """
    try:
        with Path(file).open(newline="", encoding="utf-8-sig") as text:  # as spreadsheets write
            table = csv.DictReader(text)
            names = table.fieldnames or []
            if not names:
                raise UserError(f"tool.csv={file}: is empty; it must begin with a row of names")
            if column is None:
                raise UserError(f"tool.column: name one of {', '.join(names)}")
            if column not in names:
                raise UserError(
                    f"tool.column={column}: {file} has no such column"
                    f"{nearest(str(column), names)}; it has {', '.join(names)}"
                )
            values = [(row[column] or "").strip() for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"tool.csv={file}: cannot be read ({error})") from error
    if len(values) != count:
        raise UserError(
            f"tool.csv={file}: has {len(values):,} rows; must be {count:,}, one for each of the "
            "data set's training images, those held out for validation too, in its own order"
        )
    wrong = next((i for i, value in enumerate(values) if value not in ("0", "1")), None)
    if wrong is not None:
        raise UserError(
            f"tool.column={column}: row {wrong + 1} holds '{values[wrong]}'; must be 0 or 1"
        )
    return torch.tensor([value == "1" for value in values])
