"""Quality against cost: the distance of a model's samples over the network evaluations of each."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdm.errors import UserError
from gdm.evaluation import metrics
from gdm.evaluation.extractors import Extractor
from gdm.files import named_file, write_text
from gdm.pictures import grids
from gdm.pictures.diffusion import quality_cost
from gdm.pictures.figures import Curve, save_figure
from gdm.recipes.build import build
from gdm.recipes.ranges import Count, Seed
from gdm.recipes.spelling import nearest
from gdm.runs import catalogue
from gdm.theory.samplers import Sampler
from gdm.tools.open_run import OpenRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = ("model", "sampler")  # columns of words; the others are of numbers
COLUMNS = (*WORDS, "steps", "network evaluations", "Frechet distance", "seconds per sample")
MEASURED = ("network_evaluations", "frechet_distance")  # the metrics among them
TABLES = (".md", ".json")  # endings of the files that are written beside the picture
OTHER_PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".eps", ".ps")


@dataclass(frozen=True)
class QualityCostOptions:
    """The keys of scripts/quality_cost.py.

    Args:
        run: its directory, a unique ending of its path, or last.
        compare: further runs of any family, trained on the same data, one point each: [RUN,...].
        samplers: options of sampler=, with the arguments in configs/sampler/; heun evaluates the
            network twice per step.
        steps: of each sampler.
        outputs: the folder of all runs.
        num_samples: at every point.
        seed: of the samples.
        averaged: false takes the weights themselves instead of their average.
        checkpoint: last or best.
        extractor: classifier or inception.
        batch_size: images at a time; null for as many as are small enough together.
        to: the picture's file, .png, .pdf or .svg; the tables get its name. null for one in the
            run's samples/.
    """

    run: str | None
    compare: list[str]
    samplers: list[str]
    steps: list[Count]
    outputs: str
    num_samples: Count
    seed: Seed
    averaged: bool
    checkpoint: str
    extractor: Callable[..., Extractor]
    batch_size: Count | None
    to: str | None


@dataclass
class SamplerSetting:
    """A sampler of the run's model, with its number of steps.

    Args:
        name: the option of `sampler=`.
        node: what builds the sampler.
        sampler: the sampler.
    """

    name: str
    node: dict[str, Any]
    sampler: Sampler


# What was asked for ------------------------------------------------------------------------------


def sampler_settings(
    options: QualityCostOptions, nodes: dict[str, dict[str, Any]], plugins: Iterable[str] = ()
) -> list[SamplerSetting]:
    """Return every sampler that is asked for, with every number of steps.

    Args:
        options: the keys of the script.
        nodes: option of `sampler=` -> what builds it.
        plugins: packages that a node may name besides gdm.

    Raises:
        UserError: if a list is empty, or there is no such sampler.
    """
    for key, example in (("samplers", "[ddim,heun]"), ("steps", "[5,10]")):
        if not getattr(options, key):
            raise UserError(f"{key}=[]: name one at least, such as {key}={example}")
    for name in options.samplers:
        if name not in nodes:
            raise UserError(
                f"samplers=[{name}]: there is no such sampler{nearest(name, nodes)}; "
                f"there are {', '.join(nodes)}"
            )
    found = []
    for name in dict.fromkeys(options.samplers):
        for num_steps in sorted(set(options.steps)):
            node = nodes[name] | {"num_steps": num_steps}
            found.append(SamplerSetting(name, node, build(node, f"samplers.{name}", plugins)))
    return found


def refuse_without_sampler(opened: OpenRun) -> None:
    """Refuse a run of a model whose samples come at one price.

    Raises:
        UserError: saying where such a run has its place.
    """
    if not opened.model.has_sampler:
        raise UserError(
            f"{opened.run}: its model has no sampler whose steps could be chosen; name a run of a "
            "diffusion model, and this one in compare=[...]"
        )


def refuse_idle(overrides: Iterable[str]) -> None:
    """Refuse what a user has written of the run's own sampler, which makes no point.

    Raises:
        UserError: naming the keys that do.
    """
    idle = [text for text in overrides if text.startswith(("sampler=", "model.sampler"))]
    if idle:
        raise UserError(
            f"{' '.join(idle)}: here samplers=[...] and steps=[...] say what samples are made by"
        )


def curve_path(options: QualityCostOptions, opened: OpenRun, extractor: Extractor) -> Path:
    """Return the picture's file: what `to` names, or one beside the run's samples whose name
    tells apart what was asked for. The tables go beside it.

    Raises:
        UserError: if one of them cannot be written.
    """
    if options.to:
        path = Path(options.to)
        if path.suffix.lower() in OTHER_PICTURES:
            grids.refuse_ending(path)
        if path.suffix in TABLES:
            path = path.with_suffix(".png")
        elif path.suffix.lower() not in grids.ENDINGS:
            path = Path(f"{path}.png")
    else:
        keys = vars(options).items()
        asked = {key: value for key, value in keys if key not in ("extractor", "to")}
        evaluated_by = {"data": opened.data.fingerprint, "extractor": extractor.checksum}
        digest = catalogue.recipe_hash(asked | evaluated_by | {"model": opened.recipe["model"]})
        name = f"quality-cost-{options.num_samples}-{extractor.name}-{digest}.png"
        path = opened.run.samples / name
    for each in (path, *_tables(path)):
        named_file(each, "curve.png")
    return path


# What is written ---------------------------------------------------------------------------------


def title(record: dict[str, Any]) -> str:
    """Say what the numbers of a record depend on."""
    return (
        f"{record['n']:,} samples, {record['num_reference']:,} {record['split']} images of "
        f"{record['dataset']}, {record['extractor']} {record['extractor_checksum']}"
    )


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return a record as cells under COLUMNS: one row per point, then the real images."""
    cells = [
        [
            point["name"],
            point.get("sampler", ""),
            str(point.get("steps", "")),
            *(metrics.shown(name, point[name]) for name in MEASURED),
            f"{point['seconds_per_sample']:.2g}",
        ]
        for point in record["points"]
    ]
    of_real = metrics.shown("frechet_distance", record["real"]["frechet_distance"])
    return [*cells, [_real(record), "", "", "", of_real, ""]]


def markdown(record: dict[str, Any]) -> str:
    """Return a record as a table in Markdown."""
    rules = ["---" if name in WORDS else "---:" for name in COLUMNS]
    table = [f"| {' | '.join(cells)} |" for cells in (COLUMNS, rules, *rows(record))]
    weights = "; ".join(
        f"{name}: {run}, {checkpoint}, {kind} weights"
        for name, run, checkpoint, kind in dict.fromkeys(
            (each["name"], each["run"], each["checkpoint"], each["weights"])
            for each in record["points"]
        )
    )
    notes = f"{title(record)}, seed {record['seed']}; timed on {record['device']}. {weights}."
    return "\n".join([*table, "", notes, ""])


def picture(record: dict[str, Any]) -> "Figure":
    """Draw a record: one line per sampler, and one point per further run."""
    curves: dict[str, Curve] = {}
    points = {}
    for point in record["points"]:
        place = point["network_evaluations"], point["frechet_distance"]
        if "sampler" in point:
            costs, values = curves.setdefault(point["sampler"], ([], []))
            costs.append(place[0])
            values.append(place[1])
        else:
            points[point["name"]] = place
    model = next(point["name"] for point in record["points"] if "sampler" in point)
    labels = {
        "x": "network evaluations per sample",
        "y": f"Frechet distance of {record['n']:,} samples ({record['extractor']})",
        "title": f"{model} on {record['dataset']}",
        "real": _real(record),
    }
    return quality_cost(curves, points, record["real"]["frechet_distance"], labels)


def _real(record: dict[str, Any]) -> str:
    return f"{record['real']['n']:,} real images"


def write(record: dict[str, Any], path: Path) -> list[Path]:
    """Write a record as JSON, as Markdown and as a picture; return what is written.

    Args:
        record: what `measure` returns.
        path: the picture's file.
    """
    try:
        write_text(path.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
        write_text(path.with_suffix(".md"), markdown(record))
        save_figure(picture(record), path)
    except OSError as error:
        raise UserError(f"could not write {path} ({error}); to=FILE.png names another") from error
    return [path, *_tables(path)]


def _tables(path: Path) -> list[Path]:
    return [path.with_suffix(ending) for ending in TABLES]
