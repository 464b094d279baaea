"""Emoji: images in colour with captions, drawn from a font, and those that come with gdm."""

import hashlib
import io
import logging
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gdm.data import cache
from gdm.data.bundled import BundledSource
from gdm.data.decoding import squared
from gdm.data.emoji_names import GROUPS, Emoji, one_split, read_emoji
from gdm.data.images import Images
from gdm.data.sources import SizedSource
from gdm.errors import UserError
from gdm.files import cache_folder

log = logging.getLogger(__name__)

VERSION = 1  # of how they are drawn
SIZE = 109  # the one size of the font's bitmaps, which are 136 x 128 pixels
WIDTH, HEIGHT = 136, 128
RESOLUTIONS = (32, 64, 128)
FONT, NAMES = "NotoColorEmoji.ttf", "emoji-test.txt"
KNOWN = {  # file -> version and SHA-256 of what emoji_mini was made from
    FONT: ("2.042", "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec"),
    NAMES: ("15.0", "8445f23ac8388e096be19d0262e14fceff856ff52093f2356dc89485f1a853db"),
}
SYSTEM_FOLDERS = {
    FONT: Path("/usr/share/fonts/truetype/noto"),
    NAMES: Path("/usr/share/unicode/emoji"),
}


class EmojiFont(SizedSource):
    """Emoji in colour, on white, as the font Noto Color Emoji draws them (Google 2013).

    Their classes are Unicode's nine groups, or its subgroups; their captions are their names.

    Args:
        folder: where NotoColorEmoji.ttf and emoji-test.txt are; None for `$GDM_DATA/emoji`, by
            default `~/.cache/gdm/emoji`. What is not there is taken from Debian's packages.
    """

    name = "emoji"
    class_names = GROUPS

    def __init__(self, folder: str | None) -> None:
        self.folder = Path(folder).expanduser() if folder else cache_folder() / self.name

    @property
    def fingerprint(self) -> str:
        return _fingerprint([self.provenance[name]["sha256"] for name in KNOWN])

    @cached_property
    def provenance(self) -> dict[str, Any]:
        found = {}
        for name, (version, known) in KNOWN.items():
            path = self._path(name)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 == known:
                log.info("%s: version %s, SHA-256 %s", path, version, sha256)
            else:
                log.warning(
                    "%s has SHA-256 %s: not version %s, which has %s. Its images are another "
                    "data set", path, sha256, version, known,
                )  # fmt: skip
                version = f"another than {version}"
            found[name] = {"path": str(path), "version": version, "sha256": sha256}
        return found

    def load_at(self, split: str, resolution: int) -> Images:
        if resolution not in RESOLUTIONS:
            known = ", ".join(map(str, RESOLUTIONS))
            raise UserError(f"dataset.resolution={resolution}: emoji are made in {known}")
        emoji = self.emoji

        def decode(one: Emoji) -> tuple[np.ndarray, bytes]:
            original = self.pen.draw(one.text)
            return squared(Image.fromarray(original), resolution), cache.digest(original)

        found = cache.decoded(
            f"{self.name} {self.fingerprint}", emoji, decode, (3, resolution, resolution),
            f"{self.name} at {resolution} pixels",
        )  # fmt: skip
        shown = [emoji[position] for position in found.positions.tolist()]
        return one_split(split, shown, found.images, found.digests)

    @cached_property
    def emoji(self) -> list[Emoji]:
        """The emoji that the font has, in the order of the names' file. The known files are not
        looked through: that font has all of those names."""
        named = read_emoji(Path(self.provenance[NAMES]["path"]))
        are_known = self.fingerprint == known_fingerprint()
        return named if are_known else _in_font(named, self.pen)

    @cached_property
    def pen(self) -> "Pen":
        """What draws them; the font is opened only where one is to be drawn."""
        return Pen(Path(self.provenance[FONT]["path"]))

    def _path(self, name: str) -> Path:
        for folder in (self.folder, SYSTEM_FOLDERS[name]):
            if (folder / name).is_file():
                return folder / name
        raise UserError(
            f"{name} of dataset=emoji is not in {self.folder} or {SYSTEM_FOLDERS[name]}; "
            "install Debian's packages: apt-get install fonts-noto-color-emoji unicode-data, or "
            "put both files into a folder of your own: dataset.source.folder=FOLDER, or train on "
            "the bundled images: dataset=emoji_mini"
        )


class EmojiMini(BundledSource):
    """The emoji at 32 pixels that come with gdm: those of `EmojiFont`, with Debian 12's font.

    Their licences are beside them. They need no package and no network.
    """

    name = "emoji_mini"
    class_names = GROUPS
    path = Path(__file__).with_name("emoji_mini.npz")
    sha256 = "f4d7343796efb445b290ac7998b0c2387f41ac4200eb342663e043ffb977688e"

    @property
    def provenance(self) -> dict[str, Any]:
        return {
            name: {"version": version, "sha256": sha256}
            for name, (version, sha256) in KNOWN.items()
        }

    def load(self, split: str) -> Images:
        names, images, digests = self.arrays("emoji", "images", "digests")
        lines, digests = names.tobytes().decode().split("\n"), digests.view("S8")[:, 0]
        order = np.argsort(digests, kind="stable")  # as the cache has them
        emoji = [Emoji(*lines[number].split("\t")) for number in order]
        pixels = torch.from_numpy(images[order]).permute(0, 3, 1, 2).contiguous()  # (N, 3, H, W)
        return one_split(split, emoji, pixels, digests[order])


def known_fingerprint() -> str:
    """Return the fingerprint of `EmojiFont` with the files that `EmojiMini` was made from."""
    return _fingerprint([sha256 for _, sha256 in KNOWN.values()])


def _fingerprint(checksums: list[str]) -> str:
    return hashlib.sha256(f"{VERSION} {checksums}".encode()).hexdigest()[:16]


class Pen:
    """Draws emoji from the font's bitmaps.

    Args:
        path: the font.

    Raises:
        UserError: if it is none with such bitmaps, or Pillow cannot place its signs.
    """

    def __init__(self, path: Path) -> None:
        from PIL import features

        self.path = path
        self._threads = threading.local()  # a font is of one thread
        if not features.check("raqm"):
            raise UserError(
                "this Pillow has no Raqm, which joins the signs of an emoji: install the wheel of "
                "Pillow, or take dataset=emoji_mini"
            )
        try:
            self._bytes = path.read_bytes()
            self._font()
        except OSError as error:
            raise UserError(
                f"{path} has no bitmaps of {WIDTH} x {HEIGHT} pixels ({error}); take Debian's "
                "package fonts-noto-color-emoji, or dataset=emoji_mini"
            ) from error

    def holds(self, text: str) -> bool:
        """Return whether the font has one bitmap for the whole text."""
        left, top, right, bottom = self._font().getbbox(text)
        return (right - left, bottom - top) == (WIDTH, HEIGHT)

    def draw(self, text: str) -> np.ndarray:
        """Return an emoji on a white square, (136, 136, 3) uint8."""
        from PIL import ImageDraw

        image = Image.new("RGB", (WIDTH, WIDTH), "white")
        left, top, *_ = self._font().getbbox(text)
        place = (-left, (WIDTH - HEIGHT) // 2 - top)
        ImageDraw.Draw(image).text(place, text, font=self._font(), embedded_color=True)
        return np.array(image)

    def _font(self):
        from PIL import ImageFont

        if not hasattr(self._threads, "font"):
            raqm = ImageFont.Layout.RAQM
            # Not by its name: of a damaged file Pillow takes another of that name.
            file = io.BytesIO(self._bytes)
            self._threads.font = ImageFont.truetype(file, SIZE, layout_engine=raqm)
        return self._threads.font


def _in_font(emoji: Sequence[Emoji], pen: Pen) -> list[Emoji]:
    """Return the emoji that the font has; an older font than the names lacks some."""
    held = [one for one in emoji if pen.holds(one.text)]
    if not held:
        raise UserError(f"{pen.path}: draws none of the emoji; is it Noto Color Emoji?")
    if len(held) < len(emoji):
        log.warning(
            "%s has %d of the %d emoji; the others are left out", pen.path, len(held), len(emoji)
        )
    return held
