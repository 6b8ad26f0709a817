"""Which contents are copies of a vector, and which resemble it.

In: vectors, positions.  Out: contents with kind, score and distance.  Never here: files, threads of its own, what a
client asked for.

The collection's codes and the map's positions are held in memory; the 4096-byte vectors of the few dozen candidates
are read from the store.  A search runs over one frozen `View`; whoever changes the collection swaps the view whole.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon import matching
from cbir_daemon.records import VECTOR_BYTES, Around, Judgement, Kind, Overlap, Tone, Transform
from cbir_daemon.search import Collection, Snapshot
from cbir_daemon.search.neighborhood import neighborhood_width
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

logger = logging.getLogger(__name__)

MAX_NEAR = 300
"""Most contents taken from the map, so that a large collection costs no more: reading and ranking these takes 10 ms."""

MIN_NEAR = 50
"""Fewest contents taken from the map, so that a small collection has something to rank."""

MAX_CANDIDATES = 120
"""Candidates from the codes for a copy, at most: a picture with more copies than that has its likeliest ones."""

PROBED_CONTENTS = 32
"""Cached codes that are made again at each start and compared: 2 ms."""

LOAD_CHUNK = 5_000
"""Vectors read at once while codes are made: 20 MB."""

TEND_S = 600.0
"""No single step of `Collection.tend` takes longer, not even writing the lists of a million to a slow disk."""

NICENESS = 10
"""Of the thread that tends the collection."""

QUERY_ROUND = 24
"""Candidates verified at once for a query: about 20 ms; the true one is among them in 99 % of the hardest edits."""

PAIRING_ROUND = 12
"""Candidates verified at once when copies inside the albums are looked up, one content after the other."""

JOINED, JOINED_ROUND = 24, 8
"""Candidates of a content when all are looked up among each other, and how many at once: on while half are copies."""

MAP_CANDIDATES = 8
"""Nearest contents on the map that are verified besides."""


@dataclass(frozen=True, slots=True)
class Found:
    """A content that a search returns; `map_distance` is None when either of the two has no position."""

    content_id: int
    kind: Kind
    score: float
    map_distance: float | None
    transform: Transform = field(default_factory=Transform)
    overlap: Overlap = field(default_factory=Overlap)
    tone: Tone = field(default_factory=Tone)
    around: Around = Around.NOTHING


@dataclass(frozen=True, slots=True)
class Map:
    """The positions of one model run.

    Parameters
    ----------
    run_id : int
    ids : (n,) ndarray of int64
        Content ids, ascending.
    positions : (n, n_components) ndarray of float32
    """

    run_id: int
    ids: NDArray[np.int64]
    positions: NDArray[np.float32]

    def nearest(self, position: NDArray[np.float32], count: int) -> list[int]:
        """Return the ids of the `count` contents nearest to `position`, nearest first, equal ones in order of id."""
        distances = np.linalg.norm(self.positions - position, axis=1)
        rows = np.argpartition(distances, count - 1)[:count] if count < len(distances) else np.arange(len(distances))
        rows = rows[np.lexsort((self.ids[rows], distances[rows]))]
        return [int(content_id) for content_id in self.ids[rows]]

    def position_of(self, content_id: int) -> NDArray[np.float32] | None:
        """Return the (n_components,) position of a content, or None."""
        row = int(np.searchsorted(self.ids, content_id))
        return self.positions[row] if row < len(self.ids) and self.ids[row] == content_id else None

    def distance(self, content_id: int, position: NDArray[np.float32]) -> float | None:
        """Return the Euclidean distance of a content from `position`, or None when it has no place."""
        own = self.position_of(content_id)
        return None if own is None else float(np.linalg.norm(own - position))


@dataclass(frozen=True, slots=True)
class View:
    """One state of what is searched; never changed."""

    collection: Snapshot
    map: Map | None


class Searcher:
    """Holds the collection and the map, and searches them.

    Parameters
    ----------
    store : Store
        Gives the vectors.
    copy_threshold : float or None
        Lowest score of a copy, 0 to 1; None is the default of `matching`.
    codes_path : Path, optional
        Cache file of the codes; without one they are made from the vectors at each start.

    Notes
    -----
    `view` and the searches may be called from any thread, as may the changes: they take turns.
    """

    def __init__(self, store: Store, copy_threshold: float | None = None, codes_path: Path | None = None) -> None:
        self._store = store
        self._copy_threshold = copy_threshold
        self._collection = Collection(codes_path)
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._turn = threading.Lock()
        self.view = View(self._collection.snapshot(), None)
        self.newest_id = 0
        """Highest content id in the view: ids only rise, and whoever commits contents brings them in that order."""

    # -- changes -----------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take up the cached codes, make those that are missing from their vectors, and read the active map."""
        self._collection.open()
        present = np.array(self._store.content_ids(), dtype=np.int64)
        cached = self._collection.ids
        kept = np.intersect1d(cached, present)
        if not self._agrees(kept):
            logger.warning("cached codes are not those of the index, all are made anew codes=%d", len(kept))
            self._collection.clear()
            cached = kept = kept[:0]
        self.change((), np.setdiff1d(cached, present).tolist())
        missing = np.setdiff1d(present, kept).tolist()
        for start in range(0, len(missing), LOAD_CHUNK):
            self.change(list(self._store.vectors(missing[start : start + LOAD_CHUNK]).items()), ())
        self.newest_id = max(present.tolist(), default=0)
        if len(present):
            logger.info("codes cached=%d made=%d", len(kept), len(missing))
        run = self._store.active_run()
        if run is not None:
            self.place(run.id, self._store.positions(run.id))

    def _agrees(self, cached: NDArray[np.int64]) -> bool:
        """Return whether some of the cached codes are what the store's vectors give."""
        # An index that was put in the place of another may have other contents under the same ids.
        some = sorted({*cached[-1:].tolist(), *cached[:: max(1, len(cached) // PROBED_CONTENTS)].tolist()})
        rows = self._store.vectors(some)
        return not rows or self._collection.agrees(list(rows), as_vectors(list(rows.values())))

    def close(self) -> None:
        """Write what a later start can use, and let the cache go; views stay readable."""
        self._collection.close()

    def change(self, added: Sequence[tuple[int, bytes]], gone: Iterable[int]) -> None:
        """Take contents in (id, vector) and out."""
        gone = set(gone)
        with self._turn:
            if gone:
                self._collection.remove(gone)
            if added:
                self._collection.add([content_id for content_id, _ in added], as_vectors([v for _, v in added]))
            self.view = View(self._collection.snapshot(), _without(self.view.map, gone))
            self.newest_id = max([self.newest_id, *(content_id for content_id, _ in added)])
        self._changed.set()

    def replace_map(self, run_id: int, placed: Sequence[tuple[int, bytes]]) -> None:
        """Swap the map for that of another run, with all its positions, in one step."""
        with self._turn:
            # A collection that has gone during the fit leaves nothing to place.
            self.view = replace(self.view, map=_with(None, run_id, placed) if placed else None)

    def place(self, run_id: int, placed: Sequence[tuple[int, bytes]]) -> None:
        """Add positions (content id, float32 bytes) to the map of a run; passed over when that map is not in use."""
        with self._turn:
            current = self.view.map
            if placed and (current is None or current.run_id == run_id):
                self.view = replace(self.view, map=_with(current, run_id, placed))

    def drop_map(self) -> None:
        """Search without a map from now on."""
        with self._turn:
            self.view = replace(self.view, map=None)

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Keep what makes searches of a large collection fast in step with it, until stopped."""
        # On Linux niceness belongs to the thread: queries and indexing go first.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._look_at_vectors()
        while True:
            self._changed.clear()
            # Only now: clearing must not take away what `stop` says.
            if self._stopping.is_set():
                return
            heartbeat.beat(TEND_S)
            if not self.tend():
                heartbeat.rest(heartbeat.FOREVER_S)
                self._changed.wait()

    def tend(self) -> bool:
        """Do one step of that; False when nothing is left to do."""
        return self._collection.tend()

    def _look_at_vectors(self) -> None:
        """Read every vector once, because their codes came from the cache and a damaged one would go unnoticed.

        Raises
        ------
        StorageError
            When one is not what was written.
        """
        for _ in self._store.all_vectors():
            heartbeat.beat()
            if self._stopping.is_set():
                return

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()
        self._changed.set()

    # -- searches ----------------------------------------------------------------------------------------------------

    def copies(self, vector: bytes, *, without: int | None = None) -> list[Found]:
        """Return the verified copies of a vector inside the collection, best first.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        without : int, optional
            Content id to leave out: the one the vector belongs to.
        """
        query = as_vectors([vector])[0]
        ranked = self.view.collection.copy_candidates(query, MAX_CANDIDATES)
        return self._verified(query, [content_id for content_id, _ in ranked if content_id != without], PAIRING_ROUND)

    def joined(self, contents: Sequence[tuple[int, bytes]], known: Sequence[Container[int]]) -> list[list[Found]]:
        """Return the verified copies of each of some contents, when all others are looked up in this way as well.

        Parameters
        ----------
        contents : sequence of (content id, vector)
            In the view; a pair of which one side is not looked up may be missed.
        known : sequence of container of int
            For each the content ids that need not be looked at: they have found it before.

        Notes
        -----
        Any number of threads.  A sixth of the work of `copies`.
        """
        queries = as_vectors([vector for _, vector in contents])
        candidates = self.view.collection.joint_candidates(queries, JOINED)
        return [
            self._joined(content_id, vector, ids, guesses, skipped)
            for (content_id, vector), (ids, guesses), skipped in zip(contents, candidates, known, strict=True)
        ]

    def _joined(
        self, content_id: int, vector: bytes, ids: NDArray[np.int64], guesses: matching.Guesses, known: Container[int]
    ) -> list[Found]:
        query, copies = as_vectors([vector])[0], list[Found]()
        wanted = [row for row, one in enumerate(ids.tolist()) if one != content_id and one not in known]
        for start in range(0, len(wanted), JOINED_ROUND):
            stored = self._store.vectors([int(ids[row]) for row in wanted[start : start + JOINED_ROUND]])
            rows = [row for row in wanted[start : start + JOINED_ROUND] if int(ids[row]) in stored]
            others = as_vectors([stored[int(ids[row])] for row in rows])
            given = guesses.some(np.array(rows, dtype=np.int64))
            judged = matching.judge(query, others, threshold=self._copy_threshold, given=given)
            found = [_copy(int(ids[row]), one) for row, one in zip(rows, judged, strict=True) if one.is_copy]
            copies += found
            if len(found) <= JOINED_ROUND // 2:
                return copies
        # So many copies that there may be more.
        return self.copies(vector, without=content_id) if len(copies) > JOINED // 2 else copies

    def search(
        self, vector: bytes, position: NDArray[np.float32] | None, limit: int, view: View | None = None
    ) -> list[Found]:
        """Return copies, then contents that resemble the query, best first.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        position : (n_components,) ndarray of float32 or None
            Of the query on the view's map; None searches by the vectors alone.
        limit : int
            Contents that resemble, at most; copies are all returned.
        view : View, optional
            The state to search, which `position` belongs to; the present one by default.
        """
        query = as_vectors([vector])[0]
        view = view or self.view
        count = max(limit, min(MAX_NEAR, neighborhood_width(len(view.collection), MIN_NEAR)))
        near = [] if view.map is None or position is None else view.map.nearest(position, count)
        ranked = [content_id for content_id, _ in view.collection.candidates(query, max(MAX_CANDIDATES, limit))]
        # Those that are near on the map come right after the likeliest ones.
        ordered = [*ranked[: QUERY_ROUND - MAP_CANDIDATES], *near[:MAP_CANDIDATES], *ranked[:MAX_CANDIDATES]]
        copies = self._verified(query, list(dict.fromkeys(ordered)), QUERY_ROUND)
        found_ids = {found.content_id for found in copies}
        # What resembles is the map's neighbourhood, and without a map what the codes say.
        similar = self._alike(query, [one for one in near or ranked if one not in found_ids])[:limit]
        if view.map is None or position is None:
            return [*copies, *similar]
        return [replace(one, map_distance=view.map.distance(one.content_id, position)) for one in (*copies, *similar)]

    def judgements(self, vector: bytes, content_ids: Sequence[int]) -> dict[int, Judgement]:
        """Return what verification says of contents, copies or not; those that have gone are left out.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        content_ids : sequence of int
        """
        query = as_vectors([vector])[0]
        judged: dict[int, Judgement] = {}
        for start in range(0, len(content_ids), QUERY_ROUND):
            ids, stored = self._vectors(content_ids[start : start + QUERY_ROUND])
            judgements = matching.judge(query, stored, threshold=self._copy_threshold) if ids else []
            judged.update(zip(ids, judgements, strict=True))
        return judged

    def _verified(self, query: NDArray[np.uint8], content_ids: Sequence[int], at_once: int) -> list[Found]:
        """Return the copies among ranked candidates: so many at once, and on while the later half has copies too."""
        copies: list[Found] = []
        for start in range(0, len(content_ids), at_once):
            some = content_ids[start : start + at_once]
            found = self._judged(query, some)
            copies += found
            if not {one.content_id for one in found}.intersection(some[at_once // 2 :]):
                break
        return sorted(copies, key=lambda found: (-found.score, found.content_id))

    def _judged(self, query: NDArray[np.uint8], content_ids: Sequence[int]) -> list[Found]:
        ids, stored = self._vectors(content_ids)
        judgements = matching.judge(query, stored, threshold=self._copy_threshold) if ids else []
        return [_copy(content_id, one) for content_id, one in zip(ids, judgements, strict=True) if one.is_copy]

    def _alike(self, query: NDArray[np.uint8], content_ids: Sequence[int]) -> list[Found]:
        ids, stored = self._vectors(content_ids)
        scores = matching.likeness(query, stored).tolist() if ids else []
        found = [Found(content_id, Kind.SIMILAR, score, None) for content_id, score in zip(ids, scores, strict=True)]
        return sorted(found, key=lambda one: (-one.score, one.content_id))

    def _vectors(self, content_ids: Sequence[int]) -> tuple[list[int], NDArray[np.uint8]]:
        # A content may have gone since the view was taken: what the store no longer has is no match.
        rows = self._store.vectors(content_ids)
        ids = [content_id for content_id in content_ids if content_id in rows]
        return ids, as_vectors([rows[content_id] for content_id in ids])


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
    )


def _without(current: Map | None, gone: set[int]) -> Map | None:
    if current is None or not gone:
        return current
    kept = ~np.isin(current.ids, list(gone))
    return Map(current.run_id, current.ids[kept], current.positions[kept])


def _with(current: Map | None, run_id: int, placed: Sequence[tuple[int, bytes]]) -> Map:
    ids = np.array([content_id for content_id, _ in placed], dtype=np.int64)
    positions = np.frombuffer(b"".join(row for _, row in placed), dtype="<f4").reshape(len(placed), -1)
    if current is not None:
        kept = ~np.isin(current.ids, ids)
        ids = np.concatenate([current.ids[kept], ids])
        positions = np.concatenate([current.positions[kept], positions])
    order = np.argsort(ids)
    return Map(run_id, ids[order], np.ascontiguousarray(positions[order], dtype=np.float32))
