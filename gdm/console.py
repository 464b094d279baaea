"""What a run says to its user: the log, the final table, and what to type next."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gdm import evaluation
from gdm.runs import Run

log = logging.getLogger(__name__)


def log_to_console() -> None:
    """Show what a run has to say, and of Lightning only its warnings."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    # what the trainer recommends for other loaders and for its own logging
    warnings.filterwarnings("ignore", module="pytorch_lightning")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write what is logged into a file too; if the disk is full, only to the console."""
    handler = logging.FileHandler(path, delay=True)  # opened at the first line
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.handleError = lambda record: None
    logging.getLogger().addHandler(handler)
    logging.getLogger("gdm").setLevel(logging.INFO)
    log.info("training in %s", path.parent)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):
            handler.close()


def report(run: Run, record: dict[str, Any]) -> None:
    """Print the final figures of a run, and what its user may type next."""
    table = Table()
    table.add_column(f"on {record['n']:,} {record['split']} images")
    table.add_column("value", justify="right")
    for name, value in evaluation.numbers(record).items():
        table.add_row(name, f"{value:,.4f}")
    Console().print(table)
    manifest = run.manifest()
    minutes = manifest["seconds"] / 60
    wish = manifest.get("minutes_wished")
    asked = f" of {wish:g} asked for" if wish else ""
    print(f"""\
{minutes:.1f} minutes{asked}; samples in {run.samples}{os.sep}final.png. Next:
  tensorboard --logdir {run.path}
  python scripts/sample.py run={run.path} num_samples=100
  python scripts/train.py resume={run.path} budget.images={2 * manifest["images_seen"]}""")
