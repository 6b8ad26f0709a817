"""Which files may have what a query has, by the codes of their parts.

In: the frozen codes of all parts of one medium, probes of a query.  Out: files, likeliest first.  Never here: judging,
the store, what a part is (`part_medium`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.part_medium import FileJudgement, PartMedium, Parts, Place, Probes, window_scores
from cbir_daemon.search.snapshot import Map

Judged = tuple[int, FileJudgement]

HITS_A_PROBE = 64
"""Parts that a probe finds at most: what more files than that share tells none of them apart."""

MAX_CANDIDATES = 32
"""Files that are judged, at most."""

PASSAGE_SHARE = 0.5
"""Of a query; what has less of it may have what many files have."""

BLOCK_SCORES = 4_000_000
"""Scores that are computed at once: 16 MB."""


@dataclass(frozen=True, slots=True)
class PartSnapshot:
    """The files of one medium at one moment; never changed.

    Parameters
    ----------
    ids : (n,) ndarray of int64
        Content of each part; those of one content are neighbours.
    codes : (n, windows, terms) ndarray of int8
    contents : frozenset of int
        Ids of all files, those without parts too.
    map : Map or None
        Where files lie.
    """

    ids: NDArray[np.int64]
    codes: NDArray[np.int8]
    contents: frozenset[int]
    map: Map | None = None


def ranked(snapshot: PartSnapshot, probes: Probes, floor: float) -> list[int]:
    """Return the files that have parts which the probes find, likeliest first.

    Parameters
    ----------
    snapshot : PartSnapshot
    probes : Probes
    floor : float
        Score of a part from which it is found.
    """
    content, probe, score = map(np.concatenate, zip(*_hits(snapshot, probes, floor), strict=True))
    if not len(content):
        return []
    ids, places = np.unique(content, return_inverse=True)
    queried, rows = np.unique(probes.rows, return_inverse=True)
    best = np.zeros((len(ids), len(queried)), dtype=np.float32)
    # Of a part of the query the best view counts, of a file its best part.
    np.maximum.at(best, (places, rows[probe]), score)
    # What a part of the query finds first is looked at before what many parts find second: a paragraph in a book is of
    # a text that no other page of the book is like.
    ranks = np.argsort(np.argsort(-best, axis=0, kind="stable"), axis=0, kind="stable").min(axis=1)
    order = np.lexsort((ids, -best.sum(axis=1), ranks))
    return [int(content_id) for content_id in ids[order]]


def verified(
    snapshot: PartSnapshot,
    medium: PartMedium,
    query: Parts,
    probes: Probes,
    without: int | None,
    judge: Callable[[Sequence[int]], list[Judged]],
) -> list[Judged]:
    """Return the candidates for a query as they are judged, likeliest first.

    Parameters
    ----------
    snapshot : PartSnapshot
    medium : PartMedium
    query : Parts
    probes : Probes
        Of the query.
    without : int or None
        File that is left out.
    judge : callable
        Takes files, returns each that is there with what comparing it with the query says.
    """
    files = [content_id for content_id in ranked(snapshot, probes, medium.floor) if content_id != without]
    files = files[:MAX_CANDIDATES]
    found = judge(files)
    copies = [content_id for content_id, judgement in found if judgement.is_copy]
    passages = [
        judgement.query_place for _, judgement in found if judgement.is_copy and judgement.overlap.query < PASSAGE_SHARE
    ]
    more = witnesses(snapshot, query, probes, passages, {*files, without}, medium.witnesses)
    if not more:
        return found
    # What several files have is no passage of any: only together can they be seen to have it.
    again = dict(judge([*copies, *more]))
    return [(content_id, again.get(content_id, judgement)) for content_id, judgement in found]


def witnesses(
    snapshot: PartSnapshot,
    query: Parts,
    probes: Probes,
    places: Iterable[Place],
    known: Collection[int | None],
    count: int,
) -> list[int]:
    """Return further files that may have what stands at some places of a query.

    Parameters
    ----------
    snapshot : PartSnapshot
    query : Parts
    probes : Probes
        Of the query.
    places : iterable of (float, float)
        Where it begins and ends in the query.
    known : collection of int
        Files that are left out.
    count : int
        For each place, at most.
    """
    found: dict[int, None] = {}
    for start, end in places if count else ():
        begins, ends = query.places[probes.rows, 0], query.places[probes.rows, 1]
        asked = (begins < end) & (ends > start)
        here = replace(probes, codes=probes.codes[asked], rows=probes.rows[asked], numbers=probes.numbers[asked])
        others = [content_id for content_id in ranked(snapshot, here, 0.0) if content_id not in known]
        found.update(dict.fromkeys(others[:count]))
    return list(found)


def _hits(
    snapshot: PartSnapshot, probes: Probes, least: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Yield, block by block, content, probe and score of the best parts of each probe."""
    # Of one block a probe takes as many as of all: more are ranked, none is lost.
    yield np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    windows = snapshot.codes.shape[1]
    size = max(1, BLOCK_SCORES // max(1, windows * len(probes.codes)))
    for start in range(0, len(snapshot.ids) if len(probes.codes) else 0, size):
        scores = window_scores(snapshot.codes[start : start + size], probes).max(axis=1)
        if len(scores) > HITS_A_PROBE:
            rows = np.argpartition(scores, -HITS_A_PROBE, axis=0)[-HITS_A_PROBE:]
        else:
            rows = np.broadcast_to(np.arange(len(scores))[:, None], scores.shape)
        kept = np.take_along_axis(scores, rows, axis=0)
        hit = kept >= least
        probe = np.broadcast_to(np.arange(scores.shape[1]), rows.shape)
        yield snapshot.ids[start + rows[hit]], probe[hit], kept[hit]
