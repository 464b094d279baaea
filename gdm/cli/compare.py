"""Compare runs and sweeps in one table and one page."""

import logging
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdm.cli.compose import CONFIGS, compose_config
from gdm.cli.origin import Origin
from gdm.errors import UserError
from gdm.recipes.terminal import command, say, say_files

if TYPE_CHECKING:
    from gdm.runs.run import Run
    from gdm.tools.comparing.compare import Compared
    from gdm.tools.comparing.comparison import Comparison

log = logging.getLogger(__name__)


def compare(recipe: dict[str, Any], origin: Origin) -> None:
    """Compare the runs that are named, once or until no run is at work any more."""
    from gdm.recipes.options import options_from
    from gdm.tools.comparing.compare import (
        CompareOptions,
        compare,
        folder_of,
        lacking_evaluation,
        refuse_nothing_finished,
        write,
    )

    options = options_from(CompareOptions, recipe, origin.plugins)
    typed = command("compare", *(shlex.quote(text) for text in origin.overrides))
    compared = compare(options, typed)
    if not options.watch:
        refuse_nothing_finished(compared.comparison)
    folder = folder_of(options)
    if options.evaluate:
        evaluate(lacking_evaluation(options), options.num_samples, origin.plugins)
        compared = compare(options, typed)
    if not options.watch:
        show(compared.comparison)
        say_files(*write(compared, folder))
        return
    try:
        _watch(lambda: compare(options, typed), folder, options.watch_seconds)
    except KeyboardInterrupt:
        say("stopped watching; the files are as they were last written")


def _watch(compared_now: Callable[[], "Compared"], folder: Path, seconds: float) -> None:
    """Compare again and again, until no run is at work and nothing has changed for a while."""
    from gdm.tools.comparing.compare import write

    before = None
    while True:
        compared = compared_now()
        now = (compared.comparison.rows, compared.comparison.unfinished)
        if now != before:
            show(compared.comparison)
        is_over = not compared.is_at_work and now == before
        files = write(compared, folder, None if is_over else round(seconds))
        if is_over:  # between two runs of a sweep none is at work for a moment
            say_files(*files)
            return
        say(f"{time.strftime('%H:%M:%S')}: {len(compared.comparison.unfinished)} runs are not "
            f"finished; next look in {seconds:g} s, Ctrl-C stops")  # fmt: skip
        before = now
        time.sleep(seconds)


def show(comparison: "Comparison") -> None:
    """Print a comparison as wide as the terminal is."""
    from rich.console import Console

    from gdm.tools.comparing.texts import terminal_lines

    say(*terminal_lines(comparison, Console().width))


def evaluate(runs: Iterable["Run"], num_samples: int, plugins: Iterable[str]) -> None:
    """Evaluate runs by the protocol of scripts/evaluate.py; one that cannot be is said and passed
    over."""
    from gdm.cli import console
    from gdm.recipes.options import options_from
    from gdm.tools.evaluate import EvaluateOptions, evaluate_run
    from gdm.tools.open_run import extractor_of, opened_run

    console.log_to_console()
    asked = compose_config(CONFIGS, "evaluate", [f"num_samples={num_samples}"])
    options, plugins = options_from(EvaluateOptions, asked, plugins), list(plugins)
    runs = list(runs)
    for number, run in enumerate(runs, 1):
        log.info("%d of %d: evaluating %s", number, len(runs), run)
        try:
            run.refuse_links()
            extractor = extractor_of(options, plugins)
            opened = opened_run(run, run.recipe(), extractor=extractor, plugins=plugins)
            evaluate_run(opened, options)
        except UserError as error:
            log.error("%s is not evaluated: %s", run, error)
