"""A run of a search that is given up before its end, since earlier runs were better by then."""

import bisect
import math
from typing import Any

from gdm.evaluation.metrics import at_least_as_good, better, numbers, shown
from gdm.runs.run import Run


class Pruned(BaseException):
    """The run was given up and has been saved; like `Interrupted` it is no Exception."""


class Pruning:
    """Gives up a run whose best value so far is worse than a limit, at its validations.

    The limits are settled before the run begins, so that it ends where it would have ended however
    often it is killed, and whatever else is trained meanwhile.

    Args:
        metric: that is compared.
        limits: images seen -> the worst value allowed from there on, pairs in their order.
    """

    def __init__(self, metric: str, limits: list[list]) -> None:
        self.metric = metric
        self.limits = limits

    @classmethod
    def of(cls, trial: dict[str, Any] | None) -> "Pruning | None":
        """Return what a search has written down for one of its trials."""
        rule = (trial or {}).get("prune")
        return cls(rule["metric"], rule["limits"]) if rule and rule["limits"] else None

    def reason(self, run: Run, images_seen: int) -> str | None:
        """Return why a run is given up at its last validation; None to go on.

        Args:
            run: the run.
            images_seen: by its model, which later records are not of.
        """
        found = {i: value for i, value in curve(run, self.metric).items() if i <= images_seen}
        place = bisect.bisect([images for images, _ in self.limits], max(found, default=0))
        if not found or place == 0:
            return None
        best, limit = best_of(self.metric, list(found.values())), self.limits[place - 1][1]
        if at_least_as_good(self.metric, best, limit):
            return None
        said = [shown(self.metric, value) for value in (best, limit)]
        seen = f"{max(found):,} images"
        return f"{self.metric} is {said[0]} by {seen}, where half of the others had {said[1]}"


def curve(run: Run, metric: str) -> dict[int, float]:
    """Return a metric at the validations of a run, by the images seen, without the first one.

    Of two records of one moment the first is the training's; a later one is scripts/evaluate.py's,
    perhaps by another protocol.
    """
    found: dict[int, float] = {}
    for record in run.records():
        value = numbers(record).get(metric, math.nan)
        if record["images"] > 0 and record.get("split") == "validation":
            found.setdefault(record["images"], float(value))
    return {images: value for images, value in found.items() if math.isfinite(value)}


def best_of(metric: str, values: list[float]) -> float:
    """Return the best of some values of a metric."""
    return min(values) if better(metric) == "lower" else max(values)
