"""Inverted lists over the codes of a large collection: they propose neighbours without comparing all pairs.

In: points.  Out: ids worth comparing.  Never here: exact distances, when lists pay
(`graph`), files.

The second door to faiss.  `collection.lists`, the first, holds the views of stored images for as long as the daemon
lives, in its process; these lists hold whole codes for the minutes of a fit, in the fit's, which sees nothing of the
collection.  They share a library and no line.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.points import Points
from cbir_daemon.medium import Metric

LISTS_A_ROOT = 4
"""Lists for each unit of the square root of the number of rows; faiss's own advice."""

_ROUNDS = 10
_POINTS_A_LIST = 50
"""Rows a list is trained with at most; faiss asks for 39 at least."""


class InvertedLists:
    """Lists of rows that lie around the same centre.

    Parameters
    ----------
    points : (n, f) Points
    seed : int
        The same rows, seed, threads and kind of processor give the same lists.
    threads : int
        For training and for queries.
    probes : int
        Lists that a query looks into.
    """

    def __init__(self, points: Points, *, seed: int, threads: int, probes: int) -> None:
        features = points.rows.shape[1]
        count = max(1, min(LISTS_A_ROOT * math.isqrt(len(points)), len(points) // _POINTS_A_LIST))
        # faiss knows 31 bits.
        seed %= 2**31
        metric = faiss.METRIC_L2 if points.metric is Metric.EUCLIDEAN else faiss.METRIC_INNER_PRODUCT
        self._index = faiss.IndexIVFFlat(faiss.IndexFlat(features, metric), features, count, metric)
        self._index.cp.niter = _ROUNDS
        self._index.cp.seed = seed
        self._index.cp.min_points_per_centroid = 1
        self._index.cp.max_points_per_centroid = _POINTS_A_LIST
        self._index.nprobe = probes
        faiss.omp_set_num_threads(threads)
        self._index.train(points.rows)
        self._index.add(points.rows)

    def propose(self, queries: Points, k: int) -> NDArray[np.int64]:
        """Return up to `k` rows that may be nearest to each query.

        Parameters
        ----------
        queries : (m, f) Points
        k : int

        Returns
        -------
        (m, k) ndarray of int64
            In no sure order; -1 where fewer were found.
        """
        _, ids = self._index.search(np.ascontiguousarray(queries.rows), k)
        return np.asarray(ids, dtype=np.int64)
