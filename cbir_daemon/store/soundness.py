"""Is the index what was written, and what can be done when it is not.

In: an open index.  Out: what is wrong, a sentence each; commands that help.  Never here: mending.

SQLite notices a damaged page by its structure only, and most of an index is vectors, in which any byte is as good as
another.  So each vector has its checksum beside it.
"""

from __future__ import annotations

import shlex
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from cbir_daemon.store.rows import by_name, column, scalar, tuples
from cbir_daemon.wording.counting import clause

CHECKSUM = "crc32"
"""SQL function of a BLOB -> its CRC-32: one changed bit, and any lost page, changes it."""

BACKUP_SUFFIX = ".backup"
"""Of the copy that the daemon keeps beside the index."""

_HAS_CHECKSUMS = "SELECT 1 FROM pragma_table_info('content') WHERE name = 'checksum'"
_CHANGED = f"SELECT count(*) FROM content WHERE checksum != {CHECKSUM}(vector)"  # noqa: S608 -- a name
_ORPHANS = "SELECT count(*) FROM content WHERE id NOT IN (SELECT content_id FROM file WHERE content_id IS NOT NULL)"
_HAS_PARTS = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'part_vector'"
_PART_FINDINGS = (
    (
        "SELECT count(*) FROM part WHERE content_id IN (SELECT id FROM content WHERE medium = 'image')",
        "an image has parts",
    ),
    (
        "SELECT count(*) FROM part WHERE id NOT IN (SELECT part_id FROM part_vector)",
        "a part has no vector",
    ),
    (
        "SELECT count(*) FROM (SELECT 1 FROM part GROUP BY content_id HAVING max(number) + 1 != count(*))",
        "a content lacks some of its parts",
    ),
)
"""Questions to which the answer is 0, each with what is wrong when it is not."""

_MAPLESS = (
    "SELECT count(*) FROM model_run WHERE outcome = 'active' AND (artifact IS NULL OR sha256 IS NULL"
    " OR NOT EXISTS (SELECT 1 FROM position WHERE run_id = model_run.id))"
)


def prepare(connection: sqlite3.Connection) -> None:
    """Have a connection give rows by name, and teach it the SQL functions that migrations and statements use."""
    by_name(connection)
    connection.create_function(CHECKSUM, 1, zlib.crc32, deterministic=True)


def require_structure(connection: sqlite3.Connection) -> None:
    """Look at every page of the file.

    Raises
    ------
    sqlite3.DatabaseError
        When one is not what SQLite wrote.

    Notes
    -----
    0.3 s for 50 000 images, a twentieth of loading them; `findings` looks at indexes and vectors too, in thrice that.
    """
    first = scalar(connection, "PRAGMA quick_check(1)")
    if first != "ok":
        raise sqlite3.DatabaseError(f"damaged: {_one_line(first)}")


def checked(contents: sqlite3.Cursor) -> Iterator[tuple[int, bytes]]:
    """Yield (content id, vector) of contents, selected with `id`, `vector` and `checksum`.

    Raises
    ------
    sqlite3.DatabaseError
        At a vector that is not what was written.
    """
    for content_id, vector, checksum in tuples(contents, "id", "vector", "checksum"):
        if zlib.crc32(vector) != checksum:
            raise sqlite3.DatabaseError(f"damaged: the vector of content {content_id} is not what was written")
        yield content_id, vector


def findings(connection: sqlite3.Connection) -> list[str]:
    """Return the faults of the file and of the invariants between its rows, a sentence each."""
    looked = column(connection.execute("PRAGMA integrity_check"), "integrity_check")
    integrity = [_one_line(line) for line in looked if line != "ok"]
    if integrity:
        # What else is asked of a damaged file means nothing.
        return [f"integrity: {line}" for line in integrity]
    found = [
        f"foreign key: row {row['rowid']} of {row['table']} points to nothing in {row['parent']}"
        for row in connection.execute("PRAGMA foreign_key_check")
    ]
    # A backup may be of an older schema.
    if connection.execute(_HAS_CHECKSUMS).fetchone() and (changed := scalar(connection, _CHANGED)):
        found.append(f"integrity: {clause(changed, 'vector', 'is', 'are')} not what was written")
    if orphans := scalar(connection, _ORPHANS):
        found.append(f"{clause(orphans, 'content', 'belongs', 'belong')} to no file")
    if connection.execute(_HAS_PARTS).fetchone():
        found += [sentence for question, sentence in _PART_FINDINGS if scalar(connection, question)]
    if scalar(connection, _MAPLESS):
        found.append("the active model has no artifact or no positions")
    return found


def _one_line(message: str) -> str:
    return " ".join(message.replace("*** in database main ***", "").split())


def backup_of(index: Path) -> Path:
    """Return where the daemon keeps its copy of an index."""
    return index.with_name(index.name + BACKUP_SUFFIX)


def remedy(index: Path) -> str:
    """Say what to do about a damaged index."""
    state = shlex.quote(str(index.parent))
    anew = f"`cbir-daemon reindex --state {state}` begins a new one"
    if backup_of(index).exists():
        return f"`cbir-daemon restore --state {state}` puts {backup_of(index)} back, {anew}"
    return f"`cbir-daemon restore FILE --state {state}` puts a backup of yours back, {anew}"
