"""Methods that show the map of any collection piece by piece: `map_grid`, `map_tile`, `map_inside`, `map_place`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.errors import BadRequestError, NotFoundError
from cbir_daemon.map.grid import Colour, Shown, shrunk, square_side, tile
from cbir_daemon.map.maps import MediumMap
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, path_to_json
from cbir_daemon.records import IMAGE
from cbir_daemon.search.search import as_vectors
from cbir_daemon.serving.handlers.drawing import colour_of, descriptors_of
from cbir_daemon.serving.handlers.overview import why_no_model
from cbir_daemon.serving.handlers.part_queries import drawn_vector, summary_of
from cbir_daemon.serving.handlers.pictures import content_of
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, asked_map, paged
from cbir_daemon.serving.plane import CELL_PX, TILE_PX, Piece, Plane
from cbir_daemon.store import Image

PLACE = (("level", 20), ("column", 2**20), ("row", 2**20))
"""What says which tile, and the most that any map has."""

MAX_CORNERS = 2_000
MAX_INSIDE = 20_000
"""Images that `map_inside` lists at most."""

LIGHT, DARK = (247, 247, 245), (20, 21, 23)
"""Between the squares, as the page itself."""

GONE_GREY = 128


def map_grid(rooms: Rooms, request: Request) -> Reply[answers.MapGrid]:
    """Return how large the map is, in cells and in levels of tiles.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `medium` (text, "image"): whose map.

    Raises
    ------
    NotFoundError
        When no map is in use, or it has no two-dimensional layout.
    """
    plane = _present(rooms, asked_map(rooms, Params(request.params)))
    rows, columns = plane.contents.shape
    return Reply(
        {
            "run": plane.name,
            "images": plane.images,
            "columns": columns,
            "rows": rows,
            "levels": plane.levels,
            "tile_px": TILE_PX,
            "cell_px": CELL_PX,
        }
    )


def map_tile(rooms: Rooms, request: Request) -> Reply[answers.MapTile]:
    """Draw a tile of the map; the blob is a WebP.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `run` (text): of `map_grid`, by default that of images in use.  `level`, `column`, `row` (integers).  `dark`
        (flag): on a dark ground.

    Raises
    ------
    NotFoundError
        When the map is another one now, or nothing lies there.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.
    """
    params = Params(request.params)
    level, column, row = (params.integer(name, 0, most=most) for name, most in PLACE)
    ground = DARK if params.flag("dark") else LIGHT
    plane = _of_run(rooms, params.text("run"))
    piece = plane.piece(level, column, row) if level < plane.levels else None
    if piece is None or not len(piece.content_ids):
        raise NotFoundError("nothing lies there on the map")
    return Reply({"images": len(piece.content_ids)}, _drawn(rooms, plane, piece, ground))


def map_inside(rooms: Rooms, request: Request) -> Iterator[Reply[answers.MapInside]]:
    """Return the images whose cells lie in a polygon, in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `run` (text): of `map_grid`, by default that of images in use.  `polygon` (list of lists of two numbers): at
        least three corners, in cells.

    Raises
    ------
    NotFoundError
        When the map is another one now.
    BadRequestError
        When the polygon is none.
    """
    params = Params(request.params)
    run, polygon = params.text("run"), _polygon(params.items("polygon", MAX_CORNERS))
    plane = _of_run(rooms, run)
    cells = plane.inside(polygon)[:MAX_INSIDE]
    ids = plane.contents[cells[:, 1], cells[:, 0]].tolist()
    files = _files(rooms, ids)
    found = zip(ids, cells.tolist(), strict=True)
    rows = (
        _placed(rooms, plane, content_id, files[content_id], cell) for content_id, cell in found if content_id in files
    )
    return paged(rows, lambda page: {"images": page})


def map_place(rooms: Rooms, request: Request) -> Reply[answers.MapPlace]:
    """Return the cell of a content.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `digest` (text): of the content.

    Raises
    ------
    NotFoundError
        When no map is in use, or the content is not on it.
    """
    content = content_of(rooms, Params(request.params).digest("digest"))
    plane = _present(rooms, rooms.maps.of(content.medium))
    place = plane.place(content.id)
    if place is None:
        raise NotFoundError(
            "this image is not on the map", hint="a new image is placed soon; `cbir settle` waits for it"
        )
    return Reply({"run": plane.name, "medium": content.medium, "column": place[0], "row": place[1]})


def _present(rooms: Rooms, asked: MediumMap) -> Plane:
    plane = rooms.planes.present(asked.medium)
    if plane is None:
        raise NotFoundError("there is no map", hint=why_no_model(rooms, asked) or "`cbir model fit` makes one")
    return plane


def _of_run(rooms: Rooms, name: str) -> Plane:
    """Return the plane of a name, of any medium; without a name that of images."""
    if not name:
        return _present(rooms, rooms.maps.of(IMAGE))
    for each in rooms.maps:
        plane = rooms.planes.present(each.medium)
        if plane is not None and plane.name == name:
            return plane
    raise NotFoundError(f"the map {name!r} is not in use any more", hint="ask `map_grid` again")


def _polygon(corners: Sequence[object]) -> NDArray[np.float64]:
    try:
        polygon = np.array(corners, dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError) as error:
        raise BadRequestError("parameter 'polygon' must be a list of pairs of numbers") from error
    if len(polygon) < 3 or len(polygon) != len(corners) or not np.isfinite(polygon).all():
        raise BadRequestError("parameter 'polygon' must have at least three corners, pairs of numbers")
    return polygon


def _files(rooms: Rooms, content_ids: Sequence[int]) -> dict[int, Image]:
    """Return content id -> the first of its files."""
    files: dict[int, Image] = {}
    for image in rooms.store.files.images(content_ids):
        files.setdefault(image.content.id, image)
    return files


def _placed(rooms: Rooms, plane: Plane, content_id: int, image: Image, cell: Sequence[int]) -> answers.PlacedImage:
    content = image.content
    return {
        "column": cell[0],
        "row": cell[1],
        "path": path_to_json(image.path),
        "digest": content.digest.hex(),
        "width": content.width_px,
        "height": content.height_px,
        "size": content.size_bytes,
        "taken": content.taken or None,
        "summary": summary_of(rooms, content),
        "group": plane.groups.get(content_id),
    }


def _drawn(rooms: Rooms, plane: Plane, piece: Piece, ground: Colour) -> bytes:
    ids = piece.content_ids.tolist()
    files = _files(rooms, ids)
    vectors = {
        content_id: drawn_vector(rooms, files[content_id].content.medium if content_id in files else IMAGE, vector)
        for content_id, vector in rooms.store.contents.vectors(ids).items()
    }
    gone = bytes([GONE_GREY]) * CELL_PX**2
    squares = shrunk(as_vectors([vectors.get(content_id, gone) for content_id in ids]), square_side(piece.square_px))
    shown = [_shown(plane, content_id, files.get(content_id)) for content_id in ids]
    drawing = tile(piece.cells, squares, descriptors_of(rooms, ids), shown, TILE_PX, piece.square_px, ground)
    return rooms.pool.draw_mosaic(drawing.canvas, drawing.tiles, drawing.descriptors, drawing.squares)


def _shown(plane: Plane, content_id: int, image: Image | None) -> Shown:
    group = plane.groups.get(content_id)
    frame = None if group is None else colour_of(group)
    return Shown(1, 1, frame) if image is None else Shown(image.content.width_px, image.content.height_px, frame)
