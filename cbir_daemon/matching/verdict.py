"""The verdict: whether two vectors show the same picture, what was done to it, and how much each shows of the other.

In: a query's vector and those of its candidates.  Out: `records.Judgement`.  Never here: which candidates (`coarse`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.align import blur, inside, refine, whiten
from cbir_daemon.matching.codes import is_plain
from cbir_daemon.matching.views import (
    ANGLES_DEG,
    DIHEDRAL,
    STORED_WINDOWS,
    TERMS,
    TRIMS,
    WHOLE,
    Windows,
    join,
    rotations,
    sample,
    turned,
    undo_dihedral,
    window_codes,
)
from cbir_daemon.records import VECTOR_SIDE_PX, Judgement, Overlap, Transform

COPY_THRESHOLD = 0.9
"""Score from which a match is a `copy`; see docs/accuracy.md for how it was found."""

# Guesses refined for each candidate.
_GUESSES = 2
_COARSE_SIDE = VECTOR_SIDE_PX // 2


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
    limit = COPY_THRESHOLD if threshold is None else threshold
    others = np.asarray(stored).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX).astype(np.float32)
    if not len(others):
        return []
    image = np.asarray(query, dtype=np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    maps, signs, owner = guesses(image, others)
    maps = refine(_white_half(image[None])[0], signs * _white_half(others)[owner], maps, 8)
    scores = agreement(image, others[owner], maps, signs)
    # The better of each candidate's guesses goes on.
    best = np.argmax(scores.reshape(len(others), -1), axis=1) + np.arange(len(others)) * _GUESSES
    maps = refine(whiten(image[None])[0], signs[best] * whiten(others), maps[best], 6)
    scores = agreement(image, others, maps, signs[best])
    plain = is_plain(query)
    return [
        Judgement(
            is_copy=bool(score >= limit) and not plain,
            score=float(score),
            transform=transform_of(matrix, bool(sign < 0)),
            overlap=overlap_of(matrix),
        )
        for score, matrix, sign in zip(scores, maps, signs[best, 0, 0], strict=True)
    ]


def _white_half(images: NDArray[np.float32]) -> NDArray[np.float32]:
    halves = images.reshape(len(images), _COARSE_SIDE, 2, _COARSE_SIDE, 2).mean(axis=(2, 4))
    return whiten(halves)


def guesses(
    image: NDArray[np.float32], others: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return the most promising maps for each candidate.

    Their maps (m * 2, 2, 3), their signs (m * 2, 1, 1), and the rows of `others` they belong to.
    """
    views, linear, center = _query_views(image)
    stored_codes = window_codes(others, STORED_WINDOWS)
    correlation = (stored_codes.reshape(-1, TERMS) @ views.T).reshape(len(others), -1)
    order = np.argpartition(-np.abs(correlation), _GUESSES, axis=1)[:, :_GUESSES]
    signs = np.sign(np.take_along_axis(correlation, order, axis=1)).reshape(-1, 1, 1)
    window, view = np.divmod(order.ravel(), len(views))
    table = STORED_WINDOWS
    half = np.stack([table.half_x, table.half_y], 1)[window]
    middle = np.stack([table.center_x, table.center_y], 1)[window]
    matrices = half[:, :, None] * linear[view]
    shift = half * center[view] + middle
    owner = np.repeat(np.arange(len(others)), _GUESSES)
    return np.concatenate([matrices, shift[:, :, None]], axis=2).astype(np.float32), signs, owner


def _query_views(
    image: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return codes (v, 27) of the query's views and the maps (v, 2, 2), (v, 2) from the query to each view's frame."""
    table: Windows = join(WHOLE, TRIMS)
    codes = [undo_dihedral(window_codes(image[None], table)[0])]
    inverse_half = 1 / np.stack([table.half_x, table.half_y], 1)
    scale = inverse_half[:, :, None] * np.eye(2)
    shift = -inverse_half * np.stack([table.center_x, table.center_y], 1)
    linear = [np.einsum("dij,vjk->dvik", DIHEDRAL, scale)]
    center = [np.einsum("dij,vj->dvi", DIHEDRAL, shift)]
    codes.append(undo_dihedral(window_codes(turned(image), WHOLE)[:, 0]))
    back = rotations(ANGLES_DEG)[:, :, :2]
    linear.append(np.einsum("dij,ajk->daik", DIHEDRAL, back))
    center.append(np.zeros((len(DIHEDRAL), len(back), 2)))
    return (
        np.concatenate([c.reshape(-1, TERMS) for c in codes]),
        np.concatenate([m.reshape(-1, 2, 2) for m in linear]),
        np.concatenate([s.reshape(-1, 2) for s in center]),
    )


def agreement(
    image: NDArray[np.float32], others: NDArray[np.float32], maps: NDArray[np.float32], signs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the correlation over the overlap, of what is left without local brightness, in [0, 1].

    Parameters
    ----------
    image : (64, 64) ndarray of float32
    others : (n, 64, 64) ndarray of float32
    maps : (n, 2, 3) ndarray of float32
    signs : (n, 1, 1) ndarray of float32
    """
    mask = inside(maps, VECTOR_SIDE_PX).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    seen = signs * sample(others, maps, VECTOR_SIDE_PX)
    one, other = _local(image * mask, mask), _local(seen * mask, mask)
    product = np.sum(one * other, axis=(1, 2))
    area = np.sum(mask, axis=(1, 2))
    # Grey levels: structure below this is noise and cannot be told from agreement.
    floor = area * 2.0**2
    norm = np.sqrt((np.sum(one**2, axis=(1, 2)) + floor) * (np.sum(other**2, axis=(1, 2)) + floor))
    # Less than a fifth of the query on the stored image says nothing.
    enough = np.clip(area / (0.2 * VECTOR_SIDE_PX**2), 0, 1)
    return np.asarray(np.clip(enough * product / np.maximum(norm, 1e-6), 0, 1), dtype=np.float32)


def _local(masked: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images without the mean of what surrounds each pixel, looking at pixels of the mask only."""
    fine, coarse = blur(VECTOR_SIDE_PX, 0.7), blur(VECTOR_SIDE_PX, 3.0)
    smooth = (fine @ masked @ fine.T) / np.maximum(fine @ mask @ fine.T, 1e-3)
    around = (coarse @ masked @ coarse.T) / np.maximum(coarse @ mask @ coarse.T, 1e-3)
    return np.asarray((smooth - around) * mask, dtype=np.float32)


def transform_of(matrix: NDArray[np.float32], invert: bool) -> Transform:
    """Return what a map from query to stored image says was done to the stored image.

    Parameters
    ----------
    matrix : (2, 3) ndarray of float32
    invert : bool
        Whether the two agree as negatives.

    Notes
    -----
    Vectors are square whatever the image's shape, so a turn comes as a turn between two unequal scalings.  The products
    of the diagonals do not depend on those, and their ratio is the squared tangent.
    """
    linear = matrix[:, :2].astype(np.float64)
    flip = bool(np.linalg.det(linear) < 0)
    if flip:
        linear = np.diag([-1.0, 1.0]) @ linear
    quarters = _quarters(linear)
    rest = linear @ np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), quarters)
    skew, straight = -rest[0, 1] * rest[1, 0], rest[0, 0] * rest[1, 1]
    angle = np.degrees(np.arctan2(np.sqrt(max(skew, 0.0)), np.sqrt(max(straight, 1e-9)))) * np.sign(rest[1, 0])
    return Transform(flip=flip, turn=90 * quarters, angle=round(float(angle), 1) + 0.0, invert=invert)


def _quarters(linear: NDArray[np.float64]) -> int:
    if abs(linear[0, 0] * linear[1, 1]) >= abs(linear[0, 1] * linear[1, 0]):
        return 0 if linear[0, 0] > 0 else 2
    return 1 if linear[1, 0] > 0 else 3


def overlap_of(matrix: NDArray[np.float32]) -> Overlap:
    """Return the share of each image that the other shows, under a map from query to stored image."""
    there = inside(matrix[None], VECTOR_SIDE_PX, 0.0).mean()
    linear = np.linalg.pinv(matrix[:, :2])
    back = np.concatenate([linear, -linear @ matrix[:, 2:]], axis=1).astype(np.float32)
    return Overlap(query=float(there), match=float(inside(back[None], VECTOR_SIDE_PX, 0.0).mean()))
