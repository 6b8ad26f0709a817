"""Where a warm fit starts: from the positions of the map before.

In: the map before, and the graph of now.  Out: first positions.  Never here: umap, how many steps follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.fit import Previous
from cbir_daemon.map.neighbors import Neighbors

INIT_NOISE = 1e-4
"""Noise on the first positions, as a share of their range: duplicates need some to come apart."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """The images of the map before that are fitted again, with their positions.

    Parameters
    ----------
    rows : (m,) ndarray of intp
        Rows that it had, ascending.
    positions : (m, d) ndarray of float32
    flat : (m, 2) ndarray of float32
    n_neighbors, n_components : int
        Hyper-parameters of the map before.
    """

    rows: NDArray[np.intp]
    positions: NDArray[np.float32]
    flat: NDArray[np.float32]
    n_neighbors: int
    n_components: int

    @classmethod
    def of(cls, previous: Previous, ids: NDArray[np.int64]) -> WarmStart | None:
        """Return the start that a new fit takes from the map before; None when no image is on both.

        Parameters
        ----------
        previous : Previous
            The map before.
        ids : (n,) ndarray of int64
            Names of the rows that will be fitted, ascending.
        """
        _, old, rows = np.intersect1d(previous.ids, ids, assume_unique=True, return_indices=True)
        if not len(rows):
            return None
        n_neighbors = min(previous.n_neighbors, len(ids) - 1)
        return cls(rows, previous.positions[old], previous.flat[old], n_neighbors, previous.n_components)


def carried_over(
    known: NDArray[np.intp], positions: NDArray[np.float32], neighbors: Neighbors, seed: int
) -> NDArray[np.float32]:
    """Return where a warm fit starts: known rows where they were, new ones in the middle of their neighbours.

    Parameters
    ----------
    known : (m,) ndarray of intp
        Rows that were on the map before; at least one.
    positions : (m, d) ndarray of float32
        Where.
    neighbors : Neighbors
        Of all n rows.
    seed : int
        Of the noise that lets new rows come apart.

    Returns
    -------
    (n, d) ndarray of float32
        A new row is put between its neighbours that have a place, the nearer the closer; when none of them has, it
        waits until one has, and a part of the graph that has nobody goes to the middle of the map.
    """
    start = np.tile(positions.mean(axis=0, dtype=np.float64).astype(np.float32), (len(neighbors.ids), 1))
    start[known] = positions
    placed = np.zeros(len(start), bool)
    placed[known] = True
    while len(waiting := np.flatnonzero(~placed)):
        weights = placed[neighbors.ids[waiting]] / neighbors.distances[waiting]
        total = weights.sum(axis=1)
        ready = np.flatnonzero(total)
        if not len(ready):
            break
        rows = waiting[ready]
        shares = (weights[ready] / total[ready, np.newaxis]).astype(np.float32)
        start[rows] = np.einsum("rk,rkd->rd", shares, start[neighbors.ids[rows]])
        placed[rows] = True
    noise = np.random.default_rng(seed).normal(scale=INIT_NOISE, size=start.shape)
    noise[known] = 0.0
    start += (noise * max(1e-6, float(np.ptp(start)))).astype(np.float32)
    return np.asarray(start, dtype=np.float32)
