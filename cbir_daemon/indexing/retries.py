"""When a file is tried again whose disk failed to give it, or took too long.

In: paths that failed, and the clock.  Out: the paths that are due.  Never here: reading, rows, walks.

Kept in memory: after a start every such file is tried once, by the first walk.
"""

from __future__ import annotations

import math
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
    count: int
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
        self._due_at = math.inf

    def failed(self, path: bytes, state: FileState, tries: int | None = None) -> None:
        """Note that a file could not be read; the pause doubles while its state is the same.

        Parameters
        ----------
        path : bytes
            Absolute.
        state : FileState
        tries : int, optional
            How often a file in this state is tried again; without, as long as it fails.
        """
        failure = self._failures.get(path)
        if failure is None or failure.state != state:
            failure = _Failure(state, 1, FIRST_PAUSE_S, 0.0)
        else:
            failure = _Failure(state, failure.count + 1, min(2 * failure.pause_s, LONGEST_PAUSE_S), 0.0)
        is_given_up = tries is not None and failure.count > tries
        failure.due_at = math.inf if is_given_up else self._clock() + failure.pause_s
        self._failures[path] = failure
        self._due_at = min(self._due_at, failure.due_at)

    def end_pauses(self, below: bytes | None = None) -> None:
        """Let walks try files that failed, be it for the last time, as if their pauses had ended.

        Parameters
        ----------
        below : bytes, optional
            Absolute path of one of the files, or of a folder that holds them; without, all files.
        """
        now = self._clock()
        for path, failure in self._failures.items():
            if below is None or path == below or path.startswith(below.rstrip(b"/") + b"/"):
                failure.due_at = min(failure.due_at, now)

    def forget(self, path: bytes) -> None:
        """Note that the file at an absolute path was read, or is gone."""
        self._failures.pop(path, None)

    def holds_back(self, path: bytes, state: FileState) -> bool:
        """Whether a file failed in this state and its pause has not ended.

        Parameters
        ----------
        path : bytes
            Absolute.
        state : FileState
            The file now; in another state it is never held back.
        """
        failure = self._failures.get(path)
        return failure is not None and failure.state == state and self._clock() < failure.due_at

    def take_due(self) -> list[bytes]:
        """Return the paths whose pause has ended since this was last asked, sorted."""
        now = self._clock()
        if now < self._due_at:
            return []
        waiting = [failure.due_at for failure in self._failures.values() if failure.due_at > now]
        due = sorted(path for path, failure in self._failures.items() if self._due_at <= failure.due_at <= now)
        self._due_at = min(waiting, default=math.inf)
        return due

    def due_in_s(self) -> float:
        """Return the seconds until the next pause ends; infinite when none is under way."""
        return max(0.0, self._due_at - self._clock())
