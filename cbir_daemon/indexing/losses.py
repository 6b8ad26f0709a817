"""Whether what a walk misses of an album is gone, or its disk is.

In: what a walk found, the rows of the album, the settings.  Out: a verdict, and which rows may go.  Never here: the
disk, the store, clocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cbir_daemon.records import SIZE_UNKNOWN, FileState
from cbir_daemon.store import Album
from cbir_daemon.watching.walk import Filter, Found

MIN_LOSS_FILES = 20
"""Fewer vanished files than this are never taken for a lost disk unless nothing is left at all."""


@dataclass(frozen=True, slots=True)
class Root:
    """The findings of a walk at an album's path.

    Parameters
    ----------
    is_folder : bool
    has_entries : bool
        Whether anything is in the folder, be it no image.
    """

    is_folder: bool
    has_entries: bool


def why_lost(
    album: Album, root: Root, found: Found, rows: Mapping[bytes, FileState], rules: Filter, missing_fraction: float
) -> str:
    """Say why an album looks like a lost disk.

    Parameters
    ----------
    album : Album
    root : Root
    found : Found
        Of a walk of the whole album, or of a look at a part of it.
    rows : mapping of bytes to FileState
        Relative path -> state of the file rows.
    rules : Filter
        Rows that it excludes do not count as gone.
    missing_fraction : float
        In [0, 1]: the album is lost when a larger share of its files is gone.

    Returns
    -------
    str
        A clause for people; empty when the album does not look so.
    """
    if b"" in found.unreadable:
        return "its folder cannot be read" if root.is_folder else "its folder is not there"
    if rows and not found.files and not root.has_entries:
        return "its folder is empty"
    if album.device not in (0, found.folders[b""].device):
        # Disks may change numbers, and files be restored to another disk: what counts is whether they are there.
        absent = sum(not _is_there(row, found.files.get(path)) for path, row in rows.items())
        return "another disk is there, without its files" if absent > missing_fraction * len(rows) else ""
    gone = _count_gone(found, rows, rules)
    if gone >= MIN_LOSS_FILES and gone > missing_fraction * len(rows):
        return f"{gone} of {len(rows)} files are gone"
    return ""


def _is_there(row: FileState, file: FileState | None) -> bool:
    return file is not None and row.size_bytes in (file.size_bytes, SIZE_UNKNOWN)


def _count_gone(found: Found, rows: Mapping[bytes, FileState], rules: Filter) -> int:
    # What was moved within the album, or is left out since the settings changed, is no loss.
    moved = {state for path, state in found.files.items() if path not in rows}
    return sum(
        is_reached(rows[path], found.device_at(path)) and rows[path] not in moved and not rules.excludes(path)
        for path in vanished(rows, found)
    )


def vanished(rows: Mapping[bytes, FileState], found: Found) -> Iterator[bytes]:
    """Yield the paths of the rows whose files a walk or look should have found and did not.

    Parameters
    ----------
    rows : mapping of bytes to FileState
        Relative path -> state of the album's file rows.
    found : Found
        Of a walk, or of a look at a part.  What lies in a folder that was not listed is passed over.
    """
    return (path for path in rows if path not in found.files and found.would_have(path))


def is_reached(row: FileState, device: int | None) -> bool:
    """Whether the disk of a file that is gone is mounted, so that the file itself is gone and not only its disk.

    Parameters
    ----------
    row : FileState
        Of the file; with device 0, which is not known, the disk counts as mounted.
    device : int or None
        Disk of the innermost folder above the file that is there; None when not even the album's root is.
    """
    return device is not None and row.device in (0, device)


def may_forget(path: bytes, row: FileState, device: int | None, rules: Filter) -> bool:
    """Whether the row of a file that is gone may go: its disk is there, or the file is left out by the settings.

    Parameters
    ----------
    path : bytes
        Relative to the album.
    row : FileState
        Of the file.
    device : int or None
        As for `is_reached`.
    rules : Filter
        What the settings leave out.
    """
    return is_reached(row, device) or rules.excludes(path)


def renumbered(rows: Mapping[bytes, FileState], found: Found) -> dict[bytes, int]:
    """Return the rows whose disk has another number than when their files were read.

    Parameters
    ----------
    rows : mapping of bytes to FileState
        Relative path -> state of the album's file rows.
    found : Found
        Of a walk, or of a look at a part.

    Returns
    -------
    dict of bytes to int
        Relative path -> number of the disk now (`st_dev`): of the files that were found unchanged, and of those that
        were not found and whose disk has got another number as a whole.
    """
    seen = {path: state.device for path, state in found.files.items() if rows.get(path) == state}
    changed = {path: device for path, device in seen.items() if rows[path].device != device}
    # What is gone from such a disk is gone from it by its new number.
    numbers = {rows[path].device: device for path, device in changed.items() if rows[path].device}
    for path in seen.keys() - changed.keys():
        numbers.pop(rows[path].device, None)
    lost = {path: row.device for path, row in rows.items() if path not in seen and row.device in numbers}
    return changed | {path: numbers[device] for path, device in lost.items()}
