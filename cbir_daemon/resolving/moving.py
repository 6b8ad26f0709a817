"""Put a file somewhere else, and back, without ever writing over another one.

In: two paths.  Out: the file at the second.  Never here: whether it should go.

A file gets its new name first and loses its old one after, so that a kill in between leaves it with two names and never
with none.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from cbir_daemon.protocol.plan import MOVE, TRASH
from cbir_daemon.records import ResolveTask
from cbir_daemon.resolving import trash
from cbir_daemon.resolving.tasks import Digests, SkipError, maybe_stamp
from cbir_daemon.system.files import synchronise

PART_PREFIX = ".cbir-part-"

# FAT and some network file systems know no second name; Linux refuses one for another owner's file.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


def place_for(task: ResolveTask) -> Path:
    """Return where a task's file is to go.

    In a folder it keeps its whole path below that folder, so that everyone can see where it came from.

    Raises
    ------
    SkipError
        When something is there already, or the file's disk has no trash.
    """
    if task.action == TRASH:
        return trash.place_for(task.path)
    assert task.action == MOVE
    assert task.folder is not None
    place = task.folder / task.path.relative_to("/")
    if os.path.lexists(place):
        raise SkipError(f"stays, because something is there already: {place}")
    return place


def put_away(task: ResolveTask, place: Path) -> None:
    """Move a task's file to its place.

    Parameters
    ----------
    task : ResolveTask
        Its action is the trash or a folder.
    place : Path
        From `place_for`.

    Raises
    ------
    FileExistsError
        When the name was taken meanwhile; the file is where it was.
    SkipError
        When the file had to be copied to another disk and the copy has other bytes; the file is where it was.
    OSError
        When the disk refuses.
    """
    if task.action == TRASH:
        trash.announce(task.path, place)
    try:
        move(task.path, place, task)
    except BaseException:
        if task.action == TRASH:
            trash.info_of(place).unlink()
        raise


def put_back(task: ResolveTask, digests: Digests) -> None:
    """Move a task's file back, from wherever a killed run left it.

    Parameters
    ----------
    task : ResolveTask
        Done, or begun and interrupted.
    digests : Digests
        Reads the files, unless it has read them already.

    Raises
    ------
    SkipError
        When it is not where it was put, has other bytes, or another file has taken its name.
    OSError
        When the disk refuses.
    """
    assert task.target is not None
    here, there = maybe_stamp(task.path), maybe_stamp(task.target)
    if there is None:
        if here is None or here[2:] != (task.size_bytes, task.mtime_ns):
            raise SkipError(f"is no longer at {task.target}")
    elif here is None:
        if digests.of(task.target) != task.digest:
            raise SkipError(f"has other bytes now: {task.target}")
        move(task.target, task.path, task)
    elif here[:2] == there[:2] or _is_our_copy(task, digests):
        # It never lost its name: what was prepared is taken away.
        task.target.unlink()
    else:
        raise SkipError(f"stays at {task.target}: another file has its name now")
    _clear_up(task)


def is_away(task: ResolveTask, digests: Digests) -> bool:
    """Whether a task that was begun and not noted as done has been done; what it left half done is completed.

    Parameters
    ----------
    task : ResolveTask
        Begun: its target says where the file was to go.
    digests : Digests
        Reads the files, unless it has read them already.

    Returns
    -------
    bool
        False when the task is still to be done.

    Raises
    ------
    SkipError
        When the file is at neither place.
    OSError
        When the disk refuses.
    """
    assert task.target is not None
    here, there = maybe_stamp(task.path), maybe_stamp(task.target)
    if there is None:
        if here is None:
            raise SkipError("is neither at its old nor at its new place")
        _clear_up(task)
        return False
    if here is None:
        return digests.of(task.target) == task.digest
    if here[:2] == there[:2] or _is_our_copy(task, digests):
        task.path.unlink()
        return True
    # Another program took the name first: the file gets another place.
    return False


def _is_our_copy(task: ResolveTask, digests: Digests) -> bool:
    """Whether both files are the task's: it was copied to another disk, whole, and is still here."""
    assert task.target is not None
    return task.action == MOVE and digests.of(task.target) == task.digest == digests.of(task.path)


def _clear_up(task: ResolveTask) -> None:
    """Remove what was written beside the file's place."""
    assert task.target is not None
    beside = trash.info_of(task.target) if task.action == TRASH else _part_of(task.target, task)
    beside.unlink(missing_ok=True)


def move(path: Path, place: Path, task: ResolveTask) -> None:
    """Move a task's file to a name that no other file has.

    Parameters
    ----------
    path : Path
        Where it is.
    place : Path
        Where it goes, also on another disk; folders above it are made.
    task : ResolveTask
        Its digest is that of the file; its id is part of the name of an unfinished copy.

    Raises
    ------
    FileExistsError
        When something is at `place`.
    SkipError
        When a copy on another disk has other bytes; the file is where it was.
    OSError
        When the disk refuses.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, place, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            _copy(path, place, task)
        elif error.errno in _NO_LINKS:
            _rename(path, place)
            return
        else:
            raise
    synchronise(place.parent)
    try:
        path.unlink()
    except OSError:
        place.unlink()
        raise


def _rename(path: Path, place: Path) -> None:
    # Two steps where the file system has no better: in between, another program may take the name.
    if os.path.lexists(place):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place)
    path.rename(place)
    synchronise(place.parent)


def _copy(path: Path, place: Path, task: ResolveTask) -> None:
    """Copy a file to another disk, whole and on the disk, before it gets its name there."""
    part = _part_of(place, task)
    part.unlink(missing_ok=True)
    try:
        shutil.copy2(path, part, follow_symlinks=False)
        synchronise(part)
        if Digests().of(part) != task.digest:
            raise SkipError("stays, because its copy on the other disk has other bytes")
        _rename(part, place)
    finally:
        part.unlink(missing_ok=True)


def _part_of(place: Path, task: ResolveTask) -> Path:
    return place.parent / f"{PART_PREFIX}{task.id}"
