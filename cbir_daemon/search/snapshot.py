"""The frozen value that a search runs over: codes and positions as they were at one moment.

In: positions by content id.  Out: the contents nearest to a position.  Never here: vectors, verdicts, changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.search.collection import CollectionSnapshot
from cbir_daemon.search.descriptors import DescriptorTable


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
        """Return the ids of the contents nearest to a position, nearest first; equal ones in order of id.

        Parameters
        ----------
        position : (n_components,) ndarray of float32
        count : int
            At least 1; fewer come back when the map has fewer.
        """
        distances = np.linalg.norm(self.positions - position, axis=1)
        rows = np.argpartition(distances, count - 1)[:count] if count < len(distances) else np.arange(len(distances))
        rows = rows[np.lexsort((self.ids[rows], distances[rows]))]
        return [int(content_id) for content_id in self.ids[rows]]

    def position_of(self, content_id: int) -> NDArray[np.float32] | None:
        """Return the (n_components,) position of a content, or None."""
        row = int(np.searchsorted(self.ids, content_id))
        return self.positions[row] if row < len(self.ids) and self.ids[row] == content_id else None

    def distance(self, content_id: int, position: NDArray[np.float32]) -> float | None:
        """Return the Euclidean distance of a content from a position; None when the content has no position.

        Parameters
        ----------
        content_id : int
        position : (n_components,) ndarray of float32
        """
        own = self.position_of(content_id)
        return None if own is None else float(np.linalg.norm(own - position))


@dataclass(frozen=True, slots=True)
class SearchSnapshot:
    """One state of what is searched; never changed.

    Parameters
    ----------
    collection : CollectionSnapshot
    map : Map or None
    looks : DescriptorTable or None
        How contents look; None for a medium that cannot be looked at.
    """

    collection: CollectionSnapshot
    map: Map | None
    looks: DescriptorTable | None = None


def without(current: Map | None, gone: set[int]) -> Map | None:
    """Return a map without the positions of some contents.

    Parameters
    ----------
    current : Map or None
        None stays None.
    gone : set of int
        Content ids; unknown ones are ignored.
    """
    if current is None or not gone:
        return current
    rest = ~np.isin(current.ids, list(gone))
    return Map(current.run_id, current.ids[rest], current.positions[rest])


def extended(current: Map | None, run_id: int, placed: Sequence[tuple[int, bytes]]) -> Map:
    """Return a map with more positions: of a content that is there already the new one counts.

    Parameters
    ----------
    current : Map or None
        None begins a new map.
    run_id : int
    placed : sequence of (content id, float32 bytes)
        At least one; each as long as those of `current`.
    """
    ids = np.array([content_id for content_id, _ in placed], dtype=np.int64)
    positions = np.frombuffer(b"".join(row for _, row in placed), dtype="<f4").reshape(len(placed), -1)
    if current is not None:
        kept = ~np.isin(current.ids, ids)
        ids = np.concatenate([current.ids[kept], ids])
        positions = np.concatenate([current.positions[kept], positions])
    order = np.argsort(ids)
    return Map(run_id, ids[order], np.ascontiguousarray(positions[order], dtype=np.float32))
