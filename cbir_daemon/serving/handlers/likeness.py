"""By what contents resemble a query, and those that do by what they show."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Likeness, Reason
from cbir_daemon.duplicates.meanings import pixels_of
from cbir_daemon.errors import BadRequestError
from cbir_daemon.kinds import Kind
from cbir_daemon.protocol.messages import Params
from cbir_daemon.search.search import LEAST_SIMILAR, Found
from cbir_daemon.search.snapshot import Map
from cbir_daemon.serving.handlers.rooms import Rooms


def asked_likeness(rooms: Rooms, params: Params) -> Likeness:
    """Return by what similar contents are found: as the request says, and by default the best there is.

    Parameters
    ----------
    rooms : Rooms
    params : Params

    Raises
    ------
    BadRequestError
        For `meaning` without a network.
    """
    by = params.choice("by", tuple(Likeness))
    if by is None:
        return Likeness.MEANING if rooms.meaning.enabled and len(rooms.meanings.table) else Likeness.LOOK
    if by == Likeness.MEANING and not rooms.meaning.enabled:
        raise BadRequestError("no network tells what pictures show", hint="name one: `model` of `[meaning]`")
    return Likeness(by)


def alike_in_meaning(
    rooms: Rooms,
    source: Path | bytes,
    limit: int,
    without: Collection[int],
    place: tuple[Map, NDArray[np.float32]] | None,
) -> list[Found] | None:
    """Return the contents that show the same kind of thing, likest first; None when the query cannot be described.

    Parameters
    ----------
    rooms : Rooms
    source : Path or bytes
        Of the query.
    limit : int
        At most so many.
    without : collection of int
        Ids of contents that are matches already.
    place : tuple of Map and ndarray, or None
        The map, and the (n_components,) position of the query on it, for distances.
    """
    side_px = rooms.meaning.side_px()
    colour = rooms.pool.read_colour(source, side_px) if side_px else None
    query = None if colour is None else rooms.meaning.describe(pixels_of(colour))
    if query is None:
        return None
    table = rooms.meanings.table.rows()
    scores = rooms.meaning.alike(query, table.numbers)
    found: list[Found] = []
    for row in np.lexsort((table.content_ids, -scores)):
        content_id, score = int(table.content_ids[row]), float(scores[row])
        if len(found) == limit or score < LEAST_SIMILAR:
            break
        if content_id not in without:
            distance = None if place is None else place[0].distance(content_id, place[1])
            found.append(Found(content_id, Kind.SIMILAR, score, distance, why=Reason.MEANING))
    return found
