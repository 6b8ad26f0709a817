"""Exact neighbours: what the map is made of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.map.neighbors import SMALLEST_DISTANCE, closer, nearest, strictly_rising
from cbir_daemon.map.points import Points, to_points
from cbir_daemon.medium import Metric
from tests.neighbors import nearest_others

FEATURES = 256


def random_codes(rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Return unit rows free of their mean, as codes are."""
    numbers = np.random.default_rng(seed).normal(size=(rows, FEATURES))
    numbers -= numbers.mean(axis=1, keepdims=True)
    unit = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.asarray(unit, dtype=np.float32)


def slow_distances(points: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return cosine distances, one pair at a time in double precision."""
    return np.array([[1.0 - np.dot(q, p) for p in points.astype(np.float64)] for q in queries.astype(np.float64)])


def random_greys(rows: int, seed: int = 0) -> NDArray[np.int64]:
    """Return few grey levels of few pixels: dark and bright images, many as far from each other, duplicates, black."""
    draw = np.random.default_rng(seed)
    greys = draw.integers(0, 3, size=(rows, 16)) + draw.integers(0, 12, size=(rows, 1))
    greys[rows // 2 : rows // 2 + 12] = greys[0]
    greys[-9:] = 0
    return greys


def as_raw(greys: NDArray[np.int64]) -> Points:
    """Return points of greys in a Euclidean space: of any norm up to 1; float32 holds their distances."""
    return to_points(np.asarray(greys / 64, dtype=np.float32), Metric.EUCLIDEAN)


def plain_search(greys: NDArray[np.int64], query: NDArray[np.int64], own: int | None = None) -> list[tuple[int, int]]:
    """Return (squared distance, row) of all rows but the query's own, nearest first, by comparing one after another."""
    pairs = []
    for row, grey in enumerate(greys):
        if row != own:
            pairs.append((sum((int(a) - int(b)) ** 2 for a, b in zip(grey, query, strict=True)), row))
    return sorted(pairs)


@pytest.mark.parametrize("k", [1, 7, 30, 79])
def test_nearest_of_any_norm_are_those_of_a_plain_search(k: int) -> None:
    """In a Euclidean space too: ids in order of id where distances are equal, and distances to the last bit."""
    greys = random_greys(80)
    found = nearest_others(as_raw(greys), k)
    for row, grey in enumerate(greys):
        expected = plain_search(greys, grey, own=row)[:k]
        assert list(found.ids[row]) == [neighbor for _, neighbor in expected]
        distances = np.sqrt(np.array([square for square, _ in expected])) / 64
        np.testing.assert_array_max_ulp(found.distances[row], np.maximum(distances.astype(np.float32), 1e-7), 1)


def test_queries_of_any_norm_find_the_nearest_of_any_norm() -> None:
    """Alone and in company, and with blocks of any size."""
    greys, queries = random_greys(80), random_greys(30, seed=1)
    together = nearest(as_raw(greys), as_raw(queries), 9)
    for row, query in enumerate(queries):
        assert list(together.ids[row]) == [neighbor for _, neighbor in plain_search(greys, query)[:9]]
        alone = nearest(as_raw(greys), as_raw(query[np.newaxis]), 9)
        assert (alone.distances[0] == together.distances[row]).all()
    whole = nearest_others(as_raw(greys), 10)
    single = nearest_others(as_raw(greys), 10, block_bytes=1, exact_block_bytes=1)
    assert (whole.ids == single.ids).all()


def test_all_within_the_limit_are_closer() -> None:
    """Rows of any norm: each at most as far as the limit is there, those as far as it included."""
    greys, queries = random_greys(80), random_greys(30, seed=1)
    squares = [plain_search(greys, query) for query in queries]
    limits = np.array([found[20][0] for found in squares]) / (2 * 64**2)
    rows, ids, distances = closer(as_raw(greys), as_raw(queries), limits.astype(np.float32), len(greys))
    for row, found in enumerate(squares):
        inside = set(ids[rows == row][distances[rows == row] <= limits[row]].tolist())
        assert inside == {neighbor for square, neighbor in found if square <= found[20][0]}


def test_of_all_within_the_limit_the_nearest_are_closer() -> None:
    """However many there are, the ten nearest of rows of any norm are among them."""
    greys, queries = random_greys(80), random_greys(30, seed=1)
    limits = np.full(len(queries), np.inf, np.float32)
    rows, ids, _ = closer(as_raw(greys), as_raw(queries), limits, 10)
    for row, query in enumerate(queries):
        assert {neighbor for _, neighbor in plain_search(greys, query)[:10]} <= set(ids[rows == row].tolist())


def test_a_black_image_is_a_place_like_any_other() -> None:
    """In a Euclidean space zeros stay zeros, as far from an image as that is bright."""
    greys = np.array([[0] * 16, [1] * 16, [9] * 16])
    points = as_raw(greys)
    assert not points.rows[0].any()
    assert list(nearest_others(points, 2).distances[0] * 64) == [4, 36]


@pytest.mark.parametrize("k", [1, 7, 30, 59])
def test_nearest_others_are_those_of_a_plain_search(k: int) -> None:
    """Blocks and candidates change nothing: ids and distances are those of comparing every pair."""
    points = to_points(random_codes(60))
    expected = slow_distances(points.rows, points.rows)
    np.fill_diagonal(expected, np.inf)
    found = nearest_others(points, k)
    assert (found.ids == np.argsort(expected, axis=1)[:, :k]).all()
    np.testing.assert_allclose(found.distances, np.sort(expected, axis=1)[:, :k], atol=1e-6)


def test_blocks_of_any_size_give_the_same_neighbours() -> None:
    """One row a block or all at once: equal bits."""
    points = to_points(random_codes(80))
    whole = nearest_others(points, 10)
    single = nearest_others(points, 10, block_bytes=1, exact_block_bytes=1)
    assert (whole.ids == single.ids).all()
    assert (whole.distances == single.distances).all()


def test_a_query_has_the_same_neighbours_alone_and_in_company() -> None:
    """A matrix product rounds differently in a batch; the neighbours do not show it, duplicates included."""
    points = to_points(np.concatenate([random_codes(300), random_codes(40), np.zeros((30, FEATURES), np.float32)]))
    queries = to_points(np.concatenate([points.rows[::5], random_codes(40, seed=1)]))
    together = nearest(points, queries, 15)
    for row in range(len(queries)):
        alone = nearest(points, queries[row : row + 1], 15)
        assert (alone.ids[0] == together.ids[row]).all()
        assert (alone.distances[0] == together.distances[row]).all()


def test_duplicates_are_neighbours_in_order_of_id_and_never_their_own() -> None:
    """Forty equal codes, more than are proposed for comparison: the lowest ids come first, the own id never."""
    points = to_points(np.repeat(random_codes(1), 40, axis=0))
    found = nearest_others(points, 5)
    for row, ids in enumerate(found.ids):
        assert list(ids) == [neighbor for neighbor in range(40) if neighbor != row][:5]
    assert (found.distances == SMALLEST_DISTANCE).all()


def test_near_duplicates_are_told_apart() -> None:
    """Distances of less than 1e-6, where 1 - dot in float32 is noise, keep their order."""
    steps = np.linspace(0, 0.02, 30)[:, np.newaxis]
    first, second = random_codes(2)
    codes = np.concatenate([(first + steps * second).astype(np.float32), random_codes(100, seed=2)])
    points = to_points(codes / np.linalg.norm(codes, axis=1, keepdims=True))
    found = nearest(points, points[:1], 30)
    assert list(found.ids[0]) == list(range(30))
    assert (np.diff(found.distances[0]) > 0).all()


def test_what_a_matrix_product_cannot_tell_apart_is_compared_exactly() -> None:
    """Distances of 1e-8, below the rounding of a float32 product: the five nearest are the true ones."""
    first, second = random_codes(2)
    second -= (first @ second) * first
    order = np.random.default_rng(0).permutation(40)
    points = to_points((first + 1e-4 * order[:, np.newaxis] * second).astype(np.float32))
    found = nearest(points, to_points(first[np.newaxis]), 5)
    assert list(order[found.ids[0]]) == [0, 1, 2, 3, 4]


def test_flat_images_are_near_each_other_and_far_from_all_else() -> None:
    """Zeros have no direction: they become one direction of their own."""
    points = to_points(np.concatenate([random_codes(20), np.zeros((4, FEATURES), np.float32)]))
    np.testing.assert_allclose(np.linalg.norm(points.rows, axis=1), 1.0, rtol=1e-6)
    found = nearest_others(points, 5)
    assert set(found.ids[20][:3]) == {21, 22, 23}
    assert found.distances[20][3] == pytest.approx(1.0, abs=1e-5)


def test_to_points_leaves_the_codes_alone() -> None:
    """The caller's array is not written to."""
    codes = np.zeros((2, FEATURES), np.float32)
    to_points(codes)
    assert not codes.any()


def test_no_distance_equals_another_of_its_row_after_they_were_made_to_rise() -> None:
    """Duplicates stand a float apart, what follows them closely is pushed on, and what lies apart stays as it was."""
    step = np.spacing(SMALLEST_DISTANCE)
    equal = np.full(5, SMALLEST_DISTANCE)
    close = np.array([1, 1, 1, 1 + 1e-7, 1.5], np.float32)
    risen = strictly_rising(np.stack([equal, close]))
    assert risen.dtype == np.float32
    assert (risen[0] == SMALLEST_DISTANCE + step * np.arange(5, dtype=np.float32)).all()
    assert (risen[1] == np.array([1, 1 + 2**-23, 1 + 2**-22, 1 + 3 * 2**-23, 1.5], np.float32)).all()
    apart = nearest_others(to_points(random_codes(50)), 20).distances
    assert (strictly_rising(apart[:, ::2]) == apart[:, ::2]).all()


def test_progress_counts_to_the_last_row() -> None:
    """Every block tells how many rows are done."""
    rows_done: list[int] = []
    nearest_others(to_points(random_codes(50)), 3, rows_done.append, block_bytes=4 * 50 * 20)
    assert rows_done == [20, 40, 50]
