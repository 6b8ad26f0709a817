"""Walks that were asked for and are not yet done, in order.

In: requests, from any thread.  Out: the requests to one thread, and whether a ticket's walk has ended.  Never here:
walking.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """A walk that was asked for.

    Parameters
    ----------
    ticket : int
        Numbers rise by one with each request.
    path : bytes or None
        Absolute path at and below which is walked; None for all albums.
    accept_losses : bool
        Whether what is gone is to be forgotten even when it looks like a lost disk.
    retry : bool
        Whether files whose disk failed are tried at once, and not when their pause has ended.
    """

    ticket: int
    path: bytes | None
    accept_losses: bool
    retry: bool = False


class ScanRequests:
    """The requests, each taken once.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[ScanRequest] = []
        self._last = 0
        self.done = 0

    @property
    def waiting(self) -> bool:
        """Whether any walk has not ended."""
        return self.done < self._last

    def add(self, path: bytes | None, *, accept_losses: bool = False, retry: bool = False) -> int:
        """Ask for a walk and return its ticket.

        Parameters
        ----------
        path : bytes or None
            Absolute path at and below which is walked; None for all albums.
        accept_losses : bool
            Whether what is gone is to be forgotten even when it looks like a lost disk.
        retry : bool
            Whether files whose disk failed are tried at once, and not when their pause has ended.
        """
        with self._lock:
            self._last += 1
            self._requests.append(ScanRequest(self._last, path, accept_losses, retry))
            return self._last

    def take(self) -> list[ScanRequest]:
        """Remove and return the requests, in order."""
        with self._lock:
            taken, self._requests = self._requests, []
            return taken

    def finish(self, request: ScanRequest) -> None:
        """Note that the walk of a request, and of those before it, has ended."""
        self.done = request.ticket
