"""Two kinds of images: in pairs in a folder, or as two domains that are not in pairs."""

import shlex

import numpy as np
import pytest
import torch
from conftest import SHORT, composed, trained
from PIL import Image

from gdm.cli.compose import CONFIGS, compose_config
from gdm.data import memory
from gdm.data.batches import TrainBatches
from gdm.data.datamodule import ImageDataModule
from gdm.data.domains import TwoSets
from gdm.data.folders import Folder
from gdm.data.images import Attributes, Images, Labelling
from gdm.data.mnist import MNIST, FashionMNISTMini
from gdm.data.sources import Source
from gdm.errors import UserError
from gdm.evaluation.classifier import ClassifierFeatures, NoClassifier, held_out_of
from gdm.recipes.build import build
from gdm.recipes.check import check
from gdm.theory.images import ImageFacts, to_float

SNEAKER, BOOT = 7, 9


def data_of(*overrides: str) -> ImageDataModule:
    recipe = composed("dataset.batch_size=20", *overrides)["dataset"]
    check({"dataset": recipe})
    return build(recipe, "dataset")


def numbered(count: int) -> Images:
    """Images whose only value is their number."""
    return Images(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.zeros(count), ())


# Classes of one data set -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shoes() -> ImageDataModule:
    return data_of("dataset.domains=[[Sneaker],[Ankle boot]]")


def rows(images) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_the_first_domain_is_the_source_and_the_second_the_target_in_every_split(shoes):
    whole = data_of()
    for split in ("train", "validation", "test"):
        images, labels = whole.split(split).images, whole.split(split).labels
        assert torch.equal(shoes.split(split).images, images[labels == BOOT])
        assert torch.equal(shoes.first_domain(split).images, images[labels == SNEAKER])
        assert set(shoes.split(split).labels.tolist()) == {BOOT}  # the classes are the data's
        assert whole.first_domain(split) is None
    kept = whole.source.load("train").images[shoes.positions("train")]
    assert torch.equal(shoes.split("train").images, kept)
    assert shoes.source_facts == shoes.facts


def test_batches_hold_both_domains_and_evaluation_begins_the_smaller_again(shoes):
    for split in ("validation", "test"):
        first, second = shoes.first_domain(split).images, shoes.split(split).images
        batches = list(shoes.batches(split, 30))
        source = torch.cat([batch.source for batch in batches])
        assert torch.equal(torch.cat([batch.x for batch in batches]), to_float(second))
        assert torch.equal(source, to_float(first[torch.arange(len(second)) % len(first)]))
    shoes.set_stream(seed=0, start=0, stop=2)
    for batch in shoes.train_dataloader():
        floats = shoes.on_after_batch_transfer(batch, 0)
        assert rows(batch.x) <= rows(shoes.split("train").images)
        assert rows(batch.source) <= rows(shoes.first_domain("train").images)
        assert torch.equal(floats.source, to_float(batch.source))


@pytest.mark.parametrize(("first", "second"), [(30, 50), (50, 30), (5, 200), (40, 40)])
def test_each_domain_has_an_order_of_its_own(first, second):
    def drawn(start: int, stop: int, seed: int = 0):
        batches = list(TrainBatches(numbered(second), 8, seed, start, stop, numbered(first)))
        return tuple(
            torch.cat([getattr(batch, name).flatten() for batch in batches])
            for name in ("source", "x")
        )

    source, x = drawn(0, 100)
    for found, count in ((source, first), (x, second)):
        epochs = found[: len(found) // count * count].view(-1, count)
        assert all(sorted(epoch.tolist()) == list(range(count)) for epoch in epochs)
        assert len({tuple(epoch.tolist()) for epoch in epochs}) > len(epochs) / 2  # 5! are few
    alone = TrainBatches(numbered(second), 8, 0, 0, 100)
    assert torch.equal(x, torch.cat([batch.x.flatten() for batch in alone]))
    assert not torch.equal(source[:30], x[:30])
    assert not torch.equal(source, drawn(0, 100, seed=1)[0])
    for start in (1, 7, 50, 99):  # resumed there
        tail = drawn(start, 100)
        assert torch.equal(tail[0], source[8 * start :])
        assert torch.equal(tail[1], x[8 * start :])


class Named(Source):
    """Twelve images with two ways to name their classes, and attributes."""

    name, class_names, fingerprint = "named", ("a", "b"), "1234"

    def load(self, split: str) -> Images:
        number = torch.arange(12)
        return Images(
            number.to(torch.uint8).view(-1, 1, 1, 1).expand(12, 1, 4, 4).contiguous(),
            number % 2,
            self.class_names,
            labellings={"thirds": Labelling(number % 3, ("x", "y", "z"))},
            attributes=Attributes((number[:, None] >= torch.tensor([4, 12])).to(torch.uint8),
                                  ("late", "never")),
        )  # fmt: skip


def named_data(domains, **options) -> ImageDataModule:
    options = {"batch_size": 1, "validation_size": 4, "binarize": False} | options
    return ImageDataModule(Named(), ImageFacts(1, 4, 4, 2), domains=domains, **options)


@pytest.mark.parametrize(
    ("domains", "first", "second"),
    [
        ([["a"], ["b"]], range(0, 12, 2), range(1, 12, 2)),
        ([["b"], ["a"]], range(1, 12, 2), range(0, 12, 2)),
        ([["x"], ["y", "z"]], range(0, 12, 3), [n for n in range(12) if n % 3]),
        ([["z", "x"], ["y"]], [n for n in range(12) if n % 3 != 1], range(1, 12, 3)),
    ],
)
def test_domains_are_named_by_any_labelling(domains, first, second):
    data = named_data(domains)
    found = [set(), set()]
    for split in ("train", "validation"):
        found[0] |= set(data.first_domain(split).images[:, 0, 0, 0].tolist())
        found[1] |= set(data.split(split).images[:, 0, 0, 0].tolist())
    assert found == [set(first), set(second)]


def test_domains_are_named_by_attributes_too():
    data = named_data([["late"], ["never"]])
    with pytest.raises(
        UserError, match=r"domains: \[\[never\]\] has no validation images; hold o"
    ):
        data.prepare()


@pytest.mark.parametrize(
    ("domains", "options", "message"),
    [
        ([["a"], ["c"]], {}, r"no class or attribute c; the images have a, b; x, y, z; late, nev"),
        ([["a"], ["x"]], {}, r"domains=\[\[a\],\[x\]\]: \d validation images are in both domains"),
        ([["a"], ["b"]], {"validation_size": 1}, r"\] has no validation images; hold out more: "),
        ([["a"], ["b"]], {"batch_size": 9}, r"batch_size=9: must be at most \d, the number of tr"),
    ],
)
def test_domains_that_cannot_be_are_refused_in_one_line(domains, options, message):
    data = named_data(domains, **options)
    for _ in range(2):  # whoever asks again is told again
        with pytest.raises(UserError, match=message) as refused:
            data.prepare()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.domains=[Sneaker]", r"dataset\.domains=\[Sneaker\]: must be a list"),
        ("dataset.domains=[[Sneaker]]", r"dataset: domains: must be two lists of names"),
        ("dataset.domains=[[Sneaker],[]]", r"dataset: domains: must be two lists of names"),
        ("+dataset.domains=[[Bag],[Coat]] dataset.pairs=edges", r"pairs=edges: images of two do"),
    ],
)
def test_what_are_not_two_domains_is_refused_in_one_line(override, message):
    with pytest.raises(UserError, match=message):
        data_of(*override.lstrip("+").replace("] d", "]\nd").split("\n"))


def test_classes_whose_names_are_numbers_are_written_as_numbers():
    recipe = composed("dataset=mnist", "dataset.domains=[[3,5],[8]]")["dataset"]
    check({"dataset": recipe})
    assert build(recipe, "dataset").domains == (("3", "5"), ("8",))


# Two data sets -----------------------------------------------------------------------------------


class Negatives(FashionMNISTMini):
    """The same clothes in white on black."""

    name, fingerprint = "negatives", "5678"

    def load(self, split: str) -> Images:
        images = super().load(split)
        return Images(255 - images.images[:500], images.labels[:500], images.class_names)


def test_two_data_sets_are_two_domains():
    source = TwoSets(Negatives(), FashionMNISTMini())
    data = ImageDataModule(
        source, ImageFacts(1, 32, 28, 2), 50, 1000, False,
        domains=[["negatives"], ["fashion_mnist_mini"]],
    )  # fmt: skip
    assert data.class_names == ("negatives", "fashion_mnist_mini")
    counts = {name: (len(data.first_domain(name)), len(data.split(name)))
              for name in ("train", "validation", "test")}  # fmt: skip
    assert counts["test"] == (500, 2000)
    train, validation = counts["train"], counts["validation"]
    assert (train[0] + validation[0], train[1] + validation[1]) == (500, 10_000)
    assert rows(data.first_domain("test").images) == rows(Negatives().load("test").images)


def test_two_large_data_sets_are_joined_in_a_file(monkeypatch, tmp_path):
    source = TwoSets(Negatives(), FashionMNISTMini())
    in_memory = source.load("test").images
    monkeypatch.setenv("GDM_DATA", str(tmp_path))
    monkeypatch.setattr(memory, "HELD_BYTES", 0)
    before = len(memory._maps)
    in_file = source.load("test").images
    assert len(memory._maps) == before + 1
    assert torch.equal(in_file, in_memory)


class Described(Source):
    """Three images with captions and two attributes."""

    name, class_names, fingerprint = "described", (), "4321"

    def load(self, split: str) -> Images:
        return Images(
            torch.full((3, 1, 4, 4), 200, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            (),
            captions=("a", "b", "c"),
            attributes=Attributes(torch.tensor([[1, 0], [0, 1], [1, 1]], dtype=torch.uint8),
                                  ("early", "late")),
        )  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
def test_two_data_sets_keep_what_is_known_of_their_images(turned):
    first, second = (Described(), Named()) if turned else (Named(), Described())
    images = TwoSets(first, second).load("train")
    number = images.labels.argsort(descending=turned, stable=True)  # Named's twelve, then three
    images = images.select(number)
    assert images.captions == ("",) * 12 + ("a", "b", "c")
    column = {name: images.attributes.values[:, images.attributes.names.index(name)].tolist()
              for name in images.attributes.names}  # fmt: skip
    assert column == {
        "late": [0] * 4 + [1] * 8 + [0, 1, 1],
        "never": [0] * 15,
        "early": [0] * 12 + [1, 0, 1],
    }
    plain = TwoSets(Negatives(), FashionMNISTMini()).load("test")
    assert plain.captions is plain.attributes is None


def test_what_is_missing_of_two_data_sets_names_the_key_of_the_one(tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "addresses", ())
    source = TwoSets(FashionMNISTMini(), MNIST(str(tmp_path)))
    with pytest.raises(UserError, match=r"your own: dataset\.source\.second\.folder=FOLDER"):
        source.load("train")
    source = TwoSets(Folder(None), FashionMNISTMini())
    for ask in (lambda: source.load_at("train", 8), lambda: source.fingerprint):
        with pytest.raises(UserError, match=r"dataset\.source\.first\.folder=null"):
            ask()


def test_two_data_sets_that_are_not_alike_are_refused():
    with pytest.raises(ValueError, match="both are fashion_mnist_mini"):
        TwoSets(FashionMNISTMini(), FashionMNISTMini())
    with pytest.raises(
        UserError, match=r"named has images of \(1, 4, 4\), fashion_mnist_mini has"
    ):
        TwoSets(Named(), FashionMNISTMini()).load("train")


# Folders -----------------------------------------------------------------------------------------


def picture(number: int, size=(24, 24)) -> Image.Image:
    """A picture of one colour, which tells its number."""
    return Image.new("RGB", size, (10 * (number % 25), number // 25, 200))


def side_by_side(number: int, size=(24, 24)) -> Image.Image:
    """A is the picture, B its negative."""
    whole = Image.new("RGB", (2 * size[0], size[1]))
    a = picture(number, size)
    whole.paste(a, (0, 0))
    whole.paste(a.point(lambda value: 255 - value), (size[0], 0))
    return whole


def write(image: Image.Image, path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def as_files(root, place: str, numbers) -> None:
    for number in numbers:
        write(side_by_side(number), root / place / f"{number}.png")


def as_folders(root, a: str, b: str, numbers) -> None:
    for number in numbers:
        whole = side_by_side(number)
        write(whole.crop((0, 0, 24, 24)), root / a / f"{number}.png")
        write(whole.crop((24, 0, 48, 24)), root / b / f"{number}.png")


LAYOUTS = {
    "files": lambda root: [as_files(root, "train", range(20)),
                           as_files(root, "test", range(20, 26))],
    "files and val": lambda root: [as_files(root, "train", range(20)),
                                   as_files(root, "val", range(20, 26))],
    "A and B": lambda root: [as_folders(root, "A/train", "B/train", range(20)),
                             as_folders(root, "A/test", "B/test", range(20, 26))],
    "train and test": lambda root: [as_folders(root, "train/A", "train/B", range(20)),
                                    as_folders(root, "test/A", "test/B", range(20, 26))],
    "undivided files": lambda root: [as_files(root, "", range(26))],
    "undivided folders": lambda root: [as_folders(root, "A", "B", range(26))],
}  # fmt: skip


def paired(root, *overrides: str) -> ImageDataModule:
    return data_of(
        "dataset=paired_folder", f"dataset.source.folder={root}", "dataset.resolution=8",
        "dataset.validation_size=4", "dataset.batch_size=4", *overrides,
    )  # fmt: skip


def numbers_of(a: torch.Tensor) -> list[int]:
    corner = a[:, :, 0, 0].long()
    return (corner[:, 0] // 10 + 25 * corner[:, 1]).tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_pairs_of_a_folder_stay_together_whatever_its_layout(layout, direction, tmp_path):
    LAYOUTS[layout](tmp_path)
    data = paired(tmp_path, f"dataset.source.direction={direction}")
    found = {}
    for split in ("train", "validation", "test"):
        images = data.split(split)
        assert torch.equal(images.images, 255 - images.source)
        found[split] = numbers_of(images.source if direction == "AtoB" else images.images)
        assert len(set(found[split])) == len(images)
    assert set().union(*found.values()) == set(range(26))
    is_divided = not layout.startswith("undivided")
    assert [len(found[split]) for split in found] == ([16, 4, 6] if is_divided else [19, 4, 3])
    assert set(found["test"]) == set(range(20, 26)) or not is_divided
    data.set_stream(seed=0, start=0, stop=9)
    for batch in data.train_dataloader():
        floats = data.on_after_batch_transfer(batch, 0)
        assert torch.allclose(floats.x, -floats.source, atol=1e-6)
    assert data.source_facts == data.facts


def test_both_directions_hold_out_the_same_pairs_and_are_other_data(tmp_path):
    LAYOUTS["files"](tmp_path)
    there, back = (paired(tmp_path, f"dataset.source.direction={way}") for way in ("AtoB", "BtoA"))
    assert torch.equal(there.split("validation").images, back.split("validation").source)
    assert there.identity != back.identity


def test_pairs_are_cropped_and_reduced_alike_and_not_copied(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        a = rng.integers(0, 256, (16, 24, 3), np.uint8)
        write(
            Image.fromarray(np.concatenate([a, 255 - a], axis=1)), tmp_path / f"train/{number}.png"
        )
    data = paired(tmp_path)
    images = data.split("train")
    assert (images.images.int() + images.source - 255).abs().max() <= 2
    last = Image.open(tmp_path / "train/7.png").crop((4, 0, 20, 16))  # the middle of A
    expected = np.asarray(last, np.float64).reshape(8, 2, 8, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    every = torch.cat([data.split(name).source for name in ("train", "validation")]).numpy()
    assert np.abs(every - expected).max((1, 2, 3)).min() <= 1
    storage = images.images.untyped_storage().data_ptr()
    assert storage == images.source.untyped_storage().data_ptr()  # views of the mapped file


def test_a_pair_that_is_none_is_refused_with_its_files(tmp_path):
    cases = {
        "odd": lambda root: write(picture(3, (33, 16)), root / "train/3.png"),
        "high": lambda root: write(picture(3, (16, 16)), root / "train/3.png"),
        "sizes": lambda root: write(picture(3, (12, 24)), root / "B/train/3.png"),
        "alone": lambda root: (root / "B/train/3.png").unlink(),
        "other": lambda root: write(picture(3), root / "B/train/77.png"),
        "twice": lambda root: write(picture(3), root / "B/train/3.jpg"),
        "side": lambda root: (root / "B").rename(root / "C"),
    }
    messages = {
        "odd": r"train/3\.png has 33 x 16 pixels; A and B side by side are wider",
        "high": r"train/3\.png has 16 x 16 pixels; A and B side by side are wider",
        "sizes": r"A/train/3\.png has 24 x 24 pixels, .*B/train/3\.png has 12 x 24 pixels; the",
        "alone": r"A/train/3\.png has no partner in .*B/train$",
        "other": r"B/train/77\.png has no partner in .*A/train$",
        "twice": r"B/train/3\.jpg and 3\.png have one name",
        "side": r"B/train is missing: A and B must both be there",
    }
    for name, change in cases.items():
        root = tmp_path / name
        LAYOUTS["files" if name in ("odd", "high") else "A and B"](root)
        change(root)
        with pytest.raises(UserError, match=messages[name]) as refused:
            paired(root).prepare()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dataset", ["paired_folder", "two_folders"])
def test_a_folder_that_is_missing_or_empty_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match=r"dataset\.source\.folder=null: name the folder"):
        data_of(f"dataset={dataset}").prepare()
    missing = data_of(f"dataset={dataset}", f"dataset.source.folder={tmp_path}/none")
    with pytest.raises(UserError, match=r"none: there is no such folder"):
        missing.prepare()
    for side in ("A", "B"):
        (tmp_path / side).mkdir()
    with pytest.raises(UserError, match=r"has no pictures where dataset="):
        data_of(f"dataset={dataset}", f"dataset.source.folder={tmp_path}").prepare()


def test_a_test_split_that_there_is_not_is_named(tmp_path):
    as_files(tmp_path, "train", range(20))
    with pytest.raises(UserError, match=r"has no folder test or val, of the test images"):
        paired(tmp_path).split("test")


def test_a_changed_picture_is_other_data(tmp_path):
    LAYOUTS["files"](tmp_path)
    before = paired(tmp_path).fingerprint
    assert paired(tmp_path).fingerprint == before
    write(side_by_side(99), tmp_path / "train/3.png")
    assert paired(tmp_path).fingerprint != before


def test_pictures_on_another_background_are_other_data(tmp_path):
    LAYOUTS["files"](tmp_path)
    black = paired(tmp_path, "dataset.source.background=black")
    assert black.fingerprint != paired(tmp_path).fingerprint


def test_a_folder_that_was_moved_is_the_same_data(tmp_path):
    LAYOUTS["files"](tmp_path / "here")
    before = paired(tmp_path / "here").fingerprint
    (tmp_path / "here").rename(tmp_path / "there")
    assert paired(tmp_path / "there").fingerprint == before


@pytest.mark.parametrize(
    ("a", "b", "test_a", "test_b"),
    [
        ("trainA", "trainB", "testA", "testB"),
        ("A/train", "B/train", "A/test", "B/test"),
        ("train/A", "train/B", "val/A", "val/B"),
    ],
)
@pytest.mark.parametrize("domains", [None, "[[B],[A]]"])
def test_two_folders_are_two_domains(a, b, test_a, test_b, domains, tmp_path):
    for place, numbers in ((a, range(20)), (b, range(25, 55)), (test_a, range(20, 23)),
                           (test_b, range(55, 60))):  # fmt: skip
        for number in numbers:
            write(picture(number, (24, 30)), tmp_path / place / f"{number}.png")
    data = data_of(
        "dataset=two_folders", f"dataset.source.folder={tmp_path}", "dataset.resolution=8",
        "dataset.validation_size=20", "dataset.batch_size=4",
        *([f"dataset.domains={domains}"] if domains else []),
    )  # fmt: skip
    sets = {split: [set(numbers_of(data.first_domain(split).images)),
                    set(numbers_of(data.split(split).images))]
            for split in ("train", "validation", "test")}  # fmt: skip
    if domains:
        sets = {split: found[::-1] for split, found in sets.items()}
    assert sets["test"] == [set(range(20, 23)), set(range(55, 60))]
    for side, expected in enumerate((set(range(20)), set(range(25, 55)))):
        assert sets["train"][side] | sets["validation"][side] == expected
        assert sets["train"][side].isdisjoint(sets["validation"][side])
    assert data.class_names == ("A", "B")


def test_a_tenth_of_each_of_two_folders_is_for_tests_where_nothing_is_said(tmp_path):
    for side, numbers in (("A", range(20)), ("B", range(25, 65))):
        for number in numbers:
            write(picture(number), tmp_path / side / f"{number}.png")
    data = data_of(
        "dataset=two_folders", f"dataset.source.folder={tmp_path}", "dataset.resolution=8",
        "dataset.validation_size=20", "dataset.batch_size=4",
    )  # fmt: skip
    assert (len(data.first_domain("test")), len(data.split("test"))) == (2, 4)
    every = [number for split in ("train", "validation", "test")
             for images in (data.first_domain(split), data.split(split))
             for number in numbers_of(images.images)]  # fmt: skip
    assert sorted(every) == [*range(20), *range(25, 65)]


def test_transparent_pictures_of_a_pair_lie_on_the_background(tmp_path):
    for number in range(20):
        whole = side_by_side(number).convert("RGBA")
        whole.putpixel((40, 8), (1, 2, 3, 0))
        write(whole, tmp_path / f"{number}.png")
    data = paired(tmp_path, "dataset.source.background=blue", "dataset.resolution=24")
    for split in ("train", "test"):
        assert (data.split(split).images[..., 8, 16] == torch.tensor([0, 0, 255])).all()
        assert (data.split(split).source[..., 8, 16] != torch.tensor([0, 0, 255])).any()
    with pytest.raises(UserError, match=r"background=beige2: is no colour"):
        paired(tmp_path, "dataset.source.background=beige2")


def test_the_same_pairs_are_held_out_in_each_size_and_layout(tmp_path):
    as_files(tmp_path / "files", "", range(26))
    as_folders(tmp_path / "folders", "A", "B", range(26))
    found = [
        [sorted(numbers_of(data.split(split).source)) for split in ("validation", "test")]
        for data in (
            paired(tmp_path / "files"),
            paired(tmp_path / "files", "dataset.resolution=12"),
            paired(tmp_path / "folders"),
        )
    ]
    assert found[0] == found[1] == found[2]


def test_a_file_that_is_no_picture_is_named_and_not_dropped_in_silence(tmp_path, caplog):
    as_files(tmp_path, "", range(120))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    data = paired(tmp_path)
    assert sum(len(data.split(name)) for name in ("train", "validation", "test")) == 120
    assert f"{tmp_path}/broken.png: cannot identify image file" in caplog.text


def test_too_few_images_of_the_second_domain_to_evaluate_by_are_refused():
    few = data_of("dataset.domains=[[Sneaker],[Ankle boot]]", "dataset.validation_size=60")
    held_out = len(few.split("validation"))
    assert held_out < 10 < few.validation_size
    quality = build(composed()["callbacks"]["validation"]["quality"], "quality")
    with pytest.raises(UserError, match=f"cannot be evaluated by {held_out} images"):
        quality.refuse_few(few)


# Journeys ----------------------------------------------------------------------------------------


def test_a_model_of_images_trains_on_the_second_of_two_domains(tmp_path):
    run = trained(composed(*SHORT, "dataset.domains=[[Sneaker],[Ankle boot]]"), tmp_path)
    assert run.manifest()["status"] == "finished"


# Their classifier --------------------------------------------------------------------------------


def classifier_data(data: ImageDataModule, outputs) -> ImageDataModule:
    """The data of the command that is printed where there is no classifier."""
    with pytest.raises(NoClassifier) as refused:
        ClassifierFeatures(None, data, outputs)
    recipe = compose_config(CONFIGS, "train", shlex.split(refused.value.command)[2:])
    check(recipe)
    return build(recipe["dataset"], "dataset")


def test_the_classifier_of_two_folders_is_trained_on_both(tmp_path):
    for side, numbers in (("A", range(25)), ("B", range(25, 60))):
        for number in numbers:
            write(picture(number), tmp_path / "data" / side / f"{number}.png")
    data = data_of(
        "dataset=two_folders", f"dataset.source.folder={tmp_path}/data", "dataset.resolution=8",
        "dataset.validation_size=9", "dataset.batch_size=7",
    )  # fmt: skip
    found = classifier_data(data, tmp_path)
    assert data.identity in held_out_of(found)  # so that the run is found for them
    assert set(found.split("train").labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("dataset.source.first._target_=gdm.data.mnist.EMNIST",
         "dataset.source.first.folder={folder}", "+dataset.source.first.split=letters",
         "dataset.domains=[[emnist],[fashion_mnist]]"),
    ],
)  # fmt: skip
def test_the_classifier_of_two_data_sets_is_trained_on_both(overrides, tmp_path):
    """No image is read here."""
    words = (text.format(folder=tmp_path) for text in overrides)
    data = build(compose_config(CONFIGS, "train", ["dataset=two_sets", *words])["dataset"],
                 "dataset")  # fmt: skip
    found = classifier_data(data, tmp_path)
    assert data.identity in held_out_of(found)
    kept, again = (each.source.sources["first"] for each in (data, found))
    assert kept.given == again.given
