"""What reaches the terminal: no name from a file steers it, and help only helps."""

import logging
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from gdm.cli import benchmark, console, measurements
from gdm.data.emoji import EmojiMini
from gdm.data.mnist import FashionMNISTMini
from gdm.recipes.terminal import command, override, printable, say
from gdm.training import log

ESCAPE = "\x1b[2J\x9b5m\x07"  # clears the screen, changes colours, rings


@pytest.mark.parametrize("text", ["plain", "größe 中 → ½", "two\nlines\tand a tab", ""])
def test_what_steers_nothing_is_shown_as_it_is(text):
    assert printable(text) == text


def test_control_characters_are_written_out():
    assert printable(f"a{ESCAPE}b\r") == r"a\x1b[2J\x9b5m\x07b\r"


def test_printed_lines_and_the_log_are_clean(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    console.log_to_console()
    logging.getLogger("gdm").warning("the file %s is gone", f"x{ESCAPE}")
    say(f"x{ESCAPE}", 5)
    captured = capsys.readouterr()
    assert captured.err == "the file x\\x1b[2J\\x9b5m\\x07 is gone\n"
    assert captured.out == "x\\x1b[2J\\x9b5m\\x07\n5\n"


def test_the_files_log_is_clean(tmp_path):
    with log.logging_to(tmp_path / "train.log"):
        logging.getLogger("gdm").warning("x%s", ESCAPE)
    assert "\x1b" not in (tmp_path / "train.log").read_text()


def test_tables_hold_names_as_they_are(capsys):
    name = f"[red]long[/] {ESCAPE}:smile:"
    record = {
        "tool": f"edit{ESCAPE}",
        "name": "vae",
        "dataset": "mine",
        name: 1.5,
        "group": [{"class": name, "share": 0.5, name: 0.25}],
        "remark": f"r{ESCAPE}",
    }
    console.report_found(record)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]long[/]" in shown
    assert ":smile:" in shown


def test_a_command_is_a_line_of_words_for_the_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert command("train", override("resume", "outputs/vae"), "seed=1") == (
        "python scripts/train.py resume=outputs/vae seed=1"
    )
    assert override("compare", ["a/b", "c d"]) == "'compare=[a/b,\"c d\"]'"
    assert override("budget.images", 5) == "budget.images=5"
    for option in (["--config-dir=mine"], ["--config-dir", "mine"], ["-cd", "mine"]):
        monkeypatch.setattr(sys, "argv", ["train.py", "seed=1", *option])
        assert command("train") == "python scripts/train.py --config-dir=mine"


@pytest.mark.parametrize("script", ["make_fashion_mnist_mini", "make_emoji_mini", "benchmark"])
def test_help_only_helps(script):
    bundled = EmojiMini.path if "emoji" in script else FashionMNISTMini.path
    before = bundled.stat()
    words = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: {script}.py")
    after = bundled.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_the_benchmarks_parts_are_those_that_are_measured():
    assert tuple(measurements.PARTS) == benchmark.PARTS


def test_a_benchmark_that_is_asked_to_stop_has_no_traceback():
    words = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "training"]
    with subprocess.Popen(words, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline().startswith("training: ")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in errors
