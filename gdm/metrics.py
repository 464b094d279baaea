"""What the metrics of a record are: their units, and which way is better."""

from collections import defaultdict
from typing import Any, Literal, NamedTuple

Direction = Literal["lower", "higher", "as real", ""]


class Metric(NamedTuple):
    """What there is to know of a metric besides its value.

    Args:
        unit: of the value; names in braces are other entries of the record.
        better: which way is; `as real` where the value of real images is best, and nothing where
            no value is better than another.
    """

    unit: str = ""
    better: Direction = ""


METRICS = {
    # the samples
    "frechet_distance": Metric("", "lower"),
    "kernel_distance": Metric("", "lower"),
    "kernel_distance_error": Metric("standard error"),
    "precision": Metric("fraction of samples", "higher"),
    "recall": Metric("fraction of real images", "higher"),
    "density": Metric("", "higher"),
    "coverage": Metric("fraction of real images", "higher"),
    "inception_score": Metric("", "higher"),
    "confident": Metric("fraction of samples", "as real"),
    "memorised": Metric("fraction of {num_neighbours} samples", "lower"),
    "samples_per_second": Metric("1/s", "higher"),
    "network_evaluations": Metric("per sample", "lower"),
    # the model's own
    "loss": Metric("", "lower"),
    "reconstruction": Metric("nats", "lower"),
    "kl": Metric("nats"),
    "elbo": Metric("nats", "higher"),
    "importance_weighted_bound": Metric("nats, K = {importance_samples}", "higher"),
    "bits_per_dim": Metric("bits", "lower"),
    "bits_per_dim_error": Metric("standard error, bits"),
    "bits_prior": Metric("bits per dimension"),
    "bits_diffusion": Metric("bits per dimension"),
    "bits_reconstruction": Metric("bits per dimension"),
    "active_units": Metric("units of the code"),
    "squared_error": Metric("", "lower"),
    "squared_error_from_noisy": Metric("", "lower"),
    "psnr": Metric("dB, {num_reconstructions} images", "higher"),
    "ssim": Metric("{num_reconstructions} images", "higher"),
    # a classifier's
    "cross_entropy": Metric("nats", "lower"),
    "accuracy": Metric("fraction of images", "higher"),
    "calibration_error": Metric("", "lower"),
}


def unit(name: str, record: dict[str, Any]) -> str:
    """Return the unit of a metric of a record; nothing where it has none, or is unknown."""
    counts = defaultdict(lambda: "some")
    counts |= {key: f"{value:,}" for key, value in record.items() if isinstance(value, int)}
    return METRICS.get(name, Metric()).unit.format_map(counts)


def better(name: str) -> Direction:
    """Return which way a metric is better; nothing where it is unknown."""
    return METRICS.get(name, Metric()).better
