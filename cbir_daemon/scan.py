"""Walk an album and say what is there now.

In: a folder, exclude globs.  Out: the image files below it with their states, and the folders that could not be read.
Never here: what the index holds, what an image is.

Only a scan is the truth; events merely say where to look.  Symbolic links are not followed: they lead to loops, out of
the album, and to files that are then indexed twice.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from cbir_daemon import pulse
from cbir_daemon.records import FileState


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


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk saw.

    Parameters
    ----------
    files : dict
        Relative path -> state of every image file.
    unreadable : tuple of bytes
        Relative paths of the folders that could not be read: what lies below them is not known to be gone.
    """

    files: dict[bytes, FileState]
    unreadable: tuple[bytes, ...]

    def hides(self, path: bytes) -> bool:
        """Whether a relative path lies in a folder that could not be read."""
        return any(not folder or path.startswith(folder + b"/") for folder in self.unreadable)


def walk(root: bytes, below: bytes, rules: Filter) -> Found:
    """Walk a folder of an album.

    Parameters
    ----------
    root : bytes
        Absolute path of the album.
    below : bytes
        Relative path of the folder to begin at; b"" is the whole album.
    rules : Filter
        Which names are looked at.
    """
    files: dict[bytes, FileState] = {}
    unreadable: list[bytes] = []
    folders = [below]
    while folders:
        folder = folders.pop()
        pulse.beat(waits_for=f"the file system of {os.fsdecode(root)}")
        try:
            inner, found = _listed(root, folder, rules)
        except OSError:
            unreadable.append(folder)
        else:
            folders += inner
            files |= found
    pulse.beat()
    return Found(files, tuple(unreadable))


def _listed(root: bytes, folder: bytes, rules: Filter) -> tuple[list[bytes], dict[bytes, FileState]]:
    """Return the folders and the image files in one folder; raises `OSError` unless all can be told."""
    folders: list[bytes] = []
    files: dict[bytes, FileState] = {}
    with os.scandir(joined(root, folder)) as entries:
        for entry in entries:
            path = joined(folder, entry.name)
            if rules.excludes_entry(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif rules.is_image_name(path) and (state := state_of(entry)) is not None:
                files[path] = state
    return folders, files


def joined(folder: bytes, name: bytes) -> bytes:
    """Return the path of `name` in `folder`, either of which may be empty."""
    return folder + b"/" + name if folder and name else folder or name


def state_of(entry: os.DirEntry[bytes]) -> FileState | None:
    """Return the state of a regular file, or None for anything else and for what is gone by now.

    Raises
    ------
    OSError
        When it cannot be known: a folder may give its names and keep everything else.
    """
    try:
        return _regular(entry.stat(follow_symlinks=False))
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
        return _regular(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _regular(status: os.stat_result) -> FileState | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)


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
