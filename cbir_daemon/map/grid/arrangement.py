"""Give each image of the map a cell of its own on a grid, near to where it lies.

In: positions in the plane.  Out: cells, or which rows to show.  Never here: pictures, ids.

UMAP puts images that are alike on top of each other; on a grid none hides another.  What is lost is the distance
inside a crowd, what stays is who is beside whom, and the gaps between crowds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FILL: Final = 0.5
"""Share of the cells that is taken: the rest are the gaps that keep crowds apart."""

EVENNESS: Final = 0.3
"""How far crowds are spread out: 0 leaves distances as they are, 1 leaves only the order along each axis."""

MARGIN: Final = 0.3
"""Room on each side, as a share of the grid, into which a crowd at the edge may grow."""

DENSITY_BINS: Final = 48
CURVE_BITS: Final = 10
STRIDES: Final = (32, 16, 8, 4, 2, 1)
ROUNDS: Final = 8
NEARBY: Final = 128
"""Cells that are tried at once in the search for a free one."""

MOST_ARRANGED: Final = 20_000
"""Images, or blocks of images, that are arranged one by one; ten times as many would take a hundred times as long."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of images.

    Parameters
    ----------
    columns, rows : int
    cells : (n, 2) ndarray of int32
        Column and row of each image, from the upper left; no two are the same.
    """

    columns: int
    rows: int
    cells: NDArray[np.int32]


def sample(xy: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Return at most `most` rows that stand for all, ascending: as many of each region as its share.

    Parameters
    ----------
    xy : (n, 2) ndarray of float32
    most : int
        At least 1.
    """
    if len(xy) <= most:
        return np.arange(len(xy))
    order = np.argsort(_along_curve(xy), kind="stable")
    return np.sort(order[np.linspace(0, len(xy) - 1, most).round().astype(np.int64)])


def arrange(xy: NDArray[np.float32], fill: float = FILL) -> Grid:
    """Return a grid in which each image has a cell near to its position.

    Parameters
    ----------
    xy : (n, 2) ndarray of float32
        Finite; y grows upwards, as in plots.
    fill : float
        Share that is taken of the cells between the outermost positions, in (0, 1].

    Notes
    -----
    Images are put into the nearest free cell, those of dense regions first; then cells are exchanged, at first far
    ones, as long as that brings the two nearer to their positions.  The same positions give the same grid.  10 000
    images take about a second.
    """
    if not len(xy):
        return Grid(0, 0, np.empty((0, 2), dtype=np.int32))
    inner = math.ceil(math.sqrt(len(xy) / fill))
    margin = math.ceil(MARGIN * inner)
    side = inner + 2 * margin
    targets = _spread(xy) * (inner - 1) + margin
    grid = np.full((side, side), -1, dtype=np.int64)
    _put(grid, targets)
    for stride in STRIDES:
        _exchange(grid, targets, stride)
    cells = np.empty((len(xy), 2), dtype=np.int32)
    rows, columns = np.nonzero(grid >= 0)
    cells[grid[rows, columns]] = np.stack([columns, rows], axis=1)
    # What nothing was pushed into is cut off.
    cells -= cells.min(axis=0)
    columns_taken, rows_taken = cells.max(axis=0) + 1
    return Grid(int(columns_taken), int(rows_taken), cells)


def arrange_many(xy: NDArray[np.float32], most: int = MOST_ARRANGED) -> Grid:
    """Return a grid as `arrange` does, of any number of images.

    Parameters
    ----------
    xy : (n, 2) ndarray of float32
        Finite.
    most : int
        More images are arranged by square blocks of neighbours, and then within their block.

    Notes
    -----
    1 000 000 images take some five seconds.
    """
    if len(xy) <= most:
        return arrange(xy)
    side = math.ceil(math.sqrt(len(xy) / most))
    blocks = _blocks(xy, side**2)
    middles = np.array([xy[block].mean(axis=0) for block in blocks], dtype=np.float32)
    coarse = arrange(middles)
    cells = np.empty((len(xy), 2), dtype=np.int32)
    for block, cell in zip(blocks, coarse.cells, strict=True):
        cells[block] = side * cell + _within(xy[block], side)
    return Grid(side * coarse.columns, side * coarse.rows, cells)


def _blocks(xy: NDArray[np.float32], most: int) -> list[NDArray[np.int64]]:
    """Return the rows of neighbours, at most so many each: halves of halves, cut across their longer side."""
    waiting = [np.arange(len(xy), dtype=np.int64)]
    blocks: list[NDArray[np.int64]] = []
    while waiting:
        rows = waiting.pop()
        if len(rows) <= most:
            blocks.append(rows)
            continue
        axis = int(np.argmax(np.ptp(xy[rows], axis=0)))
        # The lower half is a number of whole blocks: few are left partly empty.
        cut = most * max(1, round(len(rows) / most / 2))
        order = np.argpartition(xy[rows, axis], cut)
        waiting += [rows[order[:cut]], rows[order[cut:]]]
    return blocks


def _within(xy: NDArray[np.float32], side: int) -> NDArray[np.int32]:
    """Return (n, 2) cells of at most side * side images in a square: columns from left to right, each from the top."""
    across = np.argsort(xy[:, 0], kind="stable")
    tall = math.ceil(len(xy) / side)
    cells = np.empty((len(xy), 2), dtype=np.int32)
    for column, start in enumerate(range(0, len(xy), tall)):
        rows = across[start : start + tall]
        down = rows[np.argsort(-xy[rows, 1], kind="stable")]
        cells[down, 0] = column
        cells[down, 1] = np.arange(len(down))
    return cells


def _spread(xy: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (n, 2) positions within [0, 1], row by row from the top, crowds spread out."""
    down = np.stack([xy[:, 0], -xy[:, 1]], axis=1).astype(np.float64)
    low, high = down.min(axis=0), down.max(axis=0)
    # One scale for both axes keeps shapes.
    scale = max(float((high - low).max()), np.finfo(np.float32).tiny)
    plain = 0.5 + (down - (low + high) / 2) / scale
    ranks = np.stack([_ranks(down[:, axis]) for axis in (0, 1)], axis=1)
    spread: NDArray[np.float64] = (1 - EVENNESS) * plain + EVENNESS * ranks
    return spread


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of values below each, in [0, 1]; equal values have one rank."""
    ordered = np.sort(values)
    middle = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1
    ranks: NDArray[np.float64] = middle / max(1, 2 * (len(values) - 1))
    return ranks


def _put(grid: NDArray[np.int64], targets: NDArray[np.float64]) -> None:
    """Put each image into the free cell nearest to its target."""
    side = len(grid)
    bins = (targets * ((DENSITY_BINS - 1) / max(1, side - 1))).astype(np.int64)
    region = bins[:, 1] * DENSITY_BINS + bins[:, 0]
    crowd = np.bincount(region, minlength=DENSITY_BINS**2)[region]
    nearest = targets.round().astype(np.int64)
    columns, rows = _offsets(side)
    for image in np.argsort(-crowd, kind="stable"):
        column, row = nearest[image]
        for start in range(0, len(columns), NEARBY):
            across, down = columns[start : start + NEARBY] + column, rows[start : start + NEARBY] + row
            inside = (across >= 0) & (across < side) & (down >= 0) & (down < side)
            across, down = across[inside], down[inside]
            free = np.flatnonzero(grid[down, across] < 0)
            if len(free):
                grid[down[free[0]], across[free[0]]] = image
                break


def _offsets(side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the steps to every other cell, nearest first."""
    steps = np.arange(1 - side, side)
    columns, rows = (steps_of.ravel() for steps_of in np.meshgrid(steps, steps))
    order = np.argsort(columns**2 + rows**2, kind="stable")
    return columns[order], rows[order]


def _exchange(grid: NDArray[np.int64], targets: NDArray[np.float64], stride: int) -> None:
    """Exchange cells `stride` apart where that brings what is in them nearer to its positions, free cells included.

    Notes
    -----
    An image at t that goes from cell a to cell b comes nearer, in squares, by |t - a|^2 - |t - b|^2, which is
    2 t (b - a) - (|b|^2 - |a|^2): a number of the image and one of the two cells.
    """
    taken = grid.reshape(-1)
    steps = ((stride, 0), (0, stride), (stride, stride), (stride, -stride))
    pulls = [2 * (targets @ np.array(step, dtype=np.float64)) for step in steps]
    pairs = [_pairs(len(grid), *step) for step in steps]
    for _ in range(ROUNDS):
        for forth, lots in zip(pulls, pairs, strict=True):
            for here, there, between in lots:
                near, far = taken[here], taken[there]
                gain = np.where(near >= 0, forth[near] - between, 0.0) - np.where(far >= 0, forth[far] - between, 0.0)
                better = gain > 0
                taken[here[better]], taken[there[better]] = far[better], near[better]


def _pairs(side: int, right: int, down: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Return all pairs of cells (right, down) apart, in two lots in neither of which a cell is twice.

    Each lot is (m,) cells by their place in the flat grid, as many others, and by how much these are farther from the
    first cell of the grid, in squares.
    """
    rows, columns = np.indices((side, side)).reshape(2, -1)
    along = columns if right else rows
    inside = (columns + right < side) & (rows + down < side) & (rows + down >= 0)
    lots = []
    for parity in (0, 1):
        here = np.flatnonzero(inside & (along // max(right, down) % 2 == parity))
        between = (columns[here] + right) ** 2 + (rows[here] + down) ** 2 - columns[here] ** 2 - rows[here] ** 2
        lots.append((here, here + down * side + right, between))
    return lots


def _along_curve(xy: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the place of each position along a Z-shaped curve through the plane: near places are near positions."""
    cells = (_spread(xy) * (2**CURVE_BITS - 1)).astype(np.int64)
    return along_curve(cells)


def along_curve(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the place of each cell along a Z-shaped curve.

    Parameters
    ----------
    cells : (n, 2) ndarray of integers
        Column and row, each in [0, 2**15).

    Returns
    -------
    (n,) ndarray of int64
        Cells whose places are near lie near each other.

    References
    ----------
    G. M. Morton (1966), "A computer oriented geodetic data base and a new technique in file sequencing", IBM.
    """
    place = np.zeros(len(cells), dtype=np.int64)
    wide = cells.astype(np.int64)
    for bit in range(15):
        for axis in (0, 1):
            place |= (wide[:, axis] >> bit & 1) << (2 * bit + axis)
    return place
