"""Samples of a trained model, into files."""

import math
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.files import durable_replacement
from gdm.models.base import GenerativeModel, Model
from gdm.pictures import grids, tables
from gdm.pictures.figures import MANY_CLASSES
from gdm.runs.run import Run
from gdm.theory.images import to_bytes

COLUMNS = 10
MOST_NAMED = 100  # rows or columns that are drawn with names; of more there is a plain grid
FEW_PER_CLASS = 3  # samples, which many classes have no rows for: each has its name above it
SCALE = 2  # screen pixels per side of each pixel of a grid
PIXELS_AT_A_TIME = 200_000  # a few hundred small images, or one of 448 x 448
UNREADABLE = (
    OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error,
    RuntimeError, NotImplementedError,  # encrypted, or packed in an unknown way
)  # fmt: skip


def draw(
    model: GenerativeModel,
    num_samples: int,
    label: int | None,
    seed: int,
    batch_size: int | None = None,
) -> Iterator[Tensor]:
    """Yield samples 0, ..., num_samples - 1 as batches of 8-bit values, (N, C, H, W).

    Args:
        model: the model.
        num_samples: how many.
        label: the class of all, for a conditional model; None spreads them over all classes.
        seed: the seed of the whole set.
        batch_size: images at a time, which changes no image by more than a grey level; None for
            fewer of large ones.
    """
    batch_size = batch_size or max(1, PIXELS_AT_A_TIME // model.native_resolution**2)
    for start in range(0, num_samples, batch_size):
        indices = range(start, min(start + batch_size, num_samples))
        labels = None if label is None else torch.full((len(indices),), label)
        yield to_bytes(model.sample(indices, labels, seed))


def grid(x: Tensor, model: GenerativeModel, label: int | None) -> Tensor:
    """Lay samples 0, 1, ... out as one picture: (N, C, H, W) -> (C, H', W').

    Those of a conditional model, whose classes come in turn, get one row per class.

    Args:
        x: the samples, floats in [-1, 1] or 8-bit values.
        model: what made them.
        label: the class that was asked for; None for all.
    """
    if not _has_row_per_class(x, model, label):
        return grids.grid(x, COLUMNS)
    by_class = _by_class(x, model)
    return grids.grid(by_class.flatten(0, 1), by_class.shape[1])


def _has_row_per_class(x: Tensor, model: GenerativeModel, label: int | None) -> bool:
    """Whether samples 0, 1, ... are shown with one row per class."""
    return model.condition == "label" and label is None and len(x) >= model.num_classes


def _by_class(x: Tensor, model: GenerativeModel) -> Tensor:
    """Return samples whose classes come in turn by their classes: (N, ...) -> (K, N // K, ...)."""
    columns = len(x) // model.num_classes
    return x[: columns * model.num_classes].unflatten(0, (columns, -1)).transpose(0, 1)


def picture(
    x: Tensor, model: GenerativeModel, label: int | None, class_names: Sequence[str]
) -> Tensor:
    """Lay samples 0, 1, ... out as `grid` does, enlarged for a screen, with the classes' names
    beside their rows: (N, C, H, W) -> (C, H', W') 8-bit values."""
    if _has_row_per_class(x, model, label):
        by_class = _by_class(x, model)
        rows, columns = by_class.shape[:2]
        if rows > MANY_CLASSES and columns <= FEW_PER_CLASS:
            names = [name for name in class_names for _ in range(columns)]
            return tables.named_images(by_class.flatten(0, 1), names, COLUMNS)
        if max(rows, columns) <= MOST_NAMED:
            return tables.image_table(by_class, class_names, ())
    return grids.enlarged(grid(x, model, label), SCALE)


def refuse_without_images(model: Model, run: Run) -> None:
    """Refuse a model that has nothing to sample.

    Raises:
        UserError: saying what it is.
    """
    if not model.makes_images:
        raise UserError(f"{run} is a {type(model).__name__}, which makes no images to sample")


def class_number(
    label: str | int | None,
    class_names: tuple[str, ...],
    model: GenerativeModel,
    key: str = "label",
) -> int | None:
    """Return the number of a class that is named or numbered at a key; None for None.

    Raises:
        UserError: if there is no such class, or the model knows no classes.
    """
    if label is None:
        return None
    if model.condition != "label":
        raise UserError(f"{key}={label}: this model was trained without labels; leave {key} out")
    return class_called(label, class_names, key)


def class_called(called: str | int, class_names: tuple[str, ...], key: str) -> int:
    """Return the number of a class that is named, or numbered, at a key.

    Raises:
        UserError: if there is no such class.
    """
    if not class_names:
        raise UserError(f"{key}={called}: the images have no classes")
    for number, name in enumerate(class_names):
        if str(called).casefold() in (str(number), name.casefold()):
            return number
    known = ", ".join(f"{number} {name}" for number, name in enumerate(class_names))
    raise UserError(f"{key}={called}: must be one of {known}")


def write(
    batches: Iterator[Tensor],
    count: int,
    kind: str,
    path: Path,
    lay_out: Callable[[Tensor], Tensor] = lambda x: grids.enlarged(grids.grid(x), SCALE),
) -> None:
    """Write batches of 8-bit samples, (N, C, H, W).

    Args:
        batches: the samples.
        count: how many there are in all.
        kind: `png` for one file per image in a folder, `npz` for the field's layout (`arr_0`,
            uint8, N x H x W x C), `grid` for one picture.
        path: the file or folder.
        lay_out: what makes one picture of all, as large as it is to be.

    Raises:
        UserError: if the disk is full.
    """
    try:
        _write(batches, count, kind, path, lay_out)
    except OSError as error:
        raise UserError(f"could not write {path} ({error}); to= names another place") from error


def _write(
    batches: Iterator[Tensor],
    count: int,
    kind: str,
    path: Path,
    lay_out: Callable[[Tensor], Tensor],
) -> None:
    if kind == "png":
        images = (image for batch in batches for image in batch)
        for number, image in enumerate(images):
            grids.save(image, path / f"{number:06d}.png")
        return
    with durable_replacement(path) as temporary:
        if kind == "npz":
            write_npz(batches, count, temporary)
        else:
            grids.save(lay_out(torch.cat(list(batches))), temporary)


def write_npz(batches: Iterator[Tensor], count: int, path: Path) -> None:
    """Write batches of 8-bit samples as the array `arr_0`, N x H x W x C, one after another."""
    with (
        zipfile.ZipFile(path, "w") as file,
        file.open("arr_0.npy", "w", force_zip64=True) as array,
    ):
        for number, batch in enumerate(batches):
            images = batch.permute(0, 2, 3, 1).contiguous().numpy()  # (B, H, W, C)
            if number == 0:
                shape = (count, *images.shape[1:])
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(array, header)
            array.write(images.tobytes())


def refuse_no_file(path: Path) -> None:
    """Refuse samples from what is not there, or is a folder or a pipe.

    Raises:
        UserError: naming the path.
    """
    if not path.is_file():  # a pipe would be waited for
        what = "is no file" if path.exists() else "there is no such file"
        raise UserError(f"samples={path}: {what}; name an .npz with an array arr_0")


class SampleFile:
    """Samples of any origin in the field's layout: an .npz with `arr_0`, uint8, N x H x W x C, or
    N x H x W of grey ones.

    Args:
        path: the file.
        data: the data set that they are compared with; their size is its native resolution, or
            the padded one, whose border is then cropped.

    Raises:
        UserError: if it is no such file, or holds images of another kind.
    """

    def __init__(self, path: Path, data: ImageDataModule) -> None:
        self.path = path
        self.data = data
        with self._opened() as file:
            self.shape = self._checked_shape(file)
        brightest = max(int(batch.max()) for batch in self.batches())
        if brightest <= 1:
            raise UserError(f"samples={path}: no value is above {brightest}; 255 is white")

    def __len__(self) -> int:
        return self.shape[0]

    def batches(self, batch_size: int = 500) -> Iterator[Tensor]:
        """Yield batches of 8-bit values in the native resolution, (B, C, H, W)."""
        before = (self.shape[1] - self.data.native_resolution) // 2
        inside = slice(before, before + self.data.native_resolution)
        with self._opened() as file:
            self._checked_shape(file)  # leaves the file at its first value
            for start in range(0, len(self), batch_size):
                shape = (min(batch_size, len(self) - start), *self.shape[1:])
                content = file.read(math.prod(shape))
                if len(content) < math.prod(shape):
                    raise UserError(f"samples={self.path}: is cut short")
                images = np.frombuffer(content, np.uint8).reshape(shape).copy()
                yield torch.from_numpy(images).permute(0, 3, 1, 2)[..., inside, inside]

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        refuse_no_file(self.path)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open("arr_0.npy") as file:
                yield file
        except UNREADABLE as error:
            raise UserError(
                f"samples={self.path}: is no readable .npz with an array arr_0 ({error})"
            ) from error

    def _checked_shape(self, file: IO[bytes]) -> tuple[int, ...]:
        """Read the header of the array, and return its shape if it is one of such images."""
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}
            header = read.get(version, np.lib.format.read_array_header_2_0)
            shape, is_fortran, dtype = header(file)
        except Exception as error:  # whatever numpy makes of a malformed header
            raise UserError(f"samples={self.path}: arr_0 is no array ({error})") from error
        data = self.data
        sides = sorted({data.native_resolution, data.facts.resolution})
        allowed = [(side, side, data.channels) for side in sides]
        if dtype != np.uint8:
            raise UserError(f"samples={self.path}: holds {dtype}; write 8-bit values, 0 to 255")
        if is_fortran:
            raise UserError(f"samples={self.path}: is in Fortran's order; write numpy's own")
        found = " x ".join(map(str, shape))
        if len(shape) == 3 and data.channels == 1:  # grey images without their one channel
            shape = (*shape, 1)
        if len(shape) != 4 or shape[1:] not in allowed or shape[0] < 1:
            expected = " or ".join(f"N x {h} x {w} x {c}" for h, w, c in allowed)
            raise UserError(f"samples={self.path}: holds {found}; must be {expected}")
        return shape


def with_progress(batches: Iterator[Tensor], num_samples: int) -> Iterator[Tensor]:
    """Pass batches on and show how many samples a second there are."""
    columns = [BarColumn(), TextColumn("{task.completed:,} samples, {task.description}")]
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=num_samples)
        done = 0
        for batch in batches:
            done += len(batch)
            speed = done / max(time.monotonic() - started, 1e-9)
            bar.update(task, advance=len(batch), description=f"{speed:,.0f} samples/s")
            yield batch
