"""Geometric verification: one affine transform that explains how the features of a query lie in a content.

In: the features of a query and of a content.  Out: the affine, and how much speaks for it.  Never here: pixels, which
contents are verified, what is called a copy.

References
----------
Fischler, Bolles: Random sample consensus, CACM 1981; here each match, having a scale and a direction, is a sample of
its own, so that all are tried.  Jegou, Douze, Schmid: Hamming embedding and weak geometric consistency, ECCV 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.local_features.layout import AskedFeatures, StoredFeatures, angles, scales

Floats = NDArray[np.float32]

MATCH_BITS = 14
"""Differing bits, of 64, up to which two features may start an alignment."""

GUIDED_BITS = 20
"""Differing bits up to which two features that lie upon each other agree."""

# What a match is worth: a standard normal density over the differing bits, as in Hamming embedding.
_WORTH_BITS = 12.0

# Matches of which each starts an alignment, at most: the nearest.
_MOST_STARTS = 400

# Distance in pixels of the content's picture up to which a feature lies where an alignment puts it: first, then as the
# alignment gets better.
_START_PX, _REFINED_PX = 16.0, (12.0, 8.0, 5.0, 4.0)

# Difference in scale, as a logarithm to base 2, and in direction, in radians, up to which two features agree.
_SCALE_STEPS, _TURN = 0.6, 0.55

# Matches from which an affine may be measured; with fewer a similarity is all that they give.
_LEAST_MATCHES, _LEAST_AFFINE = 4, 6


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a query's features lie in a content.

    Parameters
    ----------
    weight : float
        What the matches are worth together; a feature counts once.
    matches : int
    affine : (2, 3) ndarray of float64
        From a point of the query to that of the content; coordinates run from -1 to 1 over each picture.
    """

    weight: float
    matches: int
    affine: NDArray[np.float64]


def aligned(asked: AskedFeatures, stored: StoredFeatures, *, mirrored: bool) -> Alignment | None:
    """Return the best alignment of a query with a content; None when there is none.

    Parameters
    ----------
    asked : AskedFeatures
    stored : StoredFeatures
    mirrored : bool
        Whether the mirror image of the query is aligned; the affine begins at the query itself all the same.
    """
    query = asked.mirrored if mirrored else asked.upright
    if not len(query) or not len(stored.features):
        return None
    pairs = _Pairs.of(query, stored)
    start = pairs.best_start()
    if start is None:
        return None
    affine = start
    matches = np.zeros(0, dtype=np.int64)
    for reach_px in _REFINED_PX:
        matches = pairs.guided(affine, reach_px)
        if len(matches) < _LEAST_MATCHES:
            return None
        affine = pairs.fitted(matches)
        if not _is_sound(affine):
            return None
    matches = pairs.guided(affine, _REFINED_PX[-1])
    if len(matches) < _LEAST_MATCHES:
        return None
    weight = float(_worth(pairs.bits[matches]).sum())
    return Alignment(weight, len(matches), _in_shares(affine, asked, stored, mirrored=mirrored))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The features of a query and of a content whose codes are near each other: p pairs, nearest first.

    Parameters
    ----------
    query, stored : (p, 2) ndarray of float32
        Points in pixels.
    rows, columns : (p,) ndarray of int64
        Which feature of the query, and which of the content.
    bits : (p,) ndarray of uint8
        In which their codes differ.
    grown, turned : (p,) ndarray of float32
        Scale of the content's feature over the query's, to base 2, and difference in direction in radians.
    """

    query: Floats
    stored: Floats
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    bits: NDArray[np.uint8]
    grown: Floats
    turned: Floats

    @classmethod
    def of(cls, query: NDArray[np.void], stored: StoredFeatures) -> _Pairs:
        """Compare the codes of all."""
        bits = np.bitwise_count(query["code"][:, None] ^ stored.features["code"][None])
        rows, columns = np.nonzero(bits <= GUIDED_BITS)
        bits = bits[rows, columns]
        order = np.argsort(bits, kind="stable")
        rows, columns = rows[order], columns[order]
        return cls(
            np.stack([query["x"][rows], query["y"][rows]], axis=1),
            stored.points[columns],
            rows,
            columns,
            bits[order],
            np.log2(scales(stored.features["scale"]))[columns] - np.log2(query["scale"])[rows],
            angles(stored.features["angle"])[columns] - query["angle"][rows],
        )

    def best_start(self) -> NDArray[np.float64] | None:
        """Return the (2, 3) similarity of the match with which most others agree; None when there are too few."""
        count = min(int(np.searchsorted(self.bits, MATCH_BITS, side="right")), _MOST_STARTS)
        if count < _LEAST_MATCHES:
            return None
        # By feature of the content: each counts once, however many of the query are like it.
        order = np.argsort(self.columns[:count], kind="stable")
        features = np.flatnonzero(np.diff(self.columns[order], prepend=-1))
        query, stored, grown, turned = self.query[order], self.stored[order], self.grown[order], self.turned[order]
        by_x, by_y = np.exp2(grown) * np.cos(turned), np.exp2(grown) * np.sin(turned)
        # Row h: where the similarity of match h puts every matched feature of the query.
        across, down = (query[None, :, axis] - query[:, None, axis] for axis in (0, 1))
        x = by_x[:, None] * across - by_y[:, None] * down + (stored[:, None, 0] - stored[None, :, 0])
        y = by_y[:, None] * across + by_x[:, None] * down + (stored[:, None, 1] - stored[None, :, 1])
        agree = x * x + y * y < _START_PX**2
        agree &= np.abs(grown[None] - grown[:, None]) < _SCALE_STEPS
        agree &= np.abs(_short_way(turned[None] - turned[:, None])) < _TURN
        votes = np.maximum.reduceat(agree * _worth(self.bits[order]), features, axis=1)
        best = int(np.argmax(votes.sum(axis=1)))
        if np.count_nonzero(votes[best]) < _LEAST_MATCHES:
            return None
        linear = np.array([[by_x[best], -by_y[best]], [by_y[best], by_x[best]]], dtype=np.float64)
        return np.concatenate([linear, (stored[best] - linear @ query[best])[:, None]], axis=1)

    def guided(self, affine: NDArray[np.float64], reach_px: float) -> NDArray[np.int64]:
        """Return the pairs that lie upon each other and agree, each feature once."""
        linear = affine[:, :2].astype(np.float32)
        off = self.query @ linear.T + affine[:, 2].astype(np.float32) - self.stored
        grown = float(np.log2(max(abs(np.linalg.det(linear)), 1e-9)) / 2)
        turned = float(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
        pairs = np.flatnonzero(off[:, 0] ** 2 + off[:, 1] ** 2 < reach_px**2)
        pairs = pairs[np.abs(self.grown[pairs] - grown) < _SCALE_STEPS]
        pairs = pairs[np.abs(_short_way(self.turned[pairs] - turned)) < _TURN]
        _, first = np.unique(self.columns[pairs], return_index=True)
        pairs = pairs[np.sort(first)]
        _, first = np.unique(self.rows[pairs], return_index=True)
        return np.asarray(pairs[np.sort(first)])

    def fitted(self, matches: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the (2, 3) affine, or similarity where matches are few, that fits matches best."""
        query, stored = self.query[matches].astype(np.float64), self.stored[matches].astype(np.float64)
        weights = np.sqrt(_worth(self.bits[matches]).astype(np.float64))
        if len(matches) >= _LEAST_AFFINE:
            rows = np.concatenate([query, np.ones((len(query), 1))], axis=1) * weights[:, None]
            return np.asarray(np.linalg.lstsq(rows, stored * weights[:, None], rcond=None)[0].T)
        x, y = query.T
        ones, none = np.ones_like(x), np.zeros_like(x)
        rows = np.concatenate([np.stack([x, -y, ones, none], axis=1), np.stack([y, x, none, ones], axis=1)])
        twice = np.concatenate([weights, weights])
        by_x, by_y, across, down = np.linalg.lstsq(
            rows * twice[:, None], np.concatenate([stored[:, 0], stored[:, 1]]) * twice, rcond=None
        )[0]
        return np.array([[by_x, -by_y, across], [by_y, by_x, down]])


def _worth(bits: NDArray[np.uint8]) -> Floats:
    return np.exp(-((bits.astype(np.float32) / np.float32(_WORTH_BITS)) ** 2) / 2)


def _short_way(turned: Floats) -> Floats:
    """Return turns in radians, between minus and plus half a turn."""
    return np.asarray(np.mod(turned + np.float32(np.pi), np.float32(2 * np.pi)) - np.float32(np.pi), dtype=np.float32)


def _is_sound(affine: NDArray[np.float64]) -> bool:
    """Whether an affine neither mirrors nor squeezes a picture beyond what people do to one."""
    if np.linalg.det(affine[:, :2]) <= 0:
        return False
    long, short = np.linalg.svd(affine[:, :2], compute_uv=False)
    return bool(long < 4 * short)


def _in_shares(
    affine: NDArray[np.float64], asked: AskedFeatures, stored: StoredFeatures, *, mirrored: bool
) -> NDArray[np.float64]:
    """Return an affine of pixels as one of coordinates from -1 to 1, from the query itself."""
    own = np.array([[asked.width_px / 2, 0, asked.width_px / 2], [0, asked.height_px / 2, asked.height_px / 2]])
    if mirrored:
        own[0, 0] *= -1
    square = np.vstack([affine, [0, 0, 1]]) @ np.vstack([own, [0, 0, 1]])
    back = np.array([[2 / stored.width_px, 0, -1], [0, 2 / stored.height_px, -1], [0, 0, 1]])
    return np.asarray((back @ square)[:2])
