"""Workers that answer one request at a time, each to whoever asks first.

In: a message, and perhaps an open file.  Out: its answer.  Never here: batches, what the message says.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from cbir_daemon.decode.messages import DecodeLimits
from cbir_daemon.decode.processes import (
    CLOSED,
    CRASHED,
    START_TIMEOUT_S,
    WorkerProcess,
    Workers,
    timed_out,
)
from cbir_daemon.errors import CbirError, ChildError, TimedOutError, UnavailableError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import Unreadable


class RequestWorkers:
    """At most `workers` processes that answer requests, each as soon as a process is free.

    Parameters
    ----------
    workers : int
        Requests answered at the same time; more wait for their turn.
    limits : DecodeLimits
        What one request may cost.
    idle_s : float
        After so many seconds without a request all workers leave.
    starter : Workers
        Starts them.

    Notes
    -----
    May be used from any thread.
    """

    def __init__(
        self,
        workers: int,
        limits: DecodeLimits,
        idle_s: float,
        starter: Workers,
    ) -> None:
        self._limits = limits
        self._idle_s = idle_s
        self._starter = starter
        self._turns = threading.BoundedSemaphore(workers)
        # Guards everything below.
        self._lock = threading.Lock()
        self._free: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._idle_since: float | None = None
        self._closed = False

    def ask(self, message: Mapping[str, Any], blob: bytes = b"", descriptor: int | None = None) -> Frame | Unreadable:
        """Return the answer to one request, or that its worker died or took too long.

        Parameters
        ----------
        message : mapping
        blob : bytes
        descriptor : int, optional
            An open file that the request is about; it stays the caller's.

        Raises
        ------
        ChildError
            When no worker can be started.
        UnavailableError
            When the workers are closed.
        """
        with self._turns:
            answer = self._answer_loaded(message, blob, descriptor)
            # It may have been killed for want of memory, or by somebody: the request need not be to blame.
            return self._answer_loaded(message, blob, descriptor) if answer == Unreadable(*CRASHED) else answer

    def _answer_loaded(self, message: Mapping[str, Any], blob: bytes, descriptor: int | None) -> Frame | Unreadable:
        """Return the answer of a worker that has loaded what the request takes."""
        while (answer := self._answer(message, blob, descriptor)) is None:
            pass
        return answer

    def _answer(self, message: Mapping[str, Any], blob: bytes, descriptor: int | None) -> Frame | Unreadable | None:
        """Return the answer of one worker; None when it had to go because it lacks something that others will have."""
        child = self._taken()
        try:
            child.send(message, blob, [] if descriptor is None else [descriptor])
            answer = child.receive(self._limits.timeout_s)
            name = child.asked_for(answer)
        except TimedOutError:
            return self._lost(child, timed_out(self._limits))
        except ChildError:
            return self._lost(child, CRASHED)
        with self._lock:
            self._busy.discard(child)
            if not name:
                self._free.append(child)
                return answer
        self._starter.name(name)
        self._close(child)
        return None

    @property
    def busy(self) -> int:
        """Requests that workers are at."""
        with self._lock:
            return len(self._busy)

    def processes(self) -> list[WorkerProcess]:
        """Return the workers."""
        with self._lock:
            return [*self._free, *self._busy]

    def _close(self, child: WorkerProcess) -> None:
        self._starter.measure([child])
        child.close()

    def close_idle(self, now: float) -> None:
        """Let all workers go when none was asked since the first call that found them idle, `idle_s` before `now`."""
        with self._lock:
            if self._busy or not self._free or self._idle_since is None:
                self._idle_since = now
            if now - self._idle_since < self._idle_s:
                return
            leaving, self._free = self._free, []
        for child in leaving:
            self._close(child)

    def close(self) -> None:
        """Kill all workers."""
        with self._lock:
            self._closed = True
            leaving, self._free = self._free, []
            for child in self._busy:
                # Not closed here: the thread that waits for it sees its end and does that, or has just done so.
                child.kill()
        for child in leaving:
            child.close()

    def _taken(self) -> WorkerProcess:
        with self._lock:
            self._idle_since = None
            while self._free:
                child = self._free.pop()
                if self._starter.is_current(child):
                    self._busy.add(child)
                    return child
                self._close(child)
        child = self._starter.started()
        try:
            child.receive(START_TIMEOUT_S)
            with self._lock:
                if self._closed:
                    raise UnavailableError(CLOSED)
                self._busy.add(child)
        except CbirError:
            child.close()
            raise
        return child

    def _lost(self, child: WorkerProcess, reason: tuple[str, str]) -> Unreadable:
        with self._lock:
            self._busy.discard(child)
            closed = self._closed
        self._close(child)
        if closed:
            raise UnavailableError(CLOSED)
        return Unreadable(*reason)
