"""Search files that are compared by their parts: which are copies of a file, and which resemble it.

In: parts of a query, a store.  Out: contents with kind, score and how the two lie in each other.  Never here: what a
part is (`part_medium`), files of albums, threads of its own.

The codes of all parts are held in memory and scanned whole: 100 000 parts of 256 numbers are 26 MB, and a probe of them
is one row of a matrix product.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import LookedAt
from cbir_daemon.kinds import Kind
from cbir_daemon.part_medium import (
    FileFacts,
    FileJudgement,
    PartMedium,
    Parts,
    Probes,
    candidate,
    parts_from,
)
from cbir_daemon.records import Facts
from cbir_daemon.search.part_candidates import Judged, PartSnapshot, ranked, verified
from cbir_daemon.search.search import LEAST_SIMILAR, Found, as_vector, as_vectors
from cbir_daemon.search.snapshot import extended, without
from cbir_daemon.store import Image, Store

MAX_COMPARED = 2_000
"""Files whose likeness with a query is asked, at most: reading their vectors takes 20 ms."""

LOAD_CONTENTS = 500
"""Contents whose codes are read at once."""


class PartSearcher:
    """Holds the codes of the files of one medium, and searches them.

    Parameters
    ----------
    store : Store
        Gives parts and codes.
    medium : PartMedium

    Notes
    -----
    Any thread may call any method.
    """

    def __init__(self, store: Store, medium: PartMedium) -> None:
        self.medium = medium
        self._store = store
        self._turn = threading.Lock()
        shape = (0, medium.windows, medium.terms)
        self.snapshot = PartSnapshot(np.zeros(0, np.int64), np.zeros(shape, np.int8), frozenset())

    # -- changes -----------------------------------------------------------------------------------------------------

    @property
    def newest_id(self) -> int:
        """Highest content id in the snapshot; 0 for none."""
        return max(self.snapshot.contents, default=0)

    def load(self) -> None:
        """Read the codes of all files, and their positions."""
        ids = self._store.contents.ids(self.medium.name)
        for start in range(0, len(ids), LOAD_CONTENTS):
            self.change(ids[start : start + LOAD_CONTENTS], ())
        run = self._store.runs.active(self.medium.name)
        if run is not None:
            self.place(run.id, self._store.positions.listed(run.id))

    def change(self, added: Sequence[int], gone: Iterable[int]) -> None:
        """Take files in and out, in one step.

        Parameters
        ----------
        added : sequence of int
            Content ids, of this medium, that the store has.
        gone : iterable of int
            Content ids; unknown ones are ignored.
        """
        with self._turn:
            lost = self.snapshot.contents.intersection(gone)
            if not added and not lost:
                return
            before = self.snapshot
            stay = ~np.isin(before.ids, list(lost)) if lost else slice(None)
            ids, codes = self._codes(added)
            self.snapshot = PartSnapshot(
                np.concatenate([before.ids[stay], ids]),
                np.concatenate([before.codes[stay], codes]),
                (before.contents - lost) | set(added),
                without(before.map, set(lost)),
            )

    def _codes(self, content_ids: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        rows = self._store.parts.codes(content_ids) if content_ids else []
        shape = (len(rows), self.medium.windows, self.medium.terms)
        codes = np.frombuffer(b"".join(code for _, code in rows), np.int8).reshape(shape)
        return np.array([content_id for content_id, _ in rows], dtype=np.int64), codes

    def replace_map(self, run_id: int, placed: Sequence[tuple[int, bytes]]) -> None:
        """Swap the map for that of another run; see `Searcher.replace_map`.

        Parameters
        ----------
        run_id : int
        placed : sequence of (content id, position)
        """
        with self._turn:
            self.snapshot = replace(self.snapshot, map=extended(None, run_id, placed) if placed else None)

    def place(self, run_id: int, placed: Sequence[tuple[int, bytes]]) -> None:
        """Add positions to the map in use; see `Searcher.place`.

        Parameters
        ----------
        run_id : int
        placed : sequence of (content id, position)
        """
        with self._turn:
            current = self.snapshot.map
            if placed and (current is None or current.run_id == run_id):
                self.snapshot = replace(self.snapshot, map=extended(current, run_id, placed))

    def drop_map(self) -> None:
        """Search without a map from now on."""
        with self._turn:
            self.snapshot = replace(self.snapshot, map=None)

    # -- searches ----------------------------------------------------------------------------------------------------

    def parts_of(self, content_ids: Sequence[int]) -> dict[int, Parts]:
        """Return content id -> parts, of the files that are there.

        Parameters
        ----------
        content_ids : sequence of int
        """
        stored = self._store.parts.of(content_ids)
        return {
            content_id: parts_from(stored.get(content_id, ()), facts)
            for content_id, facts in self._store.contents.file_facts(content_ids).items()
        }

    def copies(self, query: Parts, *, without: int | None = None) -> list[Found]:
        """Return the copies of a file, best first.

        Parameters
        ----------
        query : Parts
        without : int, optional
            Content id to leave out: the one that the query is.
        """
        if self.medium.is_plain(query):
            return []
        probes = self.medium.probes(query)
        snapshot = self.snapshot
        judged = verified(
            snapshot, self.medium, query, probes, without, lambda ids: self._judged(query, probes, ids, snapshot)
        )
        found = [copy_of(content_id, judgement) for content_id, judgement in judged if judgement.is_copy]
        return sorted(found, key=lambda match: (-match.score, match.content_id))

    def similar(
        self, query: bytes, parts: Parts, position: NDArray[np.float32] | None, limit: int, known: set[int]
    ) -> list[Found]:
        """Return the files that resemble a file, likest first.

        Parameters
        ----------
        query : bytes
            Vector of the whole file.
        parts : Parts
        position : (n_components,) ndarray of float32 or None
            Of the query on the snapshot's map.
        limit : int
        known : set of int
            Contents to leave out.
        """
        snapshot = self.snapshot
        ids: list[int] = sorted(snapshot.contents)
        if len(ids) > MAX_COMPARED:
            near = [] if snapshot.map is None or position is None else snapshot.map.nearest(position, MAX_COMPARED // 2)
            probes = self.medium.probes(parts)
            ids = list(dict.fromkeys([*near, *ranked(snapshot, probes, -1.0)]))[:MAX_COMPARED]
        rows = self._store.contents.vectors([content_id for content_id in ids if content_id not in known])
        if not rows:
            return []
        scores = self.medium.likeness(as_vector(query), as_vectors(list(rows.values()))).tolist()
        found = [
            Found(content_id, Kind.SIMILAR, score, self.distance(content_id, position))
            for content_id, score in zip(rows, scores, strict=True)
            if score >= LEAST_SIMILAR
        ]
        return sorted(found, key=lambda match: (-match.score, match.content_id))[:limit]

    def distance(self, content_id: int, position: NDArray[np.float32] | None) -> float | None:
        """Return how far a file lies from a position on the map; None where either is not on it.

        Parameters
        ----------
        content_id : int
        position : (n_components,) ndarray of float32 or None
        """
        current = self.snapshot.map
        return None if current is None or position is None else current.distance(content_id, position)

    def _judged(self, query: Parts, probes: Probes, content_ids: Sequence[int], snapshot: PartSnapshot) -> list[Judged]:
        stored = self.parts_of(content_ids)
        ids, candidates = [], []
        for content_id in content_ids:
            codes = snapshot.codes[snapshot.ids == content_id]
            # A file may have gone, or come back, since the snapshot was taken.
            if content_id in stored and len(codes) == len(stored[content_id].vectors):
                ids.append(content_id)
                candidates.append(candidate(stored[content_id], codes, probes))
        judged = self.medium.judge(query, probes, candidates) if candidates else []
        return list(zip(ids, judged, strict=True))


def copy_of(content_id: int, judgement: FileJudgement) -> Found:
    """Return a copy as searches return it.

    Parameters
    ----------
    content_id : int
    judgement : FileJudgement
    """
    return Found(
        content_id, Kind.COPY, judgement.score, None, overlap=judgement.overlap, look=LookedAt.VECTORS, lying=judgement
    )


def read_parts(facts: Facts) -> Parts:
    """Return the parts of a file that was just read."""
    size_bytes = 0 if facts.state is None else facts.state.size_bytes
    return parts_from(facts.parts, FileFacts(facts.format, size_bytes, facts.details))


def image_facts(image: Image) -> FileFacts:
    """Return what a medium is told of an indexed file."""
    return FileFacts(image.content.format, image.content.size_bytes, image.content.details)


class PartSearchers:
    """The searchers of the media besides images, by name.

    Parameters
    ----------
    searchers : sequence of PartSearcher
    """

    def __init__(self, searchers: Sequence[PartSearcher] = ()) -> None:
        self._searchers = {searcher.medium.name: searcher for searcher in searchers}

    def __iter__(self) -> Iterator[PartSearcher]:
        return iter(self._searchers.values())

    def of(self, medium: str) -> PartSearcher | None:
        """Return the searcher of a medium; None for images, and for one that is not enabled."""
        return self._searchers.get(medium)

    @property
    def media(self) -> Mapping[str, PartMedium]:
        """The media by their names."""
        return {name: searcher.medium for name, searcher in self._searchers.items()}

    def load(self) -> None:
        """Read the codes of all files."""
        for searcher in self:
            searcher.load()

    def codes(self, facts: Facts) -> tuple[bytes, ...]:
        """Return the codes that are stored with the parts of a file that was read.

        Parameters
        ----------
        facts : Facts
        """
        searcher = self.of(facts.medium)
        if searcher is None or not facts.parts:
            return ()
        return tuple(code.tobytes() for code in searcher.medium.packed_codes(read_parts(facts).vectors))

    def change(self, added: Mapping[str, Sequence[int]], gone: Iterable[int]) -> None:
        """Take files in and out.

        Parameters
        ----------
        added : mapping
            Medium -> content ids.
        gone : iterable of int
            Content ids, of any medium.
        """
        lost = tuple(gone)
        for name, searcher in self._searchers.items():
            searcher.change(added.get(name, ()), lost)


NO_PARTS = PartSearchers()
"""Of a daemon that indexes images alone."""
