"""Where a recipe comes from, as the task that gets both is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


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
        has_neighbours: whether other jobs of the sweep may run beside it.
        options: the keys of a script that works on an earlier run.
    """

    kind: str
    run: Any = None
    overrides: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    choices: dict[str, str] = field(default_factory=dict)
    sweep: str | None = None
    has_neighbours: bool = False
    options: dict[str, Any] = field(default_factory=dict)


Task = Callable[[dict[str, Any], Origin], Any]
