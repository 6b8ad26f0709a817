"""The outline of a picture on plain ground: four straight sides, however it was turned, skewed or seen.

In: a grey picture of a few hundred pixels.  Out: the quadrilateral that stands out from a ground of one tone.  Never
here: what it shows, grounds of several tones.

The frame may cut corners off: the outline then has up to eight sides, and the longest one off the frame tells the turn.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# Grey levels about the ground's tone, and the share of the frame that has it at least.
_TONE_LEVELS, _GROUND_SHARE = 12.0, 0.25

# Pixels within which a point lies on the frame.
_FRAME_PX = 2.0

# Share of the frame's area up to which a side is noise.
_NOISE = 0.002

# Share of the frame's shorter side that a side has at least, and degrees by which it is turned, to tell an angle: the
# views of a search find what is turned less.
_LEAST_LENGTH, _LEAST_DEGREES = 0.25, 6.0

# Shares: of an outline and its quadrilateral together that both have at least; of the frame that it fills at least;
# of its bounds above which it is upright.
_FITS, _LEAST_AREA, _UPRIGHT = 0.93, 0.1, 0.96

# Share of the frame's longer side by which the corners of two outlines differ.
_SAME = 0.04

# Every third pixel is enough for a share of areas.
_STRIDE = 3


def outlines(grey: NDArray[np.uint8]) -> list[Points]:
    """Return the likely corners of a picture on plain ground, four; empty where there is none, or it is upright.

    Parameters
    ----------
    grey : (height, width) ndarray of uint8

    Returns
    -------
    list of (4, 2) ndarray of float64
        x and y in pixels, clockwise, the upper left corner first; outside the frame where that cuts them off.  Two at
        most: four straight sides, and the rectangle about all along the longest side.
    """
    shown = _off_ground(grey)
    if shown is None or not shown.any():
        return []
    hull = _hull(shown)
    sides = _reduced(hull, 4, _NOISE * grey.size)
    straight = _reduced(sides, 4)
    found = [straight] if len(straight) == 4 and _fits(straight, hull, grey.shape) else []
    angle = _angle(sides, grey.shape)
    turned = [] if angle is None else [_bounds(hull, angle)]
    ordered = [_upper_left_first(corners) for corners in (*found, *turned)]
    is_one = len(ordered) == 2 and np.abs(ordered[0] - ordered[1]).max() < _SAME * max(grey.shape)
    return ordered[:1] if is_one else ordered


def _off_ground(grey: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Return which pixels no straight line joins to the frame over the ground; None where no tone is the ground's."""
    frame = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).astype(np.float32)
    counts = np.bincount(frame.astype(np.int64), minlength=256)
    near = np.convolve(counts, np.ones(2 * int(_TONE_LEVELS) + 1), mode="same")
    if near.max() < _GROUND_SHARE * len(frame):
        return None
    tone = float(np.median(frame[np.abs(frame - near.argmax()) <= _TONE_LEVELS]))
    # Of nine pixels: a ground that was compressed is speckled.
    ground = _smooth(np.abs(grey.astype(np.float32) - tone) <= _TONE_LEVELS) > 0.5
    runs = np.logical_and.accumulate
    joined = runs(ground, axis=1) | runs(ground[:, ::-1], axis=1)[:, ::-1]
    joined |= runs(ground, axis=0) | runs(ground[::-1], axis=0)[::-1]
    return np.asarray(~joined)


def _smooth(pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the mean of the nine pixels around each."""
    height, width = pixels.shape
    wide = np.pad(pixels.astype(np.float32), 1, mode="edge")
    rows = wide[:height] + wide[1 : height + 1] + wide[2:]
    return np.asarray((rows[:, :width] + rows[:, 1 : width + 1] + rows[:, 2:]) / 9, dtype=np.float32)


def _hull(shown: NDArray[np.bool_]) -> Points:
    """Return the corners of the convex hull of pixels, clockwise as y runs down."""
    rows = np.flatnonzero(shown.any(axis=1))
    first = shown[rows].argmax(axis=1)
    last = shown.shape[1] - shown[rows, ::-1].argmax(axis=1)
    # Down the right side, up the left one.
    right = [(x, y + below) for x, y in zip(last.tolist(), rows.tolist(), strict=True) for below in (0, 1)]
    left_side = [(x, y + below) for x, y in zip(first.tolist(), rows.tolist(), strict=True) for below in (0, 1)]
    return np.array([*_chain(right), *_chain(left_side[::-1])], dtype=np.float64)


def _chain(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the points at which a side turns clockwise."""
    chain: list[tuple[int, int]] = []
    for x, y in points:
        while len(chain) > 1:
            (x0, y0), (x1, y1) = chain[-2:]
            if (x1 - x0) * (y - y1) - (y1 - y0) * (x - x1) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def _angle(corners: Points, shape: tuple[int, ...]) -> float | None:
    """Return the degrees, -45 to 45, by which the longest side off the frame was turned counter-clockwise."""
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.where(_on_frame(corners, shape), 0, np.hypot(*sides.T))
    across, down = sides[lengths.argmax()].tolist()
    angle = (45 - math.degrees(math.atan2(down, across))) % 90 - 45
    return angle if lengths.max() >= _LEAST_LENGTH * min(shape) and abs(angle) >= _LEAST_DEGREES else None


def _bounds(hull: Points, angle_deg: float) -> Points:
    """Return the corners of the rectangle about a hull whose sides were turned counter-clockwise by an angle."""
    radians = math.radians(angle_deg)
    axes = np.array([[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]])
    low, high = (hull @ axes.T).min(axis=0), (hull @ axes.T).max(axis=0)
    return np.asarray(np.array([low, [high[0], low[1]], high, [low[0], high[1]]]) @ axes)


def _reduced(corners: Points, count: int, most_area: float = np.inf) -> Points:
    """Return a convex polygon around another one with fewer corners, as long as one adds no more than some area."""
    while len(corners) > count:
        areas, points = _removals(corners)
        if not areas.min() < most_area:
            break
        corners = _removed(corners, int(areas.argmin()), points)
    return corners


def _removals(corners: Points) -> tuple[Points, Points]:
    """Return for each side the area that goes with it, inf where its neighbours do not meet, and where they do."""
    before, following, beyond = (np.roll(corners, -shift, axis=0) for shift in (-1, 1, 2))
    along, back = corners - before, following - beyond
    gap = following - corners
    determinant = along[:, 0] * -back[:, 1] + along[:, 1] * back[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = (gap[:, 0] * -back[:, 1] + gap[:, 1] * back[:, 0]) / determinant
        reach_back = (along[:, 0] * gap[:, 1] - along[:, 1] * gap[:, 0]) / determinant
        points = corners + reach[:, None] * along
        added = points - corners
        areas = np.abs(added[:, 0] * gap[:, 1] - added[:, 1] * gap[:, 0]) / 2
    # Parallel neighbours meet nowhere: their area is no number.
    return np.where((reach >= 0) & (reach_back >= 0) & np.isfinite(areas), areas, np.inf), points


def _removed(corners: Points, side: int, points: Points) -> Points:
    """Return a polygon without a side: its two ends become the point where its neighbours meet."""
    moved = corners.copy()
    moved[side] = points[side]
    return np.delete(moved, (side + 1) % len(corners), axis=0)


def _on_frame(corners: Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which sides of a polygon lie on the frame."""
    ends = np.stack([corners, np.roll(corners, -1, axis=0)])
    size = np.array(shape[::-1], dtype=np.float64)
    before, beyond = (np.all(lies, axis=0) for lies in (ends < _FRAME_PX, ends > size - _FRAME_PX))
    return np.asarray(np.any(before | beyond, axis=1))


def _fits(corners: Points, hull: Points, shape: tuple[int, ...]) -> bool:
    """Return whether four corners are all that an outline is inside the frame, and are not upright."""
    size = np.array(shape[::-1], dtype=np.float64)
    y, x = np.mgrid[: shape[0] : _STRIDE, : shape[1] : _STRIDE] + 0.5
    inside, shown = (_within(polygon, x, y) for polygon in (corners, hull))
    both, either = np.count_nonzero(inside & shown), np.count_nonzero(inside | shown)
    sides = np.clip(corners, 0, size).max(axis=0) - np.clip(corners, 0, size).min(axis=0)
    is_upright = np.count_nonzero(inside) * _STRIDE**2 > _UPRIGHT * sides.prod()
    return both >= max(_FITS * either, _LEAST_AREA * x.size) and not is_upright


def _within(polygon: Points, x: Points, y: Points) -> NDArray[np.bool_]:
    """Return which points lie in a convex polygon, whose corners come clockwise."""
    lies = np.ones(x.shape, dtype=np.bool_)
    for (x0, y0), (x1, y1) in itertools.pairwise([*polygon.tolist(), polygon[0].tolist()]):
        lies &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) >= 0
    return lies


def _upper_left_first(corners: Points) -> Points:
    """Return corners beginning with the one whose side runs most to the right."""
    sides = np.roll(corners, -1, axis=0) - corners
    return np.roll(corners, -int((sides[:, 0] / np.hypot(*sides.T)).argmax()), axis=0)
