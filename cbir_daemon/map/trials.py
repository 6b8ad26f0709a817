"""Maps that are fitted only to be scored.

In: points of a collection, its graph, settings.  Out: the scores of a candidate.  Never here: which candidates are
tried (`tuning`), files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from cbir_daemon.map import graph, tuning
from cbir_daemon.map.cluster import Broadcast, Cluster
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

Sample = tuple[Points, Neighbors, Neighbors, tuning.Scorer, FitSettings]
"""What all candidates are tried with: points, their neighbours, those of what is held out, the scorer, the settings."""


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
    cluster : Cluster, optional
        Tries them; None tries them here.
    """

    def __init__(
        self,
        points: Points,
        neighbors: Neighbors,
        held_out: Neighbors,
        scorer: tuning.Scorer,
        settings: FitSettings,
        cluster: Cluster | None = None,
    ) -> None:
        self._sample: Broadcast[Sample] = Broadcast((points, neighbors, held_out, scorer, settings))
        self._threads = settings.threads
        self._cluster = cluster

    @classmethod
    def of(cls, known: Graph, points: Points, settings: FitSettings, cluster: Cluster | None = None) -> Trials:
        """Return the trials of a fit.

        Parameters
        ----------
        known : Graph
            Of all that will be fitted.
        points : (n, f) Points
            Of it; a sample of them is fitted, another held out and projected.
        settings : FitSettings
            Sizes of the samples, and the seed.
        cluster : Cluster, optional
            Tries them; None tries them here.
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
        return cls(fitted, neighbors, held_out, scorer, settings, cluster)

    def run(self, keys: Sequence[TrialKey]) -> Iterator[Trial]:
        """Yield the scores of candidates in their order, as many trials side by side as there are threads or workers.

        Parameters
        ----------
        keys : sequence of TrialKey
        """
        if self._cluster is not None:
            yield from self._cluster.map(scored, self._sample, keys, threads=self._threads)
            return
        with ThreadPoolExecutor(self._threads) as threads:
            yield from threads.map(partial(scored, self._sample.value), keys)


def scored(sample: Sample, key: TrialKey) -> Trial:
    """Fit and score one candidate.

    Parameters
    ----------
    sample : Sample
    key : TrialKey
    """
    points, neighbors, held_out, scorer, settings = sample
    seed = (settings.seed + key.repetition) % SEEDS
    recipe = Recipe(key.n_neighbors, key.n_components, seed, settings.min_dist, EPOCHS)
    model = fit_map(points.rows, neighbors, recipe)
    projected = project(model, held_out.first(key.n_neighbors))
    return scorer.score(model.embedding_, projected, key.n_neighbors)
