"""The verdict: whether two vectors show the same picture, what was done to it, and how much each shows of the other.

In: a query's vector and those of its candidates.  Out: `records.Judgement`.  Never here: which candidates (`coarse`).

Each candidate's two best pairs of views are first guesses; they are aligned on half-size images, the better one again
on whole ones when it may still be a copy, and scored by how well the two agree over their overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.align import (
    COARSE_PX,
    EDGE_PX,
    FINE_PX,
    NOISE_LEVELS,
    Template,
    blur,
    blurs,
    equalize,
    refine,
)
from cbir_daemon.matching.codes import is_plain
from cbir_daemon.matching.geometry import Floats, compose, inside, inverse, overlap_of, sample, transform_of
from cbir_daemon.matching.views import (
    STORED_WINDOWS,
    TERMS,
    Windows,
    content_box,
    guess_of,
    query_views,
    window_codes,
)
from cbir_daemon.records import VECTOR_SIDE_PX, Explanation, Judgement, Outcome

COPY_THRESHOLD = 0.89
"""Score from which a match is a `copy`.

Of 2 500 photographs and garments against 2 499 others each, the best false score was 0.872, and every 0.02 more leaves
half as many; 99 % of 4 100 edited photographs score above.  See docs/accuracy.md.
"""

# Guesses refined for each candidate.  Four find 0.5 % more of the crops to a quarter and nothing else.
_GUESSES = 2
_FIRST_STEPS, _HALF_STEPS, _WHOLE_STEPS = 4, 6, 6
_HALF_SIDE = VECTOR_SIDE_PX // 2

# Correlation on half-size images below which a candidate is no copy.  After the first steps 340 true pairs had 0.65 and
# more (99 % of them 0.79), three quarters of the false ones less than 0.56.
_HOPELESS = 0.55

# Disagreement of negatives counts this much more: a dark thing on a bright ground is the negative of many others.
_NEGATIVE_COST = 1.5

# Pixels with structure in the overlap below which agreement is no proof.  99 % of true overlaps hold 640 and more,
# crops to a quarter 340.
_EVIDENCE_PX = 300.0


def judge(query: NDArray[np.uint8], stored: NDArray[np.uint8], *, threshold: float | None = None) -> list[Judgement]:
    """Return what comparing a query with each of some stored vectors says.

    Parameters
    ----------
    query : (4096,) ndarray of uint8
    stored : (m, 4096) ndarray of uint8
    threshold : float, optional
        Score from which a match is a copy; `COPY_THRESHOLD` when not given.

    Returns
    -------
    list of Judgement
        One for each stored vector, in order.
    """
    least = COPY_THRESHOLD if threshold is None else threshold
    image = np.asarray(query, dtype=np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    others = np.asarray(stored, dtype=np.float32).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    if not len(others):
        return []
    box = content_box(image)
    found = align(image, others, box)
    plain = is_plain(query)
    return [_judgement(found, row, box, least, plain=plain) for row in range(len(others))]


@dataclass(frozen=True, slots=True)
class Alignments:
    """How a query aligns with each of m images.

    Parameters
    ----------
    maps : (m, 2, 3) ndarray of float32
        From points of the query to points of the image.
    signs : (m,) ndarray of float32
        -1 for a negative, else 1.
    views, windows : (m,) ndarray of int64
        Rows of `query_views` and `STORED_WINDOWS` that were the first guess.
    correlations : (m,) ndarray of float32
        Over the overlap, in [-1, 1]; on half-size images where `evidence_px` is not a number.
    evidence_px : (m,) ndarray of float32
        Pixels of the overlap that hold structure; NaN for those that were given up.
    area_ratios : (m,) ndarray of float32
        How many times larger one image would be than the other at one scale, at least 1.
    costs : (m,) ndarray of float32
        What disagreement is multiplied by.
    scores : (m,) ndarray of float32
        In [0, 1].
    """

    maps: Floats
    signs: Floats
    views: NDArray[np.int64]
    windows: NDArray[np.int64]
    correlations: Floats
    evidence_px: Floats
    area_ratios: Floats
    costs: Floats
    scores: Floats


def _judgement(found: Alignments, row: int, box: Windows, threshold: float, *, plain: bool) -> Judgement:
    matrix, invert = found.maps[row], bool(found.signs[row] < 0)
    score, evidence_px = float(found.scores[row]), float(found.evidence_px[row])
    outcome = Outcome.COPY if score >= threshold else Outcome.BELOW
    if plain:
        outcome = Outcome.PLAIN
    elif outcome is Outcome.BELOW and math.isnan(evidence_px):
        outcome = Outcome.GIVEN_UP
    scale_x, scale_y = np.linalg.norm(matrix[:, :2], axis=0).tolist()
    return Judgement(
        is_copy=outcome is Outcome.COPY,
        score=round(score, 4),
        transform=transform_of(matrix, invert=invert),
        overlap=overlap_of(matrix),
        explanation=Explanation(
            outcome=outcome,
            guess=guess_of(int(found.views[row]), int(found.windows[row]), box, invert=invert),
            scale_x=scale_x,
            scale_y=scale_y,
            correlation=float(found.correlations[row]),
            area_ratio=float(found.area_ratios[row]),
            cost=float(found.costs[row]),
            evidence_px=None if math.isnan(evidence_px) else evidence_px,
            evidence_needed_px=_EVIDENCE_PX,
            threshold=threshold,
        ),
    )


def align(image: Floats, others: Floats, box: Windows) -> Alignments:
    """Return how a query aligns with each of some images.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
    others : (m, 64, 64) ndarray of float32
    box : Windows
        The query's content box.
    """
    # Bars and borders are cut off and what is left fills the frame: otherwise their edges are all that aligns.
    frame = _without_edge(box)
    content = sample(image[None], frame, VECTOR_SIDE_PX)
    views, windows, signs, maps = _guesses(image, others, box)
    maps = compose(maps, frame)
    halves = equalize(_halved(others))
    template = Template(equalize(_halved(content))[0])
    maps, reached = refine(template, signs[:, None, None] * np.repeat(halves, _GUESSES, axis=0), maps, _FIRST_STEPS)
    better = np.argmax(reached.reshape(-1, _GUESSES), axis=1) + _GUESSES * np.arange(len(others))
    maps, signs, reached = maps[better], signs[better], reached[better]
    near = np.flatnonzero(reached >= _HOPELESS)
    if len(near):
        maps[near], reached[near] = refine(template, signs[near, None, None] * halves[near], maps[near], _HALF_STEPS)
    near = near[reached[near] >= _HOPELESS]
    evidence_px = np.full(len(others), np.nan, dtype=np.float32)
    if len(near):
        template = Template(equalize(content)[0])
        maps[near], _ = refine(template, signs[near, None, None] * equalize(others[near]), maps[near], _WHOLE_STEPS)
    maps = compose(maps, inverse(frame))
    if len(near):
        reached[near], evidence_px[near] = agreement(image, others[near], maps[near], signs[near])
    area_ratios = _area_ratios(maps)
    costs = area_ratios * np.where(signs < 0, np.float32(_NEGATIVE_COST), np.float32(1))
    scores = np.where(np.isnan(evidence_px), reached, _scores(reached, costs, evidence_px))
    return Alignments(
        maps=maps,
        signs=signs,
        views=views[better],
        windows=windows[better],
        correlations=reached,
        evidence_px=evidence_px,
        area_ratios=area_ratios,
        costs=costs,
        scores=np.clip(scores, 0, 1),
    )


def _area_ratios(maps: Floats) -> Floats:
    areas = np.abs(np.linalg.det(maps[:, :, :2]))
    return np.asarray(np.maximum(areas, 1 / np.maximum(areas, 1e-3)), dtype=np.float32)


def _scores(correlations: Floats, costs: Floats, evidence_px: Floats) -> Floats:
    """Return 1 minus the disagreement over the overlap, raised by how much of the other image that leaves out.

    Notes
    -----
    Whoever may show a part in any size fits better by chance: without the factor of area, trousers fit closely into
    each other's details (best false score 0.958), with it 0.864.
    """
    enough = np.minimum(1, evidence_px / _EVIDENCE_PX)
    return np.asarray((1 - (1 - correlations) * costs) * enough, dtype=np.float32)


def _halved(images: Floats) -> Floats:
    pixels = images.reshape(len(images), _HALF_SIDE, 2, _HALF_SIDE, 2)
    return np.asarray(pixels.mean(axis=(2, 4)), dtype=np.float32)


def _without_edge(box: Windows) -> Floats:
    """Return the frame (1, 2, 3) of a content box, a pixel smaller along axes on which there are bars."""
    frame = box.frames.copy()
    for axis in (0, 1):
        if frame[0, axis, axis] < 1:
            frame[0, axis, axis] -= 2 * EDGE_PX / VECTOR_SIDE_PX
    return frame


def _guesses(
    image: Floats, others: Floats, box: Windows
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
    """Return the `_GUESSES` most promising of each image: views, windows, signs, each (m * g,), maps (m * g, 2, 3)."""
    seen = query_views(image, box)
    stored = window_codes(others, STORED_WINDOWS).reshape(-1, TERMS)
    correlations = (stored @ seen.codes.T).reshape(len(others), len(STORED_WINDOWS), -1)
    # The best window for each view, then the best views: two windows under one view lead to the same place.
    strengths = np.abs(correlations)
    views = np.argpartition(-strengths.max(axis=1), _GUESSES, axis=1)[:, :_GUESSES].ravel()
    owners = np.repeat(np.arange(len(others)), _GUESSES)
    windows = strengths[owners, :, views].argmax(axis=1)
    signs = np.where(correlations[owners, windows, views] < 0, -1, 1).astype(np.float32)
    return views, windows, signs, compose(STORED_WINDOWS.frames[windows], seen.maps[views])


def agreement(image: Floats, others: Floats, maps: Floats, signs: Floats) -> tuple[Floats, Floats]:
    """Return how well images agree over their overlap with a query, and on how much.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
    others : (n, 64, 64) ndarray of float32
    maps : (n, 2, 3) ndarray of float32
    signs : (n,) ndarray of float32

    Returns
    -------
    correlations : (n,) ndarray of float32
        Of the equalised overlaps, in [-1, 1].
    evidence_px : (n,) ndarray of float32
        Pixels of the coarser image that hold structure in both.

    Notes
    -----
    Both images are brought to the coarser of their two resolutions first, along each axis: a crop to a quarter knows
    details that the stored vector cannot.
    """
    overlap = inside(maps, VECTOR_SIDE_PX, EDGE_PX).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    # Stored pixels that one query pixel spans, along the stored image's axes and along the query's.
    spans, scales = np.linalg.norm(maps[:, :, :2], axis=2), np.linalg.norm(maps[:, :, :2], axis=1)
    finer_px = np.float32(0.5) * np.sqrt(np.maximum(spans**2 - 1, 0), dtype=np.float32)
    down, across = (blurs(VECTOR_SIDE_PX, finer_px[:, axis]) for axis in (1, 0))
    seen = sample(down @ (others * signs[:, None, None]) @ across.transpose(0, 2, 1), maps, VECTOR_SIDE_PX)
    coarser = np.maximum(1, 1 / np.maximum(scales, 1e-3))
    one, other = (_equalized_inside(some, overlap, coarser) for some in (image, seen))
    energy, other_energy = np.sum(one**2, axis=(1, 2)), np.sum(other**2, axis=(1, 2))
    correlations = np.sum(one * other, axis=(1, 2)) / np.sqrt(np.maximum(energy * other_energy, 1e-6))
    return correlations, np.minimum(energy, other_energy) / np.prod(coarser, axis=1)


def _equalized_inside(images: Floats, overlap: Floats, coarser: Floats) -> Floats:
    """Return equalised images as if there were nothing outside their overlaps, on bands `coarser` along x and y."""
    masked = images * overlap
    bands = []
    for sigma_px in (FINE_PX, COARSE_PX):
        across = blurs(VECTOR_SIDE_PX, sigma_px * coarser[:, 0]).transpose(0, 2, 1)
        down = blurs(VECTOR_SIDE_PX, sigma_px * coarser[:, 1])
        bands.append((down @ masked @ across) / np.maximum(down @ overlap @ across, 1e-3))
    detail = (bands[0] - bands[1]) * overlap
    around = blur(VECTOR_SIDE_PX, COARSE_PX)
    variance = (around @ detail**2 @ around.T) / np.maximum(around @ overlap @ around.T, 1e-3)
    return np.asarray(detail / np.sqrt(variance + NOISE_LEVELS**2), dtype=np.float32)
