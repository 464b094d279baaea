"""A sweep: a folder with one run per job, whose run directories are the truth about how far it is.

```
sweep.yaml   what was asked for: axes, seeds, commands, versions of the code
sweep.json   its jobs and the fate of each, as they were last looked at
.claims/     which process works on which job
<job>/       a run directory
```
"""

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from gdm.errors import UserError
from gdm.files import write_text
from gdm.runs import catalogue
from gdm.runs.claims import Claims
from gdm.runs.reading import read_json, read_yaml
from gdm.runs.run import Run

SETTLED = ("finished", "diverged", "pruned")  # and not to be repeated: they would end the same
NO_RECIPE = "no-recipe-"  # what is asked for by words that make none begins so
PLACES = ("outputs", "name")  # keys of a recipe that say where its run goes, and not what it is


@dataclass(frozen=True)
class Job:
    """What one run of a sweep is asked to be.

    Args:
        name: of its directory: its overrides, short and safe.
        asked: letters that stand for its recipe; see `asked_for`.
        overrides: what the command line says of it.
        mistake: what is wrong with its recipe; None for nothing.
        trial: what a search knows of it; see `gdm.tools.search`.
    """

    name: str
    asked: str
    overrides: tuple[str, ...]
    mistake: str | None = None
    trial: dict[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Fate:
    """What has become of a job.

    Args:
        status: `waiting` for a first step, `running` in some process, `interrupted` if that was
            killed, `failed`, `refused` for a mistake in its recipe, or one of `SETTLED`.
        run: its run; None as long as there is none.
        error: why it failed, in one line.
        attempts: how often it was begun or gone on with.
        seconds: that it has taken.
        images_seen: by its model.
    """

    status: str
    run: Run | None = field(default=None, compare=False)
    error: str | None = None
    attempts: int = 0
    seconds: float = 0.0
    images_seen: int = 0


class Sweep:
    """The folder of a sweep.

    Args:
        path: the folder, `outputs/sweeps/<name>`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.claims = Claims(path / ".claims")
        self._request = path / "sweep.yaml"
        self._fates = path / "sweep.json"

    def __str__(self) -> str:
        return str(self.path)

    def begin(self, jobs: Iterable[Job], axes: dict[str, list], overrides: Sequence[str]) -> None:
        """Write down what is asked for, beside what was asked for before.

        Args:
            jobs: what is to be trained now.
            axes: key -> the values that it takes now.
            overrides: the command line.

        Raises:
            UserError: if nothing can be written there.
        """
        with self._writing(self.path):
            request = self._read(read_yaml, self._request)
            write_text(self._request, _extended(request, axes, overrides))
            earlier = [job for job in self.jobs() if not job.asked.startswith(NO_RECIPE)]
            self._write_fates([*earlier, *jobs])

    def add(self, jobs: Iterable[Job]) -> None:
        """Write down jobs that what was asked for has led to.

        Raises:
            UserError: if nothing can be written there.
        """
        with self._writing(self.path):
            self._write_fates([*self.jobs(), *jobs])

    def trials(self) -> dict[int, Run]:
        """Return the runs of a search, by the numbers of their trials."""
        found = {}
        for run, manifest in self._runs().values():
            trial = manifest.get("trial") or {}
            if isinstance(trial.get("number"), int):
                found[trial["number"]] = run
        return dict(sorted(found.items()))

    def jobs(self) -> list[Job]:
        """Return all jobs that the sweep has been asked for, in their order."""
        found = self._read(read_json, self._fates).get("jobs", [])
        with suppress(KeyError, TypeError, AttributeError, ValueError):
            if not all(_is_asked(job["asked"]) for job in found):
                raise ValueError
            return [
                Job(
                    job["name"],
                    job["asked"],
                    tuple(job["overrides"]),
                    job.get("mistake"),
                    job.get("trial"),
                )
                for job in found
            ]
        raise UserError(f"{self._fates} holds no jobs; remove it: the runs are the truth")

    def job(self, asked: str) -> Job:
        """Return the job whose recipe these letters stand for.

        Raises:
            UserError: if the sweep has not been asked for such a job.
        """
        for job in self.jobs():
            if job.asked == asked:
                return job
        raise UserError(f"{self._fates} has no job {asked}: the configuration has been changed")

    def record(self) -> None:
        """Write down the fate of each job as it is now; a disk that is full costs this only."""
        with suppress(OSError), self._locked():
            self._write_fates(self.jobs())

    def claimed(self, job: Job) -> AbstractContextManager[None]:
        """Hold a job, which no other process then works on; see `Claims.held`."""
        return self.claims.held(job.asked)

    def fates(self, jobs: Iterable[Job]) -> dict[Job, Fate]:
        """Return what has become of jobs, as their run directories tell."""
        runs = self._runs()
        return {job: self._fate(job, runs) for job in jobs}

    def run_of(self, job: Job) -> Run | None:
        """Return the run of a job, whatever the order of the overrides that it was asked by."""
        run, _ = self._runs().get(job.asked, (None, {}))
        return run

    def create(self, job: Job, recipe: dict[str, Any], choices: dict[str, str]) -> Run:
        """Make the run directory of a job, which the caller holds.

        Raises:
            UserError: if nothing can be written there.
        """
        folder, place = self.path / job.name, self.path.relative_to(recipe["outputs"])
        facts = {"asked": job.asked} | ({"trial": job.trial} if job.trial else {})
        with self._writing(folder):  # so that nobody else is making one
            if folder.exists() and {path.name for path in folder.iterdir()} <= {".hydra"}:
                shutil.rmtree(folder)  # left by a process that was killed while it made this
            return catalogue.create(
                recipe, list(job.overrides), choices, str(place), job.name, **facts
            )

    def progress(self) -> str:
        """Say in one line how far the sweep is."""
        fates = list(self.fates(self.jobs()).values())
        count = Counter(fate.status for fate in fates)
        done = [fate for fate in fates if fate.status in SETTLED]
        left = count["waiting"] + count["interrupted"]
        parts = [f"{len(done)} of {len(fates)} jobs done"]
        parts += [
            f"{count[status]} {status}"
            for status in ("diverged", "pruned", "failed", "refused", "running")
            if count[status]
        ]
        parts += [f"{left} left"] if left else []
        spent = [fate.seconds for fate in done if fate.seconds]
        if spent and left + count["running"]:
            minutes = sum(spent) / len(spent) * (left + count["running"] / 2) / 60
            minutes /= max(1, count["running"])
            parts.append(f"about {minutes:.0f} minutes to go" if minutes >= 1 else "soon done")
        return f"{self.path.name}: {', '.join(parts)}"

    def _fate(self, job: Job, runs: dict[str, tuple[Run, dict[str, Any]]]) -> Fate:
        run, manifest = runs.get(job.asked, (None, {}))
        if job.mistake:
            return Fate("refused", run, job.mistake)
        status = manifest.get("status", "created")
        if status not in SETTLED and self._is_at_work(job, run):
            status = "running"
        elif status not in (*SETTLED, "failed"):
            status = "interrupted" if "num_batches" in manifest else "waiting"
        return Fate(
            status,
            run,
            manifest.get("error"),
            manifest.get("attempts", 0),
            manifest.get("seconds", 0.0),
            manifest.get("images_seen", 0),
        )

    def _is_at_work(self, job: Job, run: Run | None) -> bool:
        """Whether a process has a job, or a user goes on with its run by hand."""
        is_held = self.claims.holder(job.asked) is not None
        return is_held or (run is not None and run.is_in_use())

    def _runs(self) -> dict[str, tuple[Run, dict[str, Any]]]:
        """Return the runs with their manifests by what was asked for; one whose manifest is
        damaged counts as none."""
        found = {}
        for path in sorted(self.path.glob("*/manifest.json")):
            run = Run(path.parent)
            with suppress(UserError):
                manifest = run.manifest()
                if _is_asked(manifest.get("asked", "")):
                    found[manifest["asked"]] = run, manifest
        return found

    def _write_fates(self, jobs: Iterable[Job]) -> None:
        """Write down jobs, of two for one recipe the later."""
        jobs = {job.asked: job for job in jobs}.values()
        described = [_described(job, fate) for job, fate in self.fates(jobs).items()]
        write_text(self._fates, json.dumps({"jobs": described}, indent=1) + "\n")

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Let nobody else write meanwhile.

        Raises:
            UserError: if nothing can be written to the path.
        """
        try:
            with self._locked():
                yield
        except OSError as error:
            raise UserError(f"{path}: nothing can be written there ({error})") from error

    def _locked(self) -> FileLock:
        self.claims.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.claims.folder / "sweep.lock", timeout=60)

    def _read(self, read: Any, path: Path) -> dict[str, Any]:
        try:
            found = read(path)
        except FileNotFoundError:
            return {}
        if not isinstance(found, dict):
            raise UserError(f"{path} does not describe a sweep; remove it: the runs are the truth")
        return found


def asked_for(recipe: dict[str, Any]) -> str:
    """Return sixteen letters that stand for what a recipe makes, wherever its run goes, before
    training settles what only the images or the machine tell."""
    made = {key: value for key, value in recipe.items() if key not in PLACES}
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def _is_asked(letters: Any) -> bool:
    """Whether something from a file can stand for a recipe, and be a part of a file's name."""
    return isinstance(letters, str) and bool(re.fullmatch(r"[\w=,.+-]+", letters))


def _extended(request: dict[str, Any], axes: dict[str, list], overrides: Sequence[str]) -> str:
    """Return what has been asked for of a sweep, with what is asked for now."""
    known = request.get("settings", {}) | request.get("axes", {})
    merged = {key: list(values) for key, values in known.items()}
    for key, values in axes.items():
        for value in values:
            if value not in merged.setdefault(key, []):
                merged[key].append(value)
    now = catalogue.environment()
    command = {"overrides": list(overrides), "commit": now["commit"], "versions": now["versions"]}
    commands = request.get("commands", [])
    if not commands or commands[-1] | command != commands[-1]:  # not each time that it goes on
        commands = [*commands, {"created": now["created"]} | command]
    request = {
        "axes": {key: values for key, values in merged.items() if len(values) > 1},
        "settings": {key: values for key, values in merged.items() if len(values) == 1},
        "seeds": list(merged.get("seed", [])),
        "commands": commands,
    }
    return yaml.safe_dump(request, sort_keys=False)


def _described(job: Job, fate: Fate) -> dict[str, Any]:
    facts = {
        "name": job.name,
        "asked": job.asked,
        "overrides": list(job.overrides),
        "mistake": job.mistake,
        "trial": job.trial,
        "status": fate.status,
        "run": fate.run.path.name if fate.run else None,
        "error": fate.error,
        "attempts": fate.attempts,
        "seconds": fate.seconds,
        "images_seen": fate.images_seen,
    }
    return {key: value for key, value in facts.items() if value is not None}
