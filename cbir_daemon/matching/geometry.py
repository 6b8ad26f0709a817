"""Geometry: points, affines between images, and images seen through them.

In: images and affines.  Out: sampled images, composed affines, what an affine says was done.  Never here: which
is right.

Coordinates run from -1 to 1 over the whole image, x to the right and y downwards, whatever the image's size.  An
affine is a (2, 3) matrix that takes a point of the query to the point of the stored image that shows the same thing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Overlap, Transform
from cbir_daemon.records import VECTOR_SIDE_PX

Floats = NDArray[np.float32]

# Pixels of a resized picture that are made at once.
_STRIP_PX = 32

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


def landings(affines: Floats, side: int) -> Floats:
    """Return where the pixels of an image land on other ones.

    Parameters
    ----------
    affines : (n, 2, 3) ndarray of float32
        From points of the image to points of the other ones.
    side : int
        Pixels along each side of the image.

    Returns
    -------
    (2, n, side * side) ndarray of float32
        x, then y, from -1 to 1 over the other image; row by row.
    """
    points: Floats = affines.transpose(1, 0, 2).reshape(-1, 3) @ pixel_grid(side)
    return points.reshape(2, len(affines), side * side)


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
    return sample_at(images, landings(affines, side)).reshape(-1, side, side)


def sample_at(images: Floats, points: Floats, rows: NDArray[np.int64] | None = None) -> Floats:
    """Return images at points, bilinear; outside an image its edge pixels go on.

    Parameters
    ----------
    images : (m, s, s) ndarray of float32
    points : (2, n, p) ndarray of float32
        From `landings`.
    rows : (n,) ndarray of int64, optional
        Which image is sampled at each row of points; each at its own row when not given.

    Returns
    -------
    (n, p) ndarray of float32
    """
    size = images.shape[-1]
    numbers = np.arange(len(images)) if rows is None else rows
    fractions = points * np.float32(size / 2)
    fractions += np.float32(size / 2 - 0.5)
    # Just below the last pixel, so that there is always one to the right and one below.
    np.clip(fractions, 0, np.nextafter(np.float32(size - 1), np.float32(0)), out=fractions)
    corners = fractions.astype(np.int32)
    # A difference of float32 and int32 would be float64, at twice the time for all that follows.
    fractions -= corners.astype(np.float32)
    across, down = fractions
    index = corners[1]
    index *= size
    index += corners[0]
    index += (numbers * size * size).astype(np.int32)[:, None]
    # Indices of the machine's own size are read as they are; `wrap` spares the check of each, which none fails.
    places, pixels = index.astype(np.intp), images.reshape(-1)
    upper, upper_right, lower, lower_right = (
        pixels[start:].take(places, mode="wrap") for start in (0, 1, size, size + 1)
    )
    return between(between(upper, upper_right, across), between(lower, lower_right, across), down)


def between(first: Floats, second: Floats, share: Floats) -> Floats:
    """Interpolate between two arrays, in the first one's place; the second one is used up.

    Parameters
    ----------
    first, second : (...) ndarray of float32
        Of one shape.
    share : (...) ndarray of float32
        0 for the first, 1 for the second; of a shape that broadcasts to theirs.

    Returns
    -------
    (...) ndarray of float32
        `first`, with other values.
    """
    second -= first
    second *= share
    first += second
    return first


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
    return inside_at(landings(affines, side), side, edge_px)


def inside_at(points: Floats, side: int, edge_px: float) -> Floats:
    """Return which points of an image lie on another one.

    Parameters
    ----------
    points : (2, n, side * side) ndarray of float32
        From `landings`.
    side : int
    edge_px : float
        As for `inside`.

    Returns
    -------
    (n, side * side) ndarray of float32
        1 where they do, else 0.
    """
    x, y = np.abs(points)
    return np.asarray(np.maximum(x, y, out=x) <= 1 - 2 * edge_px / side, dtype=np.float32)


def compose(outer: Floats, inner: Floats) -> Floats:
    """Return affines that apply `inner` first.

    Parameters
    ----------
    outer, inner : (..., 2, 3) ndarray of float32
        Of shapes that broadcast.

    Returns
    -------
    (..., 2, 3) ndarray of float32
    """
    composed: Floats = outer[..., :2] @ inner
    composed[..., 2] += outer[..., 2]
    return composed


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
    # By Cramer's rule: the library's inverse of so small a matrix takes ten times as long.
    a, b, x, c, d, y = (affines[..., row, column] for row in (0, 1) for column in (0, 1, 2))
    back = np.empty(affines.shape, dtype=affines.dtype)
    back[..., 0, 0], back[..., 0, 1], back[..., 0, 2] = d, -b, b * y - d * x
    back[..., 1, 0], back[..., 1, 1], back[..., 1, 2] = -c, a, c * x - a * y
    back /= (a * d - b * c)[..., None, None]
    return back


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
    """Return the edit of the stored image that an affine from query to stored image tells.

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
    # Plain numbers: on arrays of four the library takes ten times as long.
    (a, b), (c, d) = matrix[:, :2].tolist()
    flip = a * d < b * c
    if flip:
        a, b = -a, -b
    quarters = _quarters(a, b, c, d)
    for _ in range((4 - quarters) % 4):
        a, b, c, d = b, -a, d, -c
    # Two off-diagonal terms of one sign are a shear, left by noise in the fit: no turn.
    angle = math.degrees(math.atan2(math.sqrt(max(-b * c, 0.0)), math.sqrt(a * d)))
    return Transform(flip=flip, turn=90 * quarters, angle=round(math.copysign(angle, c), 1) + 0.0, invert=invert)


def _quarters(a: float, b: float, c: float, d: float) -> int:
    if abs(a * d) >= abs(b * c):
        return 0 if a > 0 else 2
    return 1 if c > 0 else 3


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
    if image.shape == (height, width):
        return image
    by_line, smaller = np.empty((height, image.shape[1]), np.float32), np.empty((height, width), np.float32)
    for strip, near, weights in _lanczos(image.shape[0], height):
        np.matmul(weights, image[near], out=by_line[strip])
    for strip, near, weights in _lanczos(image.shape[1], width):
        np.matmul(by_line[:, near], weights.T, out=smaller[:, strip])
    return smaller


@functools.lru_cache(64)
def _lanczos(source: int, target: int) -> list[tuple[slice, slice, Floats]]:
    """Return strips of the result, each with what of the source comes into it, and by which weights."""
    scale = max(source / target, 1.0)
    middles = (np.arange(target) + 0.5) * source / target - 0.5
    strips = []
    for start in range(0, target, _STRIP_PX):
        middle = middles[start : start + _STRIP_PX, None]
        near = np.arange(max(0, int(middle[0, 0] - 3 * scale)), min(source, int(middle[-1, 0] + 3 * scale) + 2))
        distances = np.abs(near - middle) / scale
        kernel = np.sinc(distances) * np.sinc(distances / 3) * (distances < 3)
        weights = np.asarray(kernel / kernel.sum(axis=1, keepdims=True), dtype=np.float32)
        strips.append((slice(start, start + len(middle)), slice(int(near[0]), int(near[-1]) + 1), weights))
    return strips
