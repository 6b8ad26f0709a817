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
    """Lists of rows that lie around the same centre; `trained` makes them.

    Parameters
    ----------
    index : faiss.IndexIVFFlat
        Trained and filled.
    """

    def __init__(self, index: faiss.IndexIVFFlat) -> None:
        self._index = index

    @classmethod
    def trained(cls, points: Points, *, seed: int, threads: int, probes: int) -> InvertedLists:
        """Return the lists of points.

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
        features = points.rows.shape[1]
        count = max(1, min(LISTS_A_ROOT * math.isqrt(len(points)), len(points) // _POINTS_A_LIST))
        # faiss knows 31 bits.
        seed %= 2**31
        metric = faiss.METRIC_L2 if points.metric is Metric.EUCLIDEAN else faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFFlat(faiss.IndexFlat(features, metric), features, count, metric)
        index.cp.niter = _ROUNDS
        index.cp.seed = seed
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _POINTS_A_LIST
        index.nprobe = probes
        faiss.omp_set_num_threads(threads)
        index.train(points.rows)
        index.add(points.rows)
        return cls(index)

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
