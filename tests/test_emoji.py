"""Emoji: drawn from the font or bundled, the same images; their names, groups and splits."""

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, composed

from gdm.cli.compose import compose_config
from gdm.data import cache
from gdm.data.datamodule import settle_facts, validation_order
from gdm.data.emoji import FONT, NAMES, RESOLUTIONS, SYSTEM_FOLDERS, EmojiFont, EmojiMini, Pen
from gdm.data.emoji_names import (
    GROUPS,
    NUM_VALIDATION,
    Emoji,
    attributes_of,
    for_testing,
    read_emoji,
    words_of,
)
from gdm.errors import UserError
from gdm.recipes.build import build
from gdm.recipes.options import options_from
from gdm.runs.run import Run
from gdm.tools.open_run import OpenRun
from gdm.tools.sample import SampleOptions, sample

needs_font = pytest.mark.skipif(
    not all((folder / name).is_file() for name, folder in SYSTEM_FOLDERS.items()),
    reason="needs Debian's packages fonts-noto-color-emoji and unicode-data",
)


@pytest.fixture(scope="module")
def mini():
    return {split: EmojiMini().load(split) for split in ("train", "test")}


@pytest.fixture(scope="module", autouse=True)
def _each_emoji_is_drawn_once():
    """Drawing takes longest, and is the same at each resolution."""
    draw, known = Pen.draw, {}

    def draw_once(pen: Pen, text: str) -> np.ndarray:
        asked = pen.path, text
        if asked not in known:
            known[asked] = draw(pen, text)
        return known[asked]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Pen, "draw", draw_once)
        yield


@pytest.fixture(scope="module")
def trained_on(mini):
    """The training images that the default leaves to train on."""
    order = validation_order(mini["train"])
    return mini["train"].select(order[NUM_VALIDATION:])


def of_recipe(*overrides: str):
    return build(composed(*overrides)["dataset"], "dataset")


# The bundled images ------------------------------------------------------------------------------


def test_all_emoji_are_there_with_captions_in_nine_groups(mini):
    assert (len(mini["train"]), len(mini["test"])) == (3310, 345)
    for images in mini.values():
        assert images.images.shape[1:] == (3, 32, 32)
        assert images.class_names == GROUPS
        assert set(images.labels.tolist()) == set(range(9))
    captions = mini["train"].captions + mini["test"].captions
    assert len(set(captions)) == 3655
    assert "face with raised eyebrow" in captions
    assert "woman firefighter: medium-dark skin tone" in captions


def test_the_images_are_in_colour_on_white(mini):
    images, captions = mini["train"].images, mini["train"].captions
    assert (images[:, :, 0] >= 250).all()  # above each drawing
    red, green, blue = images[captions.index("green square")][:, 16, 16].tolist()
    assert green > red + 50
    assert green > blue + 50


def test_the_bundled_file_is_small_and_has_its_licences_beside_it():
    assert EmojiMini.path.stat().st_size < 3_500_000
    text = EmojiMini.path.with_name("EMOJI_LICENSE").read_text(encoding="utf-8")
    for part in ("SIL OPEN FONT LICENSE Version 1.1", "Apache License", "UNICODE, INC. LICENSE"):
        assert part in text


def test_a_damaged_bundled_file_is_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "emoji_mini.npz"
    damaged.write_bytes(EmojiMini.path.read_bytes()[:-1])
    monkeypatch.setattr(EmojiMini, "path", damaged)
    with pytest.raises(UserError, match=r"missing or damaged.*Install gdm again"):
        EmojiMini().load("train")


# The splits --------------------------------------------------------------------------------------


def test_no_test_caption_is_trained_on_but_each_of_its_words_is(mini, trained_on):
    assert not set(mini["test"].captions) & set(mini["train"].captions)
    words = {word for caption in trained_on.captions for word in words_of(caption)}
    for caption in mini["test"].captions:
        assert set(words_of(caption)) <= words, caption


def test_equal_images_are_in_one_split(mini):
    seen = [set(map(bytes, part.images.flatten(1).numpy())) for part in mini.values()]
    assert len(seen[0] | seen[1]) == 3641
    assert not seen[0] & seen[1]


def test_equal_images_are_held_out_together(mini, trained_on):
    order = validation_order(mini["train"])
    held_out = mini["train"].select(order[:NUM_VALIDATION])
    assert not set(held_out.digests) & set(trained_on.digests)
    for name in ("emoji", "emoji_mini"):
        recipe = compose_config(ROOT / "configs", f"dataset/{name}")["dataset"]
        assert recipe["validation_size"] == NUM_VALIDATION


def test_each_class_is_trained_on_and_each_group_tested(mini, trained_on):
    subgroups = trained_on.labelled("subgroup")
    assert len(subgroups.class_names) == 99
    assert set(subgroups.labels.tolist()) == set(range(99))
    assert min(Counter(mini["test"].labels.tolist()).values()) >= 8


def test_what_cannot_be_split_is_not_for_testing():
    """Words that one image has, and captions that two have, stay in training; equal images
    go together."""
    names = ["a b"] * 2 + [f"a b {i}" for i in range(9)] * 2 + ["only"]
    names = [f"filler {i}" for i in range(NUM_VALIDATION)] + names
    names += ["a", "b"]
    emoji = [Emoji("", "g", "s", name) for name in names]
    digests = np.array([f"{i:08d}" for i in range(len(names))], "S8")
    digests[-2] = digests[-1]
    chosen = for_testing(emoji, digests)
    assert not chosen[:-2].any()
    assert chosen[-2:].all()
    emoji[-1] = Emoji("", "g", "s", "nowhere else")
    assert not for_testing(emoji, digests)[-2:].any()


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("woman: medium-light skin tone, red hair", {"woman", "medium_light_skin", "red_hair"}),
        ("man: light skin tone, beard", {"man", "light_skin", "beard"}),
        ("handshake: dark skin tone, light skin tone", {"dark_skin", "light_skin"}),
        ("smiling face with sunglasses", {"smiling", "face", "glasses"}),
        ("women holding hands: medium skin tone", {"woman", "hand", "medium_skin"}),
        ("person: medium-dark skin tone, bald", {"person", "medium_dark_skin", "bald"}),
        ("flag: Isle of Man", {"flag"}),
        ("mango", set()),
        ("red heart", {"heart"}),
    ],
)
def test_attributes_are_what_the_name_says(name, has):
    values, names = attributes_of([name])
    assert {names[i] for i in values[0].nonzero()[:, 0].tolist()} == has


def test_each_attribute_is_trained_on(trained_on):
    assert (trained_on.attributes.values.sum(0) >= 3).all()


# The data module ---------------------------------------------------------------------------------


def test_groups_can_be_left_out():
    asked = ["Smileys & Emotion", "People & Body"]
    data = of_recipe("dataset=emoji_mini", f"dataset.groups={asked}")
    assert data.class_names == tuple(asked)
    assert data.num_classes == 2
    assert data.num_train == 150 + 1934 - NUM_VALIDATION
    assert set(data.split("test").labels.tolist()) == {0, 1}


@pytest.mark.parametrize("groups", ["[]", "[Flags,Objects,Flags]"])
def test_no_groups_or_one_twice_are_refused(groups):
    with pytest.raises(UserError, match=r"^dataset\.groups=\[.*\]: must name one or more classes"):
        of_recipe("dataset=emoji_mini", f"dataset.groups={groups}").prepare()


def test_labels_can_be_subgroups_or_attributes():
    data = of_recipe("dataset=emoji_mini", "dataset.labels=subgroup")
    assert data.num_classes == 99
    captions, labels = data.split("train").captions, data.split("train").labels
    assert data.class_names[labels[captions.index("woman: red hair")]] == "person"
    assert of_recipe("dataset=emoji_mini", "dataset.labels=red_hair").num_classes == 2


def test_subgroups_of_some_groups_are_numbered_alike_in_each_split():
    data = of_recipe(
        "dataset=emoji_mini", "dataset.groups=[Activities,Flags]", "dataset.labels=subgroup",
        "dataset.validation_size=20",
    )  # fmt: skip
    assert set(data.class_names) == {
        "event", "award-medal", "sport", "game", "arts & crafts",
        "flag", "country-flag", "subdivision-flag",
    }  # fmt: skip
    test = data.split("test")
    for caption, label in zip(test.captions, test.labels.tolist(), strict=True):
        assert (data.class_names[label] == "country-flag") == caption.startswith("flag: ")


def test_a_sample_is_asked_for_by_the_name_of_a_class_that_was_chosen(tmp_path):
    recipe = composed(
        "model=conditional_vae", "model.width=8", "dataset=emoji_mini", "dataset.labels=red_hair"
    )
    model, data = build(recipe["model"], "model").eval(), build(recipe["dataset"], "dataset")
    run = Run(tmp_path)
    run.write_recipe(recipe, [])
    opened = OpenRun(run, "emoji", model, {}, data, {"checkpoint": "last"}, None)
    options = compose_config(ROOT / "configs", "sample", ["label=red_hair", "num_samples=4"])
    path = sample(opened, options_from(SampleOptions, options))
    assert path.is_file()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("dataset.labels=subgroup",), 99),
        (("dataset.labels=red_hair",), 2),
        (("dataset.groups=[Activities,Flags]", "dataset.validation_size=20"), 2),
        (("dataset.labels=subgroup", "dataset.facts.num_classes=99"), 99),
        (("dataset.validation_size=100",), 9),
    ],
)
def test_a_run_is_repeated_with_other_classes(overrides, expected, tmp_path, run_script):
    recipe = composed("dataset=emoji_mini")
    assert recipe["model"]["facts"]["num_classes"] == 9  # as the first run has settled
    Run(tmp_path / "first").write_recipe(recipe, [])
    shown = run_script("train", f"rerun={tmp_path}/first", *overrides, "--cfg", "job").stdout
    again = yaml.safe_load(shown)
    data = build(again["dataset"], "dataset")
    settle_facts(again, data)
    data.prepare()
    facts = [again[room]["facts"]["num_classes"] for room in ("dataset", "model")]
    assert facts == [expected, expected]


def test_another_number_of_classes_is_refused_with_what_to_write():
    data = of_recipe("dataset=emoji_mini", "dataset.facts.num_classes=9", "dataset.labels=hat")
    with pytest.raises(UserError, match=r"have 2 classes; write dataset\.facts\.num_classes=2$"):
        data.prepare()


# Drawn from the font -----------------------------------------------------------------------------


@needs_font
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_bundled_images_are_those_of_the_font(mini, split):
    source = EmojiFont(folder=None)
    if any(file["version"].startswith("another") for file in source.provenance.values()):
        pytest.skip("the installed font or names have another version")
    drawn = source.load_at(split, 32)
    assert torch.equal(drawn.images, mini[split].images)
    assert torch.equal(drawn.labels, mini[split].labels)
    assert drawn.captions == mini[split].captions
    assert (drawn.digests == mini[split].digests).all()
    ours, theirs = (each.labelled("subgroup") for each in (drawn, mini[split]))
    assert torch.equal(ours.labels, theirs.labels)
    assert ours.class_names == theirs.class_names


@needs_font
def test_the_same_images_are_held_out_at_each_resolution():
    held_out = []
    for resolution in RESOLUTIONS:
        data = of_recipe("dataset=emoji", f"dataset.resolution={resolution}")
        part = data.split("validation")
        assert part.images.shape == (NUM_VALIDATION, 3, resolution, resolution)
        held_out.append(part.captions)
    assert held_out[0] == held_out[1] == held_out[2]
    assert len({data.identity, of_recipe("dataset=emoji").identity}) == 2


@needs_font
def test_groups_and_subgroups_of_the_font():
    data = of_recipe(
        "dataset=emoji", "dataset.resolution=32", "dataset.groups=[Activities,Flags]",
        "dataset.labels=subgroup", "dataset.validation_size=20",
    )  # fmt: skip
    assert data.num_classes == 8
    assert data.num_train == 77 + 259 - 20


@needs_font
def test_another_resolution_is_one_clear_line():
    with pytest.raises(UserError, match=r"dataset\.resolution=48: emoji are made in 32, 64, 128"):
        EmojiFont(folder=None).load_at("train", 48)


@needs_font
def test_the_known_font_is_opened_only_where_an_image_is_drawn(monkeypatch):
    source = EmojiFont(folder=None)
    if any(file["version"].startswith("another") for file in source.provenance.values()):
        pytest.skip("the installed font or names have another version")
    assert all(source.pen.holds(one.text) for one in source.emoji)
    drawn = source.load_at("test", 32)
    monkeypatch.setattr("gdm.data.emoji.Pen", None)
    again = EmojiFont(folder=None).load_at("test", 32)
    assert torch.equal(again.images, drawn.images)
    assert again.captions == drawn.captions


@needs_font
def test_other_names_are_another_data_set(tmp_path, caplog):
    """A file of the user's own comes first, and an emoji that the font lacks is left out."""
    font, own = EmojiFont(folder=None), EmojiFont(str(tmp_path))
    lines = (SYSTEM_FOLDERS[NAMES] / NAMES).read_text(encoding="utf-8").splitlines()[:600]
    lines += ["10FFFD ; fully-qualified # ? E99.0 unheard of",
              "1F600 1F601 ; fully-qualified # ? E99.0 two faces"]  # fmt: skip
    (tmp_path / NAMES).write_text("\n".join(lines), encoding="utf-8")
    with caplog.at_level("INFO"):
        images = own.load_at("train", 32)
    num_named = len(read_emoji(tmp_path / NAMES))
    assert len(images) + len(own.load_at("test", 32)) == num_named - 2
    assert f"has {num_named - 2} of the {num_named} emoji" in caplog.text
    assert "another data set" in caplog.text
    assert own.fingerprint != font.fingerprint
    assert own.provenance[NAMES]["path"] == str(tmp_path / NAMES)
    assert own.provenance[NAMES]["version"] == "another than 15.0"
    assert own.provenance[FONT]["path"] == str(SYSTEM_FOLDERS[FONT] / FONT)


@needs_font
def test_another_font_is_one_clear_line(tmp_path):
    import matplotlib

    shutil.copy(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", tmp_path / FONT)
    names = (SYSTEM_FOLDERS[NAMES] / NAMES).read_text(encoding="utf-8").splitlines()[:60]
    (tmp_path / NAMES).write_text("\n".join(names), encoding="utf-8")
    with pytest.raises(UserError, match="draws none of the emoji"):
        EmojiFont(str(tmp_path)).load_at("train", 32)
    (tmp_path / FONT).write_bytes(b"no font")
    with pytest.raises(UserError, match="has no bitmaps of 136 x 128 pixels"):
        EmojiFont(str(tmp_path)).load_at("train", 32)


def test_without_the_packages_the_error_names_them_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr("gdm.data.emoji.SYSTEM_FOLDERS", {FONT: tmp_path, NAMES: tmp_path})
    with pytest.raises(UserError) as refused:
        EmojiFont(str(tmp_path / "mine")).load_at("train", 32)
    assert "apt-get install fonts-noto-color-emoji unicode-data" in str(refused.value)
    assert "dataset=emoji_mini" in str(refused.value)
    assert "\n" not in str(refused.value)


# The cache ---------------------------------------------------------------------------------------


def test_images_are_in_the_order_of_their_originals_where_these_are_known(tmp_path, monkeypatch):
    monkeypatch.setenv("GDM_DATA", str(tmp_path))

    def decode(number):
        return np.full((1, 2, 2), number, np.uint8), f"{9 - number:08d}".encode()

    found = cache.decoded("key", range(9), decode, (1, 2, 2), "numbers")
    assert found.positions.tolist() == list(range(9))[::-1]
    assert found.images[:, 0, 0, 0].tolist() == list(range(9))[::-1]
    assert found.digests[0] == b"00000001"
