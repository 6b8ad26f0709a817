"""Products of matrices that are equal bit for bit on every processor, with any number of threads.

In: matrices of floats.  Out: their products in float64.  Never here: what they are good for.

A sum of floats depends on the order of its terms, and BLAS takes another order on another processor, with another
number of threads and for another size.  A sum of integers does not, as long as it stays within 2**53, up to where
float64 holds every integer.  So the factors are rounded to integers that are small enough for that: 22 bits each for
256 terms, about what float32 holds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MANTISSA_BITS = 53
"""Up to 2 to this power float64 holds every integer."""

BLOCK_ROWS = 4096
"""Rows that are integers at a time: these take eight bytes each, and codes four."""

Floats = NDArray[np.float32] | NDArray[np.float64]


def scale(numbers: Floats, terms: int) -> float:
    """Return the power of two that turns numbers into the largest integers whose products can be added exactly.

    Parameters
    ----------
    numbers : ndarray of float32 or float64
        At least one.
    terms : int
        How many products are added, at most.
    """
    bits = (MANTISSA_BITS - (terms - 1).bit_length()) // 2
    largest = max(float(numbers.max()), -float(numbers.min()))
    return math.ldexp(1.0, bits - math.frexp(largest)[1])


def integers(numbers: Floats, by: float) -> NDArray[np.float64]:
    """Return numbers times a factor, rounded to integers.

    Parameters
    ----------
    numbers : (...) ndarray of float32 or float64
        Of any shape.
    by : float
        The factor, from `scale`.

    Returns
    -------
    (...) ndarray of float64
        Of the same shape; each a whole number.
    """
    multiples = np.multiply(numbers, by, dtype=np.float64)
    return np.rint(multiples, out=multiples)


def product(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Return the matrix product of two matrices, each rounded to integers.

    Parameters
    ----------
    first : (n, t) ndarray of float32 or float64
    second : (t, m) ndarray of float32 or float64

    Returns
    -------
    (n, m) ndarray of float64

    Notes
    -----
    Each factor is off by half of 2**-22 of its largest number for 256 terms, of 2**-24 for 16.
    """
    terms = first.shape[1]
    by_first, by_second = scale(first, terms), scale(second, terms)
    factors = integers(second, by_second)
    products = np.empty((len(first), second.shape[1]))
    for start in range(0, len(first), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        np.matmul(integers(first[rows], by_first), factors, out=products[rows])
    products /= by_first * by_second
    return products


def scatter(rows: Floats) -> NDArray[np.float64]:
    """Return the products of all pairs of columns, summed over the rows, their means taken off; up to a factor.

    Parameters
    ----------
    rows : (n, f) ndarray of float32 or float64

    Returns
    -------
    (f, f) ndarray of float64
        A multiple of the covariance of the columns.

    Notes
    -----
    The sums of one block are exact; those of several are added in order.
    """
    features = rows.shape[1]
    by = scale(rows, BLOCK_ROWS)
    products, sums = np.zeros((features, features)), np.zeros(features)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = integers(rows[start : start + BLOCK_ROWS], by)
        products += block.T @ block
        sums += block.sum(axis=0)
    return np.asarray(products - np.multiply.outer(sums, sums) / len(rows))
