"""Methods that take an image: `query`, `sheet`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Guess, Judgement, Likeness, Quadrilateral, Transform, Window
from cbir_daemon.decode import SheetCell
from cbir_daemon.duplicates.exposures import seconds_between
from cbir_daemon.duplicates.looks import QueryLooks, as_picture, trusted
from cbir_daemon.duplicates.places import READ_SIDE_PX, looked_in_place, placed_contents
from cbir_daemon.errors import BadRequestError, NotFoundError, TooPlainError
from cbir_daemon.kinds import Kind, facts_of, rank
from cbir_daemon.local_features import ASKED_SIDE_PX, AskedFeatures
from cbir_daemon.map.projection import QueryPosition
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, path_to_json
from cbir_daemon.records import IMAGE, Facts, PlacedBy
from cbir_daemon.search.parts import PARTS_SIDE_PX
from cbir_daemon.search.search import Found, as_vector
from cbir_daemon.search.snapshot import Map
from cbir_daemon.search.turns import Urgency
from cbir_daemon.serving.handlers import sites
from cbir_daemon.serving.handlers.likeness import QueryDescriptors, alike_in_meaning, asked_likeness
from cbir_daemon.serving.handlers.origins import origin_of
from cbir_daemon.serving.handlers.part_queries import (
    drawn_vector,
    found_by_parts,
    origin_by_parts,
    place_of,
    summary_of,
    summary_of_query,
)
from cbir_daemon.serving.handlers.pictures import content_of
from cbir_daemon.serving.handlers.rooms import Reply, Rooms
from cbir_daemon.serving.handlers.sites import SHARED, Elsewhere, asked_sites, awaited, begun, merged
from cbir_daemon.store import Content, Image

Position = NDArray[np.float32]

MAX_MATCHES = 1_000
DEFAULT_MATCHES = 10
MAX_SHEET_MATCHES = 60


@dataclass(frozen=True, slots=True)
class _Match:
    """An image in an answer; how it was verified is there when that was asked."""

    image: Image
    found: Found
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """The matches of a query."""

    facts: Facts
    limit: int
    placed_by: PlacedBy | None = None
    matches: list[_Match] = field(default_factory=list)
    elsewhere: Elsewhere = field(default_factory=Elsewhere)


def query(rooms: Rooms, request: Request) -> Reply[answers.Query]:
    """Return the images of the albums that are, copy or resemble an image, best first.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `path` of an image file, `digest` of an indexed content, or the bytes of an image as the blob, which come
        first.  `limit` (1 to 1000, 10): matches at most.  `kind`: only matches of this kind.  `min_score` (0 to 1, 0):
        only matches with at least this score.  `by` ("look", "grey" or "meaning"): what ranks `similar` matches.
        `explain` (flag): say how each was verified.  `sites`: only images of the sites with these names; an empty
        list asks no other site.

    Raises
    ------
    BadRequestError
        For `by` "meaning" without a network.
    NotFoundError, NoAccessError
        When there is no such file, or the daemon may not read it.
    UnreadableImageError
        When it is no image, or breaks a limit.
    TooPlainError
        When it shows almost nothing but one tone, and no indexed file has its bytes.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.
    """
    before = time.perf_counter()
    clock = rooms.store.clock
    request = _by_path(rooms, request)
    explain = Params(request.params).flag("explain")
    with rooms.processes.question():
        answer = _find(rooms, request)
        if explain and answer.facts.medium == IMAGE:
            answer = _explained(rooms, request, answer)
    matches = merged(
        [_match_to_json(rooms, answer.facts, match) for match in answer.matches],
        [sites.match_to_json(answer.facts, match) for match in answer.elsewhere.matches],
    )
    found: answers.Query = {
        "clock": clock,
        "took_ms": round((time.perf_counter() - before) * 1e3, 1),
        "query": {
            "digest": answer.facts.digest.hex(),
            "width": answer.facts.width_px,
            "height": answer.facts.height_px,
            "medium": answer.facts.medium,
            "summary": summary_of_query(rooms, answer.facts),
            "position": answer.placed_by,
        },
        "matches": matches[: answer.limit],
    }
    if answer.elsewhere.partial:
        found["partial"] = [SHARED]
    return Reply(found)


def _by_path(rooms: Rooms, request: Request) -> Request:
    """Return a request about a content as a request about the first of its files that is there."""
    if request.blob or "digest" not in request.params:
        return request
    content = content_of(rooms, Params(request.params).digest("digest"))
    paths = [image.path for image in rooms.store.files.images([content.id]) if not image.missing]
    if not paths:
        raise NotFoundError(f"{content.digest.hex()}: no file of this content is there", hint="is its disk away?")
    return Request(request.id, request.method, {**request.params, "path": path_to_json(paths[0])})


def sheet(rooms: Rooms, request: Request) -> Reply[answers.Sheet]:
    """Draw the query and its best matches, each with kind and score; the blob of the reply is a PNG.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        As for `query`, without `explain`; at most `MAX_SHEET_MATCHES` matches are drawn.

    Raises
    ------
    NotFoundError, NoAccessError, UnreadableImageError, TooPlainError
        As `query`.
    ChildError, UnavailableError
        When no worker can be started, drawing failed, or the daemon stops.
    """
    with rooms.processes.question():
        answer = _find(rooms, request)
    matches, facts = answer.matches[:MAX_SHEET_MATCHES], answer.facts
    squares = _squares(rooms, matches)
    cells = [
        SheetCell(match.image.path, _caption(match), squares.get(match.image.content.id, b"")) for match in matches
    ]
    summary = summary_of_query(rooms, facts)
    caption = ("query", f"{summary or f'{facts.width_px} x {facts.height_px}'} {facts.format}")
    own_square = drawn_vector(rooms, facts.medium, facts.vector or b"") if facts.medium != IMAGE else b""
    picture = rooms.pool.draw_sheet(_source(request), caption, cells, own_square)
    return Reply({"clock": rooms.store.clock, "matches": len(cells)}, picture)


def _squares(rooms: Rooms, matches: Sequence[_Match]) -> dict[int, bytes]:
    """Return content id -> the grey levels by which it is drawn, of matches that are no images."""
    media = {match.image.content.id: match.image.content.medium for match in matches}
    others = [content_id for content_id, medium in media.items() if medium != IMAGE]
    vectors = rooms.store.contents.vectors(others) if others else {}
    return {content_id: drawn_vector(rooms, media[content_id], vector) for content_id, vector in vectors.items()}


def _find(rooms: Rooms, request: Request) -> _Answer:
    params = Params(request.params)
    limit = params.integer("limit", DEFAULT_MATCHES, least=1, most=MAX_MATCHES)
    kind = params.choice("kind", tuple(Kind))
    min_score = params.number("min_score", 0.0, least=0.0, most=1.0)
    by = asked_likeness(rooms, params)
    asked = asked_sites(rooms, params)
    facts = rooms.pool.read_image(_source(request))
    # It answers while this site is searched.
    question = begun(rooms, facts, asked, kind)
    found, placed_by = _found_here(rooms, request, facts, kind, limit, by) if asked.own else ([], None)
    elsewhere = awaited(question)
    if found is None:
        if not elsewhere.matches:
            raise _too_plain()
        found = []
    by_content: dict[int, list[Image]] = {}
    for image in rooms.store.files.images([match.content_id for match in found]):
        by_content.setdefault(image.content.id, []).append(image)
    matches = [
        _Match(image, match)
        for match in found
        if match.score >= min_score and kind in (None, match.kind)
        for image in by_content.get(match.content_id, ())
    ]
    others = [match for match in elsewhere.matches if match.score >= min_score and kind in (None, match.kind)]
    return _Answer(facts, limit, placed_by, matches[:limit], replace(elsewhere, matches=others))


def _found_here(
    rooms: Rooms, request: Request, facts: Facts, kind: str | None, limit: int, by: Likeness | None
) -> tuple[list[Found] | None, PlacedBy | None]:
    """Return what this site has, None for a query that is too plain; and how the query got a position, if any."""
    searcher = rooms.part_searchers.of(facts.medium)
    if searcher is not None:
        return found_by_parts(rooms, searcher, facts, kind, limit)
    try:
        found, placed_by = _search(rooms, request, facts, kind, limit, by)
    except TooPlainError:
        return None, None
    return _looked_at(rooms, request, facts, found, kind), placed_by


def _too_plain() -> TooPlainError:
    return TooPlainError(
        "too plain to match: the image shows almost nothing but one tone",
        hint="only a file with the very same bytes would be found",
    )


def _explained(rooms: Rooms, request: Request, answer: _Answer) -> _Answer:
    """Return an answer with how each match was verified: by the whole query, or by the part that shows it.

    What local features found was never verified by its vector.
    """
    asked: dict[Window | Quadrilateral | None, list[int]] = {}
    for match in (match for match in answer.matches if not match.found.features):
        asked.setdefault(match.found.compared, []).append(match.found.content_id)
    judgements = {
        (part, content_id): judgement
        for part, vector in _vectors(rooms, request, answer.facts, list(asked)).items()
        for content_id, judgement in rooms.searcher.judgements(vector, list(dict.fromkeys(asked[part]))).items()
    }
    matches = [
        replace(match, judgement=judgements.get((match.found.compared, match.found.content_id)))
        for match in answer.matches
    ]
    return replace(answer, matches=matches)


def _vectors(
    rooms: Rooms, request: Request, facts: Facts, parts: Sequence[Window | Quadrilateral | None]
) -> dict[Window | Quadrilateral | None, bytes]:
    """Return the numbers of parts of a query, of which None is the whole; without those that cannot be read again."""
    assert facts.vector is not None
    vectors: dict[Window | Quadrilateral | None, bytes] = {part: facts.vector for part in parts if part is None}
    shown = [part for part in parts if part is not None]
    medium = rooms.searcher.medium.picture_parts
    grey = rooms.pool.read_grey(_source(request), PARTS_SIDE_PX) if shown and medium is not None else None
    if medium is not None and grey is not None:
        vectors |= {part: medium.part_vector(as_picture(grey), part).tobytes() for part in shown}
    return vectors


def _source(request: Request) -> Path | bytes:
    if request.blob:
        return request.blob
    if "path" not in request.params:
        raise BadRequestError("a query needs a 'path' or the bytes of an image", hint="the image sent may be empty")
    return Path(os.fsdecode(Params(request.params).path("path")))


def _search(
    rooms: Rooms, request: Request, facts: Facts, kind: str | None, limit: int, by: Likeness | None
) -> tuple[list[Found], PlacedBy | None]:
    """Return exact, then copies, then what resembles, each content once; and how the query got a position, if any."""
    assert facts.vector is not None
    same = rooms.store.contents.by_digest(facts.digest)
    if rooms.searcher.medium.is_plain(as_vector(facts.vector)):
        if same is None:
            raise _too_plain()
        return _exact(same, 0.0), None
    if kind is not None and facts_of(kind).has_same_bytes:
        return _exact(same, 0.0), None
    snapshot = rooms.searcher.snapshot
    similar = kind is None or facts_of(kind).is_by_position
    descriptors = QueryDescriptors(rooms, _source(request), facts)
    placed = _position(rooms, snapshot.map, facts, descriptors, same) if similar else None
    position = None if placed is None else placed.coordinates
    if similar and by in (None, Likeness.MEANING) and descriptors.meaning is not None:
        found = rooms.searcher.search(facts.vector, position, 0, snapshot)
        known = {match.content_id for match in found}
        found += alike_in_meaning(rooms, snapshot, descriptors, by, limit, known, position)
    else:
        look = descriptors.look if similar and by is not Likeness.GREY else None
        found = rooms.searcher.search(facts.vector, position, limit if similar else 0, snapshot, look)
    exact = _exact(same, None if position is None else 0.0)
    found = exact + [match for match in found if same is None or match.content_id != same.id]
    return found, None if placed is None else placed.placed_by


def _exact(same: Content | None, map_distance: float | None) -> list[Found]:
    """Return the content that has the query's bytes, if there is one; its distance on the map is 0 or not known."""
    return [] if same is None else [Found(same.id, Kind.EXACT, 1.0, map_distance)]


def _looked_at(rooms: Rooms, request: Request, facts: Facts, found: list[Found], kind: str | None) -> list[Found]:
    """Return the matches after a look at the files of the first copies, best first.

    Where the whole query is a copy of nothing, its local features are looked up, and then its parts.
    """
    source = _source(request)
    looks = QueryLooks(
        rooms.store,
        rooms.pool,
        rooms.searcher.second_look(Urgency.QUESTION),
        rooms.searcher.medium.picture_parts,
        facts,
        lambda side_px: rooms.pool.read_grey(source, side_px),
    )
    found = _after_looks(rooms, looks, found)
    if kind is None or facts_of(kind).is_paired:
        for more in (_by_features, _by_parts):
            if not _has_copy(found):
                found = _joined(more(rooms, looks, source), found)
    # Those of one kind keep their order.
    return sorted(found, key=lambda match: rank(match.kind))


def _has_copy(found: Sequence[Found]) -> bool:
    return any(facts_of(match.kind).shows_same_exposure for match in found)


def _after_looks(rooms: Rooms, looks: QueryLooks, found: list[Found]) -> list[Found]:
    """Return the matches, those copies as shots whose files show another exposure."""
    if not rooms.config.match.look:
        return found
    looked = iter(looks.looked([match for match in found if facts_of(match.kind).is_paired]))
    return [next(looked) if facts_of(match.kind).is_paired else match for match in found]


def _by_features(rooms: Rooms, looks: QueryLooks, source: Path | bytes) -> list[Found]:
    """Return the copies and shots that local features find."""
    second_look, parts = rooms.searcher.second_look(Urgency.QUESTION), rooms.searcher.medium.picture_parts
    if not len(rooms.features.index) or second_look is None or parts is None:
        return []
    data, picture = rooms.pool.read_features(source, ASKED_SIDE_PX, asked=True), looks.picture(READ_SIDE_PX)
    if data is None or picture is None:
        return []
    placed = placed_contents(rooms.features.index, rooms.store.descriptors, trusted(AskedFeatures.from_bytes, data))
    found = looked_in_place(placed, picture, looks.files.picture, second_look, parts)
    least = rooms.config.match.copy_threshold or 0.0
    return [match for match in found if match.score >= least or not facts_of(match.kind).shows_same_exposure]


def _by_parts(rooms: Rooms, looks: QueryLooks, _: Path | bytes) -> list[Found]:
    """Return the copies and shots that parts of the query show."""
    picture = looks.picture(PARTS_SIDE_PX)
    if picture is None:
        return []
    searches = rooms.searcher.searches(Urgency.QUESTION)
    copies = searches.in_parts(picture) or searches.in_turned_parts(picture)
    return _after_looks(rooms, looks, copies)


def _joined(more: Sequence[Found], found: Sequence[Found]) -> list[Found]:
    """Return more matches, then those found before of other contents."""
    ids = {match.content_id for match in more}
    distances = {match.content_id: match.map_distance for match in found}
    more = [replace(match, map_distance=distances.get(match.content_id)) for match in more]
    return [*more, *(match for match in found if match.content_id not in ids)]


def _position(
    rooms: Rooms, current: Map | None, facts: Facts, descriptors: QueryDescriptors, same: Content | None
) -> QueryPosition | None:
    if current is None or facts.vector is None:
        return None
    stored = None if same is None else current.position_of(same.id)
    if stored is not None:
        return QueryPosition(stored, PlacedBy.INDEXED)
    return rooms.maps.of(IMAGE).projection.position(facts.vector, descriptors.of, current.run_id)


def _match_to_json(rooms: Rooms, query: Facts, match: _Match) -> answers.Match:
    image, found = match.image, match.found
    later_s = seconds_between(image.content.taken, query.taken)
    described: answers.Match = {
        "path": path_to_json(image.path),
        "digest": image.content.digest.hex(),
        "kind": found.kind.value,
        "look": None if found.look is None else found.look.value,
        "features": found.features or None,
        "part": None if found.part is None else _window_to_json(found.part),
        "why": None if found.why is None else found.why.value,
        "score": round(found.score, 4),
        "map_distance": None if found.map_distance is None else round(found.map_distance, 4),
        "transform": _transform_to_json(found.transform),
        "overlap": {"query": round(found.overlap.query, 3), "match": round(found.overlap.match, 3)},
        "tone": {"gain": found.tone.gain, "offset": found.tone.offset, "shift": found.tone.shift},
        "around": found.around.value,
        "match_around": found.match_around.value,
        "later_s": later_s,
        "origin": origin_by_parts(rooms, query, image, found) or origin_of(query, image, found, later_s),
        "width": image.content.width_px,
        "height": image.content.height_px,
        "size": image.content.size_bytes,
        "medium": image.content.medium,
        "summary": summary_of(rooms, image.content),
        "place": place_of(rooms, image, found),
    }
    if match.judgement is not None:
        described["explanation"] = _explanation_to_json(match.judgement)
    if image.missing:
        described["missing"] = True
    return described


def _transform_to_json(transform: Transform) -> answers.Transform:
    return {"flip": transform.flip, "turn": transform.turn, "angle": transform.angle, "invert": transform.invert}


def _explanation_to_json(judgement: Judgement) -> answers.Explanation:
    """Return how a match was verified; `score` is what the verification gave, whatever ranked the match."""
    reached = judgement.explanation
    return {
        "score": judgement.score,
        "outcome": reached.outcome.value,
        "guess": _guess_to_json(reached.guess),
        "scale_x": round(reached.scale_x, 4),
        "scale_y": round(reached.scale_y, 4),
        "correlation": round(reached.correlation, 4),
        "area_ratio": round(reached.area_ratio, 4),
        "cost": round(reached.cost, 4),
        "strip": reached.strip,
        "evidence_px": None if reached.evidence_px is None else round(reached.evidence_px, 4),
        "evidence_needed_px": round(reached.evidence_needed_px, 4),
        "threshold": round(reached.threshold, 4),
    }


def _guess_to_json(guess: Guess) -> answers.Guess:
    return {
        "family": guess.family.value,
        "query_window": _window_to_json(guess.query_window),
        "stored_window": _window_to_json(guess.stored_window),
        "flip": guess.flip,
        "turn": guess.turn,
        "angle": round(guess.angle, 4),
        "invert": guess.invert,
    }


def _window_to_json(window: Window) -> answers.Window:
    return {
        "left": round(window.left, 4),
        "top": round(window.top, 4),
        "right": round(window.right, 4),
        "bottom": round(window.bottom, 4),
    }


def _caption(match: _Match) -> tuple[str, ...]:
    found = match.found
    why = "" if found.why is None else f" by {found.why}"
    return (f"{found.kind} {found.score:.3f}{why}", os.fsdecode(match.image.path.rpartition(b"/")[2]))
