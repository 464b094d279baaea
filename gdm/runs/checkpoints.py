"""Checkpoints: written durably, read only if whole, and never unpickled into foreign objects."""

import copy
import hashlib
import logging
import os
import pickle
import zipfile
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from gdm.errors import UserError
from gdm.files import durable_replacement, flush_to_disk

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
DIGEST = "digest"
# What `gdm` and Lightning take from a checkpoint when a run goes on.
CONTENTS = {
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "callbacks": dict,
    "epoch": int,
    "global_step": int,
    "batches_seen": int,
    "pytorch-lightning_version": str,
}
OF_OPTIMIZER = {"state", "param_groups"}


class DurableCheckpointIO(CheckpointIO):
    """Lets Lightning save and restore through `write` and `read`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options=None) -> None:
        write(checkpoint, Path(path))

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> dict[str, Any]:
        return read(Path(path))

    def remove_checkpoint(self, path) -> None:
        Path(path).unlink(missing_ok=True)


def write(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that a crash at any moment leaves a whole one.

    The bytes go to a temporary file in the same folder, are flushed to the disk, read back and
    verified; only then does the new file take the place of the one that has been there, of which
    `last.ckpt` is kept as `previous.ckpt`. A failure before that, such as a full disk, changes
    nothing.

    Raises:
        OSError: if the checkpoint could not be written; the earlier ones are as they were.
    """
    with durable_replacement(path) as temporary:
        _save(checkpoint | {DIGEST: digest(checkpoint)}, temporary)
        flush_to_disk(temporary)
        problem = damage(temporary)
        if problem:
            raise OSError(f"what was written to {path.parent} reads back damaged: {problem}")
        if path.name == LAST and path.exists() and not damage(path):
            _keep_as(path, path.with_name(PREVIOUS))


def read(path: Path) -> dict[str, Any]:
    """Read a whole checkpoint onto the CPU; only tensors and plain containers are unpickled.

    Raises:
        UserError: if the file is damaged or holds anything else.
    """
    problem = damage(path)
    if problem:
        raise UserError(f"the checkpoint {path} is damaged ({problem})")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        is_as_written = checkpoint.pop(DIGEST, None) == digest(checkpoint)
        problem = _malformed(checkpoint)
    except pickle.UnpicklingError as error:
        raise UserError(f"the checkpoint {path} holds more than tensors: {error}") from error
    except Exception as error:  # whatever a crafted file makes of torch's reader
        raise UserError(f"the checkpoint {path} is damaged ({error})") from error
    if not is_as_written:
        raise UserError(f"the checkpoint {path} is damaged (the digest of its values differs)")
    if problem:
        raise UserError(f"the checkpoint {path} is none of a run: {problem}")
    return checkpoint


def load_weights(model: torch.nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    """Give a model the weights of a checkpoint that was read from `path`.

    Raises:
        UserError: if they are those of another model.
    """
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        first = str(error).splitlines()[:2][-1].strip()  # below a heading
        raise UserError(f"the weights in {path} do not fit the model: {first}") from error


def refuse_other_optimizers(
    model: "LightningModule", checkpoint: dict[str, Any], path: Path
) -> None:
    """Refuse states of optimizers with which a model could not be trained, as a crafted file may
    hold them. A copy of the model takes a step from them, without a slope.

    Args:
        model: the model, with the weights of the checkpoint.
        checkpoint: what was read from `path`.
        path: the file.

    Raises:
        UserError: if they are those of another model, or none.
    """
    trial = copy.deepcopy(model)
    made = trial.configure_optimizers()
    optimizers = made if isinstance(made, list) else [made]
    try:
        for optimizer in optimizers:
            _step(optimizer)
    except Exception:  # it wants more than gradients, or comes with a schedule: of one's own
        return
    try:
        for optimizer, saved in zip(optimizers, checkpoint["optimizer_states"], strict=True):
            own = dict(optimizer.state)
            optimizer.load_state_dict(saved)
            _refuse_other_shapes(own, optimizer.state)
            _step(optimizer)
    except Exception as error:  # whatever a crafted state makes of torch's optimizers
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"the optimizer_states in {path} do not fit the model ({reason})"
        ) from error


def _step(optimizer: torch.optim.Optimizer) -> None:
    """Take a step without a slope."""
    for group in optimizer.param_groups:
        group["lr"] = 0.5 * group.get("initial_lr", group["lr"])  # as training sets it
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()


def _refuse_other_shapes(own: dict, loaded: dict) -> None:
    """Refuse states of parameters that are not as large as those an optimizer makes itself: torch
    would write beyond their ends."""
    for parameter in own.keys() & loaded.keys():
        for name, value in own[parameter].items():
            if isinstance(value, torch.Tensor) and loaded[parameter][name].shape != value.shape:
                found, fits = tuple(loaded[parameter][name].shape), tuple(value.shape)
                raise ValueError(f"{name} has the shape {found}, not {fits}")


def digest(values: Any) -> str:
    """Return a checksum of nested containers: of names, numbers, and the bytes of tensors."""
    sha256 = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            sha256.update(f"{value.dtype}{tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().view(-1)
            sha256.update(flat.view(torch.uint8).numpy())
        elif isinstance(value, dict):
            for key, each in value.items():
                sha256.update(repr(key).encode())
                add(each)
        elif isinstance(value, list | tuple):
            for each in value:
                add(each)
        else:
            sha256.update(repr(value).encode())

    add(values)
    return sha256.hexdigest()


def newest_whole(folder: Path) -> Path | None:
    """Return where the newest undamaged checkpoint of a run lies; see `read_newest`."""
    found = read_newest(folder)
    return found[0] if found else None


def read_newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return where the newest undamaged checkpoint of a run lies, and what it holds; None if the
    run has saved none.

    A damaged or missing one is named in the log, and the one before it is used; the best one,
    from which a run can go on as well, comes last.

    Raises:
        UserError: if there are checkpoints but all are damaged.
    """
    present = [folder / name for name in (LAST, PREVIOUS, BEST) if (folder / name).exists()]
    if present and present[0].name != LAST:
        log.warning("%s is missing; taking %s", folder / LAST, present[0].name)
    for path, after in zip_longest(present, present[1:]):
        try:
            return path, read(path)
        except UserError as error:
            log.warning("%s%s", error, f"; trying {after.name}" if after else "")
    if present:
        raise UserError(f"every checkpoint in {folder} is damaged: nothing to go on from")
    return None


def damage(path: Path) -> str | None:
    """Say what is wrong with a checkpoint file, or None if it is whole.

    A checkpoint is a zip archive with a checksum for every record, which torch itself does not
    compare when it loads one.
    """
    if path.exists() and not path.is_file():
        return "it is no regular file"
    try:
        with zipfile.ZipFile(path) as archive:
            record = archive.testzip()
    except Exception as error:  # whatever a flipped bit makes of a zip archive
        return str(error) or type(error).__name__
    return f"the checksum of {record} differs" if record else None


def _malformed(checkpoint: dict[str, Any]) -> str | None:
    """Say what a checkpoint lacks that a run could go on from or be sampled, or None."""
    for name, kind in CONTENTS.items():
        value = checkpoint.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"its {name} is missing or no {kind.__name__}"
    if checkpoint["batches_seen"] < 0:
        return f"its batches_seen is {checkpoint['batches_seen']}"
    states = checkpoint["optimizer_states"]
    whole = [each for each in states if isinstance(each, dict) and set(each) >= OF_OPTIMIZER]
    if not states or len(whole) < len(states):
        return "its optimizer_states are none"
    for name, weight in checkpoint["state_dict"].items():
        if not isinstance(name, str) or not isinstance(weight, torch.Tensor):
            return f"{name!r} in its state_dict is no tensor with a name"
        if bool(weight.isnan().any()):
            return f"its weights {name} hold NaN"
    return None


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError as error:  # torch's own words for a write that the system refused
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def _keep_as(path: Path, kept: Path) -> None:
    """Give a file a second name, replacing what had it, without copying a byte."""
    link = kept.with_name(kept.name + ".new")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        link = path
    os.replace(link, kept)
