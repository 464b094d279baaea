"""What the tools of the latent space share: a run goes in, metrics and pictures come out."""

import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from gdm.data.batches import Batch
from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.evaluation.extractors import Extractor
from gdm.files import durable_replacement, named_folder, write_text
from gdm.pictures import grids
from gdm.recipes.ranges import Seed
from gdm.runs.run import Run
from gdm.tools import open_run
from gdm.tools.open_run import OpenRun

SPLIT = "validation"  # whose images are looked at: training has not seen them
Split = Literal["validation", "test"]  # where a tool lets its user choose
ANIMATION_WIDTH = 224  # screen pixels, at least


@dataclass
class Result:
    """What a tool has found.

    Args:
        record: metrics and all that they depend on, as JSON takes it. A list of groups of
            numbers becomes a table with one row per group, a group of groups one with one column
            per group.
        pictures: name -> 8-bit values, (C, H, W).
        animations: name -> frames of 8-bit values, (T, C, H, W).
        scales: name of a picture -> screen pixels per side of its pixels, where it is not one.
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
    ) -> Result:
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
) -> Result:
    """Return what a tool finds, with what it depends on; what makes no sense has been refused."""
    open_run.prepare([opened, *others])
    with ExitStack() as stack:
        for each in (opened, *others):  # the weights are those that were asked for
            stack.enter_context(each.model.evaluating(averaged=False))
        result = tool.use(opened, others, data, seed)
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
    result.record = facts | result.record | ({"remark": result.remark} if result.remark else {})
    return result


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


def write(result: Result, folder: Path, tensorboard: Path | None = None) -> list[Path]:
    """Write what a tool has found, each file whole or not at all, in the place of what an earlier
    use wrote; return the files.

    Args:
        result: what there is to write.
        folder: for the record, the pictures and the animations.
        tensorboard: for what TensorBoard alone shows; None for the same folder.
    """
    tensorboard = tensorboard or folder
    if result.for_tensorboard is not None:
        result.record["written_to"] = str(tensorboard)
        result.record["remark"] = (
            f"To see it: tensorboard --logdir {shlex.quote(str(tensorboard))}, then Projector in "
            "its menu."
        )
    written = [folder / "record.json"]
    result.record["files"] = [f"{name}.png" for name in result.pictures]
    result.record["files"] += [f"{name}.gif" for name in result.animations]
    try:
        if result.for_tensorboard is not None:
            result.for_tensorboard(tensorboard)
        for name in _files_of_an_earlier_use(written[0], result.record["tool"]):
            if name not in result.record["files"]:
                (folder / name).unlink(missing_ok=True)
        write_text(written[0], json.dumps(result.record, indent=2) + "\n")
        for name, picture in result.pictures.items():
            written.append(folder / f"{name}.png")
            with durable_replacement(written[-1]) as temporary:
                grids.save(picture, temporary, result.scales.get(name, 1))
        for name, frames in result.animations.items():
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


def places(batch: Batch) -> list[str]:
    """Return what images are called in a picture: their places in the split."""
    return [str(place) for place in batch.index.tolist()]
