"""When a file is tried again whose disk failed to give it.

In: paths that failed, and the clock.  Out: the paths that are due.  Never here: reading, rows, walks.

Kept in memory: after a start every such file is tried once, by the first walk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cbir_daemon.records import FileState

FIRST_PAUSE_S = 60.0
"""Pause after the first failure: a server that is started anew is back after a minute or two."""

LONGEST_PAUSE_S = 86_400.0
"""Pauses double up to this: reading a bad sector takes a disk seconds, and each try wears it."""


@dataclass(slots=True)
class _Failure:
    state: FileState
    pause_s: float
    due_at: float


class Retries:
    """Files that could not be read for a reason that heals by itself.

    Parameters
    ----------
    clock : callable, optional
        Monotonic seconds; injected by tests.

    Notes
    -----
    Only the ingest thread uses it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[bytes, _Failure] = {}
        self._due_at = float("inf")

    def failed(self, path: bytes, state: FileState) -> None:
        """Note that the file at an absolute path could not be read; the pause doubles while its state is the same."""
        before = self._failures.get(path)
        repeated = before is not None and before.state == state
        pause_s = min(2 * before.pause_s, LONGEST_PAUSE_S) if before is not None and repeated else FIRST_PAUSE_S
        due_at = self._clock() + pause_s
        self._failures[path] = _Failure(state, pause_s, due_at)
        self._due_at = min(self._due_at, due_at)

    def forget(self, path: bytes) -> None:
        """Note that the file at an absolute path was read, or is gone."""
        self._failures.pop(path, None)

    def holds_back(self, path: bytes, state: FileState) -> bool:
        """Whether a file in this state failed and its pause has not ended."""
        failure = self._failures.get(path)
        return failure is not None and failure.state == state and self._clock() < failure.due_at

    def take_due(self) -> list[bytes]:
        """Return the paths whose pause has ended since this was last asked, sorted."""
        now = self._clock()
        if now < self._due_at:
            return []
        waiting = [failure.due_at for failure in self._failures.values() if failure.due_at > now]
        due = sorted(path for path, failure in self._failures.items() if self._due_at <= failure.due_at <= now)
        self._due_at = min(waiting, default=float("inf"))
        return due

    def due_in_s(self) -> float:
        """Return the seconds until the next pause ends; infinite when none is under way."""
        return max(0.0, self._due_at - self._clock())
