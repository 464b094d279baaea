"""Runs: make a directory for a new one, find earlier ones, and open the model that one holds."""

import contextlib
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdm.errors import UserError
from gdm.recipes.build import build
from gdm.runs.run import Run

if TYPE_CHECKING:
    from gdm.models.base import Model

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "gdm")


def create(
    recipe: dict[str, Any],
    overrides: list[str] | None = None,
    choices: dict[str, str] | None = None,
    sweep: str | None = None,
    job: str = "",
    **facts: Any,
) -> Run:
    """Make a directory of its own for a new run, below the recipe's `outputs`.

    It is `<name>/<time to the microsecond>-<hash>`, the name by default `<model>/<dataset>`, or
    in a sweep `<sweep>/<job>`.

    Args:
        recipe: what the run is made from; the name is settled in it.
        overrides: what the user wrote on the command line.
        choices: the options that were chosen, of which model and dataset make the name.
        sweep: the folder of a sweep, relative to `outputs`; None for a single run.
        job: the name of this run within its sweep.
        facts: what the manifest says from the first on, besides.

    Raises:
        UserError: if the name leads out of `outputs`, or nothing can be written there.
    """
    outputs = Path(recipe["outputs"])
    if recipe["name"] is None:
        recipe["name"] = "/".join((choices or {}).get(part, part) for part in ("model", "dataset"))
    name = sweep or recipe["name"]
    try:
        parent = (outputs / name).resolve()
        if not parent.is_relative_to(outputs.resolve()) or not name.strip():
            raise UserError(f"name={name}: a run must stay inside the outputs folder ({outputs})")
        parent.mkdir(parents=True, exist_ok=True)
        run = Run(_own_folder(outputs / name, recipe, job if sweep else None))
        run.write_recipe(recipe, overrides or [])
        run.describe(status="created", recipe=recipe_hash(recipe), **environment(), **facts)
    except (OSError, ValueError) as error:  # the latter for a name that no folder can have
        raise UserError(
            f"outputs={outputs} name={name!r}: no folder can be made there ({error})"
        ) from error
    return run


def _own_folder(parent: Path, recipe: dict[str, Any], job: str | None) -> Path:
    """Make a folder that no other run has, even one that starts at the same moment."""
    attempt = 1
    while True:
        stamp = job or f"{datetime.now():%Y%m%d-%H%M%S-%f}-{recipe_hash(recipe)}"
        path = parent / (stamp if attempt == 1 else f"{stamp}~{attempt}")
        attempt += 1
        with contextlib.suppress(FileExistsError):  # another run has just taken the name
            path.mkdir()
            return path


def recipe_hash(recipe: dict[str, Any]) -> str:
    """Return eight letters that stand for a recipe."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]


def environment() -> dict[str, Any]:
    """Return what, besides the recipe, a run's bits may depend on."""
    import torch

    return {
        "created": datetime.now().astimezone().isoformat(),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def find(reference: str, outputs: Path) -> Run:
    """Return the run that a user means: a path, a unique ending of one, or `last`.

    Raises:
        UserError: if there is no such run, or more than one.
    """
    if (Path(reference) / ".hydra" / "config.yaml").is_file():
        return Run(Path(reference))
    runs = listed(outputs)
    if reference == "last" and runs:
        return runs[-1]
    ending = reference.rstrip("/")
    matches = [run for run in runs if str(run.path).endswith(ending)] if ending else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        some = "\n  ".join(str(run.path) for run in matches[:8])
        raise UserError(f"{len(matches)} runs end in '{reference}'; name more of it:\n  {some}")
    within = [str(run.path) for run in listed(Path(reference))] if ending else []
    if within:
        some = "\n  ".join(within[-5:])
        raise UserError(f"{reference} is a folder of runs; name one, the newest last:\n  {some}")
    known = "\n  ".join(str(run.path) for run in runs[-5:])
    hint = f"the newest there:\n  {known}" if runs else "there are none yet"
    raise UserError(f"no run '{reference}' in {outputs}; {hint}")


def listed(outputs: Path) -> list[Run]:
    """Return all runs in the folder of runs, the newest last."""
    return [Run(path) for path in sorted(below(outputs), key=_created)]


def below(folder: Path) -> list[Path]:
    """Return the directories of all runs in a folder, itself included, by their names."""
    found = []
    for path, folders, _ in os.walk(folder):
        if Path(path, ".hydra", "config.yaml").is_file():
            found.append(Path(path))
            folders.clear()  # a run holds no runs
        folders.sort()
    return found


def load(
    run: str | Path | Run,
    checkpoint: str = "last",
    averaged: bool = True,
    recipe: dict[str, Any] | None = None,
    plugins: Iterable[str] = (),
) -> "Model":
    """Return a run's model with its trained weights, on the CPU, in evaluation mode.

    Its `images_seen` are those that the weights have been trained on.

    Args:
        run: a run, its path, or what `find` finds in the folder `outputs`.
        checkpoint: `last`, or the name of another file in the run's checkpoints.
        averaged: take the average of the weights where the run has kept one.
        recipe: the run's recipe with changes that leave the weights alone; None for its own.
        plugins: packages that the recipe may name besides gdm.

    Raises:
        UserError: if there is no such run or checkpoint, or the recipe names a foreign target.
    """
    run = run if isinstance(run, Run) else find(str(run), Path("outputs"))
    return read_model(run, checkpoint, averaged, recipe, plugins)[0]


def read_model(
    run: Run,
    checkpoint: str = "last",
    averaged: bool = True,
    recipe: dict[str, Any] | None = None,
    plugins: Iterable[str] = (),
) -> "tuple[Model, Path]":
    """Return a run's model as `load` does, and the checkpoint that it is from."""
    from gdm.models.base import Model
    from gdm.runs import checkpoints

    path, saved = read_checkpoint(run, checkpoint)
    recipe = recipe or run.recipe()
    model = build(recipe["model"], "model", plugins)
    if not isinstance(model, Model):
        raise UserError(f"{run} holds no model: its recipe makes a {type(model).__name__}")
    batches_seen = saved["batches_seen"]
    batch_size = run.recipe()["dataset"]["batch_size"]  # the one that it was trained with
    model.set_progress(recipe["seed"], batch_size, max(1, batches_seen), batches_seen)
    checkpoints.load_weights(model, saved, path)
    if averaged and model.ema is not None:
        model.ema.give()
    return model.eval(), path


def kind_of_weights(model: "Model", averaged: bool = True) -> str:
    """Return what the weights of a model are, `average` or `raw`, where the average was asked
    for or not."""
    return "average" if averaged and model.ema is not None else "raw"


def read_checkpoint(run: Run, checkpoint: str = "last") -> tuple[Path, dict[str, Any]]:
    """Return where a run's checkpoint lies, of `last` the newest that is whole, and what it holds.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    from gdm.runs import checkpoints

    if checkpoint == "last":
        found = checkpoints.read_newest(run.checkpoints)
        if found is not None:
            return found
    else:
        path = run.checkpoints / f"{checkpoint}.ckpt"
        if path.is_file():
            return path, checkpoints.read(path)
    present = ", ".join(sorted(path.stem for path in run.checkpoints.glob("*.ckpt")))
    if not present:
        raise UserError(f"{run} has no checkpoint; train it with: {run.command('train')}")
    kept = "; the best is kept where samples are evaluated during training"
    raise UserError(
        f"{run} has no checkpoint '{checkpoint}'{kept if checkpoint == 'best' else ''}; "
        f"it has {present}"
    )


def _created(path: Path) -> tuple[str, str]:
    with contextlib.suppress(UserError):  # one damaged manifest does not hide the other runs
        return Run(path).manifest().get("created", ""), str(path)
    return "", str(path)


def _version(package: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _commit() -> str | None:
    """Return the commit of the source code, with a + if it has been changed since."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed, perhaps inside of a user's own repository
        return None
    git = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        described = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
