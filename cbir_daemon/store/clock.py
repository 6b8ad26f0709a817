"""The clock of the index: its row, and its value in memory, for which threads wait.

In: commits.  Out: the number of the last change that an answer can show.  Never here: what changed.
"""

from __future__ import annotations

import sqlite3
import threading

from cbir_daemon.store.rows import scalar
from cbir_daemon.system import heartbeat


def value(connection: sqlite3.Connection) -> int:
    """Return the clock as this transaction sees it."""
    return int(scalar(connection, "SELECT value FROM clock"))


def tick(connection: sqlite3.Connection) -> int:
    """Raise the clock by one and return it: part of every commit that an answer can show."""
    return int(scalar(connection, "UPDATE clock SET value = value + 1 RETURNING value"))


class Clock:
    """The clock of the last commit, and a place to wait for the next one; for any thread."""

    def __init__(self) -> None:
        self.value = 0
        self.moment = 0
        self._changed = threading.Condition()

    def advance(self, value: int) -> None:
        """Note that the commit with this clock is done, and wake all who wait."""
        with self._changed:
            # Two callers may come back in the other order than they were written.
            self.value = max(self.value, value)
            self.moment += 1
            self._changed.notify_all()

    def wake(self) -> None:
        """Wake all who wait; the clock stays."""
        with self._changed:
            self.moment += 1
            self._changed.notify_all()

    def wait(self, moment: int, timeout_s: float) -> None:
        """Return once there was an `advance` or a `wake` after `moment`, or when the time is up.

        Parameters
        ----------
        moment : int
            Value of `Clock.moment` before the caller looked.
        timeout_s : float
            Longest wait, in seconds.
        """
        heartbeat.idle(timeout_s)
        with self._changed:
            self._changed.wait_for(lambda: self.moment > moment, timeout_s)
        heartbeat.beat()
