"""Put a file somewhere else, and back, without ever writing over another one.

In: two paths.  Out: the file at the second.  Never here: whether it should go.

A file gets its new name first and loses its old one after, so that a kill in between leaves it with two names and never
with none.
"""

from __future__ import annotations

import errno
import os
import shutil

from cbir_daemon.resolving import trash
from cbir_daemon.resolving.plan import MOVE, TRASH
from cbir_daemon.resolving.tasks import Digests, SkipError, Task, maybe_stamp

PART_PREFIX = b".cbir-part-"

# FAT and some network file systems know no second name; Linux refuses one for another owner's file.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


def place_for(task: Task) -> bytes:
    """Return where a task's file is to go.

    In a folder it keeps its whole path below that folder, so that everyone can see where it came from.
    """
    if task.action == TRASH:
        return trash.place_for(task.path)
    assert task.action == MOVE
    assert task.folder is not None
    place = os.path.join(task.folder, task.path.lstrip(b"/"))
    if os.path.lexists(place):
        raise SkipError(f"stays, because something is there already: {os.fsdecode(place)}")
    return place


def put_away(task: Task, place: bytes) -> None:
    """Move a task's file to its place; raises `FileExistsError` when that was taken meanwhile, and other `OSError`s."""
    if task.action == TRASH:
        trash.announce(task.path, place)
    try:
        move(task.path, place, task.digest)
    except BaseException:
        if task.action == TRASH:
            os.unlink(trash.info_of(place))
        raise


def put_back(task: Task, digests: Digests) -> None:
    """Move a task's file back, from wherever a killed run left it.

    Raises
    ------
    SkipError
        When it is not where it was put, has other bytes, or another file has taken its name.
    """
    assert task.target is not None
    here, there = maybe_stamp(task.path), maybe_stamp(task.target)
    if there is None and (here is None or here[2:] != (task.size_bytes, task.mtime_ns)):
        raise SkipError(f"is no longer at {os.fsdecode(task.target)}")
    if here is not None and here[:2] == (there or here)[:2]:
        # It never lost its name: only what was prepared is taken away.
        if there is not None:
            os.unlink(task.target)
    elif here is not None:
        raise SkipError("stays where it is: another file has its name now")
    elif digests.of(task.target) != task.digest:
        raise SkipError(f"has other bytes now: {os.fsdecode(task.target)}")
    else:
        move(task.target, task.path, task.digest)
    if task.action == TRASH:
        _forget(trash.info_of(task.target))


def is_away(task: Task, digests: Digests) -> bool:
    """Whether a task that was begun and not noted as done has been done; whatever it left half done is mended.

    Raises
    ------
    SkipError
        When the file is at neither place.
    """
    assert task.target is not None
    here, there = maybe_stamp(task.path), maybe_stamp(task.target)
    if there is None:
        if here is None:
            raise SkipError("is neither there nor where it was to go")
        _forget(trash.info_of(task.target) if task.action == TRASH else _part_of(task.target))
        return False
    if here is None:
        return digests.of(task.target) == task.digest
    if here[:2] != there[:2]:
        # Copied to another disk, whole, or else the target is not ours: then the file is planned a place anew.
        if digests.of(task.target) != task.digest or digests.of(task.path) != task.digest:
            return False
    os.unlink(task.path)
    return True


def move(path: bytes, place: bytes, digest: bytes) -> None:
    """Move a file to a name that nobody has; raises `OSError`, and `SkipError` when a copy came out wrong."""
    os.makedirs(os.path.dirname(place), 0o777, exist_ok=True)
    try:
        os.link(path, place, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            _copy(path, place, digest)
        elif error.errno in _NO_LINKS:
            return _rename(path, place)
        else:
            raise
    _synchronise(os.path.dirname(place))
    try:
        os.unlink(path)
    except OSError:
        os.unlink(place)
        raise
    return None


def _rename(path: bytes, place: bytes) -> None:
    # Two steps where the file system has no better: in between, another program may take the name.
    if os.path.lexists(place):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place)
    os.rename(path, place)
    _synchronise(os.path.dirname(place))


def _copy(path: bytes, place: bytes, digest: bytes) -> None:
    """Copy a file to another disk, whole and on the disk, before it gets its name there."""
    part = _part_of(place)
    _forget(part)
    try:
        shutil.copy2(path, part, follow_symlinks=False)
        _synchronise(part)
        if Digests().of(part) != digest:
            raise SkipError("stays, because its copy on the other disk has other bytes")
        try:
            os.link(part, place)
        except FileExistsError:
            raise
        except OSError:
            _rename(part, place)
    finally:
        _forget(part)


def _part_of(place: bytes) -> bytes:
    folder, name = os.path.split(place)
    return os.path.join(folder, (PART_PREFIX + name)[: trash.NAME_BYTES])


def _forget(path: bytes) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _synchronise(path: bytes) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot for folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
