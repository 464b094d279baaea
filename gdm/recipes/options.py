"""A script's keys: a frozen dataclass, whose fields are the schema and whose docstring the help.

@dataclass(frozen=True)
class SampleOptions:
    \"\"\"The keys of scripts/sample.py.

    Args:
        num_samples: how many images.
    \"\"\"

    num_samples: Count
"""

import ast
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any, TypeVar

from gdm.recipes.build import build
from gdm.recipes.check import check, show

Options = TypeVar("Options")

HELP_COLUMNS = 99


def options_from(
    kind: Callable[..., Options], composed: dict[str, Any], trusted: Iterable[str] = ()
) -> Options:
    """Return a script's keys as an object, checked, with what they name built.

    Args:
        kind: the dataclass.
        composed: the keys, plain containers.
        trusted: packages that the user named on the command line (`plugins=[my_package]`).

    Raises:
        UserError: naming the full key, the value, and what is allowed.
    """
    check(composed, root=kind, trusted=trusted)
    return kind(**build(composed, trusted=trusted))


def help_text(target: str, defaults: Mapping[str, Any]) -> str:
    """Return the meaning of every key of a script, one paragraph per key, with its default.

    Args:
        target: the dotted name of the dataclass in gdm; its file is read, not imported, since
            --help does without torch.
        defaults: what the keys hold, a group its option; null and [] are not shown.
    """
    meanings = arguments_explained(_docstring(target))
    width = max(map(len, meanings)) + 2
    lines = []
    for name, meaning in meanings.items():
        default = defaults.get(name)
        shown = meaning if default in (None, []) else f"{meaning} ({show(default)})"
        first, *rest = textwrap.wrap(shown, HELP_COLUMNS - width, break_long_words=False)
        lines += [f"{name:<{width}}{first}", *(" " * width + line for line in rest)]
    return "\n".join(lines)


def arguments_explained(docstring: str) -> dict[str, str]:
    """Return what the `Args:` of a docstring say of each argument."""
    _, _, rest = cleandoc(docstring).partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", rest)[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()).removesuffix(".") for name, text in entries}


def _docstring(target: str) -> str:
    module, _, name = target.rpartition(".")
    path = Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py")
    (found,) = (
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    return ast.get_docstring(found)
