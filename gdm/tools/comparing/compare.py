"""Runs, sweeps and globs of them -> one comparison, and the files that show it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gdm.errors import UserError
from gdm.files import named_folder, write_text
from gdm.recipes.ranges import Count, Positive
from gdm.runs import catalogue
from gdm.runs.run import Run
from gdm.runs.sweeps import Sweep
from gdm.tools.comparing import grouping, texts
from gdm.tools.comparing.collect import Finished, read, runs_of
from gdm.tools.comparing.columns import COSTS, MAIN
from gdm.tools.comparing.comparison import Column, Comparison, Row, Unfinished
from gdm.tools.comparing.statistics import TEST

AT_WORK = ("created", "running")
WITH_CURVES = ("loss", "elbo")  # besides the metrics of the table


@dataclass(frozen=True)
class CompareOptions:
    """The keys of scripts/compare.py.

    Args:
        runs: run directories, sweeps or other folders of runs, globs, endings of runs, or last;
            paths need no key, PATH... is runs=[PATH,...].
        outputs: the folder of all runs.
        metrics: names of metrics, as evaluate prints them; null for the main ones. Costs come
            along unless one of them is named.
        group_by: full keys that make a row, such as [model.latent_dim]; null for all that differ
            but the seed.
        sort: a metric or a setting by which rows are in order; null for the first metric, the
            best first.
        to: a folder for compare.html, .csv, .md and .tex; null for the sweep's, or one in
            outputs/comparisons.
        evaluate: true first evaluates, as scripts/evaluate.py does, the finished runs that lack a
            test evaluation of num_samples.
        num_samples: of such an evaluation.
        watch: true compares anew until no run is at work any more; --watch is the same.
        watch_seconds: from one comparison to the next.
    """

    runs: list[str]
    outputs: str
    metrics: list[str] | None
    group_by: list[str] | None
    sort: str | None
    to: str | None
    evaluate: bool
    num_samples: Count
    watch: bool
    watch_seconds: Positive


@dataclass(frozen=True)
class Compared:
    """What has been compared.

    Args:
        comparison: the columns that were asked for.
        whole: the same with all columns, for the CSV.
        is_at_work: whether a run is still being trained.
    """

    comparison: Comparison
    whole: Comparison
    is_at_work: bool


def compare(options: CompareOptions, command: str) -> Compared:
    """Compare the runs that a user names.

    Args:
        options: the keys of the script.
        command: what was typed.

    Raises:
        UserError: if there is no such run, metric or setting.
    """
    if not options.runs:
        raise UserError(
            "name runs, sweeps or globs, such as outputs/sweeps/families; outputs means all runs"
        )
    curves = {*(options.metrics or MAIN), *WITH_CURVES} - set(COSTS)
    read_runs = [read(run, curves) for run in runs_of(options.runs, Path(options.outputs))]
    unfinished = [each for each in read_runs if isinstance(each, Unfinished)]
    finished = [each for each in read_runs if isinstance(each, Finished)]
    runs, repeated = grouping.without_repetitions(finished)
    columns = grouping.columns_of(runs)
    shown = grouping.chosen(columns, options.metrics if runs else None)
    keys = grouping.settings_that_differ(runs, options.group_by if runs else None)
    rows = grouping.rows_of(runs, keys, columns)
    rows = grouping.in_order(rows, [*shown, *columns], keys, options.sort if runs else None)
    rows = grouping.with_notes(rows, shown)
    whole = Comparison(
        title=_title(options.runs),
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command,
        columns=columns,
        settings=keys,
        rows=rows,
        unfinished=unfinished,
        notes=_notes(runs, repeated, rows, shown, keys),
    )
    at_work = any(each.status in AT_WORK for each in unfinished) or _is_awaited(options.runs)
    return Compared(replace(whole, columns=shown), whole, at_work)


def _is_awaited(paths: Sequence[str]) -> bool:
    """Whether a sweep among the paths has jobs that nobody has begun yet."""
    sweeps = [Sweep(Path(path)) for path in paths if (Path(path) / "sweep.json").is_file()]
    with suppress(UserError):  # of a damaged file; the runs are compared all the same
        fates = [fate for sweep in sweeps for fate in sweep.fates(sweep.jobs()).values()]
        return any(fate.status in ("waiting", "running") for fate in fates)
    return False


def refuse_nothing_finished(comparison: Comparison) -> None:
    """Refuse a table without rows.

    Raises:
        UserError: saying how the runs stand.
    """
    if comparison.rows:
        return
    statuses = [each.status for each in comparison.unfinished]
    counted = ", ".join(f"{statuses.count(each)} {each}" for each in dict.fromkeys(statuses))
    first = comparison.unfinished[0]
    on = f"; go on with: {first.go_on}" if first.go_on else ""
    raise UserError(f"none of the runs is finished ({counted}); {first.path}: {first.why}{on}")


def lacking_evaluation(options: CompareOptions) -> list[Run]:
    """Return the finished runs without a test evaluation of as many samples as are asked for, or
    of none for a model that makes no samples."""
    lacking = []
    for run in runs_of(options.runs, Path(options.outputs)):
        found = read(run, ())
        if isinstance(found, Finished):
            asked = f"|n={options.num_samples}|"
            tested = [each for each in found.found if "|test|" in each and "|last|" in each]
            of_samples = [each for each in found.found if each.startswith("frechet_distance|")]
            if not any(asked in each for each in tested if each in of_samples or not of_samples):
                lacking.append(run)
    return lacking


# Files -------------------------------------------------------------------------------------------


def folder_of(options: CompareOptions) -> Path:
    """Return the folder of a comparison's files, made if need be.

    Raises:
        UserError: if nothing can be written there.
    """
    if options.to is not None:
        folder = Path(options.to)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"to={folder}: is a file; name a folder")
    else:
        folder = _own_folder(options)
    return named_folder(folder, folder)


def _own_folder(options: CompareOptions) -> Path:
    outputs = Path(options.outputs)
    if len(options.runs) == 1:
        for folder in (Path(options.runs[0]), outputs / options.runs[0]):
            is_run = (folder / ".hydra").exists()
            if folder.is_dir() and not is_run and folder.resolve() != outputs.resolve():
                return folder
    digest = catalogue.recipe_hash({"runs": options.runs})
    return outputs / "comparisons" / f"{texts.plain_name(_title(options.runs))}-{digest}"


def write(compared: Compared, folder: Path, refresh_seconds: int | None = None) -> list[Path]:
    """Write the page, the CSV, the Markdown and the LaTeX; return the files."""
    from gdm.tools.comparing.page import page

    comparison = compared.comparison
    contents = {
        "html": page(comparison, folder, refresh_seconds),
        "csv": texts.csv_text(compared.whole),
        "md": texts.markdown(comparison),
        "tex": texts.latex(comparison),
    }
    written = []
    for ending, text in contents.items():
        path = folder / f"compare.{ending}"
        try:
            write_text(path, text)
        except OSError as error:
            raise UserError(
                f"could not write {path} ({error}); to=FOLDER names another"
            ) from error
        written.append(path)
    return written


# Words -------------------------------------------------------------------------------------------


def _title(references: Sequence[str]) -> str:
    names = [Path(each.rstrip("/")).name or each for each in references]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"


def _notes(
    runs: Sequence[Finished],
    repeated: Sequence[Finished],
    rows: Sequence[Row],
    columns: Sequence[Column],
    keys: Sequence[str],
) -> list[str]:
    """Return what a reader must know of the whole table."""
    notes = [
        f"{each.member.path} is marked: {mark}" for each in runs for mark in each.member.marks
    ]
    notes += _of_protocols(columns)
    within = _averaged_over(runs, rows, keys)
    if within:
        notes.append(f"rows are means over {', '.join(within)} too, which differ within a row")
    if repeated:
        paths = ", ".join(each.member.path for each in repeated[:3])
        more = f" and {len(repeated) - 3} more" if len(repeated) > 3 else ""
        notes.append(
            f"left out, since a newer run has the same recipe, seed and data: {paths}{more}"
        )
    versions = sorted({run.version for run in runs if run.version})
    if len(versions) > 1:
        notes.append(
            f"the runs were made by different versions of the code: {', '.join(versions)}"
        )
    devices = sorted({run.device for run in runs if run.device})
    if len(devices) > 1:
        notes.append(f"minutes were measured on different devices: {', '.join(devices)}")
    if any(row.notes for row in rows):
        notes.append(TEST)
    return notes


def _of_protocols(columns: Sequence[Column]) -> list[str]:
    names = [column.name for column in columns]
    several = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return [
        f"{name} was measured in {names.count(name)} ways, which do not compare: one column each"
        for name in several
    ]


def _averaged_over(
    runs: Sequence[Finished], rows: Sequence[Row], keys: Sequence[str]
) -> list[str]:
    """Return the settings that differ within a row."""
    by_path = {run.member.path: run for run in runs}
    found: dict[str, None] = {}
    for key in grouping.settings_that_differ(runs, None):
        for row in rows if key not in keys else ():
            values = {by_path[each.path].settings.get(key, "") for each in row.members}
            if len(values) > 1:
                found[key] = None
    return list(found)
