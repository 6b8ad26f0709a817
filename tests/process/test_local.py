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


def first(daemon: Daemon, picture: pictures.Picture | Image.Image) -> dict[str, object]:
    """Return the first match of a picture."""
    return daemon.matches(query(daemon, picture))[0]


def test_an_older_index_gets_features(indexed: Daemon) -> None:
    """After `settle` none is left to be taken."""
    assert indexed.settle()["features_pending"] == 0


def test_a_picture_at_any_angle_is_a_copy(indexed: Daemon) -> None:
    """Turned by 33 degrees, which the words say."""
    match = first(indexed, real().rotate(33, Image.Resampling.BICUBIC, expand=True, fillcolor=(250, 250, 250)))
    assert (match["path"], match["kind"], match["look"]) == (str(indexed.album / "real-0.jpg"), "copy", "files")
    transform = match["transform"]
    assert isinstance(transform, dict)
    assert transform["turn"] == 0
    assert transform["angle"] == pytest.approx(33, abs=1)


def test_a_small_piece_is_a_copy(indexed: Daemon) -> None:
    """A sixth of the area; the part is the whole query, and the overlap says how much of the match it shows."""
    image = real()
    box = (round(0.45 * image.width), round(0.35 * image.height), round(0.85 * image.width), round(0.8 * image.height))
    match = first(indexed, image.crop(box))
    assert (match["path"], match["kind"], match["part"]) == (str(indexed.album / "real-0.jpg"), "copy", None)
    overlap = match["overlap"]
    assert isinstance(overlap, dict)
    assert overlap["match"] == pytest.approx(0.18, abs=0.02)


def test_a_covered_picture_is_a_copy(indexed: Daemon) -> None:
    """Another picture hides a fifth of it."""
    image = real()
    image.paste(Image.fromarray(pictures.photograph(901)).resize((image.width // 2, image.height // 2)), (40, 60))
    match = first(indexed, image)
    assert (match["path"], match["kind"]) == (str(indexed.album / "real-0.jpg"), "copy")


def test_a_stranger_is_no_copy(indexed: Daemon) -> None:
    """A picture that the album does not have is similar at most."""
    assert first(indexed, np.flipud(pictures.photograph(902)))["kind"] == "similar"


def test_features_are_kept_over_a_restart(indexed: Daemon) -> None:
    """Nothing is read again, and the query finds what it did."""
    indexed.stop()
    indexed.start()
    assert indexed.settle()["features_pending"] == 0
    assert first(indexed, real().rotate(-71, expand=True, fillcolor=(0, 0, 0)))["kind"] == "copy"
