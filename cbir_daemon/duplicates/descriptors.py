"""Makes descriptors of one kind for contents that have none yet, in the background.

In: contents, what describes them.  Out: descriptors in the store, and in the table that queries are compared with.
Never here: how a descriptor is made, queries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from cbir_daemon.duplicates.pairing import be_nice
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.descriptor_table import DescriptorTable
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

BATCH_CONTENTS = 16
"""Contents described before they are committed: about half a second."""

POLL_S = 60.0


class Describes(Protocol):
    """What makes descriptors of one kind."""

    @property
    def enabled(self) -> bool:
        """Whether descriptors are made at all; it may end."""

    @property
    def kind(self) -> DescriptorKind:
        """Name and version of the descriptors."""

    def describe_content(self, content_id: int) -> bytes | None:
        """Return the descriptor of a content; None when its files cannot be read."""


class DescriptorFiller:
    """Describes contents while nothing is indexed.

    Parameters
    ----------
    store : Store
    describes : Describes
    table : DescriptorTable
        Gets all descriptors of the kind.
    quiet : callable
        Whether nothing is being indexed.
    """

    def __init__(self, store: Store, describes: Describes, table: DescriptorTable, quiet: Callable[[], bool]) -> None:
        self._store = store
        self._describes = describes
        self._quiet = quiet
        self._stopping = threading.Event()
        self._loaded = False
        # Ids only rise: all contents up to this one were tried.  How many of them could not be described; these are
        # tried again after a restart.
        self._tried_id = 0
        self._undescribed = 0
        self.table = table

    @property
    def enabled(self) -> bool:
        """Whether contents are described."""
        return self._describes.enabled

    @property
    def pending(self) -> int:
        """Contents that have no descriptor yet."""
        if not self.enabled:
            return 0
        counts = self._store.files.counts()
        return max(0, counts.contents - self._store.descriptors.count(self._describes.kind) - self._undescribed)

    @property
    def idle(self) -> bool:
        """Whether all contents are described whose files can be read."""
        if not self.enabled:
            return True
        return self._loaded and not self._store.descriptors.missing(self._describes.kind, self._tried_id, 1)

    def load(self) -> None:
        """Take up the descriptors that the store has."""
        newest_id = 0
        while rows := self._store.descriptors.after(self._describes.kind, newest_id):
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
        kind = self._describes.kind
        content_ids = self._store.descriptors.missing(kind, self._tried_id, BATCH_CONTENTS)
        found: dict[int, bytes] = {}
        undescribed, tried_id = 0, self._tried_id
        for content_id in content_ids:
            if self._stopping.is_set():
                break
            heartbeat.beat()
            numbers = self._describes.describe_content(content_id)
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
