"""An experiment framework for deep generative models.

Its rooms are imported when they are first asked for: `import gdm` loads no torch, and `gdm.runs`
is there all the same.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(
    package: str, path: Sequence[str], names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package whose modules, and what it offers
    of them, are imported when they are first asked for.

    Args:
        package: its `__name__`.
        path: its `__path__`.
        names: what it offers -> the module that this is in.
    """

    def offered() -> list[str]:
        return sorted({*names, *(module.name for module in pkgutil.iter_modules(path))})

    def get(name: str) -> Any:
        if name in names:
            return getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise  # the module is there, and misses something else
            raise AttributeError(
                f"{package} has no {name!r}; it has {', '.join(offered())}"
            ) from None

    return get, offered


__getattr__, __dir__ = lazily(__name__, __path__, {})
