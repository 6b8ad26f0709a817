"""Where a cold fit starts: the leading principal components, the same on every machine.

In: points.  Out: positions that umap-learn moves; it makes another map of positions that differ in their last bits.
Never here: umap, neighbours, where a warm fit starts (`warm`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.exact import product, scatter
from cbir_daemon.map.warm import INIT_NOISE

INIT_RANGE = 10.0
"""Range of the first positions in each dimension; umap-learn's own."""

ROUNDS = 20
"""Steps towards the principal components: 16 directions then hold 0.9997 of the variance that 16 can hold (crops)."""

MOST_FEATURES = 1024
"""Of wider codes, neighbouring numbers are added up: with 4096 the rounds took 10 s, and a fit has up to 20 starts."""

FIRST_SEED = 0


def first_positions(points: NDArray[np.float32], n_components: int, seed: int) -> NDArray[np.float32]:
    """Return where a cold fit starts: the leading principal components, with a little noise.

    Parameters
    ----------
    points : (n, f) ndarray of float32
    n_components : int
        Those beyond f are noise only.
    seed : int
        Of the noise.

    Returns
    -------
    (n, n_components) ndarray of float32
        From 0 to `INIT_RANGE` in each dimension.

    Notes
    -----
    umap-learn's own start, eigenvectors of the graph, may fail to converge, and for a graph in many parts it compares
    every part with every other.  Principal components cannot fail and keep the large structure as well.

    References
    ----------
    D. Kobak, G. C. Linderman: Initialization is critical for preserving global data structure in both t-SNE and UMAP.
    Nature Biotechnology 39 (2021).
    """
    points = _narrowed(points)
    directions = leading_directions(scatter(points), min(n_components, points.shape[1]))
    start = np.zeros((len(points), n_components))
    start[:, : len(directions)] = product(points, directions.T)
    start -= start.min(axis=0)
    noise = np.random.default_rng(seed).normal(scale=INIT_NOISE, size=start.shape)
    start += noise * max(1e-6, float(start.max()))
    start -= start.min(axis=0)
    return np.asarray(INIT_RANGE * start / start.max(axis=0), dtype=np.float32)


def _narrowed(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return points of at most `MOST_FEATURES` numbers, each the sum of a run of neighbours."""
    run = -(-points.shape[1] // MOST_FEATURES)
    if run == 1:
        return points
    end = points.shape[1] // run * run
    # Number by number in order: a sum along an axis has another order on another processor.
    sums = points[:, 0:end:run].copy()
    for place in range(1, run):
        sums += points[:, place:end:run]
    return sums


def leading_directions(matrix: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return directions near the leading eigenvectors of a symmetric matrix without negative eigenvalues.

    Parameters
    ----------
    matrix : (f, f) ndarray of float64
    count : int
        1 to f.

    Returns
    -------
    (count, f) ndarray of float64
        Unit rows, or rows of zeros when the matrix has fewer directions; the largest number of each is positive.

    Notes
    -----
    Not LAPACK's, whose last bits are those of the processor: sums here have a fixed order.  Eigenvectors whose
    eigenvalues are close may be turned among each other, which a start can bear.

    References
    ----------
    G. H. Golub, C. F. Van Loan: Matrix Computations, 4th edition (2013), 8.2.4 (orthogonal iteration).
    """
    signs = np.random.default_rng(FIRST_SEED).integers(0, 2, size=(count, len(matrix)))
    directions = np.where(signs, 1.0, -1.0)
    for _ in range(ROUNDS):
        # One term after the other: without `optimize`, einsum leaves BLAS alone.
        directions = np.einsum("if,fg->ig", directions, matrix)
        _orthonormalize(directions)
    largest = directions[np.arange(count), np.abs(directions).argmax(axis=1)]
    return directions * np.where(largest < 0, -1.0, 1.0)[:, np.newaxis]


def _orthonormalize(rows: NDArray[np.float64]) -> None:
    """Make rows orthogonal and of norm 1, in place; a row that depends on the rows before it may become zeros.

    References
    ----------
    Golub and Van Loan, 5.2.8 (modified Gram-Schmidt).
    """
    for index, row in enumerate(rows):
        norm = np.sqrt(np.square(row).sum())
        if norm > 0:
            row /= norm
        later = rows[index + 1 :]
        later -= (later * row).sum(axis=1)[:, np.newaxis] * row
