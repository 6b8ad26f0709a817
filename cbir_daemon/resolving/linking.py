"""Let two files of the same bytes share disk space: as one file with two names, or as two files that share blocks.

In: tasks.  Out: the file's name leads to the kept one's bytes.  Never here: files of different bytes.

The file's own bytes get a second name beside it (the task's target) before the name is given to the link in one step,
and go only when they are still those that were compared: what was written to the file meanwhile is put back.

References
----------
ioctl_ficlone(2); FICLONE is _IOW(0x94, 9, int) of linux/fs.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

from cbir_daemon.protocol.plan import CLONE, HARD_LINK
from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.resolving.tasks import Digests, SkipError, Stamp, maybe_stamp, stamp_of

ASIDE_PREFIX = ".cbir-aside-"
NEW_PREFIX = ".cbir-new-"

FICLONE = 0x40049409

_CANNOT_CLONE = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS}


def place_for(task: ResolveTask) -> Path:
    """Return the name under which the file's own bytes wait; hidden, so that no album takes it for a picture.

    Raises
    ------
    SkipError
        When the two files have different bytes.
    """
    if task.digest != task.keep_digest:
        raise SkipError(f"stays: only files of the same bytes can share them ({task.action})")
    return task.path.parent / f"{ASIDE_PREFIX}{task.id}"


def link(task: ResolveTask, aside: Path) -> None:
    """Give the file's name to the bytes of the one that is kept.

    Parameters
    ----------
    task : ResolveTask
        Its action is a hard link or a clone, and `check` let it pass.
    aside : Path
        From `place_for`: the file's own bytes have this name, too, until the link stands.

    Raises
    ------
    FileExistsError
        When something has the name `aside`; nothing is changed.
    SkipError
        When the file was written to meanwhile, is no regular file any more, or its file system cannot share blocks; the
        file is as it was.
    OSError
        When the disk refuses.
    """
    before = stamp_of(task.path)
    new = _new_name(task)
    new.unlink(missing_ok=True)
    os.link(task.path, aside, follow_symlinks=False)
    try:
        _make(task, new)
        new.replace(task.path)
    except BaseException:
        new.unlink(missing_ok=True)
        aside.unlink()
        raise
    _settle(task, aside, before)


def is_linked(task: ResolveTask) -> bool:
    """Whether a task that was begun and not noted as done has been done; whatever it left half done is mended.

    Raises
    ------
    SkipError
        When the file is no longer there, is no regular file any more, or was written to meanwhile.
    OSError
        When the disk refuses.
    """
    assert task.target is not None
    _new_name(task).unlink(missing_ok=True)
    here, aside, kept = maybe_stamp(task.path), maybe_stamp(task.target), maybe_stamp(task.keep)
    if here is None:
        raise SkipError("is no longer there")
    if aside is None:
        return task.action == HARD_LINK and kept is not None and here[:2] == kept[:2]
    if aside[:2] == here[:2]:
        task.target.unlink()
        return False
    _settle(task, task.target, (aside[0], aside[1], task.size_bytes, task.mtime_ns))
    return True


def unlink(task: ResolveTask, digests: Digests) -> None:
    """Make the file one of its own again.

    Parameters
    ----------
    task : ResolveTask
        Done, or begun and interrupted; nothing is done for one that was interrupted before the link stood.
    digests : Digests
        Reads the file, unless it has read it already.

    Raises
    ------
    SkipError
        When its bytes are other ones now, or their copy has other ones; it stays as it is.
    OSError
        When the disk refuses; it stays as it is.

    Notes
    -----
    A file that shares blocks is one of its own already: writing to one of the two changes nothing in the other.
    """
    if task.state == TaskState.BEGUN and not is_linked(task):
        return
    if task.action == CLONE:
        return
    if digests.of(task.path) != task.digest:
        raise SkipError("was changed after it was linked")
    new = _new_name(task)
    new.unlink(missing_ok=True)
    try:
        shutil.copy2(task.path, new, follow_symlinks=False)
        os.utime(new, ns=(task.mtime_ns, task.mtime_ns))
        if Digests().of(new) != task.digest:
            raise SkipError("could not be copied")
        new.replace(task.path)
    finally:
        new.unlink(missing_ok=True)


def _make(task: ResolveTask, new: Path) -> None:
    assert task.keep is not None
    if task.action == HARD_LINK:
        os.link(task.keep, new, follow_symlinks=False)
        return
    assert task.action == CLONE
    with task.keep.open("rb") as source, new.open("xb") as clone:
        try:
            fcntl.ioctl(clone.fileno(), FICLONE, source.fileno())
        except OSError as error:
            if error.errno in _CANNOT_CLONE:
                raise SkipError("stays: its file system cannot share blocks between these two files") from error
            raise
    # It is the same picture as before: it keeps its own time and rights.
    shutil.copystat(task.path, new, follow_symlinks=False)


def _settle(task: ResolveTask, aside: Path, before: Stamp) -> None:
    """Let the file's own bytes go when they are those that were compared, else put them back."""
    if stamp_of(aside) != before:
        aside.replace(task.path)
        raise SkipError("was written to meanwhile; it is as it was")
    aside.unlink()


def _new_name(task: ResolveTask) -> Path:
    return task.path.parent / f"{NEW_PREFIX}{task.id}"
