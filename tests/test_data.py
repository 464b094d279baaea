"""Images: where they come from, how they are split, and the order they are trained on in."""

import gzip
import hashlib
import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gdm.cli.compose import compose_config
from gdm.data import sources
from gdm.data.batches import TrainBatches
from gdm.data.datamodule import ImageDataModule, validation_order
from gdm.data.images import Images
from gdm.data.mnist import MNIST, FashionMNIST, FashionMNISTMini, IdxFile, IdxSource
from gdm.data.sources import Source
from gdm.errors import UserError
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.theory.images import ImageFacts, to_float

CONFIGS = Path(__file__).parents[1] / "configs"
YAMLS = sorted((CONFIGS / "dataset").glob("*.yaml"))
SIZES = {"train": 100, "test": 20}


def idx(array: np.ndarray) -> bytes:
    """Pack an array of bytes as MNIST's files are packed."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {}
    for split, count in SIZES.items():
        made[f"{split}-images.gz"] = rng.integers(0, 256, (count, 4, 4), np.uint8)
        made[f"{split}-labels.gz"] = (np.arange(count) % 10).astype(np.uint8)
    return made


@pytest.fixture
def archive(tmp_path, arrays) -> Path:
    """A folder of a small data set of MNIST's layout."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for name, array in arrays.items():
        (folder / name).write_bytes(gzip.compress(idx(array)))
    return folder


@pytest.fixture
def small_class(archive, arrays) -> type[IdxSource]:
    """A source that downloads the small data set from the archive."""

    def file(name):
        return IdxFile(name, arrays[name].shape, hashlib.sha256(idx(arrays[name])).hexdigest())

    class Small(IdxSource):
        name = "small"
        class_names = tuple("0123456789")
        files = {split: (file(f"{split}-images.gz"), file(f"{split}-labels.gz"))  # noqa: RUF012
                 for split in SIZES}  # fmt: skip
        addresses = (f"{archive.as_uri()}/",)

    return Small


def data_module(source, **changed) -> ImageDataModule:
    sizes = {"channels": 1, "resolution": 8, "native_resolution": 4, "num_classes": 10}
    facts = ImageFacts(**{name: changed.pop(name, size) for name, size in sizes.items()})
    arguments = {"batch_size": 7, "validation_size": 30, "binarize": False}
    return ImageDataModule(source, facts, **(arguments | changed))


@pytest.fixture
def data(small_class, archive) -> ImageDataModule:
    return data_module(small_class(str(archive)))


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Where the images come from ----------------------------------------------------------------------


def test_an_idx_file_is_read_exactly(small_class, archive, arrays):
    images = small_class(str(archive)).load("test")
    assert images.images.dtype == torch.uint8
    assert images.labels.dtype == torch.int64
    np.testing.assert_array_equal(images.images[:, 0], arrays["test-images.gz"])
    np.testing.assert_array_equal(images.labels, arrays["test-labels.gz"])


@pytest.mark.parametrize("name", ["train-images.gz", "train-labels.gz"])
def test_a_flipped_byte_is_refused_and_the_file_is_left_alone(small_class, archive, arrays, name):
    contents = bytearray(idx(arrays[name]))
    contents[-1] ^= 1
    damaged = gzip.compress(contents)  # whose own check sums are right
    (archive / name).write_bytes(damaged)
    with pytest.raises(UserError) as error:
        small_class(str(archive)).load("train")
    actual = hashlib.sha256(contents).hexdigest()
    expected = hashlib.sha256(idx(arrays[name])).hexdigest()
    assert f"{archive / name} is damaged" in str(error.value)
    assert f"{actual}, expected {expected}" in str(error.value)
    assert "remove it" in str(error.value)
    assert (archive / name).read_bytes() == damaged


@pytest.mark.parametrize("kept", [0, 5, 300, -9, -1])
def test_a_truncated_file_is_refused(small_class, archive, kept):
    path = archive / "train-images.gz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"train-images.gz is damaged: it .*unpack"):
        small_class(str(archive)).load("train")


@pytest.mark.parametrize(
    ("contents", "message"),
    [(bytes(50), "unpacks to 50 bytes, expected 1,616"), (bytes(10**6), "unpacks to more bytes")],
)
def test_a_file_of_another_size_is_refused(small_class, archive, contents, message):
    (archive / "train-images.gz").write_bytes(gzip.compress(contents))
    with pytest.raises(UserError, match=message):
        small_class(str(archive)).load("train")


def test_the_folder_wins_then_the_system_then_the_download(small_class, archive, tmp_path):
    small_class.system_folder, small_class.addresses = archive, ()
    small_class(str(tmp_path / "own")).load("train")  # from the system's folder
    assert not (tmp_path / "own").exists()
    own = tmp_path / "own" / "train-images.gz"
    own.parent.mkdir()
    own.write_bytes(b"a damaged file of the user's")
    with pytest.raises(UserError, match=str(own)):
        small_class(str(own.parent)).load("train")


def test_a_download_is_kept_and_used_again(small_class, archive, tmp_path):
    folder = tmp_path / "new" / "folder"
    first = small_class(str(folder)).load("train")
    assert visible(folder) == ["train-images.gz", "train-labels.gz"]
    small_class.addresses = ()
    again = small_class(str(folder)).load("train")
    assert torch.equal(first.images, again.images)


def test_half_a_download_is_started_again(small_class, tmp_path, monkeypatch, caplog):
    calls = []

    def broken_once(url, path):
        calls.append(url)
        sources_download(url, path)
        if len(calls) == 1:
            path.write_bytes(path.read_bytes()[:100])

    sources_download = sources.download
    monkeypatch.setattr(sources, "download", broken_once)
    with caplog.at_level(logging.WARNING):
        images = small_class(str(tmp_path / "new")).load("train")
    assert len(images) == SIZES["train"]
    assert calls[0] == calls[1]
    assert "starting again" in caplog.text


def test_a_download_that_stays_damaged_leaves_no_file(small_class, archive, tmp_path):
    (archive / "train-images.gz").write_bytes(gzip.compress(bytes(1616)))
    with pytest.raises(UserError, match="SHA-256"):
        small_class(str(tmp_path / "new")).load("train")
    assert visible(tmp_path / "new") == []


def test_the_next_address_is_tried(small_class, tmp_path):
    nowhere = (tmp_path / "nowhere").as_uri() + "/"
    small_class.addresses = (nowhere, *small_class.addresses)
    assert len(small_class(str(tmp_path / "new")).load("test")) == SIZES["test"]


def test_without_a_network_the_error_names_what_was_tried_and_the_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(FashionMNIST, "addresses", ("http://127.0.0.1:9/", "http://127.0.0.1:7/"))
    monkeypatch.setattr(FashionMNIST, "system_folder", tmp_path / "system")
    with pytest.raises(UserError) as error:
        FashionMNIST(str(tmp_path / "own")).load("train")
    for part in (
        "train-images-idx3-ubyte.gz of fashion_mnist",
        str(tmp_path / "own"),
        str(tmp_path / "system"),
        "http://127.0.0.1:9/train-images-idx3-ubyte.gz: ",
        "http://127.0.0.1:7/train-images-idx3-ubyte.gz: ",
        "refused",
        "dataset-fashion-mnist",
        "dataset.source.folder=",
        "dataset=fashion_mnist_mini",
    ):
        assert part in str(error.value)
    monkeypatch.setattr(MNIST, "addresses", ())
    with pytest.raises(UserError) as error:
        MNIST(str(tmp_path / "own")).load("train")
    assert "Debian" not in str(error.value)  # which has no MNIST


def test_the_data_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("GDM_DATA", "/data")
    assert MNIST(None).folder == Path("/data/mnist")
    monkeypatch.delenv("GDM_DATA")
    assert MNIST(None).folder == Path.home() / ".cache/gdm/mnist"
    assert MNIST("~/mine").folder == Path.home() / "mine"


def test_data_sets_have_their_own_fingerprints(small_class):
    made = [FashionMNIST(None), MNIST(None), FashionMNISTMini(), small_class(None)]
    assert len({source.fingerprint for source in made}) == len(made)


# The bundled data set ----------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "count"), [("train", 1000), ("test", 200)])
def test_the_bundled_data_set_has_as_many_images_of_each_class(split, count):
    images = FashionMNISTMini().load(split)
    assert images.images.shape == (10 * count, 1, 28, 28)
    assert images.images.dtype == torch.uint8
    assert images.labels.bincount().tolist() == [count] * 10


def test_the_bundled_file_is_small_and_has_its_licence_beside_it():
    path = FashionMNISTMini.path
    assert path.stat().st_size <= 6_000_000
    licence = path.with_name("FASHION_MNIST_LICENSE").read_text()
    assert "MIT" in licence
    assert "Zalando SE" in licence


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"\0" + b[1:], lambda b: None])
def test_a_damaged_or_missing_bundled_file_is_refused(tmp_path, monkeypatch, change):
    contents = change(FashionMNISTMini.path.read_bytes())
    monkeypatch.setattr(FashionMNISTMini, "path", tmp_path / "mini.npz")
    if contents is not None:
        FashionMNISTMini.path.write_bytes(contents)
    with pytest.raises(UserError, match=r"missing or damaged: .*expected .*Install gdm again"):
        FashionMNISTMini().load("train")


@pytest.mark.skipif(not FashionMNIST.system_folder.exists(), reason="needs the full data set")
@pytest.mark.parametrize(("split", "count"), [("train", 1000), ("test", 200)])
def test_the_bundled_images_are_the_first_of_each_class(split, count, tmp_path):
    whole = FashionMNIST(str(tmp_path)).load(split)
    rank = torch.nn.functional.one_hot(whole.labels, 10).cumsum(0).gather(1, whole.labels[:, None])
    first = whole.select(torch.where(rank[:, 0] <= count)[0])
    mini = FashionMNISTMini().load(split)
    assert torch.equal(first.images, mini.images)
    assert torch.equal(first.labels, mini.labels)


# The stream of training batches ------------------------------------------------------------------


def stream(start: int, stop: int, seed: int = 0, count: int = 50, batch_size: int = 8) -> Tensor:
    images = Images(
        torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(count), ()
    )
    batches = list(TrainBatches(images, batch_size, seed, start, stop))
    for batch in batches:
        assert len(batch.index) == batch_size
        # images, labels and indices stay together
        assert torch.equal(batch.x.flatten().long(), batch.index)
        assert torch.equal(batch.label, batch.index)
    return torch.cat([batch.index for batch in batches]) if batches else torch.empty(0)


def test_an_epoch_visits_every_image_once():
    for epoch in stream(0, 100).view(-1, 50):  # a batch reaches from one epoch into the next
        assert epoch.sort().values.tolist() == list(range(50))


def test_a_stream_that_starts_later_is_the_tail_of_the_whole():
    whole = stream(0, 40)
    for start in range(41):
        assert torch.equal(stream(start, 40), whole[8 * start :])


def test_the_stream_follows_from_the_seed_and_each_epoch_has_its_own_order():
    assert torch.equal(stream(0, 25), stream(0, 25))
    assert not torch.equal(stream(0, 25), stream(0, 25, seed=1))
    orders = [tuple(epoch.tolist()) for epoch in stream(0, 25).view(-1, 50)]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_the_order_of_images_does_not_depend_on_the_batch_size(batch_size):
    assert torch.equal(stream(0, 350 // batch_size, batch_size=batch_size), stream(0, 44)[:350])


def test_the_stream_draws_nothing_from_the_default_generator():
    state = torch.get_rng_state()
    stream(0, 20)
    assert torch.equal(torch.get_rng_state(), state)


def test_floats_are_exact_at_both_ends_and_give_the_bytes_back():
    x = torch.arange(256, dtype=torch.uint8)
    as_float = to_float(x)
    assert as_float.dtype == torch.float32
    assert (as_float[0], as_float[255]) == (-1, 1)
    assert (as_float.diff() > 0).all()
    assert torch.equal(((as_float + 1) * 127.5).round().to(torch.uint8), x)
    assert x.dtype == torch.uint8  # the images in memory are as they were


# Splits, and batches to evaluate on --------------------------------------------------------------


def contents(images: Images) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.images}


def test_training_and_validation_images_are_disjoint_and_together_all(data, archive):
    train, validation = contents(data.split("train")), contents(data.split("validation"))
    assert (len(train), len(validation)) == (70, 30)
    assert not train & validation
    assert train | validation == contents(data.source.load("train"))


def test_the_split_is_the_same_in_every_run(data, small_class, archive):
    torch.manual_seed(1)
    again = data_module(small_class(str(archive)), batch_size=3)
    again.set_stream(seed=99, start=0, stop=1)
    for name in ("train", "validation"):
        assert torch.equal(data.split(name).images, again.split(name).images)


def test_whoever_holds_out_more_images_holds_out_those_that_others_do(small_class, archive):
    few, many = (data_module(small_class(str(archive)), validation_size=size) for size in (20, 40))
    assert contents(few.split("validation")) < contents(many.split("validation"))


def test_a_part_of_a_data_set_holds_out_the_same_images():
    whole = FashionMNISTMini().load("train")
    part = whole.select(torch.arange(0, len(whole), 3))
    first = whole.select(validation_order(whole)[:2000])
    first_of_part = part.select(validation_order(part)[:500])
    assert contents(first_of_part) < contents(first)


def test_the_test_split_is_not_read_before_it_is_asked_for(data, archive):
    for path in archive.glob("test-*"):
        path.unlink()
    data.source.addresses = ()
    data.prepare()
    data.set_stream(seed=0, start=0, stop=20)
    assert len(list(data.train_dataloader())) == 20
    assert len(list(data.batches("validation", 10))) == 3
    assert data.fingerprint
    with pytest.raises(UserError, match="test-images"):
        data.split("test")


def test_the_images_are_read_once(data, archive):
    data.prepare()
    for path in archive.iterdir():
        path.unlink()
    data.prepare()
    assert data.num_train == 70


def test_evaluation_batches_are_the_split_in_order(data):
    batches = list(data.batches("test", batch_size=6))
    assert [len(batch.x) for batch in batches] == [6, 6, 6, 2]
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(20))
    x = torch.cat([batch.x for batch in batches])
    assert torch.equal(x, to_float(data.split("test").images))
    label = torch.cat([batch.label for batch in batches])
    assert torch.equal(label, data.split("test").labels)


@pytest.mark.parametrize(("limit", "count"), [(None, 20), (0, 0), (8, 8), (500, 20)])
def test_a_limit_takes_the_first_images(data, limit, count):
    batches = list(data.batches("test", batch_size=6, limit=limit))
    index = list(itertools.chain(*(batch.index.tolist() for batch in batches)))
    assert index == list(range(count))


def test_training_batches_become_floats_after_the_transfer(data):
    data.set_stream(seed=0, start=3, stop=5)
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == 2
    assert batches[0].x.dtype == torch.uint8
    x = data.on_after_batch_transfer(batches[0], 0).x
    assert torch.equal(x, to_float(batches[0].x))


def test_binarised_images_are_black_and_white_and_have_their_own_fingerprint(
    data, small_class, archive
):
    black_and_white = data_module(small_class(str(archive)), binarize=True)
    for name in ("train", "validation", "test"):
        expected = torch.where(data.split(name).images > 127, 255, 0)
        assert torch.equal(black_and_white.split(name).images, expected.to(torch.uint8))
    assert black_and_white.fingerprint != data.fingerprint
    other_split = data_module(small_class(str(archive)), validation_size=29)
    assert other_split.fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"validation_size": 100}, r"dataset\.validation_size=100: must leave some of the 100"),
        ({"batch_size": 71}, r"dataset\.batch_size=71: must be at most 70"),
        ({"num_classes": 9}, r"dataset\.facts\.num_classes=9: the images have 10"),
        ({"channels": 3}, r"dataset\.facts\.channels .*\(3, 4, 4\), but it is \(1, 4, 4\)"),
        ({"native_resolution": 5}, r"native_resolution .*\(1, 5, 5\), but it is \(1, 4, 4\)"),
    ],
)
def test_data_that_are_not_as_described_are_refused(small_class, archive, changed, message):
    with pytest.raises(UserError, match=message):
        data_module(small_class(str(archive)), **dict(changed)).prepare()


def test_images_are_never_shrunk(small_class):
    with pytest.raises(ValueError, match="resolution=3"):
        data_module(small_class(None), resolution=3)


def test_batches_as_large_as_the_training_split_are_allowed(small_class, archive):
    data = data_module(small_class(str(archive)), batch_size=70)
    data.set_stream(seed=0, start=0, stop=3)
    for batch in data.train_dataloader():
        assert batch.index.sort().values.tolist() == list(range(70))


# The configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_each_configuration_is_the_signature_and_builds_without_reading(path, monkeypatch):
    monkeypatch.setenv("GDM_DATA", "/nowhere")
    recipe = compose_config(CONFIGS, f"dataset/{path.stem}")["dataset"]
    check(recipe)
    data = build(recipe, "dataset")
    assert isinstance(data, ImageDataModule)


def test_the_bundled_configuration_holds_a_thousand_images_out():
    recipe = compose_config(CONFIGS, "dataset/fashion_mnist_mini")["dataset"]
    data = build(recipe, "dataset")
    assert (data.num_train, len(data.split("validation"))) == (9000, 1000)
    assert data.class_names[9] == "Ankle boot"


# A source of the user's own ----------------------------------------------------------------------


class Own(Source):
    """Random pictures, as a source that somebody has written in an afternoon returns them."""

    name, class_names, fingerprint = "own", ("a", "b"), "1234"

    def __init__(self, change=lambda images, labels: (images, labels)) -> None:
        self.change = change

    def load(self, split):
        random = torch.Generator().manual_seed(len(split))
        images = torch.randint(256, (60, 3, 8, 8), dtype=torch.uint8, generator=random)
        return Images(*self.change(images, torch.arange(60) % 2), self.class_names)


def own_data(source: Own) -> ImageDataModule:
    return ImageDataModule(source, ImageFacts(3, 8, 8, 2), 10, 20, False)


def test_images_that_do_not_lie_in_a_row_in_memory_are_taken_as_others_are():
    transposed = Own(lambda images, labels: (
        images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), labels))  # fmt: skip
    assert not transposed.load("train").images.is_contiguous()
    found, expected = own_data(transposed), own_data(Own())
    assert torch.equal(
        validation_order(transposed.load("train")), validation_order(Own().load("train"))
    )
    for split in ("train", "validation", "test"):
        assert torch.equal(found.split(split).images, expected.split(split).images)
        assert found.split(split).images.is_contiguous()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x.float(), y), "images are torch.float32, (60, 3, 8, 8); must be torch.ui"),
        (lambda x, y: (x[:, 0], y), "images are torch.uint8, (60, 8, 8); must be torch.uint8, (N"),
        (lambda x, y: (x, y.int()), "labels are torch.int32, (60,); must be torch.int64, (60,)"),
        (lambda x, y: (x, y[:-1]), "labels are torch.int64, (59,); must be torch.int64, (60,)"),
        (lambda x, y: (x, y + 1), "labels of the train images must be between 0 and 1"),
    ],
)
def test_what_is_no_set_of_images_is_one_clear_line(change, message):
    with pytest.raises(UserError) as refused:
        own_data(Own(change)).prepare()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
