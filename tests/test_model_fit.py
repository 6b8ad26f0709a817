"""Who is fitted, and where a warm fit starts: without umap."""

from __future__ import annotations

import numpy as np
import pytest

from cbir_daemon.map.fit import Previous
from cbir_daemon.map.neighbors import Neighbors
from cbir_daemon.map.sample import draw_rows
from cbir_daemon.map.warm import WarmStart, carried_over


def test_a_sample_keeps_its_images_when_the_collection_grows() -> None:
    """Each image has its lot: what is known of the neighbours of the sample stays known."""
    ids = np.arange(0, 3_000, 3)
    before, after = (set(ids[draw_rows(ids[:count], 200, seed=4)].tolist()) for count in (900, 1_000))
    assert len(before) == len(after) == 200
    assert len(before & after) > 150
    assert len(before & set(ids[draw_rows(ids[:900], 200, seed=5)].tolist())) < 100
    # Uniform: each tenth of the ids has its share.
    shares = np.histogram(draw_rows(np.arange(100_000), 10_000, seed=1), 10)[0]
    assert shares.min() > 900
    assert shares.max() < 1_100


def test_new_images_start_between_their_neighbours() -> None:
    """Those that know nobody of before wait for those that do, and a part without any starts in the middle."""
    ids = np.array([[1, 2], [0, 2], [0, 1], [0, 1], [3, 3], [6, 6], [5, 5]], np.int32)
    neighbors = Neighbors(ids, np.full(ids.shape, 0.5, np.float32))
    positions = np.array([[0, 0], [4, 0], [8, 6]], np.float32)
    start = carried_over(np.arange(3), positions, neighbors, seed=0)
    assert (start[:3] == positions).all()
    assert start[3] == pytest.approx([2, 0], abs=0.01)
    assert start[4] == pytest.approx(start[3], abs=0.01)
    assert start[5] == pytest.approx([4, 2], abs=0.01)
    assert (start[5] != start[6]).any()


def test_a_warm_start_is_what_both_maps_have() -> None:
    """Images that went are left out, new ones are not there yet; without an image in common there is no warm start."""
    positions, flat = np.arange(12, dtype=np.float32).reshape(4, 3), np.zeros((4, 2), np.float32)
    previous = Previous(np.array([2, 5, 7, 9]), positions, flat, n_neighbors=30, n_components=3)
    start = WarmStart.of(previous, np.array([1, 5, 8, 9, 10]))
    assert start is not None
    assert list(start.rows) == [1, 3]
    assert (start.positions == positions[[1, 3]]).all()
    assert (start.n_neighbors, start.n_components) == (4, 3)
    assert WarmStart.of(previous, np.array([1, 3])) is None
