"""Measure what the framework costs."""

import argparse
import logging
import signal
import sys
import warnings

PARTS = ("training", "unet", "gan", "sampling", "samplers", "overhead", "data", "memory")
DESCRIPTION = """Measure what the framework costs. Each part compares alternatives in alternating
rounds within one process and prints medians and ratios; absolute numbers depend on the machine and
on what else it does. Without a name, all parts are measured."""


def benchmark() -> None:
    """Run the parts that the command line names, or all; one that is asked to stop leaves nothing
    behind, and no traceback."""
    parts = chosen(sys.argv[1:])
    from gdm.cli import measurements  # torch, not for --help
    from gdm.training.signals import Interrupted

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        for part in map(measurements.PARTS.__getitem__, parts):
            print(f"{part.__name__}: {part.__doc__}", flush=True)
            part()
    except Interrupted as stop:  # within a run, which takes the signal itself
        sys.exit(stop.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)


def chosen(arguments: list[str]) -> list[str]:
    """Return the parts that the command line names, or all."""
    parser = argparse.ArgumentParser(description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    named = parser.parse_args(arguments).parts
    for name in named:
        if name not in PARTS:
            sys.exit(f"error: {name}: there is no such part; there are {', '.join(PARTS)}")
    return named or list(PARTS)
