"""A new run, or a sweep of them: what the command line composes becomes a recipe for a task."""

import contextlib
import io
import logging
import re
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gdm.cli.compose import BASES, COMPOSITION_ERRORS, HYDRA, chosen, options_of, parse, values
from gdm.cli.composed import job_name, origin_of, recipe_of
from gdm.cli.mistakes import explain, refuse_no_folder, unknown_option
from gdm.cli.origin import Task
from gdm.cli.sweeping import sweep
from gdm.errors import UserError
from gdm.recipes import terminal
from gdm.recipes.check import show

log = logging.getLogger(__name__)


def start(config_name: str, task: Task, configs: Path, command: Namespace) -> None:
    """Run a task on what the command line composes, once per job in a sweep.

    Args:
        config_name: the script's own file in configs/, without its ending.
        task: called with the recipe and its origin.
        configs: the folder of configurations.
        command: the command line, as Hydra reads it.
    """
    waiting, failures, arguments = [], [], sys.argv

    def job(config: DictConfig) -> None:
        settings, sys.argv = HydraConfig.get(), arguments  # a launcher's process has others
        if settings.mode == RunMode.RUN:  # not in here, where Hydra catches what a task raises
            waiting.append((config, settings))
        elif not _attempt(task, config, settings) and "sweep" not in config:
            failures.append(job_name(settings.overrides.task))

    _refuse_beforehand(command, configs)
    shows = command.help or command.shell_completion or command.cfg
    if command.multirun and config_name == "train" and not shows:
        sweep(command.overrides, configs, job)
        return
    launch = hydra.main(config_path=str(configs), config_name=config_name, version_base=HYDRA)(job)
    try:
        if command.help or command.shell_completion:
            _show(launch, configs, command)
        else:
            launch()
    except COMPOSITION_ERRORS as error:
        raise UserError(explain(error, config_name, configs, command.overrides)) from error
    for config, settings in waiting:
        if config.get("sweeper"):
            raise UserError("sweeper=optuna: a search is a sweep, which -m runs")
        task(recipe_of(config), origin_of(settings))
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


def _refuse_beforehand(command: Namespace, configs: Path) -> None:
    """Refuse what Hydra would take otherwise than it is meant, and make folders of."""
    try:
        parsed = parse(command.overrides)
    except COMPOSITION_ERRORS:
        return  # which Hydra says too
    elsewhere = any(each.key_or_group == "hydra.searchpath" for each in parsed)
    for each in parsed:
        key, text = each.key_or_group, each.input_line
        if key == "sweep.name" and not command.multirun and each.value() is not None:
            raise UserError(f"sweep={show(each.value())}: a sweep is made by -m; add it")
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
    if "sweep" not in config:  # a training says more of itself
        log.info("run %d of the sweep: %s", settings.job.num + 1, written)
    try:
        task(recipe_of(config), origin_of(settings))
    except UserError as error:
        log.error("%s failed: %s", written, error)
    except Exception:
        log.exception("%s failed", written)
    else:
        return True
    return False
