"""A run directory: create it, describe it, find it, and open the model that it holds."""

import contextlib
import hashlib
import json
import logging
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gdm.errors import UserError
from gdm.files import write_text
from gdm.moved import upgraded
from gdm.recipes import build
from gdm.terminal import command, override

if TYPE_CHECKING:
    from gdm.models.base import GenerativeModel

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "gdm")


class Run:
    """A run directory.

    ```
    .hydra/config.yaml   the recipe, plain text
    manifest.json        versions, device, seed; status, seconds, images seen
    checkpoints/  samples/  tensorboard/  metrics.jsonl  train.log
    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.tensorboard = self.path / "tensorboard"
        self.metrics = self.path / "metrics.jsonl"
        self.log = self.path / "train.log"
        self._best_facts = self.checkpoints / "best.json"

    def __str__(self) -> str:
        inside = self.path.resolve().is_relative_to(Path.cwd())
        return os.path.relpath(self.path) if inside else str(self.path)

    def command(self, script: str, plugins: Sequence[str] = (), *more: str) -> str:
        """Return what to type to go on with the run (`train`), to sample from it (`sample`) or
        to judge it (`evaluate`); `more` are further overrides."""
        asked = override("resume" if script == "train" else "run", self.path)
        allowed = [override("plugins", plugins)] if plugins else []
        return command(script, asked, *allowed, *more)

    def recipe(self) -> dict[str, Any]:
        """Return the configuration that the run was made from."""
        path = self.path / ".hydra" / "config.yaml"
        try:
            recipe = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            raise UserError(f"{self} holds no recipe: {path} is missing") from None
        except yaml.YAMLError as error:
            raise UserError(f"{path} is not readable YAML: {error}") from None
        if not isinstance(recipe, dict):
            raise UserError(f"{path} holds no recipe")
        return upgraded(recipe)

    def write_recipe(self, recipe: dict[str, Any], overrides: list[str]) -> None:
        """Write down what makes the run, before it starts or goes on; overrides are added."""
        path = self.path / ".hydra" / "overrides.yaml"
        earlier = yaml.safe_load(path.read_text()) if path.exists() else []
        write_text(path, yaml.safe_dump(earlier + overrides))
        write_text(path.with_name("config.yaml"), yaml.safe_dump(recipe, sort_keys=False))

    def manifest(self) -> dict[str, Any]:
        """Return what is known of the run; empty if nothing has been written yet."""
        try:
            return json.loads((self.path / "manifest.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def describe(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        text = json.dumps(self.manifest() | facts, indent=2)
        write_text(self.path / "manifest.json", text + "\n")

    def warn_of_other_bits(self, now: dict[str, Any]) -> None:
        """Say in the log what may keep a repeated or resumed run from giving the same bits.

        Args:
            now: the `surroundings` of the run that repeats this one or goes on with it.
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

    def record(self, images_seen: int, figures: dict[str, Any]) -> None:
        """Add the record of an evaluation to `metrics.jsonl`."""
        line = json.dumps({"images": images_seen} | figures) + "\n"

        def append() -> None:
            with self.metrics.open("a") as file:
                file.write(line)

        self.keep(append)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all evaluations so far, in their order."""
        try:
            lines = self.metrics.read_text().splitlines()
        except OSError:  # nothing has been written, or nothing could be
            return []
        records = []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):  # a crash may have cut one short
                records.append(json.loads(line))
        return records

    def best(self) -> dict[str, Any] | None:
        """Return by what figures the best checkpoint was chosen; None if there is none."""
        try:
            facts = json.loads(self._best_facts.read_text())
        except (OSError, json.JSONDecodeError):
            return None
        return facts if isinstance(facts, dict) and "images" in facts else None

    def describe_best(self, facts: dict[str, Any]) -> None:
        """Write down by what figures the best checkpoint was chosen."""
        write_text(self._best_facts, json.dumps(facts) + "\n")

    def forget_after(self, images_seen: int) -> None:
        """Drop the records of evaluations that a resumed run will repeat, and a best checkpoint
        that it has not reached yet."""
        kept = [record for record in self.records() if record["images"] <= images_seen]
        write_text(self.metrics, "".join(json.dumps(record) + "\n" for record in kept))
        from gdm import checkpoints  # torch, not for a run that is not there

        best = self.best()
        if best is None or best["images"] > images_seen:
            self._best_facts.unlink(missing_ok=True)
            (self.checkpoints / checkpoints.BEST).unlink(missing_ok=True)


def create(
    recipe: dict[str, Any],
    overrides: list[str] | None = None,
    choices: dict[str, str] | None = None,
    sweep: str | None = None,
    job: str = "",
) -> Run:
    """Make a directory of its own for a new run, below the recipe's `outputs`.

    It is `<name>/<time to the microsecond>-<hash>`, the name by default `<model>/<dataset>`, or
    in a sweep `<sweep>/<job>`.

    Args:
        recipe: what the run is made from; the name is settled in it.
        overrides: what the user wrote on the command line.
        choices: the options that were chosen, of which model and dataset make the name.
        sweep: the folder of a sweep, relative to `outputs`; None for a single run.
        job: the name of this run within its sweep.

    Raises:
        UserError: if the name leads out of `outputs`.
    """
    outputs = Path(recipe["outputs"])
    if recipe["name"] is None:
        recipe["name"] = "/".join((choices or {}).get(part, part) for part in ("model", "dataset"))
    name = sweep or recipe["name"]
    parent = (outputs / name).resolve()
    if not parent.is_relative_to(outputs.resolve()) or not name.strip():
        raise UserError(f"name={name}: a run must stay inside the outputs folder ({outputs})")
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"outputs={outputs} name={name}: no folder can be made there ({error})"
        ) from error
    attempt = 1
    while True:
        stamp = job if sweep else f"{datetime.now():%Y%m%d-%H%M%S-%f}-{recipe_hash(recipe)}"
        path = outputs / name / (stamp if attempt == 1 else f"{stamp}~{attempt}")
        attempt += 1
        try:
            path.mkdir()
        except FileExistsError:  # another run has just taken the name
            continue
        run = Run(path)
        run.write_recipe(recipe, overrides or [])
        run.describe(status="created", recipe=recipe_hash(recipe), **surroundings())
        return run


def recipe_hash(recipe: dict[str, Any]) -> str:
    """Return eight letters that stand for a recipe."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]


def surroundings() -> dict[str, Any]:
    """Return what, besides the recipe, a run's bits may depend on."""
    import torch

    return {
        "created": datetime.now().astimezone().isoformat(),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def find(reference: str, outputs: Path) -> Run:
    """Return the run that a user means: a path, a unique ending of one, or `last`.

    Raises:
        UserError: if there is no such run, or more than one.
    """
    if (Path(reference) / ".hydra" / "config.yaml").is_file():
        return Run(Path(reference))
    runs = listed(outputs)
    if reference == "last" and runs:
        return runs[-1]
    ending = reference.rstrip("/")
    matches = [run for run in runs if str(run.path).endswith(ending)] if ending else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        some = "\n  ".join(str(run.path) for run in matches[:8])
        raise UserError(f"{len(matches)} runs end in '{reference}'; name more of it:\n  {some}")
    within = [str(run.path) for run in listed(Path(reference))] if ending else []
    if within:
        some = "\n  ".join(within[-5:])
        raise UserError(f"{reference} is a folder of runs; name one, the newest last:\n  {some}")
    known = "\n  ".join(str(run.path) for run in runs[-5:])
    hint = f"the newest there:\n  {known}" if runs else "there are none yet"
    raise UserError(f"no run '{reference}' in {outputs}; {hint}")


def listed(outputs: Path) -> list[Run]:
    """Return all runs in the folder of runs, the newest last."""
    paths = (path.parent.parent for path in outputs.glob("**/.hydra/config.yaml"))
    return [Run(path) for path in sorted(paths, key=_created)]


def load(
    run: str | Path | Run,
    checkpoint: str = "last",
    averaged: bool = True,
    recipe: dict[str, Any] | None = None,
    plugins: Iterable[str] = (),
) -> "GenerativeModel":
    """Return a run's model with its trained weights, on the CPU, in evaluation mode.

    Its `images_seen` are those that the weights have been trained on.

    Args:
        run: a run, its path, or what `find` finds in the folder `outputs`.
        checkpoint: `last`, or the name of another file in the run's checkpoints.
        averaged: take the average of the weights where the run has kept one.
        recipe: the run's recipe with changes that leave the weights alone; None for its own.
        plugins: packages that the recipe may name besides gdm.

    Raises:
        UserError: if there is no such run or checkpoint, or the recipe names a foreign target.
    """
    from gdm import checkpoints

    run = run if isinstance(run, Run) else find(str(run), Path("outputs"))
    path = checkpoint_path(run, checkpoint)
    recipe = recipe or run.recipe()
    model, saved = build(recipe["model"], "model", plugins), checkpoints.read(path)
    batches_seen = saved["batches_seen"]
    batch_size = run.recipe()["dataset"]["batch_size"]  # the one that it was trained with
    model.place_in_run(recipe["seed"], batch_size, max(1, batches_seen), batches_seen)
    try:
        model.load_state_dict(saved["state_dict"])
    except RuntimeError as error:
        first = str(error).splitlines()[:2][-1].strip()  # below a heading
        raise UserError(f"the weights in {path} do not fit the model: {first}") from error
    if averaged and model.ema is not None:
        model.ema.give()
    return model.eval()


def checkpoint_path(run: Run, checkpoint: str = "last") -> Path:
    """Return where a run's checkpoint lies; of `last` the newest that is whole."""
    from gdm import checkpoints

    if checkpoint == "last":
        path = checkpoints.newest_whole(run.checkpoints)
    else:
        path = run.checkpoints / f"{checkpoint}.ckpt"
        path = path if path.is_file() else None
    if path is not None:
        return path
    present = ", ".join(sorted(path.stem for path in run.checkpoints.glob("*.ckpt")))
    if not present:
        raise UserError(f"{run} has no checkpoint; train it with: {run.command('train')}")
    kept = "; the best is kept where samples are judged during training"
    raise UserError(
        f"{run} has no checkpoint '{checkpoint}'{kept if checkpoint == 'best' else ''}; "
        f"it has {present}"
    )


def _created(path: Path) -> tuple[str, str]:
    return Run(path).manifest().get("created", ""), str(path)


def _version(package: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _commit() -> str | None:
    """Return the commit of the source code, with a + if it has been changed since."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        described = subprocess.run(git, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
