"""The collection that is searched: what is added is found, what is removed is not, and snapshots stand still."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.matching import COPY_FLOOR, GREY64
from cbir_daemon.search import Collection, CollectionSnapshot
from cbir_daemon.search.code_table import EXTENT_ROWS, record_of
from cbir_daemon.search.collection import SLACK_ROWS

FEWEST_ROWS = 512
"""Rows of the smallest extent that begins and ends where pages do."""

Vectors = NDArray[np.uint8]


def vectors_of(count: int, seed: int = 0) -> Vectors:
    """Return unrelated vectors with broad light and dark."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2).reshape(count, 4096)


def best_of(snapshot: CollectionSnapshot, vector: NDArray[np.uint8]) -> int:
    """Return the id that comes first."""
    return snapshot.candidates(vector, 1)[0][0]


@pytest.fixture(params=["file", "memory"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Collection]:
    """An empty collection, in a file and in memory alone."""
    path = tmp_path / "codes.rows" if request.param == "file" else None
    made = Collection(GREY64, path, extent_rows=FEWEST_ROWS)
    made.open()
    yield made
    made.close()


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_all_that_is_added_is_found(collection: Collection, batch: int) -> None:
    """Each content finds itself, in batches of any size."""
    vectors = vectors_of(100)
    for start in range(0, 100, batch):
        collection.add(range(start, min(100, start + batch)), vectors[start : start + batch])
    snapshot = collection.snapshot()
    assert len(collection) == len(snapshot) == 100
    assert [best_of(snapshot, vector) for vector in vectors] == list(range(100))


def test_extents_are_crossed(collection: Collection) -> None:
    """A batch may end in another extent than it began in."""
    vectors = vectors_of(40)
    collection.add(range(1000, 1000 + FEWEST_ROWS - 5), np.zeros((FEWEST_ROWS - 5, 4096), dtype=np.uint8))
    collection.add(range(10), vectors[:10])
    collection.add(range(10, 40), vectors[10:])
    snapshot = collection.snapshot()
    assert len(snapshot.rows.blocks()) == 2
    for row in (0, 4, 5, 9, 10, 39):
        assert best_of(snapshot, vectors[row]) == row


def test_removed_is_not_found_and_unknown_is_ignored(collection: Collection) -> None:
    """Ids that were taken out never come back; unknown ones do no harm."""
    vectors = vectors_of(10)
    collection.add(range(10), vectors)
    collection.remove([3, 99])
    snapshot = collection.snapshot()
    assert 3 not in snapshot.ids
    assert 3 not in dict(snapshot.candidates(vectors[3], 10))
    assert len(snapshot.candidates(vectors[3], 10)) == 9


def test_snapshot_stands_still(collection: Collection) -> None:
    """A snapshot answers as when it was taken, whatever is added, replaced, removed or compacted later."""
    vectors = vectors_of(20)
    collection.add(range(10), vectors[:10])
    snapshot = collection.snapshot()
    before = snapshot.scores(vectors[0])
    collection.add(range(10, 20), vectors[10:])
    collection.add([0], vectors[15:16])
    collection.remove(range(1, 9))
    collection.compact()
    collection.add(range(30, 50), vectors)
    assert len(snapshot) == 10
    assert snapshot.ids.tolist() == list(range(10))
    np.testing.assert_array_equal(snapshot.scores(vectors[0]), before)
    assert best_of(snapshot, vectors[0]) == 0
    collection.clear()
    np.testing.assert_array_equal(snapshot.scores(vectors[0]), before)
    assert len(collection) == 0


def test_added_again_is_replaced(collection: Collection) -> None:
    """An id that is added twice has its last vector and counts once."""
    vectors = vectors_of(3)
    collection.add([1, 2], vectors[:2])
    collection.add([1], vectors[2:])
    snapshot = collection.snapshot()
    assert len(snapshot) == 2
    assert best_of(snapshot, vectors[2]) == 1


def test_space_of_the_removed_is_taken_back(collection: Collection) -> None:
    """Adding and removing for ever needs no more than twice the rows alive, and some slack."""
    vectors = vectors_of(200)
    collection.add(range(10), vectors[:10])
    for round_number in range(40):
        ids = range(1000 + round_number * 190, 1190 + round_number * 190)
        collection.add(ids, vectors[10:])
        collection.remove(ids)
    snapshot = collection.snapshot()
    assert len(snapshot.rows.ids) <= 2 * 10 + 190 + SLACK_ROWS
    assert [best_of(snapshot, vector) for vector in vectors[:10]] == list(range(10))


def test_a_row_takes_at_most_a_kibibyte() -> None:
    """An image costs no more than 1 KiB, in the file and in memory."""
    assert record_of(GREY64).itemsize <= 1024
    # So that extents begin where pages do, on every processor.
    assert EXTENT_ROWS * record_of(GREY64).itemsize % 65_536 == 0


def test_nothing_is_found_in_nothing(collection: Collection) -> None:
    """An empty collection has no candidates, and neither has a limit of none."""
    empty = collection.snapshot()
    assert empty.candidates(vectors_of(1)[0], 5) == []
    assert len(empty) == len(empty.ids) == len(empty.scores(vectors_of(1)[0])) == 0
    collection.add([1], vectors_of(1))
    assert collection.snapshot().candidates(vectors_of(1)[0], 0) == []
    collection.add([], vectors_of(0))
    assert len(collection) == 1


def test_candidates_come_in_order(collection: Collection) -> None:
    """Best first; equal scores in order of id; none below the floor."""
    vectors = vectors_of(6)
    collection.add([9, 4, 7, 1, 2, 3], vectors[[0, 0, 0, 1, 2, 3]])
    found = collection.snapshot().candidates(vectors[0], 6)
    assert [content_id for content_id, _ in found[:3]] == [4, 7, 9]
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    copies = collection.snapshot().copy_candidates(vectors[0], 6)
    assert copies == [pair for pair in found if pair[1] >= COPY_FLOOR]


def test_joint_candidates_of_many(collection: Collection) -> None:
    """Each content finds itself and its like; nothing alike, nothing there and nothing asked are no candidates."""
    vectors = vectors_of(30)
    vectors[29] = 200
    collection.add(range(30), vectors)
    collection.add([40], 255 - vectors[3:4])
    collection.remove([5])
    found = [ids.tolist() for ids, _ in collection.snapshot().joint_candidates(vectors, 4)]
    assert found[3][:2] == [3, 40]
    assert [ids[0] for number, ids in enumerate(found) if number not in (5, 29)] == [*range(5), *range(6, 29)]
    assert all(5 not in ids for ids in found)
    assert found[29] == []
    collection.clear()
    assert [len(ids) for ids, _ in collection.snapshot().joint_candidates(vectors[:2], 4)] == [0, 0]
    assert collection.snapshot().joint_candidates(vectors[:0], 4) == []


def test_flat_vectors_attract_nothing(collection: Collection) -> None:
    """A flat content is no candidate for anything, nor anything for a flat query."""
    vectors = vectors_of(4)
    vectors[1] = 200
    collection.add(range(4), vectors)
    snapshot = collection.snapshot()
    assert snapshot.scores(vectors[0])[1] < 0.1
    assert snapshot.scores(vectors[1]).max() < 0.1
    assert snapshot.copy_candidates(vectors[1], 4) == []


def test_searches_while_the_writer_changes(collection: Collection) -> None:
    """Every search answers as its snapshot does when nobody writes, over many compactions."""
    vectors = vectors_of(60)
    collection.add(range(20), vectors[:20])
    taken = [collection.snapshot()]
    stop = threading.Event()

    def change() -> None:
        number = 100
        while not stop.is_set():
            collection.add(range(number, number + 40), vectors[20:])
            taken.append(collection.snapshot())
            collection.remove(range(number, number + 40))
            if number % 400 == 100:
                collection.compact()
            number += 40

    def search(number: int) -> bool:
        snapshot = taken[-1]
        found = snapshot.candidates(vectors[number], 60)
        return found[0][0] == number and found[0][1] > 0.98 and len(found) == len(snapshot)

    with ThreadPoolExecutor(3) as pool:
        changing = pool.submit(change)
        found = list(pool.map(search, list(range(20)) * 3))
        stop.set()
        changing.result(30)
    assert all(found)
    assert len(taken) > 1
