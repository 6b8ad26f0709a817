"""The codes of all contents that are searched: one writer changes them, any thread searches frozen snapshots.

In: ids and vectors, then queries.  Out: ids with coarse scores, best first.  Never here: verdicts, the vectors
themselves, threads of its own.

While there are few, a query is compared with all of them.  When there are many, inverted lists propose some thousand
rows, and these are compared: the scores are the same, and only what no list proposed is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import CoarseViews, Codes, Guesses, JoinViews, Medium
from cbir_daemon.search.candidates import LISTED_ABOVE, CandidateSource, ListedCandidates
from cbir_daemon.search.code_table import EXTENT_ROWS, FrozenRows, Ids, Rows
from cbir_daemon.search.list_bounds import USUAL, ListBounds

logger = logging.getLogger(__name__)

SLACK_ROWS = 1024
"""Dead rows that are borne beside as many dead as living ones."""

JOINT_ROWS = 128
"""Rows of which it is told where an alignment starts, at most."""

COMPARED_ROWS = 512
"""Rows that are compared with all queries of a pass at once: 2 MB as float32 stay in the processor's cache."""

_PASS_ROWS = 4096

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CollectionSnapshot:
    """A frozen state of a collection; any thread may search it.

    Parameters
    ----------
    medium : Medium
        Made the codes, and compares them.
    rows : FrozenRows
        The codes.
    source : CandidateSource
        Says which rows a query is compared with.
    """

    medium: Medium
    rows: FrozenRows
    source: CandidateSource

    def __len__(self) -> int:
        return int(np.count_nonzero(self.rows.alive))

    @property
    def ids(self) -> Ids:
        """The ids of all contents, in no order."""
        return self.rows.ids[self.rows.alive]

    def codes_of(self, content_ids: Sequence[int]) -> Codes | None:
        """Return the packed codes of contents.

        Parameters
        ----------
        content_ids : sequence of int
            Each once.

        Returns
        -------
        (k, windows, terms) ndarray of int8, or None
            In the order of `content_ids`; None unless all have codes.
        """
        asked = np.array(content_ids, dtype=np.int64)
        rows = np.flatnonzero(np.isin(self.rows.ids, asked) & self.rows.alive)
        if len(rows) != len(asked):
            return None
        rows = rows[np.argsort(self.rows.ids[rows])]
        codes = np.empty((len(rows), *self.rows.shape), dtype=np.int8)
        codes[np.argsort(asked)] = self.rows.take(rows)
        return codes

    def candidates(self, query: NDArray[np.uint8], limit: int, *, floor: float = 0.0) -> list[tuple[int, float]]:
        """Return the contents most likely to show what the query shows, under all views.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        limit : int
            Contents returned at most.
        floor : float
            Coarse score below which a content is left out.

        Returns
        -------
        list of (content id, coarse score)
            Best first; equal scores in order of id.  Of a large collection some of the lower ones may be missing.
        """
        if limit <= 0:
            return []
        views = self.medium.coarse_views(query)
        rows = self.source.rows(views, limit, self.rows)
        if rows is None:
            ids, scores = self.ids, self._all_scores(views)
        else:
            ids, scores = self.rows.ids[rows], self.medium.best_scores(self.rows.take(rows), views)
            self.rows.release()
        return _best(ids, scores, limit, floor)

    def copy_candidates(self, query: NDArray[np.uint8], limit: int) -> list[tuple[int, float]]:
        """Return the contents most likely to be copies of the query; none when there is nothing to verify.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        limit : int
            Contents returned at most.

        Returns
        -------
        list of (content id, coarse score)
            Of `Medium.copy_floor` and more, best first; equal scores in order of id.
        """
        return self.candidates(query, limit, floor=self.medium.copy_floor)

    def joint_candidates(self, queries: NDArray[np.uint8], limit: int) -> list[tuple[Ids, Guesses]]:
        """Return, for each of several contents that are looked up among each other, those that may be its copies.

        Parameters
        ----------
        queries : (n, 4096) ndarray of uint8
            Every content that is looked up: a pair is seen from both sides, and one side alone may miss it.
        limit : int
            Contents returned at most, for each query.

        Returns
        -------
        list of (ids, Guesses)
            Best first, with the affine from which an alignment starts.
        """
        views = [self.medium.join_views(query) for query in queries]
        proposed = self.source.joined_rows(views, self.rows)
        if proposed is None:
            proposed = self._likeliest([asked.coarse for asked in views])
        found = [self._joint(rows, asked, limit) for rows, asked in zip(proposed, views, strict=True)]
        self.rows.release()
        return found

    def _likeliest(self, queries: Sequence[CoarseViews]) -> list[Ids]:
        """Return for each query the living rows that score highest when all are compared."""
        scores = np.empty((len(queries), len(self.rows.ids)), dtype=np.float32)
        done = 0
        for block in self.rows.blocks():
            for start in range(0, len(block), COMPARED_ROWS):
                # Made numbers once for all queries: that takes half as long as comparing them with a query.
                numbers = block[start : start + COMPARED_ROWS].astype(np.float32, order="C")
                for found, views in zip(scores, queries, strict=True):
                    found[done : done + len(numbers)] = self.medium.best_scores(numbers, views)
                done += len(numbers)
        return [self._kept(found) for found in scores]

    def _kept(self, scores: Floats) -> Ids:
        """Return the living rows of the highest scores."""
        scores[~self.rows.alive] = -1
        kept = np.argpartition(-scores, JOINT_ROWS)[:JOINT_ROWS] if len(scores) > JOINT_ROWS else np.arange(len(scores))
        return kept[scores[kept] >= self.medium.copy_floor]

    def _joint(self, rows: Ids, views: JoinViews, limit: int) -> tuple[Ids, Guesses]:
        scores, guesses = self.medium.best_guesses(self.rows.take(rows), views)
        ids = self.rows.ids[rows]
        order = np.lexsort((ids, -scores))[:limit]
        order = order[scores[order] >= self.medium.copy_floor]
        return ids[order], guesses.take(order)

    def scores(self, query: NDArray[np.uint8]) -> Floats:
        """Return the coarse score of each content with a query; compares with all.

        Parameters
        ----------
        query : (4096,) ndarray of uint8

        Returns
        -------
        (n,) ndarray of float32
            In the order of `ids`: the best correlation over all pairs of views, in [0, 1].
        """
        return self._all_scores(self.medium.coarse_views(query))

    def _all_scores(self, views: CoarseViews) -> Floats:
        blocks = [self.medium.best_scores(block, views) for block in self.rows.blocks()]
        return np.concatenate([np.zeros(0, dtype=np.float32), *blocks])[self.rows.alive]


def _best(ids: Ids, scores: Floats, limit: int, floor: float) -> list[tuple[int, float]]:
    count = min(limit, len(scores))
    if not count:
        return []
    kept = np.argpartition(-scores, count - 1)[:count]
    kept = kept[scores[kept] >= floor]
    kept = kept[np.lexsort((ids[kept], -scores[kept]))]
    return list(zip(ids[kept].tolist(), scores[kept].tolist(), strict=True))


def lists_beside(path: Path) -> Path:
    """Return where the lists of codes are saved."""
    return path.with_suffix(".lists")


class Collection:
    """The codes of all contents that are searched.

    Parameters
    ----------
    medium : Medium
        Makes the codes and compares them.
    path : Path, optional
        The file that keeps them between two runs; the lists lie beside it.  Without one all is in memory.
    listed_above : int
        Contents from which a query asks inverted lists.
    bounds : ListBounds
        How large the lists are, and how many rows they propose.
    extent_rows : int
        Rows that are mapped at once; in a file a multiple of 512.

    Notes
    -----
    One thread changes a collection at a time; another one may call `tend` all along.
    """

    def __init__(
        self,
        medium: Medium,
        path: Path | None = None,
        listed_above: int = LISTED_ABOVE,
        *,
        bounds: ListBounds = USUAL,
        extent_rows: int = EXTENT_ROWS,
    ) -> None:
        self._medium = medium
        self._path = path
        self._listed_above = listed_above
        self._bounds = bounds
        self._extent_rows = extent_rows
        self._rows = Rows(self._medium)
        self._take(self._rows)

    def open(self) -> None:
        """Take up what the file has; one that is missing, damaged or of other codes is made anew."""
        self._take(Rows.open(self._path, self._medium, self._extent_rows))
        if len(self) >= self._listed_above:
            self._source.load()

    def close(self) -> None:
        """Save the lists and let the files go; snapshots stay readable."""
        self._source.save()
        self._rows.close()

    def __len__(self) -> int:
        return self._rows.living

    @property
    def ids(self) -> Ids:
        """The ids of all contents, in no order."""
        return self.snapshot().ids

    @property
    def listed(self) -> int:
        """Rows for which lists are asked."""
        return self._source.covered

    def add(self, ids: Sequence[int], vectors: NDArray[np.uint8]) -> None:
        """Add contents; an id that is there already gets the new vector.

        Parameters
        ----------
        ids : sequence of int
            Each once, none negative.
        vectors : (len(ids), 4096) ndarray of uint8
        """
        self._kill(np.asarray(ids, dtype=np.int64))
        self._rows.append(np.asarray(ids, dtype=np.int64), self._medium.packed_codes(vectors))

    def remove(self, ids: Iterable[int]) -> None:
        """Take contents out; unknown ids are ignored."""
        self._kill(np.fromiter(ids, dtype=np.int64))
        # Half of the rows dead: moving the living ones costs a fixed share of what adding them did.
        if self._rows.count > 2 * len(self) + SLACK_ROWS:
            self.compact()

    def agrees(self, ids: Sequence[int], vectors: NDArray[np.uint8]) -> bool:
        """Return whether contents have the codes that their vectors give.

        Parameters
        ----------
        ids : sequence of int
            Each once; one that is not in the collection makes the answer False.
        vectors : (len(ids), 4096) ndarray of uint8
            In the order of `ids`.
        """
        rows, frozen = self._rows.find(np.asarray(ids, dtype=np.int64)), self._rows.frozen()
        place = {content_id: number for number, content_id in enumerate(ids)}
        order = [place[content_id] for content_id in frozen.ids[rows].tolist()]
        codes = self._medium.packed_codes(vectors)[order].astype(np.int16)
        # Rounding may differ by a step between one processor and another.
        return len(rows) == len(ids) and bool((np.abs(codes - frozen.take(rows)) <= 1).all())

    def clear(self) -> None:
        """Forget all contents."""
        self._take(self._made())

    def snapshot(self) -> CollectionSnapshot:
        """Return the state of now, for any thread; copies nothing."""
        return CollectionSnapshot(self._medium, self._rows.frozen(), self._source)

    def tend(self) -> bool:
        """Do a little of what the lists need, for less than a second; False when there is nothing to do.

        Notes
        -----
        For one background thread.  Training the lists, once in the life of a collection, takes some seconds.
        """
        return self._source.step()

    def _kill(self, ids: Ids) -> None:
        rows = self._rows.find(ids)
        if len(rows):
            self._rows.kill(rows)

    def compact(self) -> None:
        """Move the living rows to new ones; snapshots keep the old."""
        frozen, rows = self._rows.frozen(), self._made()
        living = np.flatnonzero(frozen.alive)
        for start in range(0, len(living), _PASS_ROWS):
            moved = living[start : start + _PASS_ROWS]
            rows.append(frozen.ids[moved], frozen.take(moved))
        self._take(rows)

    def _made(self) -> Rows:
        # A disk that refused once has half of the rows; it is tried again at the next start.
        return Rows.make(self._path if self._rows.in_file else None, self._medium, self._extent_rows)

    def _take(self, rows: Rows) -> None:
        self._rows.close()
        self._rows = rows
        beside = None if self._path is None else lists_beside(self._path)
        self._source = ListedCandidates(rows, beside, self._listed_above, self._bounds)
