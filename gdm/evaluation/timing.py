"""How long something will take, said before it is done."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor

FIRST_TIMED_IMAGES, TIMED_SECONDS = 5, 0.2  # fewer, if these take so many seconds
log = logging.getLogger(__name__)

MAX_TIMED_IMAGES = (
    500  # images, or rows and columns of pairs, that an estimate of time is made from
)


MAX_TIMINGS = 5  # times that a part is timed, at most


def announce(seconds: dict[str, float]) -> None:
    """Say what is ahead, and about how long each part of it will take."""
    parts = ", ".join(f"{name} {part:.0f} s" for name, part in seconds.items() if part >= 0.5)
    log.info("about %.0f s%s", max(1, sum(seconds.values())), f": {parts}" if parts else "")


class Clock:
    """Passes batches on and measures how long they take to make."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self.batches = batches
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            started = time.perf_counter()
            batch = next(self.batches, None)
            self.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def seconds_each(act: Callable[[int], Any], most: int = MAX_TIMED_IMAGES) -> float:
    """Return what one image takes, from as many as take long enough to tell, at most `most`."""
    few = min(FIRST_TIMED_IMAGES, most)
    while (seconds := seconds_of(partial(act, few))) < TIMED_SECONDS and few < most:
        few = min(4 * few, most)
    return seconds / few


def seconds_of(act: Callable[[], Any]) -> float:
    """Return the least of a few times: the first allocates, and a busy machine adds to others."""
    found = []
    while len(found) < 2 or (len(found) < MAX_TIMINGS and sum(found) < TIMED_SECONDS):
        started = time.perf_counter()
        act()
        found.append(time.perf_counter() - started)
    return min(found)
