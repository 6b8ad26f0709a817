"""Rectangles: where in a picture another one may lie, upright and with straight edges.

In: a grey picture of a few hundred pixels.  Out: its parts that have an edge on all four sides, the likeliest first.
Never here: what the parts show, files.

A screenshot, a page, a picture pasted onto a larger one or padded has such a part for each picture that it shows.  The
64x64 numbers of the whole keep too little of it; cut out of the full picture it is a query like any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Around, Window
from cbir_daemon.matching.geometry import Floats, resized
from cbir_daemon.records import VECTOR_SIDE_PX

RECTANGLE_SIDE_PX = 480
"""Longer side of the picture in which edges are looked for."""

MOST_RECTANGLES = 12
"""Parts that are looked for at most: each costs a search."""

# Grey levels of a step from which there is an edge, the share of a side that must have one, and what a side on the
# frame of the picture counts as.
_EDGE_LEVELS, _SUPPORT, _FRAME = 6.0, 0.55, 0.55

# Pixels to both sides within which an edge is the largest step.
_BESIDE_PX = 3

# Shares of the picture: the least side of a part, and the area above which it is the picture itself.
_LEAST_SIDE, _MOST_AREA = 0.12, 0.95

# Around a part: grey levels of one tone, pixels that are needed, shares of one tone and of two that make it plain or a
# screen.
_TONE_LEVELS, _LEAST_AROUND, _PLAIN_SHARE, _SCREEN_SHARE = 4, 256, 0.97, 0.6

# Pixels of the shorter side below which a picture has no parts: their sides would be shorter than texture.
_LEAST_PX = 64

# Lines along each axis that may be sides; those with the longest runs of edge.
_LINES = 20

# Pixels by which neighbouring lines must differ to be two.
_APART_PX = 3

# Share that two parts have of both together from which they are one.
_ONE = 0.8


def rectangles(picture: NDArray[np.uint8]) -> list[Window]:
    """Return the parts of a picture that have straight edges on all sides.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey; a larger one than `RECTANGLE_SIDE_PX` is made smaller first.

    Returns
    -------
    list of Window
        `MOST_RECTANGLES` at most, the best supported and largest first; no two of them nearly the same.
    """
    grey = within(picture, RECTANGLE_SIDE_PX).astype(np.float32)
    if min(grey.shape) < _LEAST_PX:
        return []
    height, width = grey.shape
    across = _edges(grey)
    down = _edges(grey.T)
    columns, rows = _lines(across, height), _lines(down, width)
    if len(columns) < 2 or len(rows) < 2:
        return []
    boxes = _boxes(columns, rows, height, width)
    supports = _supports(boxes, _sums(across), _sums(down))
    good = supports.min(axis=1) >= _SUPPORT
    boxes, supports = boxes[good], supports[good]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (height * width)
    # A page has many lines of text: four clear sides count more than size.
    order = np.argsort(-((supports**2).mean(axis=1) * areas**0.1), kind="stable")
    return [Window(*share) for share in (_distinct(boxes[order]) / [width, height, width, height]).tolist()]


def around_part(picture: NDArray[np.uint8], part: Window) -> Around:
    """Return the surroundings of a part of a picture.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey.
    part : Window
    """
    height, width = picture.shape
    beside = np.ones(picture.shape, dtype=np.bool_)
    # A pixel or two of the part lie beyond its edge.
    left, top = round(part.left * width) - 2, round(part.top * height) - 2
    beside[max(0, top) : round(part.bottom * height) + 2, max(0, left) : round(part.right * width) + 2] = False
    greys = picture[beside]
    if len(greys) < _LEAST_AROUND:
        return Around.NOTHING
    counts = np.convolve(np.bincount(greys, minlength=256), np.ones(2 * _TONE_LEVELS + 1), "same")
    first = int(counts.argmax())
    one_tone = counts[first] / len(greys)
    counts[max(0, first - 2 * _TONE_LEVELS) : first + 2 * _TONE_LEVELS + 1] = 0
    if one_tone >= _PLAIN_SHARE:
        return Around.PLAIN
    return Around.SCREEN if one_tone + counts.max() / len(greys) >= _SCREEN_SHARE else Around.PICTURE


def part_vector(picture: NDArray[np.uint8], part: Window) -> NDArray[np.uint8]:
    """Return a part of a picture as 64x64 numbers.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey.
    part : Window

    Returns
    -------
    (4096,) ndarray of uint8
    """
    shrunk = resized(cut(picture, part).astype(np.float32), VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    return np.clip(np.rint(shrunk), 0, 255).astype(np.uint8).reshape(-1)


def cut(picture: NDArray[np.uint8], part: Window) -> NDArray[np.uint8]:
    """Return a part of a picture: at least a pixel.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
    part : Window
    """
    height, width = picture.shape
    left, top = min(round(part.left * width), width - 1), min(round(part.top * height), height - 1)
    return picture[top : max(top + 1, round(part.bottom * height)), left : max(left + 1, round(part.right * width))]


def within(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Return a picture no larger than `side_px`; a smaller one keeps its size.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
    side_px : int
        Longer side at most.
    """
    scale = side_px / max(picture.shape)
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape)
    return np.clip(np.rint(resized(picture.astype(np.float32), height, width)), 0, 255).astype(np.uint8)


def _edges(grey: Floats) -> NDArray[np.bool_]:
    """Return (height, width + 1): whether there is an edge between each pixel and the one to its left.

    Notes
    -----
    Only where no step beside it is larger: the edges of texture lie here and there, those of a side in one line.
    """
    steps = np.abs(np.diff(np.pad(grey, ((0, 0), (1, 1)), mode="edge"), axis=1))
    steps = np.pad(steps, ((0, 0), (_BESIDE_PX, _BESIDE_PX)))
    width = grey.shape[1] + 1
    shifted = [steps[:, shift : shift + width] for shift in range(2 * _BESIDE_PX + 1)]
    largest = np.maximum.reduce(shifted)
    own = shifted[_BESIDE_PX]
    return np.asarray((own >= _EDGE_LEVELS) & (own == largest))


def _lines(edges: NDArray[np.bool_], length: int) -> NDArray[np.int64]:
    """Return the columns of `edges` that may be sides, ascending; the frame's two always are."""
    window = max(2, round(_LEAST_SIDE * length))
    sums = np.cumsum(np.pad(edges, ((1, 0), (0, 0))), axis=0, dtype=np.int32)
    runs = (sums[window:] - sums[:-window]).max(axis=0).astype(np.float64)
    # Of two lines with equally dense runs the longer one goes first.
    runs = np.where(runs >= _SUPPORT * window, runs + sums[-1] / length, 0)
    chosen: list[int] = [0, edges.shape[1] - 1]
    for column in np.argsort(-runs, kind="stable").tolist():
        if not runs[column] or len(chosen) >= _LINES:
            break
        if all(abs(column - line) >= _APART_PX for line in chosen):
            chosen.append(column)
    return np.sort(np.asarray(chosen, dtype=np.int64))


def _boxes(columns: NDArray[np.int64], rows: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """Return (n, 4): left, top, right, bottom of all parts between two columns and two rows."""
    first_x, last_x = np.triu_indices(len(columns), 1)
    first_y, last_y = np.triu_indices(len(rows), 1)
    x, y = np.stack([columns[first_x], columns[last_x]], axis=1), np.stack([rows[first_y], rows[last_y]], axis=1)
    x = x[x[:, 1] - x[:, 0] >= _LEAST_SIDE * width]
    y = y[y[:, 1] - y[:, 0] >= _LEAST_SIDE * height]
    pairs = np.stack([np.repeat(np.arange(len(x)), len(y)), np.tile(np.arange(len(y)), len(x))], axis=1)
    boxes = np.stack([x[pairs[:, 0], 0], y[pairs[:, 1], 0], x[pairs[:, 0], 1], y[pairs[:, 1], 1]], axis=1)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(boxes[areas <= _MOST_AREA * height * width])


def _sums(edges: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return running sums down each column, where a neighbouring column's edge counts too: sides are seldom exact."""
    wide = edges.copy()
    wide[:, 1:] |= edges[:, :-1]
    wide[:, :-1] |= edges[:, 1:]
    return np.cumsum(np.pad(wide, ((1, 0), (0, 0))), axis=0, dtype=np.int32)


def _supports(boxes: NDArray[np.int64], across: NDArray[np.int32], down: NDArray[np.int32]) -> Floats:
    """Return (n, 4): the share of each side that has an edge; a side on the frame counts as `_FRAME`."""
    left, top, right, bottom = boxes.T
    width, height = across.shape[1] - 1, down.shape[1] - 1
    tall, wide = bottom - top, right - left
    sides = [
        np.where(x % width == 0, _FRAME * tall, across[bottom, x] - across[top, x]) / tall for x in (left, right)
    ] + [np.where(y % height == 0, _FRAME * wide, down[right, y] - down[left, y]) / wide for y in (top, bottom)]
    return np.stack(sides, axis=1).astype(np.float32)


def _distinct(boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the boxes without those that nearly equal an earlier one."""
    chosen: list[NDArray[np.int64]] = []
    for box in boxes:
        if len(chosen) == MOST_RECTANGLES:
            break
        if all(_common(box, earlier) < _ONE for earlier in chosen):
            chosen.append(box)
    return np.asarray(chosen, dtype=np.float64).reshape(-1, 4)


def _common(box: NDArray[np.int64], earlier: NDArray[np.int64]) -> float:
    """Return the area that two boxes share over that of both together."""
    sides = np.minimum(box[2:], earlier[2:]) - np.maximum(box[:2], earlier[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / float(np.prod(box[2:] - box[:2]) + np.prod(earlier[2:] - earlier[:2]) - shared)
