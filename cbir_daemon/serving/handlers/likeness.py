"""By what contents resemble a query, and those that do by what they show."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Likeness, Reason
from cbir_daemon.duplicates.meanings import pixels_of
from cbir_daemon.errors import BadRequestError
from cbir_daemon.kinds import Kind
from cbir_daemon.meaning import NAME
from cbir_daemon.protocol.messages import Params
from cbir_daemon.records import DescriptorKind, Facts
from cbir_daemon.search.search import LEAST_SIMILAR, Found
from cbir_daemon.search.snapshot import SearchSnapshot
from cbir_daemon.serving.handlers.rooms import Rooms

LOOK_SHARE = 0.25
"""Of the score where meaning and look rank together.  On `shots` precision at 10 is 0.77 then, with meaning alone 0.75;
on `clothing`, where looks say little, 0.69 with and without."""

RANKED_AGAIN = 200
"""Likeliest matches that are ranked again by what they have in common: 4 ms.  50 find less, 400 no more."""


def asked_likeness(rooms: Rooms, params: Params) -> Likeness | None:
    """Return by what similar contents are found: as the request says; None for meaning and look together.

    By default that is the best there is: None with a network, the look without one.

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
        return None if rooms.meaning.enabled and len(rooms.meanings.table) else Likeness.LOOK
    if by == Likeness.MEANING and not rooms.meaning.enabled:
        raise BadRequestError(
            "pictures are not described by meaning", hint="set `model` in `[meaning]`, or ask by look or grey"
        )
    return Likeness(by)


class QueryDescriptors:
    """The descriptors of a query, each made when it is first asked for.

    Parameters
    ----------
    rooms : Rooms
    source : Path or bytes
        Of the query.
    facts : Facts
        What was read of it.
    """

    def __init__(self, rooms: Rooms, source: Path | bytes, facts: Facts) -> None:
        self._rooms = rooms
        self._source = source
        self._facts = facts

    @functools.cached_property
    def look(self) -> bytes | None:
        """How the query looks; None for what cannot be looked at."""
        return self._facts.descriptor or None if self._rooms.searcher.medium.appearance is not None else None

    @functools.cached_property
    def meaning(self) -> bytes | None:
        """What the query shows; None when no network can say so."""
        network = self._rooms.meaning
        side_px = network.side_px()
        colour = self._rooms.pool.read_colour(self._source, side_px) if side_px else None
        numbers = None if colour is None else network.describe(pixels_of(colour))
        return None if numbers is None else numbers.tobytes()

    def of(self, kind: DescriptorKind) -> bytes | None:
        """Return the descriptor of a kind; None when there is none.

        Parameters
        ----------
        kind : DescriptorKind
            Of the look or of the network in use.
        """
        return self.meaning if kind.name == NAME else self.look


def alike_in_meaning(
    rooms: Rooms,
    snapshot: SearchSnapshot,
    descriptors: QueryDescriptors,
    asked: Likeness | None,
    limit: int,
    without: Collection[int],
    position: NDArray[np.float32] | None,
) -> list[Found]:
    """Return the contents that show the same kind of thing as a query, likest first.

    Parameters
    ----------
    rooms : Rooms
    snapshot : SearchSnapshot
        Has the map and the looks.
    descriptors : QueryDescriptors
        With a `meaning`.
    asked : Likeness or None
        `Likeness.MEANING` ranks by meaning alone, None by the look besides.
    limit : int
        At most so many.
    without : collection of int
        Ids of contents that are matches already.
    position : (n_components,) ndarray of float32 or None
        Of the query on the map, for distances.
    """
    assert descriptors.meaning is not None
    table = rooms.meanings.table.rows()
    meaning = np.frombuffer(descriptors.meaning, np.int8)
    by_meaning = rooms.meaning.alike(meaning, table.numbers)
    look = None if asked is Likeness.MEANING else descriptors.look
    by_look = _alike_in_look(rooms, snapshot, look, table.content_ids)
    scores = _together(by_meaning, by_look)
    rows = np.lexsort((table.content_ids, -scores))[: max(RANKED_AGAIN, limit + len(without))]
    resembling = rows[(scores[rows] >= LEAST_SIMILAR) & ~np.isin(table.content_ids[rows], list(without))]
    # What is no match of its own still tells what the matches have in common.
    by_meaning[rows] = rooms.meaning.alike_among(meaning, table.numbers[rows])
    scores[rows] = _together(by_meaning[rows], by_look[rows])
    best = resembling[np.lexsort((table.content_ids[resembling], -scores[resembling]))][:limit]
    found = [_similar(snapshot, int(table.content_ids[row]), float(scores[row]), position) for row in best]
    looking = set(table.content_ids[best[by_look[best] > by_meaning[best]]].tolist())
    return _with_reasons(rooms, snapshot, look, found, looking)


def _together(by_meaning: NDArray[np.float32], by_look: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores by meaning and look; by meaning alone where there is no look (NaN)."""
    together = (1 - LOOK_SHARE) * by_meaning + LOOK_SHARE * by_look
    return np.where(np.isnan(by_look), by_meaning, together).astype(np.float32)


def _similar(snapshot: SearchSnapshot, content_id: int, score: float, position: NDArray[np.float32] | None) -> Found:
    distance = _distance(snapshot, content_id, position)
    return Found(content_id, Kind.SIMILAR, score, distance, why=Reason.MEANING)


def _alike_in_look(
    rooms: Rooms, snapshot: SearchSnapshot, look: bytes | None, content_ids: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return how alike contents look, (n,); NaN where that cannot be told."""
    appearance = rooms.searcher.medium.appearance
    if look is None or appearance is None or snapshot.looks is None:
        return np.full(len(content_ids), np.nan, dtype=np.float32)
    return snapshot.looks.scores_of(appearance, np.frombuffer(look, np.uint8), content_ids)


def _distance(snapshot: SearchSnapshot, content_id: int, position: NDArray[np.float32] | None) -> float | None:
    return None if snapshot.map is None or position is None else snapshot.map.distance(content_id, position)


def _with_reasons(
    rooms: Rooms, snapshot: SearchSnapshot, look: bytes | None, found: Sequence[Found], looking: Collection[int]
) -> list[Found]:
    """Return matches, those that look more alike than they mean with what is alike in their looks."""
    appearance = rooms.searcher.medium.appearance
    ids = [match.content_id for match in found if match.content_id in looking]
    if look is None or appearance is None or snapshot.looks is None or not ids:
        return list(found)
    reasons = snapshot.looks.reasons(appearance, np.frombuffer(look, np.uint8), ids)
    return [replace(match, why=reasons.get(match.content_id, match.why)) for match in found]
