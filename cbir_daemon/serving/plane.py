"""The map of a whole collection as a plane of cells, of which a browser asks for pieces.

In: the two-dimensional map in use.  Out: which content lies in which cell, at each level of detail.  Never here:
pictures, the files of contents.

At the deepest level a cell is as large as a vector; each level above halves that.  Where squares would become smaller
than `LEAST_SQUARE_PX`, the first content of a block of cells stands for the others, so that no piece has more than 1024
squares, however many contents there are.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.duplicates import Groups
from cbir_daemon.map.grid import arrange_many
from cbir_daemon.records import IMAGE
from cbir_daemon.store import Store

TILE_PX, CELL_PX = 256, 64
LEAST_SQUARE_PX = 8

STALE_SHARE = 0.02
"""Contents that came or went since the plane was laid out, as a share of all, from which it is laid out anew."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A tile: its contents and where their squares lie in it.

    Parameters
    ----------
    content_ids : (n,) ndarray of int64
    cells : (n, 2) ndarray of int64
        Column and row within the tile, in squares.
    square_px : int
        Side of a square.
    """

    content_ids: NDArray[np.int64]
    cells: NDArray[np.int64]
    square_px: int


@dataclass(frozen=True, slots=True)
class Plane:
    """Cells of contents.

    Parameters
    ----------
    name : str
        Another one for each layout.
    contents : (rows, columns) ndarray of int64
        Content ids; 0 where nothing lies.
    groups : dict
        Content id -> number of its group of duplicates.
    """

    name: str
    contents: NDArray[np.int64]
    groups: dict[int, int]

    @property
    def images(self) -> int:
        """Contents on the plane."""
        return int(np.count_nonzero(self.contents))

    @property
    def levels(self) -> int:
        """Levels of detail: at the first, one tile shows all."""
        tiles = max(self.contents.shape) * CELL_PX / TILE_PX
        return 1 + max(0, math.ceil(math.log2(max(1.0, tiles))))

    def piece(self, level: int, column: int, row: int) -> Piece:
        """Return a tile; without contents where nothing lies.

        Parameters
        ----------
        level : int
            0, one tile, to `levels` - 1, where a cell has `CELL_PX`.
        column, row : int
            Of the tile, 0 or more.
        """
        cells_across = (TILE_PX // CELL_PX) << (self.levels - 1 - level)
        block = max(1, cells_across * LEAST_SQUARE_PX // TILE_PX)
        part = self.contents[row * cells_across :, column * cells_across :][:cells_across, :cells_across]
        shown = _first_of_blocks(part, block)
        rows, columns = np.nonzero(shown)
        return Piece(shown[rows, columns], np.stack([columns, rows], axis=1), TILE_PX * block // cells_across)

    def inside(self, polygon: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the (n, 2) columns and rows of the taken cells whose middles lie in a polygon, row by row.

        Parameters
        ----------
        polygon : (m, 2) ndarray of float64
            x and y of its corners, in cells.
        """
        rows, columns = self.contents.shape
        low = np.clip(np.floor(polygon.min(axis=0)), 0, (columns, rows)).astype(np.int64)
        high = np.clip(np.ceil(polygon.max(axis=0)), 0, (columns, rows)).astype(np.int64)
        down, across = np.nonzero(self.contents[low[1] : high[1], low[0] : high[0]])
        cells = np.stack([across, down], axis=1) + low
        found: NDArray[np.int64] = cells[_are_inside(cells + 0.5, polygon)]
        return found

    def place(self, content_id: int) -> tuple[int, int] | None:
        """Return column and row of a content; None when it is not on the plane."""
        rows, columns = np.nonzero(self.contents == content_id)
        return (int(columns[0]), int(rows[0])) if len(rows) else None


def _first_of_blocks(cells: NDArray[np.int64], block: int) -> NDArray[np.int64]:
    """Return one content of each block of cells, that of its first taken row; 0 where none is taken."""
    if block == 1 or not cells.size:
        return cells
    rows, columns = (math.ceil(side / block) for side in cells.shape)
    padded = np.zeros((rows * block, columns * block), dtype=np.int64)
    padded[: cells.shape[0], : cells.shape[1]] = cells
    blocks = padded.reshape(rows, block, columns, block).swapaxes(1, 2).reshape(rows, columns, block * block)
    first = np.argmax(blocks > 0, axis=2)
    return np.take_along_axis(blocks, first[..., None], axis=2)[..., 0]


def _are_inside(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points lie in a polygon: those from which a ray crosses its sides an odd number of times."""
    odd = np.zeros(len(points), dtype=np.bool_)
    x, y = points[:, 0], points[:, 1]
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 <= y) != (y1 <= y)
        odd ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


class Planes:
    """Holds the planes of the maps in use.  Thread-safe.

    Parameters
    ----------
    store : Store
        Knows the positions.
    groups : Groups
        Knows which contents are duplicates.

    Notes
    -----
    16 bytes a content.
    """

    def __init__(self, store: Store, groups: Groups) -> None:
        self._store = store
        self._groups = groups
        # Guards what follows, so that two tabs do not lay the same plane out twice.
        self._lock = threading.Lock()
        self._laid_out: dict[str, tuple[int, int, Plane]] = {}

    def present(self, medium: str = IMAGE) -> Plane | None:
        """Return the plane of the map in use; None without a map that has a two-dimensional layout.

        It is laid out anew for another map, and when more than `STALE_SHARE` of the contents came or went.

        Parameters
        ----------
        medium : str
            Whose map.
        """
        run = self._store.runs.active(medium)
        if run is None:
            return None
        with self._lock:
            count = self._store.positions.flat_count(run.id)
            laid_out = self._laid_out.get(medium)
            if laid_out is None or _is_stale(laid_out, run.id, count):
                plane = self._lay_out(run.id)
                if plane is None:
                    self._laid_out.pop(medium, None)
                    return None
                laid_out = self._laid_out[medium] = (run.id, count, plane)
            return laid_out[2]

    def _lay_out(self, run_id: int) -> Plane | None:
        flat = self._store.positions.flat(run_id)
        ids = np.array([content_id for content_id, _ in flat], dtype=np.int64)
        xy = np.frombuffer(b"".join(place for _, place in flat), dtype="<f4").reshape(-1, 2)
        # UMAP gives no place to what has no neighbours.
        placed = np.isfinite(xy).all(axis=1)
        if not placed.any():
            return None
        grid = arrange_many(xy[placed])
        contents = np.zeros((grid.rows, grid.columns), dtype=np.int64)
        contents[grid.cells[:, 1], grid.cells[:, 0]] = ids[placed]
        return Plane(f"{run_id}-{len(flat)}", contents, group_numbers(self._groups))


def group_numbers(groups: Groups) -> dict[int, int]:
    """Return content id -> number of its group; a content that is in two is in that of copies."""
    found = sorted(groups.found(), key=lambda group: group.kind.value)
    numbers: dict[int, int] = {}
    for number, group in enumerate(found):
        for member in group.members:
            numbers.setdefault(member.image.content.id, number)
    return numbers


def _is_stale(laid_out: tuple[int, int, Plane], run_id: int, count: int) -> bool:
    of_run, of_count, _ = laid_out
    return of_run != run_id or abs(count - of_count) > STALE_SHARE * of_count
