"""Signals that wait in a queue until the main thread reads them.

In: signals of this process.  Out: their numbers.  Never here: what a signal means.

The handler is a function of C and runs no Python.  A handler in Python is interrupted by the next signal before its
first line, so that a burst of signals ends in a `RecursionError`; and one that sets a `threading.Event` waits for ever
when the line it interrupted holds the lock of that event.
"""

import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import cast

Handler = Callable[[int, FrameType | None], None]


class Signals:
    """A queue of the signals that arrived."""

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    @contextmanager
    def caught(self, *numbers: signal.Signals) -> Iterator[None]:
        """Put these signals into the queue while the block runs; only the main thread may do so."""
        # `put(item, block)` ignores its second argument, here the frame, and may be called from a handler.
        handler = cast("Handler", self._arrived.put)
        before = {number: signal.signal(number, handler) for number in numbers}
        try:
            yield
        finally:
            for number, former in before.items():
                signal.signal(number, former)

    def put(self, number: int) -> None:
        """Let a thread of this process ask for what the signal asks for."""
        self._arrived.put(number)

    def wait(self, timeout_s: float) -> set[int]:
        """Take all that have arrived, after waiting for the first one.

        Parameters
        ----------
        timeout_s : float
            How long to wait for the first one, in seconds.

        Returns
        -------
        set of int
            Their numbers; empty when none came in time.
        """
        arrived: set[int] = set()
        try:
            arrived.add(self._arrived.get(timeout=timeout_s))
            while True:
                arrived.add(self._arrived.get_nowait())
        except queue.Empty:
            return arrived
