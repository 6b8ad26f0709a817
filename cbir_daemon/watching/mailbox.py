"""The mailbox between those who notice and the one who looks: each path once, until it has been quiet.

In: paths, from any thread.  Out: the paths that are due, to one thread.  Never here: what is at a path.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from cbir_daemon.system import heartbeat


class Mailbox:
    """Paths to look at, each held once.

    Parameters
    ----------
    clock : callable, optional
        Monotonic seconds; injected by tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[bytes, float] = {}
        self._woken = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._due)

    def put(self, paths: Iterable[bytes], quiet_s: float) -> None:
        """Hold paths until it has been quiet around each.

        Parameters
        ----------
        paths : iterable of bytes
        quiet_s : float
            A path is due when nothing was put for it during so many seconds.
        """
        due = self._clock() + quiet_s
        with self._changed:
            for path in paths:
                self._due[path] = due
            self._changed.notify_all()

    def wake(self) -> None:
        """Make the `wait` that runs now, or the next one, return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Return when a path is due, when woken, or after `timeout_s` seconds."""
        heartbeat.idle(timeout_s)
        with self._changed:
            deadline = self._clock() + timeout_s
            while not self._woken:
                wake_at = min([deadline, *self._due.values()])
                if (remaining := wake_at - self._clock()) <= 0:
                    break
                self._changed.wait(remaining)
            self._woken = False
        heartbeat.beat()

    def take(self) -> list[bytes]:
        """Remove and return the paths that are due, sorted."""
        with self._changed:
            now = self._clock()
            ready = sorted(path for path, due in self._due.items() if due <= now)
            for path in ready:
                del self._due[path]
            return ready
