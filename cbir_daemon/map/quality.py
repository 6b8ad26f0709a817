"""The neighbour recall of a map: how many of the neighbours by code are neighbours on the map.

In: points and positions of the same images.  Out: shares.  Never here: umap, fitting, files.

The recall of an image is the share of its 10 nearest by code that lie in its neighbourhood on the map (see
`search.neighborhood`).  `similar` takes its matches from there, so it finds no larger share of them.  Recall is
measured for the trials of a fit, for a new map and the one in use, and for each image that is projected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.neighbors import NEAREST, nearest
from cbir_daemon.map.points import Points
from cbir_daemon.search.neighborhood import neighborhood_width


def true_neighbors(points: Points, rows: NDArray[np.intp], k: int = NEAREST) -> NDArray[np.int32]:
    """Return the `k` nearest rows of each row in `rows`, without the row itself.

    Parameters
    ----------
    points : (n, f) Points
    rows : (m,) ndarray of intp
        Those asked about.
    k : int
        1 to n - 1.

    Returns
    -------
    (m, k) ndarray of int32
        Nearest first.
    """
    ids = nearest(points, points[rows], k + 1).ids
    others = ids != rows[:, np.newaxis]
    # Among more than k duplicates the row itself may not be there: then the last one goes.
    others[others.all(axis=1), -1] = False
    return np.asarray(ids[others].reshape(len(rows), k), dtype=np.int32)


def recall(
    positions: NDArray[np.float32],
    queries: NDArray[np.float32],
    true_ids: NDArray[np.int32],
    *,
    own: NDArray[np.intp] | None = None,
    width: int | None = None,
) -> NDArray[np.float64]:
    """Return the neighbour recall of each query: the share of its true neighbours in its neighbourhood on the map.

    Parameters
    ----------
    positions : (n, d) ndarray of float32
        The map.
    queries : (m, d) ndarray of float32
        Positions whose neighbourhood is looked at.
    true_ids : (m, k) ndarray of int32
        Rows of `positions` that should be found there.
    own : (m,) ndarray of intp, optional
        The rows of `positions` that the queries are themselves: never their own neighbours.
    width : int, optional
        How many nearest on the map are looked at; by default the neighbourhood that `similar` looks at, k at least.

    Returns
    -------
    (m,) ndarray of float64
        In [0, 1].
    """
    most = len(positions) - (own is not None)
    width = min(most, width or neighborhood_width(len(positions), true_ids.shape[1]))
    axes = np.ascontiguousarray(positions.T)
    shares = np.empty(len(queries))
    for index, (query, true_row) in enumerate(zip(queries, true_ids, strict=True)):
        near = nearest_on_map(axes, query, width, own=None if own is None else own[index])
        shares[index] = np.isin(true_row, near).mean()
    return shares


def nearest_on_map(
    axes: NDArray[np.float32], position: NDArray[np.float32], count: int, *, own: np.intp | int | None = None
) -> NDArray[np.intp]:
    """Return the `count` rows of a map nearest to a position, ascending; of equals the first.

    Parameters
    ----------
    axes : (d, n) ndarray of float32
        The map, one dimension after the other.
    position : (d,) ndarray of float32
    count : int
        1 to n, or n - 1 with `own`.
    own : int, optional
        The row that the position is itself: never its own neighbour.

    Notes
    -----
    Every processor gives the same rows: the distances are sums of differences and not a matrix product, and of equal
    distances the first rows are taken, which `argpartition` does not promise.
    """
    distances = np.square(axes - position[:, np.newaxis]).sum(axis=0)
    if own is not None:
        distances[own] = np.inf
    farthest = np.partition(distances, count - 1)[count - 1]
    nearer, equal = np.flatnonzero(distances < farthest), np.flatnonzero(distances == farthest)
    return np.sort(np.concatenate([nearer, equal[: count - len(nearer)]]))
