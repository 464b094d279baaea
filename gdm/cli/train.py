"""Train a model, repeat a run, or go on with one."""

import sys
import time
from pathlib import Path
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

    console.log_to_console(origin.has_neighbours)
    model_groups.refuse_unused(recipe, origin)
    check.check(recipe, root=TrainOptions, trusted=origin.plugins)
    if origin.sweep is not None:
        _work_on_sweep(recipe, origin)
        return
    resumed = origin.run if origin.kind == "resume" else None
    if resumed is not None and training.is_complete(resumed, recipe):
        return
    job = training.Training(recipe, origin.plugins, STARTED)
    if origin.kind == "rerun":
        origin.run.warn_of_other_bits(catalogue.environment())
    run = resumed
    try:
        job.settle_budget(resume=resumed is not None)
        run = run or catalogue.create(recipe, origin.overrides, origin.choices)
        record = job.run(run, resumed is not None, origin.overrides)
    except training.Interrupted as stop:
        if run is not None:
            console.report_interruption(run, origin.plugins)
        sys.exit(stop.exit_status)
    makes_images = job.model.makes_images
    missing = job.missing_classifier() if makes_images else None
    console.report(run, record, origin.plugins, makes_images, missing)


def _work_on_sweep(recipe: dict[str, Any], origin: Origin) -> None:
    """Train one job of a sweep, and say how far the whole is."""
    from gdm.cli import console
    from gdm.runs.sweeps import Sweep, asked_for
    from gdm.training import jobs, machine
    from gdm.training.signals import Interrupted

    sweep = Sweep(Path(recipe["outputs"]) / origin.sweep)
    machine.forget_peak_memory()
    try:
        job = sweep.job(asked_for(recipe))
        jobs.work(sweep, job, recipe, origin.choices, origin.plugins, time.monotonic())
    except Interrupted as stop:
        if not origin.has_neighbours:  # which a launcher would end too
            sys.exit(stop.exit_status)
    finally:
        sweep.record()
        console.say_progress(sweep)
