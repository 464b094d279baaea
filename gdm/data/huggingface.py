"""Data sets of the Hugging Face hub, through the library `datasets`."""

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gdm.data.cache import decoded
from gdm.data.decoding import VERSION, decoded_picture, refuse_impossible
from gdm.data.folders import part_by_content
from gdm.data.images import Images
from gdm.data.sources import SizedSource
from gdm.errors import UserError
from gdm.recipes.ranges import Count


class HuggingFace(SizedSource):
    """Pictures of a data set of the hub, downloaded or from the library's own cache.

    Args:
        name: of the data set, on the hub or of a folder.
        subset: of a data set that has some; None for the only one.
        train: the split that is trained on.
        test: the split that is tested on; None, or one that is not there, for a tenth of the
            other by content.
        image: the column of the pictures.
        label: the column of the classes; None, or one that is not there, for none.
        caption: the column of the captions; None, or one that is not there, for none.
        channels: 3, or 1 for grey.
        background: the colour that transparent pictures lie on.
    """

    name = "huggingface"

    def __init__(
        self,
        name: str | None,
        subset: str | None = None,
        train: str = "train",
        test: str | None = "test",
        image: str = "image",
        label: str | None = "label",
        caption: str | None = "text",
        channels: Count = 3,
        background: str = "white",
    ) -> None:
        self.data_set = name
        self.subset = subset
        self.splits = {"train": train, "test": test}
        self.columns = {"image": image, "label": label, "caption": caption}
        self.channels = channels
        self.background = background
        refuse_impossible(channels, background)

    @property
    def fingerprint(self) -> str:
        prints = {name: split._fingerprint for name, split in sorted(self._loaded.items())}
        facts = (VERSION, self.data_set, self.subset, prints, self.splits, self.columns,
                 self.channels, self.background)  # fmt: skip
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    @property
    def given(self) -> dict[str, Any]:
        return {"name": self.data_set, **self.splits, **self.columns, **super().given}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names that the column of classes gives, or its values in the training split."""
        split, column = self._split("train"), self.columns["label"]
        if column not in split.column_names:
            return ()
        names = getattr(split.features[column], "names", None)
        return tuple(names or map(str, sorted(set(self._values("train")))))

    def load_at(self, split: str, resolution: int) -> Images:
        if self.splits["test"] in self._loaded:
            return self._read(split, resolution)
        return part_by_content(self._read("train", resolution), split)

    def _read(self, split: str, resolution: int) -> Images:
        from datasets import Image

        rows, column = self._split(split), self.columns["image"]
        files = rows.select_columns([column]).cast_column(column, Image(decode=False))

        def decode(number: int) -> tuple[np.ndarray, bytes]:
            kept = files[number][column]
            named = f"image {number} of {self.data_set}"
            if kept is None:
                raise ValueError(f"{named}: there is none")
            contents = kept["bytes"]
            return decoded_picture(
                kept["path"] if contents is None else contents,
                named, resolution, self.channels, self.background,
            )  # fmt: skip

        key = f"huggingface {self.fingerprint} {split}"
        shape = (self.channels, resolution, resolution)
        found = decoded(key, range(len(files)), decode, shape, f"the images of {self.data_set}")
        kept = found.positions.tolist()
        caption = self.columns["caption"]
        captions = list(rows[caption]) if caption in rows.column_names else None
        return Images(
            found.images,
            torch.tensor(self._labels(split))[found.positions],
            self.class_names,
            captions=captions and tuple(captions[number] or "" for number in kept),
            digests=found.digests,
        )

    def _labels(self, split: str) -> list[int]:
        rows, column = self._split(split), self.columns["label"]
        if column not in rows.column_names:
            return [0] * len(rows)
        values = self._values(split)
        if getattr(rows.features[column], "names", None):
            return values
        names = {name: number for number, name in enumerate(self.class_names)}
        unknown = sorted({str(value) for value in values} - names.keys())
        if unknown:
            raise UserError(
                f"dataset.source.label={column}: {', '.join(unknown)} of {self.data_set} is no "
                f"class of its split {self.splits['train']}; leave it out with null"
            )
        return [names[str(value)] for value in values]

    def _values(self, split: str) -> list[Any]:
        """Return what the column of classes holds, which is one class for each image."""
        column = self.columns["label"]
        values = list(self._split(split)[column])
        wrong = [number for number, value in enumerate(values)
                 if value is None or isinstance(value, list | dict)]  # fmt: skip
        if wrong:
            raise UserError(
                f"dataset.source.label={column}: {len(wrong):,} of {len(values):,} images of "
                f"{self.data_set}, split {self.splits[split]}, have no single class there, such "
                f"as image {wrong[0]} ({values[wrong[0]]!s:.40}); name another column, or "
                "leave it out with null"
            )
        return values

    def _split(self, split: str) -> Any:
        name = self.splits[split]
        if name not in self._loaded:
            raise UserError(
                f"dataset.source.{split}={name}: {self.data_set} has the splits "
                f"{', '.join(self._loaded)}"
            )
        rows, column = self._loaded[name], self.columns["image"]
        if column not in rows.column_names:
            raise UserError(
                f"dataset.source.image={column}: {self.data_set} has the columns "
                f"{', '.join(rows.column_names)}"
            )
        return rows

    @cached_property
    def _loaded(self) -> Any:
        """Return its splits by name."""
        if self.data_set is None:
            raise UserError("dataset.source.name=null: name a data set: dataset.source.name=NAME")
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise UserError(
                "dataset=huggingface needs the library datasets: pip install -e '.[huggingface]'"
            ) from error
        try:
            return load_dataset(self.data_set, self.subset)
        except Exception as error:  # of many kinds, also of the network's
            reason = " ".join(str(error).split())
            raise UserError(
                f"dataset.source.name={self.data_set}: cannot be loaded ({reason})"
            ) from error
