"""The descriptors of all contents in memory: which contents look most alike.

In: descriptors by content id.  Out: ids and scores.  Never here: how descriptors are made or compared (`Appearance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Reason
from cbir_daemon.medium import Appearance

SAMPLED = 500
"""Contents, about, by which it is told what is usual."""


@dataclass(frozen=True, slots=True)
class DescriptorTable:
    """Descriptors of contents; never changed.

    Parameters
    ----------
    ids : (n,) ndarray of int64
        Content ids, ascending.
    rows : (n, size) ndarray of uint8
    norms : (n,) ndarray of float32
        From `Appearance.norms`.
    """

    ids: NDArray[np.int64]
    rows: NDArray[np.uint8]
    norms: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls, size: int) -> DescriptorTable:
        """Return a table without contents.

        Parameters
        ----------
        size : int
            Bytes of a descriptor.
        """
        return cls(np.empty(0, np.int64), np.empty((0, size), np.uint8), np.empty(0, np.float32))

    def extended(self, appearance: Appearance, found: Sequence[tuple[int, bytes]]) -> DescriptorTable:
        """Return a table with more descriptors: of a content that is there already the new one counts.

        Parameters
        ----------
        appearance : Appearance
        found : sequence of (content id, descriptor)
        """
        if not found:
            return self
        ids = np.array([content_id for content_id, _ in found], dtype=np.int64)
        rows = np.frombuffer(b"".join(numbers for _, numbers in found), np.uint8).reshape(len(found), -1)
        kept = self.without(set(ids.tolist()))
        order = np.argsort(np.concatenate([kept.ids, ids]))
        return DescriptorTable(
            np.concatenate([kept.ids, ids])[order],
            np.concatenate([kept.rows, rows])[order],
            np.concatenate([kept.norms, appearance.norms(rows)])[order],
        )

    def without(self, gone: set[int]) -> DescriptorTable:
        """Return a table without some contents; unknown ids are ignored.

        Parameters
        ----------
        gone : set of int
        """
        stays = ~np.isin(self.ids, list(gone))
        return self if stays.all() else DescriptorTable(self.ids[stays], self.rows[stays], self.norms[stays])

    def of(self, content_id: int) -> NDArray[np.uint8] | None:
        """Return the (size,) descriptor of a content, or None."""
        row = int(np.searchsorted(self.ids, content_id))
        return self.rows[row] if row < len(self) and self.ids[row] == content_id else None

    def scores(
        self, appearance: Appearance, descriptor: NDArray[np.uint8], content_ids: Sequence[int]
    ) -> dict[int, float]:
        """Return content id -> how alike it looks, in [0, 1], of those contents that have descriptors.

        Parameters
        ----------
        appearance : Appearance
        descriptor : (size,) ndarray of uint8
            Of the query.
        content_ids : sequence of int
        """
        rows = np.flatnonzero(np.isin(self.ids, np.array(content_ids, dtype=np.int64)))
        scores = appearance.alike(descriptor, self.rows[rows], self.norms[rows])
        return dict(zip(self.ids[rows].tolist(), scores.tolist(), strict=True))

    def scores_of(
        self, appearance: Appearance, descriptor: NDArray[np.uint8], content_ids: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return how alike contents look, (n,) in [0, 1]; NaN for those that have no descriptor.

        Parameters
        ----------
        appearance : Appearance
        descriptor : (size,) ndarray of uint8
            Of the query.
        content_ids : (n,) ndarray of int64
        """
        found = np.full(len(content_ids), np.nan, dtype=np.float32)
        if len(self):
            rows = np.minimum(np.searchsorted(self.ids, content_ids), len(self) - 1)
            known = self.ids[rows] == content_ids
            found[known] = appearance.alike(descriptor, self.rows, self.norms)[rows[known]]
        return found

    def nearest(self, appearance: Appearance, descriptor: NDArray[np.uint8], count: int) -> list[int]:
        """Return the ids of the contents that look most alike, likest first; equal ones in order of id.

        Parameters
        ----------
        appearance : Appearance
        descriptor : (size,) ndarray of uint8
            Of the query.
        count : int
            At least 1; fewer come back when the table has fewer.
        """
        scores = appearance.alike(descriptor, self.rows, self.norms)
        rows = np.arange(len(scores))
        if count < len(scores):
            # Of equal ones `argpartition` takes any.
            least = np.partition(scores, -count)[-count]
            rows = np.concatenate([np.flatnonzero(scores > least), np.flatnonzero(scores == least)])[:count]
        return [int(self.ids[row]) for row in rows[np.lexsort((self.ids[rows], -scores[rows]))]]

    def reasons(
        self, appearance: Appearance, descriptor: NDArray[np.uint8], content_ids: Sequence[int]
    ) -> dict[int, Reason]:
        """Return content id -> what makes it resemble a query most, of those contents that have descriptors.

        Parameters
        ----------
        appearance : Appearance
        descriptor : (size,) ndarray of uint8
            Of the query.
        content_ids : sequence of int
        """
        rows = np.flatnonzero(np.isin(self.ids, np.array(content_ids, dtype=np.int64)))
        if not len(rows):
            return {}
        sample = self.rows[:: max(1, len(self) // SAMPLED)]
        return dict(zip(self.ids[rows].tolist(), appearance.reasons(descriptor, self.rows[rows], sample), strict=True))
