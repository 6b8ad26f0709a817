"""Read a file once, whole, and be sure of what was read.

In: a path.  Out: its bytes and its state, or why not.  Never here: what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from cbir_daemon.records import FileState, Unreadable

# O_NONBLOCK: opening a pipe that nobody writes to must not wait.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_OPEN_ERRORS: Final = {
    errno.ENOENT: ("vanished", "the file is gone"),
    errno.ENOTDIR: ("vanished", "the file is gone"),
    errno.EACCES: ("no-access", "permission denied"),
    errno.EPERM: ("no-access", "permission denied"),
    errno.ELOOP: ("not-a-file", "a symbolic link"),
    # What opening a socket gives.
    errno.ENXIO: ("not-a-file", "a socket or a device"),
}


OUT_OF_MEMORY: Final = "reading it needs more memory than a worker may have"


class UnreadableError(Exception):
    """Carries an `Unreadable` from where it is found out to where it is answered; never leaves the worker."""

    def __init__(self, code: str, message: str, state: FileState | None = None) -> None:
        super().__init__(message)
        self.unreadable = Unreadable(code, message, state)


def read_whole(path: bytes, max_file_bytes: int, *, follow: bool = False) -> tuple[bytes, FileState]:
    """Return the bytes of a regular file and the state that it had before and after.

    Parameters
    ----------
    path : bytes
        Absolute path.
    max_file_bytes : int
        Largest file that is read.
    follow : bool
        Read what a symbolic link leads to, instead of refusing it.

    Raises
    ------
    UnreadableError
        `vanished`, `no-access`, `not-a-file`, `read-failed`, `empty`, `too-large` or `changed-while-reading`.
    """
    with _opened(path, follow=follow) as descriptor:
        status = os.fstat(descriptor)
        state = _state(status)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("not-a-file", "a folder, a pipe or a device", state)
        if state.size_bytes > max_file_bytes:
            message = f"{state.size_bytes} bytes, more than the {max_file_bytes} allowed by max_file_bytes"
            raise UnreadableError("too-large", message, state)
        data = _read_past_cache(descriptor, state.size_bytes)
        after = _state(os.fstat(descriptor))
        if after != state or len(data) != state.size_bytes:
            # The earlier state: it differs from what the next look finds, so the file is read again.
            raise UnreadableError("changed-while-reading", "the file was written to while it was read", state)
        if not data:
            raise UnreadableError("empty", "the file has no bytes", state)
    return data, state


def _read_past_cache(descriptor: int, size_bytes: int) -> bytes:
    """Return the bytes, and leave the page cache as it was: an album must not push out what a NAS is serving."""
    was_cached = _is_cached(descriptor)
    data = _read(descriptor, size_bytes)
    if not was_cached:
        # Advice that a file system does not take is no reason not to have the bytes.
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return data


def _is_cached(descriptor: int) -> bool:
    """Return whether the beginning of a file is in memory; True as well where the file system cannot tell.

    Asking makes the kernel fetch it: ask once, before reading.
    """
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        # Network and user-space file systems refuse the flag; a fault of the disk shows when the file is read.
        return True
    return True


def _read(descriptor: int, size_bytes: int) -> bytes:
    # One more than there should be: a file that grew shows it.
    data = os.read(descriptor, size_bytes + 1)
    # Network and user-space file systems, and reads of 2 GiB, come in pieces.
    while len(data) < size_bytes and (more := os.read(descriptor, size_bytes + 1 - len(data))):
        data += more
    return data


@contextmanager
def _opened(path: bytes, *, follow: bool) -> Iterator[int]:
    try:
        descriptor = os.open(path, _OPEN_FLAGS if follow else _OPEN_FLAGS | os.O_NOFOLLOW)
    except OSError as error:
        raise _translated(error) from error
    try:
        yield descriptor
    except OSError as error:
        raise _translated(error) from error
    finally:
        os.close(descriptor)


def _translated(error: OSError) -> UnreadableError:
    code, message = _OPEN_ERRORS.get(error.errno or 0, ("read-failed", error.strerror or "input/output error"))
    return UnreadableError(code, message)


def _state(status: os.stat_result) -> FileState:
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)


def state_of(path: bytes) -> FileState | None:
    """Return the state of what lies at `path`, links not followed, or None when nothing does or it cannot be seen."""
    try:
        return _state(os.lstat(path))
    except OSError:
        return None
