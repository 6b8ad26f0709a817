"""The neighbours of all points, by comparing each with each: what faster ways are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.neighbors import Neighbors, nearest_to_rows


def nearest_others(points: NDArray[np.float32], k: int, progress: Callable[[int], None] = lambda _: None) -> Neighbors:
    """Return the `k` nearest other rows of each row.

    Parameters
    ----------
    points : (n, f) ndarray of float32
        Unit rows.
    k : int
        1 to n - 1.
    progress : callable, optional
        Gets the number of rows done.

    Notes
    -----
    O(n^2 f) time in matrix products, O(n k) memory and `BLOCK_BYTES`.
    """
    return nearest_to_rows(points, np.arange(len(points)), k, progress).tied()
