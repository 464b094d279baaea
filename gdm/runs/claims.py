"""Claims: work that processes share, on one machine or on many, is done by one of them.

A claim is a file with a number. Who takes work over makes the file with the next number, which of
all that try only one can, and the highest number holds. On one machine a lock of the operating
system tells whether the holder lives; it outlasts a sleep, no clock enters it, and it ends with
the process. Of another machine one sees a counter go on, which the holder raises every few
seconds; only if it has stood still for minutes, by the own clock that no one sets, is the holder
taken for dead.
"""

import contextlib
import glob
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gdm.errors import UserError
from gdm.files import is_locked

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
LOOK_SECONDS = 1.0  # in which nobody who only looks has a lock any more
SILENT_SECONDS = 300.0  # without a beat, after which a process elsewhere is taken for dead
LOST_STATUS = 75  # exit status of who finds its work taken over: try again (sysexits.h)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class HeldError(Exception):
    """Another process has the work."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__(f"process {holder.get('process')} on {holder.get('host')}")


@dataclass(frozen=True)
class _Claim:
    """The newest claim of a piece of work: its number, and what its file says."""

    number: int
    facts: dict[str, Any]

    @property
    def is_held(self) -> bool:
        return self.number > 0 and not self.facts.get("released")

    @property
    def is_of_this_machine(self) -> bool:
        """Whether the holder is a process here, of now or from before the last start."""
        me = _me()
        return me["boot"] == self.facts.get("boot") or me["host"] == self.facts.get("host")


class Claims:
    """The claims of a folder, such as those of a sweep, by names.

    Args:
        folder: where their files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[_Claim, float]] = {}  # name -> what was seen first when

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold the work of a name while the block runs.

        Raises:
            HeldError: if another process has it.
            UserError: if no claim can be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock(name), timeout=LOOK_SECONDS)
            lock.acquire()
        except Timeout:
            raise HeldError(self._newest(name).facts) from None
        except (OSError, NotImplementedError) as error:  # the latter where files have no locks
            raise UserError(f"{self.folder}: nothing can be claimed there ({error})") from error
        try:
            claim = self._take(name)
            beating = _Beating(self, name, claim)
            beating.start()
            try:
                yield
            finally:
                beating.stop()
        finally:
            lock.release()

    def holder(self, name: str) -> dict[str, Any] | None:
        """Return who has the work of a name: `host`, `process`, `boot`, `beat`; None for nobody.

        Whoever asks again and again finds out that a holder on another machine is dead, and then
        releases what it held, so that any process can have it.
        """
        claim = self._newest(name)
        if not claim.is_held:
            return None
        if claim.is_of_this_machine:
            return claim.facts if is_locked(self._lock(name)) else None
        if not self._is_silent(name, claim):
            return claim.facts
        with contextlib.suppress(OSError):  # such as that somebody else has released it
            self._make(name, _Claim(claim.number + 1, _me() | {"released": True}))
        return None

    def _take(self, name: str) -> _Claim:
        """Make the next claim, within the lock, so that no process of this machine has it."""
        before = self._newest(name)
        if before.is_held and not before.is_of_this_machine:
            raise HeldError(before.facts)
        claim = _Claim(before.number + 1, _me() | {"beat": 0})
        try:
            self._make(name, claim)
        except FileExistsError:  # another machine was faster
            raise HeldError(self._newest(name).facts) from None
        except OSError as error:
            raise UserError(f"{self.folder}: nothing can be claimed there ({error})") from error
        for number in self.numbers(name):
            if number < claim.number:
                self.path(name, number).unlink(missing_ok=True)
        return claim

    def _make(self, name: str, claim: _Claim) -> None:
        """Make the file of a claim, whole; of all that try one succeeds.

        Raises:
            FileExistsError: if it is there.
            OSError: if it cannot be written.
        """
        path = self.path(name, claim.number)
        whole = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            whole.write_text(json.dumps(claim.facts), encoding="utf-8")
            _link(whole, path)
        finally:
            whole.unlink(missing_ok=True)

    def _is_silent(self, name: str, claim: _Claim) -> bool:
        first, since = self._seen.get(name, (None, 0.0))
        if first != claim:
            self._seen[name] = claim, time.monotonic()
            return False
        return time.monotonic() - since > SILENT_SECONDS

    def _newest(self, name: str) -> _Claim:
        number = max(self.numbers(name), default=0)
        facts = {}
        with contextlib.suppress(OSError, ValueError):  # half written, or just replaced
            facts = json.loads(self.path(name, number).read_text(encoding="utf-8"))
        return _Claim(number, facts if isinstance(facts, dict) else {})

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of the claims of a name."""
        paths = self.folder.glob(f"{glob.escape(name)}.*.json")
        parts = (path.name.removeprefix(name).split(".") for path in paths)
        return [int(number) for _, number, _ in parts if number.isdigit()]

    def path(self, name: str, number: int) -> Path:
        """Return the file of a claim."""
        return self.folder / f"{name}.{number}.json"

    def _lock(self, name: str) -> Path:
        return self.folder / f"{name}.lock"


class _Beating(threading.Thread):
    """Raises the counter of a claim; ends the process if the claim has been taken over, since two
    processes must never write into one run."""

    def __init__(self, claims: Claims, name: str, claim: _Claim) -> None:
        super().__init__(daemon=True, name=f"claim {name}")
        self._claims, self._name, self._claim = claims, name, claim
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            if not self._is_newest():
                log.error("%s was taken over by another machine while this one slept", self._name)
                os._exit(LOST_STATUS)
            self._claim.facts["beat"] += 1
            self._write()

    def stop(self) -> None:
        """Release the claim."""
        self._stopped.set()
        self.join()
        self._claim.facts["released"] = True
        if self._is_newest():
            self._write()

    def _is_newest(self) -> bool:
        try:
            return max(self._claims.numbers(self._name), default=0) <= self._claim.number
        except OSError:  # a network that is away for a while
            return True

    def _write(self) -> None:
        path = self._claims.path(self._name, self._claim.number)
        with contextlib.suppress(OSError):  # a disk that is full; the lock holds all the same
            beaten = path.with_suffix(".beat")
            beaten.write_text(json.dumps(self._claim.facts), encoding="utf-8")
            os.replace(beaten, path)


def _link(whole: Path, path: Path) -> None:
    """Give a file a further name, which must be new."""
    try:
        os.link(whole, path)
    except FileExistsError:
        raise
    except OSError:  # a disk without links; there a crash may leave it empty
        with path.open("x", encoding="utf-8") as file:
            file.write(whole.read_text(encoding="utf-8"))


def _me() -> dict[str, Any]:
    """Return what tells this process from all others."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else platform.node()
    return {"host": platform.node(), "process": os.getpid(), "boot": boot}
