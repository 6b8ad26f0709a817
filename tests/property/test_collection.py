"""Whatever is added, replaced, removed, killed or damaged, the collection is that of a plain dictionary."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cbir_daemon.matching import GREY64, packed_codes
from cbir_daemon.search import Collection, CollectionSnapshot
from cbir_daemon.search.code_table import HEADER_BYTES, record_of
from tests.test_collection import vectors_of

# Every example makes a file, and the disk need not wait for each of them.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it

RECORD = record_of(GREY64)

NUMBERS = 12
VECTORS = vectors_of(NUMBERS)
CODES = packed_codes(VECTORS)

batches = st.dictionaries(st.integers(0, 30), st.integers(0, NUMBERS - 1), max_size=8)


def held(snapshot: CollectionSnapshot) -> dict[int, int]:
    """Return which vector each content has, told from its codes."""
    rows = np.flatnonzero(snapshot.rows.alive)
    codes = snapshot.rows.take(rows)
    numbers = [int(np.flatnonzero((row_codes == CODES).all(axis=(1, 2)))[0]) for row_codes in codes]
    ids = snapshot.rows.ids[rows].tolist()
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, numbers, strict=True))


class CollectionAgainstDictionary(RuleBasedStateMachine):
    """Batches in and out, compactions, kills, restarts, damaged rows, and snapshots that are kept all along."""

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cbir-codes-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.path = self.folder / "codes.rows"
        self.model: dict[int, int] = {}
        self.kept: list[tuple[CollectionSnapshot, dict[int, int]]] = []
        self.open()

    def open(self) -> None:
        self.collection = Collection(GREY64, self.path)
        self.collection.open()

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
            shutil.rmtree(self.folder)

    @rule(batch=batches)
    def add(self, batch: dict[int, int]) -> None:
        self.collection.add(list(batch), VECTORS[list(batch.values())])
        self.model |= batch

    @rule(ids=st.sets(st.integers(0, 30), max_size=6))
    def remove(self, ids: set[int]) -> None:
        self.collection.remove(ids)
        self.model = {content_id: number for content_id, number in self.model.items() if content_id not in ids}

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule()
    def clear(self) -> None:
        self.collection.clear()
        self.model = {}

    @rule()
    def keep(self) -> None:
        self.kept.append((self.collection.snapshot(), dict(self.model)))

    @rule(closed=st.booleans())
    def restart(self, closed: bool) -> None:
        if closed:
            self.collection.close()
        self.open()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def restart_with_a_damaged_row(self, data: st.DataObject) -> None:
        content_id = data.draw(st.sampled_from(sorted(self.model)))
        rows = self.collection.snapshot().rows
        (row,) = np.flatnonzero(rows.alive & (rows.ids == content_id)).tolist()
        # The last rows may be torn as well as turned.
        at = HEADER_BYTES + row * RECORD.itemsize + data.draw(st.integers(16, RECORD.itemsize - 1))
        self.collection.close()
        with self.path.open("r+b") as stream:
            stream.seek(at)
            before = stream.read(1)[0]
            stream.seek(at)
            stream.write(bytes([before ^ 1 << data.draw(st.integers(0, 7))]))
        # The other snapshots of this file are mapped to what was just damaged.
        self.kept.clear()
        del self.model[content_id]
        self.open()

    @invariant()
    def equals(self) -> None:
        if not hasattr(self, "collection"):
            return
        assert held(self.collection.snapshot()) == self.model
        assert len(self.collection) == len(self.model)
        assert sorted(self.collection.ids.tolist()) == sorted(self.model)
        for snapshot, model in self.kept:
            assert held(snapshot) == model
            assert len(snapshot) == len(model)


TestCollectionAgainstDictionary = CollectionAgainstDictionary.TestCase
TestCollectionAgainstDictionary.settings = settings(deadline=None, stateful_step_count=30)
