"""A run directory: what it holds, and how that is described, kept and recorded."""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from gdm.errors import UserError
from gdm.files import is_locked, remove_leftovers, write_text
from gdm.recipes.moved import upgraded
from gdm.recipes.terminal import command, override
from gdm.recipes.tree import changes, flat
from gdm.runs import signing
from gdm.runs.reading import read_json, read_yaml

log = logging.getLogger(__name__)

# What is relied on of a recipe and of a manifest, which may come from elsewhere.
RECIPE = {"seed": int, "model": dict, "dataset": dict}
MANIFEST = {
    "created": str,
    "status": str,
    "seconds": int | float,
    "minutes_wished": int | float,
    "num_batches": int,
    "images_seen": int,
    "num_parameters": int,
    "validated_at": dict,
    "resumed": list,
    "trained_recipe": dict,
    "budget": dict,
    "asked": str,
    "attempts": int,
    "error": str | None,
    "trial": dict,
}


class Run:
    """A run directory.

    ```
    .hydra/config.yaml   the recipe, plain text
    manifest.json        versions, device, seed; status, seconds, images seen
    checkpoints/  samples/  metrics.jsonl  train.log
    tensorboard/  csv/  wandb/  mlflow/    what the chosen loggers write
    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"
        self.wandb = self.path / "wandb"
        self.mlflow = self.path / "mlflow"
        self.metrics = self.path / "metrics.jsonl"
        self.log = self.path / "train.log"
        self.lock = self.path / ".lock"
        self._recipe = self.path / ".hydra" / "config.yaml"
        self._overrides = self.path / ".hydra" / "overrides.yaml"
        self._manifest = self.path / "manifest.json"
        self._best_facts = self.checkpoints / "best.json"

    def __str__(self) -> str:
        inside = self.path.resolve().is_relative_to(Path.cwd())
        return os.path.relpath(self.path) if inside else str(self.path)

    def command(self, script: str, plugins: Sequence[str] = (), *more: str) -> str:
        """Return what to type to go on with the run (`train`), to sample from it (`sample`) or
        to evaluate it (`evaluate`); `more` are further overrides."""
        asked = override("resume" if script == "train" else "run", self.path)
        allowed = [override("plugins", plugins)] if plugins else []
        return command(script, asked, *allowed, *more)

    def refuse_links(self) -> None:
        """Refuse a run through which writing would reach what lies outside of its directory.

        Raises:
            UserError: naming a symbolic link, or a device, pipe or socket in there.
        """
        for folder, folders, files in os.walk(self.path.resolve()):
            for path in (Path(folder, name) for name in (*folders, *files)):
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    kind = "a link" if path.is_symlink() else "no regular file"
                    raise UserError(
                        f"{path} is {kind}: nothing is written into such a run; put what it "
                        "stands for in its place, or remove it"
                    )

    def is_in_use(self) -> bool:
        """Whether a process trains there now."""
        return is_locked(self.lock)

    def remove_leftovers(self) -> None:
        """Remove what processes that were killed have left; the caller holds the run's lock."""
        from gdm.runs import checkpoints

        names = (checkpoints.LAST, checkpoints.PREVIOUS, checkpoints.BEST)
        for path in (self._recipe, self._overrides, self._manifest, self.metrics,
                     self._best_facts, *(self.checkpoints / name for name in names)):  # fmt: skip
            remove_leftovers(path)

    def recipe(self) -> dict[str, Any]:
        """Return the configuration that the run was made from, in today's words."""
        return upgraded(self.recipe_as_written())

    def recipe_as_written(self) -> dict[str, Any]:
        """Return the configuration as it stands in the run."""
        try:
            recipe = read_yaml(self._recipe)
        except FileNotFoundError:
            raise UserError(f"{self} holds no recipe: {self._recipe} is missing") from None
        if not isinstance(recipe, dict):
            raise UserError(f"{self._recipe} holds no recipe")
        _refuse_other_types(recipe, RECIPE, self._recipe)
        for key, kind in RECIPE.items():
            if key not in recipe or (kind is dict and "_target_" not in recipe[key]):
                raise UserError(f"{self._recipe} holds no recipe: it has no {key}")
        return recipe

    def write_recipe(self, recipe: dict[str, Any], overrides: list[str]) -> None:
        """Write down what makes the run, before it starts or goes on; overrides are added."""
        earlier = read_yaml(self._overrides) if self._overrides.exists() else []
        if not isinstance(earlier, list):
            raise UserError(f"{self._overrides} is no list of overrides; mend it, or remove it")
        write_text(self._overrides, yaml.safe_dump(earlier + overrides))
        write_text(self._recipe, yaml.dump(recipe, Dumper=_WithoutAliases, sort_keys=False))

    def refuse_edited(self, recipe: dict[str, Any]) -> None:
        """Refuse to go on with a recipe whose trained part is not the one that was begun with.

        Raises:
            UserError: naming the keys that differ.
        """
        trained = self.manifest().get("trained_recipe")
        if trained is None:  # nothing has been trained, or by an earlier version
            return
        differing, before = changes(trained, trained_part(recipe)), flat(trained)
        if differing:
            named = ", ".join(
                f"{key} is {value}, was {before.get(key)}" for key, value in differing.items()
            )
            raise UserError(
                f"{self._recipe} has been edited since it was trained: {named}; put back what "
                f"was, or train it as it is now in a new run by {override('rerun', self.path)}"
            )

    def manifest(self) -> dict[str, Any]:
        """Return what is known of the run; empty if nothing has been written yet.

        Raises:
            UserError: if the file is damaged.
        """
        try:
            manifest = read_json(self._manifest)
            if not isinstance(manifest, dict):
                raise UserError(f"{self._manifest} holds no facts")
            _refuse_other_types(manifest, MANIFEST, self._manifest)
        except FileNotFoundError:
            return {}
        except UserError as error:
            raise UserError(
                f"{error}; put back a copy of it, or remove it to do without what it knew"
            ) from error
        return upgraded(manifest)  # which holds parts of recipes

    def describe(self, **facts: Any) -> None:
        """Add facts to the manifest, which is left alone if it is damaged."""
        text = json.dumps(self.manifest() | facts, indent=2)
        write_text(self._manifest, text + "\n")

    def note_validation(self, images_seen: int, seconds: float) -> None:
        """Write down when a validation was: not in its record, which any repetition equals."""
        with contextlib.suppress(UserError):  # of a damaged manifest
            noted = self.manifest().get("validated_at", {}) | {str(images_seen): round(seconds, 1)}
            self.keep(lambda: self.describe(validated_at=noted))

    def seconds_before(self) -> float:
        """Return what the run has taken so far; if it was killed, until its last validation."""
        manifest = self.manifest()
        known = [manifest.get("seconds", 0.0), *manifest.get("validated_at", {}).values()]
        return max(seconds for seconds in known if isinstance(seconds, int | float))

    def warn_of_other_bits(self, now: dict[str, Any]) -> None:
        """Say in the log what may keep a repeated or resumed run from giving the same bits.

        Args:
            now: the `environment` of the run that repeats this one or goes on with it.
        """
        then = self.manifest()
        if then.get("extended"):
            log.warning("the bits will differ: %s was extended while its rate decayed", self)
        for fact in ("versions", "machine", "threads"):
            if then.get(fact, now[fact]) != now[fact]:
                log.warning(
                    "the bits may differ: %s were %s, and are %s", fact, then[fact], now[fact]
                )

    def keep(self, write: Callable[[], None]) -> None:
        """Write something that training can do without: a disk that fills does not stop it."""
        try:
            write()
        except OSError as error:
            log.warning("could not write into %s (%s); going on without it", self, error)

    def record(self, images_seen: int, metrics: dict[str, Any]) -> None:
        """Add the record of an evaluation to `metrics.jsonl`."""
        record = {"images": images_seen} | metrics

        def append() -> None:
            digests = [each[signing.DIGEST] for each in self._lines() if signing.DIGEST in each]
            line = json.dumps(signing.signed(record, digests[-1] if digests else "")) + "\n"
            with self.metrics.open("a") as file:
                file.write(line)

        self.keep(append)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all evaluations so far, in their order; a line that is none, as
        a crash may leave, is passed over."""
        return [signing.unsigned(each) for each in self._lines()]

    def checked_records(self) -> list[tuple[dict[str, Any], bool]]:
        """Return the same records, and of each whether it has been edited since."""
        lines = self._lines()
        plain = map(signing.unsigned, lines)
        return list(zip(plain, signing.edited(lines), strict=True))

    def _lines(self) -> list[dict[str, Any]]:
        """Return the records as they stand in the file."""
        try:
            lines = self.metrics.read_text(errors="replace").splitlines()
        except OSError:  # nothing has been written, or nothing could be
            return []
        records = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                records.append(json.loads(line))
        return [each for each in records if _is_record(each)]

    def best(self) -> dict[str, Any] | None:
        """Return by what metrics the best checkpoint was chosen; None if there is none, or they
        are not to be read."""
        try:
            facts = read_json(self._best_facts)
        except FileNotFoundError:
            return None
        except UserError as error:
            log.warning("%s; the best checkpoint is chosen anew", error)
            return None
        return facts if _is_record(facts) else None

    def describe_best(self, facts: dict[str, Any]) -> None:
        """Write down by what metrics the best checkpoint was chosen."""
        write_text(self._best_facts, json.dumps(facts) + "\n")

    def forget_after(self, images_seen: int) -> None:
        """Drop the records of evaluations that a resumed run will repeat, and a best checkpoint
        that it has not reached yet."""
        lines = self._lines()
        kept = signing.signed_anew(lines, [each["images"] <= images_seen for each in lines])
        write_text(self.metrics, "".join(json.dumps(record) + "\n" for record in kept))
        from gdm.runs import checkpoints

        best = self.best()
        if best is None or best["images"] > images_seen:
            self._best_facts.unlink(missing_ok=True)
            (self.checkpoints / checkpoints.BEST).unlink(missing_ok=True)


def trained_part(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what of a recipe decides what a step of training does. Where the images lie is no
    part of it: they are told by their content."""
    dataset = {key: value for key, value in recipe["dataset"].items() if key != "source"}
    return {"seed": recipe["seed"], "model": recipe["model"], "dataset": dataset}


class _WithoutAliases(yaml.SafeDumper):
    """Writes out in full what occurs twice, as `read_yaml` takes it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _refuse_other_types(found: dict[str, Any], kinds: dict[str, Any], path: Path) -> None:
    for key, kind in kinds.items():
        if key in found and not isinstance(found[key], kind):
            raise UserError(f"{path}: {key} is {str(found[key])[:40]!r}, which it cannot be")


def _is_record(value: Any) -> bool:
    """Whether something read from a file says of which moment of a run it is."""
    return isinstance(value, dict) and isinstance(value.get("images"), int)
