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
from cbir_daemon.map.neighbors import nearest
from cbir_daemon.map.points import Points
from cbir_daemon.map.tuning import TrialKey
from cbir_daemon.records import Trial

SEEDS = 2**32

EPOCHS = 100
"""Rounds of a trial: half of a map's.  They put candidates in the same order (see docs/model-figures.md)."""


class Trials:
    """Candidates fitted and scored on one sample, which share one graph.

    Parameters
    ----------
    known : Graph
        Of all that will be fitted.
    points : (n, f) Points
        Of it; a sample of them is fitted, another held out and projected.
    settings : FitSettings
        Sizes of the samples, and the seed.
    """

    def __init__(self, known: Graph, points: Points, settings: FitSettings) -> None:
        seed, threads = settings.seed, settings.threads
        fitted_rows, held_out_rows = tuning.split(len(points), settings.tune_images, seed)
        self._settings = settings
        self._points = points[fitted_rows]
        # Of nearly everybody the neighbours are known; those of a small sample are hardly ever in each other's lists.
        start = known if len(points) <= settings.tune_images else None
        sampled = graph.updated(start, known.ids[fitted_rows], self._points, seed=seed, threads=threads)
        self._neighbors = sampled.neighbors(points.metric)
        width = self._neighbors.ids.shape[1]
        self._held_out = nearest(self._points, points[held_out_rows], width)
        self._scorer = tuning.Scorer.prepare(
            self._points.rows, self._neighbors, self._held_out, size=settings.score_sample, seed=seed
        )

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
