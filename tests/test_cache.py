"""Images that are decoded once, into a file that every process maps to memory."""

import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gdm.data import cache, memory
from gdm.data.batches import TrainBatches, parts_of
from gdm.data.cache import decoded, digest
from gdm.data.images import Images
from gdm.data.memory import gathered, mapped
from gdm.errors import UserError

SHAPE = (3, 4, 4)
ROOT = Path(__file__).parents[1]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where the cache lies, of this test alone."""
    monkeypatch.setenv("GDM_DATA", str(tmp_path))
    return tmp_path / "images"


def image_of(item: int) -> np.ndarray:
    return np.random.default_rng(item).integers(0, 256, SHAPE, np.uint8)


def slowly(item: int) -> np.ndarray:
    """Decode an image, and leave word of it, in a folder that the environment names."""
    time.sleep(0.002)
    with (Path(os.environ["GDM_DATA"]) / "decoded.txt").open("a") as file:
        file.write(f"{item}\n")
    return image_of(item)


def make_slowly(count: int = 300) -> None:
    decoded("slow", range(count), slowly, SHAPE, "numbers")


def made(count: int = 20, decode=image_of) -> cache.Decoded:
    return decoded("made", range(count), decode, SHAPE, "numbers")


def fails(item: int) -> np.ndarray:
    raise AssertionError("decoded again")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_images_are_those_decoded_in_the_order_of_their_digests(folder):
    found = made(600)
    assert found.images.shape == (600, *SHAPE)
    assert sorted(found.positions.tolist()) == list(range(600))
    for image, position, own in zip(found.images, found.positions, found.digests, strict=True):
        assert np.array_equal(image, image_of(int(position)))
        assert own == digest(image.numpy()).rstrip(b"\0")  # as numpy has it
    assert sorted(found.digests.tolist()) == found.digests.tolist()


def test_a_digest_of_the_original_may_come_with_an_image(folder):
    found = made(9, lambda item: (image_of(item), bytes([9 - item]) * 8))
    assert found.positions.tolist() == list(range(8, -1, -1))


def test_images_are_decoded_once_and_others_for_another_key(folder):
    first = made()
    assert torch.equal(made(decode=fails).images, first.images)
    with pytest.raises(AssertionError, match="decoded again"):
        decoded("other", range(20), fails, SHAPE, "numbers")


def test_two_processes_that_start_together_make_one(folder):
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    both = [context.Process(target=make_slowly) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [each.exitcode for each in both] == [0, 0]
    assert len((folder.parent / "decoded.txt").read_text().splitlines()) == 300
    assert len(names(folder)) == 1


@linux
def test_what_a_killed_process_leaves_is_never_used(folder):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=make_slowly, args=(3000,))
    process.start()
    deadline = time.monotonic() + 30
    while not list(folder.glob("*.partial/unordered.bin")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (left,) = names(folder)
    assert left.endswith(".partial")
    found = decoded("slow", range(3000), image_of, SHAPE, "numbers")
    assert len(found.images) == 3000
    assert names(folder) == [left.removesuffix(".partial")]


@pytest.mark.parametrize("name", ["pixels.bin", "index.npz", "facts.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "missing", "of another kind"])
def test_a_damaged_file_is_decoded_again(folder, name, how, caplog):
    expected = made().images.clone()
    path = folder / names(folder)[0] / name
    contents = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(contents[:-9])
    elif how == "of another kind":
        path.write_bytes(b"[1]")
    else:
        contents[len(contents) // 2] ^= 255
        path.write_bytes(contents)
    os.utime(folder / names(folder)[0], (1, 1))
    if path.exists():
        os.utime(path, (1, 1))  # two writes of a test may fall into one tick of the clock
    assert torch.equal(made().images, expected)
    assert caplog.text.count("is damaged") == (how != "missing")
    assert torch.equal(made(decode=fails).images, expected)


def damage(place: Path) -> None:
    (place / "facts.json").write_text("{}")


def test_where_a_mapped_file_is_not_replaced_a_further_name_is_taken(folder, monkeypatch):
    """As on Windows, where neither it nor its folder is removed while a process has it mapped."""
    held = made().images
    expected, (first,) = held.clone(), names(folder)
    replace, rmtree = os.replace, shutil.rmtree

    def refused(source, target):
        if Path(target).is_dir():
            raise PermissionError(13, "Access is denied", str(target))
        replace(source, target)

    def left(path, **options):
        if path.suffix == ".partial":
            rmtree(path, **options)

    with monkeypatch.context() as windows:
        windows.setattr(os, "replace", refused)
        windows.setattr(shutil, "rmtree", left)
        for count in range(2, cache.MOST_NAMES + 1):
            for place in folder.glob(f"{first}*/"):
                damage(place)
            assert torch.equal(made().images, expected)
            assert torch.equal(made(decode=fails).images, expected)
            assert names(folder) == [first, *(f"{first}-{n}" for n in range(2, count + 1))]
        for name in names(folder):
            damage(folder / name)
        with pytest.raises(UserError, match=r"numbers cannot be kept in .*Access is denied"):
            made()
    assert torch.equal(held, expected)
    assert torch.equal(made().images, expected)
    assert names(folder) == [first]  # the further ones go once they can


def test_a_file_is_verified_once_as_long_as_nobody_touches_it(folder, monkeypatch):
    made()
    monkeypatch.setattr(cache.hashlib, "file_digest", fails)
    made(decode=fails)
    os.utime(folder / names(folder)[0] / "pixels.bin", (1, 1))
    with pytest.raises(AssertionError, match="decoded again"):  # verified once more, in vain
        made(decode=fails)


@pytest.mark.parametrize("stamp", [b"", b"\xff\xfe", b"another"])
def test_a_stamp_that_says_nothing_is_made_again(folder, stamp):
    expected = made().images.clone()
    path = folder / names(folder)[0] / "pixels.verified"
    path.write_bytes(stamp)
    assert torch.equal(made(decode=fails).images, expected)
    assert path.read_text().endswith(str((path.parent / "pixels.bin").stat().st_mtime_ns))


def test_a_cache_that_only_others_may_write_is_read(folder, monkeypatch):
    expected = made().images.clone()
    (folder / names(folder)[0] / "pixels.verified").unlink()

    def refused(*_arguments, **_options):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(cache.Path, "write_text", refused)
    monkeypatch.setattr(cache, "FileLock", refused)
    assert torch.equal(made(decode=fails).images, expected)


def broken(numbers: set[int]):
    def decode(item: int) -> np.ndarray:
        if item in numbers:
            raise ValueError(f"{item}.png: it is no image")
        return image_of(item)

    return decode


def test_unreadable_images_are_named_each_time(folder, caplog):
    with caplog.at_level(logging.WARNING):
        found = made(300, broken({7, 200}))
    assert len(found.images) == 298
    assert not {7, 200} & set(found.positions.tolist())
    assert found.unreadable == ("7.png: it is no image", "200.png: it is no image")
    caplog.clear()
    made(300, fails)
    assert "7.png: it is no image" in caplog.text
    assert "2 of 300" in caplog.text


@pytest.mark.parametrize(("count", "bad"), [(300, {1, 2, 3, 4}), (1, {0})])
def test_too_many_unreadable_images_are_refused_and_nothing_is_kept(folder, count, bad):
    with pytest.raises(UserError, match=f"{len(bad)} of {count} images cannot be read.*1 %: .*pn"):
        made(count, broken(bad))
    assert names(folder) == []


DISK_FULL = """
import resource, sys
import numpy as np
from gdm.data import cache, memory
from gdm.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
try:
    if sys.argv[1] == "decoded":
        cache.decoded("big", range(9), lambda i: np.full((3, 99, 99), i, np.uint8), (3, 99, 99), "X")
    else:
        import torch
        memory.HELD_BYTES = 0
        memory.gathered([torch.zeros(9, 3, 99, 99, dtype=torch.uint8)], (9, 3, 99, 99))
except UserError as error:
    print(error)
"""  # noqa: E501


@linux
@pytest.mark.parametrize("way", ["decoded", "gathered"])
def test_a_disk_without_room_is_one_clear_line_and_nothing_is_left(folder, way):
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, way], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert f"cannot be kept in {folder.parent}" in done.stdout, done.stderr
    assert "make room there, or name another folder in GDM_DATA" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not folder.exists() or names(folder) == []


# Memory ------------------------------------------------------------------------------------------


def held_mib() -> float:
    """The memory of mapped files that this process holds."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssFile:")[1].split()[0]) / 2**10


@pytest.fixture
def large(tmp_path) -> torch.Tensor:
    """96 MiB of images in a file."""
    path = tmp_path / "large.bin"
    rng = np.random.default_rng(0)
    path.write_bytes(rng.integers(0, 256, 96 * 2**20, np.uint8).tobytes())
    return mapped(path, (96 * 2**20 // 3072, 3, 32, 32))


def most_held(parts) -> float:
    before = held_mib()
    return max(held_mib() - before for _ in parts)


@linux
def test_the_memory_of_mapped_images_is_given_back_while_they_are_read(large, monkeypatch):
    images = Images(large, torch.zeros(len(large), dtype=torch.int64), ())
    ways = [lambda: parts_of(large, 500), lambda: TrainBatches(images, 10, 0, 0, 3000)]
    for way in ways:
        monkeypatch.setattr(memory, "HELD_BYTES", 2**40)
        memory.release_memory()
        assert most_held(part.sum() if torch.is_tensor(part) else part for part in way()) > 80
        monkeypatch.setattr(memory, "HELD_BYTES", 2**25)
        memory.release_memory()
        most = most_held(part.sum() if torch.is_tensor(part) else part for part in way())
        assert most < 65  # what is given back at 32, and what a batch maps


@linux
def test_many_images_are_gathered_in_a_file_and_few_in_memory(large, folder, monkeypatch):
    part = large[:3000]
    for held, mapped_now in ((2**40, False), (2**20, True)):
        monkeypatch.setattr(memory, "HELD_BYTES", held)
        found = gathered(part.split(700), part.shape)
        assert torch.equal(found, part)
        assert not list(folder.parent.glob("tmp*"))  # it has no name
        address = found.data_ptr()
        lines = Path("/proc/self/maps").read_text().splitlines()
        regions = [line.split(maxsplit=5) for line in lines]
        names = [
            region[5]
            for region in regions
            if int(region[0].split("-")[0], 16) <= address < int(region[0].split("-")[1], 16)
            and len(region) > 5
        ]
        assert any("deleted" in name for name in names) == mapped_now


def test_a_selection_is_the_same_in_memory_and_in_a_file(large, folder, monkeypatch):
    names = tuple(map(str, range(2000)))
    images = Images(large[:2000], torch.arange(2000), names, source=large[:2000])
    indices = torch.arange(0, 2000, 2).flip(0)
    in_memory = images.select(indices)
    monkeypatch.setattr(memory, "HELD_BYTES", 0)
    in_file = images.select(indices)
    for found in (in_memory, in_file):
        assert torch.equal(found.images, large[:2000][indices])
        assert torch.equal(found.source, large[:2000][indices])
    piece = images.select(torch.arange(5, 50))
    assert piece.images.data_ptr() == large[5:].data_ptr()  # not copied
    assert piece.labels.tolist() == list(range(5, 50))
