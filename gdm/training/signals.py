"""How a run stops when it is asked to."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

# Besides Ctrl-C and kill: a closed terminal, and Slurm's warning before a job's time is up.
NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
NUMBERS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Interrupted(BaseException):
    """The run was asked to stop; while it trained, it has been saved where the disk allowed it.

    Like Ctrl-C itself it is no Exception: it may come anywhere, and a library that catches what
    goes wrong in its own work must not take it for that.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class Signals:
    """Takes SIGTERM, Ctrl-C, SIGHUP and SIGUSR1: a training run is saved after the step and stops.

    A second signal, or one at a time when nothing is trained, stops at once. A SIGHUP that is
    ignored already, as nohup has it, stays so.

    Attributes:
        received: the signal that a training run is to stop for; None for none.
    """

    def __init__(self) -> None:
        self._taken = NUMBERS
        self.received: int | None = None
        self._training = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals for a while."""
        self._taken = tuple(number for number in NUMBERS if not _is_ignored_hangup(number))
        before = {number: signal.signal(number, self._on_signal) for number in self._taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self) -> None:
        """From now on a step is trained, and a signal waits for its end."""
        self._training, self.received = True, None
        for number in self._taken:  # Lightning has put a handler of its own before ours
            signal.signal(number, self._on_signal)

    def stop(self) -> None:
        """From now on a signal stops at once."""
        self._training = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._training or self.received is not None:
            raise Interrupted(number)
        self.received = number
        log.info("%s: saving after this step", signal.Signals(number).name)


def _is_ignored_hangup(number: int) -> bool:
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN
