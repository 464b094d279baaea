"""The lecture's other data: small archives in the layout of the originals, and its experiments."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from conftest import SMALL, SMALL_DIFFUSION, SMALL_GAN, composed, trained
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_sample_images

from gdm.data import archives
from gdm.data.archives import KnownFile, MatFile, PackedPictures, in_tar, in_zip, square_of
from gdm.data.celeba import CelebA
from gdm.data.datamodule import ImageDataModule
from gdm.data.flowers import Flowers102
from gdm.data.mnist import (
    EMNIST,
    EMNIST_CLASSES,
    KMNIST,
    MNIST,
    FashionMNIST,
    IdxFile,
    PackedIdxFile,
)
from gdm.data.svhn import SVHN
from gdm.errors import UserError
from gdm.recipes.check import check
from gdm.theory.images import ImageFacts
from gdm.training.options import TrainOptions

COUNT = 24
# Of the official split of CelebA: training, validation, test.
PARTITION = [0] * 14 + [1] * 4 + [2] * 6
ATTRIBUTES = ("Blond_Hair", "Male", "Smiling")


def photographs(width: int, height: int) -> list[np.ndarray]:
    """Return different pieces of two photographs, each (height, width, 3)."""
    pieces, originals = [], load_sample_images().images
    for number in range(COUNT):
        photograph = originals[number % 2]
        top, left = 5 * number, 4 * number
        piece = np.resize(photograph[top:, left:], (height, width, 3))
        if top + height <= photograph.shape[0] and left + width <= photograph.shape[1]:
            piece = photograph[top : top + height, left : left + width]
        pieces.append(np.ascontiguousarray(piece))
    return pieces


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def known(path: Path, kind: type[KnownFile] = KnownFile) -> KnownFile:
    """Return what a file would be known by if it were the original."""
    contents = path.read_bytes()
    return kind(path.name, len(contents), hashlib.sha256(contents).hexdigest())


def area(picture: bytes, box: tuple[int, int, int, int], resolution: int) -> np.ndarray:
    """Return the means over the areas of a piece of a picture whose side is a multiple."""
    left, top, right, bottom = box
    pixels = np.asarray(Image.open(io.BytesIO(picture)))[top:bottom, left:right].astype(float)
    factor = (right - left) // resolution
    return (
        pixels.reshape(resolution, factor, resolution, factor, 3).mean((1, 3)).transpose(2, 0, 1)
    )  # (C, R, R)


# CelebA ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces() -> list[bytes]:
    return [jpeg(pixels) for pixels in photographs(178, 218)]


@pytest.fixture
def celeba(tmp_path, faces, monkeypatch) -> Path:
    """The folder of a small CelebA; `CelebA` takes it for the original."""
    folder = tmp_path / "celeba"
    folder.mkdir()
    names = [f"{number:06d}.jpg" for number in range(1, COUNT + 1)]
    with ZipFile(folder / "img_align_celeba.zip", "w", ZIP_DEFLATED) as archive:
        archive.writestr("img_align_celeba/", "")
        for name, face in zip(names, faces, strict=True):
            archive.writestr(f"img_align_celeba/{name}", face)
    # The first attribute is in every second image, the second in every third, ...
    lines = [f"{COUNT}", " ".join(ATTRIBUTES) + " "]
    for number, name in enumerate(names):
        values = [1 if number % (column + 2) == 0 else -1 for column in range(len(ATTRIBUTES))]
        lines.append(name + "".join(f" {value:2d}" for value in values))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    parts = "".join(f"{name} {part}\n" for name, part in zip(names, PARTITION, strict=True))
    (folder / "list_eval_partition.txt").write_text(parts)
    files = {key: known(folder / file.name) for key, file in CelebA.files.items()}
    monkeypatch.setattr(CelebA, "files", files)
    return folder


def rows_of(images, faces, crop: int, resolution: int) -> list[int]:
    """Return which face each image is, by its pixels."""
    every = np.stack([square_of(face, "", crop, resolution) for face in faces])
    found = [np.flatnonzero((every == image.numpy()).all((1, 2, 3))) for image in images.images]
    assert all(len(each) == 1 for each in found)
    return [int(each[0]) for each in found]


def test_faces_keep_their_attributes_and_the_official_test_split(celeba, faces):
    source = CelebA(str(celeba), crop=148)
    test_rows = list(range(COUNT - 6, COUNT))
    for split, expected in (("train", range(COUNT - 6)), ("test", test_rows)):
        images = source.load_at(split, 74)
        rows = rows_of(images, faces, 148, 74)
        assert sorted(rows) == list(expected)
        assert images.class_names == ()
        assert not images.labels.any()
        assert images.attributes.names == ATTRIBUTES
        has = [[int(row % (column + 2) == 0) for column in range(3)] for row in rows]
        assert images.attributes.values.tolist() == has
        assert images.attributes.values.dtype == torch.uint8


def test_a_pixel_is_the_mean_of_its_area_in_the_middle_of_the_face(celeba, faces):
    images = CelebA(str(celeba), crop=148).load_at("test", 74)
    rows = rows_of(images, faces, 148, 74)
    for image, row in zip(images.images, rows, strict=True):
        expected = area(faces[row], (15, 35, 163, 183), 74)
        assert np.abs(image.numpy() - expected).max() <= 1  # rounded twice


def test_an_attribute_makes_two_classes(celeba):
    facts = ImageFacts(3, 32, 32, None)
    data = ImageDataModule(CelebA(str(celeba), 148), facts, 2, 4, False, 32, labels="Male")
    assert data.class_names == ("not Male", "Male")
    assert data.num_classes == 2
    for split in ("train", "validation", "test"):
        images = data.split(split)
        assert torch.equal(images.labels, images.attributes.values[:, 1].long())
    with pytest.raises(UserError, match=r"labels=Bald: these images have Blond_Hair, Male, Smi"):
        ImageDataModule(CelebA(str(celeba), 148), facts, 2, 4, False, 32, labels="Bald").prepare()


def test_faces_are_decoded_once_and_each_size_and_crop_has_its_own(celeba, monkeypatch):
    first = CelebA(str(celeba), 148).load_at("test", 37)
    (celeba / "img_align_celeba.zip").unlink()
    again = CelebA(str(celeba), 148).load_at("test", 37)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.attributes.values, again.attributes.values)
    for crop, resolution in ((148, 36), (108, 37)):
        with pytest.raises(UserError, match=r"img_align_celeba\.zip of celeba is not in"):
            CelebA(str(celeba), crop).load_at("test", resolution)
    assert CelebA(None, 148).fingerprint != CelebA(None, 108).fingerprint


@pytest.mark.parametrize(
    ("crop", "resolution", "message"),
    [
        (179, 64, r"dataset\.source\.crop=179: the images are 178 pixels wide"),
        (108, 128, r"dataset\.resolution=128: must be at most dataset\.source\.crop=108"),
    ],
)
def test_a_crop_that_cannot_be_is_refused(celeba, crop, resolution, message):
    with pytest.raises(UserError, match=message):
        CelebA(str(celeba), crop).load_at("train", resolution)


@pytest.mark.parametrize("name", [file.name for file in CelebA.files.values()])
def test_a_file_of_celeba_that_is_missing_or_damaged_is_named(celeba, name):
    contents = (celeba / name).read_bytes()
    (celeba / name).unlink()
    with pytest.raises(UserError) as missing:
        CelebA(str(celeba), 148).load_at("train", 19)
    for part in (
        f"{name} of celeba is not in {celeba}, and no address has it",
        f"get it from the Google Drive of https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and "
        f"put it into {celeba}",
        "dataset.source.folder=FOLDER",
        "dataset=emoji_mini",
    ):
        assert part in str(missing.value)
    (celeba / name).write_bytes(contents[:-1] + b"\1")
    with pytest.raises(UserError, match=f"{name} is damaged: it has SHA-256"):
        CelebA(str(celeba), 148).load_at("train", 19)


def test_the_original_celeba_has_the_published_sizes():
    sizes = [file.num_bytes for file in CelebA.files.values()]
    assert sizes == [1_443_490_838, 26_721_026, 2_836_386]
    assert all(len(file.sha256) == 64 for file in CelebA.files.values())


# Oxford 102 Flowers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flowers() -> list[bytes]:
    sizes = [(500, 600), (667, 500)]  # tall and wide
    tall, wide = (photographs(*size) for size in sizes)
    return [jpeg((tall, wide)[number % 2][number]) for number in range(COUNT)]


# As the originals: the numbers of images, from 1, and classes from 1.
LISTS = {"trnid": [1, 5, 9, 24], "valid": [2, 6, 10, 23],
         "tstid": [3, 4, 7, 8, *range(11, 23)]}  # fmt: skip
FLOWER_LABELS = np.array([102, *range(1, COUNT)], np.uint8)


@pytest.fixture
def flowers_folder(request, tmp_path, flowers, monkeypatch) -> Path:
    """The folder of a small Oxford 102, whose archive is packed or, by its parameter, not."""
    folder = tmp_path / "flowers"
    folder.mkdir()
    with tarfile.open(folder / "102flowers.tgz", getattr(request, "param", "w:gz")) as archive:
        directory = tarfile.TarInfo("jpg")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for number in reversed(range(COUNT)):  # in no order, as the original
            member = tarfile.TarInfo(f"jpg/image_{number + 1:05d}.jpg")
            member.size = len(flowers[number])
            archive.addfile(member, io.BytesIO(flowers[number]))
    savemat(folder / "imagelabels.mat", {"labels": FLOWER_LABELS[None]})
    lists = {name: np.array([each], np.uint16) for name, each in LISTS.items()}
    savemat(folder / "setid.mat", lists)
    kinds = {key: type(file) for key, file in Flowers102.files.items()}
    files = {key: known(folder / file.name, kinds[key]) for key, file in Flowers102.files.items()}
    monkeypatch.setattr(Flowers102, "files", files)
    monkeypatch.setattr(Flowers102, "addresses", ())
    return folder


@pytest.mark.parametrize("flowers_folder", ["w:gz", "w"], indirect=True)
@pytest.mark.parametrize(
    ("split", "train", "test"),
    [
        ("official", ("trnid", "valid"), ("tstid",)),
        ("joined", ("valid", "tstid"), ("trnid",)),
    ],
)
def test_flowers_have_their_class_in_either_split(flowers_folder, flowers, split, train, test):
    source = Flowers102(str(flowers_folder), split)
    for name, lists in (("train", train), ("test", test)):
        images = source.load_at(name, 50)
        rows = rows_of(images, flowers, 500, 50)
        assert {row + 1 for row in rows} == {number for each in lists for number in LISTS[each]}
        assert images.labels.tolist() == [int(FLOWER_LABELS[row]) - 1 for row in rows]
    assert len(set(images.class_names)) == 102
    assert images.class_names[101] == "blackberry lily"


def test_the_middle_square_of_a_flower_is_shrunk_by_area(flowers):
    for number, box in ((0, (0, 50, 500, 550)), (1, (83, 0, 583, 500))):
        small = square_of(flowers[number], "", None, 50)
        assert np.abs(small - area(flowers[number], box, 50)).max() <= 1  # rounded twice


def test_flowers_are_not_made_larger_than_they_are(flowers_folder):
    with pytest.raises(UserError, match=r"dataset\.resolution=512: must be at most 500"):
        Flowers102(str(flowers_folder), "joined").load_at("train", 512)


def test_a_flower_that_is_not_in_the_archive_is_refused(flowers_folder):
    savemat(flowers_folder / "setid.mat", {"trnid": [[1, 25]], "valid": [[2]], "tstid": [[3]]})
    Flowers102.files["splits"] = known(flowers_folder / "setid.mat", MatFile)
    with pytest.raises(UserError, match=r"1 of 2 images .* jpg/image_00025.jpg is not in the ar"):
        Flowers102(str(flowers_folder), "joined").load_at("test", 20)


def test_a_damaged_archive_of_flowers_is_named_once(flowers_folder, monkeypatch):
    path = flowers_folder / "102flowers.tgz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"102flowers\.tgz is damaged: it has .* bytes, expected"):
        Flowers102(str(flowers_folder), "joined").load_at("train", 21)
    path.unlink()
    with pytest.raises(UserError, match=r"102flowers\.tgz of flowers102 is not in"):
        Flowers102(str(flowers_folder), "joined").load_at("train", 21)


# Pictures in archives ----------------------------------------------------------------------------


def test_an_archive_is_opened_when_it_is_first_read_and_its_failure_stays(tmp_path):
    asked = []

    def locate():
        asked.append(1)
        raise UserError("it is nowhere")

    pictures = PackedPictures(locate, in_zip)
    assert asked == []
    for _ in range(3):  # as each thread tries
        with pytest.raises(UserError, match="nowhere"):
            pictures.read("a.jpg")
    assert asked == [1]


def test_a_file_that_may_not_be_read_is_one_clear_line(celeba, monkeypatch):
    def refused(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(KnownFile, "verify", refused)
    with pytest.raises(UserError, match=r"list_attr_celeba\.txt cannot be read \(.*Permission de"):
        CelebA(str(celeba), crop=148).load_at("test", 20)


@pytest.mark.parametrize("unpack", [in_zip, in_tar])
def test_a_name_that_is_not_in_an_archive_is_told(tmp_path, unpack):
    path = tmp_path / "archive"
    with ZipFile(path, "w") if unpack is in_zip else tarfile.open(path, "w"):
        pass
    with pytest.raises(ValueError, match=r"a\.jpg is not in the archive"):
        PackedPictures(lambda: path, unpack).read("a.jpg")


def test_a_picture_that_is_none_or_too_small_is_told():
    with pytest.raises(ValueError, match=r"a\.jpg cannot be decoded"):
        square_of(b"no picture", "a.jpg", None, 4)
    whole = jpeg(np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a\.jpg cannot be decoded"):
        square_of(whole[: len(whole) // 2], "a.jpg", None, 4)
    with pytest.raises(ValueError, match=r"a\.jpg has 40 x 30 pixels, expected 32 or more"):
        square_of(whole, "a.jpg", 32, 4)


def test_grey_pictures_become_colour():
    grey = jpeg(np.full((8, 8), 100, np.uint8))
    assert (square_of(grey, "", None, 4) == 100).all()


def test_a_checksum_is_computed_once_as_long_as_the_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    file = known(path)
    file.verify(path)
    monkeypatch.setattr(archives.hashlib, "file_digest", None)
    file.verify(path)
    path.write_bytes(b"contents!")
    with pytest.raises(ValueError, match="it has 9 bytes, expected 8"):
        file.verify(path)


# SVHN, KMNIST, EMNIST ----------------------------------------------------------------------------


def test_house_numbers_are_read_in_colour_and_ten_is_nought(tmp_path, monkeypatch):
    pieces = np.stack([piece[:32, :32] for piece in photographs(178, 218)])  # (N, H, W, C)
    labels = (np.arange(COUNT) % 10 + 1).astype(np.uint8)
    for part, rows in (("train", slice(0, 20)), ("test", slice(20, COUNT))):
        arrays = {"X": pieces[rows].transpose(1, 2, 3, 0), "y": labels[rows, None]}
        savemat(tmp_path / f"{part}_32x32.mat", arrays, do_compression=True)
    monkeypatch.setattr(SVHN, "addresses", ())
    with pytest.raises(UserError, match=r"train_32x32\.mat is damaged: .*expected 182,040,794"):
        SVHN(str(tmp_path)).load("train")
    files = {split: known(tmp_path / file.name, MatFile) for split, file in SVHN.files.items()}
    monkeypatch.setattr(SVHN, "files", files)
    train, test = (SVHN(str(tmp_path)).load(split) for split in ("train", "test"))
    np.testing.assert_array_equal(train.images, pieces[:20].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(test.images, pieces[20:].transpose(0, 3, 1, 2))
    assert train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    assert train.class_names[int(train.labels[9])] == "0"
    assert train.images.is_contiguous()


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes())


def letters(count: int) -> np.ndarray:
    """Return grey pictures that look otherwise on their side, (N, 28, 28)."""
    grey = [piece[:28, :28].mean(2) for piece in photographs(178, 218)[:count]]
    return np.stack(grey).astype(np.uint8)


def test_kmnist_is_known_by_its_packed_files(tmp_path, monkeypatch):
    images, labels = letters(COUNT), (np.arange(COUNT) % 10).astype(np.uint8)
    files = {}
    for split, pair in KMNIST.files.items():
        for file, array in zip(pair, (images, labels), strict=True):
            (tmp_path / file.name).write_bytes(idx(array))
        files[split] = tuple(known(tmp_path / file.name, PackedIdxFile) for file in pair)
    monkeypatch.setattr(KMNIST, "addresses", ())
    with pytest.raises(UserError, match=r"train-images.*\.gz is damaged: .*expected 18,165,135"):
        KMNIST(str(tmp_path)).load("train")
    monkeypatch.setattr(KMNIST, "files", files)
    found = KMNIST(str(tmp_path)).load("train")
    np.testing.assert_array_equal(found.images[:, 0], images)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.class_names[3] == "tsu"


@pytest.fixture
def emnist(tmp_path, monkeypatch) -> Path:
    """The folder of a small EMNIST, with the greatest and the least label of each split."""
    with ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for name, classes in EMNIST_CLASSES.items():
            first = 1 if name == "letters" else 0
            ends = np.array([first, first + len(classes) - 1], np.uint8)
            for split, count in (("train", 12), ("test", 4)):
                start = f"gzip/emnist-{name}-{split}"
                on_their_side = letters(count).transpose(0, 2, 1)
                archive.writestr(f"{start}-images-idx3-ubyte.gz", idx(on_their_side))
                archive.writestr(f"{start}-labels-idx1-ubyte.gz", idx(np.resize(ends, count)))
    monkeypatch.setattr(EMNIST, "archive", known(tmp_path / "gzip.zip"))
    monkeypatch.setattr(EMNIST, "addresses", ())
    return tmp_path


@pytest.mark.parametrize(
    ("split", "count", "last"),
    [
        ("byclass", 62, "z"), ("bymerge", 47, "t"), ("balanced", 47, "t"), ("letters", 26, "z"),
        ("digits", 10, "9"), ("mnist", 10, "9"),
    ],
)  # fmt: skip
def test_letters_stand_upright_and_are_numbered_from_0(emnist, split, count, last):
    facts = ImageFacts(1, 32, 28, None)
    data = ImageDataModule(EMNIST(str(emnist), split), facts, 2, 2, binarize=False)
    found = data.source.load("test")
    np.testing.assert_array_equal(found.images[:, 0], letters(4))
    assert found.labels.tolist() == [0, count - 1] * 2
    assert data.num_classes == count
    assert found.class_names[-1] == last
    assert (data.num_train, len(data.split("test"))) == (10, 4)


def test_each_split_of_emnist_is_a_data_set_of_its_own(emnist):
    made = [EMNIST(None, split).fingerprint for split in EMNIST_CLASSES]
    assert len(set(made)) == len(EMNIST_CLASSES)


def test_a_damaged_archive_of_emnist_is_named(emnist):
    path = emnist / "gzip.zip"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match=r"gzip\.zip is damaged: it has SHA-256"):
        EMNIST(str(emnist), "balanced").load("train")


# The lecture's experiments -----------------------------------------------------------------------

BARE = (
    "trainer=cpu", "callbacks.validation=null", "callbacks.progress=null", "extractor=null",
    "logger=null", "budget.epochs=null", "budget.images=16", "dataset.batch_size=4",
    "dataset.validation_size=4",
)  # fmt: skip


@pytest.fixture
def digits_and_clothes(tmp_path, monkeypatch) -> Path:
    """A folder of small files of MNIST's layout; both sources take them for the originals."""
    files = {}
    for split, pair in MNIST.files.items():
        arrays = letters(COUNT), (np.arange(COUNT) % 10).astype(np.uint8)
        for file, array in zip(pair, arrays, strict=True):
            (tmp_path / file.name).write_bytes(idx(array))
        checksums = (
            hashlib.sha256(gzip.decompress((tmp_path / file.name).read_bytes())) for file in pair
        )
        files[split] = tuple(
            IdxFile(file.name, array.shape, checksum.hexdigest())
            for file, array, checksum in zip(pair, arrays, checksums, strict=True)
        )
    for source in (MNIST, FashionMNIST):
        monkeypatch.setattr(source, "files", files)
    return tmp_path


@pytest.mark.parametrize(
    ("experiment", "fixture", "small"),
    [
        ("vae_fashion_mnist", "digits_and_clothes", SMALL),
        ("ddpm_mnist", "digits_and_clothes", SMALL_DIFFUSION[:2]),
        ("ddpm_flowers102", "flowers_folder", SMALL_DIFFUSION[:2]),
        ("dcgan_celeba", "celeba", SMALL_GAN),
    ],
)
def test_the_lectures_experiments_train(experiment, fixture, small, request, tmp_path):
    folder = request.getfixturevalue(fixture)
    where = f"dataset.source.folder={folder}"
    recipe = composed(f"experiment={experiment}", where, *small, *BARE)
    check(recipe, root=TrainOptions)
    run = trained(recipe, tmp_path / "outputs")
    assert run.manifest()["status"] == "finished"
    saved = run.recipe()
    classes = {"dcgan_celeba": 0, "ddpm_flowers102": 102}.get(experiment, 10)
    assert saved["dataset"]["facts"]["num_classes"] == classes
    assert saved["model"]["facts"] == saved["dataset"]["facts"]
    size = 64 if classes in (0, 102) else 28
    assert saved["dataset"]["facts"]["native_resolution"] == size


def test_the_lectures_experiments_have_its_numbers():
    vae = composed("experiment=vae_fashion_mnist")["model"]
    assert (vae["latent_dim"], vae["beta"]) == (2, 1.0)
    variance = np.exp(vae["likelihood"]["log_variance"])
    assert 1 / (2 * variance) == pytest.approx(1)  # what |x - x'|^2 is multiplied by
    assert vae["likelihood"]["learn_variance"] is False
    assert vae["prior"]["_target_"].endswith("StandardNormal")
    for name, schedule in (("ddpm_mnist", "Linear"), ("ddpm_flowers102", "Cosine")):
        ddpm = composed(f"experiment={name}")["model"]
        assert ddpm["prediction"]["_target_"].endswith("Epsilon")
        assert ddpm["schedule"]["_target_"].endswith(schedule)
        assert ddpm["schedule"]["num_steps"] == 1000
        assert ddpm["log_snr_std"] is None
    ours, paper = composed("experiment=dcgan_celeba"), composed("experiment=dcgan_paper")
    same = {key: value for key, value in ours["model"].items() if key != "facts"}
    assert same == {key: value for key, value in paper["model"].items() if key != "facts"}
    assert ours["dataset"]["batch_size"] == 128
    assert ours["dataset"]["facts"]["resolution"] == 64
