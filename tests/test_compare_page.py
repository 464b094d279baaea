"""The page of a comparison: all is in it, nothing is asked for, and no name is taken for code."""

import json
import math
import re
import time
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import chromium
import numpy as np
import pytest
from chromium import NEXT_FRAME
from conftest import ROOT
from PIL import Image

from gdm.tools.comparing import page as pages
from gdm.tools.comparing.comparison import (
    Cell,
    Column,
    Comparison,
    Curve,
    Member,
    Row,
    Unfinished,
)
from gdm.tools.comparing.page import page

EVIL = "</script><script>document.title = 'broken out'</script>{{ style }}<!--<img src=x>&amp;"
FRECHET = "frechet_distance|test|10000|classifier-1a2b3c"
CONFIDENT = "confident|test|10000|classifier-1a2b3c"
SPEED = "samples_per_second|cpu"
COLUMNS = [
    Column(FRECHET, "frechet_distance", "", "lower", 3, "metric", "10,000 test images"),
    Column(CONFIDENT, "confident", "fraction of samples", "as real", 2, "metric", "As sure"),
    Column("minutes", "minutes", "min", "lower", 1, "cost", "Of training"),
    Column(SPEED, "samples_per_second", "1/s", "higher", 1, "cost", "By the clock"),
]
NETWORK = re.compile(
    r"(?:src|href|action)\s*=\s*[\"']?\s*(?:\w+:)?//|url\(|@import", re.IGNORECASE
)
ASKING = re.compile(r"\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import)\b\s*\(")


def cell(*values: float) -> Cell:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    seeds = {str(seed): value for seed, value in enumerate(values)}
    return Cell(float(np.mean(values)), std, len(values), seeds)


def curve(*values: float) -> Curve:
    images = [1000 * k for k in range(len(values))]
    return Curve("loss", "loss|validation", images, [x / 500 for x in images], list(values))


def row(name: str, folder: Path, **cells: Cell) -> Row:
    """A configuration of two seeds, whose first run has a picture."""
    folder.mkdir(parents=True)
    picture = folder / "final.png"
    Image.new("L", (40, 40), 90).save(picture)
    members = [
        Member(str(folder), seed, "finished", 2000, 4.0, [], drawn, [curve(3.0, 2.0, 1.0 + seed)])
        for seed, drawn in ((0, str(picture)), (1, None))
    ]
    known = {FRECHET: cells["frechet"], CONFIDENT: cells["confident"], SPEED: cells["speed"]}
    known["minutes"] = cell(3.0, 5.0)
    real = {FRECHET: 0.5, CONFIDENT: 0.8}
    return Row(name, name, {"model.lr": name}, 2, known, real, members, ["No different"])


@pytest.fixture
def comparison(tmp_path) -> Comparison:
    rows = [
        row("vae", tmp_path / "vae", frechet=cell(9, 11), confident=cell(0.68), speed=cell(900)),
        row("ddpm", tmp_path / "a b", frechet=cell(5, 7), confident=cell(0.9), speed=cell(30)),
        row("gan", tmp_path / "gan", frechet=cell(7, 8), confident=cell(0.75), speed=cell(950)),
    ]
    unfinished = [
        Unfinished("sweep/x", "diverged", 500, "the loss grew", "python scripts/train.py")
    ]
    made, command = "2026-01-02T03:04:05+00:00", "python scripts/compare.py sweep"
    return Comparison("sweep", made, command, COLUMNS, ["model.lr"], rows, unfinished, ["Welch"])


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.in_script = tag == "script"
        if self.in_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.in_script = False

    def handle_data(self, data):
        if self.in_script:
            self.scripts[-1] += data


def record(text: str) -> dict:
    return json.loads(Elements(text).scripts[0], parse_constant=pytest.fail)


# What is in it -----------------------------------------------------------------------------------


def test_holds_the_whole_comparison(comparison, tmp_path):
    found = record(page(comparison, tmp_path))
    assert [column["key"] for column in found["columns"]] == [c.key for c in comparison.columns]
    assert [row["name"] for row in found["rows"]] == ["vae", "ddpm", "gan"]
    assert found["rows"][1]["cells"][FRECHET] == {
        "mean": 6, "std": math.sqrt(2), "n": 2, "values": {"0": 5, "1": 7}
    }  # fmt: skip
    assert found["rows"][0]["members"][1]["curves"][0]["values"] == [3, 2, 2]
    assert found["unfinished"][0]["why"] == "the loss grew"
    assert found["notes"] == ["Welch"]
    assert found["refresh_seconds"] is None
    assert record(page(comparison, tmp_path, 30))["refresh_seconds"] == 30


def test_pictures_are_in_it_and_links_start_at_its_folder(comparison, tmp_path):
    members = record(page(comparison, tmp_path / "there"))["rows"][1]["members"]
    assert members[0]["picture"]["data"].startswith("data:image/png;base64,")
    assert members[1]["picture"] is None
    assert members[0]["link"] == "../a%20b"
    assert members[0]["picture"]["link"] == "../a%20b/final.png"


def test_a_link_is_never_a_script(comparison, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = replace(comparison.unfinished[0], path="javascript:alert(1)")
    link = record(page(replace(comparison, unfinished=[run]), Path()))["unfinished"][0]["link"]
    assert ":" not in link
    assert unquote(link) == "javascript:alert(1)"


def test_a_large_picture_is_packed_again_or_halved(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 255, (256, 256, 3), dtype=np.uint8))
    for name, image in (("noise", noise), ("flat", noise.reduce(64).resize((256, 256), 0))):
        image.save(tmp_path / f"{name}.png", compress_level=0)
    monkeypatch.setattr(pages, "MAX_PICTURE_BYTES", 60_000)
    flat, halved = (pages._picture(tmp_path / f"{name}.png") for name in ("flat", "noise"))
    assert (flat["factor"], flat["width"]) == (1, 256)
    assert flat["data"].startswith("data:image/webp;base64,")
    assert (halved["factor"], halved["width"]) == (2, 128)
    assert len(halved["data"]) < 100_000


def test_without_room_for_all_pictures_each_row_has_its_first(comparison, tmp_path, monkeypatch):
    rows = [
        replace(row, members=[replace(m, picture=row.members[0].picture) for m in row.members])
        for row in comparison.rows
    ]
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 1)
    found = record(page(replace(comparison, rows=rows), tmp_path))["rows"]
    shown = [[m["picture"]["data"] is not None for m in row["members"]] for row in found]
    assert shown == [[True, False], [False, False], [False, False]]
    first = len(found[0]["members"][0]["picture"]["data"])
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 2 * first + 1)
    found = record(page(replace(comparison, rows=rows), tmp_path))["rows"]
    shown = [[m["picture"]["data"] is not None for m in row["members"]] for row in found]
    assert shown == [[True, False], [True, False], [True, False]]
    assert found[2]["members"][1]["picture"]["link"] == "gan/final.png"


def test_a_picture_that_is_none_is_left_out(comparison, tmp_path):
    (tmp_path / "vae" / "final.png").write_text("no picture")
    (tmp_path / "gan" / "final.png").unlink()
    rows = record(page(comparison, tmp_path))["rows"]
    assert [row["members"][0]["picture"] is None for row in rows] == [True, False, True]


def test_what_is_not_finite_becomes_null(comparison, tmp_path):
    rows = list(comparison.rows)
    rows[0] = replace(rows[0], cells={FRECHET: Cell(math.nan, None, 1, {"0": math.inf})})
    found = record(page(replace(comparison, rows=rows), tmp_path))
    assert found["rows"][0]["cells"][FRECHET] == {
        "mean": None,
        "std": None,
        "n": 1,
        "values": {"0": None},
    }


# What is not -------------------------------------------------------------------------------------


def evil(comparison: Comparison) -> Comparison:
    """The comparison with a name in every place that would be the end of its script."""
    first = replace(comparison.rows[0], name=EVIL, settings={"model.lr": EVIL}, notes=[EVIL])
    run = replace(comparison.unfinished[0], path=EVIL + "\udcff", why=EVIL)
    column = replace(comparison.columns[0], how=EVIL, name=EVIL)
    return replace(
        comparison, title=EVIL, command=EVIL, notes=[EVIL], unfinished=[run],
        rows=[first, *comparison.rows[1:]], columns=[column, *comparison.columns[1:]],
    )  # fmt: skip


def test_no_name_is_taken_for_code(comparison, tmp_path):
    plain, text = (page(each, tmp_path) for each in (comparison, evil(comparison)))
    assert text.encode()  # a name that is no Unicode would not be
    assert [tag for tag, _ in Elements(text).found] == [tag for tag, _ in Elements(plain).found]
    assert record(text)["rows"][0]["name"] == EVIL
    assert record(text)["title"] == EVIL


def test_names_nothing_on_the_network(comparison, tmp_path):
    text = page(comparison, tmp_path)
    elements = Elements(text)
    for tag, attributes in elements.found:
        for name in ("src", "href", "action", "data", "poster"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, attributes)
    assert not NETWORK.search(text)
    assert not ASKING.search(elements.scripts[1])
    policy = next(a["content"] for _, a in elements.found if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_every_copy_of_the_library_has_its_licence(comparison, tmp_path):
    licence = (pages.PARTS / pages.LICENCE).read_text()
    assert "Permission is hereby granted" in licence
    assert licence in page(comparison, tmp_path)


def test_the_parts_of_the_page_are_in_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    setuptools, folder = project["tool"]["setuptools"], pages.PARTS.parent
    packed = {p for g in setuptools["package-data"]["gdm.tools.comparing"] for p in folder.glob(g)}
    assert packed >= {pages.PARTS / name for name in (*pages.STYLES, *pages.SCRIPTS, "page.html")}
    licences = {path for glob in project["project"]["license-files"] for path in ROOT.glob(glob)}
    assert pages.PARTS / pages.LICENCE in packed & licences


def test_own_scripts_write_text_and_no_markup():
    for name in pages.SCRIPTS[1:]:
        text = (pages.PARTS / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        )


# In a browser ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium.PROGRAM is None:
        pytest.skip("needs Chromium; in Debian: apt install chromium")
    with chromium.browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def address(comparison, tmp_path, browser):
    browser.errors.clear()
    browser.requests.clear()
    return written(comparison, tmp_path)


def written(comparison: Comparison, folder: Path, refresh_seconds: int | None = None) -> str:
    path = folder / "page.html"
    path.write_text(page(comparison, folder, refresh_seconds), encoding="utf-8")
    return path.as_uri()


def order(browser) -> list[str]:
    return browser.ask("[...document.querySelectorAll('#table tbody th')].map(th => th.innerText)")


def asked_of_others(browser, address: str) -> list[str]:
    return [url for url in browser.requests if url != address and not url.startswith("data:")]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_fits_the_screen_without_errors_and_requests(browser, address, tmp_path, width):
    brightness = []
    for scheme in ("light", "dark"):
        browser.open(address, width, scheme=scheme)
        assert browser.ask("document.documentElement.scrollWidth") == width
        browser.photograph(tmp_path / "page.png")
        with Image.open(tmp_path / "page.png") as image:
            brightness.append(np.asarray(image.convert("L")).mean())
    assert brightness[0] > 200
    assert brightness[1] < 60
    assert browser.ask("document.querySelectorAll('.chart canvas').length") == 2
    assert browser.ask("document.querySelectorAll('#pictures img').length") == 3
    assert browser.errors == []
    assert asked_of_others(browser, address) == []


@pytest.mark.slow
def test_browser_tells_of_errors_and_requests(browser, address, tmp_path):
    path = tmp_path / "other.html"
    path.write_text("<img src='http://example.invalid/x.png'><script>nothing()</script>")
    browser.open(path.as_uri(), 800)
    assert any("nothing is not defined" in error for error in browser.errors)
    assert "http://example.invalid/x.png" in browser.requests


@pytest.mark.slow
def test_headings_sort_the_best_first(browser, address):
    browser.open(address, 1280)
    assert order(browser) == ["vae", "ddpm", "gan"]
    heading = f"[data-key='{FRECHET}']"
    browser.click(heading)
    assert order(browser) == ["ddpm", "gan", "vae"]
    browser.press("Enter")  # the heading has kept the focus
    assert order(browser) == ["vae", "gan", "ddpm"]
    browser.click(f"[data-key='{SPEED}']")
    assert order(browser) == ["gan", "vae", "ddpm"]
    browser.click(f"[data-key='{CONFIDENT}']")  # real images have 0.8
    assert order(browser) == ["gan", "ddpm", "vae"]
    best = browser.ask("[...document.querySelectorAll('td.best')].map(td => td.innerText)")
    assert any(text.startswith("6.000 ± 1.414") for text in best)
    assert browser.ask("document.querySelectorAll('[aria-sort]').length") == 1
    assert browser.errors == []


@pytest.mark.slow
def test_shows_single_seeds_pixels_and_values(browser, address):
    browser.open(address, 1280)
    browser.move(*browser.middle("td.value"))
    browser.ask(NEXT_FRAME)
    tip = browser.ask("document.querySelector('#tip').innerText")
    assert "9.000" in tip
    assert "11.000" in tip
    assert "10,000 test images" in tip
    browser.move(*browser.middle("#curves-chart"))
    browser.ask(NEXT_FRAME)
    assert "1,000 images" in browser.ask("document.querySelector('#tip').innerText")
    browser.ask("document.querySelector('#cost-chart').focus()")
    browser.press("ArrowRight")
    assert "4.0 ± 1.4 (n = 2)" in browser.ask("document.querySelector('#tip').innerText")
    browser.click("figure .open")
    assert browser.ask("document.querySelector('#zoom').open")
    rendering = "getComputedStyle(document.querySelector('#zoom-picture')).imageRendering"
    assert browser.ask(rendering) == "pixelated"
    browser.press("Escape")
    assert not browser.ask("document.querySelector('#zoom').open")
    assert browser.errors == []


@pytest.mark.slow
def test_names_are_text_in_the_browser(browser, address, comparison, tmp_path):
    browser.open(written(evil(comparison), tmp_path), 1280)
    assert browser.ask("document.querySelector('h1').textContent") == EVIL
    assert EVIL in order(browser)
    assert browser.ask("document.title") == EVIL
    assert browser.errors == []
    assert asked_of_others(browser, address) == []


@pytest.mark.slow
def test_nothing_to_show_is_said(browser, address, comparison, tmp_path):
    lone = replace(comparison.rows[0], cells={}, members=[], settings={})
    for rows, columns in (([], []), ([lone], COLUMNS)):
        few = replace(comparison, rows=rows, columns=columns, settings=[], unfinished=[])
        browser.open(written(few, tmp_path), 390)
        assert browser.ask("document.querySelectorAll('.chart .missing').length") == 2
    assert browser.errors == []


@pytest.mark.slow
def test_loads_itself_again_as_it_was_left(browser, address, comparison, tmp_path):
    browser.open(written(comparison, tmp_path, 1), 1280)
    browser.click(f"[data-key='{FRECHET}']")
    browser.ask("scrollTo({top: 300, behavior: 'instant'})")
    written(replace(comparison, rows=comparison.rows[:2]), tmp_path)  # and no more reloading
    time.sleep(3)
    assert order(browser) == ["ddpm", "vae"]
    assert browser.ask("scrollY") == 300
    assert browser.errors == []
