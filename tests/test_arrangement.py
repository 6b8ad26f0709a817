"""The map on a grid: every image has a cell of its own, near to where it lies, and regions are shown by their share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cbir_daemon.decode.canvas import TILE
from cbir_daemon.map.grid import (
    Grid,
    Shown,
    along_curve,
    arrange,
    atlas,
    cell_side,
    picture,
    sample,
    shrunk,
    square_side,
)
from cbir_daemon.map.grid.tiles import BACKGROUND, ROW

Plane = NDArray[np.float32]


def crowds(images: int, centres: list[tuple[float, float]], spread: float = 0.3) -> tuple[Plane, NDArray[np.int64]]:
    """Return positions around some centres, and of each the centre."""
    generator = np.random.default_rng(1)
    which = generator.integers(0, len(centres), images)
    return (np.array(centres)[which] + generator.normal(0, spread, (images, 2))).astype(np.float32), which


# Cells.


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 60), st.just(2)), elements=st.floats(-1e6, 1e6, width=32)))
def test_no_two_images_share_a_cell(xy: Plane) -> None:
    """Whatever the positions, equal ones included, each image has a cell of its own, inside the grid."""
    grid = arrange(xy)
    cells = [tuple(cell) for cell in grid.cells.tolist()]
    assert len(cells) == len(set(cells)) == len(xy)
    assert all(0 <= column < grid.columns and 0 <= row < grid.rows for column, row in cells)


def test_the_same_positions_give_the_same_grid() -> None:
    """Nothing is left to chance."""
    xy, _ = crowds(300, [(0, 0), (9, 9)])
    assert np.array_equal(arrange(xy).cells, arrange(xy).cells)


def test_left_is_left_and_up_is_up() -> None:
    """The grid is the plane as plots show it: y grows upwards."""
    cells = arrange(np.array([[0, 0], [10, 0], [0, 10], [10, 10]], dtype=np.float32)).cells
    (left_low, right_low, left_high, right_high) = cells
    assert left_low[0] == left_high[0] < right_low[0] == right_high[0]
    assert left_high[1] == right_high[1] < left_low[1] == right_low[1]


def test_crowds_stay_apart() -> None:
    """Between two crowds is a gap: no image of one has a neighbour of the other."""
    xy, which = crowds(400, [(0, 0), (20, 0), (8, 18)])
    cells = arrange(xy).cells
    for image, cell in enumerate(cells):
        beside = np.abs(cells - cell).max(axis=1) <= 1
        assert set(which[beside]) == {which[image]}


def test_inside_a_crowd_neighbours_stay_neighbours() -> None:
    """Images on top of each other are spread out in their order: as far as one cell allows, left stays left."""
    xy, _ = crowds(400, [(0, 0)], spread=1e-3)
    cells = arrange(np.concatenate([xy, [[50, 50]]]).astype(np.float32)).cells[:-1]
    for axis, sign in ((0, 1), (1, -1)):
        assert np.corrcoef(xy[:, axis], sign * cells[:, axis])[0, 1] > 0.9


def test_nothing_around_the_images_is_empty() -> None:
    """The grid ends with the outermost images."""
    grid = arrange(crowds(200, [(0, 0), (30, 1)])[0])
    assert grid.cells.min(axis=0).tolist() == [0, 0]
    assert (grid.cells.max(axis=0) + 1).tolist() == [grid.columns, grid.rows]


# Samples.


def test_a_sample_has_as_many_of_each_region_as_its_share() -> None:
    """Dense and sparse regions are thinned alike."""
    xy, which = crowds(9_000, [(0, 0), (20, 0), (40, 0)])
    which = np.minimum(which, 1)
    rows = sample(xy, 300)
    assert len(rows) == len(set(rows.tolist())) == 300
    assert (np.diff(rows) > 0).all()
    assert np.mean(which[rows] == 0) == pytest.approx(np.mean(which == 0), abs=0.02)


@pytest.mark.parametrize("most", [5, 6])
def test_a_sample_of_few_is_all(most: int) -> None:
    """What fits is shown whole."""
    assert sample(np.zeros((5, 2), np.float32), most).tolist() == [0, 1, 2, 3, 4]


def test_near_places_on_the_curve_are_near_on_the_grid() -> None:
    """Four cells in a square follow each other."""
    cells = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 0], [32767, 32767]])
    assert along_curve(cells).tolist() == [0, 1, 2, 3, 4, 2**30 - 1]


# Tiles.


def test_a_row_of_the_table_is_what_a_worker_reads() -> None:
    """Both sides have the same bytes."""
    row = np.array([((1, 2, 300, 4), (5, 6, 7), 8)], dtype=ROW)
    assert TILE.unpack(row.tobytes()) == (1, 2, 300, 4, 5, 6, 7, 8)


def test_squares_are_means_of_blocks() -> None:
    """A vector is shrunk by the mean of each block; at 64 it is itself."""
    vector = np.random.default_rng(0).integers(0, 256, (1, 4096), dtype=np.uint8)
    assert np.array_equal(shrunk(vector, 64)[0].ravel(), vector[0])
    small = shrunk(vector, 16)[0]
    assert small.shape == (16, 16)
    assert small[3, 5] == round(float(vector.reshape(64, 64)[12:16, 20:24].mean()))


@pytest.mark.parametrize(("cell", "side"), [(1, 16), (20, 16), (21, 32), (40, 32), (41, 64), (400, 64)])
def test_squares_are_no_larger_than_needed(cell: int, side: int) -> None:
    """A small cell is drawn from a small square."""
    assert square_side(cell) == side


def test_an_atlas_is_packed_row_by_row() -> None:
    """Squares stand side by side, and the canvas has room for all."""
    drawing = atlas(np.zeros((7, 16, 16), np.uint8), np.zeros((7, 480), np.uint8))
    assert (drawing.canvas.width_px, drawing.canvas.height_px) == (48, 48)
    assert [row[:4] for row in TILE.iter_unpack(drawing.tiles)][:4] == [
        (0, 0, 16, 16),
        (16, 0, 16, 16),
        (32, 0, 16, 16),
        (0, 16, 16, 16),
    ]
    assert drawing.squares == bytes(7 * 256)


@pytest.mark.parametrize("size_px", [64, 500, 2400])
@pytest.mark.parametrize("shape", [(640, 480), (480, 640), (1, 5000), (0, 0)])
def test_pictures_stay_inside_their_cells(size_px: int, shape: tuple[int, int]) -> None:
    """A tile with its frame is inside its cell, and has the shape of its image."""
    grid = Grid(3, 2, np.array([[0, 0], [2, 1]], dtype=np.int32))
    shown = [Shown(*shape), Shown(*shape, frame=(1, 2, 3))]
    drawing = picture(grid, np.zeros((2, 16, 16), np.uint8), np.zeros((2, 480), np.uint8), shown, size_px)
    cell = cell_side(grid, size_px)
    assert drawing.canvas.background == BACKGROUND
    assert max(drawing.canvas.width_px, drawing.canvas.height_px) <= size_px
    for row, (column, line) in zip(TILE.iter_unpack(drawing.tiles), grid.cells.tolist(), strict=True):
        left, top, width, height, *colour, border = row
        assert left - border >= cell // 2 + column * cell
        assert top - border >= cell // 2 + line * cell
        assert left + width + border <= cell // 2 + (column + 1) * cell
        assert top + height + border <= cell // 2 + (line + 1) * cell
        assert width * height > 0
        assert colour == ([1, 2, 3] if border else [0, 0, 0])
        if min(shape) > 100:
            assert width / height == pytest.approx(shape[0] / shape[1], rel=2 / min(width, height))
