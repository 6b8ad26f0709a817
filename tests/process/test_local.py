"""Local features through the commands: taken in the background, kept over a restart, and what queries find by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process
pytest.importorskip("cv2")

IMAGES = 8


@pytest.fixture(scope="module")
def indexed() -> Iterator[Daemon]:
    """Give a daemon that was started without local features, and then with them."""
    with living() as daemon:
        pictures.write_album(daemon.album, IMAGES - 2)
        for number, picture in enumerate(pictures.real_photographs()):
            pictures.save(picture, daemon.album / f"real-{number}.jpg", quality=90)
        daemon.start()
        assert daemon.settle()["features_pending"] == 0
        daemon.stop()
        daemon.config.write_text(daemon.config.read_text() + "[match]\nlocal = true\n")
        daemon.start()
        daemon.settle()
        yield daemon


def query(daemon: Daemon, picture: pictures.Picture | Image.Image) -> Path:
    """Write what is asked for."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    path = daemon.home / "query.jpg"
    image.save(path, quality=88)
    return path


def real() -> Image.Image:
    """Return the first photograph of the album."""
    return Image.fromarray(pictures.real_photographs()[0])


def small_piece() -> Image.Image:
    """Return 16 % of the first photograph, which is too little for its vector."""
    image = real()
    box = (round(0.1 * image.width), round(0.3 * image.height), round(0.5 * image.width), round(0.7 * image.height))
    return image.crop(box)


def first(daemon: Daemon, picture: pictures.Picture | Image.Image) -> dict[str, object]:
    """Return the first match of a picture."""
    return daemon.matches(query(daemon, picture))[0]


def test_an_older_index_gets_features(indexed: Daemon) -> None:
    """After `settle` none is left to be taken."""
    assert indexed.settle()["features_pending"] == 0


def test_a_picture_at_any_angle_is_a_copy(indexed: Daemon) -> None:
    """Turned by 33 degrees, without a plain ground by which a vector could be found; `transform` says the angle."""
    image = real().rotate(33, Image.Resampling.BICUBIC)
    across, down = image.width // 4, image.height // 4
    match = first(indexed, image.crop((across, down, image.width - across, image.height - down)))
    assert match["features"]
    assert (match["path"], match["kind"], match["look"]) == (str(indexed.album / "real-0.jpg"), "copy", "files")
    transform = match["transform"]
    assert isinstance(transform, dict)
    assert transform["turn"] == 0
    assert transform["angle"] == pytest.approx(33, abs=1)


def test_a_small_piece_is_a_copy(indexed: Daemon) -> None:
    """A sixth of the area; the part is the whole query, and the overlap says how much of the match it shows."""
    match = first(indexed, small_piece())
    assert (match["path"], match["kind"], match["part"]) == (str(indexed.album / "real-0.jpg"), "copy", None)
    assert match["features"]
    overlap = match["overlap"]
    assert isinstance(overlap, dict)
    assert overlap["match"] == pytest.approx(0.16, abs=0.01)


def test_a_covered_picture_is_a_copy(indexed: Daemon) -> None:
    """Another picture hides an eighth of a part of it that was turned."""
    image = real().rotate(20, Image.Resampling.BICUBIC).crop((120, 80, 520, 347))
    image.paste(Image.fromarray(pictures.photograph(901)).resize((140, 93)), (40, 60))
    match = first(indexed, image)
    assert (match["path"], match["kind"]) == (str(indexed.album / "real-0.jpg"), "copy")
    assert match["features"]


def test_a_stranger_is_no_copy(indexed: Daemon) -> None:
    """A picture that the album does not have is similar at most."""
    assert first(indexed, np.flipud(pictures.photograph(902)))["kind"] == "similar"


def test_features_are_kept_over_a_restart(indexed: Daemon) -> None:
    """Nothing is read again, and the query finds what it did."""
    indexed.stop()
    indexed.start()
    assert indexed.settle()["features_pending"] == 0
    match = first(indexed, small_piece())
    assert (match["kind"], bool(match["features"])) == ("copy", True)


def test_an_explanation_says_how_many_features_found_a_match(indexed: Daemon) -> None:
    """It is no copy by its vector, so how that was verified is not said; nothing contradicts the kind."""
    path = query(indexed, small_piece())
    (match,) = indexed.matches(path, "--explain", "--kind", "copy")
    assert match["features"] >= 8
    assert "explanation" not in match
    text = indexed.run("query", "--explain", "--kind", "copy", path).stdout.decode()
    assert f"{match['features']} local features lie as in the image" in text
    assert "no copy" not in text


def test_a_page_around_a_picture_is_said(indexed: Daemon) -> None:
    """Local features find it first, and the words are those of any part."""
    match = first(indexed, pictures.on_a_page(pictures.real_photographs()[0]))
    assert match["features"]
    assert match["part"]
    assert match["around"] == "screen"
