"""What a comparison of runs holds; `dataclasses.asdict` makes plain JSON of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """One quantity, measured in one way.

    Args:
        key: unique among the columns, such as `frechet_distance|test|10000|classifier-1a2b3c`.
        name: of the quantity, such as `frechet_distance` or `minutes`.
        unit: of its values; empty for a number without.
        better: `lower`, `higher`, `as real`, or empty where neither is better.
        decimals: in a table.
        kind: `metric` or `cost`.
        how: one sentence on how it was measured: split, numbers of images, extractor, weights.
    """

    key: str
    name: str
    unit: str
    better: str
    decimals: int
    kind: str
    how: str


@dataclass(frozen=True)
class Cell:
    """A column's values of one configuration.

    Args:
        mean: over the seeds.
        std: over the seeds, of the sample; None for one seed.
        n: of seeds.
        values: seed -> value.
    """

    mean: float
    std: float | None
    n: int
    values: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """A metric of one run while it was trained.

    Args:
        metric: its name, such as `frechet_distance` or `loss`.
        how: as a column's key; only curves of one `how` share axes.
        images: seen at each point.
        minutes: of training until each point; None where that was not recorded.
        values: of the metric.
    """

    metric: str
    how: str
    images: list[int]
    minutes: list[float | None]
    values: list[float]


@dataclass(frozen=True)
class Member:
    """One finished run of a configuration.

    Args:
        path: of its directory, as the user would type it.
        seed: of its recipe.
        status: as its manifest says.
        images_seen: in training.
        minutes: of training; None where that was not recorded.
        marks: what makes its numbers doubtful, such as `recipe edited since it was trained`.
        picture: path of its final samples; None where it has none.
        curves: of its validations.
    """

    path: str
    seed: int
    status: str
    images_seen: int
    minutes: float | None
    marks: list[str]
    picture: str | None
    curves: list[Curve]


@dataclass(frozen=True)
class Row:
    """One configuration, over its seeds.

    Args:
        id: short and unique.
        name: the model and what differs.
        settings: full key -> value as text, of the comparison's `settings`.
        num_seeds: number of different seeds.
        cells: column key -> its values.
        real: column key -> what held-out real images score, the floor.
        members: the runs.
        notes: what can be said of this row against the best, one per main metric.
    """

    id: str
    name: str
    settings: dict[str, str]
    num_seeds: int
    cells: dict[str, Cell]
    real: dict[str, float]
    members: list[Member]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Unfinished:
    """A run that has no place in the table.

    Args:
        path: of its directory.
        status: as its manifest says.
        images_seen: so far.
        why: one line.
        go_on: the command to type; empty where there is none.
    """

    path: str
    status: str
    images_seen: int
    why: str
    go_on: str


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
        title: the sweep's name, or what was asked for.
        made: when, ISO 8601.
        command: what was typed.
        columns: of the table, in its order.
        settings: the full keys that differ among the rows, without the seed.
        rows: in the order that was asked for.
        unfinished: the runs that are in no row.
        notes: what a reader must know: several protocols, the test of significance, marked runs.
    """

    title: str
    made: str
    command: str
    columns: list[Column]
    settings: list[str]
    rows: list[Row]
    unfinished: list[Unfinished]
    notes: list[str]
