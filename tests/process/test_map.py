"""`cbir map` and `cbir model plot` of the real daemon, on a map whose two dimensions are made from a seed."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tests.process.daemon import Daemon, living
from tests.test_contract import put_map

pytestmark = pytest.mark.process

IMAGES = 24
SMALLEST_PX = 64
"""A picture of this size has room for 20 images."""

HOSTILE = b"</script><img src=x>.jpg"
"""A name in a folder: a slash ends the folder's."""

NOT_UTF_8 = b"caf\xe9.jpg"


def script_data(page: str) -> dict[str, Any]:
    """Return what the script of a page reads."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def mapped() -> Iterator[Daemon]:
    """Give a daemon with a map of two dozen pictures: two are copies, two have the same bytes, names are odd."""
    with living() as daemon:
        first, second, third, *_ = pictures.write_album(daemon.album, IMAGES)
        pictures.resaved(first, daemon.album / "small.jpg")
        for image, name in ((second, HOSTILE), (third, NOT_UTF_8)):
            path = daemon.album / os.fsdecode(name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(image.read_bytes())
        daemon.start()
        daemon.settle()
        assert daemon.stop() == 0
        put_map(daemon.state)
        daemon.start()
        daemon.settle()
        yield daemon


def test_without_a_map_there_is_no_picture(daemon: Daemon) -> None:
    """Both commands say in one line why there is no map, write no file and exit 66; so does a daemon without images."""
    daemon.start()
    for argv in (["map", "out.png"], ["map", "out.html"], ["model", "plot"], ["model", "plot", "out.svg"]):
        done = daemon.run(*[daemon.home / word if word.startswith("out.") else word for word in argv])
        assert (done.returncode, done.stdout) == (66, b"")
        (line,) = done.stderr.decode().splitlines()
        assert "contents are too few for a map" in line
    assert not list(daemon.home.glob("out.*"))


@pytest.mark.parametrize("argv", [["map", "out.jpg"], ["map", "out"], ["model", "plot", "out.pdf"]])
def test_other_endings_are_refused(mapped: Daemon, argv: list[str]) -> None:
    """What cannot be drawn is told with the endings that can, in one line; status 64."""
    done = mapped.run(*argv)
    assert (done.returncode, done.stdout) == (64, b"")
    (line,) = done.stderr.decode().splitlines()
    assert f"{argv[-1]}: its ending names no kind of picture: give a name that ends in ." in line


def test_a_file_that_cannot_be_written(mapped: Daemon) -> None:
    """A folder that is not there is told in one line; status 74."""
    for argv in (["map"], ["model", "plot"]):
        done = mapped.run(*argv, mapped.home / "nowhere" / "out.png")
        assert done.returncode == 74
        assert "cannot be written" in done.stderr.decode()


@pytest.mark.parametrize("size_px", [500, 2400])
def test_the_picture(mapped: Daemon, size_px: int) -> None:
    """The PNG is as long as was asked, shows pictures on a light ground, and frames duplicates in colour."""
    out = mapped.home / "map.PNG"
    answer = mapped.json("map", out, "--size", str(size_px))
    assert answer == {
        "path": str(out),
        "images": IMAGES + 1,
        "shown": IMAGES + 1,
        "groups": 3,
        "size": out.stat().st_size,
    }
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert size_px * 0.85 <= max(picture.size) <= size_px
        pixels = np.asarray(picture.convert("RGB"), dtype=int)
    assert 0.1 < (pixels.sum(axis=2) < 600).mean() < 0.8
    assert (pixels.max(axis=2) - pixels.min(axis=2) > 80).any()


def test_a_small_picture_shows_a_part_and_says_so(mapped: Daemon) -> None:
    """Where there is no room for all, as many of each region are shown as its share."""
    out = mapped.home / "small.png"
    done = mapped.run("map", out, "--size", str(SMALLEST_PX))
    assert done.stdout.decode().startswith(f"20 images of {IMAGES + 1}, evenly chosen, ")
    with Image.open(out) as picture:
        assert max(picture.size) <= SMALLEST_PX


def test_the_page(mapped: Daemon) -> None:
    """The page has every image with its facts and its group, and the atlases of what it shows."""
    out = mapped.home / "map.html"
    assert mapped.json("map", out)["shown"] == IMAGES + 1
    page = out.read_text(encoding="utf-8")
    data = script_data(page)
    assert len(data["places"]) == IMAGES + 1
    cells = {(row[0], row[1]) for row in data["places"]}
    assert len(cells) == IMAGES + 1
    assert all(0 <= column < data["grid_columns"] and 0 <= row < data["grid_rows"] for column, row in cells)
    groups = [row[8] for row in data["places"] if row[8] is not None]
    assert sorted(groups.count(group) for group in set(groups)) == [1, 1, 2]
    assert [atlas[1:3] for atlas in data["atlases"]] == [[IMAGES + 1, 64], [IMAGES + 1, 16]]


def test_odd_names_are_names(mapped: Daemon) -> None:
    """A name of HTML is in the page as text, and one that is not UTF-8 can be read and breaks nothing."""
    out = mapped.home / "odd.html"
    assert mapped.run("map", out).returncode == 0
    page = out.read_text(encoding="utf-8")
    assert "<img" not in page
    data = script_data(page)
    names = {name for row in data["places"] for name in row[9]}
    paths = names | {f"{data['folders'][row[2]]}/{row[3]}" for row in data["places"]}
    assert f"{mapped.album}/</script><img src=x>.jpg" in paths
    assert f"{mapped.album}/caf\\xe9.jpg" in paths


def test_the_squares_of_an_atlas_are_those_of_the_images(mapped: Daemon) -> None:
    """Square by square, the atlas shows what the files of its places show."""
    out = mapped.home / "atlas.html"
    assert mapped.run("map", out).returncode == 0
    page = out.read_text(encoding="utf-8")
    data = script_data(page)
    atlas = atlas_of(page, 0)
    columns = data["atlases"][0][3]
    for number, row in enumerate(data["places"]):
        line, column = divmod(number, columns)
        square = atlas[64 * line : 64 * line + 64, 64 * column : 64 * column + 64]
        path = Path(data["folders"][row[2]]) / row[3]
        if not path.exists():
            continue
        with Image.open(path) as image:
            own = np.asarray(image.convert("L").resize((64, 64), Image.Resampling.LANCZOS), dtype=float)
        assert np.corrcoef(square.ravel(), own.ravel())[0, 1] > 0.98


def atlas_of(page: str, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the grey pixels of an atlas in a page."""
    found = re.search(rf'id="atlas-{number}">(.*?)</script>', page)
    assert found
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        return np.asarray(picture.convert("L"), dtype=float)


def test_the_curve(mapped: Daemon) -> None:
    """In the terminal it is text; OUT gets a picture, and then standard output is for programs that ask."""
    shown = mapped.json("model", "show")
    text = mapped.run("model", "plot").stdout.decode()
    assert f"@ chosen: n_neighbors {shown['n_neighbors']}, n_components {shown['n_components']}" in text
    for name, begin in (("curve.png", b"\x89PNG"), ("curve.svg", b"<?xml")):
        done = mapped.run("model", "plot", mapped.home / name)
        assert (done.returncode, done.stdout) == (0, b"")
        assert (mapped.home / name).read_bytes().startswith(begin)
    answer = mapped.json("model", "plot", mapped.home / "curve.svg")
    assert answer["curve"] == shown["curve"]
    assert mapped.json("model", "plot") == answer


def test_the_plot_is_as_wide_as_the_terminal(mapped: Daemon) -> None:
    """Lines are no longer than COLUMNS says, and no longer than people like to read."""
    for columns, most in ((60, 60), (100, 100), (400, 120)):
        mapped.environ["COLUMNS"] = str(columns)
        lines = mapped.run("model", "plot").stdout.decode().splitlines()
        assert most - 4 <= max(map(len, lines)) <= most
    del mapped.environ["COLUMNS"]
