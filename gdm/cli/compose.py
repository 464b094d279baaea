"""Configurations: what the command line and the files in configs/ say -> a recipe for a task.

Here alone Hydra and OmegaConf are imported; what leaves this room is plain containers.
"""

import contextlib
import hashlib
import io
import logging
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdm.errors import UserError
from gdm.recipes import terminal
from gdm.recipes.check import show
from gdm.recipes.options import help_text
from gdm.recipes.spelling import nearest, nearest_key, no_such_key
from gdm.recipes.terminal import config_dir, printable
from gdm.recipes.tree import TARGET, assign, keys

HYDRA = "1.3"  # the behaviour that Hydra promises to keep
REFERENCES = ("rerun", "resume", "run")  # each names a run, whose recipe is then the configuration
NOT_IN_RECIPES = ("rerun", "resume", "plugins")
# What may change while a run goes on.
SURROUNDINGS = ("budget", "trainer", "callbacks", "logger", "extractor")
OF_SAMPLING = ("sampler",)  # groups of a model that its weights do not depend on
UNITS = ("epochs", "images", "minutes")
MAX_NAME = 80  # letters of a job's name: file systems allow 255 bytes
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel configs/ is a part of the package, in a clone it lies beside it.
CONFIGS = next(filter(Path.is_dir, (_PACKAGE / "configs", _PACKAGE.parent / "configs")), _PACKAGE)
BASES = "base"  # a folder of what options stand on, and no group
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where a recipe comes from.

    Args:
        kind: `new`, or what was asked of an earlier run: `rerun`, `resume`, `run`.
        run: the earlier run (`gdm.runs.catalogue.Run`).
        overrides: what the user wrote on the command line.
        plugins: the packages of the user's own that the recipe may name.
        choices: group -> option, of a new run.
        sweep: the sweep's folder, relative to the folder of all runs.
        job: a short name made of the overrides, safe as a directory's.
        options: the keys of a script that works on an earlier run.
    """

    kind: str
    run: Any = None
    overrides: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    sweep: str | None = None
    job: str = ""
    options: dict[str, Any] = field(default_factory=dict)


Task = Callable[[dict[str, Any], Origin], Any]


def main(config_name: str, task: Task, configs: Path = CONFIGS) -> None:
    """Run a task on what the command line says; a user's mistake is one line, and exit status 1.

    Args:
        config_name: the script's own file in configs/, without its ending.
        task: called with the recipe and its origin, in a sweep once a job.
        configs: the folder of configurations.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come back here instead of being printed
    sys.argv[1:] = _arranged(sys.argv[1:], configs)
    OmegaConf.register_new_resolver("options", _options_explained, replace=True)
    command = get_args_parser().parse_args()
    try:
        reference = _reference(command)
        if reference is None:
            _start(config_name, task, configs, command)
        else:
            _reopen(*reference, config_name, task, configs, command)
    except UserError as error:
        sys.exit(printable(f"error: {error}"))
    except KeyboardInterrupt:
        sys.exit(130)  # before the task has anything to save
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _options_explained(target: str, *, _root_: DictConfig) -> str:
    """Return what `${options:gdm.tools.x.XOptions}` in a script's help stands for."""
    chosen = OmegaConf.select(_root_, "hydra.runtime.choices") or {}
    defaults = OmegaConf.to_container(_root_, resolve=False)
    return help_text(target, {key: chosen.get(key, value) for key, value in defaults.items()})


def _arranged(arguments: list[str], configs: Path) -> list[str]:
    """Put a command line as Hydra takes it: overrides last, no group as `~group` or, where that is
    an option of its own, as the option null."""
    flags, overrides = [], []
    for text in arguments:
        group, equals, option = text.partition("=")
        if group and group != BASES and (configs / group / "null.yaml").is_file():
            overrides.append(re.sub(r"(?<![^=,])null(?![^,])", '"null"', text))  # an option
        elif option == "null" and group and group != BASES and (configs / group).is_dir():
            overrides.append(f"~{group}")
        elif text.startswith("~") or (equals and not text.startswith("-")):
            overrides.append(_with_quotes(text))
        else:
            flags.append(text)
    return flags + overrides


def _with_quotes(text: str) -> str:
    """Return an override with the quotes that Hydra wants around letters beyond ASCII."""
    key, _, value = text.partition("=")
    is_word = not value.isascii() and re.fullmatch(r"[\w ./+-]+", value)
    return f'{key}="{value}"' if is_word else text


# A new run, or a sweep of them ------------------------------------------------------------------


def _start(config_name: str, task: Task, configs: Path, command: Namespace) -> None:
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
        raise UserError(_explain(error, config_name, configs, command.overrides)) from error
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
        parsed = _parse(overrides)
    except COMPOSITION_ERRORS:
        return  # which Hydra says too
    elsewhere = any(each.key_or_group == "hydra.searchpath" for each in parsed)
    for each in parsed:
        key, text = each.key_or_group, each.input_line
        if key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"):
            raise UserError(f"{text}: where runs are made is said by outputs= and name=")
        options = _options(configs, key)
        for value in _values(each):
            if key == "outputs":
                _refuse_no_folder(value)
            if options and not elsewhere and show(value) not in options:
                raise UserError(_unknown_option(key, show(value), options))


def _values(override: Override) -> list[Any]:
    """Return the value that an override gives a key, or all of a sweep."""
    if override.type != OverrideType.CHANGE:
        return []
    swept = override.is_sweep_override()
    return (
        [_without_quotes(each) for each in override.sweep_string_iterator()]
        if swept
        else [override.value()]
    )


def _refuse_no_folder(outputs: Any) -> None:
    if not isinstance(outputs, str) or not outputs.strip():
        raise UserError(f"outputs={show(outputs)}: must be text, the folder of all runs")


def _attempt(task: Task, config: DictConfig, settings: DictConfig) -> bool:
    """Run one job of a sweep; a failure is logged and leaves the other jobs alone."""
    written = " ".join(settings.overrides.task)
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
        plugins=_plugins(_parse(overrides)),
        choices={group: option for group, option in groups if not group.startswith("hydra/")},
        sweep=f"sweeps/{Path(settings.sweep.dir).name}" if is_sweep else None,
        job=job_name(overrides),
    )


def _recipe(config: DictConfig) -> dict[str, Any]:
    try:
        recipe = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(_one_line(error)) from error
    if "run" in recipe and not recipe.get("samples"):
        or_samples = ", or samples=FILE.npz" if "samples" in recipe else ""
        raise UserError(
            f"run= is missing: name a run's directory, an ending of it, or last{or_samples}"
        )
    _refuse_no_folder(recipe.get("outputs", "none"))
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


# An earlier run ---------------------------------------------------------------------------------


def _reference(command: Namespace) -> tuple[str, str] | None:
    """Return what is asked of which earlier run, if the command line names one."""
    asks_hydra = (command.help, command.hydra_help, command.shell_completion, command.info)
    written = [text.partition("=")[::2] for text in command.overrides]
    named = [
        (key, _without_quotes(run)) for key, run in written if key in REFERENCES and run != "null"
    ]
    if not named or any(asks_hydra):
        return None
    for key, run in named:
        if not run.strip():
            raise UserError(f"{key}= is empty: name a run's directory, an ending of it, or last")
    if len(named) > 1:
        raise UserError(f"{' '.join(f'{key}={run}' for key, run in named)}: name one run")
    if command.multirun:
        raise UserError(f"{named[0][0]}= takes one run at a time, without -m")
    return named[0]


def _without_quotes(value: str) -> str:
    """Return a run as it is named in quotes that Hydra takes off elsewhere."""
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "'\"":
        return value
    try:
        (parsed,) = _parse([f"run={value}"])
    except COMPOSITION_ERRORS:
        return value
    return str(parsed.value())


def _reopen(
    kind: str, reference: str, config_name: str, task: Task, configs: Path, command: Namespace
) -> None:
    from gdm.runs import catalogue

    written = [text for text in command.overrides if text.partition("=")[0] not in REFERENCES]
    try:
        overrides = _parse(written)
        of_script = compose_config(configs, config_name) if kind == "run" else ["outputs"]
        own = [each.input_line for each in overrides if _room(each) in of_script]
        script = compose_config(configs, config_name, own)
    except COMPOSITION_ERRORS as error:
        raise UserError(_explain(error, config_name, configs, written)) from error
    _refuse_no_folder(script["outputs"])
    run = catalogue.find(reference, Path(script["outputs"]))
    if kind != "rerun":  # which writes elsewhere
        run.refuse_links()
    recipe = run.recipe()
    if "budget" in recipe and any(_room(each) == "budget" for each in overrides):
        recipe["budget"] |= dict.fromkeys(UNITS)  # a new length replaces the old in any unit
    groups_first = sorted(overrides, key=lambda each: not _options(configs, each.key_or_group))
    for override in groups_first:
        if override.input_line not in own and _room(override) != "plugins":
            _apply(override, recipe, kind, configs, of_script)
    if kind == "rerun":
        recipe["outputs"] = script["outputs"]  # not a folder that came with the run
    if command.cfg:
        print(yaml.safe_dump(recipe, sort_keys=False), end="")
        return
    plugins, options = _plugins(overrides), script if kind == "run" else {}
    task(recipe, Origin(kind, run, written, plugins, job=job_name(written), options=options))


def _apply(
    override: Override, recipe: dict[str, Any], kind: str, configs: Path, also: Iterable[str]
) -> None:
    """Change an earlier run's recipe as one override says."""
    text, key = override.input_line, override.key_or_group
    if text.startswith("~") and key in ("callbacks", "logger", "extractor"):
        recipe[key] = None
        return
    if override.type != OverrideType.CHANGE or override.is_sweep_override():
        raise UserError(f"{text}: with {kind}= write key=value, with one value")
    if kind == "resume" and _room(override) not in SURROUNDINGS:
        allowed = ", ".join(f"{room}.*" for room in SURROUNDINGS)
        raise UserError(f"{text}: resume= goes on with the same training; it takes {allowed} only")
    if not _options(configs, key):
        assign(recipe, key, override.value(), also)
    elif key in SURROUNDINGS or (kind == "run" and key in OF_SAMPLING):
        _choose(key, override.value(), recipe, configs)
    else:
        raise UserError(
            f"{text}: {kind}= keeps what was trained; it takes single keys, and the groups "
            "trainer, callbacks, logger and extractor, or, of run=, sampler"
        )


def _choose(group: str, option: Any, recipe: dict[str, Any], configs: Path) -> None:
    """Replace a recipe's node by another option of its group."""
    options = _options(configs, group)
    if option not in options:
        raise UserError(_unknown_option(group, show(option), options))
    composed = compose_config(
        configs, f"{group}/{option}", given={"dataset": recipe.get("dataset")}
    )
    if group in OF_SAMPLING:
        if group not in recipe["model"]:
            raise UserError(f"{group}={option}: the model of this run takes no {group}")
        recipe["model"][group] = composed["model"][group]
        return
    recipe[group] = composed.pop(group)
    _merge(composed, recipe)


def _merge(changes: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Change the keys of a recipe; what is switched off there stays so."""
    for key, value in changes.items():
        if not isinstance(value, dict):
            recipe[key] = value
        elif isinstance(recipe.get(key), dict):
            _merge(value, recipe[key])


# Hydra's words and ours -------------------------------------------------------------------------


def _parse(overrides: list[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(overrides)


def compose_config(
    configs: Path, config_name: str, overrides: list[str] | None = None, given: dict | None = None
) -> dict[str, Any]:
    """Compose a configuration without running anything; `given` serves its interpolations."""
    folders = _folders(configs)
    first = next((each for each in folders if (each / f"{config_name}.yaml").is_file()), configs)
    others = [_searched(each) for each in folders if each != first]
    overrides = _arranged(overrides or [], configs)
    of_sweep = GlobalHydra.instance().hydra  # in a sweep's job, and there can be only one
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(first), version_base=HYDRA):
            config = OmegaConf.to_container(compose(config_name, [*(overrides or []), *others]))
    finally:
        GlobalHydra.instance().hydra = of_sweep
    whole = OmegaConf.to_container(OmegaConf.create(config | (given or {})), resolve=True)
    return {key: whole[key] for key in config}


def nodes_of_group(configs: Path, group: str) -> dict[str, dict[str, Any]]:
    """Return what each option of a part of models, such as `sampler`, builds: option -> node."""
    return {
        option: compose_config(configs, f"{group}/{option}")["model"][group]
        for option in _options(configs, group)
    }


def _room(override: Override) -> str:
    """Return the outermost key that an override changes."""
    return (override.package or override.key_or_group).partition(".")[0]


def _plugins(overrides: list[Override]) -> list[str]:
    """Return the packages that the command line allows: no file may."""
    values = [each.value() for each in overrides if each.key_or_group == "plugins"]
    packages = values[-1] if values else []
    if not isinstance(packages, list) or not all(isinstance(name, str) for name in packages):
        raise UserError(f"plugins={show(packages)}: must be a list of packages, plugins=[mine]")
    return packages


def _explain(error: Exception, config_name: str, configs: Path, overrides: list[str]) -> str:
    """Say in one line what is wrong with a command line that Hydra cannot compose."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        return _unknown_option(group, option, error.options)
    known = _known_keys(config_name, configs, overrides)
    problems = (_problem(text, known, configs, str(error)) for text in overrides)
    return next(filter(None, problems), None) or _one_line(error)


def _folders(configs: Path) -> list[Path]:
    """Return the folders of configurations: ours, and the user's by --config-dir."""
    own = config_dir(sys.argv[1:])
    return [configs, Path(own).absolute()] if own else [configs]


def _searched(folder: Path) -> str:
    escaped = str(folder).replace('"', '\\"')
    return f'hydra.searchpath=["file://{escaped}"]'


def _options(configs: Path, group: str) -> list[str]:
    """Return a group's options, of a folder within it by their paths."""
    is_group = re.fullmatch(r"\w+(/\w+)*", group)
    folders = [folder / group for folder in _folders(configs)] if is_group else []
    files = {file.relative_to(each) for each in folders for file in each.rglob("*.yaml")}
    files = {file for file in files if BASES not in (Path(group) / file).parts}
    return sorted(str(file.with_suffix("")) for file in files)


def _unknown_option(group: str, option: str, options: Sequence[str]) -> str:
    if option == "none":
        return f"{group}=none: nothing is written {group}=null"
    known, name = ", ".join(options), option.removesuffix(".yaml")
    return f"{group}={option}: {group} has no such option{nearest(name, options)}; it has {known}"


def _problem(text: str, known: list[str], configs: Path, reason: str) -> str | None:
    """Return what is wrong with one argument, if it is that one."""
    key, _, value = text.partition("=")
    if key == text and not text.startswith("~"):
        if text in known:
            return f"{text}: write {text}=..., with a value"
        return f"{text}: write key=value or group=option{nearest_key(text, known)}"
    try:
        (override,) = _parse([text])
    except COMPOSITION_ERRORS as error:
        reason = str(error).splitlines()[0]
        return f"{text}: {reason}; as text it is written {terminal.override(key, value)}"
    if override.type == OverrideType.CHANGE and not override.is_hydra_override():
        key, options = override.key_or_group, _options(configs, override.key_or_group)
        if not options and key not in known:
            return no_such_key(key, known)
        if options and isinstance(override.value(), int | float):
            return _unknown_option(key, show(override.value()), options)
    if override.is_sweep_override() and "--multirun" in reason:
        return f"{text}: several values are a sweep, which -m runs; a list is written [1,2]"
    return None


def _known_keys(config_name: str, configs: Path, overrides: list[str]) -> list[str]:
    """Return the keys of the configuration that the chosen groups make, and the groups."""
    folders = [path.name for path in configs.iterdir() if path.is_dir()]
    groups = [name for name in folders if name != BASES]
    chosen = [text for text in overrides if text.split("=")[0].split("@")[0] in groups]
    for attempt in (chosen, []):
        with contextlib.suppress(*COMPOSITION_ERRORS):
            return [*keys(compose_config(configs, config_name, attempt)), *groups]
    return groups


def _one_line(error: Exception) -> str:
    """Return the beginning of the reason, which may be what caused the error."""
    reason = str(error).strip() or str(error.__cause__ or type(error).__name__).strip()
    if getattr(error, "full_key", None):  # OmegaConf's errors say more than one needs
        return f"{error.full_key}: {reason.splitlines()[0]}"
    return " ".join(reason.splitlines()[:2])
