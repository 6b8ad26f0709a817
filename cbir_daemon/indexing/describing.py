"""How new contents look: their descriptors, made of what was read.

In: changes of files.  Out: the same with descriptors, which are committed with their contents; descriptors of contents
that an older release indexed, from their files.  Never here: how a descriptor is made (`Appearance`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cbir_daemon.decode import DecodePool
from cbir_daemon.errors import NoAccessError, NotFoundError, UnreadableImageError
from cbir_daemon.medium import Medium
from cbir_daemon.records import Facts
from cbir_daemon.search.descriptors import can_describe, descriptors_of
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Change, Image, Indexed, Store
from cbir_daemon.system import heartbeat

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 256
"""Contents described before they are committed: a second or two."""

NICENESS = 10
POLL_S = 60.0


def described(medium: Medium, changes: Sequence[Change]) -> list[Change]:
    """Return changes in which each file that was decoded has its descriptor.

    Parameters
    ----------
    medium : Medium
    changes : sequence of Change
    """
    appearance = medium.appearance
    seen = [change for change in changes if isinstance(change, Indexed) and can_describe(change.facts)]
    if appearance is None or not seen:
        return list(changes)
    rows = descriptors_of(appearance, [change.facts for change in seen])
    by_path = {(change.album_id, change.path): row for change, row in zip(seen, rows, strict=True)}
    return [
        replace(change, descriptors=((appearance.kind, by_path[change.album_id, change.path]),))
        if isinstance(change, Indexed) and can_describe(change.facts)
        else change
        for change in changes
    ]


class Describer:
    """Describes in the background the contents that an older release indexed.

    Parameters
    ----------
    store : Store
    searcher : Searcher
        Gets the descriptors.
    pool : DecodePool
        Its workers read the files.
    quiet : callable
        Whether nothing is being indexed.
    """

    def __init__(self, store: Store, searcher: Searcher, pool: DecodePool, quiet: Callable[[], bool]) -> None:
        self._store = store
        self._searcher = searcher
        self._pool = pool
        self._quiet = quiet
        self._stopping = threading.Event()
        # Ids only rise: all contents up to this one were tried.  Those that could not be read are tried again after a
        # restart.
        self._tried_id = 0
        self._unreadable = 0

    @property
    def pending(self) -> int:
        """Contents that have no descriptor yet, without those whose files cannot be read."""
        appearance = self._searcher.medium.appearance
        if appearance is None:
            return 0
        contents = self._store.files.counts().contents
        return max(0, contents - self._store.descriptors.count(appearance.kind) - self._unreadable)

    @property
    def idle(self) -> bool:
        """Whether all contents were tried."""
        appearance = self._searcher.medium.appearance
        return appearance is None or not self._store.descriptors.missing(appearance.kind, self._tried_id, 1)

    def stop(self) -> None:
        """Ask the thread to end after the batch it is at."""
        self._stopping.set()

    def run(self) -> None:
        """Describe contents until stopped."""
        # On Linux niceness belongs to the thread: queries and indexing go first.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._stopping.is_set():
            moment = self._store.moment
            if not self._quiet() or not self.step():
                heartbeat.rest(POLL_S)
                self._store.wait_for_change(moment, POLL_S)

    def step(self) -> bool:
        """Describe the next contents; False when there were none."""
        appearance = self._searcher.medium.appearance
        if appearance is None:
            return False
        content_ids = self._store.descriptors.missing(appearance.kind, self._tried_id, BATCH_CONTENTS)
        read: dict[int, Facts] = {}
        for content_id in content_ids:
            if self._stopping.is_set() or not self._quiet():
                break
            heartbeat.beat()
            facts = self._facts(content_id)
            if facts is None:
                self._unreadable += 1
            else:
                read[content_id] = facts
            self._tried_id = content_id
        if read:
            rows = descriptors_of(appearance, list(read.values()))
            self._store.descriptors.put(appearance.kind, dict(zip(read, rows, strict=True)))
            self._searcher.describe(list(read))
        return bool(content_ids)

    def _facts(self, content_id: int) -> Facts | None:
        """Return what the first file of a content tells that can be read and still holds it."""
        for image in self._store.files.images([content_id]):
            facts = None if image.missing else self._read(image)
            if facts is not None and facts.digest == image.content.digest and can_describe(facts):
                return facts
        return None

    def _read(self, image: Image) -> Facts | None:
        try:
            return self._pool.read_image(Path(os.fsdecode(image.path)))
        except (NotFoundError, NoAccessError, UnreadableImageError) as error:
            logger.debug("not described path=%s reason=%s", os.fsdecode(image.path), error)
            return None
