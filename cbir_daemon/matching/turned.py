"""Turned parts: where in a picture another one may lie turned by any angle, skewed or in perspective.

In: a grey picture of a few hundred pixels.  Out: quadrilaterals, the likeliest first; what they show; how what was
found in one lies in the whole picture.  Never here: upright parts (`rectangles`), files.

A picture on plain ground has an outline, whatever was done to it.  Where the frame cuts that off too much, or it is
frayed, its longest side still tells by how much it was turned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Quadrilateral, Window
from cbir_daemon.matching.geometry import Floats, compose, inverse, overlaps_of, resized, transform_of
from cbir_daemon.matching.outline import Points, outlines
from cbir_daemon.matching.rectangles import within
from cbir_daemon.matching.verdict import affine_between
from cbir_daemon.medium import Placement
from cbir_daemon.records import VECTOR_SIDE_PX

OUTLINE_SIDE_PX = 240
"""Longer side of the picture in which an outline is looked for."""

# Longer side of the picture that vectors are sampled from, and pixels along each side of what is sampled: bilinear
# samples see noise when they are further apart than pixels.
_SAMPLED_SIDE_PX, _SAMPLES_PX = 480, 4 * VECTOR_SIDE_PX

# Lengths along both axes that are tried of what lies inside the frame, in shares of the whole; and the share of the
# frame by which a corner may lie outside.
_LENGTHS, _OUTSIDE = np.linspace(1.0, 0.2, 41), 0.01

_SQUARE: Points = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)


def turned_parts(picture: NDArray[np.uint8]) -> list[Quadrilateral]:
    """Return the parts of a picture that may be pictures which are not upright.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey.

    Returns
    -------
    list of Quadrilateral
        Two at most, inside the picture; where corners lie outside, what about the middle lies inside.
    """
    if min(picture.shape) < VECTOR_SIDE_PX:
        return []
    small = within(picture, OUTLINE_SIDE_PX)
    return [_inside(corners / small.shape[::-1]) for corners in outlines(small)]


def turned_vector(picture: NDArray[np.uint8], part: Quadrilateral) -> NDArray[np.uint8]:
    """Return a part of a picture as 64x64 numbers.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey.
    part : Quadrilateral

    Returns
    -------
    (4096,) ndarray of uint8
    """
    samples = _sampled(within(picture, _SAMPLED_SIDE_PX), part, _SAMPLES_PX, _SAMPLES_PX)
    shrunk = resized(samples, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    return np.clip(np.rint(shrunk), 0, 255).astype(np.uint8).reshape(-1)


def turned_picture(picture: NDArray[np.uint8], part: Quadrilateral) -> NDArray[np.uint8]:
    """Return a part of a picture as an upright one of about as many pixels.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey.
    part : Quadrilateral
    """
    corners = np.array(part.corners) * picture.shape[::-1]
    sides = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
    width, height = (max(1, round(float(length))) for length in (sides[::2].mean(), sides[1::2].mean()))
    return np.clip(np.rint(_sampled(picture, part, height, width)), 0, 255).astype(np.uint8)


def placement(part: Quadrilateral, vector: NDArray[np.uint8], stored: NDArray[np.uint8]) -> Placement:
    """Return how a stored image that a part shows lies in the whole picture.

    Parameters
    ----------
    part : Quadrilateral
    vector, stored : (4096,) ndarray of uint8
        Of the part and of the stored image.

    Notes
    -----
    Of a part in perspective the parallelogram that comes nearest is taken.
    """
    affine, invert = affine_between(vector, stored)
    whole = compose(affine[None], inverse(_affine_of(part)[None]))
    back = inverse(whole)[0]
    # Where the corners of the stored image, at -1 and 1, lie in the picture.
    reach = np.abs(back[:, :2]).sum(axis=1)
    low, high = (np.clip((back[:, 2] + side * reach + 1) / 2, 0, 1).tolist() for side in (-1, 1))
    return Placement(transform_of(whole[0], invert=invert), overlaps_of(whole)[0], Window(*low, *high))


def _inside(corners: Points) -> Quadrilateral:
    """Return the largest part about the middle of four corners, in shares, that lies inside the frame."""
    across, down = (lengths.ravel() for lengths in np.meshgrid(_LENGTHS, _LENGTHS))
    square = 0.5 + (_SQUARE - 0.5) * np.stack([across, down], axis=1)[:, None]
    points = _projected(_homography(corners), square)
    is_inside = (np.abs(points - 0.5) <= 0.5 + _OUTSIDE).all(axis=(1, 2))
    best = int(np.where(is_inside, across * down, 0).argmax())
    return Quadrilateral(tuple((x, y) for x, y in points[best].tolist()))


def _homography(corners: Points) -> Points:
    """Return the (3, 3) matrix that brings the unit square to four corners."""
    rows = [
        row
        for (u, v), (x, y) in zip(_SQUARE.tolist(), corners.tolist(), strict=True)
        for row in ([u, v, 1, 0, 0, 0, -u * x, -v * x], [0, 0, 0, u, v, 1, -u * y, -v * y])
    ]
    return np.append(np.linalg.solve(np.array(rows), corners.reshape(-1)), 1.0).reshape(3, 3)


def _projected(homography: Points, points: Points) -> Points:
    """Return (..., 2) points through a homography."""
    seen = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(seen[..., :2] / seen[..., 2:])


def _sampled(picture: NDArray[np.uint8], part: Quadrilateral, height: int, width: int) -> Floats:
    """Return a part of a picture upright, bilinear; outside the picture its edge pixels go on."""
    size = np.array(picture.shape[::-1])
    homography = _homography(np.array(part.corners)).astype(np.float32)
    u, v = ((np.arange(side, dtype=np.float32) + 0.5) / side for side in (width, height))
    along, down = homography[:, :1] * u + homography[:, 2:], homography[:, 1:2] * v
    x, y, depth = (along[axis] + down[axis][:, None] for axis in range(3))
    shares = np.stack([x, y]) / depth
    points = np.clip(shares * size[:, None, None] - np.float32(0.5), 0, (size - 1)[:, None, None]).astype(np.float32)
    corner = np.minimum(points.astype(np.int32), (size - 2)[:, None, None]).astype(np.int32)
    fraction_x, fraction_y = points - corner.astype(np.float32)
    index = corner[1] * picture.shape[1] + corner[0]
    flat = picture.reshape(-1).astype(np.float32)
    upper, lower = (
        flat[start] + fraction_x * (flat[start + 1] - flat[start]) for start in (index, index + picture.shape[1])
    )
    return np.asarray(upper + fraction_y * (lower - upper), dtype=np.float32)


def _affine_of(part: Quadrilateral) -> Floats:
    """Return the (2, 3) affine from the part to the picture, coordinates from -1 to 1, that comes nearest."""
    corners = 2 * np.array(part.corners) - 1
    axes = (2 * _SQUARE - 1).T @ corners / 4
    return np.concatenate([axes.T, corners.mean(axis=0)[:, None]], axis=1).astype(np.float32)
