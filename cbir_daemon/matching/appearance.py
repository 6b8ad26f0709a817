"""How alike two pictures look, by their descriptors; by it `similar` contents are ranked.

In: descriptors.  Out: products, scores, reasons.  Never here: files, SQL, how a descriptor is made
(`pictures.appearance`), whether one picture is a copy of another.

A descriptor has three parts: colour, edges, texture.  Each is a histogram in square roots, of L2 norm 1: the product of
two such parts is the Bhattacharyya coefficient of the histograms.

`scripts/bench similar --choose` compares these parts, others and their weights; docs/similar.md has the table.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Reason
from cbir_daemon.records import LOOK_PARTS

Floats = NDArray[np.float32]

COLOUR_WEIGHT, EDGES_WEIGHT, TEXTURE_WEIGHT = 0.25, 0.25, 0.5

PRODUCTS = (0.80, 0.88, 0.915, 0.94, 0.955, 0.964, 0.975, 0.985, 0.995, 1.0)
SHARES = (0.0, 0.12, 0.25, 0.32, 0.40, 0.50, 0.70, 0.92, 0.98, 1.0)
"""The share of matches that show the same kind of thing, by the product of two descriptors: between those of two named
sets, which differ by 0.1 (`scripts/bench similar --calibrate`)."""

REASONS = (Reason.COLOUR, Reason.LAYOUT, Reason.TEXTURE)
"""The name of each part of a descriptor."""

ROWS_AT_ONCE = 512
"""Descriptors compared at once: 1 MB of floats, which stay in the processor's cache."""


def appearance_rows(descriptors: NDArray[np.uint8]) -> Floats:
    """Return descriptors as unit rows whose product says how alike two pictures look.

    Parameters
    ----------
    descriptors : (n, LOOK_BYTES) ndarray of uint8

    Returns
    -------
    (n, LOOK_BYTES) ndarray of float32
        Of L2 norm 1, zeros for a row of zeros; the product of two is in [0, 1].
    """
    rows = np.asarray(descriptors, dtype=np.float32) * np.sqrt(_weights())
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(sizes > 0, sizes, 1), dtype=np.float32)


def norms(descriptors: NDArray[np.uint8]) -> Floats:
    """Return the weighted norms of descriptors, which `alike` divides by.

    Parameters
    ----------
    descriptors : (n, LOOK_BYTES) ndarray of uint8

    Returns
    -------
    (n,) ndarray of float32
    """
    found = np.empty(len(descriptors), dtype=np.float32)
    for start in range(0, len(descriptors), ROWS_AT_ONCE):
        rows = np.square(descriptors[start : start + ROWS_AT_ONCE], dtype=np.float32)
        found[start : start + ROWS_AT_ONCE] = np.sqrt(rows @ _weights())
    return found


def alike(query: NDArray[np.uint8], stored: NDArray[np.uint8], stored_norms: Floats) -> Floats:
    """Return how alike pictures look.

    Parameters
    ----------
    query : (LOOK_BYTES,) ndarray of uint8
    stored : (m, LOOK_BYTES) ndarray of uint8
    stored_norms : (m,) ndarray of float32
        From `norms`.

    Returns
    -------
    (m,) ndarray of float32
        In [0, 1]: the share of matches of this score that show the same kind of thing, by `PRODUCTS` and `SHARES`.

    Notes
    -----
    50 ms for 100 000.
    """
    weighted = np.asarray(query, dtype=np.float32) * _weights()
    weighted /= max(float(norms(query[None])[0]), 1e-6)
    products = np.empty(len(stored), dtype=np.float32)
    for start in range(0, len(stored), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        products[rows] = stored[rows].astype(np.float32) @ weighted
    products /= np.maximum(stored_norms, 1e-6)
    return np.asarray(np.interp(products, PRODUCTS, SHARES), dtype=np.float32)


def reasons(query: NDArray[np.uint8], stored: NDArray[np.uint8], sample: NDArray[np.uint8]) -> list[Reason]:
    """Return by what each picture resembles a query most: the part in which it stands out from a sample of all.

    Parameters
    ----------
    query : (LOOK_BYTES,) ndarray of uint8
    stored : (m, LOOK_BYTES) ndarray of uint8
    sample : (k, LOOK_BYTES) ndarray of uint8
        At least one.
    """
    z_scores = []
    for part in _parts():
        asked = _unit(query[None, part].astype(np.float32))[0]
        products, usual = (_unit(rows[:, part].astype(np.float32)) @ asked for rows in (stored, sample))
        z_scores.append((products - usual.mean()) / max(float(usual.std()), 1e-3))
    return [REASONS[place] for place in np.argmax(z_scores, axis=0)]


def _parts() -> list[slice]:
    ends = list(accumulate(LOOK_PARTS))
    return [slice(end - size, end) for end, size in zip(ends, LOOK_PARTS, strict=True)]


@cache
def _weights() -> Floats:
    """Return the weight of each number of a descriptor."""
    return np.repeat(np.array([COLOUR_WEIGHT, EDGES_WEIGHT, TEXTURE_WEIGHT], dtype=np.float32), LOOK_PARTS)


def _unit(rows: Floats) -> Floats:
    """Return rows of L2 norm 1; zeros stay."""
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(sizes > 0, sizes, 1), dtype=np.float32)
