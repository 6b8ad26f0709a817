"""Files that appear whole or not at all, and what the kernel says of memory in files.

In: a path and bytes.  Out: a file on the disk under its name; figures of /proc.  Never here: what the bytes mean.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

NEW_SUFFIX = ".new"
FILE_MODE = 0o600
"""What the daemon writes is for its owner alone: names of pictures are private."""

BYTES_PER_KIB = 1024


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, readable by its owner only; the data is on the disk when the block ends.

    Parameters
    ----------
    path : Path
        An old file there is written over, in place.

    Yields
    ------
    BinaryIO

    Raises
    ------
    OSError
        When the disk refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the block ends, with all its data on the disk.

    Parameters
    ----------
    path : Path
        An old file there stays as it is until then, and for good when the block raises.

    Yields
    ------
    BinaryIO
        A file beside it, under the name with `NEW_SUFFIX`.

    Raises
    ------
    OSError
        When the disk refuses.

    Notes
    -----
    After a power cut there is the old file or the new one.  Which of them is settled by `synchronise` of the folder.
    """
    new = path.with_name(path.name + NEW_SUFFIX)
    try:
        with new_file(new) as file:
            yield file
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def synchronise(path: Path) -> None:
    """Return once a file's data, or the names in a folder, are on the disk; raises `OSError` when it refuses."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot for folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def memory_bytes(file: Path, name: str) -> int:
    """Return a figure of memory from a file of /proc.

    Parameters
    ----------
    file : Path
        Such as /proc/self/status or /proc/meminfo.
    name : str
        Such as "VmHWM", the largest resident memory so far, or "MemAvailable".

    Returns
    -------
    int
        Bytes; 0 when the file has no such line, as of a process that has ended and was not waited for.

    Raises
    ------
    OSError
        When the file is not there, as of a process that is gone.

    References
    ----------
    proc_pid_status(5) and proc_meminfo(5): NAME, ":", a number, "kB", which means KiB.
    """
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * BYTES_PER_KIB
    return 0
