"""One job of a sweep: begun, gone on with, or left to whoever has it."""

import logging
from collections.abc import Iterable
from typing import Any

from gdm.errors import UserError
from gdm.runs.claims import HeldError
from gdm.runs.run import Run
from gdm.runs.sweeps import SETTLED, Job, Sweep
from gdm.training.metrics import Diverged
from gdm.training.pruning import Pruned, Pruning
from gdm.training.training import Training

log = logging.getLogger(__name__)


def work(
    sweep: Sweep,
    job: Job,
    recipe: dict[str, Any],
    choices: dict[str, str],
    plugins: Iterable[str],
    started: float,
) -> None:
    """Do what is left to do of a job, if no other process does it.

    Args:
        sweep: the sweep.
        job: what is asked for.
        recipe: its recipe, as the command line composes it.
        choices: the options that were chosen, by their groups.
        plugins: packages that the recipe may name besides gdm.
        started: `time.monotonic()` when the job started.

    Raises:
        UserError: if it fails; so does whatever else goes wrong, and the run says why.
    """
    try:
        with sweep.claimed(job):
            run = sweep.run_of(job)
            if run is not None and run.manifest().get("status") in SETTLED:
                return
            if run is not None and run.is_in_use():
                log.info("%s is gone on with by hand", job.name)
                return
            log.info("%s %s", job.name, "begins" if run is None else "goes on")
            run = run or sweep.create(job, recipe, choices)
            _train(run, recipe, plugins, started)
    except HeldError as holder:
        log.info("%s is trained by %s", job.name, holder)


def _train(run: Run, recipe: dict[str, Any], plugins: Iterable[str], started: float) -> None:
    """Train a run from its beginning, or from its last checkpoint."""
    before = run.manifest()
    is_begun = "num_batches" in before  # then minutes have become images, in its own recipe
    try:
        _count_attempt(run, before)
        own = run.recipe()
        recipe = own if is_begun else recipe | {"name": own["name"]}
        training = Training(recipe, plugins, started)
        if not is_begun:
            training.settle_budget()
            run.write_recipe(training.recipe, [])
        training.pruning = Pruning.of(before.get("trial"))
        training.run(run, resume=is_begun)
    except Pruned as reason:
        log.info("%s is given up: %s", run.path.name, reason)
    except Exception as error:
        status = "diverged" if isinstance(error, Diverged) else "failed"
        reason = str(error) if isinstance(error, UserError) else repr(error)
        run.keep(lambda: run.describe(status=status, error=reason))
        raise


def _count_attempt(run: Run, before: dict[str, Any]) -> None:
    try:
        run.describe(attempts=before.get("attempts", 0) + 1, error=None)
    except OSError as error:
        raise UserError(f"{run} cannot be written ({error}); make room, then go on") from error
