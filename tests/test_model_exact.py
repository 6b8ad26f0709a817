"""Products of matrices without rounding."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.map.exact import BLOCK_ROWS, integers, product, scale, scatter


def numbers(rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """Return numbers from -1 to 1."""
    return np.random.default_rng(seed).uniform(-1, 1, (rows, columns)).astype(np.float32)


def exactly(left: NDArray[np.float64], right: NDArray[np.float64]) -> list[list[int]]:
    """Return the product of two matrices of integers, calculated without floats."""
    columns = [[int(number) for number in column] for column in right.T]
    rows = [[int(number) for number in row] for row in left]
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in rows]


@pytest.mark.parametrize("terms", [1, 2, 3, 16, 255, 256, 257, 4096])
@pytest.mark.parametrize("size", [1e-30, 0.3, 1.0, 1000.0])
def test_no_sum_of_products_is_rounded(terms: int, size: float) -> None:
    """Not even when all terms are the largest there are."""
    left, right = numbers(3, terms) * np.float32(size), np.full((terms, 2), np.float32(size))
    left[0] = size
    by_left, by_right = scale(left, terms), scale(right, terms)
    whole_left, whole_right = integers(left, by_left), integers(right, by_right)
    expected = exactly(whole_left, whole_right)
    assert max(map(max, expected)) <= 2**53
    assert (whole_left @ whole_right).astype(np.int64).tolist() == expected
    assert (product(left, right) * by_left * by_right).astype(np.int64).tolist() == expected


def test_products_are_near_those_of_the_numbers_themselves() -> None:
    """The factors lose as much as float32 does; blocks of rows make no difference."""
    left, right = numbers(BLOCK_ROWS + 100, 256), numbers(256, 4, seed=1)
    expected = left.astype(np.float64) @ right.astype(np.float64)
    np.testing.assert_allclose(product(left, right), expected, atol=1e-5)


def test_zeros_have_a_product() -> None:
    """A scale would divide by the largest number otherwise."""
    assert not product(np.zeros((3, 4), np.float32), numbers(4, 2)).any()


def test_the_scatter_is_a_multiple_of_the_covariance() -> None:
    """Over several blocks too, and with means far from 0."""
    rows = numbers(2 * BLOCK_ROWS + 7, 5) + np.arange(5, dtype=np.float32)
    found = scatter(rows)
    expected = np.cov(rows.T.astype(np.float64))
    np.testing.assert_allclose(found / found[0, 0], expected / expected[0, 0], atol=1e-4)
    assert (found == found.T).all()
