"""A record of an evaluation -> its single numbers, each with the column that it belongs in.

Two numbers share a column only if they were measured in the same way.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from gdm.evaluation import metrics
from gdm.recipes.check import show
from gdm.tools.comparing.comparison import Column

MAIN = (
    "frechet_distance",
    "kernel_distance",
    "bits_per_dim",
    "accuracy",
)  # unless others are named
OF_LIKELIHOOD = ("bits_per_dim", "bits_per_dim_error", "elbo")
WITH_SAMPLES = ("samples_per_second", "network_evaluations")  # costs that an evaluation measures
OF_RUNS = {  # costs that a run's manifest knows: unit, decimals, how
    "parameters": ("", 0, "weights that are trained"),
    "images_seen": ("", 0, "training images, each time that they are seen"),
    "minutes": ("min", 1, "wall time of training, validation included"),
    "peak_memory": ("MiB", 0, "of the training process"),
}
COSTS = (*OF_RUNS, *WITH_SAMPLES)


@dataclass(frozen=True)
class Facts:
    """What decides, besides a record, how it was measured.

    Args:
        data: fingerprint of the run's images.
        dataset: their name.
        has_average: whether the run keeps an average of its weights.
    """

    data: str
    dataset: str
    has_average: bool


@dataclass(frozen=True)
class Measurement:
    """A number, the column that it belongs in, and what held-out real images score there."""

    column: Column
    value: float
    real: float | None


def measurements(
    record: dict[str, Any], facts: Facts, names: Container[str] | None = None
) -> Iterator[Measurement]:
    """Yield the single numbers of a record, of some metrics or of all."""
    real = record.get("real") if isinstance(record.get("real"), dict) else {}
    for name, value in metrics.numbers(record).items():
        if names is not None and name not in names:
            continue
        of_real = real.get(name)
        floor = float(of_real) if isinstance(of_real, int | float) else None
        yield Measurement(column_of(name, record, facts), float(value), floor)


def cost(name: str, value: float) -> Measurement:
    """Return a number of a run's manifest with its column."""
    unit, decimals, how = OF_RUNS[name]
    better = "" if name == "images_seen" else "lower"
    return Measurement(Column(name, name, unit, better, decimals, "cost", how), float(value), None)


def column_of(name: str, record: dict[str, Any], facts: Facts) -> Column:
    """Return the column of a metric of a record."""
    if name in WITH_SAMPLES:
        protocol = _of_cost(record)
    elif name in metrics.OF_SAMPLES:
        protocol = _of_samples(name, record, facts)
    else:
        protocol = _of_model(name, record, facts)
    return _column(name, metrics.unit(name, record), tuple(protocol.items()))


@cache
def _column(name: str, unit: str, protocol: tuple[tuple[str, str], ...]) -> Column:
    """Return one object for one column, whatever number of runs it has."""
    metric = metrics.METRICS.get(name, metrics.Metric())
    key = "|".join([name, *(short for short, _ in protocol if short)])
    how = ", ".join(said for _, said in protocol if said)
    kind = "cost" if name in WITH_SAMPLES else "metric"
    return Column(key, name, unit, metric.better, metric.decimals, kind, how)


# How it was measured: part of the key -> what is said of it --------------------------------------


def _of_samples(name: str, record: dict[str, Any], facts: Facts) -> dict[str, str]:
    split, n, reference = record.get("split"), record.get("n"), record.get("num_reference")
    extractor = f"{record.get('extractor')} {record.get('extractor_checksum')}"
    return {
        str(split): "during training" if split == "validation" else "",
        f"n={n}": f"{_count(n)} samples",
        f"of={reference}": f"{_count(reference)} {split} images of {facts.dataset}",
        extractor.replace(" ", "-"): extractor,
        **_of_memory(name, record),
        **_of_both(record, facts),
        **_of_real(name, record),
    }


def _of_model(name: str, record: dict[str, Any], facts: Facts) -> dict[str, str]:
    split, count = record.get("split"), record.get("num_images")
    by_images = {
        str(split): "during training" if split == "validation" else "",
        f"n={count}": f"{_count(count)} {split} images of {facts.dataset}",
    }
    return _of_kind(name, record) | by_images | _of_numbers(name, record) | _of_both(record, facts)


def _of_cost(record: dict[str, Any]) -> dict[str, str]:
    return {"": "of the newest evaluation of samples", **_of_changes(record)}


def _of_kind(name: str, record: dict[str, Any]) -> dict[str, str]:
    """Say whether a likelihood is exact or a bound; the two never share a column."""
    if name not in OF_LIKELIHOOD:
        return {}
    kind = "bound" if name == "elbo" else record.get("likelihood")
    if kind is None:
        return {"kind-unknown": "exact or a bound: not recorded"}
    return {str(kind): "exact" if kind == "exact" else "a bound"}


def _of_numbers(name: str, record: dict[str, Any]) -> dict[str, str]:
    """Say how many images or codes some metrics take."""
    if name in ("psnr", "ssim"):
        count = record.get("num_reconstructions")
        return {f"back={count}": f"{_count(count)} of them encoded and decoded"}
    if name == "importance_weighted_bound":
        return {f"K={record.get('importance_samples')}": "a bound"}
    return {}


def _of_memory(name: str, record: dict[str, Any]) -> dict[str, str]:
    if name != "memorised":
        return {}
    return {f"k={record.get('num_neighbours')}": f"{_count(record.get('num_neighbours'))} of them"}


def _of_both(record: dict[str, Any], facts: Facts) -> dict[str, str]:
    """Say which weights were judged, on which data, and with which changes.

    A model that keeps no average has only one kind of weights, which stand beside the averages of
    others.
    """
    raw = record.get("weights") == "raw" and facts.has_average
    checkpoint = record.get("checkpoint", "last")
    checkpoint = "last" if checkpoint == "previous" else str(checkpoint)
    return {
        "raw" if raw else "average": "weights without their average" if raw else
        "averaged weights where there is an average",
        checkpoint: f"{checkpoint} checkpoint" if "checkpoint" in record else "",
        f"data={record.get('data', facts.data)}": "",
        **_of_changes(record),
    }  # fmt: skip


def _of_changes(record: dict[str, Any]) -> dict[str, str]:
    changed = record.get("changed")
    if not isinstance(changed, dict) or not changed:
        return {}
    written = " ".join(f"{key}={show(value)}" for key, value in sorted(changed.items()))
    return {written: f"with {written}"}


def _of_real(name: str, record: dict[str, Any]) -> dict[str, str]:
    """Say how many real images stand beside the samples; no other column for that."""
    real = record.get("real")
    if not isinstance(real, dict) or name not in real:
        return {}
    return {"": f"beside them {_count(real.get('n'))} held-out real images"}


def _count(number: Any) -> str:
    return f"{number:,}" if isinstance(number, int) else "an unknown number of"
