"""Read a file once, whole, and be sure of what was read: the worker's side.

In: a descriptor.  Out: its bytes and its state, or why not.  Never here: paths, what the bytes mean.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from cbir_daemon.decode.opening import state_from, unreadable
from cbir_daemon.records import FileState, Unreadable

OUT_OF_MEMORY: Final = "reading it needs more memory than a worker may have"


class UnreadableError(Exception):
    """Carries an `Unreadable` from where it is found out to where it is answered; never leaves the worker."""

    def __init__(self, code: str, message: str, state: FileState | None = None) -> None:
        super().__init__(message)
        self.unreadable = Unreadable(code, message, state)


def read_whole(descriptor: int) -> tuple[bytes, FileState]:
    """Return the bytes of a regular file and the state that it had before and after.

    Parameters
    ----------
    descriptor : int
        Open for reading, wherever it stands; it stays open.

    Raises
    ------
    UnreadableError
        `read-failed`, `empty` or `changed-while-reading`.
    """
    try:
        state = state_from(os.fstat(descriptor))
        data = _read_past_cache(descriptor, state.size_bytes)
        after = state_from(os.fstat(descriptor))
    except OSError as error:
        words = unreadable(error)
        raise UnreadableError(words.code, words.message) from error
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
    # By place, not from where the descriptor stands: a file whose worker died is read again from the same one.
    # One more than there should be: a file that grew shows it.
    data = os.pread(descriptor, size_bytes + 1, 0)
    # Network and user-space file systems, and reads of 2 GiB, come in pieces.
    while len(data) < size_bytes and (more := os.pread(descriptor, size_bytes + 1 - len(data), len(data))):
        data += more
    return data
