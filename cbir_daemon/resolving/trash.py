"""The trash of whoever runs this, as every desktop on Linux knows it.

In: paths.  Out: places in a trash, and what is written beside them.  Never here: moving files.

Written by hand, though Send2Trash does nearly the same: the place must be known, and noted in the journal, before the
file goes there; a file must never land on another one's name (Send2Trash looks first and renames after); and it must
never be copied to another disk and removed here, which is what Send2Trash does when a rename fails.

References
----------
FreeDesktop.org Trash specification 1.0, "Trash directories" and "Contents of a trash directory".
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from cbir_daemon.resolving.tasks import SkipError

MOUNTS = Path("/proc/self/mountinfo")
INFO_SUFFIX = b".trashinfo"
NAME_BYTES = 255
"""Longest name on the file systems in use."""


def place_for(path: bytes) -> bytes:
    """Return a free name for a file in the first trash that its file system has.

    Raises
    ------
    SkipError
        When there is no trash on the file's own disk and none can be made.
    """
    for trash in _candidates(path):
        if _usable(trash):
            return _free_name(trash, os.path.basename(path))
    raise SkipError('finds no trash on its disk; "action": "move" with a folder in "to" does without one')


def announce(path: bytes, place: bytes) -> None:
    """Write where a file came from, before it is put to its place; raises `FileExistsError` when the name is taken."""
    trash = os.path.dirname(os.path.dirname(place))
    top = _top_of(trash)
    origin = os.path.relpath(path, top) if top is not None else path
    # The specification has local time without a zone.
    now = datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    text = f"[Trash Info]\nPath={quote(origin)}\nDeletionDate={now}\n"
    with open(os.open(info_of(place), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as info:
        info.write(text)
        info.flush()
        os.fsync(info.fileno())


def info_of(place: bytes) -> bytes:
    """Return the path of what is written about a file in the trash."""
    files, name = os.path.split(place)
    return os.path.join(os.path.dirname(files), b"info", name + INFO_SUFFIX)


def _candidates(path: bytes) -> Iterator[bytes]:
    mounts = _mounts()
    top = _mount_of(path, mounts)
    data = os.environb.get(b"XDG_DATA_HOME") or os.path.expanduser(b"~/.local/share")
    home = os.path.join(data, b"Trash")
    if _mount_of(home, mounts) == top:
        yield home
    shared = os.path.join(top, b".Trash")
    if _is_safe_to_share(shared):
        yield os.path.join(shared, b"%d" % os.getuid())
    yield os.path.join(top, b".Trash-%d" % os.getuid())


def _mounts() -> list[bytes]:
    """Return where file systems are mounted: the device number alone does not tell two mounts of one disk apart."""
    rows = [row.split(b" ") for row in MOUNTS.read_bytes().splitlines()]
    return [re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), row[4]) for row in rows]


def _mount_of(path: bytes, mounts: list[bytes]) -> bytes:
    real = os.path.realpath(path)
    return max((one for one in mounts if real == one or real.startswith(one.rstrip(b"/") + b"/")), key=len)


def _top_of(trash: bytes) -> bytes | None:
    """Return the folder that paths in a trash are relative to; None for the home trash, which has whole paths."""
    parent, name = os.path.split(trash)
    if name.startswith(b".Trash-"):
        return parent
    return os.path.dirname(parent) if os.path.basename(parent) == b".Trash" else None


def _is_safe_to_share(folder: bytes) -> bool:
    """Whether an administrator's trash may be used: a folder, no link, in which nobody removes another's files."""
    try:
        mode = os.lstat(folder).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX)


def _usable(trash: bytes) -> bool:
    try:
        for folder in (trash, os.path.join(trash, b"files"), os.path.join(trash, b"info")):
            os.makedirs(folder, 0o700, exist_ok=True)
    except OSError:
        return False
    # A link would lead out of the disk.
    return not os.path.islink(trash) and os.access(trash, os.W_OK | os.X_OK)


def _free_name(trash: bytes, name: bytes) -> bytes:
    root, suffix = os.path.splitext(name)
    for number in itertools.count(1):
        mark = b"" if number == 1 else b".%d" % number
        short = root[: NAME_BYTES - len(INFO_SUFFIX) - len(suffix) - len(mark)]
        place = os.path.join(trash, b"files", short + mark + suffix)
        if not os.path.lexists(place) and not os.path.lexists(info_of(place)):
            return place
    raise AssertionError("counting does not end")
