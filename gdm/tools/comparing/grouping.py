"""Finished runs -> rows, one per configuration, and the columns that they fill, in order."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gdm.errors import UserError
from gdm.evaluation.metrics import METRICS
from gdm.recipes.spelling import nearest, nearest_key
from gdm.runs.catalogue import recipe_hash
from gdm.tools.comparing.collect import Finished
from gdm.tools.comparing.columns import COSTS, MAIN
from gdm.tools.comparing.comparison import Column, Row
from gdm.tools.comparing.statistics import against, cell_of

SEED = "seed"
LONGEST_NAME = 70  # letters of what differs in a row's name


# Columns -----------------------------------------------------------------------------------------


def columns_of(runs: Sequence[Finished]) -> list[Column]:
    """Return the columns of all numbers of some runs: metrics in the order of their table, then
    costs; of a metric, first on test images, then where most runs have it."""
    counts = Counter(key for run in runs for key in run.found)
    columns = {key: each.column for run in runs for key, each in run.found.items()}
    order = [*METRICS, *COSTS]
    place = {name: number for number, name in enumerate(order)}

    def rank(column: Column) -> tuple:
        parts = column.key.split("|")
        known = place.get(column.name, len(order))
        is_cost = column.kind == "cost"
        cost = COSTS.index(column.name) if is_cost else 0
        return (
            is_cost,
            cost,
            known,
            "test" not in parts,
            "best" in parts,
            -counts[column.key],
            column.key,
        )

    return sorted(columns.values(), key=rank)


def chosen(columns: Sequence[Column], names: Sequence[str] | None) -> list[Column]:
    """Return the columns of some metrics; costs come along unless one of them is named.

    Args:
        columns: all that there are.
        names: of metrics; None for the main ones.

    Raises:
        UserError: if a name is not known, or no run has measured it.
    """
    known = {column.name for column in columns}
    for name in names or ():
        if name not in known:
            raise UserError(_no_metric(name, known))
    asked = [name for name in (MAIN if names is None else names) if name in known]
    if names is None and not asked:  # a metric of one's own, or none of samples
        asked = list(dict.fromkeys(each.name for each in columns if each.kind == "metric"))
    if not set(asked) & set(COSTS):
        asked += COSTS
    return [column for name in dict.fromkeys(asked) for column in columns if column.name == name]


def _no_metric(name: str, known: Iterable[str]) -> str:
    there = ", ".join(sorted(known))
    if name in METRICS or name in COSTS:
        return f"metrics=[{name}]: none of these runs has measured it; they have {there}"
    return f"metrics=[{name}]: there is no such metric{nearest(name, known)}; there are {there}"


# Rows --------------------------------------------------------------------------------------------


def settings_that_differ(runs: Sequence[Finished], group_by: Sequence[str] | None) -> list[str]:
    """Return the full keys by which runs are put into rows.

    Args:
        runs: the runs.
        group_by: the keys that were asked for; None for all that differ but the seed.

    Raises:
        UserError: if there is no such key.
    """
    if not group_by:
        return [] if group_by is not None else _differing(runs)
    known = dict.fromkeys([SEED, *(key for run in runs for key in run.settings)])
    for key in group_by:
        if key not in known:
            raise UserError(f"group_by=[{key}]: no recipe has such a key{nearest_key(key, known)}")
    return list(dict.fromkeys(group_by))


def _differing(runs: Sequence[Finished]) -> list[str]:
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    same_images = len({run.data for run in runs}) == 1
    return [
        key
        for key in keys
        if len({run.settings.get(key, "") for run in runs}) > 1
        and not (same_images and key.startswith("dataset.source"))  # where the images lie
    ]


def without_repetitions(runs: Sequence[Finished]) -> tuple[list[Finished], list[Finished]]:
    """Return the newest run of each recipe, seed and data, and those that it repeats: the same
    seed twice says nothing of chance."""
    newest: dict[tuple, Finished] = {}
    for run in sorted(runs, key=lambda each: each.created):
        newest[(run.member.seed, run.data, *sorted(run.settings.items()))] = run
    kept = {id(run) for run in newest.values()}
    return (
        [run for run in runs if id(run) in kept],
        [run for run in runs if id(run) not in kept],
    )


def rows_of(runs: Sequence[Finished], keys: Sequence[str], columns: Sequence[Column]) -> list[Row]:
    """Return one row per configuration.

    Args:
        runs: the runs.
        keys: the settings that tell rows apart.
        columns: the columns.
    """
    groups: dict[tuple, list[Finished]] = defaultdict(list)
    for run in runs:
        groups[tuple(_setting(run, key) for key in keys)].append(run)
    names = _names(groups, keys)
    return [
        _row(members, dict(zip(keys, values, strict=True)), names[values], columns)
        for values, members in groups.items()
    ]


def _setting(run: Finished, key: str) -> str:
    return str(run.member.seed) if key == SEED else run.settings.get(key, "")


def _row(
    runs: list[Finished], settings: dict[str, str], name: str, columns: Sequence[Column]
) -> Row:
    labels = _labels(runs)
    cells, real = {}, {}
    for column in columns:
        found = {
            label: run.found[column.key]
            for label, run in zip(labels, runs, strict=True)
            if column.key in run.found
        }
        if found:
            cells[column.key] = cell_of({label: each.value for label, each in found.items()})
            floors = [each.real for each in found.values() if each.real is not None]
            if floors:
                real[column.key] = floors[-1]
    members = [run.member for run in runs]
    num_seeds = len({member.seed for member in members})
    identity = recipe_hash({"name": name, **settings})
    return Row(identity, name, settings, num_seeds, cells, real, members)


def _labels(runs: list[Finished]) -> list[str]:
    """Return the runs' seeds; of several runs of one seed, which others settings tell apart, also
    a number."""
    seen: Counter = Counter()
    labels = []
    for run in runs:
        seed = str(run.member.seed)
        seen[seed] += 1
        labels.append(seed if seen[seed] == 1 else f"{seed} ({seen[seed]})")
    return labels


def _names(groups: dict[tuple, list[Finished]], keys: Sequence[str]) -> dict[tuple, str]:
    """Name each row by its model and by what tells it from the other rows of that model."""
    by_model: dict[str, list[tuple]] = defaultdict(list)
    for values, runs in groups.items():
        by_model["/".join(dict.fromkeys(run.model for run in runs))].append(values)
    names = {}
    for model, rows in by_model.items():
        telling = [number for number in range(len(keys)) if len({row[number] for row in rows}) > 1]
        shown = _short([keys[number] for number in telling])
        for row in rows:
            parts = [f"{key}={row[n]}" for key, n in zip(shown, telling, strict=True) if row[n]]
            names[row] = " ".join([model, *_shortened(parts)])
    return _told_apart(names)


def _short(keys: list[str]) -> list[str]:
    """Return the last words of full keys, as many as tell them apart."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    return [key if last[key.rpartition(".")[2]] > 1 else key.rpartition(".")[2] for key in keys]


def _shortened(parts: list[str]) -> list[str]:
    kept, letters = [], 0
    for number, part in enumerate(parts):
        letters += len(part) + 1
        if kept and letters > LONGEST_NAME:
            return [*kept, f"and {len(parts) - number} more"]
        kept.append(part)
    return kept


def _told_apart(names: dict[tuple, str]) -> dict[tuple, str]:
    seen: Counter = Counter()
    told = {}
    for row, name in names.items():
        seen[name] += 1
        told[row] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return told


# Their order, and what can be said of it ---------------------------------------------------------


def in_order(
    rows: Sequence[Row], columns: Sequence[Column], keys: Sequence[str], sort: str | None
) -> list[Row]:
    """Return the rows in the order that was asked for, the best first; without a value, last.

    Args:
        rows: the rows.
        columns: all columns.
        keys: the settings that tell rows apart.
        sort: a metric's name, or a setting; None for the first of the columns.

    Raises:
        UserError: if there is neither.
    """
    if sort in keys:
        return sorted(rows, key=lambda row: _natural(row.settings[sort]))
    name = sort or next((each.name for each in columns), "")
    by = [column for column in columns if column.name == name]
    if not by and sort is not None:
        known = [*(column.name for column in columns), *keys]
        raise UserError(
            f"sort={sort}: is neither a metric of these runs nor a setting that differs"
            f"{nearest_key(sort, known)}"
        )
    ranks = [rank_of(column) for column in by]

    def place(row: Row) -> tuple:
        found = [rank(row) for rank in ranks]
        return *((value is None, value or 0.0) for value in found), row.name

    return sorted(rows, key=place)


def rank_of(column: Column) -> Callable[[Row], float | None]:
    """Return what is the smaller the better a row is in a column; None where it has no value."""

    def rank(row: Row) -> float | None:
        cell = row.cells.get(column.key)
        if cell is None or not math.isfinite(cell.mean):
            return None
        if column.better == "as real":
            return abs(cell.mean - row.real[column.key]) if column.key in row.real else None
        return -cell.mean if column.better == "higher" else cell.mean

    return rank


def _natural(text: str) -> tuple[int, Any]:
    try:
        return 0, float(text)
    except ValueError:
        return 1, text


def with_notes(rows: Sequence[Row], columns: Iterable[Column]) -> list[Row]:
    """Return the rows with what can be said of each against the best, one note per metric."""
    notes: dict[str, list[str]] = {row.id: [] for row in rows}
    for column in columns:
        rank = rank_of(column)
        measured = [row for row in rows if rank(row) is not None]
        if column.kind != "metric" or column.better not in ("lower", "higher"):
            continue
        if len(measured) < 2:
            continue
        best = min(measured, key=rank)
        of_best = best.cells[column.key]
        for row in measured:
            said = (
                "the best" if row is best else against(best.name, of_best, row.cells[column.key])
            )
            notes[row.id].append(f"{label_of(column)}: {said}")
    return [replace(row, notes=notes[row.id]) for row in rows]


def label_of(column: Column) -> str:
    """Return a column's name in words, with the split and the number of samples where it has them;
    `bound` of a likelihood that is one."""
    _, *parts = column.key.split("|")
    words = [part for part in parts if part in ("test", "validation", "bound", "exact", "raw",
             "best") or part.startswith("n=")]  # fmt: skip
    name = column.name.replace("_", " ")
    return f"{name} ({', '.join(words)})" if words else name
