"""Walk an album and say what is there now.

In: a folder, exclude globs.  Out: the image files below it with their states, the folders, and those that could not be
read.  Never here: what the index holds, what an image is.

Two ways: `walk` looks at every file, `look` only where a folder says that something came or went.  Only they are the
truth; events merely say where to look.  Symbolic links are not followed: they lead to loops, out of the album, and to
files that are then indexed twice.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cbir_daemon.records import FileState
from cbir_daemon.system import heartbeat


@dataclass(frozen=True, slots=True)
class Filter:
    """Which names are looked at.

    Parameters
    ----------
    exclude : tuple of str
        Globs.  One without a slash is held against the name of each file and folder, one with a slash against the
        path relative to the album.
    suffixes : collection of str
        Lower-case file suffixes, with the dot, that an image may have.
    """

    exclude: tuple[str, ...]
    suffixes: Collection[str]
    _names: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _paths: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", _any_of(glob for glob in self.exclude if "/" not in glob))
        object.__setattr__(self, "_paths", _any_of(glob.strip("/") for glob in self.exclude if "/" in glob))

    def excludes(self, path: bytes) -> bool:
        """Whether a relative path, or a folder it lies in, is excluded."""
        parts = os.fsdecode(path).split("/")
        return any(self._name_or_path("/".join(parts[: end + 1]), part) for end, part in enumerate(parts))

    def excludes_entry(self, path: bytes) -> bool:
        """Whether a relative path whose folders are known to pass is excluded."""
        text = os.fsdecode(path)
        return self._name_or_path(text, text.rpartition("/")[2])

    def is_image_name(self, path: bytes) -> bool:
        """Whether the suffix is one that an image may have."""
        name, dot, suffix = path.rpartition(b"/")[2].rpartition(b".")
        return bool(name) and os.fsdecode(dot + suffix).lower() in self.suffixes

    def _name_or_path(self, path: str, name: str) -> bool:
        return self._names.match(name) is not None or self._paths.match(path) is not None


def _any_of(globs: Iterator[str]) -> re.Pattern[str]:
    # "(?!)" matches nothing: no glob excludes nothing.
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs) or "(?!)")


class Folder(NamedTuple):
    """A folder as it was when it was listed.

    Parameters
    ----------
    mtime_ns, device, inode : int
        Another of them, and it holds other names, or is another folder.
    young : bool
        Whether anything in it was written shortly before: it is then listed again, whatever its mtime says.
    """

    mtime_ns: int
    device: int
    inode: int
    young: bool


YOUNG_NS = 600 * 1_000_000_000
"""Ten minutes: a file that is copied slowly grows without a sign on its folder, and clocks of servers differ."""


@dataclass(frozen=True, slots=True)
class Found:
    """The findings of a walk.

    Parameters
    ----------
    files : dict
        Relative path -> state of every image file.
    unreadable : tuple of bytes
        Relative paths of the folders that could not be read: what lies below them is not known to be gone.
    folders : dict
        Relative path -> what is known of every folder, for the next `look`.
    listed : frozenset of bytes or None
        The folders that were listed or are gone; None for all that there are.
    """

    files: dict[bytes, FileState]
    unreadable: tuple[bytes, ...]
    folders: dict[bytes, Folder] = field(default_factory=dict)
    listed: frozenset[bytes] | None = None

    def hides(self, path: bytes) -> bool:
        """Whether a relative path lies in a folder that could not be read."""
        return any(not folder or path.startswith(folder + b"/") for folder in self.unreadable)

    def would_have(self, path: bytes) -> bool:
        """Whether a file at a relative path, if there were one, would be among `files`."""
        return (self.listed is None or parent(path) in self.listed) and not self.hides(path)

    def device_at(self, path: bytes) -> int | None:
        """Return the disk of the innermost folder above a relative path that is there; None when the root is not."""
        while path and (path := parent(path)) not in self.folders:
            pass
        return self.folders[path].device if path in self.folders else None


def walk(root: bytes, below: bytes, rules: Filter, *, now_ns: int | None = None) -> Found:
    """Walk a folder of an album: look at every file.

    Parameters
    ----------
    root : bytes
        Absolute path of the album.
    below : bytes
        Relative path of the folder to begin at; b"" is the whole album.
    rules : Filter
        Which names are looked at.
    now_ns : int, optional
        Nanoseconds since the epoch by which folders are young; the clock's when it is not given.
    """
    return _walk(root, [below], rules, time.time_ns() if now_ns is None else now_ns, {}, None)


def look(
    root: bytes,
    known: Mapping[bytes, Folder],
    rules: Filter,
    *,
    within: Callable[[bytes], bool] | None = None,
    now_ns: int | None = None,
) -> Found:
    """Walk only where something came, went or was renamed since the folders were listed.

    A folder's mtime shows that.  It does not show that a file was written in place: only `walk` finds such a file,
    unless its folder is young.

    Parameters
    ----------
    root : bytes
        Absolute path of the album.
    known : mapping
        Relative path -> what the walk or look before knew of every folder.
    rules : Filter
        Which names are looked at.
    within : callable, optional
        Says of the relative path of a folder whether to look at it; without, all are looked at.
    now_ns : int, optional
        Nanoseconds since the epoch by which folders are young; the clock's when it is not given.

    Notes
    -----
    One `lstat` a folder, and what changed is listed: 100 000 files in 1 000 folders cost some milliseconds.
    """
    folders: dict[bytes, Folder] = {}
    differing: list[bytes] = []
    gone: list[bytes] = []
    for path, before in known.items():
        now = before if within is not None and not within(path) else _at(joined(root, path))
        if now is None:
            gone.append(path)
        elif now[:3] == before[:3] and (now is before or not before.young):
            folders[path] = before
        else:
            differing.append(path)
    found = _walk(root, differing, rules, time.time_ns() if now_ns is None else now_ns, folders, known)
    if b"" in gone:
        # Without a root nothing is known to be gone.
        return replace(found, unreadable=(*found.unreadable, b""))
    return replace(found, listed=frozenset((*(found.listed or ()), *gone)))


def _at(folder: bytes) -> Folder | None:
    """Return the state of a folder without listing it; None when there is none."""
    heartbeat.beat(waits_for=f"the file system of {os.fsdecode(folder)}")
    try:
        status = os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        # What cannot be looked at differs: it is listed, and found to be unreadable.
        return Folder(-1, -1, -1, young=True)
    finally:
        heartbeat.beat()
    if not stat.S_ISDIR(status.st_mode):
        return None
    return Folder(status.st_mtime_ns, status.st_dev, status.st_ino, young=False)


def _walk(
    root: bytes,
    stack: list[bytes],
    rules: Filter,
    now_ns: int,
    folders: dict[bytes, Folder],
    known: Mapping[bytes, Folder] | None,
) -> Found:
    """List folders, and those in them that are not `known`; add to `folders` what is known of each from now on."""
    files: dict[bytes, FileState] = {}
    unreadable: list[bytes] = []
    listed: list[bytes] = []
    while stack:
        path = stack.pop()
        heartbeat.beat(waits_for=f"the file system of {os.fsdecode(root)}")
        try:
            folders[path], inner, found = _listed(root, path, rules, now_ns)
        except OSError:
            unreadable.append(path)
            if known is not None:
                # Tried again by the next look.
                folders[path] = Folder(-1, -1, -1, young=True)
        else:
            stack += inner if known is None else [folder for folder in inner if folder not in known]
            listed.append(path)
            files |= found
    heartbeat.beat()
    return Found(files, tuple(unreadable), folders, None if known is None else frozenset(listed))


# Not followed: a folder that became a link while it was walked to.
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _listed(root: bytes, path: bytes, rules: Filter, now_ns: int) -> tuple[Folder, list[bytes], dict[bytes, FileState]]:
    """Return one folder, the folders in it and the image files in it; raises `OSError` unless all of it can be read."""
    inner: list[bytes] = []
    files: dict[bytes, FileState] = {}
    descriptor = os.open(joined(root, path), _FOLDER_FLAGS)
    try:
        # Before it is listed: what comes in between makes its mtime differ the next time.
        status = os.fstat(descriptor)
        with os.scandir(descriptor) as entries:
            for entry in entries:
                below = joined(path, os.fsencode(entry.name))
                if rules.excludes_entry(below):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inner.append(below)
                elif rules.is_image_name(below) and (state := state_of(entry, status.st_dev)) is not None:
                    files[below] = state
    finally:
        os.close(descriptor)
    written = [status.st_mtime_ns, *(state.mtime_ns for state in files.values())]
    young = any(abs(now_ns - mtime_ns) < YOUNG_NS for mtime_ns in written)
    return Folder(status.st_mtime_ns, status.st_dev, status.st_ino, young), inner, files


def parent(path: bytes) -> bytes:
    """Return the path of the folder that a path lies in; b"" when that is the album."""
    return path.rpartition(b"/")[0]


def joined(folder: bytes, name: bytes) -> bytes:
    """Return the path of a name in a folder.

    Parameters
    ----------
    folder, name : bytes
        Either may be empty; the other is the path then.
    """
    return folder + b"/" + name if folder and name else folder or name


def state_of(entry: os.DirEntry[str], device: int) -> FileState | None:
    """Return the state of a file in a folder that is listed; None when it is gone or no regular file of this disk.

    Parameters
    ----------
    entry : os.DirEntry
        Of `os.scandir`; a symbolic link is not followed.
    device : int
        `st_dev` of the folder.

    Raises
    ------
    OSError
        When it cannot be known: a folder may give its names and keep everything else.
    """
    try:
        return _regular(entry.stat(follow_symlinks=False), device)
    except FileNotFoundError:
        return None


def state_at(path: bytes) -> FileState | None:
    """Return the state of the regular file at an absolute path; None when there is none.

    Raises
    ------
    OSError
        When it cannot be known, for instance because a folder on the way may not be entered.
    """
    try:
        return _regular(os.lstat(path), os.lstat(parent(path) or b"/").st_dev)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _regular(status: os.stat_result, device: int) -> FileState | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino, device)


def device_at(path: bytes) -> int | None:
    """Return the disk of the innermost folder above an absolute path that is there; None when that cannot be known.

    Asked of the folder and not of a file: on layered file systems the two differ.
    """
    while (path := parent(path)) and not is_folder(path):
        pass
    try:
        return os.lstat(path or b"/").st_dev
    except OSError:
        return None


def is_folder(path: bytes) -> bool:
    """Whether there is a folder, and no symbolic link to one, at an absolute path."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def has_entries(root: bytes) -> bool:
    """Whether the album's root can be listed and holds anything: an unmounted disk leaves an empty folder."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
