"""What the client draws of answers: the curve of a fit, and a page that no file name can turn against its reader."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest
from PIL import Image

from cbir_daemon.cli.documents import Tried
from cbir_daemon.cli.dots import dots
from cbir_daemon.cli.drawing.curve import draw_curve
from cbir_daemon.cli.drawing.curve_data import Curve, Point, curve_of
from cbir_daemon.cli.drawing.page import as_data, page_of, readable
from cbir_daemon.cli.model import picture_of
from cbir_daemon.errors import UnavailableError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import path_to_json

HOSTILE = "/album/</script><img src=x onerror=alert(1)><!--&amp;'\"\u2028.jpg"


def candidate(n_neighbors: int, n_components: int, trustworthiness: float, recall: float) -> answers.Trial:
    """Return an entry of a curve, with what a later release may add."""
    scores = {"trustworthiness": trustworthiness, "neighbor_recall": recall, "seed": 1}
    return cast(answers.Trial, {"n_neighbors": n_neighbors, "n_components": n_components, **scores})


def model(*tried: answers.Trial, chosen: answers.Trial | None = None) -> Tried:
    """Return a choice and all that was tried; the last one tried is the choice."""
    return {**(chosen or tried[-1]), "curve": list(tried)}


CURVE = curve_of(model(candidate(5, 16, 0.80, 0.40), candidate(10, 8, 0.85, 0.55), candidate(10, 16, 0.90, 0.50)))


# The curve.


def test_the_longest_series_comes_first() -> None:
    """Candidates of one `n_components` are a series, in order of `n_neighbors`."""
    assert [(series.n_components, [point.n_neighbors for point in series.points]) for series in CURVE.series] == [
        (16, [5, 10]),
        (8, [10]),
    ]
    assert CURVE.chosen == Point(10, 16, 0.90, 0.50)


def test_what_was_tried_twice_is_one_point() -> None:
    """Several seeds of one candidate are shown by their mean, the choice too."""
    curve = curve_of(model(candidate(5, 16, 0.8, 0.4), candidate(5, 16, 0.9, 0.5)))
    (point,) = curve.points
    assert (point.trustworthiness, point.neighbor_recall) == pytest.approx((0.85, 0.45))
    assert curve.chosen is point


def test_a_choice_that_was_not_tried_stands_alone() -> None:
    """A fit that took over its hyper-parameters has a curve without them, or none."""
    chosen = candidate(15, 8, 0.95, 0.6)
    assert curve_of(model(chosen=chosen)).points == (Point(15, 8, 0.95, 0.6),)
    assert len(curve_of(model(candidate(5, 8, 0.9, 0.5), chosen=chosen)).points) == 2


def test_dots_lie_between_the_worst_and_the_best() -> None:
    """Each candidate is a line; a mark at the left edge is the worst score, at the right edge the best."""
    lines = list(dots(CURVE, 60))
    assert lines == [
        "                            trustworthin    neighbour re",
        "n_neighbors  n_components   0.800  0.900    0.400  0.550",
        "          5            16  |o           |  |o           |",
        "         10            16  |           @|  |       @    |",
        "         10             8  |     o      |  |           o|",
        "@ chosen: n_neighbors 10, n_components 16",
    ]


@pytest.mark.parametrize("width", [1, 40, 80, 120, 500])
def test_dots_fit_the_terminal(width: int) -> None:
    """No line is wider than the terminal, unless that has no room for the figures."""
    assert max(map(len, dots(CURVE, width))) <= max(width, 60)


def test_scores_that_are_all_the_same() -> None:
    """One candidate has its marks in the middle, under one figure."""
    lines = list(dots(curve_of(model(candidate(5, 2, 1.0, 0.5))), 62))
    assert lines[1].split() == ["n_neighbors", "n_components", "1.000", "0.500"]
    assert lines[2].count("@") == 2


@pytest.mark.parametrize("curve", [CURVE, curve_of(model(candidate(5, 2, 1.0, 0.5)))], ids=["several", "one"])
def test_a_curve_as_a_picture(curve: Curve) -> None:
    """The PNG can be opened, and text in the SVG is text; the same curve gives the same file."""
    with Image.open(io.BytesIO(draw_curve(curve, "png"))) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
    svg = draw_curve(curve, "svg")
    assert draw_curve(curve, "svg") == svg
    said = "".join(ElementTree.fromstring(svg).itertext())  # noqa: S314 -- our own
    assert "neighbour recall" in said
    assert f"{curve.chosen.trustworthiness:.4f}" in said


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of the curve needs the extra, and whoever lacks it is told how to get it, or to do without."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "cbir_daemon.cli.drawing.curve")
    with pytest.raises(UnavailableError, match=r"needs matplotlib: pip install 'cbir-daemon\[plot\]'"):
        picture_of(CURVE, "png")


# The page.


def place(path: bytes, column: int = 0, **fields: Any) -> answers.Place:  # noqa: ANN401 -- JSON
    """Return a place on the map."""
    facts = {"names": [], "width": 640, "height": 480, "size": 1000, "taken": None, "group": None}
    return cast(answers.Place, {"column": column, "row": 0, "path": path_to_json(path), **facts, **fields})


def page(*places: answers.Place, atlas: bytes = b"RIFF") -> str:
    """Return a page of some places."""
    counts: answers.MapPart = {
        "clock": 1,
        "images": 3,
        "shown": len(places),
        "groups": 0,
        "grid_columns": 4,
        "grid_rows": 1,
    }
    atlases: list[tuple[answers.MapPart, bytes]] = [
        ({**counts, "atlas": {"first": 0, "count": 1, "side_px": side, "columns": 1}}, atlas) for side in (64, 16)
    ]
    return page_of([({**counts, "places": list(places)}, b""), *atlases]).decode()


class Elements(HTMLParser):
    """All tags of a page with their attributes, and what stands in each script and style."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        """Note that what comes is outside."""
        self._open = ""

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.inside[self._open] = self.inside.get(self._open, "") + data


def data_of(source: str) -> dict[str, Any]:
    """Return what the script of a page reads."""
    data: dict[str, Any] = json.loads(Elements(source).inside["data"])
    return data


def test_a_hostile_name_stays_a_name() -> None:
    """Whatever a file is called, the page has the same elements, and the script reads the name as it is."""
    # As one of several names it is not cut at its slash.
    plain, hostile = page(place(b"/album/a.jpg")), page(place(HOSTILE.encode(), names=[HOSTILE]))
    assert [tag for tag, _ in Elements(hostile).tags] == [tag for tag, _ in Elements(plain).tags]
    data = data_of(hostile)
    row = data["places"][0]
    assert f"{data['folders'][row[2]]}/{row[3]}" == HOSTILE
    assert row[9] == [HOSTILE]
    assert not {"<", ">", "&", "'"} & set(Elements(hostile).inside["data"])
    assert Elements(hostile).inside["data"].isascii()


def test_a_hostile_name_is_hostile_without_escapes() -> None:
    """The test above would see what it looks for."""
    broken = page(place(b"/album/a.jpg")).replace("a.jpg", HOSTILE)
    assert ("img", {"src": "x", "onerror": "alert(1)"}) in Elements(broken).tags


def test_a_name_that_looks_like_a_mark_of_the_template_stays() -> None:
    """What fills the template is not looked at again."""
    source = page(place(b"/album/@SCRIPT@ @ATLASES@ @DATA@.jpg"))
    assert data_of(source)["places"][0][3] == "@SCRIPT@ @ATLASES@ @DATA@.jpg"
    assert source.count("@SCRIPT@") == 1


def test_a_name_that_is_not_utf_8() -> None:
    """Its bytes that are no text can be read, and the page is UTF-8."""
    assert data_of(page(place(b"/album/caf\xe9.jpg", names=[path_to_json(b"/b/\xff")])))["places"][0][3:] == [
        "caf\\xe9.jpg", 640, 480, 1000, None, None, ["/b/\\xff"],
    ]  # fmt: skip
    assert readable("/ä/\ufffd") == "/ä/\ufffd"


def test_json_in_ascii_says_the_same() -> None:
    """Escapes change nothing for who reads the JSON."""
    document = {"a": [HOSTILE, None, 1.5, "\ud800"]}
    assert json.loads(as_data(document)) == document


def test_nothing_is_loaded_and_only_its_own_script_runs() -> None:
    """The policy forbids all but this style and this script, by their hashes; no address stands in the page."""
    source = page(place(b"/album/a.jpg"))
    elements = Elements(source)
    policy = next(
        str(attributes["content"]) for tag, attributes in elements.tags if tag == "meta" and "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'; ")
    for kind in ("script", "style"):
        (digest,) = re.findall(rf"{kind}-src 'sha256-([^']+)'", policy)
        assert base64.b64decode(digest) == hashlib.sha256(elements.inside[kind].encode()).digest()
    assert not re.findall(r"https?:|//[a-z]", source.replace("// ", ""))
    assert not [
        attributes
        for _, attributes in elements.tags
        if {"src", "href", "onclick", "onload", "style"} & attributes.keys()
    ]


def test_atlases_are_what_came() -> None:
    """Each is an element of its own, that is no script, in the order in which they came."""
    atlas = bytes(range(256))
    elements = Elements(page(place(b"/a.jpg"), atlas=atlas))
    assert [base64.b64decode(elements.inside[f"atlas-{number}"]) for number in (0, 1)] == [atlas, atlas]
    kinds = [attributes.get("type") for tag, attributes in elements.tags if tag == "script"]
    assert kinds == ["application/json", "text/plain", "text/plain", None]


def test_everything_that_can_be_used_has_a_name() -> None:
    """Buttons, the search box and the map have labels for those who do not see them."""
    elements = Elements(page(place(b"/a.jpg")))
    labelled = {attributes["for"] for tag, attributes in elements.tags if tag == "label"}
    for tag, attributes in elements.tags:
        if tag in ("button", "input", "canvas") and "aria-hidden" not in attributes:
            assert "aria-label" in attributes or attributes.get("id") in labelled, (tag, attributes)


def test_folders_are_told_once() -> None:
    """Paths of one folder share it."""
    data = data_of(page(place(b"/a/1.jpg"), place(b"/b/2.jpg", 1), place(b"/a/3.jpg", 2), place(b"/4.jpg", 3)))
    assert data["folders"] == ["/a", "/b", ""]
    assert [row[2] for row in data["places"]] == [0, 1, 0, 2]


# In a browser, where there is one.

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LOAD_MS = 5_000
"""Of the browser's own clock, which does not wait."""


def small_atlas(squares: int) -> bytes:
    """Return an atlas of one row, 64 pixels a square."""
    picture = Image.new("L", (64 * squares, 64), 128)
    output = io.BytesIO()
    picture.save(output, "WEBP")
    return output.getvalue()


@pytest.mark.process
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the page with")
def test_a_browser_runs_the_script_and_no_name(tmp_path: Path) -> None:
    """The policy lets the page's script run, which counts the images; a hostile name makes no element."""
    hostile = place(HOSTILE.encode(), names=[HOSTILE])
    source = page(hostile, place(b"/album/caf\xe9.jpg", 1, group=0), atlas=small_atlas(2))
    (tmp_path / "map.html").write_text(source, encoding="utf-8")
    done = subprocess.run(  # noqa: S603 -- a browser of this machine, on our own file
        [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'browser'}",
            f"--virtual-time-budget={LOAD_MS}",
            "--dump-dom",
            (tmp_path / "map.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    elements = Elements(done.stdout)
    assert elements.inside["counts"] == "2 of 3 images, evenly chosen · 0 groups of duplicates"
    assert "img" not in {tag for tag, _ in elements.tags}
    assert "Refused to" not in done.stderr
