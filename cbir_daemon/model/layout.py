"""The door to umap-learn: neighbours to a map, and new neighbours to positions on it.

In: exact neighbours and hyper-parameters.  Out: a fitted model, and positions.  Never here: how neighbours were found,
which hyper-parameters are good, files.

Only child processes import this module: umap-learn and numba take seconds and 250 MB.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import umap
import umap.layouts
import umap.umap_
from numpy.typing import NDArray

from cbir_daemon.errors import ModelError
from cbir_daemon.model.neighbors import Neighbors, symmetric

MANY_IMAGES = 10_000
EPOCHS = 500
EPOCHS_OF_MANY = 200
"""umap-learn's own numbers of epochs up to, and above, `MANY_IMAGES`.  Written down, since `transform` would otherwise
choose its own from the number of rows it is given."""

LOCAL_CONNECTIVITY = 2
"""Neighbours that each image is fully tied to, in the fit; in `transform` umap-learn takes one less.

With its default, 1, a projected image is fully tied to none.  Its weights are then scaled by the largest in the batch,
and its bandwidth may be clamped by the batch's mean distance: an image lands elsewhere in company than alone.  With one
full tie the largest weight of every row is 1 and the clamp is the row's own, so a batch is exactly the sum of its
images (the random numbers are each row's own already).  It also keeps more neighbours: over 2 500 photographs, of the
10 nearest of a held-out image 0.31 to 0.32 instead of 0.28 to 0.31 at `n_neighbors` 15 and 30.
"""

INIT_NOISE = 1e-4
"""Noise on the first positions, as a share of their range: duplicates need some to come apart."""

# umap-learn compiles these anew in every process, which costs seconds; numba keeps them on disk once told to.
for _module, _name in (
    (umap.umap_, "smooth_knn_dist"),
    (umap.umap_, "compute_membership_strengths"),
    (umap.layouts, "_nb_optimize_layout_euclidean_single_epoch"),
):
    if hasattr(_module, _name):
        getattr(_module, _name).enable_caching()


def fit_map(
    points: NDArray[np.float32],
    neighbors: Neighbors,
    *,
    n_neighbors: int,
    n_components: int,
    seed: int,
    min_dist: float = 0.0,
) -> umap.UMAP:
    """Fit a map.

    Parameters
    ----------
    points : (n, f) ndarray of float32
        Unit rows; they give the first positions.
    neighbors : Neighbors
        Of each of the points, at least `n_neighbors` wide.
    n_neighbors : int
        Neighbours that pull at each image: few keep the finest structure, many the large one.
    n_components : int
        Dimensions of the map.
    seed : int
        Equal points and seeds give equal positions, bit for bit.
    min_dist : float
        How far apart the closest images are kept, 0 to 1.

    Raises
    ------
    ModelError
        When umap-learn cannot fit it.
    """
    model = umap.UMAP(
        n_neighbors=n_neighbors,
        n_components=n_components,
        metric="precomputed",
        min_dist=min_dist,
        local_connectivity=LOCAL_CONNECTIVITY,
        init=first_positions(points, n_components, seed),
        n_epochs=EPOCHS if len(points) <= MANY_IMAGES else EPOCHS_OF_MANY,
        random_state=seed,
        transform_seed=seed,
        n_jobs=1,
    )
    try:
        model.fit(symmetric(neighbors.first(n_neighbors)))
    except (ValueError, FloatingPointError) as error:
        raise ModelError(f"no map with {n_neighbors} neighbours can be fitted: {error}") from error
    if not np.isfinite(model.embedding_).all():
        raise ModelError(f"the map with {n_neighbors} neighbours has images without a position")
    return model


def first_positions(points: NDArray[np.float32], n_components: int, seed: int) -> NDArray[np.float32]:
    """Return where the fit starts: the leading principal components, with a little noise.

    Notes
    -----
    umap-learn's own start, eigenvectors of the graph, may fail to converge, and for a graph in many parts it compares
    every part with every other.  Principal components cannot fail and keep the large structure as well.

    References
    ----------
    D. Kobak, G. C. Linderman: Initialization is critical for preserving global data structure in both t-SNE and UMAP.
    Nature Biotechnology 39 (2021).
    """
    centred = points - points.mean(axis=0)
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    leading = vectors[:, ::-1][:, :n_components]
    # The sign of an eigenvector is arbitrary: the largest entry is made positive.
    largest = leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])]
    start = np.zeros((len(points), n_components), np.float32)
    start[:, : leading.shape[1]] = centred @ (leading * np.where(largest < 0, -1.0, 1.0)).astype(np.float32)
    noise = np.random.default_rng(seed).normal(scale=INIT_NOISE, size=start.shape)
    return (start + noise * max(1e-6, float(np.ptp(start)))).astype(np.float32)


def project(model: umap.UMAP, neighbors: Neighbors) -> NDArray[np.float32]:
    """Return positions of new images, from their neighbours among the fitted ones.

    Parameters
    ----------
    model : umap.UMAP
        As `fit_map` returned it.
    neighbors : Neighbors
        Of m new images; exactly `model.n_neighbors` wide.

    Returns
    -------
    (m, n_components) ndarray of float32
        The same for an image alone and in any company: see `LOCAL_CONNECTIVITY`.
    """
    rows, k = neighbors.ids.shape
    if not rows:
        return np.empty((0, model.n_components), np.float32)
    starts = np.arange(0, rows * k + 1, k)
    parts = (neighbors.distances.ravel(), neighbors.ids.ravel(), starts)
    positions = model.transform(scipy.sparse.csr_matrix(parts, shape=(rows, len(model.embedding_))))
    return np.asarray(positions, dtype=np.float32)
