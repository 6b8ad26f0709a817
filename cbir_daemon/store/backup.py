"""The index as a file: is it sound, and a copy of it while it is in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cbir_daemon.errors import BadRequestError, StorageError
from cbir_daemon.store import schema

_ORPHANS = "SELECT count(*) FROM content WHERE id NOT IN (SELECT content_id FROM file WHERE content_id IS NOT NULL)"
_MAPLESS = (
    "SELECT count(*) FROM model_run WHERE outcome = 'active' AND (artifact IS NULL OR sha256 IS NULL"
    " OR NOT EXISTS (SELECT 1 FROM position WHERE run_id = model_run.id))"
)


def findings(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the file and the invariants between its rows, a sentence each."""
    found = [f"integrity: {row[0]}" for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    found += [
        f"foreign key: row {row[1]} of {row[0]} points to nothing in {row[2]}"
        for row in connection.execute("PRAGMA foreign_key_check")
    ]
    if orphans := connection.execute(_ORPHANS).fetchone()[0]:
        found.append(f"{orphans} contents belong to no file")
    if connection.execute(_MAPLESS).fetchone()[0]:
        found.append("the active model has no artifact or no positions")
    return found


def copy(connection: sqlite3.Connection, target: Path) -> None:
    """Write a consistent copy to `target`: whole or not at all.

    Raises
    ------
    BadRequestError
        When `target` is there already.
    StorageError
        When it cannot be written.
    """
    try:
        if target.exists():
            raise BadRequestError(f"{target}: is there already", hint="give the name of a new file")
        with _copied(connection, target) as partial:
            partial.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{target}: {error}", hint="check that the folder exists and has room") from error


def restore(source: Path, index: Path) -> None:
    """Put a backup in the place of an index that no daemon uses; what stood there stays beside it as `.before-restore`.

    Raises
    ------
    StorageError
        When `source` is no sound index that this release reads; nothing is touched.
    """
    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as checked:
            schema.refuse_foreign(checked, source)
            if not schema.version(checked):
                raise StorageError(f"{source}: is empty", hint="use another backup")
            if wrong := findings(checked):
                raise StorageError(f"{source}: {wrong[0]}", hint="use another backup")
            with _copied(checked, index) as partial:
                _set_aside(index)
                partial.rename(index)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{source}: {error}", hint="check that the file is a backup and can be read") from error


@contextmanager
def _copied(connection: sqlite3.Connection, target: Path) -> Iterator[Path]:
    """Give a whole copy, on the disk, beside `target`, to be renamed; remove it when it was not."""
    partial = target.with_name(target.name + ".partial")
    os.close(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
    try:
        with closing(sqlite3.connect(partial)) as copied:
            connection.backup(copied)
            # A copy is one file: in WAL mode, looking at it would put two more beside it.
            copied.execute("PRAGMA journal_mode = DELETE")
        _synchronise(partial)
        yield partial
        _synchronise(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _set_aside(index: Path) -> None:
    # A log belongs to its file: beside another one it would be taken for that one's and damage it.
    is_there = index.exists()
    for suffix in ("", "-wal", "-shm"):
        part, aside = (index.with_name(name + suffix) for name in (index.name, f"{index.name}.before-restore"))
        if is_there:
            aside.unlink(missing_ok=True)
        if is_there and part.exists():
            part.rename(aside)
        else:
            part.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
