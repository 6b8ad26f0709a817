"""The exact nearest neighbours of codes.

In: points.  Out: ids and distances of the k nearest.  Never here: umap, files, approximation.

Points are compared by half of their squared difference.  For unit vectors that is the cosine distance, but exact near
0, where 1 - dot loses all its digits.  In a Euclidean space it gives the same order as the distance, which
`Neighbors.tied` makes of it.  Equal distances come in order of id.  A row's result never depends on which other rows
were asked in the same call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.points import Points
from cbir_daemon.medium import Metric

BLOCK_BYTES = 32 * 2**20
"""Memory for one block of similarities; choosing among them takes as much again."""

EXACT_BLOCK_BYTES = 4 * 2**20
"""Memory for one block of differences: small enough for a processor's cache."""

NEAREST = 10
"""Neighbours by which it is told how far an image is from the fitted ones: about what a page of results shows."""

SMALLEST_DISTANCE = np.float32(1e-7)
"""Distance of duplicates: an explicit zero would mean "no neighbour" to a sparse matrix."""


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The k nearest of each row, nearest first.

    Parameters
    ----------
    ids : (n, k) ndarray of int32
        Row numbers among the points searched.
    distances : (n, k) ndarray of float32
        In [0, 2], never falling along a row: halves of squared differences; after `tied`, what a map is made of.
    """

    ids: NDArray[np.int32]
    distances: NDArray[np.float32]

    def first(self, k: int) -> Neighbors:
        """Return the `k` nearest of each row."""
        return Neighbors(self.ids[:, :k], self.distances[:, :k])

    def copied(self) -> Neighbors:
        """Return the neighbours in memory of their own, so that the arrays that they were a part of can be freed."""
        return Neighbors(self.ids.copy(), self.distances.copy())

    def tied(self, metric: Metric) -> Neighbors:
        """Return the neighbours with the distances that a map is made of, at least `SMALLEST_DISTANCE`.

        Parameters
        ----------
        metric : Metric
            Of the points.
        """
        distances = np.sqrt(2 * self.distances) if metric is Metric.EUCLIDEAN else self.distances
        return Neighbors(self.ids, np.maximum(distances, SMALLEST_DISTANCE))


def nearest_to_rows(
    points: Points,
    rows: NDArray[np.intp],
    k: int,
    progress: Callable[[int], None] = lambda _: None,
    *,
    block_bytes: int = BLOCK_BYTES,
    exact_block_bytes: int = EXACT_BLOCK_BYTES,
) -> Neighbors:
    """Return the `k` nearest points of each row in `rows`, without itself; a duplicate is at distance 0.

    Parameters
    ----------
    points : (n, f) Points
    rows : (m,) ndarray of intp
        Rows of `points` whose neighbours are sought; none is its own neighbour.
    k : int
        1 to n - 1.
    progress : callable, optional
        Gets the number of rows done.
    block_bytes : int
        Of the similarities that are looked at at once.
    exact_block_bytes : int
        Of the differences that are squared at once.
    """
    return _nearest(
        points,
        points[rows],
        k,
        progress,
        own=rows,
        block_bytes=block_bytes,
        exact_block_bytes=exact_block_bytes,
    )


def nearest(points: Points, queries: Points, k: int) -> Neighbors:
    """Return the `k` rows of `points` nearest to each of `queries`, with the distances that a map is made of.

    Parameters
    ----------
    points : (n, f) Points
    queries : (m, f) Points
    k : int
        1 to n.
    """
    return _nearest(points, queries, k, lambda _: None, own=None).tied(points.metric)


def closer(
    points: Points, queries: Points, limits: NDArray[np.float32], k: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the points that are at most as far from each query as its limit.

    Parameters
    ----------
    points : (n, f) Points
    queries : (m, f) Points
        As many as a block takes.
    limits : (m,) ndarray of float32
        Halves of squared differences; infinite ones limit nothing.
    k : int
        The `k` nearest of each query are enough.

    Returns
    -------
    rows, ids : (p,) ndarray of intp
        Of the queries, ascending, and of the points.
    distances : (p,) ndarray of float32
        Halves of squared differences.
    """
    similarity = queries.rows @ points.rows.T
    doubt = _doubt(points)
    own: NDArray[np.float32] | float = 1.0
    if points.metric is Metric.EUCLIDEAN:
        similarity -= _half_squares(points.rows)
        own = _half_squares(queries.rows)
    near = similarity >= (own - limits - doubt)[:, np.newaxis]
    crowded = np.flatnonzero(np.count_nonzero(near, axis=1) > k)
    if len(crowded):
        kth_best = np.partition(similarity[crowded], -k, axis=1)[:, -k]
        near[crowded] &= similarity[crowded] >= (kth_best - doubt)[:, np.newaxis]
    rows, ids = np.nonzero(near)
    return rows, ids, exact_distances(points.rows, ids, queries.rows, rows)


def block_rows(points: Points, block_bytes: int = BLOCK_BYTES) -> int:
    """Return how many queries are compared with all of `points` at once, so that a block takes so many bytes.

    Parameters
    ----------
    points : (n, f) Points
    block_bytes : int
    """
    return max(1, block_bytes // (4 * len(points)))


def strictly_rising(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return distances that rise strictly along each row: an equal one becomes the next larger float.

    Whoever sorts a row again, and umap-learn does, gets the same order on every processor then; a sort leaves open
    which of equals comes first.

    Parameters
    ----------
    distances : (n, k) ndarray of float32
        Above 0, never falling along a row.

    Returns
    -------
    (n, k) ndarray of float32
        Off by `k` steps of float32 at most.
    """
    # The bits of positive floats, read as an integer, rise by one from each float to the next.
    steps = np.arange(distances.shape[1], dtype=np.int32)
    bits = np.ascontiguousarray(distances).view(np.int32) - steps
    return (np.maximum.accumulate(bits, axis=1) + steps).view(np.float32)


def _nearest(
    points: Points,
    queries: Points,
    k: int,
    progress: Callable[[int], None],
    *,
    own: NDArray[np.intp] | None,
    block_bytes: int = BLOCK_BYTES,
    exact_block_bytes: int = EXACT_BLOCK_BYTES,
) -> Neighbors:
    rows = len(queries)
    found = Neighbors(np.empty((rows, k), np.int32), np.empty((rows, k), np.float32))
    step = block_rows(points, block_bytes)
    halves = _half_squares(points.rows) if points.metric is Metric.EUCLIDEAN else None
    for start in range(0, rows, step):
        block = queries[start : start + step]
        similarity = block.rows @ points.rows.T
        if halves is not None:
            similarity -= halves
        chosen = slice(start, start + len(block))
        if own is not None:
            # By id, not by position: of two duplicates, the other one may well come first.
            similarity[np.arange(len(block)), own[chosen]] = -np.inf
        found.ids[chosen], found.distances[chosen] = _best_of_block(points, block, similarity, k, exact_block_bytes)
        progress(start + len(block))
    return found


def _best_of_block(
    points: Points,
    queries: Points,
    similarity: NDArray[np.float32],
    k: int,
    exact_block_bytes: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return ids and distances of the `k` nearest of each query, given a block of similarities."""
    kth_best = np.partition(similarity, -k, axis=1)[:, -k]
    rows, ids = np.nonzero(similarity >= (kth_best - _doubt(points))[:, np.newaxis])
    distances = exact_distances(points.rows, ids, queries.rows, rows, exact_block_bytes)
    nearest_first = np.lexsort((ids, distances, rows))
    first_of_row = np.searchsorted(rows, np.arange(len(queries)))
    best = nearest_first[first_of_row[:, np.newaxis] + np.arange(k)]
    return ids[best].astype(np.int32), distances[best]


def _half_squares(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return half of the square of each row's norm.

    Of points of any norm, the one with the largest product less this number is nearest to a query:
    half of |q - p|^2 is half of |q|^2 less (q.p - |p|^2 / 2).
    """
    return np.asarray(np.einsum("nf,nf->n", rows, rows) / 2, dtype=np.float32)


def _doubt(points: Points) -> float:
    """Return twice by how much a product of two rows may be off, differently at each place of a matrix.

    All that lie so close to the k-th are compared exactly, so the true nearest are always among them.  A product of f
    terms of rows of norm 1 at most is off by f eps / 2, half of a square by f eps / 4: this is twice their sum, and
    more.
    """
    return float(2 * points.rows.shape[1] * np.finfo(np.float32).eps)


def exact_distances(
    points: NDArray[np.float32],
    ids: NDArray[np.intp],
    queries: NDArray[np.float32],
    rows: NDArray[np.intp],
    block_bytes: int = EXACT_BLOCK_BYTES,
) -> NDArray[np.float32]:
    """Return half of the squared difference of pairs; a pair has the same one whichever other pairs are asked for.

    Parameters
    ----------
    points : (n, f) ndarray of float32
        Rows of points.
    ids : (p,) ndarray of intp
        Of each pair the row of `points`.
    queries : (m, f) ndarray of float32
        Rows of points.
    rows : (p,) ndarray of intp
        Of each pair the row of `queries`.
    block_bytes : int
        Of the differences that are squared at once.

    Returns
    -------
    (p,) ndarray of float32
        In [0, 2].
    """
    distances = np.empty(len(ids), np.float32)
    step = max(1, block_bytes // (4 * points.shape[1]))
    for start in range(0, len(ids), step):
        pairs = slice(start, start + step)
        difference = points[ids[pairs]]
        difference -= queries[rows[pairs]]
        distances[pairs] = np.square(difference, out=difference).sum(axis=1) / 2
    return distances
