"""Hydra's syntax for several values of a key -> what Optuna searches."""

from decimal import Decimal
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)

from gdm.errors import UserError
from gdm.recipes.spelling import nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TAGS = ("log", "int")


def distribution(override: Override) -> "BaseDistribution":
    """Return what Optuna knows as the values of a dimension.

    Raises:
        UserError: for what has no values, or none of that kind.
    """
    from optuna.distributions import CategoricalDistribution

    sweep = override.value()
    tags = set(getattr(sweep, "tags", ()))
    for tag in tags - set(TAGS):
        raise UserError(f"{override.input_line}: no tag is {tag}{nearest(tag, TAGS)}")
    if isinstance(sweep, IntervalSweep):
        return _interval(override.input_line, sweep, tags)
    if isinstance(sweep, RangeSweep):
        return _range(override, tags)
    if tags:
        raise UserError(f"{override.input_line}: tags are for intervals and ranges")
    if isinstance(sweep, ChoiceSweep):  # in its order, though it were to be shuffled
        choices = map(Transformer.str, sweep.list)
    else:
        choices = override.sweep_string_iterator()
    choices = list(dict.fromkeys(choices))
    if not choices:
        raise UserError(f"{override.input_line}: there is no such option")
    return CategoricalDistribution(choices)


def _interval(text: str, sweep: IntervalSweep, tags: set[str]) -> "BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    is_log, low, high = "log" in tags, sweep.start, sweep.end
    if low > high:
        raise UserError(f"{text}: an interval begins with the smaller number")
    if is_log and low <= 0:
        raise UserError(f"{text}: with the tag log all of it must be above 0")
    if "int" in tags or isinstance(low, int):
        if int(low) != low or int(high) != high:
            raise UserError(f"{text}: whole numbers lie between whole numbers")
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)


def _range(override: Override, tags: set[str]) -> "BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    text, sweep = override.input_line, override.value()
    numbers = sorted(sweep.range())
    if not numbers:
        raise UserError(f"{text}: no number is in that range")
    low, high, step = numbers[0], numbers[-1], abs(sweep.step)
    is_log = "log" in tags
    if is_log and (step != 1 or low <= 0 or not isinstance(low, int)):
        raise UserError(f"{text}: the tag log wants whole numbers above 0, by steps of 1")
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(low, high, log=is_log, step=step)
    low, step = Decimal(f"{low:.12g}"), Decimal(str(step))  # 0.1, not what it is in bits
    return FloatDistribution(float(low), float(low + (len(numbers) - 1) * step), step=float(step))
