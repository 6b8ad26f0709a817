"""Whether a new map is taken into use.

In: codes, and the positions of the same contents on the map in use and on a new one.  Out: how they compare.  Never
here: fitting, rows, threads.

Both maps are compared by the recall of the same contents.  These are held out of every fit, so that neither map has
learnt them.  In a collection that is too small for that, all contents are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map import quality
from cbir_daemon.map.neighbors import NEAREST
from cbir_daemon.map.points import Points

HELD_OUT_SHARE = 0.05
FEWEST_HELD_OUT = 20
MOST_HELD_OUT = 500
"""A twentieth is held out, but no more than are needed: the mean of 500 shares is known to 0.015.  Where a twentieth is
fewer than 20, none is held out: each image counts there."""

TOLERANCE = 0.005
"""Loss of recall that nobody would notice: one neighbour in two hundred."""

FEWEST_COVERED_FRACTION = 0.5
"""A map that was fitted on a smaller share of the collection is replaced whatever its recall."""

_GOLDEN = 0x9E3779B97F4A7C15
_ALL = 2**64


def held_out(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which contents no fit may see: a share of them that their ids alone decide.

    Parameters
    ----------
    ids : (n,) ndarray of int64

    Returns
    -------
    (n,) ndarray of bool
        In a collection that grows, who is held out was so before.

    Notes
    -----
    Ids are spread by Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): neighbours land far apart.
    """
    if len(ids) * HELD_OUT_SHARE < FEWEST_HELD_OUT:
        return np.zeros(len(ids), bool)
    share = min(HELD_OUT_SHARE, MOST_HELD_OUT / len(ids))
    return ids.astype(np.uint64) * np.uint64(_GOLDEN) < np.uint64(int(share * _ALL))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a new map compares with the one in use.

    Parameters
    ----------
    compared : int
        Contents asked about; 0 when there was nothing to compare.
    recall, recall_before : float
        Mean neighbour recall on the new map and on the one in use, in [0, 1].
    spread : float
        Standard error of the difference.
    """

    compared: int = 0
    recall: float = 0.0
    recall_before: float = 0.0
    spread: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether the new map is not worse: within two standard errors, or within `TOLERANCE`."""
        return self.recall >= self.recall_before - max(TOLERANCE, 2 * self.spread)


def compare(
    points: Points, before: NDArray[np.float32], after: NDArray[np.float32], rows: NDArray[np.intp]
) -> Comparison:
    """Compare two maps of the same contents.

    Parameters
    ----------
    points : (n, f) Points
        Of all contents.
    before, after : (n, d) ndarray of float32
        Their positions; the two maps may differ in d.
    rows : (m,) ndarray of intp
        The contents asked about.
    """
    if len(points) <= NEAREST or len(rows) == 0:
        return Comparison()
    true_ids = quality.true_neighbors(points, rows)
    recalls, recalls_before = (quality.recall(places, places[rows], true_ids, own=rows) for places in (after, before))
    spread = float(np.std(recalls - recalls_before)) / len(rows) ** 0.5
    return Comparison(len(rows), float(recalls.mean()), float(recalls_before.mean()), spread)
