"""What a run says, kept in its directory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gdm.recipes.terminal import printable

log = logging.getLogger(__name__)


class Printable(logging.Formatter):
    """A line of the log, whatever the names in it hold."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write what is logged into a file too; if the disk is full, only to the console."""
    handler = logging.FileHandler(path, delay=True)  # opened at the first line
    handler.setFormatter(Printable("%(asctime)s %(levelname)s %(message)s"))
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
