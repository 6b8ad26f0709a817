"""The index as a file: is it sound, and a copy of it while it is in use."""

from __future__ import annotations

import os
import sqlite3
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
    if target.exists():
        raise BadRequestError(f"{target}: is there already", hint="give the name of a new file")
    partial = target.with_name(target.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.close(descriptor)
        copied = sqlite3.connect(partial)
        try:
            connection.backup(copied)
        finally:
            copied.close()
        _synchronise(partial)
        partial.rename(target)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{target}: {error}", hint="check that the folder exists and has room") from error


def restore(source: Path, index: Path) -> None:
    """Put a backup in the place of an index that no daemon uses; what stood there stays beside it as `.before-restore`.

    Raises
    ------
    StorageError
        When `source` is no sound index; nothing is touched.
    """
    try:
        checked = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
        try:
            application = checked.execute("PRAGMA application_id").fetchone()[0]
            if application != schema.APPLICATION_ID:
                raise StorageError(f"{source}: is no backup of an index")
            if wrong := findings(checked):
                raise StorageError(f"{source}: {wrong[0]}", hint="use another backup")
        finally:
            checked.close()
        partial = index.with_name(index.name + ".partial")
        partial.write_bytes(source.read_bytes())
        partial.chmod(0o600)
        _synchronise(partial)
        _set_aside(index)
        partial.rename(index)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{source}: {error}", hint="check that the file is a backup and can be read") from error


def _set_aside(index: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        part = index.with_name(index.name + suffix)
        if part.exists():
            part.rename(index.with_name(f"{index.name}.before-restore{suffix}"))


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
