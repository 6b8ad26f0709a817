"""A new map is taken into use unless it is worse, beyond chance, on images that neither it nor the old one has seen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.map import quality
from cbir_daemon.map.acceptance import Comparison, compare, held_out
from cbir_daemon.map.points import to_points
from cbir_daemon.medium import Metric

COUNT = 600


@pytest.fixture(scope="module")
def codes() -> NDArray[np.float32]:
    """Unit rows free of their mean, in which a few directions matter."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((COUNT, 4)) @ random.standard_normal((4, 256))
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def shuffled(positions: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Return a map on which a share of the images have changed places."""
    result, random = positions.copy(), np.random.default_rng(2)
    rows = random.permutation(COUNT)[: int(share * COUNT)]
    result[rows] = positions[random.permutation(rows)]
    return result


def test_the_same_map_is_not_worse(codes: NDArray[np.float32]) -> None:
    """Codes as their own map keep every neighbour."""
    comparison = compare(to_points(codes), codes, codes, np.arange(50))
    assert comparison == Comparison(50, 1.0, 1.0, 0.0)
    assert comparison.accepted


@pytest.mark.parametrize(("share", "accepted"), [(0.5, False), (0.05, False), (0.003, True)])
def test_a_worse_map_is_refused(codes: NDArray[np.float32], share: float, *, accepted: bool) -> None:
    """What is worse by chance alone is not; the better one is taken whichever is the new one."""
    worse = compare(to_points(codes), codes, shuffled(codes, share), np.arange(0, COUNT, 2))
    assert worse.accepted is accepted
    assert compare(to_points(codes), shuffled(codes, share), codes, np.arange(0, COUNT, 2)).accepted


def test_nothing_to_compare_is_accepted(codes: NDArray[np.float32]) -> None:
    """No image in common, or too few for ten neighbours."""
    assert compare(to_points(codes[:10]), codes[:10], codes[:10], np.arange(10)).accepted
    assert compare(to_points(codes), codes, codes, np.arange(0)).compared == 0


def test_maps_may_differ_in_dimensions(codes: NDArray[np.float32]) -> None:
    """Another number of dimensions is another map of the same images."""
    assert not compare(to_points(codes), codes, codes[:, :2], np.arange(100)).accepted


@pytest.mark.parametrize(
    ("images", "least", "most"), [(399, 0, 0), (400, 10, 40), (5_000, 200, 300), (100_000, 450, 550)]
)
def test_a_share_is_held_out(images: int, least: int, most: int) -> None:
    """Never more than are needed, and nobody where each image counts."""
    assert least <= held_out(np.arange(1, images + 1)).sum() <= most


def test_who_is_held_out_was_so_before() -> None:
    """In a collection that grows, no map has seen the images by which it is compared."""
    ids = np.arange(1, 20_001)
    before = set(ids[:10_000][held_out(ids[:10_000])].tolist())
    now = ids[held_out(ids)]
    assert set(now[now <= 10_000].tolist()) <= before


def test_codes_of_a_euclidean_space_are_compared_as_they_lie() -> None:
    """A map that shows how bright images are keeps all neighbours of greys, and none by angle."""
    greys = np.random.default_rng(2).permutation(60)[:, np.newaxis].astype(np.float32)
    bright = np.asarray(greys / 64, dtype=np.float32)
    codes = np.concatenate([bright, np.zeros_like(bright)], axis=1)
    rows = np.arange(60)
    assert compare(to_points(codes, Metric.EUCLIDEAN), bright, bright, rows).recall == 1
    assert compare(to_points(codes), bright, bright, rows).recall < 0.5


def test_an_image_is_never_its_own_neighbour() -> None:
    """Whatever equals it."""
    random = np.random.default_rng(3)
    codes = random.standard_normal((40, 16)).astype(np.float32)
    codes -= codes.mean(axis=1, keepdims=True)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    codes[1:20] = codes[0]
    rows = np.arange(40)
    ids = quality.true_neighbors(to_points(codes), rows)
    assert not (ids == rows[:, np.newaxis]).any()
    assert ids.shape == (40, 10)
    assert (ids[:20] < 20).all()
