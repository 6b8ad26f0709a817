"""Turns what a network says of a picture into the 128 small numbers that are kept of it.

In: numbers of a network.  Out: a descriptor.  Never here: networks, pictures, files.

The numbers of EfficientNet-Lite0 are projected by a table that ships with the package; `scripts/bench meaning-tables`
makes it.  Those of another network, of which nothing is known, are projected by chance.

References
----------
Jegou, Chum: Negative evidences and co-occurences in image retrieval, ECCV 2012 (projection, and weights of components).
Achlioptas: Database-friendly random projections, JCSS 2003 (projection by signs).
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

NUMBERS = 128
"""Of a descriptor, a byte each."""

LARGEST_SIDE_PX: Final = 1024
"""Of the pictures that a network looks at: beyond it, one takes seconds."""

TABLES_PATH: Final = Path(__file__).with_name("tables.npz")

GREATEST: Final = 127
"""Of a descriptor's numbers: only their direction counts, so each descriptor uses all of a byte."""

COSINES: Final = (0.0, 0.2, 0.4, 0.5, 0.58, 0.65, 0.75, 0.85, 1.0)
SHARES: Final = (0.0, 0.1, 0.3, 0.39, 0.5, 0.64, 0.84, 0.97, 1.0)
"""The share of matches that show the same kind of thing, by the cosine of two descriptors of EfficientNet-Lite0.
`scripts/bench meaning` prints it, of names that its tables have not seen."""

MEAN_COSINES: Final = (0.0, 0.4, 0.55, 0.65, 0.75, 0.825, 0.875, 0.925, 0.975, 1.0)
MEAN_SHARES: Final = (0.0, 0.15, 0.36, 0.48, 0.57, 0.69, 0.78, 0.91, 0.99, 1.0)
"""The share of right matches by cosine, where each of the two is the mean of a descriptor and its neighbours.  Means
are more alike than descriptors."""

ROWS_AT_ONCE: Final = 1024
"""Descriptors compared at once: 512 KB of floats, which stay in the processor's cache.  A million take 80 ms; in pieces
of 32 MB they took ten times as long."""

_BITS_OF_A_BYTE: Final = 8

Floats = NDArray[np.float32]
Descriptors = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Tables:
    """How the features of EfficientNet-Lite0 become a descriptor.

    Parameters
    ----------
    mean : (d,) ndarray of float32
        Of the features of pictures.
    projection : (d, 128) ndarray of float32
        Principal components, each weighed.
    """

    mean: Floats
    projection: Floats


@functools.lru_cache(1)
def tables() -> Tables:
    """Return the tables that ship with the package."""
    with np.load(TABLES_PATH, allow_pickle=False) as stored:
        return Tables(*(stored[name].astype(np.float32) for name in ("mean", "projection")))


def descriptor_of(features: Floats, tables: Tables | None) -> Descriptors:
    """Return the descriptor of a picture.

    Parameters
    ----------
    features : (d,) ndarray of float32
        What a network says of it; finite.
    tables : Tables or None
        Those of the network, when it has any.  Without them, more than 128 numbers are projected by chance; fewer are
        followed by zeros.

    Returns
    -------
    (128,) ndarray of int8
        Zeros where the features are the mean, or none at all.
    """
    numbers: Floats
    if tables is not None:
        numbers = np.asarray((features - tables.mean) @ tables.projection, dtype=np.float32)
    elif len(features) > NUMBERS:
        numbers = features @ signs(len(features))
    else:
        numbers = np.zeros(NUMBERS, np.float32)
        numbers[: len(features)] = features
    peak = float(np.abs(numbers).max())
    return np.asarray(np.rint(numbers / (peak or 1.0) * GREATEST), dtype=np.int8)


def units(descriptors: Descriptors) -> Floats:
    """Return descriptors as rows of length 1, of which products are cosines; zeros stay zeros.

    Parameters
    ----------
    descriptors : (n, 128) ndarray of int8

    Returns
    -------
    (n, 128) ndarray of float32
    """
    rows = descriptors.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, np.float32(1)))


def cosines(query: Descriptors, stored: Descriptors) -> Floats:
    """Return the cosines of a descriptor with others, (n,) ndarray of float32; 0 with one of zeros.

    Parameters
    ----------
    query : (128,) ndarray of int8
    stored : (n, 128) ndarray of int8
    """
    (unit,) = units(query[None])
    found = np.empty(len(stored), np.float32)
    for start in range(0, len(stored), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        rows = stored[part].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        found[part] = (rows @ unit) / np.where(lengths > 0, lengths, np.float32(1))
    return found


@functools.lru_cache(1)
def signs(count: int) -> Floats:
    """Return the projection by chance, (count, 128) of 1 and -1: the same ones on every machine, for ever.

    Parameters
    ----------
    count : int
        Numbers of the network.
    """
    chance = hashlib.shake_256(b"cbir-daemon meaning").digest(count * NUMBERS // _BITS_OF_A_BYTE)
    bits = np.unpackbits(np.frombuffer(chance, np.uint8)).reshape(count, NUMBERS)
    return (2.0 * bits - 1.0).astype(np.float32)
