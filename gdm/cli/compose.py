"""What the files in configs/ and the command line's words make: a configuration, by Hydra."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdm.errors import UserError
from gdm.recipes.check import show
from gdm.recipes.terminal import config_dir

HYDRA = "1.3"  # the behaviour that Hydra promises to keep
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel configs/ is a part of the package, in a clone it lies beside it.
CONFIGS = next(filter(Path.is_dir, (_PACKAGE / "configs", _PACKAGE.parent / "configs")), _PACKAGE)
LISTED = ("logger",)  # groups of which a run takes any number: logger=[tensorboard,csv]
# Keys that say where and how runs are made, and nothing of what a run is.
OF_MAKING = ("outputs", "name", "plugins", "sweep", "sweeper", "launcher", "hydra")
BASES = "base"  # a folder of what options stand on, and no group
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)


def compose_config(
    configs: Path, config_name: str, overrides: list[str] | None = None, given: dict | None = None
) -> dict[str, Any]:
    """Compose a configuration without running anything; `given` serves its interpolations."""
    overrides = arranged(overrides or [], configs)
    with composing(configs, config_name) as (_, searched):
        config = OmegaConf.to_container(compose(config_name, [*overrides, *searched]))
    whole = OmegaConf.to_container(OmegaConf.create(config | (given or {})), resolve=True)
    return {key: whole[key] for key in config}


@contextmanager
def composing(configs: Path, config_name: str) -> Iterator[tuple[Hydra, list[str]]]:
    """Lend Hydra with the folders of configurations, and what names the further ones to it."""
    folders = _folders(configs)
    first = next((each for each in folders if (each / f"{config_name}.yaml").is_file()), configs)
    of_sweep = GlobalHydra.instance().hydra  # in a sweep's job, and there can be only one
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(first), job_name="gdm", version_base=HYDRA):
            searched = [_searched(each) for each in folders if each != first]
            yield GlobalHydra.instance().hydra, searched
    finally:
        GlobalHydra.instance().hydra = of_sweep


def nodes_of_group(configs: Path, group: str) -> dict[str, dict[str, Any]]:
    """Return what each option of a part of models, such as `sampler`, builds: option -> node."""
    return {
        option: compose_config(configs, f"{group}/{option}")["model"][group]
        for option in options_of(configs, group)
    }


def arranged(arguments: list[str], configs: Path) -> list[str]:
    """Put a command line as Hydra takes it: overrides last, no group as `~group` or, where that is
    an option of its own, as the option null."""
    flags, overrides = [], []
    for text in arguments:
        group, equals, option = text.partition("=")
        if group and group != BASES and (configs / group / "null.yaml").is_file():
            overrides.append(re.sub(r"(?<![^=,])null(?![^,])", '"null"', text))  # an option
        elif group == "sweep" and equals:
            overrides.append(f"sweep.name={option}")
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


def parse(overrides: list[str]) -> list[Override]:
    """Read a command line's words as Hydra does."""
    return OverridesParser.create().parse_overrides(overrides)


def values(override: Override) -> list[Any]:
    """Return the value that an override gives a key, or all of a sweep; none of those that only
    who composes can tell, such as a glob's, or that nobody can, such as an interval's."""
    if override.type != OverrideType.CHANGE:
        return []
    kind, can_look = override.value_type, override.config_loader is not None
    if kind == ValueType.INTERVAL_SWEEP or (kind == ValueType.GLOB_CHOICE_SWEEP and not can_look):
        return []
    if override.is_sweep_override():
        return [without_quotes(each) for each in override.sweep_string_iterator()]
    return [override.value()]


def without_quotes(value: str) -> str:
    """Return text without the quotes that Hydra takes off elsewhere."""
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "'\"":
        return value
    try:
        (parsed,) = parse([f"run={value}"])
    except COMPOSITION_ERRORS:
        return value
    return str(parsed.value())


def chosen(group: str, value: Any) -> list[Any]:
    """Return the options of a group that a value names: all of a list, where it may be one."""
    if group not in LISTED:
        return [value]
    if isinstance(value, str) and value.startswith("["):  # of a sweep
        (parsed,) = parse([f"{group}={value}"])
        value = parsed.value()
    return value if isinstance(value, list) else [value]


def room_of(override: Override) -> str:
    """Return the outermost key that an override changes."""
    return (override.package or override.key_or_group).partition(".")[0]


def is_of_making(override: Override) -> bool:
    """Whether an override says nothing of what a run is."""
    return room_of(override).partition("/")[0] in OF_MAKING


def plugins_of(overrides: list[Override]) -> list[str]:
    """Return the packages that the command line allows: no file may."""
    values = [each.value() for each in overrides if each.key_or_group == "plugins"]
    packages = values[-1] if values else []
    if not isinstance(packages, list) or not all(isinstance(name, str) for name in packages):
        raise UserError(f"plugins={show(packages)}: must be a list of packages, plugins=[mine]")
    return packages


def _folders(configs: Path) -> list[Path]:
    """Return the folders of configurations: ours, and the user's by --config-dir."""
    own = config_dir(sys.argv[1:])
    return [configs, Path(own).absolute()] if own else [configs]


def _searched(folder: Path) -> str:
    escaped = str(folder).replace('"', '\\"')
    return f'hydra.searchpath=["file://{escaped}"]'


def options_of(configs: Path, group: str) -> list[str]:
    """Return a group's options, of a folder within it by their paths."""
    is_group = re.fullmatch(r"\w+(/\w+)*", group)
    folders = [folder / group for folder in _folders(configs)] if is_group else []
    files = {file.relative_to(each) for each in folders for file in each.rglob("*.yaml")}
    files = {file for file in files if BASES not in (Path(group) / file).parts}
    return sorted(str(file.with_suffix("")) for file in files)
