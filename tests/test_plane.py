"""The map as a plane of cells: its pieces at each level, what lies inside a line, and where a content is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cbir_daemon.map.grid import arrange_many
from cbir_daemon.serving.plane import CELL_PX, LEAST_SQUARE_PX, TILE_PX, Plane

MOST_SQUARES = (TILE_PX // LEAST_SQUARE_PX) ** 2


def plane_of(contents: NDArray[np.int64]) -> Plane:
    """Return a plane with these contents in its cells."""
    return Plane("1-1", contents, {})


def full(rows: int, columns: int) -> Plane:
    """Return a plane with a content in every cell."""
    return plane_of(np.arange(1, rows * columns + 1, dtype=np.int64).reshape(rows, columns))


@pytest.mark.parametrize(("side", "levels"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (1424, 10)])
def test_at_level_0_one_tile_shows_all(side: int, levels: int) -> None:
    """There are as many levels as it takes to halve the plane down to a tile."""
    plane = full(side, side)
    assert plane.levels == levels
    assert len(plane.piece(0, 1, 0).content_ids) == len(plane.piece(0, 0, 1).content_ids) == 0


def test_the_deepest_tiles_show_each_content_once() -> None:
    """At the last level each content has a square of the vector's size, in exactly one tile."""
    plane = full(9, 6)
    pieces = [plane.piece(plane.levels - 1, column, row) for row in range(3) for column in range(2)]
    assert {piece.square_px for piece in pieces} == {CELL_PX}
    ids = np.concatenate([piece.content_ids for piece in pieces])
    assert sorted(ids.tolist()) == list(range(1, 55))


def test_no_tile_has_more_squares_than_can_be_seen() -> None:
    """On a plane of 400 000 cells a tile has at most 1024 squares, none smaller than 8 pixels, at every level."""
    plane = full(632, 632)
    for level in range(plane.levels):
        piece = plane.piece(level, 0, 0)
        assert 0 < len(piece.content_ids) <= MOST_SQUARES
        assert piece.square_px >= LEAST_SQUARE_PX
        assert (piece.cells + 1).max() * piece.square_px <= TILE_PX


def test_a_lonely_content_is_seen_at_every_level() -> None:
    """A content that stands for an empty neighbourhood is not lost where squares stand for blocks."""
    contents = np.zeros((600, 600), dtype=np.int64)
    contents[411, 137] = 7
    plane = plane_of(contents)
    for level in range(plane.levels):
        across = (TILE_PX // CELL_PX) << (plane.levels - 1 - level)
        assert plane.piece(level, 137 // across, 411 // across).content_ids.tolist() == [7]


def test_what_lies_inside_a_line_is_found() -> None:
    """A triangle has the cells whose middles it holds; empty cells are left out."""
    contents = np.arange(1, 17, dtype=np.int64).reshape(4, 4)
    contents[0, 1] = 0
    cells = plane_of(contents).inside(np.array([(0.0, 0.0), (4.0, 0.0), (0.0, 4.0)]))
    assert cells.tolist() == [[0, 0], [2, 0], [0, 1], [1, 1], [0, 2]]
    everywhere = np.array([(-9.0, -9.0), (99.0, -9.0), (99.0, 99.0), (-9.0, 99.0)])
    assert len(plane_of(contents).inside(everywhere)) == 15


def test_a_content_has_a_place() -> None:
    """The cell of a content is found, and none of another."""
    plane = full(3, 5)
    assert plane.place(7) == (1, 1)
    assert plane.place(99) is None


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 9))
def test_blocks_of_many_images_share_no_cell(count: int, most: int, seed: int) -> None:
    """Arranged by blocks, too, each image has a cell of its own inside the grid."""
    xy = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    grid = arrange_many(xy, most)
    cells = {tuple(cell) for cell in grid.cells.tolist()}
    assert len(cells) == count
    assert all(0 <= column < grid.columns and 0 <= row < grid.rows for column, row in cells)


def test_blocks_keep_neighbours_together() -> None:
    """Images of one crowd lie nearer to each other than to those of another, as when each is arranged by itself."""
    generator = np.random.default_rng(1)
    xy = np.concatenate([generator.normal(centre, 0.3, (400, 2)) for centre in (0, 9)]).astype(np.float32)
    cells = arrange_many(xy, 100).cells.astype(np.float64)
    middles = cells[:400].mean(axis=0), cells[400:].mean(axis=0)
    spread = np.linalg.norm(cells[:400] - middles[0], axis=1).mean()
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * spread
