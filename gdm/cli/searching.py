"""A search: the command line's dimensions in Hydra's syntax, and what is shown of the trials."""

import hashlib
import json
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from gdm.cli.compose import is_of_making, plugins_of, room_of
from gdm.cli.composed import built, num_workers, recipe_of
from gdm.cli.dimensions import distribution
from gdm.cli.experiments import write_experiment
from gdm.errors import UserError
from gdm.recipes import terminal
from gdm.runs.sweeps import Job, Sweep

if TYPE_CHECKING:
    from gdm.tools.search import Search, Trial

log = logging.getLogger(__name__)


def search(
    config: DictConfig,
    overrides: Sequence[Override],
    retries: int,
    job_of: Callable[[list[str]], Job],
    launch: Callable[[Sequence[Job]], None],
) -> None:
    """Train what Optuna suggests, and write down what was best.

    Args:
        config: what the command line makes without the values of the dimensions.
        overrides: the command line.
        retries: how often a job that fails is tried again.
        job_of: what the command line says of a job -> the job.
        launch: as in `gdm.tools.sweep.settle`.

    Raises:
        UserError: for what cannot be searched, before anything is trained, or if no trial came to
            an end.
    """
    _refuse_missing()
    from gdm.cli import console
    from gdm.tools import search as tool
    from gdm.tools.objectives import refuse_impossible

    options = built(config, "sweeper")
    words = _Words(overrides)
    sweep = Sweep(Path(config.hydra.sweep.dir))

    def job_of_trial(number: int, values: dict[str, Any]) -> Job:
        job = job_of(words.overrides_of(values))
        return replace(job, name=f"{number:03d},{job.name}")

    refuse_impossible(options, words.space, _recipe(config, words))
    found = tool.Search(
        sweep, words.space, options, words.letters, job_of_trial, words.overrides_of, launch,
        options.batch or _workers(config), retries,
    )  # fmt: skip
    _refuse_other_data(sweep, found, words.plugins)
    sweep.begin([], _axes(words), [each.input_line for each in overrides])
    try:
        found.run()
    finally:  # stopped by a signal too
        console.log_to_console()  # in place of the launcher's
        sweep.record()
        _report(found)
    _conclude(found, words, options.export)


def refuse_intervals(overrides: Sequence[Override]) -> None:
    """Refuse what only a search can choose a value from.

    Raises:
        UserError: naming the key.
    """
    for each in overrides:
        if each.is_interval_sweep():
            raise UserError(
                f"{each.input_line}: an interval is searched, by sweeper=optuna; a sweep takes "
                "values, as a,b,c or range(first,end,step)"
            )


class _Words:
    """The command line of a search.

    Args:
        overrides: the command line.

    Raises:
        UserError: for what is no dimension.
    """

    def __init__(self, overrides: Sequence[Override]) -> None:
        self.overrides = [each for each in overrides if room_of(each) != "sweeper"]
        swept = [each for each in overrides if each.is_sweep_override()]
        for each in swept:
            if is_of_making(each):
                raise UserError(
                    f"{each.input_line}: {each.key_or_group} is no dimension to search"
                )
            if each.key_or_group == "seed":
                log.warning("seed is searched too: the best trial may be no more than a lucky one")
        self.space = {each.get_key_element(): distribution(each) for each in swept}
        self.space = dict(sorted(self.space.items()))
        told = [each.input_line for each in self.overrides if not is_of_making(each)]
        text = json.dumps(sorted(told))
        self.plugins = plugins_of(self.overrides)
        self.letters = hashlib.sha256(text.encode()).hexdigest()[:16]

    def overrides_of(self, values: dict[str, Any]) -> list[str]:
        """Return what the command line says of a trial."""
        return [_with_value(each, values) for each in self.overrides]


def _with_value(override: Override, values: dict[str, Any]) -> str:
    key = override.get_key_element()
    if override.is_delete():
        return key
    if not override.is_sweep_override():
        return f"{key}={override.get_value_element_as_str()}"
    value = values[key]
    is_step = override.is_range_sweep() and isinstance(value, float)
    return f"{key}={value:.12g}" if is_step else f"{key}={value}"  # 0.3, not 0.30000000000000004


def _axes(words: _Words) -> dict[str, list]:
    """Return what sweep.yaml holds of the dimensions: their expressions."""
    swept = [each for each in words.overrides if each.is_sweep_override()]
    return {each.key_or_group: [each.get_value_string()] for each in swept}


def _recipe(config: DictConfig, words: _Words) -> dict[str, Any] | None:
    """Return what all trials share, if nothing of it is searched that decides what is recorded."""
    rooms = {room_of(each) for each in words.overrides if each.is_sweep_override()}
    if rooms & {"callbacks", "extractor", "experiment"}:
        return None
    try:
        return recipe_of(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))
    except UserError:  # something is missing that a dimension gives
        return None


def _workers(config: DictConfig) -> int:
    """Return how many jobs a launcher has at a time."""
    workers = num_workers(config)
    if config.launcher is not None and workers is None:
        log.info("trials are suggested one at a time; sweeper.batch=8 is eight at a time")
    return workers or 1


def _refuse_missing() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("sweeper=optuna: is not installed; pip install -e '.[optuna]'") from None


def _refuse_other_data(sweep: Sweep, found: "Search", plugins: list[str]) -> None:
    from gdm.tools.sweep import of_these_data

    for job in of_these_data(sweep, found.settled.values(), plugins):
        if job.mistake:
            raise UserError(f"{job.name}: {job.mistake}")


# What is shown ---------------------------------------------------------------------------------


def _report(found: "Search") -> None:
    """Print the trials, one row each."""
    from rich.table import Table

    from gdm.cli.console import PlainConsole
    from gdm.evaluation.metrics import better, shown

    if not found.trials:
        return
    names, best = found.options.objectives, {trial.number for trial in found.best()}
    table = Table(title=f"the trials of {found.sweep}", title_justify="left")
    table.add_column("trial", justify="right")
    for key in found.space:
        table.add_column(key, justify="right", overflow="fold")
    for name in names:
        table.add_column(f"{name} ({better(name)})", justify="right", overflow="fold")
    table.add_column("fate")
    for trial in found.trials:
        values = [_shown(trial.values[key]) for key in found.space]
        metrics = [""] * len(names)
        if trial.found is not None:
            metrics = [shown(*each) for each in zip(names, trial.found, strict=True)]
        fate = trial.fate.status + (", best" if trial.number in best else "")
        table.add_row(str(trial.number), *values, *metrics, fate)
    PlainConsole(markup=False, emoji=False).print(table)
    terminal.say(
        f"{len(found.trials)} trials, {found.images:,} images, {found.minutes:.1f} minutes"
    )


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _conclude(found: "Search", words: _Words, export: str | None) -> None:
    """Write down the best configurations and the study, and say what may be typed next."""
    if export is not None:
        found.export(Path(export))
        terminal.say(f"{export} is for optuna-dashboard: optuna-dashboard sqlite:///{export}")
    best = found.best()
    if not best:
        raise UserError(f"no trial of {found.sweep} came to its end; nothing is best")
    folder = found.sweep.path / "experiment"
    folder.mkdir(exist_ok=True)
    for path in folder.glob("best*.yaml"):
        path.unlink()
    for number, trial in enumerate(best, 1):
        name = "best" if len(best) == 1 else f"best-{number}"
        path = folder / f"{name}.yaml"
        rest = write_experiment(path, _heading(found, trial), words.overrides_of(trial.values))
        _say_next(path, trial, rest, words.plugins)


def _heading(found: "Search", trial: "Trial") -> str:
    values = zip(found.options.objectives, trial.found, strict=True)
    metrics = ", ".join(f"{name} {value:.6g}" for name, value in values)
    return f"Trial {trial.number} of the search {found.sweep.path.name}: {metrics}"


def _say_next(path: Path, trial: "Trial", rest: list[str], plugins: list[str]) -> None:
    """Say how a configuration is trained, and its run tested."""
    terminal.say(f"trial {trial.number}: {path}. Train it, perhaps for longer, or test its run:")
    own, experiment = terminal.config_dir(sys.argv[1:]), f"experiment={path.stem}"
    if own is None:
        folder = shlex.quote(f"--config-dir={path.parents[1]}")
        terminal.say(f"  {terminal.command('train', folder, experiment, *rest)}")
    else:  # a command has but one such folder
        there = shlex.quote(str(Path(own) / "experiment"))
        terminal.say(f"  mkdir -p {there} && cp {shlex.quote(str(path))} {there}")
        terminal.say(f"  {terminal.command('train', experiment, *rest)}")
    terminal.say(f"  {trial.fate.run.command('evaluate', plugins)}")
