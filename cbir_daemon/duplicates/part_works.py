"""The user's own works of a medium that compares parts, and which contents contain one.

In: parts of works, parts of contents.  Out: matches of works.  Never here: images (`watchlist`), who is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.kinds import Kind
from cbir_daemon.part_medium import FileFacts, PartMedium, Parts, candidate, parts_from
from cbir_daemon.search.part_searcher import PartSearcher
from cbir_daemon.store import NewWork, Store, Work, WorkMatch


@dataclass(frozen=True, slots=True)
class _PartWork:
    """A work with the codes of its parts."""

    id: int
    digest: bytes
    parts: Parts
    codes: NDArray[np.int8]


class PartWorks:
    """Holds the works of one medium and looks for them.

    Parameters
    ----------
    store : Store
    searcher : PartSearcher
        Searches the contents for a work that is new.
    """

    def __init__(self, store: Store, searcher: PartSearcher) -> None:
        self._store = store
        self._searcher = searcher
        self._works: tuple[_PartWork, ...] = ()

    @property
    def medium(self) -> PartMedium:
        """How works are compared."""
        return self._searcher.medium

    def load(self) -> None:
        """Read the list from the store."""
        stored = self._store.parts.of_works(self.medium.name)
        works = []
        for work_id, digest, file_format, details in self._store.works.of_medium(self.medium.name):
            parts = parts_from(stored.get(work_id, ()), FileFacts(file_format, 0, details))
            works.append(_PartWork(work_id, digest, parts, self.medium.packed_codes(parts.vectors)))
        self._works = tuple(works)

    def matches(self, digest: bytes, parts: Parts) -> list[WorkMatch]:
        """Return which works a content contains, the one with the same bytes first.

        Parameters
        ----------
        digest : bytes
            SHA-256 of the content.
        parts : Parts
            Of the content.
        """
        exact = [WorkMatch(work.id, digest, Kind.EXACT, 1.0) for work in self._works if work.digest == digest]
        others = [work for work in self._works if work.digest != digest]
        if not others or self.medium.is_plain(parts):
            return exact
        probes = self.medium.probes(parts)
        judged = self.medium.judge(parts, probes, [candidate(work.parts, work.codes, probes) for work in others])
        copies = [
            WorkMatch(work.id, digest, Kind.COPY, judgement.score)
            for work, judgement in zip(others, judged, strict=True)
            if judgement.is_copy
        ]
        return [*exact, *copies]

    def in_contents(self, work: Work, new: NewWork) -> list[WorkMatch]:
        """Return the contents that contain a new work, best first.

        Parameters
        ----------
        work : Work
        new : NewWork
            The same, with its parts.
        """
        same = self._store.contents.by_digest(work.digest)
        parts = parts_from(new.parts, FileFacts(new.format, 0, new.details))
        copies = self._searcher.copies(parts, without=None if same is None else same.id)
        digests = self._store.contents.digests([copy.content_id for copy in copies])
        exact = [] if same is None else [WorkMatch(work.id, work.digest, Kind.EXACT, 1.0)]
        return exact + [
            WorkMatch(work.id, digests[copy.content_id], Kind.COPY, copy.score)
            for copy in copies
            if copy.content_id in digests
        ]


def part_works(store: Store, searchers: Sequence[PartSearcher]) -> dict[str, PartWorks]:
    """Return the works of each of several media, by their names, to be loaded.

    Parameters
    ----------
    store : Store
    searchers : sequence of PartSearcher
    """
    return {searcher.medium.name: PartWorks(store, searcher) for searcher in searchers}
