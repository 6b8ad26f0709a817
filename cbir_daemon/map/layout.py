"""The door to umap-learn: neighbours to a map, and new neighbours to positions on it.

In: exact neighbours and hyper-parameters.  Out: a fitted model, and positions.  Never here: how neighbours were found,
which hyper-parameters are good, files.

Only child processes import this module: umap-learn and numba take seconds and 250 MB.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import umap
import umap.layouts
import umap.umap_
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError
from cbir_daemon.map.neighbors import Neighbors, strictly_rising
from cbir_daemon.map.start import first_positions

FEW_IMAGES = 5_000
"""Most images of a map that gets more rounds and negative samples; larger ones gain little (docs/model-figures.md)."""

EPOCHS, EPOCHS_OF_FEW = 200, 300
"""Rounds of a fit.  `transform` takes a third of them; it must not choose by the number of rows it is given."""

NEGATIVES, NEGATIVES_OF_FEW = 5, 30
"""Images that push each image away, for each that pulls: umap-learn's own number, and one that raises recall."""

WARM_EPOCHS, WARM_EPOCHS_OF_FEW = 40, 100
WARM_ALPHA = 0.25
"""Rounds of a warm fit, and the share of its steps: it mends a map, and makes none."""

TIED_SHARE = 2 / 3
FEWEST_TIED = 2
"""Share of its neighbours that each image is fully tied to in the fit, and how many at least (`local_connectivity`).

In `transform` umap-learn takes one less.  With its default, 1, a projected image is fully tied to none.  Its weights
are then scaled by the largest in the batch, and its bandwidth may be clamped by the batch's mean distance: its position
depends on the batch.  With one full tie the largest weight of every row is 1 and the clamp is the
row's own, so a batch is exactly the sum of its images (the random numbers are each row's own already).  Many full ties
also raise recall: see docs/model-figures.md.
"""

SPREAD = 1.0
"""umap-learn's own scale of the map."""

CURVE_DECIMALS = 6
"""Of the two numbers that the pull over a distance follows.  They are fitted, and end differently on each processor."""

FLAT_COMPONENTS = 2

REPORT_EACH_S = 1.0
"""Time between two reports of progress within a layout."""

INT32 = np.iinfo(np.int32)

_EPOCH = "_nb_optimize_layout_euclidean_single_epoch"

# Two layouts run side by side in one process: a round of one must not hold the interpreter from the other.  What was
# compiled otherwise lies in another folder (`environment.CACHE_VERSION`).
if hasattr(umap.layouts, _EPOCH):
    getattr(umap.layouts, _EPOCH).targetoptions["nogil"] = True

# umap-learn compiles these anew in every process, which costs seconds; numba keeps them on disk once told to.
for _module, _name in (
    (umap.umap_, "smooth_knn_dist"),
    (umap.umap_, "compute_membership_strengths"),
    (umap.layouts, _EPOCH),
):
    if hasattr(_module, _name):
        getattr(_module, _name).enable_caching()

_PARALLEL = threading.Lock()
"""Held where umap-learn runs functions that numba made parallel: its simplest threading layer ends the process when two
threads are in one."""

Progress = Callable[[int, int], None]
"""Gets epochs done and epochs in all.  It must not raise: tqdm would keep a lock."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe of a map.

    Parameters
    ----------
    n_neighbors : int
        Neighbours that pull at each image: few keep the finest structure, many the large one.
    n_components : int
        Dimensions of the map.
    seed : int
        Equal points, neighbours and seeds give equal positions, bit for bit, with any number of threads.
    min_dist : float
        How far apart the closest images are kept, 0 to 1.
    epochs, negatives : int
        Rounds, and images that push each image away for each that pulls: more raise recall, and take longer.
    """

    n_neighbors: int
    n_components: int
    seed: int
    min_dist: float = 0.0
    epochs: int = EPOCHS
    negatives: int = NEGATIVES

    @property
    def local_connectivity(self) -> int:
        """Neighbours that each image is fully tied to."""
        return max(FEWEST_TIED, math.floor(TIED_SHARE * self.n_neighbors))

    def with_care(self, images: int) -> Recipe:
        """Return the recipe for a finished map of so many images, not for a trial."""
        if images > FEW_IMAGES:
            return self
        return replace(self, epochs=EPOCHS_OF_FEW, negatives=NEGATIVES_OF_FEW)


def fit_map(
    points: NDArray[np.float32],
    neighbors: Neighbors,
    recipe: Recipe,
    *,
    start: NDArray[np.float32] | None = None,
    progress: Progress | None = None,
) -> umap.UMAP:
    """Fit a map: `fit_graph`, then `lay_out`.

    Parameters
    ----------
    points : (n, f) ndarray of float32
        They give the first positions.
    neighbors : Neighbors
        Of each of the points, at least `n_neighbors` wide, with the distances that the map is made of.
    recipe : Recipe
        What it is made with.
    start : (n, n_components) ndarray of float32, optional
        Where to start a warm fit, which takes fewer and smaller steps; None starts cold.
    progress : callable, optional
        Gets epochs done and epochs in all.

    Raises
    ------
    ModelError
        When umap-learn cannot fit it.
    """
    model = fit_graph(neighbors, recipe)
    lay_out(model, points, start=start, progress=progress)
    return model


def fit_graph(neighbors: Neighbors, recipe: Recipe) -> umap.UMAP:
    """Return a model with its graph and without positions.

    Parameters
    ----------
    neighbors : Neighbors
        At least `n_neighbors` wide, with the distances that the map is made of.
    recipe : Recipe
        What it is made with.

    Raises
    ------
    ModelError
        When umap-learn cannot fit it.
    """
    nearest = neighbors.first(recipe.n_neighbors)
    images = len(nearest.ids)
    pull, fall = _curve(recipe.min_dist)
    model = umap.UMAP(
        n_neighbors=recipe.n_neighbors,
        n_components=recipe.n_components,
        metric="precomputed",
        # Out of a matrix it would sort them anew, and equals would come in another order on another processor.
        precomputed_knn=(nearest.ids.astype(np.int64), nearest.distances.copy()),
        min_dist=recipe.min_dist,
        spread=SPREAD,
        a=pull,
        b=fall,
        local_connectivity=recipe.local_connectivity,
        negative_sample_rate=recipe.negatives,
        n_epochs=recipe.epochs,
        random_state=recipe.seed,
        transform_seed=recipe.seed,
        n_jobs=1,
        # The positions are ours to find: umap-learn would stretch those of a warm start.
        transform_mode="graph",
    )
    try:
        with _PARALLEL:
            # Of the matrix, only the shape counts.
            model.fit(scipy.sparse.csr_matrix((images, images), dtype=np.float32))
    except (ValueError, FloatingPointError) as error:
        raise ModelError(f"no map with {recipe.n_neighbors} neighbours can be fitted: {error}") from error
    # umap-learn has them under another name as well.
    model.precomputed_knn = model.knn_indices = model.knn_dists = None
    return model


def lay_out(
    model: umap.UMAP,
    points: NDArray[np.float32],
    *,
    start: NDArray[np.float32] | None = None,
    progress: Progress | None = None,
) -> None:
    """Give a model its positions.  Other threads may lay out other models, and flatten this one.

    Parameters
    ----------
    model : umap.UMAP
        From `fit_graph`.
    points : (n, f) ndarray of float32
        What it is fitted on; they give the first positions.
    start : (n, n_components) ndarray of float32, optional
        Where to start a warm fit, which takes fewer and smaller steps; None starts cold.
    progress : callable, optional
        Gets epochs done and epochs in all.

    Raises
    ------
    ModelError
        When an image ends without a position.
    """
    first = first_positions(points, model.n_components, model.random_state) if start is None else start
    model.embedding_ = _laid_out(model, first, (model.a, model.b), warm=start is not None, progress=progress)
    model.transform_mode = "embedding"
    if not np.isfinite(model.embedding_).all():
        raise ModelError(f"the map with {model.n_neighbors} neighbours has images without a position")


def flatten(
    model: umap.UMAP,
    points: NDArray[np.float32],
    *,
    start: NDArray[np.float32] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return a map in two dimensions, packed as tightly as UMAP can, from the graph of a model.

    Parameters
    ----------
    model : umap.UMAP
        From `fit_graph`.
    points : (n, f) ndarray of float32
        What it is fitted on.
    start : (n, 2) ndarray of float32, optional
        Where to start a warm fit; None starts cold.
    progress : callable, optional
        Gets epochs done and epochs in all.

    Returns
    -------
    (n, 2) ndarray of float32
    """
    first = first_positions(points, FLAT_COMPONENTS, model.random_state) if start is None else start
    return _laid_out(model, first, _curve(0.0), warm=start is not None, progress=progress)


def _curve(min_dist: float) -> tuple[float, float]:
    """Return a and b of the curve 1 / (1 + a d^2b) by which images pull at each other over a distance d on the map."""
    pull, fall = umap.umap_.find_ab_params(SPREAD, min_dist)
    return round(float(pull), CURVE_DECIMALS), round(float(fall), CURVE_DECIMALS)


def _laid_out(
    model: umap.UMAP, first: NDArray[np.float32], curve: tuple[float, float], *, warm: bool, progress: Progress | None
) -> NDArray[np.float32]:
    """Return where the graph of a model pulls `first`.

    References
    ----------
    umap-learn, `umap_.py`: the end of `simplicial_set_embedding`.
    """
    warm_epochs = WARM_EPOCHS if model.n_epochs == EPOCHS else WARM_EPOCHS_OF_FEW
    epochs = warm_epochs if warm else model.n_epochs
    graph = model.graph_.tocoo(copy=True)
    graph.sum_duplicates()
    # Ties too weak to pull once.
    graph.data[graph.data < graph.data.max() / epochs] = 0.0
    graph.eliminate_zeros()
    positions = np.array(first, dtype=np.float32, order="C")
    states = np.random.RandomState(model.random_state).randint(INT32.min, INT32.max, 3)
    return np.asarray(
        umap.layouts.optimize_layout_euclidean(
            positions,
            positions,
            graph.row,
            graph.col,
            epochs,
            len(positions),
            umap.umap_.make_epochs_per_sample(graph.data, epochs),
            *curve,
            states.astype(np.int64),
            model.repulsion_strength,
            model.learning_rate * (WARM_ALPHA if warm else 1.0),
            model.negative_sample_rate,
            tqdm_kwds=_watched(epochs, progress),
            move_other=True,
        ),
        dtype=np.float32,
    )


def _watched(epochs: int, progress: Progress | None) -> dict[str, Any]:
    """Return arguments that make the progress bar of umap-learn report to us instead of drawing."""
    if progress is None:
        return {"disable": True}
    # tqdm's second thread never writes while `miniters` is 1.
    return {
        "disable": False,
        "file": _Bar(epochs, progress),
        "bar_format": "{n_fmt}",
        "mininterval": REPORT_EACH_S,
        "miniters": 1,
    }


class _Bar:
    """A file that a progress bar is drawn on: a number at a time."""

    def __init__(self, epochs: int, progress: Progress) -> None:
        self._epochs = epochs
        self._progress = progress

    def write(self, text: str) -> None:
        """Pass a number on; returns and blanks are nothing."""
        if text.strip().isdigit():
            self._progress(int(text), self._epochs)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


def only_for_projecting(model: umap.UMAP) -> umap.UMAP:
    """Return a model without its graph and the distances it was made of, which `project` does not need.

    Those are three quarters of it, and the worker would hold them for nothing.
    """
    lean = copy.copy(model)
    for name in ("graph_", "graph_dists_", "_knn_indices", "_knn_dists", "_sigmas", "_rhos"):
        setattr(lean, name, None)
    return lean


def project(model: umap.UMAP, neighbors: Neighbors) -> NDArray[np.float32]:
    """Return positions of new images, from their neighbours among the fitted ones.

    Parameters
    ----------
    model : umap.UMAP
        From `fit_map`.
    neighbors : Neighbors
        Of m new images; exactly `model.n_neighbors` wide.

    Returns
    -------
    (m, n_components) ndarray of float32
        An image has the same position alone and in any batch: see `TIED_SHARE`.
    """
    rows, k = neighbors.ids.shape
    if not rows:
        return np.empty((0, model.n_components), np.float32)
    starts = np.arange(0, rows * k + 1, k)
    parts = (strictly_rising(neighbors.distances).ravel(), neighbors.ids.ravel(), starts)
    with _PARALLEL:
        positions = model.transform(scipy.sparse.csr_matrix(parts, shape=(rows, len(model.embedding_))))
    return np.asarray(positions, dtype=np.float32)
