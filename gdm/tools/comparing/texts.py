"""A comparison as text: a table that fits a terminal, CSV, Markdown and LaTeX."""

import csv
import io
import re
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from gdm.recipes.terminal import printable
from gdm.tools.comparing.comparison import Cell, Column, Comparison, Row
from gdm.tools.comparing.grouping import label_of

REAL = "real images"
CONFIGURATION, SEEDS = "configuration", "seeds"
MIN_NAME = 18  # letters of a row's name in a line
MAX_LINES = 10  # of a kind below the table in a terminal
MAX_SETTINGS = (
    6  # columns of settings in a table; more are left to the names, the CSV and the page
)
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "±": r"$\pm$",
}  # fmt: skip
OTHER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain_name(text: str) -> str:
    """Return a name for a folder that has no surprises."""
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-.")[:60] or "runs"


# Cells -------------------------------------------------------------------------------------------


def heading(column: Column) -> str:
    """Return a column's heading: what it is, how it was measured in short, and its unit."""
    unit = {"min": " (min)", "MiB": " (MiB)"}.get(column.unit, "")
    return f"{label_of(column)}{unit}"


def cell_text(column: Column, cell: Cell | None, num_seeds: int) -> str:
    """Return mean and standard deviation, and the number of seeds where that is not the row's."""
    if cell is None:
        return ""
    mean = _number(cell.mean, column.decimals)
    std = "" if not cell.std else f" ± {_number(cell.std, column.decimals)}"
    return f"{mean}{std}" + (f" (n={cell.n})" if cell.n != num_seeds else "")


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _real_cells(comparison: Comparison, columns: Sequence[Column]) -> list[str] | None:
    """Return what held-out real images score in each column, the floor; None if nothing is known
    of them."""
    floors = {key: value for row in comparison.rows for key, value in row.real.items()}
    if not any(column.key in floors for column in columns):
        return None
    return [
        _number(floors[column.key], column.decimals) if column.key in floors else ""
        for column in columns
    ]


def _table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the whole table, the real images last."""
    columns = comparison.columns
    keys = comparison.settings if len(comparison.settings) <= MAX_SETTINGS else []
    headings = [CONFIGURATION, *keys, SEEDS, *map(heading, columns)]
    rows = [
        [
            row.name + _mark(row),
            *(row.settings[key] for key in keys),
            str(row.num_seeds),
            *(cell_text(column, row.cells.get(column.key), len(row.members))
              for column in columns),
        ]
        for row in comparison.rows
    ]  # fmt: skip
    real = _real_cells(comparison, columns)
    if real:
        rows.append([REAL, *("" for _ in keys), "", *real])
    return headings, rows


def _mark(row: Row) -> str:
    return " *" if any(member.marks for member in row.members) else ""


def _remarks(comparison: Comparison) -> list[str]:
    """Return what stands below a table: how each column was measured, and the notes."""
    spread = "mean ± standard deviation over seeds"
    marked = "; * marks a row with a run that is marked below"
    has_marks = any(_mark(row) for row in comparison.rows)
    return [
        spread + (marked if has_marks else ""),
        *(f"{label_of(column)}: {column.how}" for column in comparison.columns),
        *(f"{row.name}: {note}" for row in comparison.rows for note in row.notes),
        *comparison.notes,
    ]


# Terminal ----------------------------------------------------------------------------------------


def terminal_lines(comparison: Comparison, width: int) -> list[str]:
    """Return what is printed: a table of as many columns as the width holds, what is left out of
    it, the notes, and the runs that are in no row. Only what is to be typed may be wider."""
    said = []
    lines: list[str] = []
    if comparison.rows:
        kept = _fitting(comparison, width)
        lines += _rendered(_terminal_table(comparison, kept, width), width)
        left_out = [heading(each) for each in comparison.columns if each not in kept]
        if left_out:
            said.append(f"left out for want of width: {'; '.join(left_out)}")
        if any(_mark(row) for row in comparison.rows):
            said.append("* a run of this row is marked, see below")
        said += [f"{heading(each)}: {each.how}" for each in kept if each.kind == "metric"]
        said += _first(_of_best(comparison, kept), "rows") + _first(comparison.notes, "notes")
    if comparison.unfinished:
        said.append(f"in no row: {len(comparison.unfinished)} that are not finished")
    lines += [part for text in said for part in _wrapped(text, width)]
    for each in comparison.unfinished[:MAX_LINES]:
        why = f"{each.path}: {each.status} at {each.images_seen:,} images: {each.why}"
        lines += [f"  {part}" for part in _wrapped(why, width - 2)]
        lines += [f"    {each.go_on}"] if each.go_on else []
    lines += _and_more(len(comparison.unfinished), "runs")
    return [printable(line) for line in lines]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, subsequent_indent="  ")


def _first(lines: Sequence[str], what: str) -> list[str]:
    return [*lines[:MAX_LINES], *_and_more(len(lines), what)]


def _and_more(count: int, what: str) -> list[str]:
    more = count - MAX_LINES
    return [f"and {more} more {what}, all of which are in compare.md"] if more > 0 else []


def _of_best(comparison: Comparison, columns: Sequence[Column]) -> list[str]:
    """Return the notes on the first of the metrics, one per row."""
    first = next((each for each in columns if each.kind == "metric"), None)
    label = f"{label_of(first)}: " if first is not None else None
    return [
        f"{row.name}: {note}"
        for row in comparison.rows
        for note in row.notes
        if label is not None and note.startswith(label)
    ]


def _fitting(comparison: Comparison, width: int) -> list[Column]:
    """Return the columns that fit, in their order: the first of each metric, the costs, and then
    what was also measured in another way."""
    names: set[str] = set()
    first, others = [], []
    for column in comparison.columns:
        (others if column.name in names else first).append(column)
        names.add(column.name)
    room = width - _taken(MIN_NAME) - _taken(len(SEEDS))
    kept = []
    for column in (*first, *others):
        needed = _taken(_width_of(comparison, column))
        if needed <= room:
            room -= needed
            kept.append(column)
    return [column for column in comparison.columns if column in kept]


def _taken(letters: int) -> int:
    return letters + 3  # a space on either side, and the line


def _width_of(comparison: Comparison, column: Column) -> int:
    """Return how many letters a column takes: its widest value, or word of its heading."""
    cells = (
        cell_text(column, row.cells.get(column.key), len(row.members)) for row in comparison.rows
    )
    real = _real_cells(comparison, [column]) or []
    return max(map(len, [*cells, *real, *heading(column).split()]))


def _terminal_table(comparison: Comparison, columns: Sequence[Column], width: int) -> Table:
    widths = [_width_of(comparison, column) for column in columns]
    room = width - 1 - _taken(len(SEEDS)) - sum(map(_taken, widths)) - 3
    longest = max(len(row.name + _mark(row)) for row in comparison.rows)
    table = Table(title=printable(comparison.title), title_justify="left")
    of_names = max(MIN_NAME - 1, min(room, max(longest, len(CONFIGURATION))))
    table.add_column(CONFIGURATION, overflow="fold", width=of_names)
    table.add_column(SEEDS, justify="right", no_wrap=True, width=len(SEEDS))
    for column, letters in zip(columns, widths, strict=True):
        table.add_column(heading(column), justify="right", width=letters)
    for row in comparison.rows:
        cells = [cell_text(each, row.cells.get(each.key), len(row.members)) for each in columns]
        unbroken = [cell.replace(" ", "\u00a0") for cell in cells]
        table.add_row(printable(row.name + _mark(row)), str(row.num_seeds), *unbroken)
    real = _real_cells(comparison, columns)
    if real:
        table.add_row(REAL, "", *real)
    return table


def _rendered(table: Table, width: int) -> list[str]:
    file = io.StringIO()
    plain = {"markup": False, "emoji": False, "highlight": False, "color_system": None}
    Console(width=width, file=file, **plain).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


# Files -------------------------------------------------------------------------------------------


def csv_text(comparison: Comparison) -> str:
    """Return all of a comparison as CSV: one line per configuration, column and seed.

    `n`, `mean` and `std` are repeated in each line of a configuration and column.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    keys = comparison.settings
    facts = ("row", CONFIGURATION, "metric", "unit", "better", "how", "key")
    writer.writerow([*facts, "seed", "value", "n", "mean", "std", REAL, *keys])
    for row in comparison.rows:
        settings = [_inert(row.settings[key]) for key in keys]
        for column in comparison.columns:
            cell = row.cells.get(column.key)
            if cell is None:
                continue
            said = [row.id, row.name, column.name, column.unit, column.better, column.how,
                    column.key]  # fmt: skip
            spread = "" if cell.std is None else repr(cell.std)
            floor = repr(row.real[column.key]) if column.key in row.real else ""
            for seed, value in cell.values.items():
                numbers = [seed, repr(value), cell.n, repr(cell.mean), spread, floor]
                writer.writerow([*map(_inert, said), *numbers, *settings])
    return file.getvalue()


def _inert(text: str) -> str:
    """Return text that a spreadsheet takes for no formula."""
    text = OTHER.sub(" ", text)
    is_number = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not is_number else text


def markdown(comparison: Comparison) -> str:
    """Return a comparison as a table in Markdown, with what is to be known of it."""
    headings, rows = _table(comparison)
    num_words = headings.index(SEEDS)
    rules = ["---" if number < num_words else "---:" for number in range(len(headings))]
    table = [f"| {' | '.join(map(_markdown_text, cells))} |" for cells in (headings, *rows)]
    table.insert(1, f"| {' | '.join(rules)} |")
    lines = [f"# {_markdown_text(comparison.title)}", "", *table, ""]
    lines += [f"* {_markdown_text(remark)}" for remark in _remarks(comparison)]
    if comparison.unfinished:
        lines += ["", "In no row:", ""]
    for each in comparison.unfinished:
        why = f"{each.path}: {each.status} at {each.images_seen:,} images: {each.why}"
        on = f"; go on with `{OTHER.sub(' ', each.go_on)}`" if each.go_on else ""
        lines.append(f"* {_markdown_text(why)}{on}")
    return "\n".join([*lines, ""])


def _markdown_text(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", OTHER.sub(" ", text))
    return " ".join(text.split())


def latex(comparison: Comparison) -> str:
    """Return a comparison as a table in LaTeX, for the package booktabs."""
    headings, rows = _table(comparison)
    num_words = headings.index(SEEDS)
    kinds = "l" * num_words + "r" * (len(headings) - num_words)
    has_real = bool(rows) and rows[-1][0] == REAL
    lines = [
        r"% \usepackage{booktabs}",
        *(f"% {OTHER.sub(' ', remark)}" for remark in _remarks(comparison)),
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        _latex_row(headings),
        r"\midrule",
    ]
    for number, row in enumerate(rows):
        if has_real and number == len(rows) - 1 and number:
            lines.append(r"\midrule")
        lines.append(_latex_row(row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex_text, cells)) + r" \\"


def _latex_text(text: str) -> str:
    text = " ".join(OTHER.sub(" ", text).split())
    return "".join(LATEX.get(letter, letter) for letter in text)
