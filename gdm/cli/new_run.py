"""A new run, or a sweep of them: what the command line composes becomes a recipe for a task."""

import contextlib
import hashlib
import io
import logging
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdm.cli.compose import (
    BASES,
    COMPOSITION_ERRORS,
    HYDRA,
    chosen,
    options_of,
    parse,
    plugins_of,
    values,
)
from gdm.cli.mistakes import explain, one_line, refuse_no_folder, unknown_option
from gdm.cli.origin import Origin, Task
from gdm.errors import UserError
from gdm.recipes import terminal
from gdm.recipes.check import show
from gdm.recipes.tree import TARGET

NOT_IN_RECIPES = ("rerun", "resume", "plugins")
MAX_NAME = 80  # letters of a job's name: file systems allow 255 bytes

log = logging.getLogger(__name__)


def start(config_name: str, task: Task, configs: Path, command: Namespace) -> None:
    """Run a task on what the command line composes, once per job in a sweep.

    Args:
        config_name: the script's own file in configs/, without its ending.
        task: called with the recipe and its origin.
        configs: the folder of configurations.
        command: the command line, as Hydra reads it.
    """
    waiting, failures = [], []

    def job(config: DictConfig) -> None:
        settings = HydraConfig.get()
        if settings.mode == RunMode.RUN:  # not in here, where Hydra catches what a task raises
            waiting.append((config, settings))
        elif not _attempt(task, config, settings):
            failures.append(job_name(settings.overrides.task))

    _refuse_beforehand(command.overrides, configs)
    launch = hydra.main(config_path=str(configs), config_name=config_name, version_base=HYDRA)(job)
    try:
        if command.help or command.shell_completion:
            _show(launch, configs, command)
        else:
            launch()
    except COMPOSITION_ERRORS as error:
        raise UserError(explain(error, config_name, configs, command.overrides)) from error
    for config, settings in waiting:
        task(_recipe(config), _origin(settings))
    if failures:
        raise UserError(f"{len(failures)} of the sweep's runs failed: {'; '.join(failures)}")


def _show(launch: Callable[[], None], configs: Path, command: Namespace) -> None:
    """Show what Hydra says of groups, without the folders that are none, and with scripts called
    as this one was."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            launch()
    finally:  # Hydra ends the process after its help
        text = said.getvalue()
        if "query=bash" in command.overrides:
            words = [word for word in text.split() if BASES not in word.rstrip("=").split("/")]
            print(*(f"{word}=" if (configs / word).is_dir() else word for word in words))
        else:
            text = re.sub(rf"^(\w+/)*{BASES}: .*\n", "", text, flags=re.MULTILINE)
            print(re.sub(r"python scripts/(\w+)\.py", _as_called, text), end="")


def _as_called(script: re.Match) -> str:
    return terminal.program(script[1])


def _refuse_beforehand(overrides: list[str], configs: Path) -> None:
    """Refuse what Hydra would take otherwise than it is meant, and make folders of."""
    try:
        parsed = parse(overrides)
    except COMPOSITION_ERRORS:
        return  # which Hydra says too
    elsewhere = any(each.key_or_group == "hydra.searchpath" for each in parsed)
    for each in parsed:
        key, text = each.key_or_group, each.input_line
        if key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"):
            raise UserError(f"{text}: where runs are made is said by outputs= and name=")
        options = options_of(configs, key)
        for value in values(each):
            if key == "outputs":
                refuse_no_folder(value)
            for option in map(show, chosen(key, value) if options and not elsewhere else ()):
                if option not in options:
                    raise UserError(unknown_option(key, option, options))


def _attempt(task: Task, config: DictConfig, settings: DictConfig) -> bool:
    """Run one job of a sweep; a failure is logged and leaves the other jobs alone."""
    written = " ".join(settings.overrides.task)
    log.info("run %d of the sweep: %s", settings.job.num + 1, written)
    try:
        task(_recipe(config), _origin(settings))
    except UserError as error:
        log.error("%s failed: %s", written, error)
    except Exception:
        log.exception("%s failed", written)
    else:
        return True
    return False


def _origin(settings: DictConfig) -> Origin:
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
        job=job_name(overrides),
    )


def _recipe(config: DictConfig) -> dict[str, Any]:
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


def job_name(overrides: list[str]) -> str:
    """Return a name for a run's directory, made of its overrides: short, and without surprises."""
    places = ("outputs=", "name=", "plugins=")
    text = ",".join(each for each in overrides if not each.startswith(places))
    name = re.sub(r"[^\w=,.+-]|^[.-]|(?<=\.)\.", "_", text, flags=re.ASCII)
    if name == text and len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME - 9]}-{digest}"
