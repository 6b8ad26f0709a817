"""Views: the windows, turns and flips under which two vectors are compared, and their small codes.

In: 64x64 grey images.  Out: codes of windows, and for each pair of views the affine map from query to stored image.
Never here: which images are compared, what a good score is.

Coordinates run from -1 to 1, x to the right and y downwards, over the whole image.  A map is a (2, 3) matrix that takes
a point of the query to the point of the stored image that shows the same thing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.records import VECTOR_SIDE_PX

# Cosine terms of a window's code along each axis; of the 7x7 products those with u + v <= 6 stay, without the mean.
ORDER = 7
_U, _V = np.nonzero(np.add.outer(np.arange(ORDER), np.arange(ORDER)) < ORDER)
TERMS_V, TERMS_U = _U[1:], _V[1:]
TERMS = len(TERMS_U)

# Natural images fall off as one over frequency: unweighted, the three lowest terms decide alone.
_WEIGHTS = (np.hypot(TERMS_U, TERMS_V) ** 0.5).astype(np.float32)

# Grey levels added to a window's own deviation, so that flat windows match nothing instead of everything.
_FLOOR_LEVELS = 4.0


class Windows(NamedTuple):
    """A table of windows: centre and half size along both axes, each an (k,) array in [-1, 1] coordinates."""

    center_x: NDArray[np.float32]
    center_y: NDArray[np.float32]
    half_x: NDArray[np.float32]
    half_y: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.center_x)


def windows(rows: list[tuple[float, float, float, float]]) -> Windows:
    """Return a table from rows of (left, top, right, bottom), shares of the side in [0, 1]."""
    table = np.asarray(rows, dtype=np.float32).reshape(-1, 4) * 2 - 1
    low, high = table[:, :2].T, table[:, 2:].T
    center, half = np.float32(0.5) * (low + high), np.float32(0.5) * (high - low)
    return Windows(center[0], center[1], half[0], half[1])


def join(*tables: Windows) -> Windows:
    """Return several tables below each other."""
    return Windows(*(np.concatenate(column) for column in zip(*tables, strict=True)))


def grid(size: float, count: int) -> list[tuple[float, float, float, float]]:
    """Return `count` x `count` windows of one size, evenly spread from edge to edge."""
    starts = np.linspace(0, 1 - size, count)
    return [(x, y, x + size, y + size) for y in starts for x in starts]


WHOLE = windows([(0, 0, 1, 1)])

# Where a query that is a crop may come from.
STORED_WINDOWS = join(WHOLE, windows(grid(0.84, 3) + grid(0.70, 3) + grid(0.55, 4)))

# What is left of a query without its border, caption or bars.
TRIMS = windows(
    [(e, e, 1 - e, 1 - e) for e in (0.04, 0.08, 0.13)]
    + [(0.0, 0.13, 1.0, 1.0), (0.0, 0.0, 1.0, 0.87), (0.13, 0.0, 1.0, 1.0), (0.0, 0.0, 0.87, 1.0)]
    + [(e, 0.0, 1 - e, 1.0) for e in (0.08, 0.16, 0.24, 0.31)]
    + [(0.0, e, 1.0, 1 - e) for e in (0.08, 0.16, 0.24, 0.31)]
)

# A mirrored query is undone by mirroring, a turned one by turning back: (flip, turn) in the order of `DIHEDRAL`.
FLIPS_TURNS = [(flip, turn) for flip in (False, True) for turn in (0, 90, 180, 270)]
_MIRROR = np.array([[-1, 0], [0, 1]], dtype=np.float32)
_QUARTER = np.array([[0, -1], [1, 0]], dtype=np.float32)
DIHEDRAL = np.stack(
    [
        np.linalg.matrix_power(_MIRROR, int(flip)) @ np.linalg.matrix_power(_QUARTER, turn // 90)
        for flip, turn in FLIPS_TURNS
    ]
).astype(np.float32)
"""(8, 2, 2): from a point of the query to the point of the stored image, for each flip and quarter turn."""


def _basis(center: NDArray[np.float32], half: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (k, ORDER, 64): means over an interval of the pixels times cos(pi u (x - start) / length)."""
    edges = np.linspace(-1, 1, VECTOR_SIDE_PX + 1)
    start, length = (center - half)[:, None], (2 * half)[:, None]
    inside = np.clip((edges - start) / length, 0, 1)
    order = np.arange(1, ORDER)[:, None]
    integral = np.sin(np.pi * order * inside[:, None, :]) / (np.pi * order)
    terms = np.concatenate([inside[:, None, :], np.sqrt(2) * integral], axis=1)
    return np.diff(terms, axis=2).astype(np.float32)


def window_codes(images: NDArray[np.float32], table: Windows) -> NDArray[np.float32]:
    """Return the codes of all windows of all images.

    Parameters
    ----------
    images : (n, 64, 64) ndarray of float32
        Grey levels, 0 to 255.
    table : Windows
        k windows, the same for every image.

    Returns
    -------
    (n, k, 27) ndarray of float32
        Cosine terms without the mean, weighted, of norm below 1: the flatter the window, the shorter.
    """
    across, down = _basis(table.center_x, table.half_x), _basis(table.center_y, table.half_y)
    values_x, index_x = np.unique(across, axis=0, return_inverse=True)
    values_y, index_y = np.unique(down, axis=0, return_inverse=True)
    # One product along x for all distinct intervals, then one along y: each window is a block of the result.
    rows = images @ values_x.reshape(-1, VECTOR_SIDE_PX).T
    blocks = values_y.reshape(-1, VECTOR_SIDE_PX) @ rows
    blocks = blocks.reshape(len(images), len(values_y), ORDER, len(values_x), ORDER)
    terms = blocks[:, index_y.reshape(-1, 1), TERMS_V, index_x.reshape(-1, 1), TERMS_U]
    deviations = np.sqrt(np.sum(terms**2, axis=2, keepdims=True))
    terms *= _WEIGHTS
    norms = np.sqrt(np.sum(terms**2, axis=2, keepdims=True))
    scale = deviations / np.maximum(norms * np.hypot(deviations, _FLOOR_LEVELS), 1e-6)
    return np.asarray(terms * scale, dtype=np.float32)


def sample(images: NDArray[np.float32], maps: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return images seen through maps, bilinear, edge pixels going on outside.

    Parameters
    ----------
    images : (n, s, s) ndarray of float32
    maps : (n, 2, 3) ndarray of float32
        From a point of the result to a point of the image.
    side : int
        Pixels along each side of the result.

    Returns
    -------
    (n, side, side) ndarray of float32
    """
    size = images.shape[-1]
    points = maps @ pixel_grid(side)
    points = np.clip((points + 1) * (size / 2) - 0.5, 0, size - 1)
    corner = np.minimum(points.astype(np.int32), size - 2)
    fraction_x, fraction_y = np.moveaxis(points - corner, 1, 0)
    index = corner[:, 1] * size + corner[:, 0] + (np.arange(len(images), dtype=np.int32) * size * size)[:, None]
    flat = images.reshape(-1)
    upper = flat[index] + fraction_x * (flat[index + 1] - flat[index])
    index += size
    lower = flat[index] + fraction_x * (flat[index + 1] - flat[index])
    return np.asarray(upper + fraction_y * (lower - upper)).reshape(-1, side, side)


@functools.cache
def pixel_grid(side: int) -> NDArray[np.float32]:
    """Return (3, side * side): x, y and 1 of each pixel's middle, row by row."""
    middle = (np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1
    y, x = np.meshgrid(middle, middle, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, dtype=np.float32)])


def rotations(angles_deg: Iterable[float]) -> NDArray[np.float32]:
    """Return (k, 2, 3) maps of an image turned counter-clockwise by each angle, about its middle."""
    radians = np.radians(np.asarray(list(angles_deg), dtype=np.float32))
    cosine, sine, zero = np.cos(radians), np.sin(radians), np.zeros_like(radians)
    return np.stack([np.stack([cosine, -sine, zero], 1), np.stack([sine, cosine, zero], 1)], 1)


# Degrees.  Codes of 7 terms bear 2 degrees either way; beyond 10 a picture was turned on purpose by a quarter.
ANGLES_DEG = (-10.0, -5.0, 5.0, 10.0)


def turned(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (4, 64, 64): an image turned back from each of `ANGLES_DEG`."""
    maps = rotations(-angle for angle in ANGLES_DEG)
    return sample(np.broadcast_to(image, (len(maps), *image.shape)), maps, VECTOR_SIDE_PX)


def _term_moves() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return for each of `DIHEDRAL` where each cosine term comes from and its sign, when the edit is undone."""
    position = {(u, v): i for i, (u, v) in enumerate(zip(TERMS_U, TERMS_V, strict=True))}
    sources, signs = [], []
    for matrix in DIHEDRAL:
        # The code of the undone query at (u, v) along the stored axes; cos(pi u (1 - x)) = (-1)^u cos(pi u x).
        swaps = bool(matrix[0, 0] == 0)
        sign_u, sign_v = matrix[0].sum(), matrix[1].sum()
        sources.append([position[(v, u) if swaps else (u, v)] for u, v in zip(TERMS_U, TERMS_V, strict=True)])
        signs.append(np.where(TERMS_U % 2, sign_u, 1) * np.where(TERMS_V % 2, sign_v, 1))
    return np.asarray(sources), np.asarray(signs, dtype=np.float32)


_SOURCES, _SIGNS = _term_moves()


def undo_dihedral(view_codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (8, ..., 27): the codes of what a query was before each flip and turn of `DIHEDRAL`."""
    return np.stack([view_codes[..., source] * sign for source, sign in zip(_SOURCES, _SIGNS, strict=True)])
