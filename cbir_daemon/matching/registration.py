"""Registration: from pairs of views to the affine under which a query and each candidate agree best.

In: a query's and its candidates' images.  Out: affines, and which candidates are worth judging.  Never here: how well
two images agree in the end (`agreement`), what that means (`verdict`), which candidates (`coarse`).

Each candidate's two best pairs of views are first guesses; they are aligned on half-size images, the better one again
on whole ones when it may still be a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.align import EDGE_PX, Template, equalize, refine
from cbir_daemon.matching.geometry import Floats, compose, inverse, sample
from cbir_daemon.matching.views import STORED_WINDOWS, TERMS, Windows, query_views, window_codes
from cbir_daemon.medium import Guesses
from cbir_daemon.records import VECTOR_SIDE_PX

# Guesses refined for each candidate.  Three or four find 1 % more of the crops to less than half and nothing else.
_GUESSES = 2
_FIRST_STEPS, _HALF_STEPS, _WHOLE_STEPS = 4, 6, 4
_HALF_SIDE = VECTOR_SIDE_PX // 2

# Correlation on half-size images below which a candidate is no copy.  After the first steps 340 true pairs had 0.65 and
# more (99 % of them 0.79), three quarters of the false ones less than 0.56.
_HOPELESS = 0.55

# Correlations below which a candidate is no copy where many are looked up and each pair is seen twice, after the first
# and after all steps on half-size images: of 5 550 true pairs, seen from either side, 0.1 and 0.5 % have less.
_HOPELESS_FIRST, _HOPELESS_LAST = 0.65, 0.75

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


def register(image: Floats, others: Floats, box: Windows, starts: Guesses | None = None) -> Registered:
    """Return how a query lies on each candidate.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
    others : (m, 64, 64) ndarray of float32
    box : Windows
        The query's content box.
    starts : Guesses, optional
        One for each image, to start from; then more of them are given up.
    """
    # Bars and borders are cut off and what is left fills the frame: otherwise their edges are all that aligns.
    frame = without_edge(box)
    content = sample(image[None], frame, VECTOR_SIDE_PX)
    guesses = _guesses(image, others, box) if starts is None else starts
    hopeless, hopeless_last = (_HOPELESS, _HOPELESS) if starts is None else (_HOPELESS_FIRST, _HOPELESS_LAST)
    count = len(guesses.signs) // max(1, len(others))
    pyramid = _Pyramid(others)
    small = Template(equalize(_halved(content))[0])
    owners = np.repeat(np.arange(len(others)), count)
    affines, reached = pyramid.refine(small, owners, compose(guesses.affines, frame), guesses.signs, _FIRST_STEPS)
    better = np.argmax(reached.reshape(-1, count), axis=1) + count * np.arange(len(others))
    affines, signs, reached = affines[better], guesses.signs[better], reached[better]
    near = np.flatnonzero(reached >= hopeless)
    affines[near], reached[near] = pyramid.refine(small, near, affines[near], signs[near], _HALF_STEPS)
    near = near[reached[near] >= hopeless_last]
    if len(near):
        whole = Template(equalize(content)[0])
        affines[near], _ = refine(whole, signs[near, None, None] * pyramid.whole[near], affines[near], _WHOLE_STEPS)
    affines = compose(affines, inverse(frame))
    return Registered(affines, signs, guesses.views[better], guesses.windows[better], reached, near)


class _Pyramid:
    """Equalised images at both sizes; each is compared with a half-size query at the resolution nearest to it.

    Parameters
    ----------
    others : (m, 64, 64) ndarray of float32
    """

    def __init__(self, others: Floats) -> None:
        self.whole = equalize(others)
        self._half = equalize(_halved(others))

    def refine(
        self, template: Template, rows: _Rows, affines: Floats, signs: Floats, steps: int
    ) -> tuple[Floats, Floats]:
        """Return refined affines and correlations of `rows`; a crop is compared with the full-size image."""
        affines, correlations = affines.copy(), np.zeros(len(affines), dtype=np.float32)
        is_crop = np.abs(np.linalg.det(affines[:, :, :2])) < _CROP_AREA
        for chosen, images in ((np.flatnonzero(is_crop), self.whole), (np.flatnonzero(~is_crop), self._half)):
            if len(chosen):
                posed = signs[chosen, None, None] * images[rows[chosen]]
                affines[chosen], correlations[chosen] = refine(template, posed, affines[chosen], steps)
        return affines, correlations


def _halved(images: Floats) -> Floats:
    pixels = images.reshape(len(images), _HALF_SIDE, 2, _HALF_SIDE, 2)
    return np.asarray(pixels.mean(axis=(2, 4)), dtype=np.float32)


def without_edge(box: Windows) -> Floats:
    """Return the frame (1, 2, 3) of a content box, a pixel smaller along axes on which there are bars."""
    frame = box.frames.copy()
    for axis in (0, 1):
        if frame[0, axis, axis] < 1:
            frame[0, axis, axis] -= 2 * EDGE_PX / VECTOR_SIDE_PX
    return frame


def _guesses(image: Floats, others: Floats, box: Windows) -> Guesses:
    seen = query_views(image, box)
    stored = window_codes(others, STORED_WINDOWS).reshape(-1, TERMS)
    correlations = (stored @ seen.codes.T).reshape(len(others), len(STORED_WINDOWS), -1)
    # The best window for each view, then the best views: two windows under one view lead to the same place.
    strengths = np.abs(correlations)
    views = np.argpartition(-strengths.max(axis=1), _GUESSES, axis=1)[:, :_GUESSES].ravel()
    owners = np.repeat(np.arange(len(others)), _GUESSES)
    windows = strengths[owners, :, views].argmax(axis=1)
    signs = np.where(correlations[owners, windows, views] < 0, -1, 1).astype(np.float32)
    return Guesses(views, windows, signs, compose(STORED_WINDOWS.frames[windows], seen.affines[views]))
