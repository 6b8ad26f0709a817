"""The trash of the user who runs `cbir`, as every desktop on Linux knows it.

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
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote_from_bytes

from cbir_daemon.resolving.tasks import SkipError
from cbir_daemon.system import filesystems
from cbir_daemon.system.filesystems import Mount

INFO_SUFFIX = ".trashinfo"
NAME_BYTES = 255
"""Longest name on the file systems in use."""


def place_for(path: Path) -> Path:
    """Return a free name for a file in the first trash that its file system has.

    Raises
    ------
    SkipError
        When there is no trash on the file's own disk and none can be made.
    """
    for trash in trashes_for(path):
        if _usable(trash):
            return _free_name(trash, path)
    raise SkipError('stays: its disk has no trash; "action": "move" with a folder in "to" does without one')


def announce(path: Path, place: Path) -> None:
    """Write where a file came from, and when, before it is put to its place in the trash.

    Parameters
    ----------
    path : Path
        The file, absolute.
    place : Path
        From `place_for`.

    Raises
    ------
    FileExistsError
        When the name was taken meanwhile.
    OSError
        When it cannot be written; nothing is left of it.
    """
    top = top_of(place.parent.parent)
    origin = path if top is None else path.relative_to(top)
    # The specification has local time without a zone.
    now = datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S")
    text = f"[Trash Info]\nPath={quote_from_bytes(bytes(origin))}\nDeletionDate={now}\n"
    descriptor = os.open(info_of(place), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as info:
            info.write(text)
            info.flush()
            os.fsync(info.fileno())
    except BaseException:
        # The name is ours: what was there before would have been refused above.
        info_of(place).unlink()
        raise


def info_of(place: Path) -> Path:
    """Return the path of what is written about a file in the trash."""
    return place.parent.parent / "info" / (place.name + INFO_SUFFIX)


def trashes_for(path: Path) -> Iterator[Path]:
    """Yield the trashes on a file's own disk, the best first; they need not be there yet.

    Raises
    ------
    SkipError
        When it cannot be told what is mounted where.
    """
    # The device number alone does not tell two mounts of one disk apart.
    mounts = filesystems.mounts()
    if not mounts:
        raise SkipError("stays: the list of mounted disks cannot be read")
    top = _mount_of(path.parent, mounts)
    home = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "Trash"
    if _mount_of(home, mounts) == top:
        yield home
    if is_safe_to_share(top / ".Trash"):
        yield top / ".Trash" / str(os.getuid())
    yield top / f".Trash-{os.getuid()}"


def _mount_of(path: Path, mounts: Iterable[Mount]) -> Path:
    return Path(os.fsdecode(filesystems.mount_of(bytes(path.resolve()), mounts).point))


def top_of(trash: Path) -> Path | None:
    """Return the folder that paths in a trash are relative to; None for the home trash, which has whole paths."""
    if trash.name.startswith(".Trash-"):
        return trash.parent
    return trash.parent.parent if trash.parent.name == ".Trash" else None


def is_safe_to_share(folder: Path) -> bool:
    """Whether an administrator's trash may be used: a folder, no link, in which nobody removes another's files."""
    try:
        mode = folder.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX)


def _usable(trash: Path) -> bool:
    try:
        # Folders on the way to it, such as ~/.local, are for their owner alone too: so says the base directory spec.
        for folder in (trash / "files", trash / "info"):
            _make_private(folder)
    except OSError:
        return False
    # A link would lead out of the disk.
    return not trash.is_symlink() and os.access(trash, os.W_OK | os.X_OK)


def _make_private(folder: Path) -> None:
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(0o700, exist_ok=True)


def _free_name(trash: Path, path: Path) -> Path:
    for number in itertools.count(1):
        mark = path.suffix if number == 1 else f".{number}{path.suffix}"
        stem = os.fsencode(path.stem)[: NAME_BYTES - len(INFO_SUFFIX) - len(os.fsencode(mark))]
        place = trash / "files" / (os.fsdecode(stem) + mark)
        if not os.path.lexists(place) and not os.path.lexists(info_of(place)):
            return place
    raise AssertionError("counting does not end")
