"""A sweep from whatever it is to done: launch what is left, and believe the run directories."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gdm.errors import UserError
from gdm.recipes.build import build
from gdm.runs import catalogue
from gdm.runs.sweeps import SETTLED, Fate, Job, Sweep

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0  # between two looks at jobs that other processes have


def settle(
    sweep: Sweep, jobs: Sequence[Job], launch: Callable[[Sequence[Job]], None], retries: int
) -> None:
    """Launch what nobody works on, until every job is done or has failed once too often.

    Args:
        sweep: the sweep.
        jobs: what is to be done.
        launch: begins jobs or goes on with them, and returns when they have ended; how they have
            ended is read from their directories, so that it may raise what it likes.
        retries: how often a job that fails, or is killed, is tried again.
    """
    before = {job: fate.attempts for job, fate in sweep.fates(jobs).items()}
    tries_alone: Counter[Job] = Counter()
    waiting: list[Job] = []
    while True:
        fates = sweep.fates(jobs)
        tries = {job: fates[job].attempts - before[job] for job in jobs}
        todo = [
            job for job in jobs if not _is_over(fates[job], tries[job], tries_alone[job], retries)
        ]
        free = [job for job in todo if fates[job].status != "running"]
        if not todo:
            return
        if not free:
            if todo != waiting:
                log.info("other processes have the rest; %s", sweep.progress())
            waiting = todo
            time.sleep(POLL_SECONDS)
            continue
        # Of jobs that were cut off together one alone may be to blame: each is tried by itself.
        suspects = [job for job in free if fates[job].status == "interrupted" and tries[job]]
        tries_alone.update(suspects[:1])
        try:
            launch(suspects[:1] or free)
        except Exception as error:  # such as a worker that was killed
            log.warning("the launcher stopped: %s", str(error).strip().partition("\n")[0])
        if sweep.fates(jobs) == fates:
            return  # not one was even begun, for a reason that has been said


def of_these_data(sweep: Sweep, jobs: Iterable[Job], plugins: Iterable[str]) -> list[Job]:
    """Return jobs, where those that are done on other data than there are now have a mistake."""
    found, known = [], {}
    for job, fate in sweep.fates(jobs).items():
        if fate.status in SETTLED:
            try:
                node = fate.run.recipe()["dataset"]
                key = json.dumps(node)
                if key not in known:
                    known[key] = build(node, "dataset", plugins).fingerprint
                if fate.run.manifest().get("data", known[key]) != known[key]:
                    raise UserError("it is done on other data than dataset.* gives now; name "
                                    "another sweep")  # fmt: skip
            except UserError as error:
                job = replace(job, mistake=str(error))
        found.append(job)
    return found


def say_where_it_stands(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Say what is done already, what cannot be done, and whether the code is still the same."""
    for job in jobs:
        if job.mistake:
            log.error("%s: %s", job.name, job.mistake)
    log.info("%s", sweep.progress())
    now = _code(catalogue.environment())
    runs = [fate.run for fate in sweep.fates(jobs).values() if fate.status in SETTLED]
    others = {_code(run.manifest()) for run in runs if run is not None} - {now}
    for commit, versions in sorted(others, key=str):
        log.warning(
            "some jobs are done by another version of the code: %s (%s); now %s (%s)",
            commit, versions, *now,
        )  # fmt: skip


def refuse_undone(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Tell by an error that something is left.

    Raises:
        UserError: naming the jobs that have no result.
    """
    fates = sweep.fates(jobs)
    undone = [job.name for job in jobs if fates[job].status not in SETTLED]
    if undone:
        raise UserError(
            f"{len(undone)} of {len(jobs)} jobs of {sweep} are not done: {'; '.join(undone)}; "
            "once what is wrong is mended, the same command goes on with them"
        )


def _is_over(fate: Fate, tries: int, tries_alone: int, retries: int) -> bool:
    """Whether a job needs no more of this command."""
    if fate.status == "failed":
        return tries > retries
    if fate.status == "interrupted":
        return tries_alone > retries
    return fate.status in (*SETTLED, "refused")


def _code(facts: dict) -> tuple[str | None, str]:
    versions = facts.get("versions") or {}
    return facts.get("commit"), ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
