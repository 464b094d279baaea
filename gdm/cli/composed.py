"""What Hydra has composed, as a recipe with its origin for a task."""

import hashlib
import re
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdm.cli.compose import OF_MAKING, parse, plugins_of
from gdm.cli.mistakes import one_line, refuse_no_folder
from gdm.cli.origin import Origin
from gdm.errors import UserError
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.recipes.tree import TARGET

NOT_IN_RECIPES = ("rerun", "resume", "plugins", "sweep", "sweeper", "launcher")
MAX_NAME = 80  # letters of a job's name: file systems allow 255 bytes


def origin_of(settings: DictConfig) -> Origin:
    """Describe a job to its task by what Hydra says of it."""
    overrides = list(settings.overrides.task)
    groups = settings.runtime.choices.items()
    is_sweep = settings.mode == RunMode.MULTIRUN
    return Origin(
        "new",
        overrides=overrides,
        plugins=plugins_of(parse(overrides)),
        choices={group: option for group, option in groups if not group.startswith("hydra/")},
        sweep=f"sweeps/{Path(settings.sweep.dir).name}" if is_sweep else None,
        has_neighbours=not settings.launcher._target_.endswith(".BasicLauncher"),
    )


def recipe_of(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as a recipe, without what only says how it is run.

    Raises:
        UserError: if a value is missing, or cannot be what it is.
    """
    try:
        recipe = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error
    if "run" in recipe and not recipe.get("samples"):
        or_samples = ", or samples=FILE.npz" if "samples" in recipe else ""
        raise UserError(
            f"run= is missing: name a run's directory, an ending of it, or last{or_samples}"
        )
    refuse_no_folder(recipe.get("outputs", "none"))
    if isinstance(recipe.get("callbacks"), dict):  # what a trainer says of one that is left out
        parts = recipe["callbacks"].items()
        built = {name: part for name, part in parts if not part or TARGET in part}
        recipe["callbacks"] = built or None
    return {key: value for key, value in recipe.items() if key not in NOT_IN_RECIPES}


def built(config: DictConfig, key: str) -> Any:
    """Return what a key of a configuration builds that is no part of its recipe.

    Raises:
        UserError: naming the full key, the value, and what is allowed.
    """
    node = {key: OmegaConf.to_container(config[key], resolve=True)}
    check(node)
    return build(node[key], key)


def num_workers(config: DictConfig) -> int | None:
    """Return how many jobs of a sweep run at a time on this machine; None where a launcher does
    not say.

    Raises:
        UserError: if that is no number of processes.
    """
    from gdm.training.machine import num_cores  # torch, not for --help

    workers = OmegaConf.select(config, "launcher.workers")
    if workers is None:
        return None
    if not isinstance(workers, int) or not (workers == -1 or workers > 0):
        raise UserError(f"launcher.workers={workers}: must be a number of processes, or -1")
    return num_cores() if workers == -1 else workers


def job_name(overrides: list[str]) -> str:
    """Return a name for a run's directory, made of its overrides: short, and without surprises."""
    text = ",".join(each for each in overrides if re.split(r"[.=/@]", each)[0] not in OF_MAKING)
    text = text or "default"
    name = re.sub(r"[^\w=,.+-]|^[.-]|(?<=\.)\.", "_", text, flags=re.ASCII)
    if name == text and len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME - 9]}-{digest}"
