"""A search: Optuna suggests what to train next, by what the trials so far have found.

The study is made anew from the run directories at every start, and only they are believed. Each
suggestion has a sampler of its own, seeded by the number of its trial, and sees no more than the
trials before its batch have found: so a search that was killed goes on with the suggestions that
it would have made.
"""

import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdm.errors import UserError
from gdm.evaluation.metrics import METRICS, better, shown
from gdm.runs.run import Run
from gdm.runs.sweeps import SETTLED, Fate, Job, Sweep
from gdm.theory.randomness import fold
from gdm.tools.objectives import DIRECTIONS
from gdm.tools.sweep import refuse_undone, settle
from gdm.training.pruning import best_of, curve
from gdm.training.sweep_options import SearchOptions

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import TPESampler

log = logging.getLogger(__name__)

DEFAULT_TRIALS = 20
MAX_REFUSED = 5  # first trials without any that can be trained: a mistake in all of them
MAX_REPEATS = 50  # trials in a row that train nothing: nothing new is to be found


@dataclass(frozen=True)
class Trial:
    """A trial and what has become of it.

    Args:
        number: from 0 on.
        values: dimension -> its value.
        job: what is trained for it; a trial that suggests what an earlier one did has its job.
        fate: of the job.
        found: the objectives; None if it has none.
    """

    number: int
    values: dict[str, Any]
    job: Job
    fate: Fate
    found: list[float] | None


class Search:
    """A search in the folder of a sweep.

    Args:
        sweep: the folder.
        space: dimension -> what it may be.
        options: objectives, length, pruning.
        letters: that stand for what is searched: the dimensions, and all that is the same.
        job_of: a trial's number and its values -> its job.
        overrides_of: a trial's values -> what the command line says of it.
        launch: begins jobs or goes on with them, as in `settle`.
        batch: trials that are suggested together.
        retries: how often a job that fails, or is killed, is tried again.

    Raises:
        UserError: if other trials are in the folder.
    """

    def __init__(
        self,
        sweep: Sweep,
        space: dict[str, "BaseDistribution"],
        options: SearchOptions,
        letters: str,
        job_of: Callable[[int, dict[str, Any]], Job],
        overrides_of: Callable[[dict[str, Any]], Sequence[str]],
        launch: Callable[[Sequence[Job]], None],
        batch: int = 1,
        retries: int = 0,
    ) -> None:
        import optuna

        self.sweep, self.space, self.options, self.letters = sweep, space, options, letters
        self.job_of, self.launch, self.batch, self.retries = job_of, launch, batch, retries
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.trials: list[Trial] = []
        self.study: Study = optuna.create_study(
            directions=[DIRECTIONS[better(name)] for name in options.objectives],
            study_name=sweep.path.name,
        )
        self._known = sweep.trials()
        self._refuse_others()
        self.settled = {
            number: _job_of(run, overrides_of)
            for number, run in self._known.items()
            if run.manifest().get("status") in SETTLED
        }
        self._jobs: dict[str, Job] = {}  # what was asked for -> the first job for it
        self._fates: dict[str, Fate] = {}
        self._repeats = 0

    def run(self) -> None:
        """Train until the search is long enough."""
        self.sweep.add(self.settled.values())
        while not self._is_over():
            first = len(self.trials)
            asked = [self._ask(number, first) for number in self._numbers(first)]
            self._settle([job for _, job in asked])
            trained = [self._trial(question, job) for question, job in asked]
            for (question, _), trial in zip(asked, trained, strict=True):
                self._tell(question, trial)
            self.trials += trained
            self._refuse_fruitless()

    @property
    def images(self) -> int:
        """The images that all trials have seen."""
        return sum(fate.images_seen for fate in self._fates.values())

    @property
    def minutes(self) -> float:
        """The minutes that all trials have taken."""
        return sum(fate.seconds for fate in self._fates.values()) / 60

    def best(self) -> list[Trial]:
        """Return the best trial, or with several objectives those of the front, best first in the
        first objective; a configuration only once."""
        if not any(trial.found for trial in self.trials):
            return []
        is_single = len(self.options.objectives) == 1
        numbers = [
            t.number for t in ([self.study.best_trial] if is_single else self.study.best_trials)
        ]
        found = {self.trials[n].job.asked: self.trials[n] for n in sorted(numbers, reverse=True)}
        sign = -1 if better(self.options.objectives[0]) == "higher" else 1
        return sorted(found.values(), key=lambda trial: (sign * trial.found[0], trial.number))

    def export(self, path: Path) -> None:
        """Write the study into a database that optuna-dashboard opens; what it has of this search
        already is replaced.

        Raises:
            UserError: if the file is something else, or cannot be written.
        """
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        name = self.study.study_name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
            if name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=name, storage=storage)
            optuna.copy_study(
                from_study_name=name, from_storage=self.study._storage, to_storage=storage
            )
        except (OSError, SQLAlchemyError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"sweeper.export={path}: no study can be written ({reason})"
            ) from error

    # What is next ----------------------------------------------------------------------------

    def _is_over(self) -> bool:
        number, options = len(self.trials), self.options
        if number <= max(self._known, default=-1):  # what was begun has been within the budget
            return False
        if self._repeats >= MAX_REPEATS:
            log.warning("the last %d trials repeat earlier ones, or are refused", self._repeats)
            return True
        trials = _trials_of(options)
        return (
            (trials is not None and number >= trials)
            or (options.images is not None and self.images >= options.images)
            or (options.minutes is not None and self.minutes >= options.minutes)
        )

    def _numbers(self, first: int) -> range:
        """Return the trials of a batch, which is as large as it was when it was begun."""
        sizes = [
            trial["size"]
            for trial in (run.manifest()["trial"] for run in self._known.values())
            if trial["first"] == first
        ]
        trials = _trials_of(self.options)
        most = [] if trials is None else [max(trials, max(self._known, default=-1) + 1)]
        return range(first, min([first + (sizes or [self.batch])[0], *most]))

    def _ask(self, number: int, first: int) -> tuple[Any, Job]:
        """Return Optuna's trial and its job."""
        run = self._known.get(number)
        trial = run.manifest()["trial"] if run else None
        if trial is not None:
            self.study.enqueue_trial(trial["values"])
        self.study.sampler = self._sampler(number)
        question = self.study.ask(dict(self.space))
        if trial is None:
            trial = {"number": number, "first": first, "size": self.batch}
            trial |= {"values": question.params, "search": self.letters, "prune": self._prune()}
        if number in self.settled:  # which is not composed once more
            return question, self.settled[number]
        job = replace(self.job_of(number, trial["values"]), trial=trial)
        if run is not None and job.asked != run.manifest()["asked"]:
            raise UserError(
                f"{run} was begun with other settings than this command gives, or by another "
                "version of the code; name another sweep"
            )
        return question, job

    def _sampler(self, number: int) -> "TPESampler":
        from optuna.samplers import TPESampler

        seed = fold(self.options.seed, "trial", number) % 2**32
        return TPESampler(seed=seed, n_startup_trials=self.options.startup, constant_liar=True)

    def _prune(self) -> dict[str, Any] | None:
        """Return the rule by which a new trial is given up: the medians of what those of earlier
        batches had found by as many images."""
        if self.options.prune is None:
            return None
        (metric,) = self.options.objectives
        runs = {t.job.asked: t.fate.run for t in self.trials if t.fate.status in SETTLED}
        curves = [curve(run, metric) for run in runs.values()]
        limits = []
        for images in sorted({images for each in curves for images in each}):
            by_then = [
                best_of(metric, [value for i, value in each.items() if i <= images])
                for each in curves
                if min(each, default=images + 1) <= images <= max(each)
            ]
            if len(by_then) >= self.options.prune_after:
                limits.append([images, statistics.median(by_then)])
        return {"metric": metric, "limits": limits}

    # What has become of it -------------------------------------------------------------------

    def _settle(self, jobs: Sequence[Job]) -> None:
        """Train what is not trained yet."""
        new = {job.asked: job for job in jobs if job.asked not in self._jobs}
        is_new = any(not job.mistake for job in new.values())
        self._repeats = 0 if is_new else self._repeats + len(jobs)
        self._jobs |= new
        before = fates = self.sweep.fates(new.values())
        todo = [job for job, fate in before.items() if not self._is_done(fate)]
        if todo:
            self.sweep.add(new.values())
            settle(self.sweep, todo, self.launch, self.retries)
            fates = self.sweep.fates(new.values())
        stuck = [job for job in todo if fates[job] == before[job]]
        if stuck:  # not even begun, for a reason that has been said
            refuse_undone(self.sweep, stuck)
        self._fates |= {job.asked: fate for job, fate in fates.items()}
        for job in new.values():
            if job.mistake:
                log.error("%s: %s", job.name, job.mistake)

    def _is_done(self, fate: Fate) -> bool:
        tried = fate.status == "failed" and fate.attempts > self.retries
        return tried or fate.status in (*SETTLED, "refused")

    def _trial(self, question: Any, job: Job) -> Trial:
        job, fate = self._jobs[job.asked], self._fates[job.asked]
        found = None
        if fate.status == "finished":
            curves = [curve(fate.run, name) for name in self.options.objectives]
            values = [each.get(fate.images_seen) for each in curves]
            found = None if None in values else values
        return Trial(question.number, dict(question.params), job, fate, found)

    def _tell(self, question: Any, trial: Trial) -> None:
        """Tell the study of a trial. What diverged or cannot be trained is worse than all others;
        what failed says nothing, since that may have been the machine."""
        from optuna.trial import TrialState

        status, objectives = trial.fate.status, self.options.objectives
        question.set_user_attr("status", status)
        if trial.fate.run is not None:
            question.set_user_attr("run", trial.fate.run.path.name)
        if len(objectives) == 1 and status in ("finished", "pruned"):
            for images, value in curve(trial.fate.run, objectives[0]).items():
                question.report(value, images)
        if trial.found is not None:
            self.study.tell(question, trial.found)
        elif status in ("pruned", "diverged", "refused", "finished"):
            self.study.tell(question, state=TrialState.PRUNED)
        else:
            self.study.tell(question, state=TrialState.FAIL)
        if trial.number not in self._known:
            values = zip(objectives, trial.found or (), strict=trial.found is not None)
            said = [f"{name} {shown(name, value)}" for name, value in values]
            log.info("trial %d: %s", trial.number, ", ".join(said) or status)

    # What it cannot work with ----------------------------------------------------------------

    def _refuse_others(self) -> None:
        for number, run in self._known.items():
            if run.manifest()["trial"].get("search") != self.letters:
                raise UserError(
                    f"{self.sweep} holds a search of other dimensions or settings (trial "
                    f"{number}, {run.path.name}); name another sweep"
                )

    def _refuse_fruitless(self) -> None:
        """Refuse to go on if no trial can be trained, or none records what is searched for."""
        mistakes = [trial.job.mistake for trial in self.trials if trial.job.mistake]
        if MAX_REFUSED <= len(mistakes) == len(self.trials):
            raise UserError(f"all {len(mistakes)} trials are refused; {mistakes[0]}")
        finished = [trial for trial in self.trials if trial.fate.status == "finished"]
        if not finished or any(trial.found for trial in finished):
            return
        records = finished[-1].fate.run.records()
        have = [name for name in METRICS if better(name) in DIRECTIONS and name in records[-1]]
        raise UserError(
            f"sweeper.objectives={self.options.objectives}: {finished[-1].fate.run} does not "
            f"record that at its last validation; it records {', '.join(have) or 'none'}"
        )


def _job_of(run: Run, overrides_of: Callable[[dict[str, Any]], Sequence[str]]) -> Job:
    manifest = run.manifest()
    trial = manifest["trial"]
    overrides = tuple(overrides_of(trial["values"]))
    return Job(run.path.name, manifest["asked"], overrides, trial=trial)


def _trials_of(options: SearchOptions) -> int | None:
    is_open = options.images is None and options.minutes is None
    return DEFAULT_TRIALS if options.trials is None and is_open else options.trials
