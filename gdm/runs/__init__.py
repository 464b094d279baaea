"""Run directories: `gdm.runs.load("last")` opens a trained model.

Each name is imported when it is first asked for.
"""

import gdm

OFFERED = {  # name -> its module
    "Run": "run",
    "create": "catalogue",
    "find": "catalogue",
    "listed": "catalogue",
    "load": "catalogue",
}
__getattr__, __dir__ = gdm.lazily(__name__, __path__, OFFERED)
