"""An experiment framework for deep generative models.

Its rooms are imported when they are first asked for: `import gdm` loads no torch, and `gdm.runs`
is there all the same.
"""

import importlib


def __getattr__(name: str):
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise  # the room is there, and misses something else
        raise AttributeError(f"gdm has no room {name!r}") from None
