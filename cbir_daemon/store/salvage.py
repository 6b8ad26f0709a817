"""A new index in the place of one that is damaged, with what no walk finds again.

In: an index, however damaged.  Out: a new one that has its albums, decisions, alerts and the journal of what was
resolved, as far as they can be read.  Never here: contents, files, maps: those are made from the albums.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbir_daemon.store import schema
from cbir_daemon.store.rows import by_name, column

Row = Mapping[str, Any]

SUFFIX = ".before-reindex"
"""Of the index that was set aside."""

KEPT = (
    "clock",
    "album",
    "decision",
    "alert",
    "sink",
    "work",
    "work_part",
    "sighting",
    "resolve_run",
    "resolve_task",
    "site",
    "published",
)
"""Tables of which as much as can be read is kept: what people decided, watch for, were told and did, and
what a shared index was told."""

REBUILT = (
    "content",
    "descriptor",
    "file",
    "pair",
    "part",
    "part_vector",
    "pass",
    "model_run",
    "position",
    "publish_due",
)
"""Tables that are made from the albums; a fit that is no more has no history."""

_ALBUM_COLUMNS = ("path",)
"""The rest of an album is found out by the first walk; until then its files raise no alerts."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """The rows that could be read of an index.

    Parameters
    ----------
    tables : mapping
        Name -> rows, each with the names of its columns.
    lost : tuple of str
        Tables that were not read to their end.
    """

    tables: Mapping[str, Sequence[Row]]
    lost: tuple[str, ...]


def salvaged(index: Path) -> Salvage:
    """Return the rows of an index that are worth keeping.

    Raises
    ------
    SchemaTooNewError
        When a newer release wrote it: only that one knows what is worth keeping.
    StorageError
        When it is the database of another program.
    """
    tables: dict[str, Sequence[Row]] = {}
    lost: list[str] = []
    try:
        with closing(sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            schema.refuse_foreign(connection, index)
            by_name(connection)
            there = column(connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"), "name")
            for table in KEPT:
                if table in there:
                    tables[table], whole = _read(connection, table)
                    lost += [] if whole else [table]
    except sqlite3.DatabaseError:
        # Not even its first pages can be read.
        lost += [table for table in KEPT if table not in tables and table not in lost]
    return Salvage(tables, tuple(lost))


def _read(connection: sqlite3.Connection, table: str) -> tuple[list[Row], bool]:
    """Return the rows up to the first that cannot be read, and whether that was the end."""
    names = _columns(connection, table)
    rows: list[Row] = []
    try:
        selected = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 -- fixed names
        rows.extend({name: row[name] for name in names} for row in selected)
    except sqlite3.DatabaseError:
        return rows, False
    return rows, True


def write_salvaged(connection: sqlite3.Connection, salvage: Salvage) -> None:
    """Write what was kept into a new index, and raise its clock.

    Parameters
    ----------
    connection : sqlite3.Connection
        Of the writer of the new index, in the caller's transaction.
    salvage : Salvage
        A column that today's schema does not have is left out; of an album only its path is written.
    """
    for table, rows in salvage.tables.items():
        present = _ALBUM_COLUMNS if table == "album" else _columns(connection, table)
        for row in rows:
            names = [name for name in row if name in present]
            marks = ", ".join(f":{name}" for name in names)
            connection.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({marks})", row)  # noqa: S608 -- names of ours
    connection.execute("UPDATE clock SET value = value + 1")


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return column(connection.execute("SELECT name FROM pragma_table_info(?)", (table,)), "name")
