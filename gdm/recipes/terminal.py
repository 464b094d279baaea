"""Text for a terminal: it steers nothing there, and what is to be typed next can be pasted."""

import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline
PLAIN = re.compile(r"[\w./+-]+", flags=re.ASCII)  # neither Hydra nor a shell reads more into it
OTHER_KINDS = ("null", "true", "false", "nan", "inf")  # text only in quotes, as numbers are


def printable(text: Any) -> str:
    """Return text with control characters written out, such as the escape in a file's name,
    which would otherwise move the cursor or hide what was there."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], str(text))


def say(*lines: Any) -> None:
    """Print lines that may hold names from files."""
    print(*map(printable, lines), sep="\n")


def say_files(*paths: Path) -> None:
    """Print files as they can be pasted into a shell, one per line."""
    say(*(shlex.quote(str(path)) for path in paths))


def override(key: str, value: Any) -> str:
    """Return `key=value` as a user types it: quoted for Hydra where the value needs that, and
    then for the shell.

    Args:
        key: the key.
        value: text, a path, or a sequence of them, which becomes a list.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        return shlex.quote(f"{key}=[{','.join(map(_for_hydra, value))}]")
    return shlex.quote(f"{key}={_for_hydra(value)}")


def command(script: str, *overrides: str) -> str:
    """Return what to type to run another script, with the user's own folder of configurations
    where this command has one.

    Args:
        script: its name, without ending.
        overrides: as `override` gives them.
    """
    folder = config_dir(sys.argv[1:])
    option = [shlex.quote(f"--config-dir={folder}")] if folder else []
    return " ".join([program(script), *overrides, *option])


def program(script: str, as_gdm: bool | None = None) -> str:
    """Return how a script is called: `gdm quality-cost`, or `python scripts/quality_cost.py`.

    Args:
        script: its name, without ending.
        as_gdm: which of the two; None for the one in which this process was called.
    """
    if as_gdm is None:
        as_gdm = sys.argv[0].startswith("gdm ")  # as gdm.cli.main leaves it
    return f"gdm {script.replace('_', '-')}" if as_gdm else f"python scripts/{script}.py"


def config_dir(arguments: list[str]) -> str | None:
    """Return the user's own folder of configurations that a command line names."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--config-dir", "-cd")
    return parser.parse_known_args(arguments)[0].config_dir


def _for_hydra(value: Any) -> str:
    text = str(value)
    is_number = isinstance(value, int | float)
    if PLAIN.fullmatch(text) and (is_number or _stays_text(text)):
        return text
    # a backslash counts before a quote only, and as many of them at the end
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{escaped}"'


def _stays_text(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.lower() not in OTHER_KINDS
    return False
