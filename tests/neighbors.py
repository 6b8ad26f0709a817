"""The neighbours of all points, by comparing each with each: what faster ways are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.neighbors import BLOCK_BYTES, EXACT_BLOCK_BYTES, Neighbors, nearest_to_rows


def nearest_others(
    points: NDArray[np.float32],
    k: int,
    progress: Callable[[int], None] = lambda _: None,
    *,
    is_euclidean: bool = False,
    block_bytes: int = BLOCK_BYTES,
    exact_block_bytes: int = EXACT_BLOCK_BYTES,
) -> Neighbors:
    """Return the `k` nearest other rows of each row.

    Parameters
    ----------
    points : (n, f) ndarray of float32
        From `to_points`.
    k : int
        1 to n - 1.
    progress : callable, optional
        Gets the number of rows done.
    is_euclidean : bool
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
        is_euclidean=is_euclidean,
        block_bytes=block_bytes,
        exact_block_bytes=exact_block_bytes,
    )
    return found.tied(is_euclidean=is_euclidean)
