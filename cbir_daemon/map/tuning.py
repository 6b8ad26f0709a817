"""Which hyper-parameters give the best map of this collection.

In: codes, their exact neighbours, positions.  Out: what is tried, its scores, the choice.  Never here: umap, files,
processes.

All candidates are scored with the same k on the same images, some fitted, some held out and projected.  A score
with the trial's own `n_neighbors` as k would let small ones win by construction.  Scores of fitted images alone
would hide what users meet: every query is projected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.exact import product
from cbir_daemon.map.neighbors import NEAREST, Neighbors
from cbir_daemon.map.quality import nearest_on_map, recall
from cbir_daemon.records import Trial
from cbir_daemon.search.neighborhood import neighborhood_width

N_NEIGHBORS = (5, 10, 15, 30, 50, 100)
N_COMPONENTS = (16, 8, 32)
"""Dimensions: `n_neighbors` is tuned at the first; only then are the others tried, with the winner."""

SMALLEST_SHARE = 3
"""`n_neighbors` is at most one in this many of the images: half the collection is no neighbourhood."""

TIE_MARGIN = 0.004
"""Trustworthiness this close to the best counts as equal to it: other seeds and another sample move it by as much."""

RECALL_TIE = 0.004
"""Recall this close to the best counts as equal to it: another seed moves it by as much."""

RECALL_MARGIN = 0.01
"""Recall this close counts as equal before other seeds were tried."""

FIRST = 4
"""Smallest values of `n_neighbors`, which are tried in any case, side by side: a trial takes as long as it has
neighbours, and these together as long as the next one."""

FALLING = 2
"""Larger values of `n_neighbors` in a row that must be worse in both scores before still larger ones are left out; one
is enough when it is worse by more than another seed could make it."""

REPETITIONS = 3
MOST_RIVALS = 3
"""Seeds that rivals are tried with, and the most rivals: candidates that another seed might put before the best."""


class TrialKey(NamedTuple):
    """What a trial is of: hyper-parameters, and the number of the repetition, from 0; each has a seed of its own."""

    n_neighbors: int
    n_components: int
    repetition: int


Trials = Callable[[Sequence[TrialKey]], Iterable[Trial]]
"""Tries candidates, maybe side by side, and yields their scores in order."""


HELD_OUT_SHARE = 10
MOST_HELD_OUT = 500
"""One in ten images is held out while tuning, and at most 500."""


def candidate_neighbors(images: int) -> tuple[int, ...]:
    """Return the values of `n_neighbors` worth trying for so many images, ascending; at least one."""
    limit = max(2, images // SMALLEST_SHARE)
    return tuple(n for n in N_NEIGHBORS if n <= limit) or (limit,)


def scoring_k(images: int) -> int:
    """Return the k of both scores: `NEAREST`, or what trustworthiness allows, less than half of the images."""
    return max(1, min(NEAREST, (images - 1) // 2))


def split(images: int, most: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw rows for tuning: those that are fitted, and those that are held out and projected.

    Parameters
    ----------
    images : int
        Rows that there are.
    most : int
        Rows drawn at most, both kinds together.
    seed : int
        Of the draw.

    Returns
    -------
    fitted, held_out : (f,), (h,) ndarray of intp
        Rows, each ascending, none in both.
    """
    drawn = np.random.default_rng(seed).permutation(images)[:most]
    held_out = max(1, min(MOST_HELD_OUT, len(drawn) // HELD_OUT_SHARE))
    return np.sort(drawn[held_out:]), np.sort(drawn[:held_out])


def choose(curve: Iterable[Trial]) -> Trial:
    """Return the best of `curve`.

    Among the candidates whose trustworthiness is within `TIE_MARGIN` of the best those count whose recall is within
    `RECALL_TIE` of the highest; of these the trial with fewer neighbours, then fewer dimensions, is cheaper.
    """
    curve = tuple(curve)
    best = max(trial.trustworthiness for trial in curve)
    finalists = [trial for trial in curve if trial.trustworthiness >= best - TIE_MARGIN]
    most = max(found.neighbor_recall for found in finalists)
    equals = [found for found in finalists if found.neighbor_recall >= most - RECALL_TIE]
    return min(equals, key=lambda found: (found.n_neighbors, found.n_components, -found.neighbor_recall))


def cannot_win(curve: Sequence[Trial]) -> bool:
    """Say whether larger `n_neighbors` than the last can be left out.

    They can when the last `FALLING` values of the curve, which ascends, were each lower in both scores than the best
    one before them, or when the last was so by more than the margins.
    """
    return _fell(curve, FALLING) or _fell(curve, 1, TIE_MARGIN, RECALL_MARGIN)


def _fell(curve: Sequence[Trial], count: int, trust_margin: float = 0.0, recall_margin: float = 0.0) -> bool:
    """Say whether the last `count` values of a curve are each lower than the best before them, by more than margins."""
    if len(curve) <= count:
        return False
    best = choose(curve[:-count])
    return all(
        later.trustworthiness < best.trustworthiness - trust_margin
        and later.neighbor_recall < best.neighbor_recall - recall_margin
        for later in curve[-count:]
    )


def rivals(curve: Iterable[Trial]) -> tuple[Trial, ...]:
    """Return the best of `curve` and those that another seed might put before it, at most `MOST_RIVALS`.

    Those lie within `TIE_MARGIN` of its trustworthiness and within `RECALL_MARGIN` of its recall.
    """
    curve = tuple(curve)
    best = choose(curve)
    near = [
        found
        for found in curve
        if abs(found.trustworthiness - best.trustworthiness) <= TIE_MARGIN
        and abs(found.neighbor_recall - best.neighbor_recall) <= RECALL_MARGIN
    ]
    return tuple(sorted(near, key=lambda found: -found.neighbor_recall)[:MOST_RIVALS])


class Search:
    """Looks for the best hyper-parameters.

    Parameters
    ----------
    neighbors : sequence of int
        Values of `n_neighbors`, ascending.
    dimensions : sequence of int
        Values of `n_components`; the first is used for all `n_neighbors`, the others with the winner only.
    trials : callable
        Gets keys and yields their scores in order.
    progress : callable
        Gets trials done, the most that there may be, and a sentence.
    ready : mapping, optional
        Scores that are known already, by their keys.
    """

    def __init__(
        self,
        neighbors: Sequence[int],
        dimensions: Sequence[int],
        trials: Trials,
        progress: Callable[[int, int, str], None],
        ready: Mapping[TrialKey, Trial] | None = None,
    ) -> None:
        self._neighbors = neighbors
        self._dimensions = dimensions
        self._trials = trials
        self._progress = progress
        self._ready = ready or {}
        self._scores: dict[tuple[int, int], list[Trial]] = {}

    def run(self) -> tuple[Trial, ...]:
        """Return the whole curve; scores are means where a trial was tried with several seeds."""
        first, *others = self._dimensions
        repeated = MOST_RIVALS * (REPETITIONS - 1)
        keys = [TrialKey(n_neighbors, first, 0) for n_neighbors in self._neighbors]
        later = len(others) + repeated
        # Always tried: the first of them are not worth waiting for.
        self._try(keys[:FIRST], len(keys[FIRST:]) + later)
        for place, key in enumerate(keys[FIRST:], FIRST + 1):
            if cannot_win(self._curve()):
                break
            self._try([key], len(keys[place:]) + later)
        winner = choose(self._curve()).n_neighbors
        self._try([TrialKey(winner, n_components, 0) for n_components in others], repeated)
        self._settle()
        return self._curve()

    def _settle(self) -> None:
        """Try the rivals again with more seeds, because one seed cannot decide between them."""
        close = rivals(self._curve())
        if len(close) == 1:
            return
        self._try(
            [
                TrialKey(trial.n_neighbors, trial.n_components, repetition)
                for repetition in range(1, REPETITIONS)
                for trial in close
            ]
        )

    def _try(self, keys: Sequence[TrialKey], later: int = 0) -> None:
        """Try candidates; so many trials may follow later."""
        fresh = iter(self._trials([key for key in keys if key not in self._ready]))
        for place, key in enumerate(keys):
            scores = self._ready.get(key)
            if scores is None:
                self._tell(key, len(keys) - place + later)
                scores = next(fresh)
            self._scores.setdefault(key[:2], []).append(scores)

    def _tell(self, key: TrialKey, remaining: int) -> None:
        done = sum(len(scores) for scores in self._scores.values())
        again = f", seed {key.repetition + 1}" if key.repetition else ""
        what = f"trying n_neighbors={key.n_neighbors}, n_components={key.n_components}{again}"
        self._progress(done, done + remaining, what)

    def _curve(self) -> tuple[Trial, ...]:
        return tuple(_mean(scores) for scores in self._scores.values())


def _mean(scores: Sequence[Trial]) -> Trial:
    return Trial(
        scores[0].n_neighbors,
        scores[0].n_components,
        fmean(found.trustworthiness for found in scores),
        fmean(found.neighbor_recall for found in scores),
    )


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores the maps of one collection by one measure.

    Parameters
    ----------
    sample : (s,) ndarray of intp
        Fitted rows that are looked at, ascending.
    ranks : (s, s) ndarray of int32
        How many of the sample are as near to each of it as each other, by their codes: 1 for the nearest.
    true_ids : (s, k) ndarray of int32
        The k fitted rows nearest to each of the sample.
    held_out_ids : (h, k) ndarray of int32
        The k fitted rows nearest to each held-out image.
    width : int
        How many nearest on the map are looked at.
    held_out_own : (h,) ndarray of intp or None
        The rows that the held-out images are themselves, when none was really held out.
    """

    sample: NDArray[np.intp]
    ranks: NDArray[np.int32]
    true_ids: NDArray[np.int32]
    held_out_ids: NDArray[np.int32]
    width: int
    held_out_own: NDArray[np.intp] | None = None

    @classmethod
    def prepare(
        cls, points: NDArray[np.float32], neighbors: Neighbors, held_out: Neighbors | None, *, size: int, seed: int
    ) -> Scorer:
        """Draw a sample of at most `size` fitted rows, and keep what every score needs.

        Parameters
        ----------
        points : (n, f) ndarray of float32
            Rows that will be fitted.
        neighbors : Neighbors
            Of each of them among the others.
        held_out : Neighbors or None
            Of the held-out images among `points`; None lets the sample stand in for them.
        size : int
            Time and memory of a score grow with its square.
        seed : int
            Of the draw.
        """
        rows = np.arange(len(points))
        if len(rows) > size:
            rows = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
        ranks = ranks_of(points[rows])
        k = scoring_k(len(rows))
        width = neighborhood_width(len(points), k)
        true_ids = neighbors.ids[rows, :k]
        if held_out is None:
            return cls(rows, ranks, true_ids, true_ids, width, rows)
        return cls(rows, ranks, true_ids, held_out.ids[:, :k], width)

    def score(self, positions: NDArray[np.float32], held_out_positions: NDArray[np.float32], n_neighbors: int) -> Trial:
        """Return the scores of a map.

        Parameters
        ----------
        positions : (n, d) ndarray of float32
            Of all fitted rows.
        held_out_positions : (h, d) ndarray of float32
            Of the held-out images, projected.
        n_neighbors : int
            What the map was fitted with.

        Returns
        -------
        Trial
            Trustworthiness of the sample; neighbour recall in the part of the map that `similar` looks at, the mean of
            that of the sample and that of the held-out images.
        """
        trust = trustworthiness(self.ranks, positions[self.sample], self.true_ids.shape[1])
        fitted = recall(positions, positions[self.sample], self.true_ids, own=self.sample, width=self.width)
        projected = recall(positions, held_out_positions, self.held_out_ids, own=self.held_out_own, width=self.width)
        return Trial(n_neighbors, positions.shape[1], trust, float(fitted.mean() + projected.mean()) / 2)


def ranks_of(points: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the rank of each row among the neighbours of each row.

    Parameters
    ----------
    points : (n, f) ndarray of float32

    Returns
    -------
    (n, n) ndarray of int32
        1 for the nearest, equals in order of row; n for the row itself.
    """
    similarities = product(points, points.T)
    squares = similarities.diagonal().copy()
    places = np.arange(1, len(points) + 1, dtype=np.int32)
    ranks = np.empty(similarities.shape, np.int32)
    for row, similarity in enumerate(similarities):
        distances = squares - 2.0 * similarity
        distances[row] = np.inf
        ranks[row, np.argsort(distances, kind="stable")] = places
    return ranks


def trustworthiness(ranks: NDArray[np.int32], positions: NDArray[np.float32], k: int) -> float:
    """Return how far the nearest on the map are true neighbours.

    Parameters
    ----------
    ranks : (n, n) ndarray of int32
        From `ranks_of`.
    positions : (n, d) ndarray of float32
        The map.
    k : int
        How many nearest are looked at: 1 to less than n / 2.

    Returns
    -------
    float
        In [0, 1]; 1 when the k nearest on the map are those by code, for all.

    Notes
    -----
    scikit-learn's number, but for ties, and the same on every processor.

    References
    ----------
    J. Venna, S. Kaski: Neighborhood preservation in nonlinear projection methods. ICANN 2001, equation 1.
    """
    axes = np.ascontiguousarray(positions.T)
    count = len(positions)
    beyond = 0
    for row, position in enumerate(positions):
        near = nearest_on_map(axes, position, k, own=row)
        beyond += int(np.maximum(ranks[row, near] - k, 0).sum())
    return 1.0 - beyond * 2.0 / (count * k * (2.0 * count - 3.0 * k - 1.0))
