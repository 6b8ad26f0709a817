"""Rows of the watch list, and of the contents that contain one of its works.

In: works, and the matches of contents with them, rows of the table `sighting`.  Out: works, and which of them a content
contains.  Never here: looking for works.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Sequence

from cbir_daemon.records import IMAGE, Detail
from cbir_daemon.store.parts import write_work_parts
from cbir_daemon.store.row_types import ContainedWork, NewWork, Work, WorkMatch
from cbir_daemon.store.rows import Columns, column, tuples
from cbir_daemon.store.table import Table, in_chunks, placeholders, rank_sql, reads, writes

_WORK = Columns(Work, computed={"matches": "(SELECT count(*) FROM sighting WHERE work_id = work.id)"})
_CONTAINED = Columns(ContainedWork)
_WORK_MATCH = Columns(WorkMatch)


class Works(Table):
    """The watch list."""

    @writes(ticks=True)
    def add(self, connection: sqlite3.Connection, work: NewWork, now: float) -> Work | None:
        """Write a work on the watch list.

        Parameters
        ----------
        work : NewWork
            When another work has its name, a number is put behind the name: "boat.jpg (2)".
        now : float
            Time of adding, in seconds since the epoch.

        Returns
        -------
        Work or None
            None when these bytes are on the list already, under whatever name.
        """
        name = _free_name(connection, work.name)
        cursor = connection.execute(
            "INSERT INTO work (digest, extractor, vector, name, path, added_at, medium, format, details)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
            (
                work.digest,
                work.extractor,
                work.vector,
                name,
                work.path,
                now,
                work.medium,
                work.format,
                json.dumps(dict(work.details)),
            ),
        )
        if not cursor.rowcount or cursor.lastrowid is None:
            return None
        write_work_parts(connection, cursor.lastrowid, work.parts)
        return Work(cursor.lastrowid, work.digest, name, work.path, now)

    @writes(ticks=True)
    def remove(self, connection: sqlite3.Connection, work_id: int) -> bool:
        """Forget a work and where it was seen; False when there is none."""
        return connection.execute("DELETE FROM work WHERE id = ?", (work_id,)).rowcount > 0

    @reads
    def listed(self, connection: sqlite3.Connection) -> list[Work]:
        """Return every work, in order of id."""
        return _WORK.all(connection.execute(_WORK.select("FROM work ORDER BY id")))

    @reads
    def vectors(self, connection: sqlite3.Connection) -> list[tuple[int, bytes, bytes]]:
        """Return (id, digest, vector) of every work that is an image, in order of id."""
        rows = connection.execute("SELECT id, digest, vector FROM work WHERE medium = ? ORDER BY id", (IMAGE,))
        return tuples(rows, "id", "digest", "vector")

    @reads
    def of_medium(self, connection: sqlite3.Connection, medium: str) -> list[tuple[int, bytes, str, dict[str, Detail]]]:
        """Return (id, digest, format, details) of every work of a medium, in order of id."""
        rows = connection.execute(
            "SELECT id, digest, format, details FROM work WHERE medium = ? ORDER BY id", (medium,)
        )
        return [(row["id"], row["digest"], row["format"], json.loads(row["details"])) for row in rows]

    @writes(ticks=True)
    def put_matches(self, connection: sqlite3.Connection, work_matches: Sequence[WorkMatch]) -> None:
        """Write which contents contain which works, for a caller who reports them at once: no alert follows."""
        write_work_matches(connection, work_matches, tell=False)

    @reads
    def contained(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, list[ContainedWork]]:
        """Return digest -> the works that the content contains, best first, for those that contain any."""
        found: dict[bytes, list[ContainedWork]] = {}
        for chunk in in_chunks(digests):
            rows = connection.execute(
                f"SELECT sighting.digest, {_CONTAINED} FROM sighting"  # noqa: S608 -- marks
                f" JOIN work ON work.id = sighting.work_id WHERE sighting.digest IN ({placeholders(len(chunk))})"
                f" ORDER BY {rank_sql('sighting.kind')}, sighting.score DESC, work.id",
                chunk,
            )
            seen = _CONTAINED.reader(rows)
            for row in rows:
                found.setdefault(row["digest"], []).append(seen(row))
        return found


def _free_name(connection: sqlite3.Connection, name: str) -> str:
    """Return `name`, with a number behind it when another work has it: files of many folders have the same names."""
    taken = set(column(connection.execute("SELECT name FROM work"), "name"))
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def write_work_matches(connection: sqlite3.Connection, work_matches: Iterable[WorkMatch], *, tell: bool) -> None:
    """Write which contents contain which works.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, in the caller's transaction.
    work_matches : iterable of WorkMatch
        One that is known already is left as it is; one of a work that is gone by now is passed over.
    tell : bool
        Whether the files of each content with a new match are to be decided upon again, so that they raise an alert.
    """
    for match in work_matches:
        # A work may have gone since it was seen.
        new = connection.execute(
            f"INSERT OR IGNORE INTO sighting ({_WORK_MATCH.listed}) SELECT {_WORK_MATCH.marks}"  # noqa: S608 -- names of fields
            " WHERE EXISTS (SELECT 1 FROM work WHERE id = :work_id)",
            _WORK_MATCH.values(match),
        ).rowcount
        if new and tell:
            connection.execute(
                "UPDATE file SET alert_due = 1 WHERE content_id = (SELECT id FROM content WHERE digest = ?)",
                (match.digest,),
            )
