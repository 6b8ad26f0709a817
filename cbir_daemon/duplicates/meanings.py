"""Describes by meaning the contents that have no descriptor yet, in the background.

In: contents, files.  Out: descriptors in the store, and in the table that queries are compared with.  Never here: how
a picture is described (`meaning`), queries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.decode import Colour, DecodePool
from cbir_daemon.duplicates.looks import Files
from cbir_daemon.duplicates.pairing import be_nice
from cbir_daemon.meaning import NUMBERS, Meaning
from cbir_daemon.search.meaning_table import MeaningTable
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

BATCH_CONTENTS = 16
"""Contents described before they are committed: about half a second."""

POLL_S = 60.0


class MeaningFiller:
    """Shows the pictures of contents to the network while nothing is indexed.

    Parameters
    ----------
    store : Store
    pool : DecodePool
        Its workers read the files.
    meaning : Meaning
    quiet : callable
        Whether nothing is being indexed.
    """

    def __init__(self, store: Store, pool: DecodePool, meaning: Meaning, quiet: Callable[[], bool]) -> None:
        self._store = store
        self._files = Files(store, pool)
        self._meaning = meaning
        self._quiet = quiet
        self._stopping = threading.Event()
        self._loaded = False
        # Ids only rise: all contents up to this one were tried.  How many of them could not be described; these are
        # tried again after a restart.
        self._tried_id = 0
        self._undescribed = 0
        self.table = MeaningTable(NUMBERS)

    @property
    def enabled(self) -> bool:
        """Whether contents are described: a network that is refused ends it."""
        return self._meaning.enabled

    @property
    def pending(self) -> int:
        """Contents that have no descriptor yet."""
        if not self.enabled:
            return 0
        counts = self._store.files.counts()
        return max(0, counts.contents - self._store.descriptors.count(self._meaning.kind) - self._undescribed)

    @property
    def idle(self) -> bool:
        """Whether all contents are described whose files can be read."""
        if not self.enabled:
            return True
        return self._loaded and not self._store.descriptors.missing(self._meaning.kind, self._tried_id, 1)

    def load(self) -> None:
        """Take up the descriptors that the store has."""
        newest_id = 0
        while rows := self._store.descriptors.after(self._meaning.kind, newest_id):
            heartbeat.beat()
            newest_id = rows[-1][0]
            self.table.add(rows)
        self._loaded = True

    def stop(self) -> None:
        """Ask the thread to end after the content it is at."""
        self._stopping.set()

    def run(self) -> None:
        """Describe contents until stopped."""
        be_nice()
        if not self._loaded:
            self.load()
        while not self._stopping.is_set():
            moment = self._store.moment
            if not self._quiet() or not self.step():
                heartbeat.rest(POLL_S)
                self._store.wait_for_change(moment, POLL_S)

    def step(self) -> bool:
        """Describe some contents; False when there were none to describe."""
        if not self.enabled:
            return False
        kind = self._meaning.kind
        content_ids = self._store.descriptors.missing(kind, self._tried_id, BATCH_CONTENTS)
        found: dict[int, bytes] = {}
        undescribed, tried_id = 0, self._tried_id
        for content_id in content_ids:
            # New files go first: what is described by then is committed.
            if self._stopping.is_set() or not self._quiet():
                break
            heartbeat.beat()
            numbers = self._describe(content_id)
            if numbers is None:
                undescribed += 1
            else:
                found[content_id] = numbers
            tried_id = content_id
        if found:
            self._store.descriptors.put(kind, found)
            self.table.add(list(found.items()))
        self._tried_id, self._undescribed = tried_id, self._undescribed + undescribed
        return bool(content_ids)

    def _describe(self, content_id: int) -> bytes | None:
        """Return the descriptor of a content; None when its files cannot be read, or the network fails."""
        side_px = self._meaning.side_px()
        colour = self._files.colour(content_id, side_px) if side_px else None
        numbers = None if colour is None else self._meaning.describe(pixels_of(colour))
        return None if numbers is None else numbers.tobytes()


def pixels_of(colour: Colour) -> NDArray[np.uint8]:
    """Return a picture as the network takes it, (height, width, 3)."""
    return np.frombuffer(colour.pixels, np.uint8).reshape(colour.height_px, colour.width_px, 3)
