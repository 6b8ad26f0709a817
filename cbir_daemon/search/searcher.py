"""The state that searches run over: the codes of all contents and the map in use, changed by one writer at a time.

In: contents that come and go, positions.  Out: snapshots, each replaced whole by the next one.  Never here: how a
snapshot is searched (`search`), files of albums, threads of its own.

The codes and the positions are held in memory.  A search runs over one frozen `SearchSnapshot`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Judgement
from cbir_daemon.medium import Appearance, Medium, SecondLook
from cbir_daemon.search import Collection
from cbir_daemon.search.descriptors import DescriptorTable
from cbir_daemon.search.processes import Processes
from cbir_daemon.search.search import Found, Search, as_vectors
from cbir_daemon.search.searches import PlacedLook, Searches
from cbir_daemon.search.snapshot import SearchSnapshot, extended, without
from cbir_daemon.search.turns import Urgency
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat
from cbir_daemon.system.priority import be_nice

logger = logging.getLogger(__name__)

PROBED_CONTENTS = 32
"""Cached codes that are made again at each start and compared: 2 ms."""

LOAD_CHUNK = 5_000
"""Vectors read at once while codes are made: 20 MB."""

LOOKED_AT_ONCE = 250
"""Vectors read at once while all are looked at: 1 MB, which no other thread misses."""

TEND_S = 600.0
"""No single step of `Collection.tend` takes longer, not even writing the lists of a million to a slow disk."""


class Searcher:
    """Holds the collection and the map, and searches them.

    Parameters
    ----------
    store : Store
        Gives the vectors.
    medium : Medium
        What the vectors are, and how they are compared.
    copy_threshold : float or None
        Lowest score of a copy, 0 to 1; None is the default of the medium.
    codes_path : Path, optional
        Cache file of the codes; without one they are made from the vectors at each start.
    probed_contents : int
        Cached codes that are made again at each start and compared, about.
    processes : Processes, optional
        Where searches may be done; without them each is done in the thread that asks.

    Notes
    -----
    `snapshot` and the searches may be called from any thread, as may the changes: they take turns.
    """

    def __init__(
        self,
        store: Store,
        medium: Medium,
        copy_threshold: float | None = None,
        codes_path: Path | None = None,
        probed_contents: int = PROBED_CONTENTS,
        processes: Processes | None = None,
    ) -> None:
        self.medium = medium
        self._store = store
        self._copy_threshold = copy_threshold
        self._probed_contents = probed_contents
        self._processes = processes
        self._collection = Collection(medium, codes_path)
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._turn = threading.Lock()
        self.snapshot = SearchSnapshot(self._collection.snapshot(), None, _no_looks(medium))
        self.newest_id = 0
        """Highest content id in the snapshot: ids only rise, and whoever commits contents brings them in that order."""

    # -- changes -----------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take up the cached codes, make missing ones from their vectors, and read the active map."""
        self._collection.open()
        present = np.array(self._store.contents.ids(), dtype=np.int64)
        cached = self._collection.ids
        kept = np.intersect1d(cached, present)
        if not self._agrees(kept):
            logger.warning("cached codes are not those of the index, all are made anew codes=%d", len(kept))
            self._collection.clear()
            cached = kept = kept[:0]
        self.change((), np.setdiff1d(cached, present).tolist())
        missing = np.setdiff1d(present, kept).tolist()
        for start in range(0, len(missing), LOAD_CHUNK):
            self.change(list(self._store.contents.vectors(missing[start : start + LOAD_CHUNK]).items()), ())
        self._load_looks()
        self.newest_id = max(present.tolist(), default=0)
        if len(present):
            logger.info("codes cached=%d made=%d", len(kept), len(missing))
        run = self._store.runs.active()
        if run is not None:
            self.place(run.id, self._store.positions.listed(run.id))

    def _agrees(self, cached: NDArray[np.int64]) -> bool:
        """Return whether a sample of the cached codes is what the store's vectors give."""
        # An index that was put in the place of another may have other contents under the same ids.
        probed = sorted({*cached[-1:].tolist(), *cached[:: max(1, len(cached) // self._probed_contents)].tolist()})
        rows = self._store.contents.vectors(probed)
        return not rows or self._collection.agrees(list(rows), as_vectors(list(rows.values())))

    def close(self) -> None:
        """Write what a later start can use, and let the cache go; snapshots stay readable."""
        self._collection.close()

    def change(self, added: Sequence[tuple[int, bytes]], gone: Iterable[int]) -> None:
        """Take contents in and out, in one step.

        Parameters
        ----------
        added : sequence of (content id, vector)
            Vectors of 4096 bytes; an id that is there already gets the new vector.
        gone : iterable of int
            Content ids; unknown ones are ignored.
        """
        gone = set(gone)
        with self._turn:
            if gone:
                self._collection.remove(gone)
            if added:
                self._collection.add([content_id for content_id, _ in added], as_vectors([v for _, v in added]))
            looks = self.snapshot.looks
            if looks is not None and gone:
                looks = looks.without(gone)
            self.snapshot = SearchSnapshot(self._collection.snapshot(), without(self.snapshot.map, gone), looks)
            self.newest_id = max([self.newest_id, *(content_id for content_id, _ in added)])
        self._changed.set()
        self.describe([content_id for content_id, _ in added])

    def describe(self, content_ids: Sequence[int]) -> None:
        """Take up how contents look, of those whose descriptors the store has.

        Parameters
        ----------
        content_ids : sequence of int
        """
        appearance = self.medium.appearance
        if appearance is not None and content_ids:
            self._take_looks(appearance, list(self._store.descriptors.of(appearance.kind, content_ids).items()))

    def _take_looks(self, appearance: Appearance, found: Sequence[tuple[int, bytes]]) -> None:
        with self._turn:
            looks = self.snapshot.looks
            if looks is not None and found:
                self.snapshot = replace(self.snapshot, looks=looks.extended(appearance, found))

    def _load_looks(self) -> None:
        appearance, newest_id = self.medium.appearance, 0
        if appearance is not None:
            looks = DescriptorTable.empty(appearance.size, self._store.descriptors.count(appearance.kind))
            self.snapshot = replace(self.snapshot, looks=looks)
        while appearance is not None and (found := self._store.descriptors.after(appearance.kind, newest_id)):
            newest_id = found[-1][0]
            self._take_looks(appearance, found)

    def replace_map(self, run_id: int, placed: Sequence[tuple[int, bytes]]) -> None:
        """Swap the map for that of another run, with all its positions, in one step.

        Parameters
        ----------
        run_id : int
            Of the new map.
        placed : sequence of (content id, position)
            Positions as little-endian float32 bytes; without any, there is no map from now on.
        """
        with self._turn:
            # A collection that has gone during the fit leaves nothing to place.
            self.snapshot = replace(self.snapshot, map=extended(None, run_id, placed) if placed else None)

    def place(self, run_id: int, placed: Sequence[tuple[int, bytes]]) -> None:
        """Add positions to the map in use.

        Parameters
        ----------
        run_id : int
            Of the map that the positions are on; passed over when another one is in use.
        placed : sequence of (content id, position)
            Positions as little-endian float32 bytes; of a content that is there already the new one counts.
        """
        with self._turn:
            current = self.snapshot.map
            if placed and (current is None or current.run_id == run_id):
                self.snapshot = replace(self.snapshot, map=extended(current, run_id, placed))

    def drop_map(self) -> None:
        """Search without a map from now on."""
        with self._turn:
            self.snapshot = replace(self.snapshot, map=None)

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Keep what makes searches of a large collection fast in step with it, until stopped."""
        be_nice()
        self._look_at_vectors()
        while True:
            self._changed.clear()
            # Only now: clearing must not take away what `stop` says.
            if self._stopping.is_set():
                return
            heartbeat.beat(TEND_S)
            if not self.tend():
                heartbeat.idle(heartbeat.FOREVER_S)
                self._changed.wait()

    def tend(self) -> bool:
        """Do one step of what keeps searches of a large collection fast; False when nothing is to be done."""
        return self._collection.tend()

    def _look_at_vectors(self) -> None:
        """Read every vector once, because their codes came from the cache and a damaged one would go unnoticed.

        Raises
        ------
        StorageError
            When one is not what was written.
        """
        for _ in self._store.contents.all_vectors(LOOKED_AT_ONCE):
            heartbeat.beat()
            if self._stopping.is_set():
                return

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()
        self._changed.set()

    # -- searches ----------------------------------------------------------------------------------------------------

    def at(self, snapshot: SearchSnapshot | None = None) -> Search:
        """Return the searches of a snapshot, by default of the present one."""
        return Search(snapshot or self.snapshot, self._store.contents, self._copy_threshold)

    def searches(self, urgency: Urgency, snapshot: SearchSnapshot | None = None) -> Searches:
        """Return the searches of a snapshot, by default of the present one, each done where there is a place for it.

        Parameters
        ----------
        urgency : Urgency
            Of those who ask.
        snapshot : SearchSnapshot, optional
        """
        return Searches(self.at(snapshot), urgency, self._processes)

    def is_apart(self, urgency: Urgency) -> bool:
        """Return whether a search is done in another process; one is started where that is worthwhile.

        Parameters
        ----------
        urgency : Urgency
            Of those who would ask.
        """
        if self._processes is None:
            return False
        self._processes.start_if_worthwhile(urgency, self.at())
        return self._processes.running > 0

    def second_look(self, urgency: Urgency) -> SecondLook | None:
        """Return the second look of the medium, taken where there is a place for it; None where it has none.

        Parameters
        ----------
        urgency : Urgency
        """
        second_look = self.medium.second_look
        if second_look is None:
            return None
        # Of the snapshot of that moment: an old one would be kept as long as the look is.
        return PlacedLook(second_look, lambda name, *arguments: self.searches(urgency).ask(name, *arguments))

    def copies(self, vector: bytes, *, without: int | None = None, urgency: Urgency = Urgency.ALERT) -> list[Found]:
        """Return the verified copies of a vector inside the collection, best first.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        without : int, optional
            Content id to leave out: the one that the vector belongs to.
        urgency : Urgency
        """
        return self.searches(urgency).copies(vector, without=without)

    def joined(self, contents: Sequence[tuple[int, bytes]], known: Sequence[Iterable[int]]) -> list[list[Found]]:
        """Return the verified copies of each of several contents that are looked up among each other.

        Parameters
        ----------
        contents : sequence of (content id, vector)
            In the collection; a pair of which one side is not looked up may be missed.
        known : sequence of iterable of int
            For each content the ids that need not be verified: they have found it before.
        """
        return self.searches(Urgency.PASS).joined(contents, known)

    def search(
        self,
        vector: bytes,
        position: NDArray[np.float32] | None,
        limit: int,
        snapshot: SearchSnapshot | None = None,
        look: bytes | None = None,
    ) -> list[Found]:
        """Return copies, then contents that resemble a vector, best first.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        position : (n_components,) ndarray of float32 or None
            Of the query on the snapshot's map; None searches by the vectors alone.
        limit : int
            Contents that resemble, at most; copies are all returned.
        snapshot : SearchSnapshot, optional
            What is searched; by default the present one.
        look : bytes, optional
            Descriptor of how the query looks; without one, vectors say what resembles it.
        """
        return self.searches(Urgency.QUESTION, snapshot).ranked(vector, position, limit, look)

    def judgements(self, vector: bytes, content_ids: Sequence[int]) -> dict[int, Judgement]:
        """Verify contents, copies or not; those that have gone are left out.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        content_ids : sequence of int
        """
        return self.searches(Urgency.QUESTION).judgements(vector, content_ids)


def _no_looks(medium: Medium) -> DescriptorTable | None:
    return None if medium.appearance is None else DescriptorTable.empty(medium.appearance.size)
