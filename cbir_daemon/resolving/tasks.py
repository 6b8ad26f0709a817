"""A task of the journal, and whether its files are still what they were.

In: tasks, the disk.  Out: nothing, or why a file is left alone.  Never here: changing a file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cbir_daemon.errors import CbirError
from cbir_daemon.records import ResolveTask

# O_NONBLOCK: opening a pipe that nobody writes to must not wait.
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SkipError(CbirError):
    """A file that is left alone; the message ends the sentence that begins with its path."""

    code = "skipped"


Stamp = tuple[int, int, int, int]
"""Device, inode, size in bytes and mtime in nanoseconds."""


class Digests:
    """Digests of files, each read once as long as it does not change: one file is kept for many."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, bytes]] = {}

    def of(self, path: Path) -> bytes:
        """Return the SHA-256 of a regular file; raises `OSError`, and `SkipError` when it changes meanwhile."""
        stamp = stamp_of(path)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            self._known[path] = known = (stamp, _digest(path, stamp))
        return known[1]


def _digest(path: Path, stamp: Stamp) -> bytes:
    with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        if _stamp(os.fstat(file.fileno())) != stamp:
            raise SkipError("changed while it was read")
    return digest


def stamp_of(path: Path) -> Stamp:
    """Return the stamp by which a later look knows whether a file is unchanged.

    Raises
    ------
    OSError
        When there is no such file, or it cannot be looked at.
    SkipError
        When it is no regular file.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise SkipError("is no longer a regular file")
    return _stamp(status)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def maybe_stamp(path: Path | None) -> Stamp | None:
    """Return the stamp of a file (`stamp_of`), or None for no path and for a file that is not there."""
    try:
        return None if path is None else stamp_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def check(task: ResolveTask, digests: Digests) -> None:
    """Look just before the file is touched whether all is as it was planned.

    Parameters
    ----------
    task : ResolveTask
        Planned.
    digests : Digests
        Reads both files, unless it has read them already.

    Raises
    ------
    SkipError
        When the file is not the one that was planned for, or the one that is kept is not there, whole and readable.
    """
    try:
        stamp = stamp_of(task.path)
    except OSError as error:
        raise SkipError(f"is no longer there, or cannot be seen ({error.strerror})") from error
    if stamp[2:] != (task.size_bytes, task.mtime_ns):
        raise SkipError("was changed after the plan was made")
    check_kept(task, digests, stamp)
    try:
        if digests.of(task.path) != task.digest:
            raise SkipError("has other bytes than when the plan was made")
    except OSError as error:
        raise SkipError(f"cannot be read ({error.strerror})") from error


def check_kept(task: ResolveTask, digests: Digests, stamp: Stamp) -> None:
    """Look whether the file that is kept is there, has its bytes, and is another file.

    Parameters
    ----------
    task : ResolveTask
        Names the file that is kept, and its digest.
    digests : Digests
        Reads that file, unless it has read it already.
    stamp : tuple of int
        Of the file that is not kept.

    Raises
    ------
    SkipError
        When one of this is not so.
    """
    if task.keep is None:
        raise SkipError("stays, because nothing is kept in its place")
    try:
        if stamp_of(task.keep)[:2] == stamp[:2]:
            raise SkipError(f"is the same file as the one kept, {task.keep}, under another name")
        if digests.of(task.keep) != task.keep_digest:
            raise SkipError(f"stays, because the one kept has other bytes now: {task.keep}")
    except OSError as error:
        raise SkipError(f"stays, because the one kept cannot be read: {task.keep} ({error.strerror})") from error
