"""What a test leaves behind in its process: threads and open files.

Only what is new counts, never a number of threads or files: what an earlier test left may end while this one runs.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T", bound=threading.Thread)

_DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if a thread or an open file is there at the end that was not there at the beginning."""
    gc.collect()
    threads, files = set(threading.enumerate()), open_files()
    yield
    gc.collect()
    new_threads = [thread.name for thread in threading.enumerate() if thread not in threads]
    new_files = sorted((open_files() - files).elements())
    assert (new_threads, new_files) == ([], [])


def thread_of(kind: type[T]) -> T:
    """Return the one thread of a kind that runs."""
    (thread,) = [thread for thread in threading.enumerate() if isinstance(thread, kind)]
    return thread


def open_files() -> Counter[str]:
    """Return what the descriptors of this process are open on, and how many of each."""
    return Counter(filter(None, map(_points_to, _DESCRIPTORS.iterdir())))


def _points_to(entry: Path) -> str:
    """Return what a descriptor is open on; the empty string if it closed meanwhile."""
    try:
        return os.readlink(entry)  # noqa: PTH115 -- "anon_inode:inotify" is no path
    except FileNotFoundError:
        return ""
