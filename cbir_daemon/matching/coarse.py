"""Coarse codes: the small codes that generate candidates, and their scores against the views of a query.

In: vectors.  Out: packed codes of stored images, views of a query, scores.  Never here: verdicts (`verdict`), where
codes are kept and which of many are compared (`search`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.geometry import Floats
from cbir_daemon.matching.views import (
    FLOOR_LEVELS,
    FRAMINGS,
    MIDDLES,
    STORED_WINDOWS,
    TERMS,
    WEIGHTS,
    Windows,
    views_by_window,
    window_codes,
)
from cbir_daemon.medium import CoarseViews, Codes
from cbir_daemon.records import VECTOR_SIDE_PX

WINDOWS = len(STORED_WINDOWS)

FEW_WINDOWS = (0, 1, 2, 18)
"""The windows that find most under `few_views`: one after the other those that help most of 160 mildly edited
photographs among 9 200 contents.  With them 0.981 of the originals are among the first hundred, as with all 50 windows
under all views; a fifth code finds 0.988, and further ones find no more."""

# Images whose products with all views stay in the processor's cache: 2 MB of float32.
_PASS_ROWS = 512

# Codes have no term above 0.85 in size: their norm is below 1 and weights lift the higher terms.  Steps of 1/149
# change no correlation by more than 0.01.
SCALE = np.float32(127 / 0.85)

COPY_FLOOR = 0.8
"""Coarse score below which verifying is not worth its time: of 370 edited photographs 99.6 % score above."""


def coarse_views(query: NDArray[np.uint8]) -> CoarseViews:
    """Return the views of a query.

    Parameters
    ----------
    query : (4096,) ndarray of uint8
    """
    image = np.asarray(query, dtype=np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    return CoarseViews(*(codes / SCALE for codes in views_by_window(image)))


def few_views(query: NDArray[np.uint8]) -> CoarseViews:
    """Return the likeliest views of a query: the whole under all flips and turns, its trims, and frames as they stand.

    Parameters
    ----------
    query : (4096,) ndarray of uint8
    """
    views = coarse_views(query)
    none = views.tilts[:0]
    return CoarseViews(views.crops, none, views.frames[: len(FRAMINGS)])


def packed_codes(
    vectors: NDArray[np.uint8],
    table: Windows = STORED_WINDOWS,
    *,
    weights: Floats = WEIGHTS,
    floor_levels: float = FLOOR_LEVELS,
) -> Codes:
    """Return the packed codes of vectors; 0.05 ms each.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    table : Windows
        The windows of each image that have a code.
    weights : (TERMS,) ndarray of float32
        Of each term.
    floor_levels : float
        Grey levels added to a window's own deviation.

    Returns
    -------
    (n, len(table), TERMS) ndarray of int8
        Terms times `SCALE`, rounded.
    """
    images = np.asarray(vectors).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    packed = np.empty((len(images), len(table), TERMS), dtype=np.int8)
    for start in range(0, len(images), _PASS_ROWS):
        piece = images[start : start + _PASS_ROWS].astype(np.float32)
        codes = window_codes(piece, table, weights=weights, floor_levels=floor_levels)
        packed[start : start + _PASS_ROWS] = np.clip(np.rint(codes * SCALE), -127, 127)
    return packed


def best_scores(codes: Codes | Floats, views: CoarseViews) -> Floats:
    """Return for each stored image the best correlation over all pairs of views, (n,) float32 in [0, 1].

    Parameters
    ----------
    codes : (n, WINDOWS, TERMS) ndarray of int8, or of float32
        May be strided.
    views : CoarseViews
    """
    best = np.empty(len(codes), dtype=np.float32)
    for start in range(0, len(codes), _PASS_ROWS):
        piece = codes[start : start + _PASS_ROWS].astype(np.float32, order="C", copy=False)
        by_family = [
            _best(piece, views.crops),
            _best(piece[:, :MIDDLES], views.tilts),
            _best(piece[:, :1], views.frames),
        ]
        best[start : start + _PASS_ROWS] = np.max(by_family, axis=0)
    return np.clip(best, 0, 1, out=best)


def _best(codes: Floats, views: Floats) -> Floats:
    """Return for each row of codes (r, w, TERMS) the best correlation of any window with any view (v, TERMS)."""
    products = (codes.reshape(-1, TERMS) @ views.T).reshape(len(codes), -1)
    # A negative has the opposite code, so the sign does not count here.
    return np.asarray(np.maximum(products.max(axis=1), -products.min(axis=1)), dtype=np.float32)


def probe_vectors() -> NDArray[np.uint8]:
    """Return the (3, 4096) vectors whose codes change whenever the table of windows or weights does.

    Broad waves, noise, and waves of two grey levels, whose codes the floor for flat windows decides.
    """
    y, x = np.mgrid[:VECTOR_SIDE_PX, :VECTOR_SIDE_PX].astype(np.int64)
    waves = (3 * x * x + 5 * x * y + 2 * y * y) // 64 % 256
    noise = (x * 7919 + y * 104_729 + x * x * y * 31) % 251
    faint = 100 + waves // 100
    return np.stack([waves, noise, faint]).astype(np.uint8).reshape(3, -1)
