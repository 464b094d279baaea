"""How long a run is: the same words for every family."""

from typing import Annotated

from gdm.errors import UserError
from gdm.recipes.ranges import Range

MAX_BUDGET = {"epochs": 10**6, "images": 10**12, "minutes": 10**6}  # minutes: two years
DEFAULT_EPOCHS = 12  # what a run lasts if its user says nothing
# What no run reaches, and numbers can still be counted in.
Epochs = Annotated[float, Range(0, 10**9, low_open=True)]
ManyImages = Annotated[int, Range(1, 10**15)]
Minutes = Annotated[float, Range(0, 10**6, low_open=True)]


class Budget:
    """The length of a run, in one of three units; without any it is 12 epochs.

    Args:
        epochs: how often each training image is seen.
        images: training images seen.
        minutes: wall time, evaluation included; it is measured once, before the first step, and
            turned into images.

    Raises:
        UserError: if more than one is given, or one that has no end.
    """

    def __init__(
        self, epochs: Epochs | None, images: ManyImages | None, minutes: Minutes | None
    ) -> None:
        given = {"epochs": epochs, "images": images, "minutes": minutes}
        named = [f"budget.{unit}={value}" for unit, value in given.items() if value is not None]
        if len(named) > 1:
            raise UserError(f"{' and '.join(named)}: give one of them, not {len(named)}")
        for unit, most in MAX_BUDGET.items():
            if given[unit] is not None and given[unit] > most:
                raise UserError(f"budget.{unit}={given[unit]}: a run has at most {most:,} {unit}")
        self.epochs = epochs if named else DEFAULT_EPOCHS
        self.images = images
        self.minutes = minutes

    def num_batches(self, num_train: int, batch_size: int) -> int:
        """Return the number of batches nearest to the budget, at least one.

        Args:
            num_train: number of training images.
            batch_size: images per batch.
        """
        images = self.images if self.images is not None else self.epochs * num_train
        return max(1, round(images / batch_size))


def is_due(batches_seen: int, num_batches: int, times: int) -> bool:
    """Whether one of `times` evenly spread moments of a run, the last at its end, is now."""
    return batches_seen * times // num_batches > (batches_seen - 1) * times // num_batches
