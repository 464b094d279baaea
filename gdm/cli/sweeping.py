"""A sweep of trainings: Hydra's syntax and Hydra's launchers, of whose results none is needed."""

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, open_dict

from gdm.cli import model_groups, searching
from gdm.cli.compose import COMPOSITION_ERRORS, composing, is_of_making, plugins_of, values
from gdm.cli.composed import built, job_name, num_workers, origin_of, recipe_of
from gdm.cli.mistakes import explain
from gdm.cli.origin import Origin
from gdm.errors import UserError
from gdm.recipes import check
from gdm.runs.sweeps import NO_RECIPE, Job, Sweep, asked_for

log = logging.getLogger(__name__)


def sweep(overrides: Sequence[str], configs: Path, job: TaskFunction) -> None:
    """Train every job of a command line that is not done, and say what became of each.

    Args:
        overrides: the command line, where a key may have several values.
        configs: the folder of configurations.
        job: called with what Hydra composes for a job, perhaps in another process.

    Raises:
        UserError: if something is left, because it failed or was stopped.
    """
    overrides = [*overrides, *_name(overrides)]
    with composing(configs, "train") as (hydra, searched):
        words = [*overrides, *searched, "hydra.mode=MULTIRUN"]
        try:
            config = hydra.compose_config("train", words, RunMode.MULTIRUN)
        except COMPOSITION_ERRORS as error:
            raise UserError(explain(error, "train", configs, overrides)) from error
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
        _Sweeping(context, config, job, configs).sweep()


class _Sweeping:
    """Hydra's syntax and Hydra's launchers for a sweep of trainings.

    Args:
        context: what composes.
        config: what the command line makes without the values of the axes.
        job: what a launcher calls.
        configs: the folder of configurations.
    """

    def __init__(
        self, context: HydraContext, config: DictConfig, job: TaskFunction, configs: Path
    ) -> None:
        self.loader, self.config, self.configs = context.config_loader, config, configs
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=job, config=config
        )

    def sweep(self) -> None:
        """Do what there is to do."""
        from gdm.cli import console
        from gdm.tools import sweep as tool  # torch, not for --help

        console.log_to_console()
        options, written = built(self.config, "sweep"), list(self.config.hydra.overrides.task)
        axes = (self.config.hydra.sweeper.params or {}).items()
        axes = [f"{key}={value}" for key, value in axes]
        overrides = OverridesParser.create(self.loader).parse_overrides([*axes, *written])
        self.swept = [each.key_or_group for each in overrides if each.is_sweep_override()]
        self._say_of_workers()
        if self.config.sweeper is not None:
            searching.search(self.config, overrides, options.retries, self._job, self._launch)
            return
        searching.refuse_intervals(overrides)
        combinations = BasicSweeper.split_arguments(overrides, None)[0]
        if not combinations:
            raise UserError(f"{' '.join(self.swept)}: has no value, and makes no job")
        jobs = list({job.asked: job for job in map(self._job, combinations)}.values())
        sweep = Sweep(Path(self.config.hydra.sweep.dir))
        jobs = tool.of_these_data(sweep, jobs, plugins_of(overrides))
        sweep.begin(jobs, _axes(overrides), written)
        tool.say_where_it_stands(sweep, jobs)
        try:
            tool.settle(sweep, jobs, self._launch, options.retries)
        finally:  # stopped by a signal too
            console.log_to_console()  # in place of the launcher's
            sweep.record()
            console.report_sweep(sweep, jobs)
        tool.refuse_undone(sweep, jobs)

    def _job(self, overrides: list[str]) -> Job:
        """Return a job, with what is wrong with its recipe, before others take their time."""
        from gdm.training.options import TrainOptions

        telling = [text for text in overrides if text.partition("=")[0] in self.swept]
        name = job_name(telling or overrides)
        job = Job(name, f"{NO_RECIPE}{name}", tuple(overrides))
        try:
            recipe, origin = self._composed(overrides)
            job = replace(job, asked=asked_for(recipe))
            check.check_quickly(recipe, origin.plugins)
            model_groups.refuse_unused(recipe, origin)
            check.check(recipe, root=TrainOptions, trusted=origin.plugins)
        except UserError as error:
            return replace(job, mistake=str(error))
        except COMPOSITION_ERRORS as error:
            return replace(job, mistake=explain(error, "train", self.configs, overrides))
        return job

    def _composed(self, overrides: list[str]) -> tuple[dict[str, Any], Origin]:
        config = self.loader.load_sweep_config(self.config, overrides)
        settings = config.hydra
        with open_dict(config):
            del config["hydra"]
        return recipe_of(config), origin_of(settings)

    def _launch(self, jobs: Sequence[Job]) -> None:
        self.launcher.launch([list(job.overrides) for job in jobs], initial_job_idx=0)

    def _say_of_workers(self) -> None:
        """Say what each of several workers on this machine has."""
        from gdm.training.machine import available_memory_gib, num_cores

        workers = num_workers(self.config)
        if workers is None:
            return
        threads, free = max(1, num_cores() // workers), available_memory_gib()
        memory = f"; {free / workers:.1f} GiB of memory are free for each" if free else ""
        log.info("%d workers with %d threads each%s", workers, threads, memory)


def _name(overrides: Sequence[str]) -> list[str]:
    """Return what names a sweep that the command line does not name: the time.

    Raises:
        UserError: for a name that is no folder's.
    """
    given = [text.partition("=")[2] for text in overrides if text.startswith("sweep.name=")]
    for name in given:
        if not re.fullmatch(r"[\w+-][\w.+-]*", name, flags=re.ASCII):
            raise UserError(f"sweep={name}: a sweep's name has letters, digits and . _ + - only")
    return [] if given else [f"sweep.name={datetime.now():%Y%m%d-%H%M%S-%f}"]


def _axes(overrides: Sequence[Override]) -> dict[str, list]:
    axes = {each.key_or_group: values(each) for each in overrides if not is_of_making(each)}
    return {
        key: [_scalar(value) if isinstance(value, str) else value for value in of_axis]
        for key, of_axis in axes.items()
    }


def _scalar(text: str) -> bool | int | float | str | None:
    """Return a value of an axis as what a recipe would hold."""
    with suppress(yaml.YAMLError):
        value = yaml.safe_load(text)
        if ":" not in text and isinstance(value, bool | int | float | None):
            return value
    return text
