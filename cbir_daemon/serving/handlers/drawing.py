"""The method `map`: the collection as a picture, or as the parts of a page."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import NotFoundError
from cbir_daemon.map.grid import (
    FILL,
    VECTOR_SIDE,
    Colour,
    Drawing,
    Grid,
    Shown,
    along_curve,
    arrange,
    atlas,
    atlas_columns,
    cell_side,
    picture,
    sample,
    shrunk,
    square_side,
)
from cbir_daemon.map.maps import MediumMap
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, path_to_json
from cbir_daemon.search.search import as_vectors
from cbir_daemon.serving.handlers.overview import why_no_model
from cbir_daemon.serving.handlers.part_queries import drawn_vector, summary_of
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, asked_map, paged
from cbir_daemon.serving.plane import group_numbers
from cbir_daemon.store import Image

PAGE = "page"
PICTURE = "png"

MAX_IMAGES = 20_000
"""Images on a map; of more, as many of each region are shown as its share."""

DEFAULT_SIZE_PX = 2400
MIN_SIZE_PX = 64
MAX_SIZE_PX = 8_192
MIN_CELL_PX = 10
"""A smaller cell of a picture shows nothing: fewer images are shown then."""

SMALL_SIDE_PX = 16
ATLAS_TILES = 1024
"""Squares of 64 pixels in one atlas: 2048 x 2048 pixels, 16 MiB once a browser has decoded it."""

GOLDEN_RATIO = 0.618034
"""Steps of hue by this share of the circle are far from each other, however many there are."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A content on the map: its files, and the number of its group of duplicates."""

    images: tuple[Image, ...]
    group: int | None


@dataclass(frozen=True, slots=True)
class _Map:
    """What is shown, in order of place along a curve through the grid."""

    places: list[_Place]
    grid: Grid
    total: int

    @property
    def groups(self) -> int:
        """Groups of duplicates of which something is shown."""
        return len({place.group for place in self.places if place.group is not None})

    def counts(self, clock: int) -> answers.MapPart:
        """Return the fields that every answer has."""
        return {
            "clock": clock,
            "images": self.total,
            "shown": len(self.places),
            "groups": self.groups,
            "grid_columns": self.grid.columns,
            "grid_rows": self.grid.rows,
        }


def draw_map(
    rooms: Rooms, request: Request, *, most_images: int = MAX_IMAGES, atlas_tiles: int = ATLAS_TILES
) -> Iterator[Reply[answers.MapPart]]:
    """Draw the collection by the two-dimensional map: one PNG, or rows and atlases for a page.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `medium` (text, "image"): whose map.  `form` ("png" or "page").  `size_px` (64 to 8192, 2400): longer side of
        the PNG at most; a page ignores it.
    most_images : int
        Images that are shown at most.
    atlas_tiles : int
        Images of an atlas.

    Yields
    ------
    Reply
        For "png" one, whose blob is the picture.  For "page" first the rows, then an atlas of 64 pixels a square for
        each `atlas_tiles` rows, last one atlas of small squares for all rows.

    Raises
    ------
    NotFoundError
        When no map is in use, or it has no two-dimensional layout.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.

    Notes
    -----
    A sample is shown of more than `most_images` images, and in a PNG when a cell would be smaller than `MIN_CELL_PX`.
    """
    params = Params(request.params)
    form = params.choice("form", (PICTURE, PAGE)) or PICTURE
    size_px = params.integer("size_px", DEFAULT_SIZE_PX, least=MIN_SIZE_PX, most=MAX_SIZE_PX)
    fitting = int(FILL * (size_px / MIN_CELL_PX) ** 2) if form == PICTURE else most_images
    shown = _arranged(rooms, asked_map(rooms, params), max(1, min(most_images, fitting)))
    counts = shown.counts(rooms.store.clock)
    if form == PICTURE:
        yield Reply(counts, _drawn(rooms, _picture(rooms, shown, size_px)))
        return
    cells = shown.grid.cells.tolist()
    places = (_place_to_json(rooms, place, cell) for place, cell in zip(shown.places, cells, strict=True))
    pages: Iterator[Reply[answers.MapPart]] = paged(places, lambda page: {**counts, "places": page})
    for reply in pages:
        yield replace(reply, more=True)
    yield from _atlases(rooms, shown, counts, atlas_tiles)


def _arranged(rooms: Rooms, asked: MediumMap, most: int) -> _Map:
    run = rooms.store.runs.active(asked.medium)
    if run is None:
        raise NotFoundError("there is no map", hint=why_no_model(rooms, asked))
    ids, xy = _flat(rooms, run.id)
    rows = sample(xy, most)
    by_content = _images(rooms, ids[rows])
    # A content may have gone since.
    rows = rows[np.isin(ids[rows], list(by_content))]
    if not len(rows):
        raise NotFoundError(
            "the map in use has no two-dimensional layout", hint="`cbir model fit` makes a map with one"
        )
    grid = arrange(xy[rows])
    order = np.argsort(along_curve(grid.cells), kind="stable")
    groups = group_numbers(rooms.groups)
    places = [_Place(tuple(by_content[content_id]), groups.get(content_id)) for content_id in ids[rows][order].tolist()]
    return _Map(places, replace(grid, cells=grid.cells[order]), len(ids))


def _flat(rooms: Rooms, run_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the contents with a place on the two-dimensional map, and the (n, 2) places."""
    flat = rooms.store.positions.flat(run_id)
    ids = np.array([content_id for content_id, _ in flat], dtype=np.int64)
    xy = np.frombuffer(b"".join(place for _, place in flat), dtype="<f4").reshape(-1, 2)
    # UMAP gives no place to what has no neighbours.
    placed = np.isfinite(xy).all(axis=1)
    return ids[placed], xy[placed]


def _images(rooms: Rooms, ids: NDArray[np.int64]) -> dict[int, list[Image]]:
    by_content: dict[int, list[Image]] = {}
    for image in rooms.store.files.images(ids.tolist()):
        by_content.setdefault(image.content.id, []).append(image)
    return by_content


def _place_to_json(rooms: Rooms, place: _Place, cell: Sequence[int]) -> answers.Place:
    first, *linked = place.images
    return {
        "column": cell[0],
        "row": cell[1],
        "path": path_to_json(first.path),
        "names": [path_to_json(image.path) for image in linked],
        "width": first.content.width_px,
        "height": first.content.height_px,
        "size": first.content.size_bytes,
        "taken": first.content.taken or None,
        "summary": summary_of(rooms, first.content),
        "group": place.group,
    }


def _picture(rooms: Rooms, shown: _Map, size_px: int) -> Drawing:
    side = square_side(cell_side(shown.grid, size_px))
    pieces = [(shrunk(vectors, side), descriptors) for vectors, descriptors in _seen(rooms, shown.places)]
    squares, descriptors = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    tiles = [
        Shown(content.width_px, content.height_px, None if place.group is None else colour_of(place.group))
        for place in shown.places
        for content in (place.images[0].content,)
    ]
    return picture(shown.grid, squares, descriptors, tiles, size_px)


def colour_of(group: int) -> Colour:
    """Return the colour of the frames of a group of duplicates."""
    red, green, blue = colorsys.hsv_to_rgb(group * GOLDEN_RATIO % 1.0, 0.85, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def _atlases(rooms: Rooms, shown: _Map, counts: answers.MapPart, tiles: int) -> Iterator[Reply[answers.MapPart]]:
    """Yield an atlas of 64 pixels a square for each so many places, and last a small one of all."""
    small: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    for number, (vectors, descriptors) in enumerate(_seen(rooms, shown.places, tiles)):
        small.append((shrunk(vectors, SMALL_SIDE_PX), descriptors))
        squares = shrunk(vectors, VECTOR_SIDE)
        described = _atlas_to_json(number * tiles, squares)
        yield Reply({**counts, "atlas": described}, _drawn(rooms, atlas(squares, descriptors)), more=True)
    squares, descriptors = (np.concatenate(arrays) for arrays in zip(*small, strict=True))
    yield Reply({**counts, "atlas": _atlas_to_json(0, squares)}, _drawn(rooms, atlas(squares, descriptors)))


def _atlas_to_json(first: int, squares: NDArray[np.uint8]) -> answers.Atlas:
    count, side = squares.shape[:2]
    columns = atlas_columns(count)
    return {"first": first, "count": count, "side_px": side, "columns": columns}


def _seen(
    rooms: Rooms, places: Sequence[_Place], tiles: int = ATLAS_TILES
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield (n, 4096) vectors of the places and their descriptors, so many at a time that an atlas holds them.

    What has gone is one grey.
    """
    gone = bytes([128]) * VECTOR_SIDE**2
    for start in range(0, len(places), tiles):
        media = {place.images[0].content.id: place.images[0].content.medium for place in places[start : start + tiles]}
        ids = list(media)
        found = {
            content_id: drawn_vector(rooms, media[content_id], vector)
            for content_id, vector in rooms.store.contents.vectors(ids).items()
        }
        yield as_vectors([found.get(content_id, gone) for content_id in ids]), descriptors_of(rooms, ids)


def descriptors_of(rooms: Rooms, content_ids: Sequence[int]) -> NDArray[np.uint8]:
    """Return the descriptors of contents, by which their squares get colours.

    Parameters
    ----------
    rooms : Rooms
    content_ids : sequence of int

    Returns
    -------
    (n, b) ndarray of uint8
        Rows of zeros where there are none; b is 0 where none are made.
    """
    appearance = rooms.searcher.medium.appearance
    if appearance is None:
        return np.zeros((len(content_ids), 0), np.uint8)
    found = rooms.store.descriptors.of(appearance.kind, content_ids)
    rows = b"".join(found.get(content_id, bytes(appearance.size)) for content_id in content_ids)
    return np.frombuffer(rows, np.uint8).reshape(len(content_ids), appearance.size)


def _drawn(rooms: Rooms, drawing: Drawing) -> bytes:
    return rooms.pool.draw_mosaic(drawing.canvas, drawing.tiles, drawing.descriptors, drawing.squares)
