"""Takes the local features of contents that have none yet, in the background.

In: contents, files.  Out: features in the store, and in the lists that queries are asked of.  Never here: how features
are found, queries.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates.looks import Files
from cbir_daemon.duplicates.pairing import be_nice
from cbir_daemon.local_features import EXTRA, FEATURES_VERSION, StoredFeatures, is_installed
from cbir_daemon.records import Problem
from cbir_daemon.search.feature_lists import FeatureIndex
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 16
"""Contents read before they are committed: about a second."""

POLL_S = 60.0


class FeatureFiller:
    """Reads files for their local features while nothing else is read.

    Parameters
    ----------
    store : Store
    pool : DecodePool
        Its workers read the files.
    quiet : callable
        Whether nothing is being indexed.
    enabled : bool
        Whether the user asks for local features.
    """

    def __init__(self, store: Store, pool: DecodePool, quiet: Callable[[], bool], *, enabled: bool) -> None:
        self._store = store
        self._files = Files(store, pool)
        self._quiet = quiet
        self._enabled = enabled and is_installed()
        self._lacks_extra = enabled and not is_installed()
        self._stopping = threading.Event()
        self._loaded = False
        # Ids only rise: all contents up to this one were tried.  How many of them could not be read; these are tried
        # again after a restart.
        self._tried_id = 0
        self._unreadable = 0
        self.index = FeatureIndex()

    @property
    def enabled(self) -> bool:
        """Whether local features are taken and asked."""
        return self._enabled

    def problems(self) -> list[Problem]:
        """Return that local features are asked for and the extra that takes them is not installed."""
        if not self._lacks_extra:
            return []
        return [Problem("no local features are taken: their extra is missing", f"pip install '{EXTRA}', then restart")]

    @property
    def pending(self) -> int:
        """Contents that have no features yet."""
        if not self._enabled:
            return 0
        counts = self._store.files.counts()
        return max(0, counts.contents - self._store.features.count(FEATURES_VERSION) - self._unreadable)

    @property
    def idle(self) -> bool:
        """Whether all contents have features whose files can be read."""
        if not self._enabled:
            return True
        return self._loaded and not self._store.features.missing(FEATURES_VERSION, self._tried_id, 1)

    def load(self) -> None:
        """Take up the features that the store has; those that are damaged are left out."""
        newest_id = 0
        while rows := self._store.features.after(FEATURES_VERSION, newest_id):
            heartbeat.beat()
            newest_id = rows[-1][0]
            self.index.add(list(_sound(rows)))
        self._loaded = True

    def stop(self) -> None:
        """Ask the thread to end after the batch it is at."""
        self._stopping.set()

    def run(self) -> None:
        """Take features until stopped; for who asks for them."""
        be_nice()
        if not self._loaded:
            self.load()
            self._store.wake()
        while not self._stopping.is_set():
            moment = self._store.moment
            if not self._quiet() or not self.step():
                heartbeat.rest(POLL_S)
                self._store.wait_for_change(moment, POLL_S)

    def step(self) -> bool:
        """Take the features of some contents; False when there were none to take."""
        content_ids = self._store.features.missing(FEATURES_VERSION, self._tried_id, BATCH_CONTENTS)
        found: dict[int, StoredFeatures] = {}
        tried_id = self._tried_id
        for content_id in content_ids:
            if self._stopping.is_set():
                break
            heartbeat.beat()
            features = self._files.features(content_id)
            if features is None:
                self._unreadable += 1
            else:
                found[content_id] = features
            tried_id = content_id
        if found:
            # First: the commit wakes who waits for them.
            self.index.add(list(found.items()))
            self._store.features.put(
                FEATURES_VERSION, {content_id: features.to_bytes() for content_id, features in found.items()}
            )
        self._tried_id = tried_id
        if content_ids:
            # Who waits until all were tried was woken by the commit too early, or not at all.
            self._store.wake()
        return bool(content_ids)


def _sound(rows: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, StoredFeatures]]:
    """Yield what rows of the store hold, without those that are damaged: no query is asked of these."""
    for content_id, features in rows:
        try:
            yield content_id, StoredFeatures.from_bytes(features)
        except ValueError as error:
            logger.warning("local features left out content=%d reason=%s", content_id, error)
