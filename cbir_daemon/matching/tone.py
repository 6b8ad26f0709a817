"""Tone: how bright and how contrasty a copy is beside its original, and what lies around it.

In: a query, images and the affines between them.  Out: `comparison.Tone` and `comparison.Around`.  Never here: whether
they are copies (`verdict`), words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Around, Tone
from cbir_daemon.matching.align import EDGE_PX, blur
from cbir_daemon.matching.geometry import Floats, inside, sample
from cbir_daemon.records import VECTOR_SIDE_PX

# Pixels of the blur under which greys are compared: what is finer depends on resolution and alignment.
_BLUR_PX = 2.0

# Share of the overlap whose greys must follow one line: letters, logos and clipped lights are among the others.
_FITTING = 0.75
_ROUNDS = 3

# Grey levels that a deviation is taken to have at least: of a picture without contrast nothing can be said.
_LEAST_LEVELS = 1.0

# Of 3 % of a query beside the stored image nothing is said: an alignment is good to about a pixel of 64.
_BESIDE = 0.03

# Grey levels within which a ground is of one tone, and the share of it that must be: the others are letters.
_PLAIN_LEVELS = 12.0
_PLAIN_SHARE = 0.5

_Mask = NDArray[np.bool_]


def tone_of(image: Floats, stored_image: Floats, matrix: Floats, *, invert: bool) -> Tone:
    """Return how the greys of a query follow from those of a stored image where the two overlap.

    Parameters
    ----------
    image, stored_image : (64, 64) ndarray of float32
        Grey levels, 0 to 255.
    matrix : (2, 3) ndarray of float32
        From points of the query to points of the stored image.
    invert : bool
        Whether the two agree as negatives; then the negative of the stored image is what is compared.

    Notes
    -----
    The line is that of the two deviations, which errors in either image do not flatten as they do a regression; first
    of percentiles, then of the three quarters of the overlap that follow it best.
    """
    overlap = inside(matrix[None], VECTOR_SIDE_PX, EDGE_PX).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    seen = sample(stored_image[None], matrix[None], VECTOR_SIDE_PX)[0]
    own, stored = (_blurred(picture, overlap)[overlap > 0] for picture in (image, 255 - seen if invert else seen))
    if not len(own):
        return Tone()
    fitting, beside = own, stored
    gain, offset = _line_of_ranges(own, stored)
    for _ in range(_ROUNDS):
        errors = np.abs(own - gain * stored - offset)
        fits = errors <= np.quantile(errors, _FITTING)
        fitting, beside = own[fits], stored[fits]
        gain, offset = _line(fitting, beside)
    shift = float(fitting.mean() - beside.mean())
    return Tone(round(gain, 3), round(offset, 1), round(shift, 1))


def around(image: Floats, matrix: Floats) -> Around:
    """Return the part of a query that lies beside the stored image.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
        Query, in grey levels, 0 to 255.
    matrix : (2, 3) ndarray of float32
        From points of the query to points of the stored image.

    Notes
    -----
    Each side has a tone of its own: a bar above may be black and the caption below white.
    """
    is_beside = inside(matrix[None], VECTOR_SIDE_PX, 0.0).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX) == 0
    if is_beside.mean() < _BESIDE:
        return Around.NOTHING
    plain = [_plain_px(image[side]) for side in _sides(is_beside)]
    return Around.PLAIN if sum(plain) >= _PLAIN_SHARE * is_beside.sum() else Around.PICTURE


def _sides(is_beside: _Mask) -> list[_Mask]:
    """Return the surroundings of a picture as masks (64, 64): above, below, left and right of its rows and columns."""
    rows, columns = np.any(~is_beside, axis=1), np.any(~is_beside, axis=0)
    above, below = np.cumsum(rows) == 0, np.cumsum(rows[::-1])[::-1] == 0
    left, right = np.cumsum(columns) == 0, np.cumsum(columns[::-1])[::-1] == 0
    bars = [
        np.broadcast_to(side, is_beside.shape) for side in (above[:, None], below[:, None], left[None], right[None])
    ]
    corners = is_beside & ~np.any(bars, axis=0)
    return [*bars, corners]


def _plain_px(ground: Floats) -> int:
    """Return how many pixels (n,) of a ground have its one tone."""
    return int(np.sum(np.abs(ground - np.median(ground)) <= _PLAIN_LEVELS)) if len(ground) else 0


def _blurred(image: Floats, overlap: Floats) -> Floats:
    """Return an image blurred as if there were nothing outside the overlap."""
    across = blur(VECTOR_SIDE_PX, _BLUR_PX)
    weights = np.maximum(across @ overlap @ across.T, np.float32(1e-3))
    return np.asarray((across @ (image * overlap) @ across.T) / weights, dtype=np.float32)


def _line_of_ranges(own: Floats, stored: Floats) -> tuple[float, float]:
    """Return gain and offset that take the middle 80 % of the stored greys to those of the query."""
    (low, middle, high), (first, median, last) = (
        np.percentile(greys, [10, 50, 90]).tolist() for greys in (own, stored)
    )
    gain = (high - low) / max(last - first, _LEAST_LEVELS)
    return gain, middle - gain * median


def _line(own: Floats, stored: Floats) -> tuple[float, float]:
    """Return gain and offset that take mean and deviation of the stored greys to those of the query."""
    gain = float(np.std(own)) / max(float(np.std(stored)), _LEAST_LEVELS)
    return gain, float(np.mean(own) - gain * np.mean(stored))
