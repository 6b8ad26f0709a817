"""The methods that the page needs, asked of a real daemon: previews, windows of the queue, how copies lie."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cbir_daemon.client import Client
from cbir_daemon.errors import BadRequestError, NotFoundError
from tests import pictures
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

SIZE_PX = (900, 600)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a daemon that has indexed a photograph, a mirrored crop of it that is brighter, and strangers."""
    with living() as daemon:
        picture = pictures.photograph(0, SIZE_PX)
        exif = Image.Exif()
        exif[0x010E] = "a secret"
        pictures.save(picture, daemon.album / "whole.jpg", quality=95, exif=exif)
        part = np.ascontiguousarray(picture[60:540, 90:790][:, ::-1])
        pictures.save(pictures.brighter(part, 20), daemon.album / "part.jpg", quality=95)
        pictures.write_album(daemon.album, 4, first_seed=1)
        daemon.start()
        daemon.settle()
        yield daemon


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    """Give a client of it."""
    with Client([daemon.state / "socket"]) as client:
        yield client


def digest_of(client: Client, path: Path) -> str:
    """Return the digest of an indexed file."""
    (image,) = client.images(paths=[path])["images"]
    return image["digest"]


def opened(data: bytes) -> Image.Image:
    """Return an encoded picture."""
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("form", "format_"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_a_preview_is_a_picture_of_its_own(client: Client, daemon: Daemon, form: str, format_: str) -> None:
    """It has the asked size and form, shows the picture, and has none of its metadata."""
    digest = digest_of(client, daemon.album / "whole.jpg")
    preview = opened(client.preview(digest, side_px=512, form=form))
    assert (preview.format, preview.size) == (format_, (512, 341))
    assert not preview.getexif()
    shown = np.asarray(preview.convert("L"), np.float32)
    expected = np.asarray(Image.open(daemon.album / "whole.jpg").convert("L").resize(preview.size), np.float32)
    assert np.abs(shown - expected).mean() < 4


def test_a_smaller_picture_keeps_its_size(client: Client, daemon: Daemon) -> None:
    """Nothing is enlarged."""
    digest = digest_of(client, daemon.album / "photo-0001.jpg")
    assert opened(client.preview(digest, side_px=2048)).size == pictures.SIZE_PX


def test_a_preview_is_of_the_bytes_that_were_asked_for(client: Client, daemon: Daemon) -> None:
    """A file that was rewritten since it was indexed is not shown under the digest that it had."""
    file = daemon.album / "photo-0004.jpg"
    digest = digest_of(client, file)
    before = file.read_bytes()
    pictures.save(pictures.photograph(99), file)
    try:
        with pytest.raises(NotFoundError):
            client.preview(digest, side_px=300)
    finally:
        file.write_bytes(before)


def test_images_are_found_by_words_of_their_names(client: Client, daemon: Daemon) -> None:
    """Each word occurs somewhere below the album, Latin letters in any case; none gives nothing."""
    named = {
        text: [image["path"] for image in client.images(named=text)["images"]] for text in ("PART", "jpg who", "x%")
    }
    assert named == {"PART": [str(daemon.album / "part.jpg")], "jpg who": [str(daemon.album / "whole.jpg")], "x%": []}
    assert client.images(named="  ")["images"] == []
    with pytest.raises(BadRequestError, match="named"):
        client.images(named="part", digests=["0" * 64])


@pytest.mark.parametrize("side_px", [255, 2049])
def test_previews_have_bounds(client: Client, daemon: Daemon, side_px: int) -> None:
    """Smaller and larger ones are refused."""
    digest = digest_of(client, daemon.album / "whole.jpg")
    with pytest.raises(BadRequestError, match="side_px"):
        client.preview(digest, side_px=side_px)


def test_a_thumbnail_is_there_while_the_disk_is_away(client: Client, daemon: Daemon) -> None:
    """It shows the 64x64 numbers of the index; no file is read."""
    file = daemon.album / "whole.jpg"
    digest = digest_of(client, file)
    away = daemon.home / "away.jpg"
    file.rename(away)
    try:
        thumbnail = opened(client.thumbnail(digest))
    finally:
        away.rename(file)
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (64, 64))
    with pytest.raises(NotFoundError):
        client.thumbnail("0" * 64)


def test_a_copy_can_be_laid_upon_its_original(client: Client, daemon: Daemon) -> None:
    """By the matrix a mirrored crop lands where it was cut out; where the two overlap, they differ by a few levels."""
    kept, copy = (daemon.album / name for name in ("whole.jpg", "part.jpg"))
    found = client.align(digest_of(client, kept), digest_of(client, copy))
    assert found["matrix"] is not None
    assert (found["look"], found["invert"]) == ("files", False)
    assert found["score"] > 0.9
    matrix = np.array(found["matrix"]).reshape(3, 3)
    corners = matrix @ np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], dtype=float)
    landed = corners[:2] / corners[2]
    # Mirrored: the copy's left edge lies at the right of the part that was cut out.
    expected = np.array([[790, 90, 90, 790], [60, 60, 540, 540]]) / np.array([[450.0], [300.0]]) - 1
    assert np.abs(landed - expected).max() < 0.006
    assert _difference(Image.open(kept), Image.open(copy), found) < 6


def _difference(kept: Image.Image, copy: Image.Image, found: Any) -> float:  # noqa: ANN401 -- JSON
    """Return the mean difference, in grey levels, of a copy and of what the alignment says lies below it."""
    rows, columns = np.mgrid[0 : copy.height, 0 : copy.width]
    points = np.stack([(columns + 0.5) / copy.width * 2 - 1, (rows + 0.5) / copy.height * 2 - 1, np.ones_like(rows)])
    mapped = np.einsum("ij,jyx->iyx", np.array(found["matrix"]).reshape(3, 3), points)
    x = np.clip((mapped[0] / mapped[2] + 1) / 2 * kept.width - 0.5, 0, kept.width - 1).round().astype(int)
    y = np.clip((mapped[1] / mapped[2] + 1) / 2 * kept.height - 0.5, 0, kept.height - 1).round().astype(int)
    below = np.asarray(kept.convert("L"), np.float32)[y, x] * found["gain"] + found["offset"]
    return float(np.abs(np.asarray(copy.convert("L"), np.float32) - below).mean())


def test_strangers_cannot_be_aligned_for_sure(client: Client, daemon: Daemon) -> None:
    """Of two pictures that show nothing of each other the score says so; of an image with itself, nothing was done."""
    whole, stranger = (digest_of(client, daemon.album / name) for name in ("whole.jpg", "photo-0002.jpg"))
    assert client.align(whole, stranger)["score"] < 0.7
    same = client.align(whole, whole)
    assert (same["matrix"], same["score"]) == ([1, 0, 0, 0, 1, 0, 0, 0, 1], 1.0)


def test_a_group_tells_what_was_done(client: Client, daemon: Daemon) -> None:
    """In words and as measured: a crop, mirrored; a window of the list has the counts of all of it."""
    answer = client.duplicates(limit=10)
    (group,) = answer["groups"]
    kept, copy = group["images"]
    assert (kept["path"], kept["done"], kept["transform"]) == (str(daemon.album / "whole.jpg"), "", None)
    assert "mirrored" in copy["done"]
    assert copy["transform"] is not None
    assert copy["transform"]["flip"] is True
    assert copy["overlap"] is not None
    assert copy["overlap"]["copy"] > 0.9 > copy["overlap"]["kept"]
    assert (answer["total"], answer["files"]) == (1, 1)
    assert answer["folder_pairs"] == [
        {"folders": [str(daemon.album), str(daemon.album)], "groups": 1, "saves": group["saves"]}
    ]
    assert client.duplicates(limit=10, offset=1, at=answer["clock"])["groups"] == []


@pytest.mark.parametrize(
    ("filters", "total"),
    [
        ({"min_score": 0.999}, 0),
        ({"max_score": 0.1}, 0),
        ({"since": "2000", "until": "2999-12"}, 1),
        ({"since": "2999"}, 0),
        ({"until": "1999-12-31"}, 0),
        ({"order": "date", "reverse": True}, 1),
    ],
)
def test_the_client_filters_groups(client: Client, filters: dict[str, Any], total: int) -> None:
    """By score and date, in any order; the count is that of the groups that pass."""
    assert client.duplicates(**filters)["total"] == total


def test_the_client_filters_groups_by_a_pair_of_folders(client: Client, daemon: Daemon) -> None:
    """Two files of one folder are in that folder twice; another folder has none of them."""
    assert client.duplicates(folders=[daemon.album, daemon.album])["total"] == 1
    assert client.duplicates(folders=[daemon.album, daemon.home])["total"] == 0


@pytest.mark.parametrize(
    "params", [{"since": "yesterday"}, {"folders": ["/a"]}, {"limit": 201}, {"order": "size"}, {"at": -1}]
)
def test_a_wrong_filter_is_refused(client: Client, params: dict[str, Any]) -> None:
    """By the name of the parameter."""
    with pytest.raises(BadRequestError, match=next(iter(params))):
        client.ask("duplicates", params)


def test_many_pairs_are_dismissed_at_once(client: Client, daemon: Daemon) -> None:
    """And undismissed; what was decided so before is not counted."""
    pair = [digest_of(client, daemon.album / name) for name in ("whole.jpg", "part.jpg")]
    strangers = [digest_of(client, daemon.album / f"photo-{number:04d}.jpg") for number in (1, 2)]
    assert client.dismiss_all([pair, strangers]) == {"changed": 2}
    assert client.duplicates()["total"] == 0
    assert client.dismiss_all([pair[::-1]]) == {"changed": 0}
    assert client.dismiss_all([pair, strangers], undo=True) == {"changed": 2}
    assert client.duplicates()["total"] == 1


def test_a_content_is_asked_about_by_its_digest(client: Client, daemon: Daemon) -> None:
    """As its file would be; each match has a digest, too."""
    digest = digest_of(client, daemon.album / "part.jpg")
    matches = client.ask("query", {"digest": digest})["matches"]
    assert [match["kind"] for match in matches[:2]] == ["exact", "copy"]
    assert matches[0]["digest"] == digest
    assert matches == client.query(daemon.album / "part.jpg")["matches"]
    with pytest.raises(NotFoundError):
        client.ask("query", {"digest": "0" * 64})
