"""The verdict: whether two vectors show the same picture, what was done to it, and how much each shows of the other.

In: a query's vector and those of its candidates.  Out: `comparison.Judgement`.  Never here: which candidates
(`coarse`), how affines are found (`registration`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Explanation, Judgement, Outcome, Overlap
from cbir_daemon.matching.agreement import Overlaps, overlaps, polish
from cbir_daemon.matching.coarse import packed_codes
from cbir_daemon.matching.codes import is_plain
from cbir_daemon.matching.geometry import Floats, inside, inverse, overlaps_of, transform_of
from cbir_daemon.matching.registration import Registered, register, without_edge
from cbir_daemon.matching.tone import around, tone_of
from cbir_daemon.matching.views import Windows, content_box, guess_of
from cbir_daemon.medium import Codes, Guesses
from cbir_daemon.records import VECTOR_SIDE_PX

COPY_THRESHOLD = 0.91
"""Score from which a match is a `copy`.

Of 2 500 photographs and garments against 2 499 others each, the best false score was 0.864, and every 0.02 more leaves
half as many; 99.4 % of 4 100 edited photographs score above.  See docs/accuracy.md.
"""

# Correlations from which a few more steps may change the verdict, and the score from which they cannot.
_PROMISING, _CERTAIN = 0.7, 0.97
_LAST_STEPS = 4

# Disagreement of negatives counts this much more: a dark thing on a bright ground is the negative of many others.
_NEGATIVE_COST = 1.5

# So does that of what is left when a strip is left out, which may be what tells two pictures apart.
_STRIP_COST = 2.5

# Score that leaving out a strip must win: less is rounding, by which even a picture and itself would lose a strip.
_LEAST_SPARED = 1e-4

# Pixels with structure in the overlap at which disagreement counts twice, as a share of it: outlines of trousers agree
# to 0.97 over 600.  Of 5 200 true pairs half hold 2 000 and more, all but 1 % 570.
_DOUBLING_PX = 400.0

# Pixels with structure below which agreement is no proof at all.  Discs and boxes that are moved so agree over 300 to
# 570, but with all else plain: at most a third of the overlap is structure.  Of a crop to a quarter that may be all
# there is, yet half of it is structure.
_EVIDENCE_PX, _SPARSE_EVIDENCE_PX = 300.0, 650.0

# Shares of the overlap below which structure counts as sparse, and from which as dense: for an upright part of the
# other image, and for what is flipped, turned, a negative or lies over an edge, which has more luck to agree by.
_SPARSE_PART, _DENSE_PART = 0.15, 0.35
_SPARSE, _DENSE = 0.3, 0.45

# Share of the picture's half by which any point may move for it to count as lying there as it is, where little
# structure will do; turn of an axis up to which it is upright; and reach of a part over the edge of the whole.
_STILL, _UPRIGHT, _WITHIN = 0.08, 0.04, 1.05


def judge(
    query: NDArray[np.uint8],
    stored: NDArray[np.uint8],
    *,
    threshold: float | None = None,
    guesses: Guesses | None = None,
    codes: Codes | None = None,
) -> list[Judgement]:
    """Return the judgement on a query and each stored vector.

    Parameters
    ----------
    query : (4096,) ndarray of uint8
    stored : (m, 4096) ndarray of uint8
    threshold : float, optional
        Score from which a match is a copy; `COPY_THRESHOLD` when not given.
    guesses : Guesses, optional
        One for each stored vector (`all_pairs`): less is tried, more is given up, and neither guess nor tone is
        returned.
    codes : (m, WINDOWS, TERMS) ndarray of int8, optional
        From `packed_codes`, of the stored vectors; made when not given: exact ones may begin at another guess.

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
    start = guesses if guesses is not None else packed_codes(stored) if codes is None else codes
    aligned = align(image, others, box, start)
    # All at once: one at a time they would cost as much as aligning.
    shares = overlaps_of(aligned.lies.affines)
    plain = is_plain(query)
    ratios = area_ratios(aligned.lies.affines).tolist()
    judged = [
        _judgement(aligned, row, (share, ratio), box, least, plain=plain)
        for row, (share, ratio) in enumerate(zip(shares, ratios, strict=True))
    ]
    if guesses is not None:
        return judged
    return [
        _with_tone(judgement, image, known, matrix)
        for judgement, known, matrix in zip(judged, others, aligned.lies.affines, strict=True)
    ]


def _with_tone(judgement: Judgement, image: Floats, known: Floats, matrix: Floats) -> Judgement:
    # A third of a millisecond each, so of copies only.
    if not judgement.is_copy:
        return judgement
    tone = tone_of(image, known, matrix, invert=judgement.transform.invert)
    return replace(judgement, tone=tone, around=around(image, matrix), affine=tuple(matrix.ravel().tolist()))


@dataclass(frozen=True, slots=True)
class Alignments:
    """How a query aligns with each of m images.

    Parameters
    ----------
    lies : Registered
        The final affines; `near` are the rows that were not given up.
    scores : (m,) ndarray of float32
        In [0, 1]; for those that were given up the correlation reached.
    correlations, costs, evidence_px, needed_px : (m,) ndarray of float32
        What the scores were made of; see `comparison.Explanation`.
    strips : (m,) ndarray of bool
        Whether a strip was left out.
    """

    lies: Registered
    scores: Floats
    correlations: Floats
    costs: Floats
    evidence_px: Floats
    needed_px: Floats
    strips: NDArray[np.bool_]


def align(image: Floats, others: Floats, box: Windows, start: Guesses | Codes) -> Alignments:
    """Return how a query aligns with each image.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
    others : (m, 64, 64) ndarray of float32
    box : Windows
        The query's content box.
    start : Guesses, or (m, WINDOWS, TERMS) ndarray of int8
        See `register`.
    """
    lies = register(image, others, box, start)
    affines, signs = lies.affines, lies.signs
    found = Alignments(
        lies=lies,
        scores=np.clip(lies.correlations, 0, 1),
        correlations=lies.correlations.copy(),
        costs=area_ratios(affines) * np.where(signs < 0, np.float32(_NEGATIVE_COST), np.float32(1)),
        evidence_px=np.zeros(len(others), dtype=np.float32),
        needed_px=np.full(len(others), _EVIDENCE_PX, dtype=np.float32),
        strips=np.zeros(len(others), dtype=np.bool_),
    )
    near = lies.near
    if not len(near):
        return found
    shown = inside(inverse(without_edge(box)), VECTOR_SIDE_PX, 0.0).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    reached = overlaps(image, shown, others[near], affines[near], signs[near])
    _score(found, near, reached)
    promising = (found.correlations[near] >= _PROMISING) & (found.scores[near] < _CERTAIN)
    near = near[promising]
    if len(near):
        affines[near], reached = polish(
            image, shown, others[near], affines[near], signs[near], reached.take(promising), _LAST_STEPS
        )
        _score(found, near, reached)
    return found


def affine_between(query: NDArray[np.uint8], stored: NDArray[np.uint8]) -> tuple[Floats, bool]:
    """Return the affine from a query to a stored image under which they agree best.

    Parameters
    ----------
    query, stored : (4096,) ndarray of uint8

    Returns
    -------
    affine : (2, 3) ndarray of float32
        From points of the query to points of the stored image, coordinates from -1 to 1.
    invert : bool
        Whether they agree as negatives.
    """
    image, known = (
        np.asarray(vector, dtype=np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX) for vector in (query, stored)
    )
    lies = align(image, known[None], content_box(image), packed_codes(stored)).lies
    return lies.affines[0], bool(lies.signs[0] < 0)


def area_ratios(affines: Floats) -> Floats:
    """Return how many times larger one image would be than the other at one scale.

    Parameters
    ----------
    affines : (n, 2, 3) ndarray of float32
        From points of one image to points of the other.

    Returns
    -------
    (n,) ndarray of float32
        At least 1.
    """
    areas = np.abs(np.linalg.det(affines[:, :, :2]))
    return np.asarray(np.maximum(areas, 1 / np.maximum(areas, 1e-3)), dtype=np.float32)


def _score(found: Alignments, rows: NDArray[np.int64], shown: Overlaps) -> None:
    """Fill in the scores of rows: 1 minus the disagreement, which counts more the larger the ratio of the areas is.

    Notes
    -----
    A part of any size fits better by chance: without the factor of area, trousers fit closely into each other's details
    (best false score 0.958), with it 0.864.
    """
    costs = area_ratios(found.lies.affines[rows]) * np.where(found.lies.signs[rows] < 0, _NEGATIVE_COST, 1)
    correlations = np.stack([shown.correlations, shown.trimmed])
    evidence_px = np.stack([shown.evidence_px, shown.trimmed_px])
    multiples = np.stack([costs, costs * _STRIP_COST]) * (1 + _DOUBLING_PX / np.maximum(evidence_px, 1))
    needed_px = _needed_px(found.lies.affines[rows], found.lies.signs[rows], shown)
    scores = (1 - (1 - correlations) * multiples) * np.minimum(1, evidence_px / needed_px)
    # The first of the two is the whole overlap, the second what is left without a strip.
    better = (scores[1] > scores[0] + _LEAST_SPARED).astype(np.int64)[None]
    found.strips[rows] = better[0] == 1
    found.needed_px[rows] = needed_px
    for kept, both in (
        (found.scores, np.clip(scores, 0, 1)),
        (found.correlations, correlations),
        (found.costs, multiples),
        (found.evidence_px, evidence_px),
    ):
        kept[rows] = np.take_along_axis(both, better, axis=0)[0]


def _needed_px(affines: Floats, signs: Floats, shown: Overlaps) -> Floats:
    """Return the pixels with structure that are needed for each of some overlaps."""
    moves = np.abs(affines - np.eye(2, 3, dtype=np.float32)).sum(axis=2).max(axis=1)
    is_still = (moves < _STILL) & (signs > 0)
    is_part = _are_upright_parts(affines) & (signs > 0)
    sparse, dense = np.where(is_part, _SPARSE_PART, _SPARSE), np.where(is_part, _DENSE_PART, _DENSE)
    shares = shown.evidence_px / np.maximum(shown.area_px, 1)
    lacking = np.clip((dense - shares) / (dense - sparse), 0, 1) * ~is_still
    return np.asarray(_EVIDENCE_PX + (_SPARSE_EVIDENCE_PX - _EVIDENCE_PX) * lacking, dtype=np.float32)


def _are_upright_parts(affines: Floats) -> NDArray[np.bool_]:
    """Return whether one image is a part of the other that was neither turned nor flipped."""
    is_upright = (affines[:, [0, 1], [0, 1]] > 0).all(axis=1) & (np.abs(affines[:, [0, 1], [1, 0]]) < _UPRIGHT).all(
        axis=1
    )
    # How far the corners of the one reach on the other, whose own are at 1.
    reaches = [np.abs(affine).sum(axis=2).max(axis=1) for affine in (affines, inverse(affines))]
    return np.asarray(is_upright & (np.minimum(*reaches) < _WITHIN))


def _judgement(
    found: Alignments, row: int, shown: tuple[Overlap, float], box: Windows, threshold: float, *, plain: bool
) -> Judgement:
    overlap, area_ratio = shown
    matrix, invert, score = found.lies.affines[row], bool(found.lies.signs[row] < 0), float(found.scores[row])
    is_near = row in found.lies.near
    outcome = Outcome.COPY if score >= threshold else Outcome.BELOW if is_near else Outcome.GIVEN_UP
    if plain:
        outcome = Outcome.PLAIN
    (across, skew), (slant, down) = matrix[:, :2].tolist()
    return Judgement(
        is_copy=outcome is Outcome.COPY,
        score=round(score, 4),
        transform=transform_of(matrix, invert=invert),
        overlap=overlap,
        explanation=Explanation(
            outcome=outcome,
            guess=guess_of(int(found.lies.views[row]), int(found.lies.windows[row]), box, invert=invert),
            scale_x=math.hypot(across, slant),
            scale_y=math.hypot(skew, down),
            correlation=float(found.correlations[row]),
            area_ratio=area_ratio,
            cost=float(found.costs[row]),
            strip=bool(found.strips[row]),
            evidence_px=float(found.evidence_px[row]) if is_near else None,
            evidence_needed_px=float(found.needed_px[row]),
            threshold=threshold,
        ),
    )
