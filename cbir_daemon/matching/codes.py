"""Codes of whole vectors: the input of the map, the structure of a vector, the likeness of two.

In: vectors, 64x64 grey numbers as rows of 4096 uint8.  Out: unit codes, structure, likeness.  Never here: flips,
windows and alignments (`views`, `coarse`, `align`), files, SQL, threads, logging.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.align import detail
from cbir_daemon.records import VECTOR_SIDE_PX

CODE_VERSION = "mean16/1"
"""How `codes` are made; recorded with each model, which is fitted again when this changes."""

CODE_SIDE = 16
CODE_SIZE = CODE_SIDE * CODE_SIDE
_BLOCK_PX = VECTOR_SIDE_PX // CODE_SIDE

# Grey levels.  A code whose blocks vary less than this around their mean is rounding and JPEG noise, not a picture.
FLAT_LEVELS = 0.5

# Grey levels of detail (see `structure`) below which only equal bytes say anything: a flat area with noise of one level
# has 0.4, the plainest of 2 500 photographs 2.3, and 1.1 at half its contrast.
PLAIN_LEVELS = 1.0


CORRELATIONS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHARES = (0.0, 0.08, 0.15, 0.25, 0.37, 0.50, 0.65, 1.0)
"""The share of matches that show the same kind of thing, by the correlation of two codes, as in `appearance`."""


def codes(vectors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return brightness- and contrast-free codes of whole vectors, the input of the map.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8

    Returns
    -------
    (n, 256) ndarray of float32
        16x16 block means, their mean taken off, of L2 norm 1; zeros for a flat vector.
    """
    blocks = _block_means(np.asarray(vectors).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX))
    blocks -= blocks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(blocks, axis=1, keepdims=True)
    is_flat = norms < FLAT_LEVELS * CODE_SIDE
    return np.where(is_flat, 0, blocks / np.where(is_flat, 1, norms)).astype(np.float32)


def _block_means(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the (n, 256) means of the blocks of (n, 64, 64) images."""
    # Whole numbers, so the order of the sums does not matter; line by line, because a mean over two axes takes ten
    # times as long.
    lines = np.add.reduce([images[:, line::_BLOCK_PX] for line in range(_BLOCK_PX)], dtype=np.uint16)
    sums = np.add.reduce([lines[:, :, column::_BLOCK_PX] for column in range(_BLOCK_PX)], dtype=np.float32)
    return np.asarray(sums.reshape(-1, CODE_SIZE) / np.float32(_BLOCK_PX**2), dtype=np.float32)


def structure(vectors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much there is to match: the root mean square of edges and texture, without light and shade.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8

    Returns
    -------
    (n,) ndarray of float32
        Grey levels; 0 for a flat vector and nearly so for a gradient.
    """
    images = np.asarray(vectors, dtype=np.float32).reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    return np.asarray(np.sqrt(np.mean(detail(images) ** 2, axis=(1, 2))), dtype=np.float32)


def is_plain(vector: NDArray[np.uint8]) -> bool:
    """Return whether a vector is too plain to match anything but the same bytes.

    Parameters
    ----------
    vector : (4096,) ndarray of uint8
    """
    return bool(structure(np.asarray(vector).reshape(1, -1))[0] < PLAIN_LEVELS)


def likeness(query: NDArray[np.uint8], stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how alike the greys of vectors are, without trying flips, turns or windows.

    Parameters
    ----------
    query : (4096,) ndarray of uint8
    stored : (m, 4096) ndarray of uint8

    Returns
    -------
    (m,) ndarray of float32
        In [0, 1]: the share of matches of this score that show the same kind of thing, by `CORRELATIONS` and `SHARES`;
        0 when one of the two is flat.
    """
    correlations = codes(stored) @ codes(np.asarray(query).reshape(1, -1))[0]
    return np.asarray(np.interp(correlations, CORRELATIONS, SHARES), dtype=np.float32)
