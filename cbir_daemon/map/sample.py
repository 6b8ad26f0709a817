"""Which images are fitted when there are too many for one fit.

In: ids.  Out: rows.  Never here: how many are too many (`memory`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 0x9E3779B97F4A7C15


def draw_rows(ids: NDArray[np.int64], most: int, seed: int) -> NDArray[np.intp]:
    """Return all rows, or `most` of them drawn uniformly.

    Parameters
    ----------
    ids : (n,) ndarray of int64
        Names of the rows.
    most : int
    seed : int
        Of the draw.

    Returns
    -------
    (min(n, most),) ndarray of intp
        Ascending.

    Notes
    -----
    The lot of an id depends on the id and the seed alone: a collection that grows keeps most of its sample, and with it
    the neighbours that are known.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood: Fast splittable pseudorandom number generators. OOPSLA 2014 (the mixing).
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    lots = ids.astype(np.uint64) * np.uint64(STEP) + np.uint64((seed + 1) * STEP**2 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        lots = (lots ^ (lots >> np.uint64(shift))) * np.uint64(factor)
    lots ^= lots >> np.uint64(31)
    return np.sort(np.argsort(lots, kind="stable")[:most])
