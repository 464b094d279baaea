"""A comparison as one HTML page, which holds all that it shows and asks nobody for more."""

import base64
import hashlib
import html
import io
import json
import math
import os
import re
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from gdm.tools.comparing.comparison import Comparison

PARTS = Path(__file__).with_name("web")
STYLES = ("uplot.min.css", "page.css")
SCRIPTS = (
    "uplot.min.js", "words.js", "table.js", "samples.js", "charts.js", "curves.js", "cost.js",
    "page.js",
)  # fmt: skip
LICENCE = "UPLOT_LICENSE"  # goes along with every copy of the library, so into every page

MAX_PICTURE_BYTES = 320_000  # a larger one is packed again, then halved
MAX_PAGE_BYTES = 40_000_000  # of all pictures
MIN_WIDTH = 64  # pixels, below which nothing could be seen
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def page(comparison: Comparison, folder: Path, refresh_seconds: int | None = None) -> str:
    """Return the page that shows a comparison.

    Whatever the names in it hold, the page runs no script but its own: the comparison is data in
    it, and a policy in its head allows neither other scripts nor any request.

    Args:
        comparison: what is shown; its paths hold from the current directory.
        folder: where the page will lie, from which its links to run directories start.
        refresh_seconds: between one loading of the page and the next, while a sweep runs; null
            for a page that stays as it is.
    """
    record = _plain(asdict(comparison)) | {"refresh_seconds": refresh_seconds}
    _add_links(record, folder)
    style = "\n".join(_part(name) for name in STYLES)
    script = "\n".join((f"/*!\n{_part(LICENCE)}*/", *(_part(name) for name in SCRIPTS)))
    parts = {
        "title": html.escape(comparison.title).encode("ascii", "xmlcharrefreplace").decode(),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "comparison": _json(record),
    }
    return re.sub(r"{{ (\w+) }}", lambda match: parts[match[1]], _part("page.html"))


# What the page is told ---------------------------------------------------------------------------


def _add_links(record: dict[str, Any], folder: Path) -> None:
    """Add to each run where its directory is, and its picture itself.

    Where there is no room for all pictures, each row has those of its first seeds.
    """
    of_rows = [row["members"] for row in record["rows"]]
    members = [member for rank in zip_longest(*of_rows) for member in rank if member is not None]
    for run in (*members, *record["unfinished"]):
        run["link"] = _link(run["path"], folder)
    room = MAX_PAGE_BYTES
    for member in members:
        if member["picture"] is None:
            continue
        path = Path(member["picture"])
        member["picture"] = picture = _picture(path) if room > 0 else {"data": None}
        if picture is not None:
            picture["link"] = _link(str(path), folder)
            room -= len(picture["data"] or "")


def _link(path: str, folder: Path) -> str:
    """Return the address of a path as seen from a folder, whatever letters are in it."""
    target = os.path.abspath(path)
    try:
        relative = Path(os.path.relpath(target, os.path.abspath(folder)))
    except ValueError:  # on Windows, another drive
        return Path(target).as_uri()
    return quote(os.fsencode(relative.as_posix()))


def _picture(path: Path) -> dict[str, Any] | None:
    """Return a picture as text, smaller where it is large; None where there is none to show."""
    if not path.is_file():
        return None
    factor = 1
    try:
        with Image.open(path) as image:
            packed, kind = path.read_bytes(), image.format
            if kind not in TYPES or len(packed) > MAX_PICTURE_BYTES:
                packed, kind = _webp(image, factor), "WEBP"
            while len(packed) > MAX_PICTURE_BYTES and image.width >= 2 * factor * MIN_WIDTH:
                factor *= 2
                packed = _webp(image, factor)
            width = -(-image.width // factor)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    data = f"data:{TYPES[kind]};base64,{base64.b64encode(packed).decode()}"
    return {"data": data, "width": width, "factor": factor}


def _webp(image: Image.Image, factor: int) -> bytes:
    """Return a picture's exact pixels, or the mean of each square of `factor` by `factor`."""
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA")
    buffer = io.BytesIO()
    image.reduce(factor).save(buffer, "WEBP", lossless=True, method=0, quality=0)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """Return a value without the numbers that JSON has no word for, which become None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# How it becomes a part of the page ---------------------------------------------------------------


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _json(record: dict[str, Any]) -> str:
    """Return JSON in ASCII that cannot end the element it stands in, nor begin another."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _hash(text: str) -> str:
    """Return a script's name in the policy of the page, by which no other one runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
