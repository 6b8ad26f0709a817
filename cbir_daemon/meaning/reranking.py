"""Ranks the best matches again, each described by what resembles it among them.

In: descriptors as unit rows.  Out: products.  Never here: how descriptors are made, what a product is worth.

One photograph of a thing is seen from one side, in one light.  The mean of it and of those most like it is nearer to
another photograph of the same thing, and further from those of another one.

References
----------
Arandjelovic, Zisserman: Three things everyone should know to improve object retrieval, CVPR 2012 (augmentation of
queries and of the database by their neighbours).
Radenovic, Tolias, Chum: Fine-tuning CNN image retrieval with no human annotation, PAMI 2019 (neighbours weighed by
their likeness).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEIGHBORS: Final = 6
"""That describe a row besides itself: 4 to 8 rank alike."""

Floats = NDArray[np.float32]


def products_among(query: Floats, rows: Floats, shares: Callable[[Floats], Floats]) -> Floats:
    """Return the products of a query and of rows, each the mean of itself and of its neighbours among the rows.

    Parameters
    ----------
    query : (d,) ndarray of float32
        Of L2 norm 1.
    rows : (n, d) ndarray of float32
        Of L2 norm 1, or zeros: the likeliest matches of the query.  Time and memory grow with the square of n; 200 take
        2 ms.
    shares : callable
        Takes products and returns how much each is worth, in [0, 1]: the weight of a neighbour.

    Returns
    -------
    (n,) ndarray of float32
        In [-1, 1].
    """
    everything = np.vstack([query[None], rows])
    weights = shares(everything @ everything.T)
    # A row is described by other rows, never by what is asked for.
    weights[1:, 0] = 0
    np.fill_diagonal(weights, 1)
    count = min(NEIGHBORS + 1, len(everything))
    nearest = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    weight = np.take_along_axis(weights, nearest, axis=1)
    means = np.einsum("ij,ijk->ik", weight, everything[nearest])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    return np.asarray(means[1:] @ means[0], dtype=np.float32)
