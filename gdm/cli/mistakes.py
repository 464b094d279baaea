"""What is wrong with a command line, in one line and in our words."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import OverrideType
from hydra.errors import MissingConfigException

from gdm.cli.compose import BASES, COMPOSITION_ERRORS, compose_config, options_of, parse
from gdm.cli.model_groups import has_no_group
from gdm.errors import UserError
from gdm.recipes import terminal
from gdm.recipes.check import show
from gdm.recipes.spelling import nearest, nearest_key, no_such_key
from gdm.recipes.tree import keys


def explain(error: Exception, config_name: str, configs: Path, overrides: list[str]) -> str:
    """Say in one line what is wrong with a command line that Hydra cannot compose."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        if group == "hydra/launcher":
            extra = option.partition("_")[0]
            return f"launcher={extra}: needs one package more: pip install -e '.[{extra}]'"
        return unknown_option(group, option, error.options)
    known = _known_keys(config_name, configs, overrides)
    problems = (_problem(text, known, configs, str(error)) for text in overrides)
    return next(filter(None, problems), None) or one_line(error)


def unknown_option(group: str, option: str, options: Sequence[str]) -> str:
    """Say which options a group has."""
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
        (override,) = parse([text])
    except COMPOSITION_ERRORS as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Lexer"):  # the name of a class of Hydra's
            reason = "it has a quote or a sign that cannot be read there"
        return f"{text}: {reason}; as text it is written {terminal.override(key, value)}"
    if override.type == OverrideType.CHANGE and not override.is_hydra_override():
        key, options = override.key_or_group, options_of(configs, override.key_or_group)
        if not options and key not in known:
            return _no_group_of_model(key, known, configs) or no_such_key(key, known)
        if options and isinstance(override.value(), int | float):
            return unknown_option(key, show(override.value()), options)
    if override.is_sweep_override() and "--multirun" in reason:
        return f"{text}: several values are a sweep, which -m runs; a list is written [1,2]"
    return None


def _no_group_of_model(key: str, known: list[str], configs: Path) -> str | None:
    """Return what is wrong with a key of a group that the model does not have, if it is one."""
    room, _, group = ".".join(key.split(".")[:2]).partition(".")
    if room != "model" or f"model.{group}" in known or not options_of(configs, group):
        return None
    return f"{key}: the model {has_no_group(group, configs)}"


def _known_keys(config_name: str, configs: Path, overrides: list[str]) -> list[str]:
    """Return the keys of the configuration that the chosen groups make, and the groups."""
    folders = [path.name for path in configs.iterdir() if path.is_dir()]
    groups = [name for name in folders if name != BASES]
    chosen = [text for text in overrides if text.split("=")[0].split("@")[0] in groups]
    for attempt in (chosen, []):
        with contextlib.suppress(*COMPOSITION_ERRORS):
            return [*keys(compose_config(configs, config_name, attempt)), *groups]
    return groups


def one_line(error: Exception) -> str:
    """Return the beginning of the reason, which may be what caused the error."""
    reason = str(error).strip() or str(error.__cause__ or type(error).__name__).strip()
    if getattr(error, "full_key", None):  # OmegaConf's errors say more than one needs
        return f"{error.full_key}: {reason.splitlines()[0]}"
    return " ".join(reason.splitlines()[:2])


def refuse_no_folder(outputs: Any) -> None:
    """Refuse what cannot be the folder of all runs."""
    if not isinstance(outputs, str) or not outputs.strip():
        raise UserError(f"outputs={show(outputs)}: must be text, the folder of all runs")
