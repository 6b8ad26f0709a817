"""Kernel events to hints: the only importer of watchdog.

In: albums.  Out: absolute paths at which something may have happened, albums whose events were lost, and the folders
that the kernel tells nothing of.  Never here: what happened, what is there now.

The kernel drops events when its queue overflows, refuses watches when there are too many, and sends none of what goes
on behind a network file system.  A folder that is moved in arrives before its watches do.  So an event only says where
to look, and a periodic scan finds what no event told; but that events were lost is told, so that nobody waits for it.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from cbir_daemon.system.filesystems import lies_in

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

SYSCTL = Path("/proc/sys")
LIMITS = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}
"""Limits that the operator can raise when the kernel refuses: names below `fs.inotify`."""

NAMESPACE_LIMITS = {"max_user_watches": "max_inotify_watches", "max_user_instances": "max_inotify_instances"}
"""The limits of a container's user name space: for each name below `fs.inotify` the one below `user`."""


def limits(sysctl: Path = SYSCTL) -> tuple[int, ...]:
    """Return the limits of this user's watches: when they change, a refused folder may be allowed."""
    machine = [_limit(sysctl / "fs/inotify" / name) for name in NAMESPACE_LIMITS]
    return (*machine, *(_limit(sysctl / "user" / name) for name in NAMESPACE_LIMITS.values()))


def advice(number: int | None, refused: int, sysctl: Path = SYSCTL) -> str:
    """Return the command that raises a limit of the kernel; empty when no limit was the reason.

    Parameters
    ----------
    number : int or None
        The `errno` with which the kernel refused.
    refused : int
        Watches or instances that were refused; the new limit has room for twice as many.
    sysctl : Path
        The folder in which the kernel shows its limits.
    """
    name = LIMITS.get(number or 0)
    if name is None:
        return ""
    inner = NAMESPACE_LIMITS[name]
    # The machine's own limit shows in both places, and is the one to raise then.
    lowest, _, key = min(
        (_limit(sysctl / "fs/inotify" / name), 0, f"fs.inotify.{name}"),
        (_limit(sysctl / "user" / inner), 1, f"user.{inner}"),
    )
    # Room for twice as much: albums grow, and others watch too.
    return f"sysctl -w {key}={1 << (lowest + 2 * refused).bit_length()}"


def _limit(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 1 << 31


@dataclass(frozen=True, slots=True)
class Watched:
    """How an album that is watched is doing.

    Parameters
    ----------
    refused : frozenset of bytes
        Absolute paths of the folders in it that the kernel would not watch; of the root when it is watched not at all.
    why : str
        What the kernel said; empty when it refused nothing.
    advice : str
        The command that makes room for them; empty when it is no matter of limits.
    """

    refused: frozenset[bytes] = frozenset()
    why: str = ""
    advice: str = ""


NOT_WATCHED = Watched()


@dataclass(frozen=True, slots=True)
class Unwatched:
    """The folders of an album from which no events come though it is watched.

    Parameters
    ----------
    folders : frozenset of bytes
        Absolute paths of single folders.
    trees : tuple of bytes
        Absolute paths of folders with all below them.
    """

    folders: frozenset[bytes] = frozenset()
    trees: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.folders or self.trees)

    def has(self, folder: bytes) -> bool:
        """Whether the folder at an absolute path is one of them."""
        return folder in self.folders or any(lies_in(folder, tree) for tree in self.trees)


class Watcher:
    """Watches album roots and reports paths.

    Parameters
    ----------
    report : callable
        Called with the absolute path of each event, from watchdog's threads; returns at once.
    lost : callable, optional
        Called with an album's root when its events were lost, after everything in it is watched again.
    is_watched : callable, optional
        Says of a root and the absolute path of a folder in it whether anybody wants to know what happens there.
    """

    def __init__(
        self,
        report: Callable[[bytes], None],
        lost: Callable[[bytes], None] = lambda root: None,
        is_watched: Callable[[bytes, bytes], bool] = lambda root, folder: True,
    ) -> None:
        self._report = report
        self._lost = lost
        self._is_watched = is_watched
        self._observers: dict[bytes, _Observer] = {}
        self._refusals: dict[bytes, OSError] = {}

    def watch(self, root: bytes) -> bool:
        """Begin to watch a folder and all below it; False when the kernel refuses and it must be polled."""
        if root in self._observers:
            return True
        try:
            self._observers[root] = self._started(root)
        except OSError as error:
            self._refusals[root] = error
            hint = advice(error.errno, 1) or "it is polled"
            logger.warning("watching refused album=%s reason=%s hint=%s", os.fsdecode(root), error.strerror, hint)
            return False
        self._refusals.pop(root, None)
        return True

    def _started(self, root: bytes) -> _Observer:
        # An observer an album: one that dies, or whose folder is unmounted, takes no other with it.
        observer = _Observer(_Kernel(root, self._report, self._lost, self._is_watched))
        try:
            observer.schedule(_Reporter(self._report), os.fsdecode(root), recursive=True, event_filter=EVENTS)
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
        """Whether `root` is watched still: all threads run, and the folder at that path is the one that is watched.

        When a folder is deleted its threads end, even if it comes back; one that is moved away, unmounted or mounted
        over is watched where it went.
        """
        observer = self._observers.get(root)
        if observer is None or observer.kernel.identity != _identity(root):
            return False
        return all(thread.is_alive() for thread in (observer, observer.kernel, *observer.emitters))

    def watched(self, root: bytes) -> Watched:
        """Return how an album is doing; of one that is not watched, why the kernel refused it."""
        observer = self._observers.get(root)
        if observer is not None:
            return observer.kernel.watched()
        refusal = self._refusals.get(root)
        if refusal is None:
            return NOT_WATCHED
        return Watched(frozenset([root]), refusal.strerror or str(refusal), advice(refusal.errno, 1))

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


class _Kernel(InotifyFD):
    """The one inotify descriptor of an album; sees what watchdog keeps to itself: lost events and refused watches."""

    def __init__(
        self,
        root: bytes,
        report: Callable[[bytes], None],
        lost: Callable[[bytes], None],
        is_watched: Callable[[bytes, bytes], bool],
    ) -> None:
        self.root = root
        self.identity = _identity(root)
        super().__init__()
        self._report = report
        self._lost = lost
        self._is_watched = is_watched
        self._refused_lock = threading.Lock()
        self._refused: dict[bytes, int] = {}

    def watched(self) -> Watched:
        with self._refused_lock:
            # One that is gone needs no watch; one that was renamed has been tried again by its new name.
            self._refused = {path: number for path, number in self._refused.items() if os.path.lexists(path)}
            if not self._refused:
                return NOT_WATCHED
            # A limit says more than a folder that is closed.
            number = max(self._refused.values(), key=lambda number: number in LIMITS)
            return Watched(frozenset(self._refused), os.strerror(number), advice(number, len(self._refused)))

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        # watchdog leaves out a folder that raises, unless it is the root.
        if path != self.root and not self._is_watched(self.root, path):
            # A NAS has a folder of thumbnails beside each picture.
            raise FileNotFoundError(errno.ENOENT, "not wanted")
        try:
            if not os.access(path, os.R_OK, effective_ids=True):
                # watchdog would take the -1 that it gets for the number of a watch.
                os.scandir(path).close()
            # watchdog does not ask to hear that the root itself is moved.
            wider = Mask(mask | InotifyConstants.IN_MOVE_SELF) if path == self.root else mask
            descriptor = super().add_callback(path, wider, callback, id_)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            with self._refused_lock:
                self._refused[path] = error.errno or 0
            raise
        with self._refused_lock:
            self._refused.pop(path, None)
        return descriptor

    def handle_event(self, event: InotifyEvent) -> None:
        super().handle_event(event)
        if event.is_move_self:
            self._report(self.root)
        if event.is_queue_overflow:
            # Not before everything is watched again: what happens after the walk began is an event.
            self._lost(self.root)


class _Observer(BaseObserver):
    """watchdog's observer, on the inotify descriptor of one album."""

    def __init__(self, kernel: _Kernel) -> None:
        self.kernel = kernel
        kernel.start()
        super().__init__(InotifyEmitter, inotify_fd=kernel)

    def on_thread_stop(self) -> None:
        super().on_thread_stop()
        self.kernel.stop()
        self.kernel.join()


def _identity(root: bytes) -> tuple[int, int]:
    """Return device and inode of the folder that is at a path now; zeros when there is none."""
    try:
        status = os.lstat(root)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
