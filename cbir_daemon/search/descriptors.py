"""The descriptors of all contents in memory: which contents look most alike.

In: descriptors by content id.  Out: ids and scores.  Never here: how descriptors are made or compared (`Appearance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Reason
from cbir_daemon.medium import Appearance
from cbir_daemon.search.shared_arrays import GrowingArrays

SAMPLED = 500
"""Contents, about, by which it is told what is usual."""


GROWTH = 1.25
"""By which room for descriptors grows: the kernel gives memory only to what was written."""


class _Room:
    """Arrays with room behind the rows that tables show.

    A commit adds 256 contents to 100 000: without room each would copy 50 MB.  Rows that a table shows stay as they
    are, so that tables share them, and search processes map them.
    """

    def __init__(self, size: int, rows: int) -> None:
        self.shared = GrowingArrays([("<i8", [rows]), ("|u1", [rows, size]), ("<f4", [rows])])
        self._arrays = self.shared.arrays
        self._rows = rows
        self.used = 0

    def has(self, rows: int) -> bool:
        return self.used + rows <= self._rows

    def append(self, ids: NDArray[np.int64], rows: NDArray[np.uint8], norms: NDArray[np.float32]) -> DescriptorTable:
        """Fill the next rows, and return the table of all that are filled."""
        end = self.used + len(ids)
        for array, numbers in zip(self._arrays, (ids, rows, norms), strict=True):
            array[self.used : end] = numbers
        self.used = end
        return DescriptorTable(*(array[:end] for array in self._arrays), _room=self)


@dataclass(frozen=True, slots=True)
class DescriptorTable:
    """Descriptors of contents; what it shows is never changed.

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
    _room: _Room | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls, size: int, contents: int = 0) -> DescriptorTable:
        """Return a table without contents.

        Parameters
        ----------
        size : int
            Bytes of a descriptor.
        contents : int
            How many are about to come.
        """
        none = np.empty(0, np.int64), np.empty((0, size), np.uint8), np.empty(0, np.float32)
        return cls(*none, _room=_Room(size, contents) if contents else None)

    def extended(self, appearance: Appearance, found: Sequence[tuple[int, bytes]]) -> DescriptorTable:
        """Return a table with more descriptors: of a content that is there already the new one counts.

        Parameters
        ----------
        appearance : Appearance
        found : sequence of (content id, descriptor)

        Notes
        -----
        Not for two threads at once.  What is new is written behind the rows of this table.
        """
        if not found:
            return self
        ids = np.array([content_id for content_id, _ in found], dtype=np.int64)
        rows = np.frombuffer(b"".join(numbers for _, numbers in found), np.uint8).reshape(len(found), -1)
        if np.all(np.diff(ids, prepend=self.ids[-1:]) > 0):
            return self._room_for(len(ids)).append(ids, rows, appearance.norms(rows))
        kept = self.without(set(ids.tolist()))
        order = np.argsort(np.concatenate([kept.ids, ids]))
        return _in_room(
            np.concatenate([kept.ids, ids])[order],
            np.concatenate([kept.rows, rows])[order],
            np.concatenate([kept.norms, appearance.norms(rows)])[order],
        )

    @property
    def shared(self) -> GrowingArrays | None:
        """The memory that search processes map, whose first rows are those of this table; None where it has none."""
        return None if self._room is None else self._room.shared

    def _room_for(self, count: int) -> _Room:
        """Return room behind the rows of this table: its own, unless another table has taken that."""
        if self._room is not None and self._room.used == len(self) and self._room.has(count):
            return self._room
        room = _Room(self.rows.shape[1], _rows_for(len(self) + count))
        room.append(self.ids, self.rows, self.norms)
        return room

    def without(self, gone: set[int]) -> DescriptorTable:
        """Return a table without some contents; unknown ids are ignored.

        Parameters
        ----------
        gone : set of int
        """
        stays = ~np.isin(self.ids, list(gone))
        return self if stays.all() else _in_room(self.ids[stays], self.rows[stays], self.norms[stays])

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


def _in_room(ids: NDArray[np.int64], rows: NDArray[np.uint8], norms: NDArray[np.float32]) -> DescriptorTable:
    """Return a table of descriptors in new room."""
    return _Room(rows.shape[1], _rows_for(len(ids))).append(ids, rows, norms)


def _rows_for(count: int) -> int:
    """Return for how many rows there is to be room where so many are filled."""
    return int(GROWTH * count)
