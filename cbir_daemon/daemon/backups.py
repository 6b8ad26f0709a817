"""A copy of the index beside it, renewed now and then, and never from an index that is damaged.

In: how old the copy may be.  Out: the copy, renewed when all of the index was looked at and found sound.  Never here:
how an index is copied or looked at.

What the walk of the albums cannot find again is decisions, alerts and how the maps came about; what it finds only after
hours is the vectors.  One thread runs `Backups.run`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from cbir_daemon.config import Config
from cbir_daemon.errors import StorageError
from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat

logger = logging.getLogger(__name__)

DAY_S = 86_400.0
CHECK_S = 3600.0
RETRY_S = 3600.0
"""Wait after a copy failed: looking at all of a large index costs a minute, and a full disk is seldom mended sooner."""

LONGEST_S = 3600.0
"""No index takes longer to look at and to copy, on the slowest disk."""


class Backups:
    """Keeps the copy.

    Parameters
    ----------
    store : Store
    every_s : float
        Longest age of the copy in seconds; 0 keeps none.
    quiet : callable
        Whether nothing is being indexed: the first copy waits for the end of the first index.
    now : callable, optional
        Seconds since the epoch.
    """

    def __init__(
        self, store: Store, every_s: float, quiet: Callable[[], bool], now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self.every_s = every_s
        self._quiet = quiet
        self._now = now
        self._stopping = threading.Event()

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs."""
        self.every_s = config.backup.every_days * DAY_S

    def due(self) -> bool:
        """Whether there is something to copy and the copy is too old, or of a time that is still to come."""
        if not self.every_s or not self._quiet():
            return False
        try:
            age_s = self._now() - self._store.backup_path.stat().st_mtime
        except FileNotFoundError:
            return self._store.files.counts().contents > 0
        return not 0 <= age_s < self.every_s

    def stop(self) -> None:
        """Ask the thread to end after the copy it is at."""
        self._stopping.set()

    def run(self) -> None:
        """Renew the copy whenever it is due, until stopped."""
        while not self._stopping.is_set():
            moment = self._store.moment
            if not self.due():
                heartbeat.idle(CHECK_S)
                self._store.wait_for_change(moment, CHECK_S)
            elif not self.renew():
                self._stopping.wait(RETRY_S)

    def renew(self) -> bool:
        """Renew the copy now; False when the index is damaged or the disk refuses: the copy before stays then."""
        heartbeat.beat(LONGEST_S, waits_for=f"the disk of {self._store.path}")
        before = time.monotonic()
        try:
            self._store.keep_backup()
        except StorageError as error:
            logger.error("no backup reason=%s retry_s=%s", error, RETRY_S)  # noqa: TRY400 -- no fault of ours
            heartbeat.refused(f"no backup was made: {error}", RETRY_S)
            return False
        logger.info("backup path=%s took_s=%.2f", self._store.backup_path, time.monotonic() - before)
        return True
