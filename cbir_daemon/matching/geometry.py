"""Geometry: points, affines between images, and images seen through them.

In: images and affines.  Out: sampled images, composed affines, what an affine says was done.  Never here: which
is right.

Coordinates run from -1 to 1 over the whole image, x to the right and y downwards, whatever the image's size.  An
affine is a (2, 3) matrix that takes a point of the query to the point of the stored image that shows the same thing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Overlap, Transform
from cbir_daemon.records import VECTOR_SIDE_PX

Floats = NDArray[np.float32]

_MIRROR = np.array([[-1, 0], [0, 1]])
_QUARTER = np.array([[0, -1], [1, 0]])

DIHEDRAL: Floats = np.stack(
    [
        np.linalg.matrix_power(_MIRROR, flip) @ np.linalg.matrix_power(_QUARTER, quarters)
        for flip in (0, 1)
        for quarters in range(4)
    ]
).astype(np.float32)
"""(8, 2, 2): from query to stored image when that was mirrored (last four) and turned by 0 to 3 quarters."""


@functools.cache
def pixel_grid(side: int) -> Floats:
    """Return x, y and 1 of each pixel's middle, row by row.

    Parameters
    ----------
    side : int
        Pixels along each side.

    Returns
    -------
    (3, side * side) ndarray of float32
        Coordinates from -1 to 1.
    """
    middle = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / side) - np.float32(1)
    y, x = np.meshgrid(middle, middle, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, dtype=np.float32)])


def sample(images: Floats, affines: Floats, side: int) -> Floats:
    """Return images seen through affines, bilinear; outside an image its edge pixels go on.

    Parameters
    ----------
    images : (n, s, s) ndarray of float32
    affines : (n, 2, 3) ndarray of float32
        From a point of the result to a point of the image.
    side : int
        Pixels along each side of the result.

    Returns
    -------
    (n, side, side) ndarray of float32
    """
    size = images.shape[-1]
    points = (affines @ pixel_grid(side) + np.float32(1)) * np.float32(size / 2) - np.float32(0.5)
    np.clip(points, 0, size - 1, out=points)
    corner = np.minimum(points.astype(np.int32), size - 2)
    # A difference of float32 and int32 would be float64, at twice the time for all that follows.
    fraction_x, fraction_y = np.moveaxis(points - corner.astype(np.float32), 1, 0)
    index = corner[:, 1] * size + corner[:, 0] + (np.arange(len(images), dtype=np.int32) * size * size)[:, None]
    flat = images.reshape(-1)
    upper, upper_right = flat[index], flat[index + 1]
    lower, lower_right = flat[index + size], flat[index + size + 1]
    upper += fraction_x * (upper_right - upper)
    lower += fraction_x * (lower_right - lower)
    upper += fraction_y * (lower - upper)
    return np.asarray(upper.reshape(-1, side, side), dtype=np.float32)


def inside(affines: Floats, side: int, edge_px: float) -> Floats:
    """Return which pixels of an image land on another one.

    Parameters
    ----------
    affines : (n, 2, 3) ndarray of float32
        From points of the image to points of the other one.
    side : int
        Pixels along each side of the image.
    edge_px : float
        So many of these pixels from the other image's edge a pixel must land at least.

    Returns
    -------
    (n, side * side) ndarray of float32
        1 where it does, else 0; row by row.
    """
    points = np.abs(affines @ pixel_grid(side))
    return np.asarray(points.max(axis=1) <= 1 - 2 * edge_px / side, dtype=np.float32)


def compose(outer: Floats, inner: Floats) -> Floats:
    """Return affines that apply `inner` first.

    Parameters
    ----------
    outer, inner : (n, 2, 3) ndarray of float32
        Either may be one (2, 3) affine for all.

    Returns
    -------
    (n, 2, 3) ndarray of float32
    """
    linear = outer[..., :2] @ inner[..., :2]
    shift = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return np.concatenate(np.broadcast_arrays(linear, shift[..., [0, 0]]), axis=-1)[..., :3]


def inverse(affines: Floats) -> Floats:
    """Return the affines that lead back.

    Parameters
    ----------
    affines : (..., 2, 3) ndarray of float32
        Of non-zero determinant.

    Returns
    -------
    (..., 2, 3) ndarray of float32
    """
    linear = np.linalg.inv(affines[..., :2])
    return np.concatenate([linear, -linear @ affines[..., 2:]], axis=-1)


def rotations(angles_deg: Sequence[float], zooms: Sequence[float] = (1.0,)) -> Floats:
    """Return affines from an image turned counter-clockwise to the upright one.

    Parameters
    ----------
    angles_deg : sequence of float
        By which the image was turned.
    zooms : sequence of float
        How many times as far points lie from the middle in the upright image; one for each angle, or one for all.

    Returns
    -------
    (k, 2, 3) ndarray of float32
        One for each angle.
    """
    radians = np.radians(np.asarray(angles_deg))
    cosine, sine, zero = np.cos(radians) * zooms, np.sin(radians) * zooms, np.zeros(len(radians))
    rows = [np.stack([cosine, -sine, zero], axis=1), np.stack([sine, cosine, zero], axis=1)]
    return np.stack(rows, axis=1).astype(np.float32)


def transform_of(matrix: Floats, *, invert: bool) -> Transform:
    """Return what an affine from query to stored image says was done to the stored image.

    Parameters
    ----------
    matrix : (2, 3) ndarray of float32
    invert : bool
        Whether the two agree as negatives.

    Notes
    -----
    Vectors are square whatever the image's shape, so a turn comes between two unequal scalings.  The products along the
    two diagonals of its matrix do not depend on those, and their ratio is the squared tangent of the angle.
    """
    linear = matrix[:, :2].astype(np.float64)
    flip = bool(np.linalg.det(linear) < 0)
    if flip:
        linear = _MIRROR @ linear
    quarters = _quarters(linear)
    rest = linear @ np.linalg.matrix_power(_QUARTER, (4 - quarters) % 4)
    skew, straight = -rest[0, 1] * rest[1, 0], rest[0, 0] * rest[1, 1]
    # Two off-diagonal terms of one sign are a shear, left by noise in the fit: no turn.
    angle = np.degrees(np.arctan2(np.sqrt(max(skew, 0.0)), np.sqrt(straight))) * np.sign(rest[1, 0])
    return Transform(flip=flip, turn=90 * quarters, angle=round(float(angle), 1) + 0.0, invert=invert)


def _quarters(linear: NDArray[np.float64]) -> int:
    if abs(linear[0, 0] * linear[1, 1]) >= abs(linear[0, 1] * linear[1, 0]):
        return 0 if linear[0, 0] > 0 else 2
    return 1 if linear[1, 0] > 0 else 3


def overlaps_of(affines: Floats) -> list[Overlap]:
    """Return the share of each image that the other shows.

    Parameters
    ----------
    affines : (n, 2, 3) ndarray of float32
        From points of the query to points of the stored image.

    Returns
    -------
    list of Overlap
        Shares in [0, 1], of the query and of the stored image.
    """
    both = inside(np.concatenate([affines, inverse(affines)]), VECTOR_SIDE_PX, 0.0).mean(axis=1)
    shares = np.round(both.astype(np.float64), 3).reshape(2, -1).T.tolist()
    return [Overlap(query=query, match=match) for query, match in shares]


def resized(image: Floats, height: int, width: int) -> Floats:
    """Return a picture of another size, by Lanczos with three lobes as Pillow does it.

    Parameters
    ----------
    image : (any height, any width) ndarray of float32
    height : int
        Pixels of the result, as `width`.
    width : int
    """
    return np.asarray(_lanczos(image.shape[0], height) @ image @ _lanczos(image.shape[1], width).T, dtype=np.float32)


@functools.lru_cache(64)
def _lanczos(source: int, target: int) -> Floats:
    scale = max(source / target, 1.0)
    middles = (np.arange(target) + 0.5) * source / target - 0.5
    distances = (np.arange(source)[None] - middles[:, None]) / scale
    weights = np.sinc(distances) * np.sinc(distances / 3) * (np.abs(distances) < 3)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
