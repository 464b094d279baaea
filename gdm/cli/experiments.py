"""A command line as a file of the group `experiment`, which does the same."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

from gdm.cli.compose import CONFIGS, is_of_making, options_of, parse
from gdm.files import write_text
from gdm.recipes import terminal


def write_experiment(path: Path, heading: str, overrides: list[str]) -> list[str]:
    """Write a file that stands for overrides, and return those that no file can stand for, as they
    are typed.

    Args:
        path: the file, whose ending is .yaml.
        heading: what it says of itself.
        overrides: the command line.
    """
    defaults: list[Any] = []
    keys: dict[str, Any] = {}
    rest = []
    for each in parse(overrides):
        key, value = each.key_or_group, None if each.is_delete() else each.value()
        if key == "plugins":
            rest.append(terminal.override(key, value))
        elif is_of_making(each) or (key == "experiment" and value is None):
            continue
        elif each.package is None and options_of(CONFIGS, key):
            defaults.append(value if key == "experiment" else {_default(key): value})
        elif _is_plain(each):
            _put(keys, key.split("."), value)
        else:
            rest.append(shlex.quote(each.input_line))
    heading = " ".join(heading.split())
    parts = [{"defaults": defaults}] * bool(defaults) + [keys] * bool(keys)
    written = [yaml.safe_dump(part, sort_keys=False, allow_unicode=True) for part in parts]
    write_text(path, "\n".join([f"# @package _global_\n# {heading}\n", *written]))
    return rest


def _default(group: str) -> str:
    """Return how an experiment names another option of a group; where its files say that they go
    elsewhere, the place that train.yaml gives it must be said."""
    files = (CONFIGS / group).glob("*.yaml")
    is_moved = any(file.read_text().startswith("# @package") for file in files)
    return f"override /{group}@_global_.{group}" if is_moved else f"override /{group}"


def _is_plain(override: Override) -> bool:
    is_name = re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", override.key_or_group)
    return bool(is_name) and override.package is None and not override.is_delete()


def _put(tree: dict[str, Any], names: list[str], value: Any) -> None:
    *rooms, last = names
    for room in rooms:
        if not isinstance(tree.get(room), dict):
            tree[room] = {}
        tree = tree[room]
    tree[last] = value
