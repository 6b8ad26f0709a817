"""Coarse search: which of many contents may show the same picture as a query, whatever was done to it.

In: ids and vectors, then queries.  Out: ids with coarse scores, best first.  Never here: verdicts (`verdict`), where
vectors are kept (a `Collection` keeps codes only), threads: one writer changes a collection, anyone reads snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.views import (
    STORED_WINDOWS,
    TERMS,
    TRIMS,
    WHOLE,
    join,
    turned,
    undo_dihedral,
    window_codes,
)
from cbir_daemon.records import VECTOR_SIDE_PX

# Rows of one block: never moved, so snapshots share it; small enough that float32 products of it stay in the cache.
BLOCK_ROWS = 512

# A code of norm below 1 has no term above this; int8 steps of 1/150 change no correlation by more than 0.01.
_SCALE = np.float32(127 / 0.85)

_QUERY_WINDOWS = join(WHOLE, TRIMS)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a collection held at one moment.

    Parameters
    ----------
    ids : (n,) ndarray of int64
        Content ids, in the order in which they were added.
    """

    ids: NDArray[np.int64]
    _rows: NDArray[np.int64]
    _blocks: tuple[NDArray[np.int8], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def candidates(self, query: NDArray[np.uint8], limit: int, *, floor: float = 0.0) -> list[tuple[int, float]]:
        """Return the contents most likely to show what the query shows, under all views.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        limit : int
            Contents wanted at most.
        floor : float
            Coarse score below which a content is left out.

        Returns
        -------
        list of (content id, coarse score)
            Best first; equal scores in order of id.
        """
        if not len(self):
            return []
        scores = self.scores(query)
        count = min(limit, len(scores))
        kept = np.argpartition(-scores, count - 1)[:count]
        kept = kept[scores[kept] >= floor]
        kept = kept[np.lexsort((self.ids[kept], -scores[kept]))]
        return [(int(self.ids[row]), float(scores[row])) for row in kept]

    def copy_candidates(self, query: NDArray[np.uint8], limit: int) -> list[tuple[int, float]]:
        """Return the candidates that may be copies at all: none means that there is nothing to verify."""
        return self.candidates(query, limit, floor=COPY_FLOOR)

    def scores(self, query: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the best correlation over all pairs of views, for each of `ids`, in [0, 1]."""
        image = np.asarray(query, dtype=np.float32).reshape(1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
        for_all = undo_dihedral(window_codes(image, _QUERY_WINDOWS)[0]).reshape(-1, TERMS)
        windows = undo_dihedral(window_codes(image, STORED_WINDOWS)[0, 1:]).reshape(-1, TERMS)
        angles = undo_dihedral(window_codes(turned(image[0]), WHOLE)[:, 0]).reshape(-1, TERMS)
        for_whole = np.concatenate([windows, angles])
        best = [_best(block, for_all.T, for_whole.T) for block in self._blocks]
        scores: NDArray[np.float32] = np.concatenate(best)[self._rows]
        return np.minimum(scores, 1)


def _best(block: NDArray[np.int8], for_all: NDArray[np.float32], for_whole: NDArray[np.float32]) -> NDArray[np.float32]:
    codes = block.astype(np.float32)
    codes /= _SCALE
    everywhere = (codes.reshape(-1, TERMS) @ for_all).reshape(len(block), -1)
    whole = codes[:, 0] @ for_whole
    # A negative has the opposite code, so the sign does not count here.
    best: NDArray[np.float32] = np.maximum(
        np.maximum(everywhere.max(axis=1), -everywhere.min(axis=1)), np.maximum(whole.max(axis=1), -whole.min(axis=1))
    )
    return best


class Collection:
    """The codes of all contents that are searched; one writer changes it, snapshots are read by anyone."""

    def __init__(self) -> None:
        self._ids: list[NDArray[np.int64]] = []
        self._blocks: list[NDArray[np.int8]] = []
        self._count = 0
        self._row_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, ids: Sequence[int], vectors: NDArray[np.uint8]) -> None:
        """Add contents; an id that is there already gets the new vector.

        Parameters
        ----------
        ids : sequence of int
        vectors : (len(ids), 4096) ndarray of uint8
        """
        self.remove(ids)
        images = np.asarray(vectors).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
        for start in range(0, len(images), BLOCK_ROWS):
            some = window_codes(images[start : start + BLOCK_ROWS].astype(np.float32), STORED_WINDOWS)
            self._append(ids[start : start + BLOCK_ROWS], np.rint(some * _SCALE).astype(np.int8))

    def remove(self, ids: Iterable[int]) -> None:
        """Take contents out; unknown ids are ignored."""
        for content_id in ids:
            self._row_of.pop(content_id, None)
        if self._count > 2 * len(self._row_of) + BLOCK_ROWS:
            self._compact()

    def snapshot(self) -> Snapshot:
        """Return what is there now, for any thread; costs a few bytes an image, never a copy of the codes."""
        rows = np.fromiter(self._row_of.values(), dtype=np.int64, count=len(self._row_of))
        ids = np.fromiter(self._row_of, dtype=np.int64, count=len(self._row_of))
        used = [min(BLOCK_ROWS, self._count - i * BLOCK_ROWS) for i in range(len(self._blocks))]
        return Snapshot(ids, rows, tuple(block[:count] for block, count in zip(self._blocks, used, strict=True)))

    def _append(self, ids: Sequence[int], rows: NDArray[np.int8]) -> None:
        done = 0
        while done < len(rows):
            offset = self._count % BLOCK_ROWS
            if offset == 0:
                self._blocks.append(np.empty((BLOCK_ROWS, len(STORED_WINDOWS), TERMS), dtype=np.int8))
            count = min(BLOCK_ROWS - offset, len(rows) - done)
            # Rows past the end of every snapshot: nobody reads them yet.
            self._blocks[-1][offset : offset + count] = rows[done : done + count]
            self._row_of.update(zip(ids[done : done + count], range(self._count, self._count + count), strict=True))
            self._count += count
            done += count

    def _compact(self) -> None:
        """Move the living rows to new blocks; old snapshots keep the old ones."""
        old_blocks, old_rows = self._blocks, self._row_of
        self._blocks, self._row_of, self._count = [], {}, 0
        living = list(old_rows.items())
        for start in range(0, len(living), BLOCK_ROWS):
            some = living[start : start + BLOCK_ROWS]
            codes = np.stack([old_blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] for _, row in some])
            self._append([content_id for content_id, _ in some], codes)


COPY_FLOOR = 0.6
