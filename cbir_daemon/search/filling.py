"""Makes in the background the descriptors that contents lack: looks, local features and meaning share this loop.

In: contents without one.  Out: descriptors, kept by a subclass.  Never here: how one is made.
"""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from cbir_daemon.records import IMAGE, DescriptorKind
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat
from cbir_daemon.system.priority import be_nice

Made = TypeVar("Made")

POLL_S = 60.0


class Filler(ABC, Generic[Made]):
    """Goes through the contents, in order of id, while nothing is indexed.

    Parameters
    ----------
    store : Store
    quiet : callable
        Whether nothing is being indexed.
    batch_contents : int
        Contents that are tried before what was made is committed: a kill costs these once more.
    """

    def __init__(self, store: Store, quiet: Callable[[], bool], batch_contents: int) -> None:
        self._store = store
        self._quiet = quiet
        self._batch_contents = batch_contents
        self._stopping = threading.Event()
        self._loaded = False
        # Ids only rise: all contents up to this one were tried.  How many of them it could not be made of; these are
        # tried again after a restart.
        self._tried_id = 0
        self._failed = 0

    # -- what a subclass does ----------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def enabled(self) -> bool:
        """Whether it is wanted, and can be made."""

    @abstractmethod
    def load(self) -> None:
        """Take up what the store has."""

    @property
    @abstractmethod
    def _kind(self) -> DescriptorKind:
        """What is made."""

    @abstractmethod
    def _make(self, content_id: int) -> Made | None:
        """Return the descriptor that a content lacks; None when it cannot be made."""

    @abstractmethod
    def _keep(self, made: Mapping[int, Made]) -> None:
        """Commit what was made, by content id."""

    # -- asked from other threads ------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Images that lack it, without those it could not be made of."""
        if not self.enabled:
            return 0
        images = self._store.contents.counts()[IMAGE]
        return max(0, images - self._store.descriptors.count(self._kind) - self._failed)

    @property
    def idle(self) -> bool:
        """Whether all contents were tried."""
        return not self.enabled or (self._loaded and not self._store.descriptors.missing(self._kind, self._tried_id, 1))

    @property
    def tried_id(self) -> int:
        """Contents up to this id were tried, or will not be."""
        return self._tried_id if self.enabled else sys.maxsize

    def stop(self) -> None:
        """Ask the thread to end after the content it is at."""
        self._stopping.set()

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Make what is missing until stopped."""
        be_nice()
        self.open()
        while not self._stopping.is_set():
            moment = self._store.moment
            if not self._quiet() or not self.step():
                heartbeat.idle(POLL_S)
                self._store.wait_for_change(moment, POLL_S)

    def open(self) -> None:
        """Take up what the store has, once."""
        if not self._loaded:
            self.load()
            self._loaded = True
            self._store.wake()

    def step(self) -> bool:
        """Make it for the next contents; False when there were none that lack it."""
        if not self.enabled:
            return False
        content_ids = self._store.descriptors.missing(self._kind, self._tried_id, self._batch_contents)
        made: dict[int, Made] = {}
        failed, tried_id = 0, self._tried_id
        for content_id in content_ids:
            # New files go first: what was made by then is committed.
            if self._stopping.is_set() or not self._quiet():
                break
            heartbeat.beat()
            found = self._make(content_id)
            if found is None:
                failed += 1
            else:
                made[content_id] = found
            tried_id = content_id
        if made:
            self._keep(made)
        self._tried_id, self._failed = tried_id, self._failed + failed
        if content_ids:
            # Who waits until all were tried was woken by the commit too early, or not at all.
            self._store.wake()
        return bool(content_ids)
