"""Takes the local features of contents that have none yet, in the background.

In: contents, files.  Out: features in the store, and in the lists that queries are asked of.  Never here: how features
are found, queries.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates.looks import Files
from cbir_daemon.local_features import EXTRA, LOCAL, StoredFeatures, is_installed
from cbir_daemon.records import DescriptorKind, Problem
from cbir_daemon.search.feature_lists import FeatureIndex
from cbir_daemon.search.filling import Filler
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 16
"""Contents read before they are committed: about a second."""


class FeatureFiller(Filler[StoredFeatures]):
    """Reads files for their local features.

    Parameters
    ----------
    store : Store
    pool : DecodePool
        Its workers read the files.
    quiet : callable
        Whether nothing is being indexed.
    asked : bool
        Whether the user asks for local features.
    """

    def __init__(self, store: Store, pool: DecodePool, quiet: Callable[[], bool], *, asked: bool) -> None:
        super().__init__(store, quiet, BATCH_CONTENTS)
        self._files = Files(store, pool)
        self._enabled = asked and is_installed()
        self._lacks_extra = asked and not is_installed()
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

    def load(self) -> None:
        """Take up the features that the store has; those that are damaged are left out."""
        newest_id = 0
        while rows := self._store.descriptors.after(LOCAL, newest_id):
            heartbeat.beat()
            newest_id = rows[-1][0]
            self.index.add(list(_sound(rows)))

    @property
    def _kind(self) -> DescriptorKind:
        return LOCAL

    def _make(self, content_id: int) -> StoredFeatures | None:
        return self._files.features(content_id)

    def _keep(self, made: Mapping[int, StoredFeatures]) -> None:
        # First: the commit wakes who waits for them.
        self.index.add(list(made.items()))
        self._store.descriptors.put(LOCAL, {content_id: features.to_bytes() for content_id, features in made.items()})


def _sound(rows: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, StoredFeatures]]:
    """Yield what rows of the store hold, without those that are damaged: no query is asked of these."""
    for content_id, features in rows:
        try:
            yield content_id, StoredFeatures.from_bytes(features)
        except ValueError as error:
            logger.warning("local features left out content=%d reason=%s", content_id, error)
