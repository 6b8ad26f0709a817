"""Which hyper-parameters give the best map of this collection.

In: codes, their exact neighbours, positions.  Out: candidates, their scores, the choice.  Never here: umap, files,
processes.

All candidates are scored with the same k on the same sample.  (Scoring each with its own `n_neighbors` lets small ones
win by construction.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from cbir_daemon.model.neighbors import Neighbors
from cbir_daemon.records import Candidate

N_NEIGHBORS = (5, 10, 15, 30, 50, 100)
N_COMPONENTS = (8, 16, 32)
TUNED_FIRST = 16
"""Dimensions at which `n_neighbors` is tuned before the dimensions are."""

LARGEST_SHARE = 3
"""`n_neighbors` is at most one in this many of the images: a neighbourhood that is half the collection says nothing."""

SCORING_K = 10
"""Neighbours looked at by both scores: about what a page of results shows."""

TIE_MARGIN = 0.002
"""Trustworthiness closer to the best than this counts as equal to it; it is less than what another seed changes."""


def candidate_neighbors(images: int) -> tuple[int, ...]:
    """Return the values of `n_neighbors` worth trying for so many images, ascending, at least one."""
    limit = max(2, images // LARGEST_SHARE)
    return tuple(n for n in N_NEIGHBORS if n <= limit) or (limit,)


def scoring_k(images: int) -> int:
    """Return the fixed k of both scores: trustworthiness is only defined for less than half of the images."""
    return max(1, min(SCORING_K, (images - 1) // 2 - 1))


def choose(curve: Iterable[Candidate]) -> Candidate:
    """Return the best of `curve`.

    Among those whose trustworthiness is within `TIE_MARGIN` of the best, the one that keeps most of the true
    neighbours; among equals the one with fewer neighbours, then fewer dimensions, which is cheaper.
    """
    curve = tuple(curve)
    best = max(candidate.trustworthiness for candidate in curve)
    finalists = [candidate for candidate in curve if candidate.trustworthiness >= best - TIE_MARGIN]
    return min(finalists, key=lambda found: (-found.neighbor_recall, found.n_neighbors, found.n_components))


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores maps of one collection, each by the same measure.

    Parameters
    ----------
    sample : (s,) ndarray of intp
        Rows that are looked at, ascending.
    distances : (s, s) ndarray of float32
        Cosine distances between the sampled codes.
    true_ids : (s, k) ndarray of int32
        The true k nearest of each sampled row among all rows.
    """

    sample: NDArray[np.intp]
    distances: NDArray[np.float32]
    true_ids: NDArray[np.int32]

    @classmethod
    def prepare(cls, points: NDArray[np.float32], neighbors: Neighbors, size: int, seed: int) -> Judge:
        """Draw a sample of at most `size` rows and keep what every score needs."""
        rows = np.arange(len(points))
        if len(rows) > size:
            rows = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
        distances = np.maximum(1.0 - points[rows] @ points[rows].T, 0.0)
        return cls(rows, distances, neighbors.ids[rows, : scoring_k(len(rows))])

    def score(self, positions: NDArray[np.float32], n_neighbors: int) -> Candidate:
        """Return the scores of a map.

        Parameters
        ----------
        positions : (n, d) ndarray of float32
            Of all rows, sampled or not.
        n_neighbors : int
            What the map was fitted with.

        References
        ----------
        J. Venna, S. Kaski: Neighborhood preservation in nonlinear projection methods. ICANN 2001 (trustworthiness).
        """
        trust = trustworthiness(
            self.distances, positions[self.sample], n_neighbors=self.true_ids.shape[1], metric="precomputed"
        )
        return Candidate(n_neighbors, positions.shape[1], float(trust), self._recall(positions))

    def _recall(self, positions: NDArray[np.float32]) -> float:
        """Return the share of the true k nearest that are among the k nearest on the map."""
        k = self.true_ids.shape[1]
        squares = np.einsum("ij,ij->i", positions, positions)
        kept = 0
        for row, true_ids in zip(self.sample, self.true_ids, strict=True):
            distances = squares - 2.0 * (positions @ positions[row])
            distances[row] = np.inf
            kept += len(np.intersect1d(np.argpartition(distances, k)[:k], true_ids))
        return kept / self.true_ids.size
