"""The graph of neighbours: brought up to date it is the one made anew, whatever happened to the collection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cbir_daemon.map import graph
from cbir_daemon.map.graph import Graph, GraphSizes, built, checksums, updated, width_of
from cbir_daemon.map.neighbors import Neighbors, nearest_to_rows
from cbir_daemon.map.points import Points, to_points
from cbir_daemon.medium import Metric
from tests.neighbors import nearest_others

FEATURES = 16
POOL = 60
RECALL = 0.95


def pool() -> NDArray[np.float32]:
    """Return codes to draw from: two parts without connection, exact and near duplicates, flat images."""
    draw = np.random.default_rng(3)
    numbers = draw.normal(size=(POOL, FEATURES))
    numbers[: POOL // 2, FEATURES // 2 :] = 0
    numbers[POOL // 2 :, : FEATURES // 2] = 0
    numbers[10:20] = numbers[9]
    numbers[20:24] = numbers[19] + 1e-5 * draw.normal(size=(4, FEATURES))
    numbers -= numbers.mean(axis=1, keepdims=True)
    unit = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    unit[30:36] = 0
    return np.asarray(unit, dtype=np.float32)


POINTS = to_points(pool())

RAW = to_points(
    np.random.default_rng(4).uniform(0, 1, size=(POOL, 1)).astype(np.float32) * np.abs(pool()), Metric.EUCLIDEAN
)
"""The same directions with any norm up to 1; black images among them."""
RAW.rows[12:16] = RAW.rows[11]

collections = st.dictionaries(st.integers(0, 80), st.integers(0, POOL - 1), min_size=2, max_size=50)


def of(collection: dict[int, int], points: Points = POINTS) -> tuple[NDArray[np.int64], Points]:
    """Return ids and points of a collection, which says of each id which code of the pool it has."""
    ids = np.array(sorted(collection), np.int64)
    return ids, points[np.array([collection[int(name)] for name in ids])]


def same(first: Graph, second: Graph) -> bool:
    """Return whether two graphs know the same neighbours, bit for bit, as far as they promise to."""
    ours, theirs = (made.neighbors(Metric.COSINE, NARROW) for made in (first, second))
    pairs = (
        (first.ids, second.ids),
        (first.sums, second.sums),
        (ours.ids, theirs.ids),
        (ours.distances, theirs.distances),
    )
    return all(np.array_equal(mine, yours) for mine, yours in pairs)


NARROW = GraphSizes(width=5, spare=2, block_images=7)
"""Lists so short that collections of a few dozen outgrow them."""


@settings(max_examples=300)
@given(steps=st.lists(collections, min_size=2, max_size=4))
def test_a_graph_brought_up_to_date_is_the_one_made_anew(steps: list[dict[int, int]]) -> None:
    """After any images came, went and changed, with duplicates, flat images and parts without connection."""
    current: Graph | None = None
    for step in steps:
        ids, points = of(step)
        current = updated(current, ids, points, sizes=NARROW)
        assert same(current, built(ids, points, sizes=NARROW))


@settings(max_examples=300)
@given(steps=st.lists(collections, min_size=2, max_size=4))
def test_a_graph_of_a_euclidean_space_is_brought_up_to_date_too(steps: list[dict[int, int]]) -> None:
    """Codes have any norm then, and black images are one place; at the end the graph is what a plain search finds."""
    current: Graph | None = None
    for step in steps:
        ids, points = of(step, RAW)
        current = updated(current, ids, points, sizes=NARROW)
        assert same(current, built(ids, points, sizes=NARROW))
    ids, points = of(steps[-1], RAW)
    near = built(ids, points, sizes=NARROW).neighbors(Metric.EUCLIDEAN, NARROW)
    for row, point in enumerate(points.rows):
        squares = np.square(points.rows.astype(np.float64) - point).sum(axis=1)
        squares[row] = np.inf
        nearest_squares = np.sort(squares)[: near.ids.shape[1]]
        np.testing.assert_allclose(np.maximum(np.sqrt(nearest_squares), 1e-7), near.distances[row], rtol=1e-5)


@given(
    first=collections,
    gone=st.sets(st.integers(0, 80), max_size=4),
    came=st.dictionaries(st.integers(0, 90), st.integers(0, POOL - 1), max_size=4),
)
def test_small_changes_make_the_same_graph_too(first: dict[int, int], gone: set[int], came: dict[int, int]) -> None:
    """Where most lists go on and few are made anew."""
    after = {name: code for name, code in first.items() if name not in gone} | came
    if len(after) < 2:
        return
    before, made = built(*of(first), sizes=NARROW), built(*of(after), sizes=NARROW)
    assert same(updated(before, *of(after), sizes=NARROW), made)


def test_the_graph_is_what_a_plain_search_finds() -> None:
    """Nobody is missing and nobody is their own neighbour."""
    ids = np.arange(POOL)
    made = built(ids, POINTS, sizes=NARROW)
    found = nearest_others(POINTS, width_of(POOL, NARROW))
    assert (made.neighbors(Metric.COSINE, NARROW).ids == found.ids).all()
    assert (made.neighbors(Metric.COSINE, NARROW).distances == found.distances).all()
    assert made.exact


def test_few_changes_ask_for_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph is brought up to date, not made anew: two new images are two searches, and one that went is none."""
    asked: list[int] = []

    def counted(points: Points, rows: NDArray[np.intp], k: int, progress: Callable[[int], None]) -> Neighbors:
        asked.append(len(rows))
        return nearest_to_rows(points, rows, k, progress)

    monkeypatch.setattr(graph, "nearest_to_rows", counted)
    ids = np.arange(POOL)
    old = built(ids[:-2], POINTS[:-2], sizes=NARROW)
    asked.clear()
    updated(old, ids[1:], POINTS[1:], sizes=NARROW)
    assert sum(asked) == 2


def test_an_id_used_again_is_noticed() -> None:
    """The id of an image that went now means another image: its lists are its own."""
    ids = np.arange(20)
    changed = POINTS[np.array([*range(5), 40, *range(6, 20)])]
    before = built(ids, POINTS[:20], sizes=NARROW)
    assert same(updated(before, ids, changed, sizes=NARROW), built(ids, changed, sizes=NARROW))


def test_one_changed_bit_is_another_checksum() -> None:
    """Wherever it is."""
    row = np.repeat(POINTS.rows[:1], FEATURES * 32, axis=0).view(np.uint32)
    row[np.arange(len(row)), np.arange(len(row)) // 32] ^= np.uint32(1) << (np.arange(len(row)) % 32).astype(np.uint32)
    sums = checksums(to_points(row.view(np.float32)))
    assert len(np.unique(sums)) == len(sums)
    assert checksums(POINTS[:1])[0] not in sums


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """With all it knows; and nothing unfinished stays beside it."""
    made = built(np.arange(POOL), POINTS, sizes=NARROW)
    made.save(tmp_path / "graph")
    loaded = Graph.load(tmp_path / "graph")
    assert loaded is not None
    assert same(loaded, made)
    assert loaded.exact
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def test_a_damaged_file_is_no_graph(tmp_path: Path) -> None:
    """Any changed bit, any missing end, nothing at all: the graph is made anew."""
    path = tmp_path / "graph"
    assert Graph.load(path) is None
    built(np.arange(POOL), POINTS).save(path)
    data = path.read_bytes()
    for place in (0, len(data) // 3, len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert Graph.load(path) is None
    for length in (0, 5, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        assert Graph.load(path) is None


def many(images: int, features: int = 32) -> Points:
    """Return points in clusters, with some exact duplicates."""
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(images // 20, features))[draw.integers(images // 20, size=images)]
    numbers += 0.3 * draw.normal(size=numbers.shape)
    numbers[100:120] = numbers[99]
    numbers -= numbers.mean(axis=1, keepdims=True)
    return to_points(np.asarray(numbers / np.linalg.norm(numbers, axis=1, keepdims=True), dtype=np.float32))


def recall(made: Graph, points: Points) -> float:
    """Return the share of the true nearest that a graph knows."""
    near = made.neighbors(Metric.COSINE, NARROW).ids
    true = nearest_others(points, near.shape[1]).ids
    found = [len(np.intersect1d(ours, theirs)) for ours, theirs in zip(near, true, strict=True)]
    return sum(found) / near.size


def test_inverted_lists_find_nearly_all() -> None:
    """Above the size of exact graphs, made anew and brought up to date, `RECALL` of the true neighbours are known."""
    pytest.importorskip("faiss")
    sizes = replace(NARROW, exact_images=1000)
    points, ids = many(5000), np.arange(5000)
    made = built(ids, points, sizes=sizes)
    assert not made.exact
    assert (made.neighbors(Metric.COSINE, sizes).ids != ids[:, np.newaxis]).all()
    assert recall(made, points) >= RECALL
    kept = np.delete(ids, np.arange(0, 4800, 97))
    before = built(kept[:-200], points[kept[:-200]], sizes=sizes)
    after = updated(before, kept, points[kept], sizes=sizes)
    assert recall(after, points[kept]) >= RECALL


def test_inverted_lists_of_a_euclidean_space_find_nearly_all() -> None:
    """There, too: bright images are not proposed to all others for their large products."""
    pytest.importorskip("faiss")
    sizes = replace(NARROW, exact_images=1000)
    norms = np.random.default_rng(1).uniform(0.2, 1, size=(5000, 1)).astype(np.float32)
    points = to_points(many(5000).rows * norms, Metric.EUCLIDEAN)
    made = built(np.arange(5000), points, sizes=sizes)
    assert not made.exact
    assert recall(made, points) >= RECALL


def test_nobody_is_left_with_too_few() -> None:
    """An image far from all others, whose lists hold few, is compared with everybody."""
    pytest.importorskip("faiss")
    sizes = replace(NARROW, exact_images=100, probes=1)
    points = to_points(np.concatenate([many(2000).rows, -np.ones((1, 32), np.float32) / np.float32(np.sqrt(32))]))
    near = built(np.arange(2001), points, sizes=sizes).neighbors(Metric.COSINE, sizes)
    assert (near.ids >= 0).all()
    assert np.isfinite(near.distances).all()


def test_without_the_extra_every_graph_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """At any size."""
    monkeypatch.setattr(graph, "InvertedLists", None)
    sizes = replace(NARROW, exact_images=10)
    made = built(np.arange(POOL), POINTS, sizes=sizes)
    assert made.exact
    assert (made.neighbors(Metric.COSINE, sizes).ids == nearest_others(POINTS, width_of(POOL, sizes)).ids).all()


def test_a_graph_that_was_not_exact_is_not_taken_for_one() -> None:
    """A collection that shrank below the size of exact graphs gets one anew."""
    pytest.importorskip("faiss")
    points, ids = many(3000), np.arange(3000)
    old = built(ids, points, sizes=replace(NARROW, exact_images=1000, probes=1))
    assert not old.exact
    made = built(ids[:-5], points[:-5], sizes=NARROW)
    assert same(updated(old, ids[:-5], points[:-5], sizes=NARROW), made)


def test_lists_of_a_huge_collection_are_shorter() -> None:
    """So that they take no more than `MOST_BYTES`."""
    assert width_of(2) == 1
    wide = 4_000_000
    assert (width_of(wide) + graph.SPARE) * graph.NEIGHBOR_BYTES * wide <= graph.MOST_BYTES
