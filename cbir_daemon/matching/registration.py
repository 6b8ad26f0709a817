"""Registration: from pairs of views to the affine under which a query and each candidate agree best.

In: a query's and its candidates' images.  Out: affines, and which candidates are worth judging.  Never here: how well
two images agree in the end (`agreement`), what that means (`verdict`), which candidates (`coarse`).

Each candidate's two best pairs of views are first guesses; they are aligned on half-size images, the better one again
on whole ones when it may still be a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.align import EDGE_PX, Template, equalize, refine
from cbir_daemon.matching.geometry import Floats, compose, inverse, sample
from cbir_daemon.matching.views import STORED_WINDOWS, TERMS, Windows, query_views
from cbir_daemon.medium import Codes, Guesses
from cbir_daemon.records import VECTOR_SIDE_PX

# Guesses refined for each candidate.  Three or four find 1 % more of the crops to less than half and nothing else.
_GUESSES = 2


@dataclass(frozen=True, slots=True)
class CorrelationFloors:
    """Correlations before each step below which an affine is given up.

    Parameters
    ----------
    first, half : tuple of float
        On half-size images: for all guesses, then for the better one of each candidate.
    whole : tuple of float
        On whole images.
    """

    first: tuple[float, ...]
    half: tuple[float, ...]
    whole: tuple[float, ...] = (0.42, 0.45, 0.5, 0.55)


# Of 592 copies under 41 mild edits, 24 hard ones and chains none had less than 0.24, 0.34, 0.47 and 0.57 before the
# first steps, 0.67 before the next and 0.49, 0.55, 0.58 and 0.6 before the last; of 18 770 others 60 to 90 % had less
# than each of the first floors, a third of the rest than the next, three quarters of the rest than the last.
FLOORS = CorrelationFloors((0.15, 0.28, 0.42, 0.55), (0.62,) * 6)

# Where many are looked up and each pair is seen twice: of 1 161 pairs, seen from either side, each floor gives up at
# most one in a thousand, the last one at half size two.
JOINED_FLOORS = CorrelationFloors((0.1, 0.25, 0.45, 0.65), (0.7,) * 5 + (0.75,))

# Change of the correlation below which further steps change nothing that matters.
_LEAST_CHANGE = 1e-3

# Correlation by which a guess must surpass a plainer one: less is rounding, as where a picture is compared with itself,
# whose parts agree as its whole does.
_LEAST_LEAD = 1e-4

# Area of the stored image that a query shows, below which a half-size query is as coarse as the whole-size image.
_CROP_AREA = 0.64

_Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Registered:
    """How a query lies on each of m images.

    Parameters
    ----------
    affines : (m, 2, 3) ndarray of float32
        From points of the query to points of the image.
    signs : (m,) ndarray of float32
        -1 for a negative, else 1.
    views, windows : (m,) ndarray of int64
        Rows of `query_views` and `STORED_WINDOWS` that were the first guess.
    correlations : (m,) ndarray of float32
        On half-size images, in [-1, 1].
    near : (k,) ndarray of int64
        Rows worth judging; the others were given up.
    """

    affines: Floats
    signs: Floats
    views: _Rows
    windows: _Rows
    correlations: Floats
    near: _Rows


def register(
    image: Floats, others: Floats, box: Windows, start: Guesses | Codes, floors: CorrelationFloors | None = None
) -> Registered:
    """Return how a query lies on each candidate.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
    others : (m, 64, 64) ndarray of float32
    box : Windows
        The query's content box.
    start : Guesses, or (m, len(STORED_WINDOWS), TERMS) ndarray of int8
        One guess for each image, to start from; then more of them are given up.  Or the images' codes, from
        `packed_codes`, which tell several for each.
    floors : CorrelationFloors, optional
        What is given up; `JOINED_FLOORS` for one guess each, else `FLOORS`.
    """
    # Bars and borders are cut off and what is left fills the frame: otherwise their edges are all that aligns.
    frame = without_edge(box)
    content = sample(image[None], frame, VECTOR_SIDE_PX)
    guesses = start if isinstance(start, Guesses) else _guesses(image, box, start)
    if floors is None:
        floors = JOINED_FLOORS if isinstance(start, Guesses) else FLOORS
    count = len(guesses.signs) // max(1, len(others))
    pyramid = _Pyramid(others)
    small = Template(equalize(_halved(content))[0])
    owners = np.repeat(np.arange(len(others)), count)
    affines, reached = pyramid.refine(small, owners, compose(guesses.affines, frame), guesses.signs, floors.first)
    better = _first_of_best(reached.reshape(-1, count)) + count * np.arange(len(others))
    affines, signs, reached = affines[better], guesses.signs[better], reached[better]
    near = np.flatnonzero(reached >= floors.first[-1])
    affines[near], reached[near] = pyramid.refine(small, near, affines[near], signs[near], floors.half, _LEAST_CHANGE)
    near = near[reached[near] >= floors.half[-1]]
    if len(near):
        whole = Template(equalize(content)[0])
        affines[near], reached[near] = refine(
            whole, pyramid.whole(near), near, affines[near], signs[near], floors.whole, _LEAST_CHANGE
        )
        near = near[reached[near] >= floors.whole[-1]]
    affines = compose(affines, inverse(frame))
    return Registered(affines, signs, guesses.views[better], guesses.windows[better], reached, near)


class _Pyramid:
    """Equalised images at both sizes; each is compared with a half-size query at the resolution nearest to it.

    Parameters
    ----------
    others : (m, 64, 64) ndarray of float32
    """

    def __init__(self, others: Floats) -> None:
        self._others = others
        self._half = equalize(_halved(others))
        self._whole = np.empty_like(others)
        self._is_there = np.zeros(len(others), dtype=np.bool_)

    def whole(self, rows: _Rows) -> Floats:
        """Return the (m, 64, 64) whole-size images, of which at least those of `rows` are there."""
        # Most candidates are given up at half size.
        lacking = np.unique(rows[~self._is_there[rows]])
        if len(lacking):
            self._whole[lacking], self._is_there[lacking] = equalize(self._others[lacking]), True
        return self._whole

    def refine(
        self,
        template: Template,
        rows: _Rows,
        affines: Floats,
        signs: Floats,
        floors: Sequence[float],
        least_change: float = 0.0,
    ) -> tuple[Floats, Floats]:
        """Return refined affines and correlations of `rows`; a crop is compared with the full-size image."""
        affines, correlations = affines.copy(), np.zeros(len(affines), dtype=np.float32)
        is_crop = np.abs(np.linalg.det(affines[:, :, :2])) < _CROP_AREA
        for chosen in (np.flatnonzero(is_crop), np.flatnonzero(~is_crop)):
            if len(chosen):
                images = self.whole(rows[chosen]) if is_crop[chosen[0]] else self._half
                affines[chosen], correlations[chosen] = refine(
                    template, images, rows[chosen], affines[chosen], signs[chosen], floors, least_change
                )
        return affines, correlations


def _first_of_best(reached: Floats) -> _Rows:
    """Return for each row of correlations (m, k) the first column that none surpasses by `_LEAST_LEAD`."""
    is_best = reached >= reached.max(axis=1, keepdims=True) - np.float32(_LEAST_LEAD)
    return np.asarray(np.argmax(is_best, axis=1))


def _halved(images: Floats) -> Floats:
    lines = images[:, ::2] + images[:, 1::2]
    return np.asarray((lines[:, :, ::2] + lines[:, :, 1::2]) / 4, dtype=np.float32)


def without_edge(box: Windows) -> Floats:
    """Return the frame (1, 2, 3) of a content box, a pixel smaller along axes on which there are bars."""
    frame = box.frames.copy()
    for axis in (0, 1):
        if frame[0, axis, axis] < 1:
            frame[0, axis, axis] -= 2 * EDGE_PX / VECTOR_SIDE_PX
    return frame


def _guesses(image: Floats, box: Windows, codes: Codes) -> Guesses:
    seen = query_views(image, box)
    # Packed codes are longer by one factor, which makes no difference to which correlate most.
    stored = codes.astype(np.float32, order="C").reshape(-1, TERMS)
    correlations = (stored @ seen.codes.T).reshape(len(codes), len(STORED_WINDOWS), -1)
    # The best window for each view, then the best views: two windows under one view lead to the same place.
    strengths = np.abs(correlations)
    # In order, as the plainer views come before the others.
    views = np.sort(np.argpartition(-strengths.max(axis=1), _GUESSES, axis=1)[:, :_GUESSES], axis=1).ravel()
    owners = np.repeat(np.arange(len(codes)), _GUESSES)
    windows = strengths[owners, :, views].argmax(axis=1)
    signs = np.where(correlations[owners, windows, views] < 0, -1, 1).astype(np.float32)
    return Guesses(views, windows, signs, compose(STORED_WINDOWS.frames[windows], seen.affines[views]))
