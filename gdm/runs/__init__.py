"""Run directories: `gdm.runs.load("last")` opens a trained model.

Each name is imported when it is first asked for.
"""

import importlib

OFFERED = {  # name -> its module
    "Run": "run",
    "create": "catalogue",
    "find": "catalogue",
    "listed": "catalogue",
    "load": "catalogue",
}


def __getattr__(name: str):
    if name in OFFERED:
        return getattr(importlib.import_module(f"{__name__}.{OFFERED[name]}"), name)
    if name in ("catalogue", "checkpoints", "reading", "run"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"gdm.runs has no {name!r}; it has {', '.join(OFFERED)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *OFFERED])
