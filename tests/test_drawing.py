"""The method `map` where the map is not as it should be: without a picture, with gaps, with next to nothing on it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

from cbir_daemon.daemon.rooms import INDEX_FILE
from cbir_daemon.errors import BadRequestError, NotFoundError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Request
from cbir_daemon.serving.handlers import Reply, Rooms, handle
from cbir_daemon.serving.handlers.drawing import draw_map
from cbir_daemon.store import Placed
from tests import rows
from tests.process.daemon import living
from tests.test_contract import put_map, rooms_of

pytestmark = pytest.mark.process

CONTENTS = 12


@pytest.fixture(scope="module")
def rooms() -> Iterator[Rooms]:
    """Give the rooms of a service, in this process, whose index has a dozen contents and a map."""
    with living() as daemon, ExitStack() as stack:
        daemon.state.mkdir(mode=0o700)
        with rows.opened(daemon.state / INDEX_FILE) as store:
            album = store.albums.listed()[0].id
            store.files.apply([rows.indexed(album, b"%d.jpg" % number, number) for number in range(CONTENTS)])
        put_map(daemon.state)
        yield rooms_of(daemon, stack)


def put_flat(rooms: Rooms, flats: Sequence[tuple[float, float] | None]) -> None:
    """Give the contents these places in the plane."""
    run = rooms.store.runs.active()
    assert run is not None
    kept = dict(rooms.store.positions.listed(run.id))
    ids = rooms.store.contents.ids()
    placed = [
        Placed(content_id, "fitted", kept[content_id], None if flat is None else rows.position(*flat))
        for content_id, flat in zip(ids, flats, strict=True)
    ]
    rooms.store.positions.put(run.id, placed)


def drawn(rooms: Rooms, **params: object) -> list[Reply[answers.MapPart]]:
    """Return all replies to `map`."""
    return list(handle(rooms, Request(1, "map", dict(params))))


def test_a_map_without_a_picture_says_how_to_get_one(rooms: Rooms) -> None:
    """A map of an earlier release has no second dimension to draw by: `not-found`, with what to do."""
    put_flat(rooms, [None] * CONTENTS)
    with pytest.raises(NotFoundError, match="the map in use has no two-dimensional layout: `cbir model fit` makes"):
        drawn(rooms)


@pytest.mark.parametrize("placed", [1, 2, 5])
def test_few_images_are_a_small_map(rooms: Rooms, placed: int) -> None:
    """One image is a map, too; who has no place yet is left out."""
    put_flat(rooms, [(float(number), 1.0) if number < placed else None for number in range(CONTENTS)])
    (picture,) = drawn(rooms, form="png", size_px=200)
    assert (picture.ok["images"], picture.ok["shown"]) == (placed, placed)
    assert Image.open(io.BytesIO(picture.blob)).format == "PNG"
    first, *_, last = drawn(rooms, form="page")
    assert {place["path"] for place in first.ok["places"]} == {f"/album/{number}.jpg" for number in range(placed)}
    assert first.more
    assert not last.more
    assert last.ok["atlas"] == {"first": 0, "count": placed, "side_px": 16, "columns": int(np.ceil(placed**0.5))}


def test_places_that_are_no_numbers_are_left_out(rooms: Rooms) -> None:
    """UMAP gives no place to an image without neighbours; the others are drawn."""
    put_flat(
        rooms, [(float("nan"), 0.0), (float("inf"), 1.0), *[(float(number), 2.0) for number in range(2, CONTENTS)]]
    )
    assert drawn(rooms, size_px=200)[0].ok["images"] == CONTENTS - 2


def test_places_come_with_the_atlases_that_show_them(rooms: Rooms) -> None:
    """Large squares come in as many atlases as they need, small ones in one; only the last answer ends the stream."""
    put_flat(rooms, [(float(number % 4), float(number // 4)) for number in range(CONTENTS)])
    replies = list(draw_map(rooms, Request(1, "map", {"form": "page"}), atlas_tiles=5))
    atlases = [reply.ok["atlas"] for reply in replies if "atlas" in reply.ok]
    assert [(atlas["first"], atlas["count"], atlas["side_px"]) for atlas in atlases] == [
        (0, 5, 64),
        (5, 5, 64),
        (10, 2, 64),
        (0, 12, 16),
    ]
    assert [reply.more for reply in replies] == [True] * 4 + [False]
    assert all(reply.blob.startswith(b"RIFF") == ("atlas" in reply.ok) for reply in replies)


def test_what_is_shown_of_many_is_a_share(rooms: Rooms) -> None:
    """Above the most that a map shows, the answer tells both numbers."""
    put_flat(rooms, [(float(number), 0.0) for number in range(CONTENTS)])
    first, *_ = draw_map(rooms, Request(1, "map", {"form": "page"}), most_images=7)
    assert (first.ok["images"], first.ok["shown"], len(first.ok["places"])) == (CONTENTS, 7, 7)


@pytest.mark.parametrize("size_px", [0, 63, 8193, "large"])
def test_sizes_that_are_refused(rooms: Rooms, size_px: object) -> None:
    """A picture has 64 to 8192 pixels."""
    with pytest.raises(BadRequestError, match="'size_px' must be a whole number from 64 to 8192"):
        drawn(rooms, size_px=size_px)
