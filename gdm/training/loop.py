"""Many callbacks at the price of one."""

from collections.abc import Callable, Iterable
from itertools import chain

from pytorch_lightning import Callback

HOOKS = [name for name in vars(Callback) if name.startswith(("on_", "setup", "teardown"))]


class Together(Callback):
    """Calls several callbacks in their order, each at the hooks that it defines.

    Lightning visits every callback at half a dozen hooks a step, whether it defines them or not,
    which costs more than what most of them do.

    Args:
        parts: the callbacks; none may have a state of its own to be saved.
    """

    def __init__(self, parts: Iterable[Callback]) -> None:
        self.parts = list(parts)
        for hook in HOOKS:
            users = [getattr(part, hook) for part in self.parts if defines(part, hook)]
            if users:
                setattr(self, hook, _in_order(users))


def defines(callback: Callback, name: str) -> bool:
    """Whether a callback defines a method itself."""
    return getattr(type(callback), name) is not getattr(Callback, name)


def part_of(trainer, kind: type[Callback]) -> Callback | None:
    """Return the trainer's callback of a kind, or None."""
    bundles = (each.parts if isinstance(each, Together) else [each] for each in trainer.callbacks)
    return first_of(chain.from_iterable(bundles), kind)


def first_of(callbacks: Iterable[Callback | None], kind: type[Callback]) -> Callback | None:
    """Return the first callback of a kind, or None."""
    return next((each for each in callbacks if isinstance(each, kind)), None)


def _in_order(users: list[Callable]) -> Callable:
    def call(*arguments, **named) -> None:
        for user in users:
            user(*arguments, **named)

    return call
