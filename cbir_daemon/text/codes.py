"""Codes: vectors as they are compared, and the smaller codes by which passages are found.

In: vectors.  Out: directions, packed codes, cosines.  Never here: how vectors are made (`features`), judging.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import Codes, Floats
from cbir_daemon.records import VECTOR_BYTES
from cbir_daemon.text.features import ZERO

TERMS: Final = 512
"""Of a packed code.  Unrelated codes of k terms have cosines of deviation 1 / sqrt(k): 0.044."""

# Terms of norm 1 are 0.044 in size, and hardly any is above 0.3.
_LARGEST: Final = 0.3
SCALE: Final = np.float32(127 / _LARGEST)


def directions(vectors: NDArray[np.uint8]) -> Floats:
    """Return vectors as they are compared: (n, 4096) float32 of L2 norm 1, rows of zeros for what counts nothing.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    """
    return _unit(_counted(vectors))


def folded_directions(vectors: NDArray[np.uint8]) -> Floats:
    """Return codes of `TERMS` numbers: each the sum of the buckets that are as far from each other as codes are long.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8

    Returns
    -------
    (n, TERMS) ndarray of float32
        Of L2 norm 1, or zeros.  Signs are random, so this is feature hashing into fewer buckets.
    """
    return _unit(_counted(vectors).reshape(-1, VECTOR_BYTES // TERMS, TERMS).sum(axis=1))


def packed_codes(vectors: NDArray[np.uint8]) -> Codes:
    """Return packed codes of one window: (n, 1, TERMS) int8.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    """
    codes: Codes = np.clip(np.rint(folded_directions(vectors) * SCALE), -127, 127).astype(np.int8)
    return codes[:, np.newaxis]


def likeness(query: NDArray[np.uint8], stored: NDArray[np.uint8]) -> Floats:
    """Return the cosine of whole files, (m,) float32 in [0, 1].

    Parameters
    ----------
    query : (4096,) ndarray of uint8
    stored : (m, 4096) ndarray of uint8
    """
    cosines: Floats = directions(stored) @ directions(query[np.newaxis])[0]
    return np.clip(cosines, 0, 1)


def _counted(vectors: NDArray[np.uint8]) -> Floats:
    return np.asarray(vectors).reshape(-1, VECTOR_BYTES).astype(np.float32) - np.float32(ZERO)


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)
