"""How much of what is near among codes is near on a map, for maps that are there already.

In: codes and positions of the same images.  Out: shares.  Never here: umap, fitting, files.

`kept` of an image is the share of its 10 nearest by code that are among the nearest 1 % on the map: what `similar`
proposes can hold no more of them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.neighbors import nearest, to_points

TRUE_NEIGHBORS = 10
NEIGHBORHOOD_SHARE = 0.01


def true_neighbors(codes: NDArray[np.float32], rows: NDArray[np.intp], k: int = TRUE_NEIGHBORS) -> NDArray[np.int32]:
    """Return the `k` nearest other rows of some rows.

    Parameters
    ----------
    codes : (n, f) ndarray of float32
        Unit rows free of their mean; rows of zeros for flat images.
    rows : (m,) ndarray of intp
        Those asked about.
    k : int
        1 to n - 1.

    Returns
    -------
    (m, k) ndarray of int32
        Nearest first.
    """
    points = to_points(codes)
    ids = nearest(points, points[rows], k + 1).ids
    others = ids != rows[:, np.newaxis]
    # Among more than k duplicates the row itself may not be there: then the last one goes.
    others[others.all(axis=1), -1] = False
    return np.asarray(ids[others].reshape(len(rows), k), dtype=np.int32)


def kept(positions: NDArray[np.float32], rows: NDArray[np.intp], true_ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the share of true neighbours of each of some rows that are near on the map.

    Parameters
    ----------
    positions : (n, d) ndarray of float32
        The map.
    rows : (m,) ndarray of intp
        Those asked about.
    true_ids : (m, k) ndarray of int32
        From `true_neighbors`.

    Returns
    -------
    (m,) ndarray of float64
        In [0, 1].
    """
    count = min(len(positions) - 1, max(true_ids.shape[1], math.ceil(NEIGHBORHOOD_SHARE * len(positions))))
    shares = np.empty(len(rows))
    for index, (row, true_row) in enumerate(zip(rows, true_ids, strict=True)):
        distances = np.linalg.norm(positions - positions[row], axis=1)
        distances[row] = np.inf
        near = np.argpartition(distances, count - 1)[:count]
        shares[index] = np.isin(true_row, near).mean()
    return shares
