"""Kernel events to hints: the only importer of watchdog.

In: albums.  Out: absolute paths at which something may have happened.  Never here: what happened, what is there now.

The kernel drops events when its queue overflows, network file systems send none, and a folder that is moved in arrives
before its watches do.  So an event only says where to look, and a periodic scan finds what no event told.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

logger = logging.getLogger(__name__)

# Not: opened, closed without a write.  The daemon's own reading would raise them.
EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]

LIMITS = {
    errno.ENOSPC: "raise fs.inotify.max_user_watches; ",
    errno.EMFILE: "raise fs.inotify.max_user_instances; ",
}
"""What the operator can do about a kernel that refuses."""


class Watcher:
    """Watches album roots and reports paths.

    Parameters
    ----------
    report : callable
        Called with the absolute path of each event, from watchdog's threads; returns at once.
    """

    def __init__(self, report: Callable[[bytes], None]) -> None:
        self._handler = _Reporter(report)
        self._observers: dict[bytes, BaseObserver] = {}

    def watch(self, root: bytes) -> bool:
        """Begin to watch a folder and all below it; False when the kernel refuses and it must be polled."""
        if root in self._observers:
            return True
        try:
            self._observers[root] = self._started(root)
        except OSError as error:
            hint = LIMITS.get(error.errno or 0, "")
            logger.warning(
                "watching refused album=%s reason=%s hint=%spolled until then", os.fsdecode(root), error.strerror, hint
            )
            return False
        return True

    def _started(self, root: bytes) -> BaseObserver:
        # An observer an album: one that dies, or whose folder is unmounted, takes no other with it.
        observer = Observer()
        try:
            observer.schedule(self._handler, os.fsdecode(root), recursive=True, event_filter=EVENTS)
            observer.start()
        except OSError:
            # It holds a thread and descriptors from its making on.
            observer.stop()
            raise
        return observer

    def stands(self, root: bytes) -> bool:
        """Whether `root` was taken under watch and not forgotten."""
        return root in self._observers

    def is_alive(self, root: bytes) -> bool:
        """Whether the threads that watch `root` still run: when a folder is deleted they end, even if it comes back."""
        observer = self._observers.get(root)
        return observer is not None and observer.is_alive() and all(one.is_alive() for one in observer.emitters)

    def forget(self, root: bytes) -> None:
        """Stop watching a folder."""
        observer = self._observers.pop(root, None)
        if observer is not None:
            observer.stop()
            observer.join()

    def close(self) -> None:
        """Stop watching everything."""
        for root in list(self._observers):
            self.forget(root)


class _Reporter(FileSystemEventHandler):
    def __init__(self, report: Callable[[bytes], None]) -> None:
        self._report = report

    def on_any_event(self, event: FileSystemEvent) -> None:
        # Where it went comes first: there the file is known again, as long as it still stands where it was.
        for path in (event.dest_path, event.src_path):
            if path:
                self._report(os.fsencode(path))
