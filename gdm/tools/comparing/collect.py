"""Run directories -> what is to be compared: finished runs with their numbers, and the others."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdm.errors import UserError
from gdm.recipes.check import show
from gdm.recipes.moved import upgraded
from gdm.recipes.terminal import command, override
from gdm.recipes.tree import PARTIAL, TARGET, changes, flat, nodes
from gdm.runs import catalogue
from gdm.runs.run import Run, trained_part
from gdm.tools.comparing.columns import Facts, Measurement, cost, measurements
from gdm.tools.comparing.comparison import Curve, Member, Unfinished

ROOMS = ("model", "dataset", "budget", "trainer")  # of a recipe; the rest leaves the weights alone
OUR_CALLBACKS = ("metrics", "validation", "checkpoints", "progress")
FOUND = "facts"  # a node that the data settle
WHY = {  # status -> why a run is in no row, where it does not say so itself
    "created": "nothing of it has been trained yet",
    "running": "it is being trained, or was killed",
    "interrupted": "it was asked to stop",
    "pruned": "the search stopped it early",
    "diverged": "a metric of training became NaN or infinite",
    "failed": "it failed; its train.log may say why",
}


@dataclass(frozen=True)
class Finished:
    """A finished run as it was read.

    Args:
        member: what a comparison says of it.
        model: what its model is called.
        settings: full key -> value as text, of all that its weights may depend on.
        data: fingerprint of its images.
        created: when, ISO 8601.
        version: of the code that made it.
        device: where it was trained.
        found: column key -> the newest number there.
    """

    member: Member
    model: str
    settings: dict[str, str]
    data: str
    created: str
    version: str
    device: str
    found: dict[str, Measurement]


def runs_of(references: Sequence[str], outputs: Path) -> list[Run]:
    """Return the runs that a user means, each once.

    Args:
        references: run directories, folders of runs, globs, endings of runs, or `last`.
        outputs: the folder of all runs.

    Raises:
        UserError: if one of them stands for no run.
    """
    found: dict[Path, Run] = {}
    for reference in references:
        for path in _paths(reference, outputs):
            found.setdefault(path.resolve(), Run(path))
    return list(found.values())


def read(run: Run, curves: Iterable[str]) -> Finished | Unfinished:
    """Read a run directory, whatever state it is in.

    Args:
        run: the run.
        curves: the names of metrics whose curves are kept.
    """
    try:
        recipe, manifest = run.recipe_as_written(), run.manifest()
    except UserError as error:
        return Unfinished(str(run), "unreadable", 0, str(error), "")
    records = run.checked_records()
    if manifest.get("status") != "finished":
        return _unfinished(run, manifest, [record for record, _ in records])
    marks = _marks(run, recipe, manifest, [edited for _, edited in records])
    return _finished(run, upgraded(recipe), manifest, [each for each, _ in records], marks, curves)


# Which runs --------------------------------------------------------------------------------------


def _paths(reference: str, outputs: Path) -> list[Path]:
    if not reference.strip():
        raise UserError("runs=['']: name runs, sweeps or globs, such as outputs/sweeps/families")
    for folder in (Path(reference), outputs / reference, outputs / "sweeps" / reference):
        if folder.is_dir():
            return _within(folder, reference)
    if glob.has_magic(reference):
        matches = sorted(glob.glob(reference)) or sorted(glob.glob(str(outputs / reference)))
        found = [path for each in matches for path in catalogue.below(Path(each))]
        if not found:
            raise UserError(f"{reference}: no run matches; is it relative to {Path.cwd()}?")
        return found
    return [catalogue.find(reference, outputs).path]


def _within(folder: Path, reference: str) -> list[Path]:
    found = catalogue.below(folder)
    if not found:
        raise UserError(f"{reference}: there is no run in this folder")
    return found


# A run that is not finished ----------------------------------------------------------------------


def _unfinished(run: Run, manifest: dict[str, Any], records: list[dict[str, Any]]) -> Unfinished:
    status = manifest.get("status", "unknown")
    error = manifest.get("error")
    why = " ".join(error.split()) if isinstance(error, str) and error.strip() else ""
    seen = max([manifest.get("images_seen", 0), *(each["images"] for each in records)])
    if status == "diverged":  # going on would end there again
        go_on = command("train", override("rerun", run.path), "model.max_gradient_norm=1")
    else:
        go_on = run.command("train")
    why = why or WHY.get(status, "its manifest.json does not say that it is finished")
    return Unfinished(str(run), status, seen, why, go_on)


# A finished run ----------------------------------------------------------------------------------


def _finished(
    run: Run,
    recipe: dict[str, Any],
    manifest: dict[str, Any],
    records: list[dict[str, Any]],
    marks: list[str],
    curves: Iterable[str],
) -> Finished:
    data, device = str(manifest.get("data", "")), str(manifest.get("device", ""))
    dataset = _class_name(recipe["dataset"].get("source"))
    facts = Facts(data, dataset, has_average=recipe["model"].get("ema") is not None)
    seen, seconds = manifest.get("images_seen", 0), manifest.get("seconds")
    current = [each for each in records if _is_current(each, seen, run)]
    if any(each.get("split") == "test" for each in records if each not in current):
        marks.append("evaluated before it was trained to its end; evaluate it again: "
                     f"{run.command('evaluate')}")  # fmt: skip
    found = {each.column.key: each for each in _costs(manifest)}
    for record in current:  # the newest of each protocol is the last
        found |= {each.column.key: each for each in measurements(record, facts)}
    picture = Path(str(run), run.samples.name, "final.png")
    member = Member(
        path=str(run),
        seed=recipe["seed"],
        status="finished",
        images_seen=seen,
        minutes=None if seconds is None else seconds / 60,
        marks=marks,
        picture=str(picture) if picture.is_file() else None,
        curves=_curves(records, manifest, facts, set(curves)),
    )
    created = manifest.get("created", "")
    version = str(manifest.get("commit") or _own_version(manifest))
    model = model_name(recipe)
    settings = settings_of(recipe, manifest)
    return Finished(member, model, settings, data, created, version, device, found)


def _is_current(record: dict[str, Any], images_seen: int, run: Run) -> bool:
    """Whether a record is of the run as it is now, and not of where it once stood."""
    if record.get("split") == "test" and record.get("checkpoint") == "best":
        best = run.best()
        return best is not None and best["images"] == record["images"]
    return record["images"] == images_seen


def _costs(manifest: dict[str, Any]) -> Iterable[Measurement]:
    seconds = manifest.get("seconds")
    known = {
        "parameters": manifest.get("num_parameters"),
        "images_seen": manifest.get("images_seen"),
        "minutes": None if seconds is None else seconds / 60,
        "peak_memory": manifest.get("peak_memory_mib"),
    }
    return [cost(name, value) for name, value in known.items() if isinstance(value, int | float)]


def _curves(
    records: list[dict[str, Any]], manifest: dict[str, Any], facts: Facts, names: set[str]
) -> list[Curve]:
    """Return how metrics went over the validations, the later of two at the same place."""
    when = manifest.get("validated_at", {})
    points: dict[str, dict[int, Measurement]] = {}
    for record in records:
        if record.get("split") != "validation":
            continue
        for each in measurements(record, facts, names):
            points.setdefault(each.column.key, {})[record["images"]] = each
    curves = []
    for key, by_images in points.items():
        images = sorted(by_images)
        seconds = [when.get(str(each)) for each in images]
        minutes = [each / 60 if isinstance(each, int | float) else None for each in seconds]
        values = [by_images[each].value for each in images]
        curves.append(Curve(by_images[images[0]].column.name, key, images, minutes, values))
    return curves


def model_name(recipe: dict[str, Any]) -> str:
    """Return what a run's model is called: its option, where the run's name has it."""
    option, slash, _ = str(recipe.get("name") or "").partition("/")
    return option if slash and option else _class_name(recipe["model"])


def settings_of(recipe: dict[str, Any], manifest: dict[str, Any]) -> dict[str, str]:
    """Return all that weights may depend on, by full keys: what is built by its class, the rest as
    it is typed. A budget that was given in minutes is those minutes, whatever they were settled
    to."""
    kept = {room: recipe[room] for room in ROOMS if isinstance(recipe.get(room), dict)}
    callbacks = recipe.get("callbacks")
    own = callbacks.items() if isinstance(callbacks, dict) else ()
    kept["callbacks"] = {name: each for name, each in own if name not in OUR_CALLBACKS}
    wish = manifest.get("minutes_wished")
    if wish is not None:
        kept["budget"] = kept.get("budget", {}) | {"images": None, "epochs": None, "minutes": wish}
    settings = {key: _class_name(node) for key, node in nodes(kept)}
    for key, value in flat(kept).items():
        parts = key.split(".")
        if parts[-1] not in (TARGET, PARTIAL) and FOUND not in parts:
            settings[key] = "null" if value == "None" else show(value)
    return {key: value for key, value in settings.items() if FOUND not in key.split(".")}


def _class_name(node: Any) -> str:
    """Return the class of a node, one of gdm without its module."""
    target = str(node.get(TARGET, "")) if isinstance(node, dict) else ""
    return target.rpartition(".")[2] if target.startswith("gdm.") else target


def _own_version(manifest: dict[str, Any]) -> str:
    versions = manifest.get("versions")
    return str(versions.get("gdm", "")) if isinstance(versions, dict) else ""


# What makes its numbers doubtful -----------------------------------------------------------------


def _marks(
    run: Run, recipe: dict[str, Any], manifest: dict[str, Any], edited: list[bool]
) -> list[str]:
    """Return what a reader of a run's numbers must know."""
    marks = []
    trained = manifest.get("trained_recipe")  # before there was one, hashes were of another moment
    if trained is not None and manifest.get("recipe") != catalogue.recipe_hash(recipe):
        marks.append(f"recipe edited since it was trained{_differences(recipe, trained)}")
    lines = [str(number) for number, was_edited in enumerate(edited, 1) if was_edited]
    if lines:
        marks.append(
            f"metrics.jsonl edited: record {', '.join(lines)} is not what was written, or what it "
            "followed is gone"
        )
    if manifest.get("extended"):
        marks.append("made longer after it was trained for a shorter budget")
    return marks


def _differences(recipe: dict[str, Any], trained: dict[str, Any]) -> str:
    """Name the keys that are no longer what was trained."""
    now, before = trained_part(upgraded(recipe)), flat(trained)
    differing = changes(trained, now).items()
    named = [f"{key} is {show(value)}, was {show(before.get(key))}" for key, value in differing]
    return f": {', '.join(named)}" if named else " (outside of seed, model and dataset)"
