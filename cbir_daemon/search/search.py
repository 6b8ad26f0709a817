"""Which contents are copies of a vector, and which resemble it: candidate generation, then geometric verification.

In: a snapshot, a reader of vectors, a query.  Out: contents with kind, score and distance.  Never here: files, threads,
changes of the state, what a client asked for.

Nothing here knows the writer of the snapshot, so a search may run in another process: over a
snapshot that `published` brings there, and vectors that any reader of the index gives.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import (
    Around,
    Judgement,
    LookedAt,
    Overlap,
    Quadrilateral,
    Reason,
    Tone,
    Trace,
    Transform,
    Window,
)
from cbir_daemon.kinds import Kind
from cbir_daemon.medium import Guesses, Medium
from cbir_daemon.part_medium import FileJudgement
from cbir_daemon.records import VECTOR_BYTES
from cbir_daemon.search.neighborhood import neighborhood_width
from cbir_daemon.search.snapshot import SearchSnapshot

MAX_NEAR = 300
"""Most contents taken from the map, so that a large collection costs no more: reading and ranking these takes 10 ms."""

MIN_NEAR = 50
"""Fewest contents taken from the map, so that a small collection has something to rank."""

MAX_CANDIDATES = 120
"""Candidates from the codes for a copy, at most: a picture with more copies than that has its likeliest ones."""

QUERY_ROUND = 24
"""Candidates verified at once for a query: about 20 ms; the true one is among them in 99 % of the hardest edits."""

PAIRING_ROUND = 12
"""Candidates verified at once when copies inside the albums are looked up, one content after the other."""

JOINED, JOINED_ROUND = 24, 8
"""Candidates of a content when all are looked up among each other, and how many at once: on while half are copies."""

LEAST_SIMILAR = 0.25
"""Score by looks below which a content does not resemble a query: three of four would show another kind of thing."""

MAP_CANDIDATES = 8
"""Nearest contents on the map that are verified besides."""


@dataclass(frozen=True, slots=True)
class Found:
    """A content that a search returns.

    Parameters
    ----------
    content_id : int
    kind : Kind
    score : float
        0 to 1.
    map_distance : float or None
        None when either of the two has no position on the map.
    look : LookedAt or None
        By what a copy was told from another shot; None for what is neither.
    look_version : int
        Of the comparison of the files; 0 when it has not taken place.
    part : Window or None
        Where in the query it was found; None for the whole.
    own_traces, traces : tuple of Trace
        What was done to the query, and to the content, that was not done to the other of the two, as the files tell.
    cut : Quadrilateral or None
        What of the query was compared, when that was not upright; None for the part.
    features : int
        Local features by which it was found; 0 where its vector was.
    why : Reason or None
        What makes it resemble the query most; None for what does more than resemble.
    affine : tuple of float
        From what was compared to the content; see `Judgement`.
    match_around : Around
        What was put around the query to get the content, as far as a look at the files told.
    lying : FileJudgement or None
        How the query lies in the content, of a medium that compares parts.
    """

    content_id: int
    kind: Kind
    score: float
    map_distance: float | None
    transform: Transform = field(default_factory=Transform)
    overlap: Overlap = field(default_factory=Overlap)
    tone: Tone = field(default_factory=Tone)
    around: Around = Around.NOTHING
    look: LookedAt | None = None
    look_version: int = 0
    part: Window | None = None
    own_traces: tuple[Trace, ...] = ()
    traces: tuple[Trace, ...] = ()
    cut: Quadrilateral | None = None
    features: int = 0
    why: Reason | None = None
    affine: tuple[float, ...] = ()
    match_around: Around = Around.NOTHING
    lying: FileJudgement | None = None

    @property
    def compared(self) -> Window | Quadrilateral | None:
        """The part of the query that was compared; None for the whole."""
        return self.part if self.cut is None else self.cut


class VectorReader(Protocol):
    """Reads the vectors of contents, as `store.contents` does."""

    def vectors(self, content_ids: Sequence[int], /) -> dict[int, bytes]:
        """Return content id -> vector of 4096 bytes; contents that have gone are left out."""
        ...


@dataclass(frozen=True, slots=True)
class Search:
    """The searches of one snapshot; any thread, and any process, may call them.

    Parameters
    ----------
    snapshot : SearchSnapshot
    store : VectorReader
    copy_threshold : float or None
        Lowest score of a copy, 0 to 1; None is the default of the medium.
    min_near : int
        Contents near on the map that are compared at least.
    """

    snapshot: SearchSnapshot
    store: VectorReader
    copy_threshold: float | None = None
    min_near: int = MIN_NEAR

    @property
    def medium(self) -> Medium:
        """The medium of the snapshot's vectors, which compares them."""
        return self.snapshot.collection.medium

    def copies(self, vector: bytes, *, without: int | None = None) -> list[Found]:
        """Return the verified copies of a vector inside the collection, best first.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        without : int, optional
            Content id to leave out: the one the vector belongs to.
        """
        query = as_vector(vector)
        ranked = self.snapshot.collection.copy_candidates(query, MAX_CANDIDATES)
        return self._verified(query, [content_id for content_id, _ in ranked if content_id != without], PAIRING_ROUND)

    def joined(self, contents: Sequence[tuple[int, bytes]], known: Sequence[Container[int]]) -> list[list[Found]]:
        """Return the verified copies of each of several contents that are looked up among each other.

        Parameters
        ----------
        contents : sequence of (content id, vector)
            In the snapshot; a pair of which one side is not looked up may be missed.
        known : sequence of container of int
            For each content the ids that need not be verified: they have found it before.

        Notes
        -----
        Any number of threads.  A sixth of the work of `copies`.
        """
        queries = as_vectors([vector for _, vector in contents])
        candidates = self.snapshot.collection.joint_candidates(queries, JOINED)
        return [
            self._joined(content_id, vector, ids, guesses, skipped)
            for (content_id, vector), (ids, guesses), skipped in zip(contents, candidates, known, strict=True)
        ]

    def _joined(
        self, content_id: int, vector: bytes, ids: NDArray[np.int64], guesses: Guesses, known: Container[int]
    ) -> list[Found]:
        query, copies = as_vector(vector), list[Found]()
        candidate_rows = [
            row
            for row, candidate_id in enumerate(ids.tolist())
            if candidate_id != content_id and candidate_id not in known
        ]
        for start in range(0, len(candidate_rows), JOINED_ROUND):
            stored = self.store.vectors([int(ids[row]) for row in candidate_rows[start : start + JOINED_ROUND]])
            rows = [row for row in candidate_rows[start : start + JOINED_ROUND] if int(ids[row]) in stored]
            others = as_vectors([stored[int(ids[row])] for row in rows])
            starts = guesses.take(np.array(rows, dtype=np.int64))
            judged = self.medium.judge(query, others, threshold=self.copy_threshold, guesses=starts)
            found = [
                _copy(int(ids[row]), judgement)
                for row, judgement in zip(rows, judged, strict=True)
                if judgement.is_copy
            ]
            copies += found
            if len(found) <= JOINED_ROUND // 2:
                return copies
        # So many copies that there may be more.
        return self.copies(vector, without=content_id) if len(copies) > JOINED // 2 else copies

    def search(
        self, vector: bytes, position: NDArray[np.float32] | None, limit: int, look: bytes | None = None
    ) -> list[Found]:
        """Return copies, then contents that resemble the query, best first.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        position : (n_components,) ndarray of float32 or None
            Of the query on the snapshot's map; None searches by the vectors alone.
        limit : int
            Contents that resemble, at most; copies are all returned.
        look : bytes, optional
            Descriptor of how the query looks; without one, vectors say what resembles it.
        """
        query = as_vector(vector)
        snapshot = self.snapshot
        count = max(limit, min(MAX_NEAR, neighborhood_width(len(snapshot.collection), self.min_near)))
        near = [] if snapshot.map is None or position is None else snapshot.map.nearest(position, count)
        ranked = [content_id for content_id, _ in snapshot.collection.candidates(query, max(MAX_CANDIDATES, limit))]
        # Those that are near on the map come right after the likeliest ones.
        ordered = [*ranked[: QUERY_ROUND - MAP_CANDIDATES], *near[:MAP_CANDIDATES], *ranked[:MAX_CANDIDATES]]
        copies = self._verified(query, list(dict.fromkeys(ordered)), QUERY_ROUND)
        found_ids = {found.content_id for found in copies}
        # The map's neighbourhood, and without a map what the codes say.
        near_ids = [near_id for near_id in near or ranked if near_id not in found_ids]
        similar = self._similar(query, look, near_ids, found_ids, limit) if limit else []
        if snapshot.map is None or position is None:
            return [*copies, *similar]
        return [
            replace(match, map_distance=snapshot.map.distance(match.content_id, position))
            for match in (*copies, *similar)
        ]

    def judgements(self, vector: bytes, content_ids: Sequence[int]) -> dict[int, Judgement]:
        """Verify contents, copies or not; those that have gone are left out.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        content_ids : sequence of int
        """
        query = as_vector(vector)
        judged: dict[int, Judgement] = {}
        for start in range(0, len(content_ids), QUERY_ROUND):
            ids, stored = self._vectors(content_ids[start : start + QUERY_ROUND])
            judgements = self._judgements(query, ids, stored)
            judged.update(zip(ids, judgements, strict=True))
        return judged

    def _verified(self, query: NDArray[np.uint8], content_ids: Sequence[int], at_once: int) -> list[Found]:
        """Return the copies among ranked candidates: so many at once, and on while the later half has copies too."""
        copies: list[Found] = []
        for start in range(0, len(content_ids), at_once):
            round_ids = content_ids[start : start + at_once]
            found = self._judged(query, round_ids)
            copies += found
            if not {copy.content_id for copy in found}.intersection(round_ids[at_once // 2 :]):
                break
        return sorted(copies, key=lambda found: (-found.score, found.content_id))

    def _judged(self, query: NDArray[np.uint8], content_ids: Sequence[int]) -> list[Found]:
        ids, stored = self._vectors(content_ids)
        return [
            _copy(content_id, judgement)
            for content_id, judgement in zip(ids, self._judgements(query, ids, stored), strict=True)
            if judgement.is_copy
        ]

    def _judgements(
        self, query: NDArray[np.uint8], content_ids: Sequence[int], stored: NDArray[np.uint8]
    ) -> list[Judgement]:
        codes = self.snapshot.collection.codes_of(content_ids)
        return self.medium.judge(query, stored, threshold=self.copy_threshold, codes=codes) if content_ids else []

    def _similar(
        self, query: NDArray[np.uint8], look: bytes | None, near_ids: list[int], found_ids: set[int], limit: int
    ) -> list[Found]:
        """Return the contents that look most like the query, and of those without a descriptor the near ones."""
        appearance, looks = self.medium.appearance, self.snapshot.looks
        if look is None or appearance is None or looks is None:
            found = self._alike(query, near_ids)
        else:
            descriptor = np.frombuffer(look, np.uint8)
            likest = looks.nearest(appearance, descriptor, limit + len(found_ids))
            scores = looks.scores(appearance, descriptor, [*likest, *near_ids])
            found = [
                *(
                    Found(content_id, Kind.SIMILAR, score, None)
                    for content_id, score in scores.items()
                    if score >= LEAST_SIMILAR
                ),
                *self._alike(query, [near_id for near_id in near_ids if near_id not in scores]),
            ]
        alike = [match for match in found if match.content_id not in found_ids]
        best = sorted(alike, key=lambda match: (-match.score, match.content_id))[:limit]
        if look is None or appearance is None or looks is None:
            return best
        why = looks.reasons(appearance, np.frombuffer(look, np.uint8), [match.content_id for match in best])
        return [replace(match, why=why.get(match.content_id, match.why)) for match in best]

    def _alike(self, query: NDArray[np.uint8], content_ids: Sequence[int]) -> list[Found]:
        ids, stored = self._vectors(content_ids)
        scores = self.medium.likeness(query, stored).tolist() if ids else []
        found = [
            Found(content_id, Kind.SIMILAR, score, None, why=Reason.GREY)
            for content_id, score in zip(ids, scores, strict=True)
        ]
        return sorted(found, key=lambda match: (-match.score, match.content_id))

    def _vectors(self, content_ids: Sequence[int]) -> tuple[list[int], NDArray[np.uint8]]:
        # A content may have gone since the snapshot was taken: what the store no longer has is no match.
        rows = self.store.vectors(content_ids)
        ids = [content_id for content_id in content_ids if content_id in rows]
        return ids, as_vectors([rows[content_id] for content_id in ids])


def as_vector(row: bytes) -> NDArray[np.uint8]:
    """Return a vector of 4096 bytes as a (4096,) array of uint8."""
    return np.frombuffer(row, dtype=np.uint8).reshape(VECTOR_BYTES)


def as_vectors(rows: Sequence[bytes]) -> NDArray[np.uint8]:
    """Return vectors of 4096 bytes as an (n, 4096) array of uint8."""
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), VECTOR_BYTES)


def _copy(content_id: int, judgement: Judgement) -> Found:
    return Found(
        content_id,
        Kind.COPY,
        judgement.score,
        None,
        judgement.transform,
        judgement.overlap,
        judgement.tone,
        judgement.around,
        LookedAt.VECTORS,
        affine=judgement.affine,
    )
