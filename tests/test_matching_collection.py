"""The collection that is searched: what is added is found, what is removed is not, and snapshots stand still."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.matching import COPY_FLOOR, Collection, Snapshot
from cbir_daemon.matching.coarse import BLOCK_ROWS

Vectors = NDArray[np.uint8]


def vectors_of(count: int, seed: int = 0) -> Vectors:
    """Return unrelated vectors with broad light and dark."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2).reshape(count, -1)


def best_of(snapshot: Snapshot, vector: NDArray[np.uint8]) -> int:
    """Return the id that comes first."""
    return snapshot.candidates(vector, 1)[0][0]


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_all_that_is_added_is_found(batch: int) -> None:
    """Each content finds itself, in batches of any size."""
    vectors, collection = vectors_of(100), Collection()
    for start in range(0, 100, batch):
        collection.add(range(start, min(100, start + batch)), vectors[start : start + batch])
    snapshot = collection.snapshot()
    assert len(collection) == len(snapshot) == 100
    assert [best_of(snapshot, vector) for vector in vectors] == list(range(100))


def test_blocks_are_crossed() -> None:
    """A batch may end in another block than it began in."""
    count = BLOCK_ROWS + 10
    vectors, collection = vectors_of(count), Collection()
    collection.add(range(5), vectors[:5])
    collection.add(range(5, count), vectors[5:])
    snapshot = collection.snapshot()
    for row in (0, 4, 5, BLOCK_ROWS - 1, BLOCK_ROWS, count - 1):
        assert best_of(snapshot, vectors[row]) == row


def test_removed_is_not_found_and_unknown_is_ignored() -> None:
    """Ids that were taken out never come back; unknown ones do no harm."""
    vectors, collection = vectors_of(10), Collection()
    collection.add(range(10), vectors)
    collection.remove([3, 99])
    snapshot = collection.snapshot()
    assert 3 not in snapshot.ids
    assert 3 not in dict(snapshot.candidates(vectors[3], 10))
    assert len(snapshot.candidates(vectors[3], 10)) == 9


def test_snapshot_stands_still() -> None:
    """A snapshot answers as when it was taken, whatever is added, replaced or removed later."""
    vectors, collection = vectors_of(20), Collection()
    collection.add(range(10), vectors[:10])
    snapshot = collection.snapshot()
    before = snapshot.scores(vectors[0])
    collection.add(range(10, 20), vectors[10:])
    collection.add([0], vectors[15:16])
    collection.remove(range(1, 9))
    assert len(snapshot) == 10
    np.testing.assert_array_equal(snapshot.scores(vectors[0]), before)
    assert best_of(snapshot, vectors[0]) == 0


def test_added_again_is_replaced() -> None:
    """An id that is added twice has its last vector and counts once."""
    vectors, collection = vectors_of(3), Collection()
    collection.add([1, 2], vectors[:2])
    collection.add([1], vectors[2:])
    snapshot = collection.snapshot()
    assert len(snapshot) == 2
    assert best_of(snapshot, vectors[2]) == 1


def test_space_of_the_removed_is_taken_back() -> None:
    """Adding and removing for ever needs no more than twice the rows alive, and a block."""
    vectors, collection = vectors_of(200), Collection()
    collection.add(range(10), vectors[:10])
    for round_number in range(40):
        ids = range(1000 + round_number * 190, 1190 + round_number * 190)
        collection.add(ids, vectors[10:])
        collection.remove(ids)
    snapshot = collection.snapshot()
    assert sum(len(block) for block in snapshot._blocks) <= 2 * 10 + 190 + BLOCK_ROWS
    assert [best_of(snapshot, vector) for vector in vectors[:10]] == list(range(10))


def test_codes_take_at_most_a_kibibyte() -> None:
    """An image costs no more than 1 KiB of codes."""
    collection = Collection()
    collection.add([1], vectors_of(1))
    assert collection.snapshot()._blocks[0].nbytes <= 1024


def test_nothing_is_found_in_nothing() -> None:
    """An empty collection has no candidates, and neither has a limit of none."""
    empty = Collection().snapshot()
    assert empty.candidates(vectors_of(1)[0], 5) == []
    assert len(empty) == len(empty.ids) == len(empty.scores(vectors_of(1)[0])) == 0
    collection = Collection()
    collection.add([1], vectors_of(1))
    assert collection.snapshot().candidates(vectors_of(1)[0], 0) == []


def test_candidates_come_in_order() -> None:
    """Best first; equal scores in order of id; none below the floor."""
    vectors, collection = vectors_of(6), Collection()
    collection.add([9, 4, 7, 1, 2, 3], vectors[[0, 0, 0, 1, 2, 3]])
    found = collection.snapshot().candidates(vectors[0], 6)
    assert [content_id for content_id, _ in found[:3]] == [4, 7, 9]
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    copies = collection.snapshot().copy_candidates(vectors[0], 6)
    assert copies == [pair for pair in found if pair[1] >= COPY_FLOOR]


def test_flat_vectors_attract_nothing() -> None:
    """A flat content is no candidate for anything, nor anything for a flat query."""
    vectors, collection = vectors_of(4), Collection()
    vectors[1] = 200
    collection.add(range(4), vectors)
    snapshot = collection.snapshot()
    assert snapshot.scores(vectors[0])[1] < 0.1
    assert snapshot.scores(vectors[1]).max() < 0.1
    assert snapshot.copy_candidates(vectors[1], 4) == []
