"""The neighbours of all points, by comparing each with each: what faster ways are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cbir_daemon.map.neighbors import BLOCK_BYTES, EXACT_BLOCK_BYTES, Neighbors, nearest_to_rows
from cbir_daemon.map.points import Points


def nearest_others(
    points: Points,
    k: int,
    progress: Callable[[int], None] = lambda _: None,
    *,
    block_bytes: int = BLOCK_BYTES,
    exact_block_bytes: int = EXACT_BLOCK_BYTES,
) -> Neighbors:
    """Return the `k` nearest other rows of each row.

    Parameters
    ----------
    points : (n, f) Points
    k : int
        1 to n - 1.
    progress : callable, optional
        Gets the number of rows done.
    block_bytes, exact_block_bytes : int
        See `nearest_to_rows`.

    Notes
    -----
    O(n^2 f) time in matrix products, O(n k) memory and `block_bytes`.
    """
    found = nearest_to_rows(
        points,
        np.arange(len(points)),
        k,
        progress,
        block_bytes=block_bytes,
        exact_block_bytes=exact_block_bytes,
    )
    return found.tied(points.metric)
