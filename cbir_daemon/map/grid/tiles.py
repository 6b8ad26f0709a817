"""Pack the small pictures of images: an atlas for a page, or one large picture of the map.

In: vectors, cells, shapes, frames, descriptors.  Out: a canvas, a table of tiles and their squares, as a decode worker
draws them.  Never here: what a frame means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.decode.canvas import Canvas
from cbir_daemon.map.grid.arrangement import Grid

VECTOR_SIDE: Final = 64
ENOUGH: Final = 1.25
"""Pixels of a cell, for each of its square: a cell has a margin, and a little too few pixels are not seen."""
BACKGROUND: Final = (250, 250, 248)

ROW: Final = np.dtype([("box", "<u2", 4), ("colour", "u1", 3), ("border", "u1")])
"""A row of the table of tiles, as `cbir_daemon.decode.canvas.TILE`."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """How one image is shown.

    Parameters
    ----------
    width_px, height_px : int
        Of the image; only their ratio is used.
    frame : tuple of int or None
        Colour of the frame around it.
    """

    width_px: int
    height_px: int
    frame: Colour | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """The order for a picture of many, for a worker."""

    canvas: Canvas
    tiles: bytes
    descriptors: bytes
    squares: bytes


def shrunk(vectors: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return vectors as smaller squares, each pixel the mean of a block.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
        64x64 grey levels.
    side : int
        Pixels; divides 64.

    Returns
    -------
    (n, side, side) ndarray of uint8
    """
    block = VECTOR_SIDE // side
    blocks = vectors.reshape(-1, side, block, side, block)
    squares: NDArray[np.uint8] = blocks.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)
    return squares


def atlas(squares: NDArray[np.uint8], descriptors: NDArray[np.uint8]) -> Drawing:
    """Return a picture of squares, row by row, as many in a row as `atlas_columns` says.

    Parameters
    ----------
    squares : (n, side, side) ndarray of uint8
    descriptors : (n, b) ndarray of uint8
        In which colours they are shown; b is 0 for greys.
    """
    count, side = squares.shape[:2]
    columns = atlas_columns(count)
    row, column = np.divmod(np.arange(count), columns)
    table = np.zeros(count, dtype=ROW)
    table["box"] = np.stack([column * side, row * side, np.full(count, side), np.full(count, side)], axis=1)
    canvas = Canvas(columns * side, math.ceil(count / columns) * side, side, "WEBP", descriptors.shape[1])
    return Drawing(canvas, table.tobytes(), descriptors.tobytes(), squares.tobytes())


def atlas_columns(count: int) -> int:
    """Return how many squares stand in a row of an atlas."""
    return math.ceil(math.sqrt(count))


def square_side(cell_px: int) -> int:
    """Return the side of the squares that are enough for a cell: 16, 32 or 64."""
    return next((side for side in (16, 32) if cell_px <= ENOUGH * side), VECTOR_SIDE)


def picture(
    grid: Grid, squares: NDArray[np.uint8], descriptors: NDArray[np.uint8], shown: Sequence[Shown], size_px: int
) -> Drawing:
    """Return the map as one picture.

    Parameters
    ----------
    grid : Grid
    squares : (n, side, side) ndarray of uint8
    descriptors : (n, b) ndarray of uint8
        In which colours they are shown; b is 0 for greys.
    shown : sequence of Shown
        One for each image.
    size_px : int
        Of the longer side of the picture; the shorter one has the same cells.
    """
    cell_px = cell_side(grid, size_px)
    edge_px = cell_px // 2
    table = np.zeros(len(shown), dtype=ROW)
    for row, image, (column, line) in zip(table, shown, grid.cells.tolist(), strict=True):
        border = max(2, cell_px // 14) if image.frame else 0
        left, top, width, height = _box(image, cell_px, border)
        row["box"] = (edge_px + column * cell_px + left, edge_px + line * cell_px + top, width, height)
        row["colour"], row["border"] = image.frame or (0, 0, 0), border
    across, down = (2 * edge_px + cells * cell_px for cells in (grid.columns, grid.rows))
    canvas = Canvas(across, down, squares.shape[1], "PNG", descriptors.shape[1], BACKGROUND)
    return Drawing(canvas, table.tobytes(), descriptors.tobytes(), squares.tobytes())


def tile(
    cells: NDArray[np.int64],
    squares: NDArray[np.uint8],
    descriptors: NDArray[np.uint8],
    shown: Sequence[Shown],
    size_px: int,
    cell_px: int,
    background: Colour,
) -> Drawing:
    """Return a square piece of the map, without a margin.

    Parameters
    ----------
    cells : (n, 2) ndarray of int64
        Column and row of each image within the piece.
    squares : (n, side, side) ndarray of uint8
    descriptors : (n, b) ndarray of uint8
        In which colours they are shown; b is 0 for greys.
    shown : sequence of Shown
        One for each image.
    size_px, cell_px : int
        Side of the piece and of a cell.
    background : tuple of int
        Red, green and blue, 0 to 255.
    """
    table = np.zeros(len(shown), dtype=ROW)
    for row, image, (column, line) in zip(table, shown, cells.tolist(), strict=True):
        border = max(1, cell_px // 14) if image.frame else 0
        left, top, width, height = _box(image, cell_px, border)
        row["box"] = (column * cell_px + left, line * cell_px + top, width, height)
        row["colour"], row["border"] = image.frame or (0, 0, 0), border
    canvas = Canvas(size_px, size_px, squares.shape[1], "WEBP", descriptors.shape[1], background)
    return Drawing(canvas, table.tobytes(), descriptors.tobytes(), squares.tobytes())


def cell_side(grid: Grid, size_px: int) -> int:
    """Return the side of a cell in pixels, at least 1.

    Parameters
    ----------
    grid : Grid
    size_px : int
        Of the longer side of the picture, with a margin of half a cell at each end.
    """
    return max(1, size_px // (max(grid.columns, grid.rows) + 1))


def _box(image: Shown, cell_px: int, border: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a picture in the middle of its cell, in the image's shape."""
    most = max(1, cell_px - max(1, cell_px // 12) - 2 * border)
    longer = max(image.width_px, image.height_px, 1)
    width = max(1, round(most * image.width_px / longer))
    height = max(1, round(most * image.height_px / longer))
    return (cell_px - width) // 2, (cell_px - height) // 2, width, height
