"""An experiment framework for deep generative models.

Its rooms are imported when they are first asked for: `import gdm` loads no torch, and `gdm.runs`
is there all the same.
"""

import importlib
import pkgutil


def __getattr__(name: str):
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise  # the room is there, and misses something else
        raise AttributeError(f"gdm has no room {name!r}") from None


def __dir__() -> list[str]:
    return sorted([*globals(), *(room.name for room in pkgutil.iter_modules(__path__))])
