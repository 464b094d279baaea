"""Where images come from: files that are verified before a byte of them is used."""

import logging
from abc import ABC, abstractmethod
from inspect import signature
from pathlib import Path
from typing import Any, Protocol
from urllib.error import URLError

from gdm.data.images import Images
from gdm.errors import UserError
from gdm.files import cache_folder, download, durable_replacement

log = logging.getLogger(__name__)

ATTEMPTS = 3  # how often a download that breaks is started, before the next address is tried


class Source(ABC):
    """A data set with a `train` and a `test` split, by the name of its option of `dataset=`.

    Attributes:
        name: the option.
        class_names: the classes' names.
        flip_keeps_class: whether a mirrored image is of the same class: a coat is, a digit not.
    """

    name: str
    class_names: tuple[str, ...]
    flip_keeps_class: bool = True

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Letters that change when a byte of the data does."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What a run writes down of where the images come from; by default nothing."""
        return {}

    @property
    def given(self) -> dict[str, Any]:
        """What the constructor was given, by argument, as far as it is kept under that name."""
        own = vars(self)
        return {name: own[name] for name in signature(type(self)).parameters if name in own}

    @abstractmethod
    def load(self, split: str) -> Images:
        """Read one split, `train` or `test`, and leave the other.

        Raises:
            UserError: if it cannot be had, or is damaged.
        """

    def load_at(self, split: str, resolution: int) -> Images:
        """Read one split, with images of so many pixels a side.

        Raises:
            UserError: as `load`, or if the images have a size of their own.
        """
        raise UserError(
            f"dataset.resolution={resolution}: the images of {self.name} have a size of their "
            "own; leave it out"
        )


class SizedSource(Source):
    """A data set whose images are made in the size that is asked for."""

    def load(self, split: str) -> Images:
        raise UserError(f"dataset.resolution=null: say in which size {self.name} is to be made")

    @abstractmethod
    def load_at(self, split: str, resolution: int) -> Images:
        """Read one split, with images of so many pixels a side."""


class SourceFile(Protocol):
    """A file of a data set, which knows what it must hold."""

    name: str

    def read(self, path: Path) -> Any:
        """Return what it holds, once it is verified.

        Raises:
            ValueError: saying what is wrong with the file.
        """


COLOUR = "dataset=emoji_mini (colour) or dataset=fashion_mnist_mini"  # of the bundled images


class FileSource(Source):
    """A data set of files that are looked for in folders, then downloaded.

    A file that is there but damaged is named and left alone: it may be the user's own.

    Args:
        folder: where the files are, or go; None for `$GDM_DATA/<name>`, by default
            `~/.cache/gdm/<name>`.
    """

    addresses: tuple[str, ...]  # each ends in a slash
    by_hand: str | None = None  # where to get files that no address has
    system_folder: Path | None = None  # where the system's package puts the files
    system_package: str | None = None
    bundled = "dataset=fashion_mnist_mini"  # images that come with the package

    def __init__(self, folder: str | None) -> None:
        self.folder = Path(folder).expanduser() if folder else cache_folder() / self.name

    def _folders(self) -> list[Path]:
        return [folder for folder in (self.folder, self.system_folder) if folder]

    def _path(self, file: SourceFile) -> Path:
        """Return where a file is, once it is verified."""
        self._read(file)
        paths = (folder / file.name for folder in self._folders())
        return next(path for path in paths if path.exists())

    def _read(self, file: SourceFile) -> Any:
        for folder in self._folders():
            path = folder / file.name
            if path.exists():
                try:
                    return file.read(path)
                except OSError as error:
                    raise UserError(f"{path} cannot be read ({error})") from error
                except ValueError as error:
                    raise UserError(
                        f"{path} is damaged: {error}. Replace it, or remove it to have it "
                        "looked for elsewhere and downloaded"
                    ) from error
        return self._download(file)

    def _download(self, file: SourceFile) -> Any:
        failures = []
        for address in self.addresses:
            url = address + file.name
            try:
                return self._fetch(file, url)
            except (OSError, ValueError) as error:
                failures.append(f"{url}: {error}")
        raise UserError(self._not_found(file, failures))

    def _fetch(self, file: SourceFile, url: str) -> Any:
        """Download a file, which gets its name once it is verified."""
        for attempt in range(1, ATTEMPTS + 1):
            log.info("downloading %s into %s", url, self.folder)
            try:
                with durable_replacement(self.folder / file.name) as temporary:
                    download(url, temporary)
                    return file.read(temporary)
            except (OSError, ValueError) as error:
                if isinstance(error, URLError) or attempt == ATTEMPTS:
                    raise
                log.warning("%s: %s; starting again", url, error)

    def _not_found(self, file: SourceFile, failures: list[str]) -> str:
        folders = " or ".join(map(str, self._folders()))
        ways_out = [
            "put the files into a folder of your own: dataset.source.folder=FOLDER",
            f"train on the bundled images: {self.bundled}",
        ]
        if self.by_hand:
            ways_out.insert(0, f"get it from {self.by_hand} and put it into {self.folder}")
        if self.system_package:
            ways_out.insert(0, f"install Debian's package: apt-get install {self.system_package}")
        tried = "no download succeeded:" if failures else "no address has it."
        lines = [
            f"{file.name} of {self.name} is not in {folders}, and {tried}",
            *(f"  {failure}" for failure in failures),
            "Ways out:",
            *(f"  {way}" for way in ways_out),
        ]
        return "\n".join(lines)
