"""Descriptors of meaning, in memory, one after another, for queries that are compared with all of them.

In: descriptors as bytes, by content id.  Out: ids and rows of numbers.  Never here: how they are made or compared.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAST_ROWS = 1024


@dataclass(frozen=True, slots=True)
class MeaningRows:
    """Contents and their descriptors, as they were when they were asked for; later ones do not change them.

    Parameters
    ----------
    content_ids : (n,) ndarray of int64
        In the order in which they came.
    numbers : (n, d) ndarray of int8
    """

    content_ids: NDArray[np.int64]
    numbers: NDArray[np.int8]


class MeaningTable:
    """Descriptors of contents.  Any thread may use it.

    Parameters
    ----------
    width : int
        Bytes of a descriptor.
    """

    def __init__(self, width: int) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._content_ids = np.zeros(_LEAST_ROWS, np.int64)
        self._numbers = np.zeros((_LEAST_ROWS, width), np.int8)

    def __len__(self) -> int:
        """Return how many contents it has."""
        return self._count

    def add(self, contents: Sequence[tuple[int, bytes]]) -> None:
        """Add contents that it does not have yet; those whose bytes are no descriptor are left out.

        Parameters
        ----------
        contents : sequence of (content id, bytes)
        """
        width = self._numbers.shape[1]
        sound = [(content_id, numbers) for content_id, numbers in contents if len(numbers) == width]
        with self._lock:
            end = self._count + len(sound)
            if end > len(self._content_ids):
                # Twice as many: who holds the rows before keeps them.
                self._content_ids = np.concatenate([self._content_ids, np.zeros(end, np.int64)])
                self._numbers = np.concatenate([self._numbers, np.zeros((end, width), np.int8)])
            self._content_ids[self._count : end] = [content_id for content_id, _ in sound]
            joined = np.frombuffer(b"".join(numbers for _, numbers in sound), np.int8)
            self._numbers[self._count : end] = joined.reshape(-1, width)
            self._count = end

    def rows(self) -> MeaningRows:
        """Return all contents and their descriptors; those that the albums have no longer stay until a restart."""
        with self._lock:
            return MeaningRows(self._content_ids[: self._count], self._numbers[: self._count])
