"""Makes the list of groups that is asked for first, before somebody asks: to group 10 000 contents takes a second.

In: changes of the index.  Out: a list that is there.  Never here: what a group is, the order of a list.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from cbir_daemon.serving.queue import Queue, Selection
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

POLL_S: Final = 60.0
MOST_IMAGES: Final = 50_000
"""In the groups of an index of which a list is made ahead: it takes 1 KB for each."""

RESTS: Final = 20.0
"""Times as long as it took to make a list, until the next one is made: a twentieth of a core at most."""


class Ahead:
    """Has the list of all groups made after each change, while nothing is being indexed.

    Parameters
    ----------
    store : Store
    queue : Queue
        Makes the lists, and keeps them.
    quiet : callable
        Whether nothing is being indexed.
    most_images : int
        None is made while the groups may have more images than this.
    """

    def __init__(self, store: Store, queue: Queue, quiet: Callable[[], bool], most_images: int = MOST_IMAGES) -> None:
        self._store = store
        self._queue = queue
        self._quiet = quiet
        self._most_images = most_images
        self._made_at = 0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def run(self) -> None:
        """Make the list after changes until stopped."""
        # Not at low priority: who asks while a list is made waits for this thread, which `RESTS` keeps short.
        while not self._stopping.is_set():
            moment, began = self._store.moment, time.thread_time()
            if self.step():
                rest_s = RESTS * (time.thread_time() - began)
                heartbeat.idle(rest_s)
                self._stopping.wait(rest_s)
            else:
                self._store.wait_for_change(moment, POLL_S)

    def step(self) -> bool:
        """Make the list if the index has changed since the last one; return whether it was made."""
        clock = self._store.clock
        if clock == self._made_at or not self._quiet() or self._images() > self._most_images:
            return False
        heartbeat.beat()
        self._queue.listed(Selection())
        self._made_at = clock
        return True

    def _images(self) -> int:
        """Return how many images the groups have at most: a pair brings two, as does a second file of a content."""
        counts = self._store.files.counts()
        return 2 * (counts.images - counts.contents + self._store.pairs.count())
