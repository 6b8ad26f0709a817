"""The user's own works, and which contents contain one.

In: vectors of works, vectors of contents.  Out: matches.  Never here: who is told, files, how vectors are compared.

A work is looked for in every content once, when that content is new; and a new work once in all contents there are.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.duplicates.part_works import part_works
from cbir_daemon.kinds import Kind
from cbir_daemon.medium import Medium
from cbir_daemon.search import Collection, CollectionSnapshot
from cbir_daemon.search.part_searcher import PartSearcher
from cbir_daemon.search.search import Search, as_vector, as_vectors
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.snapshot import SearchSnapshot
from cbir_daemon.search.turns import Urgency
from cbir_daemon.store import NewWork, Store, Work, WorkMatch

COMPARED = 12
"""Works that a content is compared with, at about a millisecond each; with more on the list, the likeliest by their
codes."""

SEARCHED_PARTS = 48
"""Contents whose parts are compared with a new work, those with the likeliest windows, at some 20 ms each."""


@dataclass(frozen=True, slots=True)
class _Works:
    """One state of the list, in order of id; never changed."""

    ids: tuple[int, ...]
    digests: tuple[bytes, ...]
    vectors: NDArray[np.uint8]
    codes: NDArray[np.float32]
    snapshot: CollectionSnapshot


@dataclass(frozen=True, slots=True)
class _WorkReader:
    """Reads the vectors of works for a search among them."""

    works: _Works

    def vectors(self, work_ids: Sequence[int], /) -> dict[int, bytes]:
        """Return id -> vector of some works."""
        vectors = dict(zip(self.works.ids, self.works.vectors, strict=True))
        return {work_id: vectors[work_id].tobytes() for work_id in work_ids}


class WatchList:
    """Holds the works and looks for them.

    Parameters
    ----------
    store : Store
    searcher : Searcher
        Searches the contents for a work that is new.
    copy_threshold : float or None
        As for `Searcher`.
    part_searchers : sequence of PartSearcher
        Of the media besides images.

    Attributes
    ----------
    part_works : mapping of str to PartWorks
        The works of the media besides images, by the names of those.

    Notes
    -----
    Any thread may call any method.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        copy_threshold: float | None = None,
        part_searchers: Sequence[PartSearcher] = (),
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._copy_threshold = copy_threshold
        self.part_works = part_works(store, part_searchers)
        self._changes = threading.Lock()
        self._works = _listed((), searcher.medium)

    @property
    def _medium(self) -> Medium:
        return self._searcher.medium

    def load(self) -> None:
        """Read the list from the store."""
        self._works = _listed(self._store.works.vectors(), self._medium)
        for works in self.part_works.values():
            works.load()

    def add(self, work: NewWork, now: float) -> tuple[Work, list[WorkMatch]] | None:
        """Put a work on the list, and look for it in all contents.

        Parameters
        ----------
        work : NewWork
            Its vector is 4096 bytes, and not plain.
        now : float
            Time of adding, in seconds since the epoch.

        Returns
        -------
        Work, list of WorkMatch
            The matches best first; None when the work's bytes are on the list already.
        """
        with self._changes:
            added = self._store.works.add(work, now)
            if added is None:
                return None
            self.load()
        # Contents that come into view after this are looked up with the new list.
        others = self.part_works.get(work.medium)
        work_matches = self._in_contents(added, work.vector) if others is None else others.in_contents(added, work)
        self._store.works.put_matches(work_matches)
        return added, work_matches

    def remove(self, work_id: int) -> bool:
        """Take a work off the list; False when it is not on it."""
        with self._changes:
            removed = self._store.works.remove(work_id)
            self.load()
        return removed

    def matches(self, digest: bytes, vector: bytes) -> list[WorkMatch]:
        """Return which works a content contains.

        Parameters
        ----------
        digest : bytes
            SHA-256 of the content.
        vector : bytes
            64x64 grey numbers of the content, 4096 bytes, row by row.

        Returns
        -------
        list of WorkMatch
            The work with the same bytes first; the copies after it are not sorted by score.
        """
        works = self._works
        exact = [row for row, work_digest in enumerate(works.digests) if work_digest == digest]
        rows = [row for row in self._candidates(works, vector) if row not in exact]
        found = {
            row: score
            for row, score in zip(rows, self._scores(vector, works.vectors[rows]), strict=True)
            if score is not None
        }
        parts = self._parts(works, vector)
        copies = {**parts, **found}
        return [WorkMatch(works.ids[row], digest, Kind.EXACT, 1.0) for row in exact] + [
            WorkMatch(works.ids[row], digest, Kind.COPY, score) for row, score in copies.items() if row not in exact
        ]

    def search(self) -> Search | None:
        """Return the searches among the works, which are found by their ids; None when there are none."""
        works = self._works
        if not works.ids:
            return None
        return Search(SearchSnapshot(works.snapshot, None), _WorkReader(works), self._copy_threshold)

    def _parts(self, works: _Works, vector: bytes) -> Mapping[int, float]:
        """Return the score of each work that a part of a content shows."""
        if not works.ids:
            return {}
        query = as_vector(vector)
        return self._medium.contained(query, works.vectors, works.codes, threshold=self._copy_threshold)

    def _candidates(self, works: _Works, vector: bytes) -> list[int]:
        if len(works.ids) <= COMPARED:
            return list(range(len(works.ids)))
        # Without a floor: a work that fills half of a picture has a lower score than a stranger may have.
        ranked = works.snapshot.candidates(as_vector(vector), COMPARED)
        return [works.ids.index(work_id) for work_id, _ in ranked]

    def _in_contents(self, work: Work, vector: bytes) -> list[WorkMatch]:
        same = self._store.contents.by_digest(work.digest)
        found = [] if same is None else [WorkMatch(work.id, work.digest, Kind.EXACT, 1.0)]
        copies = self._searcher.copies(vector, without=None if same is None else same.id, urgency=Urgency.QUESTION)
        scores = {copy.content_id: copy.score for copy in copies}
        scores |= self._in_parts(vector, {*scores, *([] if same is None else [same.id])})
        digests = {image.content.id: image.content.digest for image in self._store.files.images(list(scores))}
        best = sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
        return found + [
            WorkMatch(work.id, digests[content_id], Kind.COPY, score)
            for content_id, score in best
            if content_id in digests
        ]

    def _in_parts(self, vector: bytes, known: set[int]) -> dict[int, float]:
        """Return content id -> score of contents of which a part shows a new work."""
        query = as_vectors([vector])
        codes = self._medium.whole_codes(query)
        likeliest = self._searcher.snapshot.collection.copy_candidates(query[0], SEARCHED_PARTS)
        stored = self._store.contents.vectors([content_id for content_id, _ in likeliest if content_id not in known])
        scores = {
            content_id: self._medium.contained(as_vector(row), query, codes, threshold=self._copy_threshold)
            for content_id, row in stored.items()
        }
        return {content_id: found[0] for content_id, found in scores.items() if found}

    def _scores(self, vector: bytes, works: NDArray[np.uint8]) -> list[float | None]:
        """Return the score of each work that a content contains; None for the others."""
        if not len(works):
            return []
        content = as_vectors([vector])
        judged = self._medium.judge(content[0], works, threshold=self._copy_threshold)
        return [judgement.score if judgement.is_copy else None for judgement in judged]


def _listed(rows: Sequence[tuple[int, bytes, bytes]], medium: Medium) -> _Works:
    ids, digests, vectors = zip(*rows, strict=True) if rows else ((), (), ())
    stored, coded = as_vectors(vectors), Collection(medium)
    coded.add(ids, stored)
    return _Works(ids, digests, stored, medium.whole_codes(stored), coded.snapshot())
