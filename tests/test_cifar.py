"""CIFAR-10 and CIFAR-100: their records, and an archive that is verified before it is read."""

import hashlib
import io
import os
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from gdm.data import archives
from gdm.data.cifar import CIFAR10, CIFAR100, cifar_100_files, cifar_files
from gdm.data.datamodule import ImageDataModule
from gdm.errors import UserError
from gdm.theory.images import ImageFacts

NAME = "cifar-10-binary.tar.gz"
TRAIN = [f"cifar-10-batches-bin/data_batch_{part}.bin" for part in range(1, 6)]
TEST = "cifar-10-batches-bin/test_batch.bin"
PACKED = [TRAIN[0], TRAIN[2], TRAIN[3], TEST, TRAIN[4], TRAIN[1]]  # in no order, as the original
NUM_RECORDS = 4


@pytest.fixture(scope="module")
def records() -> dict[str, np.ndarray]:
    """The records of each file inside the archive, (4, 3073)."""
    rng = np.random.default_rng(0)
    made = {}
    for name in (*TRAIN, TEST):
        made[name] = rng.integers(0, 256, (NUM_RECORDS, 3073), np.uint8)
        made[name][:, 0] = rng.integers(0, 10, NUM_RECORDS)
    return made


def pack(path: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, inside in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            archive.addfile(member, io.BytesIO(inside))


def small_class(path: Path) -> type[CIFAR10]:
    """CIFAR-10 as it would be if this archive were the original."""
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()

    class Small(CIFAR10):
        files = cifar_files(path.stat().st_size, checksum, NUM_RECORDS)
        addresses = ()

    return Small


@pytest.fixture
def archive(tmp_path, records) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    pack(folder / NAME, {name: records[name].tobytes() for name in PACKED})
    return folder / NAME


@pytest.fixture
def server(archive, monkeypatch):
    """Serve the archive's folder; `requests` are the paths that were asked for."""

    class Handler(SimpleHTTPRequestHandler):
        requests = []  # noqa: RUF012

        def log_message(self, *_):
            self.requests.append(self.path)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(Handler, directory=archive.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        Handler.address = f"http://127.0.0.1:{running.server_port}/"
        yield Handler
        running.shutdown()


# Records -----------------------------------------------------------------------------------------


def test_train_is_all_five_files_in_order_and_test_the_sixth(archive, records):
    source = small_class(archive)(str(archive.parent))
    for split, names in (("train", TRAIN), ("test", [TEST])):
        expected = np.concatenate([records[name] for name in names])
        images = source.load(split)
        assert images.images.shape == (len(names) * NUM_RECORDS, 3, 32, 32)
        assert images.images.dtype == torch.uint8
        assert images.images.is_contiguous()
        assert images.labels.dtype == torch.int64
        np.testing.assert_array_equal(images.images.flatten(1), expected[:, 1:])
        np.testing.assert_array_equal(images.labels, expected[:, 0])


def test_a_record_is_a_label_then_planes_of_red_green_and_blue_by_rows(archive, records):
    red, green, blue = np.full(1024, 200), np.full(1024, 100), np.arange(1024) // 32
    known = np.concatenate([[9], red, green, blue]).astype(np.uint8)
    contents = records | {TEST: np.stack([known] * NUM_RECORDS)}
    pack(archive, {name: contents[name].tobytes() for name in PACKED})
    images = small_class(archive)(str(archive.parent)).load("test")
    assert images.class_names[images.labels[0]] == "truck"
    for row in (0, 7, 31):
        for column in (0, 31):
            assert images.images[0, :, row, column].tolist() == [200, 100, row]


def test_only_the_files_of_the_split_are_needed(archive, records):
    pack(archive, {TEST: records[TEST].tobytes()})
    source = small_class(archive)(str(archive.parent))
    assert len(source.load("test")) == NUM_RECORDS
    with pytest.raises(UserError, match=r"is damaged: .*data_batch_1\.bin, .* is not in it"):
        source.load("train")


def test_the_original_has_the_published_facts():
    assert (len(CIFAR10.class_names),) == CIFAR10.files["train"].num_classes
    assert CIFAR10.files["train"].members == tuple(TRAIN)
    assert CIFAR10.files["test"].members == (TEST,)
    assert {file.num_records for file in CIFAR10.files.values()} == {10_000}


def test_the_data_module_splits_colour_images(archive):
    source = small_class(archive)(str(archive.parent))
    data = ImageDataModule(
        source, ImageFacts(3, 32, 32, 10), batch_size=5, validation_size=6, binarize=False
    )
    assert (data.num_train, len(data.split("validation")), len(data.split("test"))) == (14, 6, 4)


# CIFAR-100 ---------------------------------------------------------------------------------------


@pytest.fixture
def hundred(tmp_path) -> CIFAR100:
    """CIFAR-100 as it would be if it had six and three images, of the last classes."""
    path = tmp_path / "cifar-100-binary.tar.gz"
    records = np.random.default_rng(1).integers(0, 256, (9, 3074), np.uint8)
    records[:, 0], records[:, 1] = np.arange(11, 20), np.arange(91, 100)
    names = [f"cifar-100-binary/{name}.bin" for name in ("test", "train")]
    pack(path, dict(zip(names, (records[6:].tobytes(), records[:6].tobytes()), strict=True)))

    class Small(CIFAR100):
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        files = cifar_100_files(path.stat().st_size, checksum, {"train": 6, "test": 3})
        addresses = ()

    source = Small(str(tmp_path))
    source.records = records
    return source


def test_a_record_of_cifar_100_is_a_group_a_class_and_the_planes(hundred):
    for split, rows in (("train", slice(0, 6)), ("test", slice(6, 9))):
        images = hundred.load(split)
        np.testing.assert_array_equal(images.images.flatten(1), hundred.records[rows, 2:])
        np.testing.assert_array_equal(images.labels, hundred.records[rows, 1])
        np.testing.assert_array_equal(images.labelled("coarse").labels, hundred.records[rows, 0])
    assert images.class_names[images.labels[-1]] == "worm"
    assert images.labelled("coarse").class_names[19] == "vehicles 2"
    assert (len(set(CIFAR100.class_names)), len(set(CIFAR100.coarse_names))) == (100, 20)
    assert torch.equal(images.labelled("fine").labels, images.labels)


def test_the_number_of_classes_is_that_of_the_labelling(hundred):
    for labels, count in ((None, 100), ("fine", 100), ("coarse", 20)):
        facts = ImageFacts(3, 32, 32, None)
        data = ImageDataModule(hundred, facts, 2, 3, binarize=False, labels=labels)
        assert data.num_classes == count


def test_a_group_that_there_is_not_is_refused(hundred):
    contents = hundred.records.copy()
    contents[2, 0] = 20
    path = hundred.folder / "cifar-100-binary.tar.gz"
    pack(path, {"cifar-100-binary/train.bin": contents[:6].tobytes()})
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    hundred.files = cifar_100_files(path.stat().st_size, checksum, {"train": 6})
    with pytest.raises(UserError, match="the label 20, expected at most 19"):
        hundred.load("train")


# An archive that is damaged, elsewhere, or not what it should be ---------------------------------


def damaged(path: Path) -> str:
    """Return the message that refuses an archive whose original is elsewhere."""
    left = path.read_bytes()
    with pytest.raises(UserError) as error:
        CIFAR10(str(path.parent)).load("train")
    assert path.read_bytes() == left  # it may be the user's own
    assert f"{path} is damaged: it " in str(error.value)
    assert "Replace it, or remove it" in str(error.value)
    return str(error.value)


def test_an_archive_of_another_size_is_refused(archive):
    size = archive.stat().st_size
    assert f"it has {size:,} bytes, expected 170,052,171" in damaged(archive)


def test_a_flipped_byte_is_refused_and_the_file_is_left_alone(archive, monkeypatch):
    original = small_class(archive)
    contents = bytearray(archive.read_bytes())
    contents[len(contents) // 2] ^= 1
    archive.write_bytes(contents)
    monkeypatch.setattr(CIFAR10, "files", original.files)
    actual, expected = hashlib.sha256(contents).hexdigest(), original.files["train"].sha256
    assert f"it has SHA-256 {actual}, expected {expected}" in damaged(archive)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda inside: inside[:-1], r"_2\.bin in it has 12,291 bytes, expected 12,292"),
        (lambda inside: inside + b"\0", r"_2\.bin in it has 12,293 bytes, expected 12,292"),
        (lambda inside: inside[:3073] + b"\n" + inside[3074:], "the label 10, expected at most 9"),
    ],
)
def test_files_of_the_wrong_length_and_labels_above_nine_are_refused(
    archive, records, changed, message
):
    contents = {name: records[name].tobytes() for name in PACKED}
    pack(archive, contents | {TRAIN[1]: changed(contents[TRAIN[1]])})
    with pytest.raises(UserError, match=message):
        small_class(archive)(str(archive.parent)).load("train")


@pytest.mark.parametrize("kept", [0, 20, 1000, 40_000])
def test_what_cannot_be_unpacked_is_refused(archive, kept):
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"is damaged: it cannot be unpacked"):
        small_class(archive)(str(archive.parent)).load("train")


def test_the_checksum_is_computed_once_as_long_as_the_file_stays(archive, monkeypatch):
    source_class = small_class(archive)
    source_class(str(archive.parent)).load("train")
    with monkeypatch.context() as patched:
        patched.setattr(archives.hashlib, "file_digest", None)
        source_class(str(archive.parent)).load("test")
    other = archive.read_bytes()[:-1] + b"\1"
    archive.write_bytes(other)
    os.utime(archive, (1, 1))  # at another time, however coarse the clock
    with pytest.raises(UserError, match="has SHA-256"):
        source_class(str(archive.parent)).load("test")


def test_a_folder_without_it_is_refused_with_the_ways_out(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR10, "addresses", ("http://127.0.0.1:9/",))
    with pytest.raises(UserError) as error:
        CIFAR10(str(tmp_path / "wrong")).load("train")
    for part in (
        f"{NAME} of cifar10 is not in {tmp_path / 'wrong'}",
        f"http://127.0.0.1:9/{NAME}: ",
        "refused",
        "dataset.source.folder=FOLDER",
        "dataset=emoji_mini",  # in colour
        "dataset=fashion_mnist_mini",
    ):
        assert part in str(error.value)
    assert list((tmp_path / "wrong").iterdir()) == []


def test_a_download_lands_in_the_cache_and_is_fetched_once(
    archive, records, server, tmp_path, monkeypatch
):
    monkeypatch.setenv("GDM_DATA", str(tmp_path / "cache"))
    source_class = small_class(archive)
    source_class.addresses = (server.address,)
    first = source_class(None).load("test")
    np.testing.assert_array_equal(first.images.flatten(1), records[TEST][:, 1:])
    assert [path.name for path in (tmp_path / "cache" / "cifar10").iterdir()] == [NAME]
    monkeypatch.setattr(archives.hashlib, "file_digest", None)  # it was verified as it came
    assert len(source_class(None).load("train")) == 5 * NUM_RECORDS
    assert torch.equal(source_class(None).load("test").images, first.images)
    assert len(server.requests) == 1


def test_a_damaged_download_is_tried_again_and_leaves_no_file(archive, server, tmp_path):
    source_class = small_class(archive)
    source_class.addresses = (server.address,)
    archive.write_bytes(archive.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match=rf"{NAME}: it has SHA-256"):
        source_class(str(tmp_path / "new")).load("train")
    assert list((tmp_path / "new").iterdir()) == []
    assert len(server.requests) == 3
