"""What the metrics of a record are: their units, which way is better, and their decimals."""

from collections import defaultdict
from typing import Any, Literal, NamedTuple

Direction = Literal["lower", "higher", "as real", ""]


class Metric(NamedTuple):
    """What there is to know of a metric besides its value.

    Args:
        unit: of the value; names in braces are other entries of the record.
        better: which way is; `as real` where the value of real images is best, and nothing where
            no value is better than another.
        decimals: that are printed.
    """

    unit: str = ""
    better: Direction = ""
    decimals: int = 4


OF_SAMPLES = {
    "frechet_distance": Metric("", "lower", 3),
    "kernel_distance": Metric("", "lower"),
    "kernel_distance_error": Metric("standard error"),
    "precision": Metric("fraction of samples", "higher"),
    "recall": Metric("fraction of real images", "higher"),
    "density": Metric("", "higher", 3),
    "coverage": Metric("fraction of real images", "higher"),
    "inception_score": Metric("", "higher", 3),
    "confident": Metric("fraction of samples", "as real"),
    "memorised": Metric("fraction of {num_neighbours} samples", "lower"),
    "samples_per_second": Metric("1/s", "higher", 1),
    "network_evaluations": Metric("per sample", "lower", 0),
}
OF_MODELS = {
    "loss": Metric("", "lower"),
    "reconstruction": Metric("nats", "lower", 2),
    "kl": Metric("nats", decimals=2),
    "elbo": Metric("nats", "higher", 2),
    "importance_weighted_bound": Metric("nats, K = {importance_samples}", "higher", 2),
    "bits_per_dim": Metric("bits", "lower"),
    "bits_per_dim_error": Metric("standard error, bits"),
    "bits_prior": Metric("bits per dimension"),
    "bits_diffusion": Metric("bits per dimension"),
    "bits_reconstruction": Metric("bits per dimension"),
    "active_units": Metric("units of the code", decimals=0),
    "squared_error": Metric("", "lower"),
    "squared_error_from_noisy": Metric("", "lower"),
    "psnr": Metric("dB, {num_reconstructions} images", "higher", 2),
    "ssim": Metric("{num_reconstructions} images", "higher"),
    # a classifier's
    "cross_entropy": Metric("nats", "lower"),
    "accuracy": Metric("fraction of images", "higher"),
    "calibration_error": Metric("", "lower"),
}
METRICS = OF_SAMPLES | OF_MODELS


def unit(name: str, record: dict[str, Any]) -> str:
    """Return the unit of a metric of a record; nothing where it has none, or is unknown."""
    counts = defaultdict(lambda: "some")
    counts |= {key: f"{value:,}" for key, value in record.items() if isinstance(value, int)}
    return METRICS.get(name, Metric()).unit.format_map(counts)


def better(name: str) -> Direction:
    """Return which way a metric is better; nothing where it is unknown."""
    return METRICS.get(name, Metric()).better


def shown(name: str, value: float) -> str:
    """Return the value of a metric as it is printed."""
    return f"{value:,.{METRICS.get(name, Metric()).decimals}f}"


def at_least_as_good(name: str, value: float, other: float) -> bool:
    """Whether one value of a metric is as good as another, or better.

    Raises:
        ValueError: if neither way of the metric is better.
    """
    match better(name):
        case "lower":
            return value <= other
        case "higher":
            return value >= other
    raise ValueError(f"no value of {name} is better than another")


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """Return the single numbers of a record that measure something, without counts and lists.

    These are all floats, such as a metric of the user's own, and the integers among METRICS.
    """
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, float) or (isinstance(value, int) and name in METRICS)
    }
