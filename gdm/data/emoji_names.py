"""Emoji by their names: groups, attributes, and which are for testing."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gdm.data.images import Attributes, Images, Labelling
from gdm.errors import UserError

NUM_VALIDATION = 400  # images that are never for testing, and held out unless one says otherwise
TEST_PART = 10  # one in so many of each group is for testing, as far as the words allow

GROUPS = (
    "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places",
    "Activities", "Objects", "Symbols", "Flags",
)  # fmt: skip

# What a name says that an image has. A skin tone is that of any person in it.
ATTRIBUTES = {
    "light_skin": r"(?<!-)light skin tone",
    "medium_light_skin": r"medium-light skin tone",
    "medium_skin": r"medium skin tone",
    "medium_dark_skin": r"medium-dark skin tone",
    "dark_skin": r"(?<!-)dark skin tone",
    "man": r"\b(man|men)\b",
    "woman": r"\b(woman|women)\b",
    "person": r"\b(person|people)\b",
    "boy": r"\bboy\b",
    "girl": r"\bgirl\b",
    "baby": r"\bbaby\b",
    "old": r"\b(old|older)\b",
    "red_hair": r"\bred hair\b",
    "curly_hair": r"\bcurly hair\b",
    "white_hair": r"\bwhite hair\b",
    "blond_hair": r"\bblond hair\b",
    "bald": r"\bbald\b",
    "beard": r"\bbeard\b",
    "glasses": r"\b(glasses|sunglasses|goggles)\b",
    "hat": r"\b(hat|cap|turban|headscarf|helmet|crown)\b",
    "wheelchair": r"\bwheelchair\b",
    "face": r"\bface\b",
    "smiling": r"\b(smiling|grinning|beaming)\b",
    "tongue": r"\btongue\b",
    "tears": r"\b(tear|tears|crying)\b",
    "heart": r"\b(heart|hearts)\b",
    "hand": r"\b(hand|hands)\b",
    "flag": r"^flag: ",
    "button": r"\bbutton$",
}


class Emoji(NamedTuple):
    """One emoji: its text, the characters that a font draws as one image, and what it is named."""

    text: str
    group: str
    subgroup: str
    name: str


def read_emoji(path: Path) -> list[Emoji]:
    """Return the fully-qualified emoji of Unicode's emoji-test.txt, in its order.

    Raises:
        UserError: if the file is another.
    """
    found, group, subgroup = [], "", ""
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("# group:"):
                group = line.partition(":")[2].strip()
            elif line.startswith("# subgroup:"):
                subgroup = line.partition(":")[2].strip()
            elif match := re.match(r"([0-9A-F ]+); fully-qualified +# \S+ E[\d.]+ (.+)", line):
                text = "".join(chr(int(code, 16)) for code in match[1].split())
                found.append(Emoji(text, group, subgroup, match[2].strip()))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not found:
        raise UserError(f"{path}: names no emoji; it must be Unicode's emoji-test.txt")
    return found


def words_of(caption: str) -> list[str]:
    """Return the words of a caption: what stands between other signs than letters and digits."""
    return re.findall(r"[^\W_]+", caption)


def attributes_of(names: Sequence[str]) -> Attributes:
    """Return what names say that their images have."""
    rows = [
        [re.search(pattern, name) is not None for pattern in ATTRIBUTES.values()] for name in names
    ]
    return Attributes(torch.tensor(rows, dtype=torch.uint8), tuple(ATTRIBUTES))


def for_testing(emoji: Sequence[Emoji], digests: np.ndarray) -> np.ndarray:
    """Return which images are for testing, (N,) of truth values.

    In the order of the digests, the first `NUM_VALIDATION` are never for testing, since they are
    for validation. Of the rest it takes those with the last digests, a tenth of each group as
    far as this holds: each word of a test caption is one of an image that is trained on, and
    equal images, which have equal digests, are on the same side.

    Args:
        emoji: what the images show.
        digests: of the images, (N,) of 8 bytes, rising.
    """
    kept = min(NUM_VALIDATION, len(emoji))
    first = int(np.searchsorted(digests, digests[kept - 1], "right"))
    words = [Counter(words_of(one.name)) for one in emoji]
    captions = Counter(one.name for one in emoji)
    wanted = {
        group: count // TEST_PART for group, count in Counter(one.group for one in emoji).items()
    }
    trained_on = _joined(words[first:])
    chosen = np.zeros(len(emoji), bool)
    places = np.split(np.arange(len(emoji)), np.flatnonzero(digests[1:] != digests[:-1]) + 1)
    for equal in reversed([part for part in places if part[0] >= first]):
        taken = _joined(words[i] for i in equal)
        groups = Counter(emoji[i].group for i in equal)
        if (
            all(count <= wanted[group] for group, count in groups.items())
            and all(count < trained_on[word] for word, count in taken.items())
            and all(captions[emoji[i].name] == 1 for i in equal)
        ):
            chosen[equal] = True
            trained_on.subtract(taken)
            for group, count in groups.items():
                wanted[group] -= count
    return chosen


def _joined(counts: Iterable[Counter]) -> Counter:
    total = Counter()
    for each in counts:
        total.update(each)
    return total


def one_split(
    split: str, emoji: Sequence[Emoji], images: torch.Tensor, digests: np.ndarray
) -> Images:
    """Return one split of emoji.

    Args:
        split: train or test.
        emoji: what the images show.
        images: (N, 3, H, W) uint8.
        digests: of their originals, (N,) of 8 bytes, rising.
    """
    groups = _labelling([one.group for one in emoji], GROUPS)
    subgroups = [one.subgroup for one in emoji]
    names = [one.name for one in emoji]
    whole = Images(
        images,
        groups.labels,
        groups.class_names,
        captions=tuple(names),
        attributes=attributes_of(names),
        labellings={"subgroup": _labelling(subgroups, sorted(set(subgroups)))},
        digests=digests,
    )
    chosen = for_testing(emoji, digests) == (split == "test")
    return whole.select(torch.from_numpy(chosen.nonzero()[0]))


def _labelling(values: Sequence[str], known: Sequence[str]) -> Labelling:
    """Return values as numbers: the known ones first, then others in the order they appear."""
    names = list(dict.fromkeys([*known, *values]))
    numbers = {name: number for number, name in enumerate(names)}
    return Labelling(torch.tensor([numbers[value] for value in values]), tuple(names))
