"""Maps that are fitted only to be scored.

In: points of a collection, its graph, settings.  Out: the scores of a candidate.  Never here: which candidates are
tried (`tuning`), files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map import graph, tuning
from cbir_daemon.map.fit import FitSettings
from cbir_daemon.map.graph import Graph
from cbir_daemon.map.layout import Recipe, fit_map, project
from cbir_daemon.map.neighbors import nearest
from cbir_daemon.records import Candidate

SEEDS = 2**32


class Trials:
    """Candidates fitted and scored on one sample, which share one graph.

    Parameters
    ----------
    known : Graph
        Of all that will be fitted.
    points : (n, f) ndarray of float32
        Rows of it; a sample of them is fitted, another held out and projected.
    settings : FitSettings
        Sizes of the samples, and the seed.
    """

    def __init__(self, known: Graph, points: NDArray[np.float32], settings: FitSettings) -> None:
        seed, threads = settings.seed, settings.threads
        fitted_rows, held_out_rows = tuning.split(len(points), settings.tune_images, seed)
        self._settings = settings
        self._points = points[fitted_rows]
        # Of nearly everybody the neighbours are known; those of a small sample are hardly ever in each other's lists.
        start = known if len(points) <= settings.tune_images else None
        is_euclidean = settings.is_euclidean
        sampled = graph.updated(
            start, known.ids[fitted_rows], self._points, seed=seed, threads=threads, is_euclidean=is_euclidean
        )
        self._neighbors = sampled.neighbors(is_euclidean=is_euclidean)
        width = self._neighbors.ids.shape[1]
        self._held_out = nearest(self._points, points[held_out_rows], width, is_euclidean=is_euclidean)
        self._judge = tuning.Judge.prepare(
            self._points, self._neighbors, self._held_out, size=settings.score_sample, seed=seed
        )

    def run(self, n_neighbors: int, n_components: int, repetition: int) -> Candidate:
        """Fit and score one candidate.

        Parameters
        ----------
        n_neighbors, n_components : int
            Its hyper-parameters.
        repetition : int
            From 0; added to the seed of the settings.
        """
        seed = (self._settings.seed + repetition) % SEEDS
        recipe = Recipe(n_neighbors, n_components, seed, self._settings.min_dist)
        model = fit_map(self._points, self._neighbors, recipe)
        projected = project(model, self._held_out.first(n_neighbors))
        return self._judge.score(model.embedding_, projected, n_neighbors)
