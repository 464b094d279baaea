"""What the tools of the latent space share: a run goes in, metrics and pictures come out."""

import json
import logging
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gdm.data.datamodule import EVALUATION_BATCH, ImageDataModule
from gdm.data.sources import Images
from gdm.errors import UserError
from gdm.evaluation.classifier import NoClassifier
from gdm.evaluation.extractors import Extractor
from gdm.files import durable_replacement, named_folder, write_text
from gdm.models.base import GenerativeModel
from gdm.pictures import grids
from gdm.recipes.ranges import Seed
from gdm.runs.run import Run
from gdm.theory.images import grey_levels, to_bytes, to_float
from gdm.tools import open_run
from gdm.tools.open_run import OpenRun

log = logging.getLogger(__name__)

SPLIT = "validation"  # whose images are looked at: training has not seen them
ANNOUNCED_SECONDS = 20  # seconds ahead that are announced
WITH_CODES = "an autoencoder, a VAE or a diffusion model"
WITH_FEW_NUMBERS = "an autoencoder or a VAE"
ANIMATION_WIDTH = 224  # screen pixels, at least


@dataclass
class Found:
    """What a tool has found.

    Args:
        record: metrics and all that they depend on, as JSON takes it. A list of groups of
            numbers becomes a table with one row per group, a group of groups one with one column
            per group.
        pictures: name -> 8-bit values, (C, H, W).
        animations: name -> frames of 8-bit values, (T, C, H, W).
        scales: name of a picture -> screen pixels a side of its pixels, where it is not one.
        remark: a sentence to say below the metrics; none if empty.
        for_tensorboard: writes what TensorBoard alone shows into a folder; None for nothing.
    """

    record: dict[str, Any]
    pictures: dict[str, Tensor]
    animations: dict[str, Tensor] = field(default_factory=dict)
    scales: dict[str, int] = field(default_factory=dict)
    remark: str = ""
    for_tensorboard: Callable[[Path], None] | None = None


class Tool(ABC):
    """One thing to do with a latent space; the constructor's arguments are its options.

    Attributes:
        compares: whether it takes further runs.
    """

    compares = False

    def refuse(  # noqa: B027
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule
    ) -> None:
        """Refuse what makes no sense, before anything takes long; by default nothing.

        Raises:
            UserError: in one line.
        """

    @abstractmethod
    def use(
        self, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
    ) -> Found:
        """Return what the tool finds, the same for the same seed.

        Args:
            opened: the run, within `model.evaluating()`.
            others: the runs that it is compared with.
            data: the data set that all were trained on.
            seed: of all that is random.
        """


@dataclass(frozen=True)
class LatentOptions:
    """The keys of scripts/latent.py.

    Args:
        run: its directory, a unique ending of its path, or last.
        compare: further runs, trained on the same data, for tools that compare: [RUN,...], with
            map and the last five.
        outputs: the folder of all runs.
        seed: of what is sampled, codes that a VAE draws among it.
        checkpoint: last or best.
        averaged: false takes the weights themselves instead of their average.
        tool: one of those above.
        extractor: classifier knows the classes of images; null for none.
        to: the folder, in the place of the run's latent/TOOL/; nothing is then written into the
            run.
    """

    run: str | None
    compare: list[str]
    outputs: str
    seed: Seed
    checkpoint: str
    averaged: bool
    tool: Tool
    extractor: Callable[..., Extractor] | None
    to: str | None


def name_of(tool: Tool) -> str:
    """Return the option of `tool=` that a tool is."""
    return type(tool).__name__.lower()


def apply(
    tool: Tool, opened: OpenRun, others: Sequence[OpenRun], data: ImageDataModule, seed: int
) -> Found:
    """Return what a tool finds, with what it depends on; what makes no sense has been refused."""
    open_run.prepare([opened, *others])
    with ExitStack() as stack:
        for each in (opened, *others):  # the weights are those that were asked for
            stack.enter_context(each.model.evaluating(averaged=False))
        found = tool.use(opened, others, data, seed)
    facts = {
        "tool": name_of(tool),
        "options": vars(tool),
        "name": opened.name,
        **opened.facts,
        "compared_with": [{"name": each.name, **each.facts} for each in others],
        "dataset": data.source.name,
        "data": data.fingerprint,
        "seed": seed,
    }
    found.record = facts | found.record | ({"remark": found.remark} if found.remark else {})
    return found


def refuse_idle_comparison(tool: Tool, compare: Sequence[str]) -> None:
    """Refuse runs to compare with where a tool compares nothing."""
    if compare and not tool.compares:
        raise UserError(
            f"compare=[{','.join(compare)}]: tool={name_of(tool)} shows one run; leave it out"
        )


def destination(tool: Tool, run: Run, to: str | None) -> Path:
    """Return the folder for what a tool finds: what `to` names, or one in the run's directory.

    Raises:
        UserError: if it cannot be written to.
    """
    folder = Path(to) if to else run.path / "latent" / name_of(tool)
    return named_folder(folder, folder)


def folder_for_tensorboard(run: Run, to: str | None) -> Path:
    """Return the folder for what TensorBoard alone shows: what `to` names, or the run's own."""
    return Path(to) if to else run.tensorboard


def write(found: Found, folder: Path, tensorboard: Path | None = None) -> list[Path]:
    """Write what a tool has found, each file whole or not at all, in the place of what an earlier
    use wrote; return the files.

    Args:
        found: what there is to write.
        folder: for the record, the pictures and the animations.
        tensorboard: for what TensorBoard alone shows; None for the same folder.
    """
    tensorboard = tensorboard or folder
    if found.for_tensorboard is not None:
        found.record["written_to"] = str(tensorboard)
        found.record["remark"] = (
            f"To see it: tensorboard --logdir {shlex.quote(str(tensorboard))}, then Projector in "
            "its menu."
        )
    written = [folder / "record.json"]
    found.record["files"] = [f"{name}.png" for name in found.pictures]
    found.record["files"] += [f"{name}.gif" for name in found.animations]
    try:
        if found.for_tensorboard is not None:
            found.for_tensorboard(tensorboard)
        for name in _files_of_an_earlier_use(written[0], found.record["tool"]):
            if name not in found.record["files"]:
                (folder / name).unlink(missing_ok=True)
        write_text(written[0], json.dumps(found.record, indent=2) + "\n")
        for name, picture in found.pictures.items():
            written.append(folder / f"{name}.png")
            with durable_replacement(written[-1]) as temporary:
                grids.save(picture, temporary, found.scales.get(name, 1))
        for name, frames in found.animations.items():
            written.append(folder / f"{name}.gif")
            with durable_replacement(written[-1]) as temporary:
                grids.save_animation(frames, temporary, -(-ANIMATION_WIDTH // frames.shape[-1]))
    except OSError as error:
        raise UserError(f"could not write {folder} ({error}); to=FOLDER names another") from error
    return written


def _files_of_an_earlier_use(record: Path, tool: str) -> list[str]:
    """Return the names of the pictures that a tool's record lists; none where there is none."""
    try:
        earlier = json.loads(record.read_text())
        names = earlier["files"] if earlier["tool"] == tool else []
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if name == Path(name).name]  # in the same folder


# What several tools need -------------------------------------------------------------------------


@dataclass
class Coded:
    """Images with their codes, on the CPU.

    Args:
        images: (N, C, H, W) 8-bit values.
        label: (N,) classes.
        z: the codes, (N, ...).
    """

    images: Tensor
    label: Tensor
    z: Tensor


def coded(
    model: GenerativeModel, images: Images, limit: int | None = None, drawn_by: int | None = None
) -> Coded:
    """Encode images, or the first `limit` of them.

    Args:
        model: a model with codes.
        images: the images.
        limit: how many; None for all.
        drawn_by: a seed; then codes are as training sees them, which a VAE draws. None for the
            means of what it draws.
    """
    x, label = images.images[:limit], images.labels[:limit]

    def encoded(index: Tensor) -> Tensor:
        part, own = to_float(x[index].to(model.device)), told(model, label[index])
        if drawn_by is None:
            return model.encode(part, own)
        return model.draw_codes(part, own, index.tolist(), drawn_by)

    return Coded(x, label, _in_batches(encoded, len(x), "encoding"))


def told(model: GenerativeModel, label: Tensor | None) -> Tensor | None:
    """Return what a model is told of images of these classes, (N,); None for nothing."""
    return label.to(model.device) if label is not None and model.condition == "label" else None


def classes_in_turn(model: GenerativeModel, indices: Iterable[int]) -> Tensor:
    """Return what samples of these indices are told where a model is told the class, (N,)."""
    return torch.tensor([index % max(model.num_classes, 1) for index in indices])


def code_of_index(
    model: GenerativeModel, data: ImageDataModule, index: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the code of a validation image or, for a model without an encoder, the latent of an
    index, (D,), and its class, (1,)."""
    if not model.encodes:
        return model.sample_codes([index], seed=seed).cpu()[0], classes_in_turn(model, [index])
    one = coded(model, data.split(SPLIT).select(torch.tensor([index])))
    return one.z[0], one.label


def decoded(model: GenerativeModel, z: Tensor, label: Tensor | None) -> Tensor:
    """Decode codes in batches: (N, ...), (N,) -> (N, C, H, W) in [-1, 1], on the CPU."""

    def images(index: Tensor) -> Tensor:
        own = None if label is None else label[index]
        return model.decode(z[index].to(model.device), told(model, own))

    return _in_batches(images, len(z), "decoding")


def _in_batches(act: Callable[[Tensor], Tensor], count: int, doing: str) -> Tensor:
    """Return what indices 0, ..., count - 1 become, on the CPU; what takes long is announced."""
    parts, started = [], time.monotonic()
    for index in torch.arange(count).split(EVALUATION_BATCH):
        parts.append(act(index).cpu())
        ahead = (time.monotonic() - started) * (count / len(index) - 1)
        if len(parts) == 1 and ahead > ANNOUNCED_SECONDS:
            log.info("%s %s images: about %.0f s more", doing, f"{count:,}", ahead)
    return torch.cat(parts)


def classifier_of(opened: OpenRun, data: ImageDataModule) -> Extractor | None:
    """Return what knows the classes of images; None, with a line that says why, if nothing does.

    Raises:
        UserError: if an extractor is named that knows no classes, or cannot be had.
    """
    if opened.extractor is None:
        return None
    try:
        extractor = opened.extractor(data=data)
    except NoClassifier as error:
        log.warning("metrics that need a classifier are left out: %s", error)
        return None
    if extractor.class_names is None:
        raise UserError(f"extractor={extractor.name}: does not know the classes of the images")
    return extractor.to(opened.model.device)


def probabilities(extractor: Extractor, x: Tensor) -> Tensor:
    """Return the classes' probabilities of images in [-1, 1], rounded to 8 bits as those of the
    protocol are: (N, C, H, W) -> (N, K)."""
    parts = (extractor(part).probabilities.cpu() for part in to_bytes(x).split(EVALUATION_BATCH))
    return torch.cat(list(parts))


def grey_levels_changed(images: Tensor) -> Tensor:
    """Return by how much each image differs from the one before it, in grey levels a pixel (root
    mean square): (..., T, C, H, W) in [-1, 1] -> (..., T - 1).
    """
    return grey_levels(images.diff(dim=-4))


def refuse_single(num_images: int) -> None:
    """Refuse a strip that has not both its ends."""
    if num_images < 2:
        raise UserError(f"tool.num_images={num_images}: must be at least 2, both ends")


def refuse_without_codes(opened: OpenRun, takes: str = WITH_CODES) -> None:
    """Refuse a model that does not encode images.

    Args:
        opened: the model.
        takes: which models the tool takes.
    """
    if not opened.model.encodes:
        kind = type(opened.model).__name__
        raise UserError(
            f"{opened.run} is a {kind}, which has no codes of images; this tool takes {takes}"
        )


def refuse_codes_of_images_size(opened: OpenRun) -> None:
    """Refuse a model whose codes are as large as its images, or are none."""
    if opened.model.latent_dim is None:
        kind = type(opened.model).__name__
        raise UserError(
            f"{opened.run} is a {kind}, whose codes are as large as its images; this tool takes "
            "a model with few latent dimensions"
        )


def refuse_index(index: int | str, opened: OpenRun, data: ImageDataModule, key: str) -> None:
    """Refuse what is no index of a validation image or, for a model without an encoder, of a
    latent, of which there is no last one."""
    if not opened.model.encodes:
        if isinstance(index, str) or index < 0:
            raise UserError(
                f"{key}={index}: {opened.run} is a {type(opened.model).__name__}, which encodes "
                "no images; give the index of a latent, 0 or more"
            )
        return
    count = len(data.split(SPLIT))
    if not 0 <= index < count:
        raise UserError(
            f"{key}={index}: must be between 0 and {count - 1}, one of the {count:,} validation "
            "images"
        )
