"""Queries by files that are compared by their parts: what is found, and what is said of it.

In: rooms, facts of a query.  Out: contents that are, copy or resemble it; the fields of answers that images have not.
Never here: images.
"""

from __future__ import annotations

from dataclasses import replace

from cbir_daemon.duplicates.part_pairing import facts_of_content
from cbir_daemon.errors import TooPlainError
from cbir_daemon.kinds import Kind, facts_of
from cbir_daemon.map.projection import QueryPosition
from cbir_daemon.protocol import answers
from cbir_daemon.records import Facts, PlacedBy
from cbir_daemon.search.part_searcher import PartSearcher, read_parts
from cbir_daemon.search.search import Found, as_vector
from cbir_daemon.serving.handlers.rooms import Rooms
from cbir_daemon.store import Content, Image

Place = tuple[float, float]

PATH = "{path}"
"""What stands for the path of a match, as in `origins`."""


def found_by_parts(
    rooms: Rooms, searcher: PartSearcher, facts: Facts, kind: str | None, limit: int
) -> tuple[list[Found], PlacedBy | None]:
    """Return what is, copies or resembles a file, best first, each content once; and how it got a position, if any.

    Parameters
    ----------
    rooms : Rooms
    searcher : PartSearcher
        Of the file's medium.
    facts : Facts
        Of the file.
    kind : str or None
        Only matches of this kind.
    limit : int
        Matches that resemble, at most.

    Raises
    ------
    TooPlainError
        When the file says too little to match anything, and no indexed file has its bytes.
    """
    assert facts.vector is not None
    same = rooms.store.contents.by_digest(facts.digest)
    exact = [] if same is None else [Found(same.id, Kind.EXACT, 1.0, None)]
    parts = read_parts(facts)
    if searcher.medium.is_plain(parts):
        if same is None:
            raise TooPlainError(
                f"too plain to match: there is too little in this {searcher.medium.noun}",
                hint="only a file with the very same bytes would be found",
            )
        return exact, None
    if kind is not None and facts_of(kind).has_same_bytes:
        return exact, None
    found = exact + searcher.copies(parts, without=None if same is None else same.id)
    if kind is not None and not facts_of(kind).is_by_position:
        return found, None
    placed = _position(rooms, searcher, facts.vector, same)
    position = None if placed is None else placed.coordinates
    known = {match.content_id for match in found}
    found = [replace(match, map_distance=searcher.distance(match.content_id, position)) for match in found]
    found += searcher.similar(facts.vector, parts, position, limit, known)
    return found, None if placed is None else placed.placed_by


def _position(rooms: Rooms, searcher: PartSearcher, vector: bytes, same: Content | None) -> QueryPosition | None:
    """Return where a file lies on the map of its medium; None without a map."""
    current = searcher.snapshot.map
    if current is None:
        return None
    stored = None if same is None else current.position_of(same.id)
    if stored is not None:
        return QueryPosition(stored, PlacedBy.INDEXED)
    return rooms.maps.of(searcher.medium.name).projection.position(vector, lambda _: None, current.run_id)


def place_of(rooms: Rooms, image: Image, found: Found) -> answers.PartPlace | None:
    """Return where in the query and in a match their common part is; None where that is not told.

    Parameters
    ----------
    rooms : Rooms
    image : Image
        The match.
    found : Found
        How the two compare.
    """
    searcher = rooms.part_searchers.of(image.content.medium)
    if searcher is None or found.lying is None:
        return None
    return {
        "query": list(_rounded(found.lying.query_place)),
        "match": list(_rounded(found.lying.match_place)),
        "unit": searcher.medium.unit,
    }


def _rounded(place: Place) -> Place:
    return round(place[0], 3), round(place[1], 3)


def origin_by_parts(rooms: Rooms, query: Facts, image: Image, found: Found) -> str | None:
    """Return where a query is from, in the words of its medium; None where that says nothing.

    Parameters
    ----------
    rooms : Rooms
    query : Facts
    image : Image
        The match.
    found : Found
        How the two compare.
    """
    searcher = rooms.part_searchers.of(image.content.medium)
    if searcher is None or found.lying is None:
        return None
    asked = read_parts(query).facts
    said = searcher.medium.words(found.lying, PATH, query=asked, match=facts_of_content(image.content))
    return f"{said}; its album is missing" if image.missing else said


def drawn_vector(rooms: Rooms, medium: str, vector: bytes) -> bytes:
    """Return the grey levels by which a whole file is drawn: 64 rows of 64.

    Parameters
    ----------
    rooms : Rooms
    medium : str
        Of the file.
    vector : bytes
        Its 4096 numbers.
    """
    searcher = rooms.part_searchers.of(medium)
    return vector if searcher is None else searcher.medium.picture(as_vector(vector)).tobytes()


def summary_of(rooms: Rooms, content: Content) -> str:
    """Return what is said of a content in the place of width and height; empty for an image.

    Parameters
    ----------
    rooms : Rooms
    content : Content
    """
    searcher = rooms.part_searchers.of(content.medium)
    return "" if searcher is None else searcher.medium.summary(facts_of_content(content))


def summary_of_query(rooms: Rooms, facts: Facts) -> str:
    """Return what a medium says of a file that was read; empty for an image.

    Parameters
    ----------
    rooms : Rooms
    facts : Facts
    """
    searcher = rooms.part_searchers.of(facts.medium)
    return "" if searcher is None else searcher.medium.summary(read_parts(facts).facts)
