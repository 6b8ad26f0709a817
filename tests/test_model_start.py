"""Where a cold fit starts: the same on every machine, with any number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.map.exact import scatter
from cbir_daemon.map.start import INIT_RANGE, MOST_FEATURES, first_positions, leading_directions
from tests.processors import processors

pytestmark = pytest.mark.process

FEATURES = 256
IMAGES = 6_000


def codes(images: int = IMAGES, seed: int = 0) -> NDArray[np.float32]:
    """Return unit rows whose variance falls from direction to direction as that of photographs does.

    The last are duplicates and flat images.
    """
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(images, FEATURES)) / np.sqrt(np.arange(1, FEATURES + 1))
    numbers = numbers[:, draw.permutation(FEATURES)]
    numbers -= numbers.mean(axis=1, keepdims=True)
    numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
    numbers[-60:-20] = numbers[-60]
    numbers[-20:] = 0
    return numbers.astype(np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of codes, so that each process has the same."""
    path = tmp_path_factory.mktemp("codes") / "codes.npy"
    np.save(path, codes())
    return path


def digests(saved: Path, machine: dict[str, str]) -> dict[str, str]:
    """Return what a fresh process calculates on such a machine."""
    done = subprocess.run(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-m", "tests.start_digests", str(saved)],
        env={**os.environ, **machine},
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def expected(saved: Path) -> dict[str, str]:
    """Return what one thread of this very processor calculates."""
    return digests(saved, processors()["1 threads"])


@pytest.mark.parametrize("machine", list(processors())[1:])
def test_a_fit_starts_and_is_scored_alike_on_every_machine(machine: str, saved: Path, expected: dict[str, str]) -> None:
    """BLAS sums in another order with two threads and in each of its kernels; no bit of what a fit needs shows it."""
    assert digests(saved, processors()[machine]) == expected


@pytest.mark.parametrize("dimensions", [2, 8, 16, 32])
def test_the_start_holds_what_principal_components_hold(dimensions: int) -> None:
    """Its directions are orthogonal, and miss less than a hundredth of the variance that so many can hold."""
    matrix = scatter(codes())
    directions = leading_directions(matrix, dimensions)
    np.testing.assert_allclose(directions @ directions.T, np.eye(dimensions), atol=1e-9)
    held = np.trace(directions @ matrix @ directions.T)
    assert held > 0.99 * np.linalg.eigvalsh(matrix)[::-1][:dimensions].sum()


def test_the_start_is_the_principal_components() -> None:
    """Where their variances lie apart, the first two have their own axes."""
    draw = np.random.default_rng(1)
    points = (draw.normal(size=(500, 3)) * [4, 2, 1] @ draw.normal(size=(3, 64)) * 0.02).astype(np.float32)
    centred = (points - points.mean(axis=0)).astype(np.float64)
    exact = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    start = first_positions(points, 2, 0)
    for axis in range(2):
        assert abs(np.corrcoef(start[:, axis], exact[:, axis])[0, 1]) > 1 - 1e-6
    assert (start.min(axis=0) == 0).all()
    assert (start.max(axis=0) == np.float32(INIT_RANGE)).all()


def test_wide_codes_start_where_the_sums_of_their_neighbouring_numbers_do() -> None:
    """Bit for bit: of whole numbers, whose sums float32 holds."""
    draw = np.random.default_rng(5)
    wide = draw.integers(0, 256, size=(100, 2 * MOST_FEATURES)).astype(np.float32)
    sums = wide[:, ::2] + wide[:, 1::2]
    assert (first_positions(wide, 16, seed=1) == first_positions(sums, 16, seed=1)).all()


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.zeros((5, 4), np.float32), id="zeros"),
        pytest.param(np.repeat(codes(100)[:1], 30, axis=0), id="duplicates"),
        pytest.param(codes(100)[:5], id="five"),
        pytest.param(codes(100)[:, :8], id="fewer features than dimensions"),
    ],
)
def test_noise_parts_what_principal_components_cannot(points: NDArray[np.float32]) -> None:
    """Every image has a place of its own, in as many dimensions as were asked for."""
    start = first_positions(points, 16, seed=1)
    assert start.shape == (len(points), 16)
    assert np.isfinite(start).all()
    assert len(np.unique(start, axis=0)) == len(points)
