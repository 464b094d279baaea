"""What the training tells of itself, to any number of loggers.

Each writes into a folder of its own in the run directory, on an axis of images seen.
"""

import importlib.util
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from torch import Tensor

from gdm.errors import UserError
from gdm.recipes.tree import PARTIAL, TARGET, flat, nodes

log = logging.getLogger(__name__)

VARIED = ("seed", "budget", "model", "dataset")  # the rest leaves the weights alone
# What the data settle, and what no column can show.
LEFT_OUT = (TARGET, PARTIAL, "channels", "resolution", "native_resolution", "num_classes")
LARGEST = 2**63  # of a whole number there


class RunLogger(Logger):
    """A logger of one run; one that fails says so once, and training goes on without it.

    The training calls what is named `log_`, and `close`; a class below writes, and opens what it
    writes into at its first call, where a failure is caught too.

    Args:
        folder: where it writes.
        purge_step: what was written from this number of images on is void, since a resumed run
            writes it again; None for a new run.
    """

    name = ""  # of its option in configs/logger/, and of its folder in the run directory
    title = ""  # what the log calls it
    libraries: tuple[str, ...] = ()  # what the extra of its name installs
    version = ""

    def __init__(self, folder: str | Path, purge_step: int | None) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.purge_step = purge_step
        self._failed = False

    def log_settings(self, recipe: dict[str, Any]) -> None:
        """Take what a user varies in a recipe, before the first step."""
        self._write(self.write_settings, varied(recipe))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take points of curves, at a number of images seen."""
        self._write(self.write_metrics, metrics, step)

    def log_picture(self, name: str, picture: Tensor, step: int) -> None:
        """Take a picture of 8-bit values, (C, H, W), at a number of images seen."""
        self._write(self.write_picture, name, picture, step)

    def log_result(self, recipe: dict[str, Any], metrics: Iterable[str]) -> None:
        """Take the names of the curves whose last values stand beside what a user varies."""
        self._write(self.write_result, varied(recipe), metrics)

    def finalize(self, status: str) -> None:
        """Have on the disk what was written; Lightning says so at the end of the steps, and the
        last pictures are still to come."""
        self._write(self.flush)

    def close(self, succeeded: bool) -> None:
        """Write nothing more."""
        self._write(self.write_end, succeeded)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Leave out those that Lightning knows of: the recipe has them all."""

    @abstractmethod
    def write_settings(self, settings: dict[str, Any]) -> None: ...

    @abstractmethod
    def write_metrics(self, metrics: dict[str, float], step: int | None) -> None: ...

    @abstractmethod
    def write_picture(self, name: str, picture: Tensor, step: int) -> None: ...

    def write_result(self, settings: dict[str, Any], metrics: Iterable[str]) -> None:
        """Nothing, where the settings stand beside the curves from the start."""

    def flush(self) -> None:
        """Nothing, where nothing waits to be written."""

    def write_end(self, succeeded: bool) -> None:
        """Nothing, where nothing is open."""

    def _write(self, write: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            write(*arguments)
        except Exception as error:  # whatever a library raises
            self._failed = True
            reason = " ".join(str(error).split()) or type(error).__name__
            log.warning("%s stops here (%s); training goes on", self.title, reason)


Maker = Callable[..., RunLogger]


def refuse_unusable(makers: Mapping[str, Maker | None]) -> None:
    """Refuse loggers that cannot work, before anything long has started.

    Args:
        makers: what the recipe names, by its names.

    Raises:
        UserError: for a library that is not installed, and for a name that is another's.
    """
    for key, make in _chosen(makers).items():
        kind = make.func
        if kind.name != key:
            raise UserError(
                f"logger.{key}: is a {kind.__name__}; its name must be logger.{kind.name}"
            )
        missing = [name for name in kind.libraries if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"logger={key} needs {' and '.join(missing)}: pip install -e '.[{key}]', or leave "
                "it: logger=tensorboard"
            )


@contextmanager
def opened(
    makers: Mapping[str, Maker | None], folder: Path, purge_step: int | None, recipe: dict
) -> Iterator[list[RunLogger]]:
    """Lend the loggers of a run, which know its recipe, and close them however it ends.

    Args:
        makers: what the recipe names, by its names.
        folder: the run directory.
        purge_step: as `RunLogger` takes it.
        recipe: the whole recipe.
    """
    loggers = [
        make(folder=str(folder / name), purge_step=purge_step)
        for name, make in _chosen(makers).items()
    ]
    succeeded = False
    try:
        for logger in loggers:
            logger.log_settings(recipe)
        yield loggers
        succeeded = True
    finally:
        for logger in loggers:
            logger.close(succeeded)


def _chosen(makers: Mapping[str, Maker | None]) -> dict[str, partial]:
    return {name: make for name, make in makers.items() if make is not None}


def varied(recipe: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """Return what tells runs apart by its full keys: scalars of the model, its data and length,
    and what the model is made of by its classes' names."""
    kept = {key: recipe[key] for key in VARIED if key in recipe}
    classes = {key: node[TARGET].rpartition(".")[2] for key, node in nodes(kept)}
    scalars = {
        key: str(value) if isinstance(value, int) and abs(value) >= LARGEST else value
        for key, value in flat(kept).items()
        if key.rpartition(".")[2] not in LEFT_OUT and value != "None" and "/" not in str(value)
    }
    return {key: classes[key] for key in classes if key not in ("budget", "dataset")} | scalars
