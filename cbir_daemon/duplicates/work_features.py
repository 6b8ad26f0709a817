"""The local features of works of the watch list, taken when they are first asked.

In: works, what reads their files.  Out: the lists of their features.  Never here: files, what is found by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cbir_daemon.local_features import StoredFeatures
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.feature_lists import FeatureIndex
from cbir_daemon.store import Work
from cbir_daemon.system import heartbeat


class WorkFeatures:
    """Keeps the features of works, by their ids.

    Parameters
    ----------
    read : callable
        Returns the features of a work; None when no file of it can be read, which is tried again after a restart.

    Notes
    -----
    For one thread.
    """

    def __init__(self, read: Callable[[Work], StoredFeatures | None]) -> None:
        self._read = read
        self._kept: dict[int, bytes] = {}
        self.index = FeatureIndex()
        """The lists of all works that were ever added, those that were taken off the list since among them."""

    def add(self, works: Sequence[Work]) -> None:
        """Take the features of works that have none yet.

        Parameters
        ----------
        works : sequence of Work

        Raises
        ------
        ChildError
            When no worker can be started.
        UnavailableError
            When the pool is closed.
        """
        for work in works:
            if work.id in self._kept:
                continue
            heartbeat.beat()
            features = self._read(work)
            self._kept[work.id] = b"" if features is None else features.to_bytes()
            if features is not None:
                self.index.add([(work.id, features)])

    def of(self, _: DescriptorKind, work_ids: Sequence[int], /) -> dict[int, bytes]:
        """Return work id -> features, of those works that have them.

        Parameters
        ----------
        _ : DescriptorKind
            Not looked at: all are of the present version.
        work_ids : sequence of int
        """
        return {work_id: self._kept[work_id] for work_id in work_ids if self._kept.get(work_id)}
