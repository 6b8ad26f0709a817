"""Whether the daemon's threads still go round: each says within what time it will be heard of again.

In: calls from the loops themselves.  Out: which threads are late, and which have something to complain of.  Never here:
what a thread does, and what follows when it is late.

That a thread lives says little: it may wait for a lock for ever.  So each loop promises, before each step, when it
takes the next one at the latest.  Only the thread itself writes its heartbeat, so a promise is two assignments and no
lock.  In a thread that never registered (a connection, a test) a promise does nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STALLED_S = 120.0
"""No single step takes longer: a commit waits 10 s for a lock, a walk says so after each folder."""

FOREVER_S = math.inf
"""For a thread that waits until somebody asks something of it."""


class Heartbeat:
    """The promise of one thread.

    Parameters
    ----------
    name : str
        Of the thread.

    Attributes
    ----------
    due : float
        Monotonic seconds by which it is heard of again.
    waits_for : str
        What outside of this program it is at the mercy of now; empty for nothing.
    trouble : str
        What refused its work the last time; empty when it went round without.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.due = time.monotonic() + STALLED_S
        self.waits_for = ""
        self.trouble = ""


_here = threading.local()
_all: list[Heartbeat] = []
_all_lock = threading.Lock()


@contextmanager
def of(name: str) -> Iterator[Heartbeat]:
    """Register this thread while the block runs."""
    heartbeat = Heartbeat(name)
    before = getattr(_here, "heartbeat", None)
    with _all_lock:
        _all.append(heartbeat)
    _here.heartbeat = heartbeat
    try:
        yield heartbeat
    finally:
        _here.heartbeat = before
        with _all_lock:
            _all.remove(heartbeat)


def beat(seconds: float = STALLED_S, *, waits_for: str = "") -> None:
    """Promise that this thread is heard of again within `seconds`.

    Parameters
    ----------
    seconds : float
        Longest time for the next step.
    waits_for : str
        What the step is at the mercy of, such as a file system: being late is then no fault of this program's.
    """
    heartbeat: Heartbeat | None = getattr(_here, "heartbeat", None)
    if heartbeat is not None:
        heartbeat.waits_for = waits_for
        heartbeat.due = time.monotonic() + seconds


def idle(seconds: float) -> None:
    """Promise that this thread is heard of again after a wait for work; its trouble is over.

    Parameters
    ----------
    seconds : float
        Longest wait; one step more is allowed on top of it.
    """
    heartbeat: Heartbeat | None = getattr(_here, "heartbeat", None)
    if heartbeat is not None:
        heartbeat.trouble = ""
        beat(seconds + STALLED_S)


def refused(reason: str, retry_s: float) -> None:
    """Note that this thread's work was refused, and promise that it tries again.

    Parameters
    ----------
    reason : str
        What refused the work: a sentence for `cbir status`.
    retry_s : float
        Seconds until it tries again.
    """
    heartbeat: Heartbeat | None = getattr(_here, "heartbeat", None)
    if heartbeat is not None:
        heartbeat.trouble = reason
        beat(retry_s + STALLED_S)


def all_now() -> list[Heartbeat]:
    """Return the heartbeats of all registered threads."""
    with _all_lock:
        return list(_all)


def late(now: float) -> list[Heartbeat]:
    """Return the heartbeats of the threads that have broken their promise; `now` is monotonic seconds."""
    return [heartbeat for heartbeat in all_now() if heartbeat.due < now]
