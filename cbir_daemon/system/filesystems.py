"""The file system that a path lies on, and whether the kernel hears of every change there.

In: a path, and the kernel's table of mounts.  Out: the mount it lies on, the mounts below it.  Never here: what is in a
folder; nothing here touches the file systems themselves, so a server that is gone keeps nobody waiting.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNTS_FILE = Path("/proc/self/mountinfo")

# Changed by other machines or programs behind the kernel's back: inotify tells only what goes through this mount.
SILENT = frozenset(
    {
        # Network and cluster file systems.
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph", "coda", "lustre", "gpfs", "beegfs"),
        *("pvfs2", "orangefs", "gfs2", "ocfs2", "davfs"),
        # What a host gives a virtual machine or a container.
        *("virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs"),
        # Layers that tell nothing of changes made in the layer below.
        *("overlay", "aufs", "ecryptfs"),
        "fuse",
    }
)
"""Types that are polled unless told otherwise; and every `fuse.…`, but not `fuseblk`, which is a disk of its own."""

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system.

    Parameters
    ----------
    number : int
        Of this mount, for as long as it lasts: the same disk mounted again has another.
    point : bytes
        Absolute path at which it is mounted.
    type : str
        Such as "ext4", "nfs4", "fuse.sshfs".
    """

    number: int
    point: bytes
    type: str

    @property
    def tells(self) -> bool:
        """Whether the kernel hears of every change on it."""
        return self.type.partition(".")[0] not in SILENT


UNKNOWN = Mount(0, b"/", "unknown")
"""Where no table of mounts can be read, or it does not have the path."""


def mounts(table: Path = MOUNTS_FILE) -> tuple[Mount, ...]:
    """Return every mount this process sees, in the order in which they were mounted; empty where none can be read."""
    try:
        return parsed(table.read_bytes())
    except OSError:
        return ()


class MountNews:
    """Tells whether anything was mounted or unmounted, at the cost of one call: the kernel keeps count."""

    def __init__(self) -> None:
        self._poller = select.poll()
        try:
            self._file: int | None = os.open(MOUNTS_FILE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = None
        else:
            self._poller.register(self._file, select.POLLPRI)

    def come(self) -> bool:
        """Whether there was any since the last call, or since this was made; never where no table can be read."""
        return self._file is not None and bool(self._poller.poll(0))

    def close(self) -> None:
        """Let go of the kernel's table."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def parsed(table: bytes) -> tuple[Mount, ...]:
    """Return the mounts in the text of a `mountinfo` file; lines that are not understood are passed over.

    References
    ----------
    proc_pid_mountinfo(5): number, parent, device, root, mount point, options, optional fields, "-", type, source, ...
    """
    found = []
    # Not splitlines(): a carriage return may stand in a name, and is not escaped.
    for line in table.split(b"\n"):
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        if len(fields) > 4 and fields[0].isdigit() and after:
            point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
            found.append(Mount(int(fields[0]), point, after.split(b" ")[0].decode("ascii", "replace")))
    return tuple(found)


def mount_of(path: bytes, table: Iterable[Mount]) -> Mount:
    """Return the mount that a path lies on.

    Parameters
    ----------
    path : bytes
        Absolute, without links.
    table : iterable of Mount
        In the order in which they were mounted, as `mounts` returns them.

    Returns
    -------
    Mount
        The innermost; of several at one point the last, which hides the others.  `UNKNOWN` when none has the path.
    """
    found = UNKNOWN
    for mount in table:
        if lies_in(path, mount.point) and len(mount.point) >= len(found.point):
            found = mount
    return found


def mounts_below(path: bytes, table: Iterable[Mount]) -> tuple[Mount, ...]:
    """Return the mounts on folders below a path, not on the path itself.

    Parameters
    ----------
    path : bytes
        Absolute, without links.
    table : iterable of Mount
        As `mounts` returns them.
    """
    return tuple(mount for mount in table if mount.point != path and lies_in(mount.point, path))


def lies_in(path: bytes, folder: bytes) -> bool:
    """Return whether a path is a folder or lies below it.

    Parameters
    ----------
    path, folder : bytes
        Absolute, without links; they are compared as text.
    """
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
