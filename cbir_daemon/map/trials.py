"""Maps that are fitted only to be scored.

In: points of a collection, its graph, settings.  Out: the scores of a candidate.  Never here: which candidates are
tried (`tuning`), files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from cbir_daemon.map import graph, tuning
from cbir_daemon.map.fit import FitSettings
from cbir_daemon.map.graph import Graph
from cbir_daemon.map.layout import Recipe, fit_map, project
from cbir_daemon.map.neighbors import Neighbors, nearest
from cbir_daemon.map.points import Points
from cbir_daemon.map.tuning import TrialKey
from cbir_daemon.records import Trial

SEEDS = 2**32

EPOCHS = 100
"""Rounds of a trial: half of a map's.  They put candidates in the same order (see docs/model-figures.md)."""


class Trials:
    """Candidates fitted and scored on one sample, which share one graph; `of` draws it.

    Parameters
    ----------
    points : (m, f) Points
        The sample that is fitted.
    neighbors : Neighbors
        Of these.
    held_out : Neighbors
        Of the sample that is projected, among these.
    scorer : Scorer
    settings : FitSettings
    """

    def __init__(
        self, points: Points, neighbors: Neighbors, held_out: Neighbors, scorer: tuning.Scorer, settings: FitSettings
    ) -> None:
        self._points = points
        self._neighbors = neighbors
        self._held_out = held_out
        self._scorer = scorer
        self._settings = settings

    @classmethod
    def of(cls, known: Graph, points: Points, settings: FitSettings) -> Trials:
        """Return the trials of a fit.

        Parameters
        ----------
        known : Graph
            Of all that will be fitted.
        points : (n, f) Points
            Of it; a sample of them is fitted, another held out and projected.
        settings : FitSettings
            Sizes of the samples, and the seed.
        """
        seed, threads = settings.seed, settings.threads
        fitted_rows, held_out_rows = tuning.split(len(points), settings.tune_images, seed)
        fitted = points[fitted_rows]
        # Of nearly everybody the neighbours are known; those of a small sample are hardly ever in each other's lists.
        start = known if len(points) <= settings.tune_images else None
        sampled = graph.updated(start, known.ids[fitted_rows], fitted, seed=seed, threads=threads)
        neighbors = sampled.neighbors(points.metric)
        held_out = nearest(fitted, points[held_out_rows], neighbors.ids.shape[1])
        scorer = tuning.Scorer.prepare(fitted.rows, neighbors, held_out, size=settings.score_sample, seed=seed)
        return cls(fitted, neighbors, held_out, scorer, settings)

    def run(self, keys: Sequence[TrialKey]) -> Iterator[Trial]:
        """Yield the scores of candidates in their order, as many trials side by side as the settings have threads.

        Parameters
        ----------
        keys : sequence of TrialKey
        """
        with ThreadPoolExecutor(self._settings.threads) as threads:
            yield from threads.map(self._score, keys)

    def _score(self, key: TrialKey) -> Trial:
        """Fit and score one candidate."""
        seed = (self._settings.seed + key.repetition) % SEEDS
        recipe = Recipe(key.n_neighbors, key.n_components, seed, self._settings.min_dist, EPOCHS)
        model = fit_map(self._points.rows, self._neighbors, recipe)
        projected = project(model, self._held_out.first(key.n_neighbors))
        return self._scorer.score(model.embedding_, projected, key.n_neighbors)
