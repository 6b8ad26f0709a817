"""Where a cold fit starts: the leading principal components, the same on every machine.

In: points.  Out: positions that umap-learn moves.  Never here: umap, neighbours, where a warm fit starts (`warm`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.map.warm import INIT_NOISE

INIT_RANGE = 10.0
"""Range of the first positions in each dimension; umap-learn's own."""

POINT_BITS, COMPONENT_STEP = 15, 2.0**-20
"""Bits of the largest coordinate, and size of the step of a component, in which a cold fit's start is calculated."""

PART_POINTS = 8_192
"""Points whose principal components are calculated at once: 16 MB of float64 at 256 coordinates."""


def first_positions(points: NDArray[np.float32], n_components: int, seed: int) -> NDArray[np.float32]:
    """Return where a cold fit starts: the leading principal components, with a little noise.

    Notes
    -----
    The same on every machine, with any number of threads: see `_principal_components`.

    umap-learn's own start, eigenvectors of the graph, may fail to converge, and for a graph in many parts it compares
    every part with every other.  Principal components cannot fail and keep the large structure as well.

    References
    ----------
    D. Kobak, G. C. Linderman: Initialization is critical for preserving global data structure in both t-SNE and UMAP.
    Nature Biotechnology 39 (2021).
    """
    projected = _principal_components(points, n_components)
    start = np.zeros((len(points), n_components), np.float32)
    start[:, : projected.shape[1]] = projected
    noise = np.random.default_rng(seed).normal(scale=INIT_NOISE, size=start.shape)
    start += (noise * max(1e-6, float(np.ptp(start)))).astype(np.float32)
    return np.asarray(INIT_RANGE * (start - start.min(axis=0)) / np.ptp(start, axis=0), dtype=np.float32)


def _principal_components(points: NDArray[np.float32], n_components: int) -> NDArray[np.float32]:
    """Return (n, k) coordinates of points (n, f) on their leading principal components, k = min(f, n_components).

    Notes
    -----
    BLAS sums in an order that depends on its threads and on the processor, and UMAP grows a difference in the last bit
    into another map.  So all sums are of whole numbers that float64 holds exactly, whatever their order: coordinates in
    2**15 steps of the largest, components in steps of `COMPONENT_STEP`, which also hides the last bits of the
    eigenvectors.  With coordinates within 2 of their mean, 2**21 points sum up to 2**21 * 4 * 2**30 = 2**53 at most.
    """
    step = float(np.ldexp(1.0, int(np.frexp(np.abs(points).max(initial=0.0))[1]) - POINT_BITS))
    parts = range(0, len(points), PART_POINTS)

    def steps(start: int) -> NDArray[np.float64]:
        return np.rint(points[start : start + PART_POINTS].astype(np.float64) / step)

    middle = np.rint(sum(steps(start).sum(axis=0) for start in parts) / len(points))
    products = np.zeros((points.shape[1], points.shape[1]))
    for start in parts:
        part = steps(start) - middle
        products += part.T @ part
    _, vectors = np.linalg.eigh(products)
    leading = vectors[:, ::-1][:, :n_components]
    # The sign of an eigenvector is arbitrary: the largest entry is made positive.
    largest = leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])]
    components = np.rint(leading * np.where(largest < 0, -1.0, 1.0) / COMPONENT_STEP)
    projected = [(steps(start) - middle) @ components for start in parts]
    return np.asarray(np.concatenate(projected) * (step * COMPONENT_STEP), dtype=np.float32)
