"""The index as a file: copies of it while it is in use, and a backup put in its place.

In: an open index, paths.  Out: files, each whole or not there.  Never here: when a copy is due.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cbir_daemon.errors import BadRequestError, StorageError
from cbir_daemon.store import schema, soundness
from cbir_daemon.system.files import FILE_MODE, synchronise

BEFORE_RESTORE = ".before-restore"
"""Of the index in whose place a backup was put."""


def copy(connection: sqlite3.Connection, target: Path) -> None:
    """Write a consistent copy of an index: whole or not at all.

    Parameters
    ----------
    connection : sqlite3.Connection
        Of the index; other threads may write to it meanwhile.
    target : Path
        The copy, which must not be there yet; one file, readable by its owner only.

    Raises
    ------
    BadRequestError
        When `target` is there already.
    StorageError
        When it cannot be written.
    """
    try:
        if target.exists():
            raise BadRequestError(f"{target}: exists already", hint="give the name of a new file")
        with _copied(connection, target) as partial:
            partial.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{target}: {error}", hint="check that the folder exists and has room") from error


def keep(connection: sqlite3.Connection, index: Path) -> None:
    """Renew the copy that lies beside the index, unless the index is damaged: then the copy is worth more.

    Parameters
    ----------
    connection : sqlite3.Connection
        Of the index.
    index : Path
        The index; its copy has the name that `soundness.backup_of` returns.

    Raises
    ------
    StorageError
        When something is wrong with the index, or the copy cannot be written; the copy before stays.
    """
    if wrong := soundness.findings(connection):
        raise StorageError(f"{index}: {wrong[0]}", hint=soundness.remedy(index))
    target = soundness.backup_of(index)
    try:
        with _copied(connection, target) as partial:
            partial.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{target}: {error}", hint="free some space on that disk; the earlier copy stays") from error


def restore(source: Path, index: Path) -> None:
    """Put a backup in the place of an index that no daemon uses.

    What stood there stays beside it as `.before-restore`; what was kept under that name before is removed.

    Parameters
    ----------
    source : Path
        The backup; it is read only, and may be of an older schema.
    index : Path
        Where the copy of it is put; need not be there.

    Raises
    ------
    SchemaTooNewError
        When a newer release wrote `source`; nothing is touched.
    StorageError
        When `source` is no sound index, or the copy cannot be written.
    """
    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as checked:
            soundness.prepare(checked)
            schema.refuse_foreign(checked, source)
            if not schema.version(checked):
                raise StorageError(f"{source}: is empty", hint="use another backup")
            if wrong := soundness.findings(checked):
                raise StorageError(f"{source}: {wrong[0]}", hint="use another backup")
            with _copied(checked, index) as partial:
                set_aside(index, BEFORE_RESTORE)
                partial.rename(index)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{source}: {error}", hint="check that the file is a backup and can be read") from error


@contextmanager
def _copied(connection: sqlite3.Connection, target: Path) -> Iterator[Path]:
    """Give a whole copy, on the disk, beside `target`, to be renamed; remove it when it was not."""
    partial = target.with_name(target.name + ".partial")
    os.close(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, FILE_MODE))
    try:
        with closing(sqlite3.connect(partial)) as copied:
            connection.backup(copied)
            # A copy is one file: in WAL mode, looking at it would put two more beside it.
            copied.execute("PRAGMA journal_mode = DELETE")
        synchronise(partial)
        yield partial
        synchronise(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def set_aside(index: Path, mark: str) -> None:
    """Rename an index together with its log; what was set aside under that mark before is removed.

    Parameters
    ----------
    index : Path
        Used by no process.  When it is not there, only a log that was left behind is removed.
    mark : str
        Put behind the name of the index, as `.before-restore`.

    Raises
    ------
    OSError
        When a file cannot be renamed or removed.
    """
    # A log belongs to its file: beside another one it would be taken for that one's and damage it.
    is_there = index.exists()
    for suffix in ("", "-wal", "-shm"):
        part, aside = (index.with_name(name + suffix) for name in (index.name, index.name + mark))
        if is_there:
            aside.unlink(missing_ok=True)
        if is_there and part.exists():
            part.rename(aside)
        else:
            part.unlink(missing_ok=True)
