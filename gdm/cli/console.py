"""What a run says to its user: the log, the final table, and what to type next."""

import logging
import shlex
import threading
import warnings
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gdm.evaluation import metrics
from gdm.evaluation.classifier import NoClassifier
from gdm.recipes.terminal import command, printable, say
from gdm.runs.run import Run
from gdm.runs.sweeps import Job, Sweep
from gdm.tools import quality_cost
from gdm.training.log import Printable

log = logging.getLogger(__name__)


class PlainConsole(Console):
    """Shows text that steers nothing, whatever the names in it hold."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def log_to_console(has_neighbours: bool = False) -> None:
    """Show what a run has to say, and of Lightning only its warnings.

    Args:
        has_neighbours: other runs write there too, so that each says only what matters to all.
    """
    logging.basicConfig(level=logging.INFO, force=True)
    logging.getLogger().handlers[0].setFormatter(Printable("%(message)s"))
    if has_neighbours:
        logging.getLogger().handlers[0].addFilter(_is_of_sweep)
    for library in ("pytorch_lightning", "hydra_plugins"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # what the trainer recommends for other loaders and for its own logging
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    threading.excepthook = _say_of_thread


def _is_of_sweep(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or record.name in (__name__, "gdm.training.jobs")


def _say_of_thread(arguments: threading.ExceptHookArgs) -> None:
    """Leave a full disk, under a thread that writes curves, to whoever waits for the thread."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def report(
    run: Run,
    record: dict[str, Any],
    plugins: Sequence[str] = (),
    makes_images: bool = True,
    missing: NoClassifier | None = None,
) -> None:
    """Print the final metrics of a run, and what its user may type next.

    Args:
        run, record: the run, and its last record.
        plugins: packages that its recipe may name besides gdm.
        makes_images: whether its model does.
        missing: why no classifier can evaluate them; None where one can.
    """
    title = f"on {record['num_images']:,} {record['split']} images"
    if metrics.numbers(record):  # a GAN has none where no samples were evaluated
        _show(_metrics_table(title, record))
    manifest = run.manifest()
    minutes = manifest["seconds"] / 60
    wish = manifest.get("minutes_wished")
    asked = f" of {wish:g} asked for" if wish else ""
    final = run.samples / "final.png"
    say(f"{minutes:.1f} minutes{asked}; {final if final.exists() else run.path}. Next:")
    for line in _to_see_curves(run):
        say(f"  {line}")
    if makes_images:
        say(f"  {run.command('sample', plugins, 'num_samples=100')}")
    if missing is None:
        say(f"  {run.command('evaluate', plugins)}")
    elif missing.command is not None:  # which makes the next one work
        say(f"  {missing.command}", f"  {run.command('evaluate', plugins)}")
    elif find_spec("torch_fidelity"):
        say(f"  {run.command('evaluate', plugins, 'extractor=inception')}")
    longer = f"budget.images={2 * manifest['images_seen']}"
    say(f"  {run.command('train', plugins, longer)}")


def say_progress(sweep: Sweep) -> None:
    """Say how far a sweep is, in one line of the log."""
    log.info("%s", sweep.progress())


def report_sweep(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Print what became of the jobs of a sweep, one line each, and what its user may type next."""
    say(sweep.progress())
    fates = sweep.fates(jobs)
    width = max(len(fate.status) for fate in fates.values())
    for job, fate in fates.items():
        cost = f"{fate.seconds / 60:7.1f} min {fate.images_seen:>12,} images"
        said = f": {fate.error}" if fate.error else ""
        say(f"  {fate.status:<{width}} {cost}  {job.name}{said}")
    if any(fate.status == "finished" for fate in fates.values()):
        say(f"To compare them: {command('compare', shlex.quote(str(sweep)))}")


def _to_see_curves(run: Run) -> Iterable[str]:
    """Yield what to type to see what each logger has written."""
    if run.tensorboard.exists():
        yield f"tensorboard --logdir {shlex.quote(str(run.path))}"
    if any(run.wandb.glob("offline-run-*")):
        yield f"wandb sync {shlex.quote(str(run.wandb))}/offline-run-*"
    if (run.mlflow / "mlflow.db").exists():
        store = f"sqlite:///{run.mlflow.resolve() / 'mlflow.db'}"
        yield f"mlflow ui --backend-store-uri {shlex.quote(store)}"


def report_evaluation(record: dict[str, Any], class_names: Sequence[str]) -> None:
    """Print the metrics of an evaluation beside those of as many real images."""
    real = record.get("real", {})
    table = _metrics_table(_title(record), record)
    for number, fraction in enumerate(record.get("class_histogram", [])):
        of_real = f"{real['class_histogram'][number]:.3f}"
        table.add_row(
            f"fraction of {class_names[number]}", f"{fraction:.3f}", of_real, "", "as real"
        )
    _show(table)


def _metrics_table(title: str, record: dict[str, Any]) -> Table:
    """Return the metrics of a record, one row each, with those of real images where there are any,
    their units, and which way is better."""
    real = record.get("real", {})
    table = Table(title=title, title_justify="left")
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    if real:
        table.add_column(f"{real['n']:,} real images", justify="right")
    table.add_column("unit")
    table.add_column("better")
    for name, value in metrics.numbers(record).items():
        cells = [metrics.shown(name, value)]
        cells += [metrics.shown(name, real[name]) if name in real else ""] if real else []
        table.add_row(name, *cells, metrics.unit(name, record), metrics.better(name))
    return table


def report_quality_cost(record: dict[str, Any]) -> None:
    """Print what samples are worth and what they cost, one row per point."""
    table = Table(title=quality_cost.title(record), title_justify="left")
    for name in quality_cost.COLUMNS:
        table.add_column(name, justify="left" if name in quality_cost.WORDS else "right")
    for row in quality_cost.rows(record):
        table.add_row(*row)
    _show(table)


def report_found(record: dict[str, Any]) -> None:
    """Print what a tool of the latent space has found: its single numbers, tables and remark.

    A group of groups of numbers is a table with one column per group, a list of groups one with
    one row per group.
    """
    on = f", {record['num_images']:,} {record['split']} images" if "num_images" in record else ""
    say(f"{record['tool']} of {record['name']}, {record['dataset']}{on}")
    numbers = {name: value for name, value in record.items() if isinstance(value, float)}
    if numbers:
        _print_table([{"": _in_words(name), "value": numbers[name]} for name in numbers])
    for name, value in record.items():
        if _is_table(value):
            say(_in_words(name))
            _print_table(_transposed(value) if isinstance(value, dict) else map(_worded, value))
    if "remark" in record:
        say(record["remark"])


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table()
    for column in columns:
        justify = "left" if isinstance(rows[0].get(column), str) else "right"
        table.add_column(column, justify=justify, no_wrap=column == columns[0])
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    _show(table)


def _show(table: Table) -> None:
    PlainConsole(markup=False, emoji=False).print(table)  # brackets in names are no markup


def _is_table(value: Any) -> bool:
    groups = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return False
    return any(isinstance(each, float) for group in groups for each in group.values())


def _transposed(groups: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn a group of groups, the later columns, into rows; these keep their names."""
    names = dict.fromkeys(name for group in groups.values() for name in group)
    return [
        {"": _in_words(name)} | {group: groups[group].get(name) for group in groups}
        for name in names
    ]


def _worded(group: dict[str, Any]) -> dict[str, Any]:
    return {_in_words(name): value for name, value in group.items()}


def _in_words(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.1f}"


def _title(record: dict[str, Any]) -> str:
    if "n" not in record:
        return f"on {record['num_images']:,} {record['split']} images"
    return (
        f"{record['n']:,} samples, {record['num_reference']:,} {record['split']} images,\n"
        f"{record['extractor']} {record['extractor_checksum']}{_trust(record)}"
    )


def _trust(record: dict[str, Any]) -> str:
    """Say how good the classifier is that evaluated the samples, where it knows their classes."""
    classifier = record.get("classifier")
    if classifier is None:
        return ""
    right, split = classifier["accuracy"], classifier["split"]
    return (
        f",\na classifier of {classifier['dataset']}, right on {right:.1%} of the {split} images"
    )


def report_interruption(run: Run, plugins: Sequence[str] = ()) -> None:
    """Say how far a run that was asked to stop is saved, and how it goes on."""
    saved = "saved" if run.checkpoints.exists() else "stopped before anything was to be saved"
    log.info("%s; go on with: %s", saved, run.command("train", plugins))
