"""Work that several processes share is done by one of them, and a dead one holds nothing."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from gdm.errors import UserError
from gdm.runs import claims
from gdm.runs.claims import Claims, HeldError

HOLD = """
import sys, time
from pathlib import Path
from gdm.runs.claims import Claims
with Claims(Path(sys.argv[1])).held("work"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that holds the work."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def written(folder, number: int, **facts) -> None:
    """Write a claim as a process on another machine would."""
    elsewhere = {"host": "elsewhere", "process": 1, "boot": "another", "beat": 0}
    (folder / f"work.{number}.json").write_text(json.dumps(elsewhere | facts))


def test_one_process_holds_and_the_next_can_when_it_is_done(tmp_path):
    mine, theirs = Claims(tmp_path), Claims(tmp_path)
    assert mine.holder("work") is None
    with mine.held("work"):
        assert theirs.holder("work")["process"] == os.getpid()
        with pytest.raises(HeldError, match=str(os.getpid())), theirs.held("work"):
            pass
        with theirs.held("other work"):
            pass
    assert mine.holder("work") is None
    with theirs.held("work"):
        pass


def test_a_failure_releases(tmp_path):
    with pytest.raises(ZeroDivisionError), Claims(tmp_path).held("work"):
        raise ZeroDivisionError
    assert Claims(tmp_path).holder("work") is None


def test_what_a_killed_process_held_is_free_at_once(tmp_path, other_process):
    assert Claims(tmp_path).holder("work")["process"] == other_process.pid
    with pytest.raises(HeldError), Claims(tmp_path).held("work"):
        pass
    other_process.kill()
    other_process.wait()
    assert Claims(tmp_path).holder("work") is None
    with Claims(tmp_path).held("work"):
        pass


def test_a_process_that_sleeps_keeps_what_it_holds(tmp_path, other_process, monkeypatch):
    other_process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(claims, "SILENT_SECONDS", 0.0)
    theirs = Claims(tmp_path)
    for _ in range(3):
        assert theirs.holder("work") is not None
        time.sleep(0.01)
    with pytest.raises(HeldError), theirs.held("work"):
        pass


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    written(tmp_path, 1)
    theirs = Claims(tmp_path)
    assert theirs.holder("work")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10**6)
    assert theirs.holder("work")
    with pytest.raises(HeldError, match="elsewhere"), theirs.held("work"):
        pass


def test_a_silent_process_on_another_machine_is_dead_only_after_minutes(tmp_path, monkeypatch):
    written(tmp_path, 1)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    theirs = Claims(tmp_path)
    assert theirs.holder("work")
    clock[0] = claims.SILENT_SECONDS - 1
    written(tmp_path, 1, beat=1)  # it lives
    assert theirs.holder("work")
    clock[0] += claims.SILENT_SECONDS
    assert theirs.holder("work")  # not longer than that
    clock[0] += 1
    assert theirs.holder("work") is None
    with theirs.held("work"):
        assert theirs.holder("work")["process"] == os.getpid()


def test_what_one_process_has_seen_to_be_dead_any_process_can_have(tmp_path, monkeypatch):
    written(tmp_path, 1)
    watching = Claims(tmp_path)
    assert watching.holder("work")
    clock = time.monotonic() + claims.SILENT_SECONDS + 1
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: clock)
        assert watching.holder("work") is None
    with Claims(tmp_path).held("work"):
        assert json.loads((tmp_path / "work.3.json").read_text())["process"] == os.getpid()


@pytest.mark.parametrize("content", ["", "[1]", '{"beat"'])
def test_a_claim_that_was_cut_off_is_a_silent_one(tmp_path, monkeypatch, content):
    (tmp_path / "work.1.json").write_text(content)
    watching = Claims(tmp_path)
    assert watching.holder("work") == {}
    clock = time.monotonic() + claims.SILENT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    assert watching.holder("work") is None


def test_who_only_looks_takes_nothing_from_who_wants_it(tmp_path):
    with FileLock(Claims(tmp_path)._lock("work")):  # as whoever asks for the holder
        begun = time.monotonic()
        with pytest.raises(HeldError), Claims(tmp_path).held("work"):
            pass
        assert time.monotonic() - begun >= claims.LOOK_SECONDS


def test_a_machine_that_was_started_again_holds_nothing(tmp_path, monkeypatch):
    written(tmp_path, 1, host=claims._me()["host"], boot="before")
    assert Claims(tmp_path).holder("work") is None


def test_who_finds_its_work_taken_over_ends_without_writing(tmp_path):
    hold = HOLD.replace("import sys, time", "import sys, time; import gdm.runs.claims as claims\n"
                        "claims.BEAT_SECONDS = 0.05")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    written(tmp_path, 2)
    assert process.wait(timeout=20) == claims.LOST_STATUS
    assert "beat" in json.loads((tmp_path / "work.2.json").read_text())


def _take(folder, barrier, taken) -> None:
    barrier.wait()
    try:
        with Claims(folder).held("work"):
            taken.put(os.getpid())
            time.sleep(claims.LOOK_SECONDS + 4)  # longer than any of them waits
    except HeldError:
        pass


def test_of_many_that_try_at_once_one_succeeds(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, taken = context.Barrier(4), context.Queue()
    tries = [context.Process(target=_take, args=(tmp_path, barrier, taken)) for _ in range(4)]
    for each in tries:
        each.start()
    for each in tries:
        each.join()
    assert taken.qsize() == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nothing can be claimed there"):  # noqa: SIM117
        with Claims(tmp_path / "file").held("work"):
            pass
