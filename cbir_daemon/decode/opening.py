"""Open a file for a worker: the daemon's side of reading.

In: a path.  Out: a descriptor that can only be read from, and the state of the file behind it, or why there is none.
Never here: what is in the file; no byte of it is read in the daemon.

Workers are given descriptors and no paths: a worker that hostile bytes have taken over can then read nothing but the
files that it was to read anyway.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final

from cbir_daemon.errors import ChildError
from cbir_daemon.records import FileState, Unreadable
from cbir_daemon.system import heartbeat

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

# Say nothing about the file: this process, the machine or memory is out of something.
_OUR_ERRORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Handle:
    """A regular file, open for reading; its holder closes it.

    Parameters
    ----------
    descriptor : int
    state : FileState
        Of the file when it was opened.
    """

    descriptor: int
    state: FileState

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


def open_file(path: bytes, max_file_bytes: int, *, follow: bool = False) -> Handle | Unreadable:
    """Open a regular file to be read.

    Parameters
    ----------
    path : bytes
        Absolute path.
    max_file_bytes : int
        Largest file that may be read.
    follow : bool
        Open what a symbolic link leads to, instead of refusing it.

    Returns
    -------
    Handle or Unreadable
        `vanished`, `no-access`, `not-a-file`, `read-failed` or `too-large`.

    Raises
    ------
    ChildError
        When nothing can be opened at all: no file is to blame.

    Notes
    -----
    A network server that does not answer keeps the caller waiting; the thread's heartbeat says for what.
    """
    heartbeat.beat(waits_for=f"the file system of {os.fsdecode(path)}")
    try:
        descriptor = os.open(path, _OPEN_FLAGS if follow else _OPEN_FLAGS | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _OUR_ERRORS:
            hint = "close programs, or raise LimitNOFILE="
            raise ChildError(f"no file can be opened: {error.strerror}", hint=hint) from error
        return unreadable(error)
    except ValueError:
        # A zero byte: no file has such a name.
        return Unreadable("vanished", "the file is gone")
    finally:
        heartbeat.beat()
    refused = _refusal(descriptor, max_file_bytes)
    if isinstance(refused, Unreadable):
        os.close(descriptor)
        return refused
    return Handle(descriptor, refused)


def _refusal(descriptor: int, max_file_bytes: int) -> FileState | Unreadable:
    """Return why what was opened is not to be read, or its state when it is."""
    try:
        status = os.fstat(descriptor)
    except OSError as error:
        return unreadable(error)
    state = state_from(status)
    if not stat.S_ISREG(status.st_mode):
        return Unreadable("not-a-file", "a folder, a pipe or a device", state)
    if state.size_bytes > max_file_bytes:
        message = f"{state.size_bytes} bytes, more than the {max_file_bytes} allowed by max_file_bytes"
        return Unreadable("too-large", message, state)
    return state


def unreadable(error: OSError) -> Unreadable:
    """Return the words for what the operating system said of a file."""
    code, message = _OPEN_ERRORS.get(error.errno or 0, ("read-failed", error.strerror or "input/output error"))
    return Unreadable(code, message)


def state_from(status: os.stat_result) -> FileState:
    """Return a file's state from what the operating system knows of it."""
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)
