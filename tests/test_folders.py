"""A folder of a user's own pictures: kinds of files, layouts, captions and splits."""

import json
import logging
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SMALL
from PIL import Image

from gdm.cli.compose import compose_config
from gdm.data import decoding, folders, listing
from gdm.data.datamodule import settle_facts
from gdm.data.decoding import decoded_picture, read_picture
from gdm.data.folders import Folder
from gdm.errors import UserError
from gdm.evaluation.classifier import ClassifierFeatures, NoClassifier
from gdm.recipes.build import build
from gdm.recipes.check import check

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GDM_DATA", str(tmp_path / "cache"))


@pytest.fixture
def own(tmp_path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def picture(number: int = 0, size: tuple[int, int] = (8, 8)) -> Image.Image:
    values = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values)


def put(folder: Path, *names: str, first: int = 0) -> None:
    """Write different pictures of these names."""
    for number, name in enumerate(names, start=first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name)


def many(folder: Path, count: int = 60, first: int = 0, within: str = "") -> None:
    put(folder, *(f"{within}{number:03}.png" for number in range(count)), first=first)


def both(source: Folder, size: int = 8):
    return source.load_at("train", size), source.load_at("test", size)


def said_of(source: Folder) -> dict[bytes, str]:
    """Return the captions of both splits by the images' bytes."""
    return {
        image.numpy().tobytes(): caption
        for images in both(source)
        for image, caption in zip(images.images, images.captions, strict=True)
    }


def bytes_of(path: Path) -> bytes:
    return np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes()


def decode(path: Path, resolution: int = 8, channels: int = 3, background="white") -> np.ndarray:
    return decoded_picture(path, "it", resolution, channels, background)[0]


# Kinds of files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "gif", "jpg", "PNG", "bmp"])
def test_each_kind_of_file_is_read(own, suffix):
    left = np.zeros((8, 8, 3), np.uint8)
    left[:, :4] = (250, 20, 30)  # planes of one colour, which survive every packing
    path = own / f"it.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0}
    Image.fromarray(left).save(path, **({} if suffix == "gif" else options))
    found = decode(path)
    assert (found.shape, found.dtype) == ((3, 8, 8), np.uint8)
    np.testing.assert_allclose(found, left.transpose(2, 0, 1), atol=3 if suffix == "jpg" else 0)


def test_grey_values_of_16_bits_are_rounded_to_8(own):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    for name in ("it.png", "it.tiff"):
        Image.fromarray(values).save(own / name)
        expected = np.round(values / 257).astype(np.uint8)
        for plane in decode(own / name):
            np.testing.assert_array_equal(plane, expected)


def test_values_without_a_range_are_refused(own):
    Image.fromarray(np.ones((8, 8), np.float32)).save(own / "float.tiff")
    Image.fromarray(np.full((8, 8), 70_000, np.int32)).save(own / "long.tiff")
    for name, reason in (("float.tiff", "floats"), ("long.tiff", "longer than 16 bits")):
        with pytest.raises(ValueError, match=f"^it: its values are {reason}"):
            decode(own / name)


def test_grey_palettes_and_black_and_white_become_colours(own):
    grey = picture().convert("L")
    for mode in ("L", "P", "1", "LA", "RGBA"):
        grey.convert(mode).save(own / "it.png")
        expected = np.asarray(grey.convert(mode).convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal(decode(own / "it.png"), expected)


@pytest.mark.parametrize(
    ("background", "colour"), [("white", (255, 255, 255)), ("#102030", (16, 32, 48))]
)
def test_transparent_pictures_lie_on_the_background(own, background, colour):
    clear = picture().convert("RGBA")
    clear.putalpha(Image.fromarray(np.repeat([[0, 255]], 8, 0).repeat(4, 1).astype(np.uint8)))
    clear.save(own / "it.png")
    found = decode(own / "it.png", background=background)
    assert (found[:, :, :4] == np.array(colour)[:, None, None]).all()
    np.testing.assert_array_equal(
        found[:, :, 4:], np.asarray(picture()).transpose(2, 0, 1)[..., 4:]
    )
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(own / "it.gif", transparency=1)
    assert (decode(own / "it.gif", background=background) == np.array(colour)[:, None, None]).all()
    clear.save(own / "it.webp", lossless=True)
    np.testing.assert_array_equal(decode(own / "it.webp", background=background), found)


def test_a_camera_held_upright_is_seen_upright(own):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    picture().save(own / "it.png", exif=exif)
    turned = np.rot90(np.asarray(picture()), -1)
    np.testing.assert_array_equal(decode(own / "it.png"), turned.transpose(2, 0, 1))
    picture(size=(8, 4)).save(own / "it.jpg", exif=exif)
    assert read_picture(own / "it.jpg", "it").size == (4, 8)
    long = np.arange(64, dtype=np.uint16).reshape(8, 8) * 257  # values of 16 bits are turned too
    Image.fromarray(long).save(own / "long.png", exif=exif)
    np.testing.assert_array_equal(decode(own / "long.png")[0], np.rot90(long // 257, -1))


def test_the_centre_is_averaged_over_areas(own):
    wide = picture(size=(24, 16))
    wide.save(own / "it.png")
    centre = np.asarray(wide, np.float64)[:, 4:20]
    areas = centre.reshape(8, 2, 8, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(decode(own / "it.png"), areas, atol=1.01)  # rounded twice
    assert decode(own / "it.png", 32).shape == (3, 32, 32)  # smaller ones are enlarged


def test_colours_become_grey_where_one_channel_is_asked_for(own):
    picture().save(own / "it.png")
    grey = decode(own / "it.png", channels=1)
    np.testing.assert_array_equal(grey[0], np.asarray(picture().convert("L")))


def test_a_picture_digests_the_same_in_other_files_sizes_and_channels(own):
    for name in ("it.png", "it.tiff", "it.bmp"):
        picture().save(own / name)
    picture().convert("RGBA").save(own / "alpha.png")
    digests = {
        decoded_picture(own / name, "it", size, channels, "white")[1]
        for name in ("it.png", "it.tiff", "it.bmp", "alpha.png")
        for size, channels in ((8, 3), (4, 3), (4, 1))
    }
    assert len(digests) == 1
    picture(1).save(own / "other.png")
    assert decoded_picture(own / "other.png", "it", 8, 3, "white")[1] not in digests


@pytest.mark.parametrize("cut", [0, 20, 100])
def test_a_damaged_picture_is_named(own, cut):
    put(own, "it.png")
    contents = (own / "it.png").read_bytes()
    (own / "it.png").write_bytes(contents[:cut])
    with pytest.raises(ValueError, match=r"^it: ."):
        decode(own / "it.png")


def test_a_picture_too_large_to_be_one_is_named(own, monkeypatch):
    put(own, "it.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"^it: .*exceeds limit"):
        decode(own / "it.png")


# Layouts -----------------------------------------------------------------------------------------


def test_any_nesting_is_looked_into_and_hidden_files_are_not(own):
    many(own)
    put(own, "a/b/c/deep.png", "other/x.PNG", first=100)
    for name in (".hidden.png", "a/._deep.png", ".trash/x.png", "__MACOSX/x.png", "readme.md"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_bytes(b"no picture")
    os.symlink(own, own / "a" / "loop")
    train, test = both(Folder(str(own)))
    assert len(train) + len(test) == 62
    assert train.class_names == test.class_names == ()  # since some lie in no folder


def test_the_first_folders_are_the_classes(own):
    many(own, 30, 0, "dog/")
    many(own, 30, 100, "cat/young/")
    train, test = both(Folder(str(own)))
    assert train.class_names == test.class_names == ("cat", "dog")
    cats = {bytes_of(path) for path in own.glob("cat/young/*.png")}
    for images in (train, test):
        for image, label in zip(images.images, images.labels, strict=True):
            assert (image.numpy().tobytes() in cats) == (label == 0)


def test_one_folder_is_no_class(own):
    many(own, within="images/")
    train, test = both(Folder(str(own)))
    assert train.class_names == ()
    assert train.labels.unique().tolist() == test.labels.unique().tolist() == [0]


@pytest.mark.parametrize("test_name", ["test", "val", "Validation"])
def test_folders_of_the_owners_are_the_splits(own, test_name, caplog):
    many(own, 6, 0, "train/a/")
    many(own, 6, 10, "train/b/")
    many(own, 3, 20, f"{test_name}/b/")
    put(own, "extra/1.png", first=50)
    train, test = both(Folder(str(own)))
    assert (len(train), len(test)) == (12, 3)
    assert train.class_names == test.class_names == ("a", "b")
    assert test.labels.tolist() == [1, 1, 1]
    assert "left out: extra" in caplog.text


def test_a_folder_train_alone_is_split_and_among_others_a_class(own):
    many(own, 60, 0, "train/a/")
    many(own, 60, 100, "train/b/")
    source = Folder(str(own))
    assert source.class_names == ("a", "b")
    assert 0 < len(source.load_at("test", 8)) < 30
    many(own, 5, 300, "ship/")
    assert Folder(str(own)).class_names == ("ship", "train")


def test_the_split_by_content_is_fixed_and_keeps_equal_pictures_together(own, tmp_path):
    many(own, 200)
    train, test = both(Folder(str(own)))
    assert 8 <= len(test) <= 35  # a tenth of 200, give or take four standard deviations
    rows = {image.numpy().tobytes() for image in test.images}
    assert not rows & {image.numpy().tobytes() for image in train.images}
    for images in (train, test):  # pieces of the whole file, not copies
        assert images.images.untyped_storage().nbytes() == 200 * 3 * 8 * 8
    for number, path in enumerate(sorted(own.glob("*.png"))):  # other names, kinds and company
        (own / "copies").mkdir(exist_ok=True)
        Image.open(path).save(own / "copies" / f"{number}.tiff")
    many(own, 30, 1000, "more/")
    more = Folder(str(own)).load_at("test", 8)
    again = [image.numpy().tobytes() for image in more.images]
    assert all(again.count(row) == 2 for row in rows)
    smaller = Folder(str(own), channels=1).load_at("test", 4)
    assert smaller.digests.tolist() == more.digests.tolist()


def test_unreadable_pictures_are_named_and_many_refused(own, caplog):
    many(own, 120)
    (own / "bad.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        train, test = both(Folder(str(own)))
    assert len(train) + len(test) == 120
    assert f"{own / 'bad.png'}: cannot identify image file" in caplog.text
    for number in range(5):
        (own / f"bad{number}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"6 of 126 images cannot be read, more than 1 %: .*bad.p"):
        Folder(str(own)).load_at("train", 8)


def test_a_link_to_nowhere_is_an_unreadable_picture(own, caplog):
    many(own, 120)
    os.symlink(own / "nowhere", own / "gone.png")
    train, test = both(Folder(str(own)))
    assert len(train) + len(test) == 120
    assert f"{own / 'gone.png'}: [Errno 2] No such file" in caplog.text


def test_a_folder_that_cannot_be_looked_into_is_named(own, monkeypatch):
    many(own)
    put(own, "closed/1.png")
    look = os.scandir

    def scandir(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"own/closed: cannot be looked into \(Permission denied"):
        Folder(str(own)).load_at("train", 8)


def test_what_is_no_folder_of_images_is_one_clear_line(own):
    def refusal(folder, **options) -> str:
        with pytest.raises(UserError) as refused:
            Folder(folder, **options).load_at("train", 8)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "dataset.source.folder=null: name the folder" in refusal(None)
    assert "there is no such folder" in refusal(str(own / "nowhere"))
    assert "has no images among its 0 files" in refusal(str(own))
    (own / "notes.txt").write_text("none")
    assert "has no images among its 1 files; their names end in .png" in refusal(str(own))
    assert "is no folder" in refusal(str(own / "notes.txt"))
    assert "background=beige2: is no colour" in refusal(str(own), background="beige2")
    assert "channels=2: must be 3, or 1" in refusal(str(own), channels=2)
    put(own, "a.png")
    with pytest.raises(UserError, match=r"its few images leave none for the (train|test) split"):
        both(Folder(str(own)))


# Captions ----------------------------------------------------------------------------------------


def written(own: Path, layout: str) -> None:
    """Give captions to all pictures of a folder."""
    said = {path: f"picture, {path.stem}" for path in sorted(own.rglob("*.png"))}
    rows = {path.relative_to(own).as_posix(): text for path, text in said.items()}
    if layout == "captions.csv":
        lines = [f'{name},"{text}"' for name, text in rows.items()]
        (own / layout).write_text("\n".join(["file_name,caption", *lines]))
    elif layout == "metadata.jsonl":
        lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows.items()]
        (own / layout).write_text("\n".join(lines) + "\n")
    elif layout == "metadata.jsonl in each folder":
        for folder in {path.parent for path in said}:
            lines = [json.dumps({"file_name": path.name, "text": text})
                     for path, text in said.items() if path.parent == folder]  # fmt: skip
            (folder / "metadata.jsonl").write_text("\n".join(lines))
    else:
        for path, text in said.items():
            path.with_suffix(".txt").write_text(text + "\n")


@pytest.mark.parametrize(
    "layout", ["captions.csv", "metadata.jsonl", "metadata.jsonl in each folder", "name.txt"]
)
def test_captions_are_found_in_each_layout(own, layout):
    many(own, 40, 0, "train/a/")
    many(own, 20, 50, "test/")
    for path in list(own.glob("test/*.png")):
        path.rename(path.with_name(f"t{path.name}"))
    written(own, layout)
    expected = {bytes_of(path): f"picture, {path.stem}" for path in own.rglob("*.png")}
    assert said_of(Folder(str(own))) == expected


def test_images_without_a_caption_and_captions_without_an_image_are_said(own, caplog):
    many(own)
    (own / "captions.csv").write_text("file_name,text\n000.png,zero\nnone.png,nothing\n")
    said = said_of(Folder(str(own)))
    assert sorted(said.values())[-2:] == ["", "zero"]
    assert "names 1 images that are not there, such as " + str(own / "none.png") in caplog.text
    assert "have no caption, such as" in caplog.text


def test_without_captions_there_are_none(own):
    many(own)
    (own / "metadata.jsonl").write_text('{"file_name": "000.png", "age": 3}')
    assert [images.captions for images in both(Folder(str(own)))] == [None, None]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "000.png"}\n{oops',
            "metadata.jsonl, line 2: is no JSON",
        ),
        ("metadata.jsonl", "[1]", "line 1: is no object such as"),
        (
            "captions.csv",
            "000.png,a cat\n001.png,a dog",
            "line 2: names no file; a table has a col",
        ),
        ("captions.csv", b"file_name,text\n000.png,\xff", "cannot be read as UTF-8"),
    ],
)
def test_a_table_that_cannot_be_understood_is_one_clear_line(own, name, text, message):
    many(own)
    (own / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        Folder(str(own)).load_at("train", 8)


# The same data again -----------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_the_contents(own, tmp_path):
    many(own, 5)
    (own / "captions.csv").write_text("file_name,text\n000.png,zero\n")
    first = Folder(str(own)).fingerprint
    (own / "notes.md").write_text("not read")
    shutil.copytree(own, tmp_path / "copy")
    assert Folder(str(tmp_path / "copy")).fingerprint == first
    assert Folder(str(own), background="black").fingerprint != first
    assert Folder(str(own), channels=1).fingerprint != first
    (own / "captions.csv").write_text("file_name,text\n000.png,nil!\n")
    assert Folder(str(own)).fingerprint != first
    (own / "captions.csv").unlink()
    shutil.copy(tmp_path / "copy" / "captions.csv", own)
    assert Folder(str(own)).fingerprint == first
    picture(99).save(own / "000.png")
    assert Folder(str(own)).fingerprint != first


def test_files_are_read_once_to_know_them_and_a_changed_one_is_decoded_again(own, monkeypatch):
    many(own)
    before = both(Folder(str(own)))
    with monkeypatch.context() as patch:
        patch.setattr(listing, "_checksum", None)
        patch.setattr(folders, "decoded_picture", None)
        for found, expected in zip(both(Folder(str(own))), before, strict=True):
            assert torch.equal(found.images, expected.images)
    picture(500).save(own / "000.png")
    found = {
        image.numpy().tobytes() for images in both(Folder(str(own))) for image in images.images
    }
    assert bytes_of(own / "000.png") in found


def recipe_of(own: Path, *overrides: str) -> dict:
    names = ["dataset=folder", f"dataset.source.folder={own}", *overrides]
    return compose_config(CONFIGS, "train", names)


def test_classes_and_the_images_held_out_are_settled_with_the_images(own):
    many(own, 100, 0, "dog/")
    many(own, 100, 200, "cat/")
    recipe = recipe_of(own, "dataset.resolution=16", "dataset.facts.channels=1")
    assert recipe["dataset"]["validation_size"] is None
    data = build(recipe["dataset"], "dataset")
    settle_facts(recipe, data)
    train = data.num_train + len(data.split("validation"))
    assert recipe["dataset"]["validation_size"] == len(data.split("validation")) == train // 10
    assert (
        recipe["dataset"]["facts"]["num_classes"] == recipe["model"]["facts"]["num_classes"] == 2
    )
    assert data.split("train").images.shape[1:] == (1, 16, 16)
    assert build(recipe["dataset"], "dataset").fingerprint == data.fingerprint
    again = build(recipe_of(own, "dataset.resolution=16", "dataset.facts.channels=1")["dataset"],
                  "dataset")  # fmt: skip
    assert again.fingerprint == data.fingerprint
    held_out = data.split("validation").images  # a piece of the file, like the others
    train = data.split("train").images
    assert held_out.untyped_storage().data_ptr() == train.untyped_storage().data_ptr()


def test_the_command_that_trains_a_classifier_names_the_folder(own, tmp_path):
    many(own, 30, 0, "dog/")
    many(own, 30, 200, "cat/")
    small = ("dataset.resolution=16", "dataset.facts.channels=1", "dataset.batch_size=10")
    recipe = recipe_of(own, *small)
    asked = rf"dataset=folder dataset\.resolution=16 dataset\.source\.folder={own} "
    with pytest.raises(NoClassifier, match=asked + r"dataset\.facts\.channels=1 dataset\.valid"):
        ClassifierFeatures(None, build(recipe["dataset"], "dataset"), tmp_path)


def test_after_training_without_classes_no_evaluation_by_a_classifier_is_offered(
    own, tmp_path, run_script
):
    many(own, 60)
    done = run_script(
        "train", "dataset=folder", f"dataset.source.folder={own}", f"outputs={tmp_path}/runs",
        "dataset.resolution=16", "dataset.batch_size=10", *SMALL, "budget.images=20",
        "callbacks=null", "logger=null", "trainer=cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    offered = done.stdout.partition("Next:")[2].splitlines()
    assert any("scripts/sample.py" in line for line in offered)
    evaluating = [line for line in offered if "scripts/evaluate.py" in line]
    assert all(line.endswith(" extractor=inception") for line in evaluating)


# The hub -----------------------------------------------------------------------------------------


def hub(**options):
    from gdm.data.huggingface import HuggingFace

    return HuggingFace(options.pop("name", "somebody/pictures"), **options)


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the library datasets: pip install -e '.\[hugging"):
        hub().load_at("train", 8)
    with pytest.raises(UserError, match=r"dataset\.source\.name=null: name a data set"):
        hub(name=None).load_at("train", 8)


class Rows:
    """The part of `datasets.Dataset` that is used, over lists."""

    _fingerprint = "1234"

    def __init__(self, columns: dict, names=None) -> None:
        self.columns = columns
        self.features = {name: SimpleNamespace() for name in columns}
        if names:
            self.features["label"].names = names

    column_names = property(lambda self: list(self.columns))

    def __len__(self):
        return len(self.columns["image"])

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}

    def select_columns(self, names):
        return Rows({name: self.columns[name] for name in names})

    def cast_column(self, name, kind):
        assert kind == "encoded"
        return self


@pytest.fixture
def library(monkeypatch, own):
    """A library whose hub has one data set, in a variable number of splits."""
    many(own)
    files = sorted(own.glob("*.png"))
    rows = Rows(
        {
            "image": [{"bytes": None, "path": str(path)} for path in files[:30]]
            + [{"bytes": path.read_bytes(), "path": None} for path in files[30:]],
            "label": [number % 2 for number in range(60)],
            "text": [path.stem for path in files],
        },
        ["even", "odd"],
    )
    splits = {"train": rows}

    def load_dataset(name, subset):
        if name != "somebody/pictures":
            raise ConnectionError("the hub\nis not there")
        return splits

    fake = SimpleNamespace(load_dataset=load_dataset, Image=lambda decode: "encoded")
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return splits


def test_a_data_set_of_the_hub_has_images_classes_and_captions(library, own):
    before = hub().fingerprint
    train, test = both(hub())
    assert len(train) + len(test) == 60
    assert len(test)
    for images in (train, test):
        assert images.class_names == ("even", "odd")
        for image, label, caption in zip(
            images.images, images.labels, images.captions, strict=True
        ):
            assert image.numpy().tobytes() == bytes_of(own / f"{caption}.png")
            assert int(caption) % 2 == label
    few = {name: values[:5] for name, values in library["train"].columns.items()}
    library["test"] = Rows(few, ["even", "odd"])
    train, test = both(hub())
    assert (len(train), len(test)) == (60, 5)
    assert hub().fingerprint != before
    library["test"] = Rows(few | {"label": [0, 1, 2, 1, 0]})
    library["train"].features["label"] = SimpleNamespace()
    with pytest.raises(UserError, match="label=label: 2 of somebody/pictures is no class of its"):
        hub().load_at("test", 8)
    plain = hub(label=None, caption=None).load_at("test", 8)
    assert (plain.class_names, plain.captions) == ((), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "nobody/none"}, r"name=nobody/none: cannot be loaded \(the hub is not there\)"),
        ({"train": "all"}, r"dataset\.source\.train=all: somebody/pictures has the splits train"),
        ({"image": "img"}, r"dataset\.source\.image=img: .* has the columns image, label, text"),
    ],
)
def test_what_the_hub_does_not_have_is_one_clear_line(library, options, message):
    with pytest.raises(UserError, match=message):
        hub(**options).load_at("train", 8)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("missing", [None, [0, 1]])
def test_an_image_of_the_hub_without_a_class_is_one_clear_line(library, named, missing):
    rows = library["train"]
    rows.columns["label"] = [missing if number in (7, 9) else number % 2 for number in range(60)]
    if not named:
        rows.features["label"] = SimpleNamespace()
    with pytest.raises(
        UserError, match=r"label=label: 2 of 60 images of .*such as image 7 \(.*ull$"
    ):
        hub().load_at("train", 8)
    assert hub(label=None).load_at("train", 8).class_names == ()


def test_the_command_that_trains_a_classifier_of_the_hub_gives_the_same_images(library, tmp_path):
    rows = library["train"]
    rows.columns["shape"], rows.columns["picture"] = rows.columns["label"], rows.columns["image"]
    rows.features |= {"shape": SimpleNamespace(names=["round", "long"])}
    library["all"] = rows
    asked = ["name=somebody/pictures", "train=all", "label=shape", "caption=null"]
    words = [f"dataset.source.{word}" for word in asked]
    words += ["dataset.resolution=16", "dataset.batch_size=8"]
    data = build(compose_config(CONFIGS, "train", ["dataset=huggingface", *words])["dataset"],
                 "dataset")  # fmt: skip
    with pytest.raises(NoClassifier) as refused:
        ClassifierFeatures(None, data, tmp_path)
    python, script, *printed = shlex.split(refused.value.command)
    assert (python, script, printed[0]) == ("python", "scripts/train.py", "model=classifier")
    assert refused.value.command in str(refused.value)
    recipe = compose_config(CONFIGS, "train", printed)
    check(recipe)
    again = build(recipe["dataset"], "dataset")
    assert again.fingerprint == data.fingerprint
    assert again.class_names == ("round", "long")  # so that its batches are no more than it has


def test_a_colour_is_three_numbers():
    assert decoding.colour_of("#01020380") == (1, 2, 3)
