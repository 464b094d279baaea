"""Train a model, repeat a run, or go on with one."""

import sys
import time
from typing import Any

from gdm.cli import model_groups
from gdm.cli.origin import Origin

STARTED = time.monotonic()


def train(recipe: dict[str, Any], origin: Origin) -> None:
    """Train what the recipe says, in a run directory of its own or in that of the earlier run."""
    from gdm.recipes import check

    check.check_quickly(recipe, origin.plugins)
    from gdm.cli import console
    from gdm.runs import catalogue
    from gdm.training import training
    from gdm.training.options import TrainOptions

    started = STARTED if origin.sweep is None else time.monotonic()
    console.log_to_console()
    model_groups.refuse_unused(recipe, origin)
    check.check(recipe, root=TrainOptions, trusted=origin.plugins)
    resumed = origin.run if origin.kind == "resume" else None
    if resumed is not None and training.is_complete(resumed, recipe):
        return
    job = training.Training(recipe, origin.plugins, started)
    if origin.kind == "rerun":
        origin.run.warn_of_other_bits(catalogue.environment())
    run = resumed
    try:
        job.settle_budget(resume=resumed is not None)
        run = run or catalogue.create(
            recipe, origin.overrides, origin.choices, origin.sweep, origin.job
        )
        record = job.run(run, resumed is not None, origin.overrides)
    except training.Interrupted as stop:
        if run is not None:
            console.report_interruption(run, origin.plugins)
        sys.exit(stop.exit_status)
    makes_images = job.model.makes_images
    missing = job.missing_classifier() if makes_images else None
    console.report(run, record, origin.plugins, makes_images, missing)
