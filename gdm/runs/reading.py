"""Small files that somebody else may have written: read whole, within limits, or refused."""

import json
from pathlib import Path
from typing import Any

import yaml

from gdm.errors import UserError

MAX_YAML_BYTES = 100_000  # a recipe has some 2,000
MAX_YAML_DEPTH = 40  # a recipe has some 5 levels
MAX_JSON_BYTES = 10_000_000
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds: plain containers, of a size and depth that recipes have.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is anything else.
    """
    try:
        text = _text(path, MAX_YAML_BYTES)
        _refuse_bomb(text)
        return yaml.load(text, Loader=LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is anything else.
    """
    try:
        return json.loads(_text(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON: {error}") from error


def _text(path: Path, max_bytes: int) -> str:
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error})") from error
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return content.decode("utf-8")


def _refuse_bomb(text: str) -> None:
    """Refuse what is small to write and large to read: deep nesting, and aliases of aliases."""
    depth, too_deep = 0, f"it is nested more than {MAX_YAML_DEPTH} levels deep"
    try:
        for event in yaml.parse(text, Loader=LOADER):  # one after another, without recursion
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"it uses an alias, *{event.anchor}; write the value itself")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_YAML_DEPTH:
                raise ValueError(too_deep)
    except yaml.YAMLError as error:
        if "nesting depth" in str(error):  # the fast loader reads ahead, and has a limit too
            raise ValueError(too_deep) from error
        raise
