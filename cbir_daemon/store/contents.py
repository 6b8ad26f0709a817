"""Rows of contents and files: how a batch of changes becomes rows, and how images are read back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from cbir_daemon.records import EXTRACTOR, SIZE_UNKNOWN, FileState, Heals, reasons_healed_by
from cbir_daemon.store import soundness
from cbir_daemon.store.records import Applied, Change, Content, Counts, Failed, Gone, Image, Indexed, Moved

T = TypeVar("T")

# SQLite's default limit is 32 766 bound variables in one statement.
VARIABLES = 10_000

# Of what heals without a change of the file, size, mtime and inode say nothing: it differs from its row until it was
# read.  Only the words of our own table become part of the statement.
_HEALS_UNCHANGED = ", ".join(f"'{code}'" for code in sorted(reasons_healed_by(Heals.RIGHTS, Heals.PAUSE)))
_STATE = f"iif(error_code IN ({_HEALS_UNCHANGED}), {SIZE_UNKNOWN}, size_bytes), mtime_ns, inode, device"

_IMAGE_SQL = """
SELECT file.id, file.album_id, album.path, file.path, file.size_bytes, file.mtime_ns, file.inode,
       file.device, album.state = 'missing', file.since,
       content.id, content.digest, content.width_px, content.height_px, content.size_bytes, content.format,
       content.taken, content.picture
FROM file JOIN album ON album.id = file.album_id JOIN content ON content.id = file.content_id
"""


def in_chunks(values: Sequence[T], size: int = VARIABLES) -> Iterator[Sequence[T]]:
    """Cut `values` so that each piece fits into one statement."""
    return (values[start : start + size] for start in range(0, len(values), size))


def placeholders(count: int) -> str:
    """Return `count` question marks for an IN (...)."""
    return ",".join("?" * count)


def apply(connection: sqlite3.Connection, changes: Iterable[Change], clock: int) -> Applied:
    """Write a batch of changes; a file row, its content and vector belong to one transaction (invariant I1)."""
    albums = {row[0] for row in connection.execute("SELECT id FROM album")}
    # An album may have been removed while its files were read.
    standing = [change for change in changes if change.album_id in albums]
    _lift(connection, [change for change in standing if isinstance(change, Moved)])
    added: dict[int, bytes] = {}
    again: list[Indexed] = []
    touched: set[int] = set()
    for change in standing:
        match change:
            case Indexed():
                content_id = _content(connection, change, added)
                if content_id is None:
                    again.append(change)
                else:
                    touched |= _put_file(connection, change, content_id, clock)
            case Failed():
                touched |= _put_file(connection, change, None, clock)
            case Moved():
                touched |= _move(connection, change)
            case Gone():
                touched |= _forget(connection, change)
    gone = drop_orphans(connection, touched)
    return Applied(
        clock,
        tuple((content_id, vector) for content_id, vector in added.items() if content_id not in gone),
        tuple(content_id for content_id in gone if content_id not in added),
        tuple(again),
    )


def drop_orphans(connection: sqlite3.Connection, content_ids: Iterable[int]) -> tuple[int, ...]:
    """Delete those of `content_ids` that no file has any more, and return them."""
    gone = [
        content_id
        for content_id in sorted(content_ids)
        if connection.execute("SELECT 1 FROM file WHERE content_id = ? LIMIT 1", (content_id,)).fetchone() is None
    ]
    connection.executemany("DELETE FROM content WHERE id = ?", [(content_id,) for content_id in gone])
    return tuple(gone)


def _content(connection: sqlite3.Connection, change: Indexed, added: dict[int, bytes]) -> int | None:
    """Return the id of the content that was read, noted in `added` when it is new; None when its vector is missing."""
    facts = change.facts
    row = connection.execute("SELECT id FROM content WHERE digest = ?", (facts.digest,)).fetchone()
    if row is not None:
        return int(row[0])
    if facts.vector is None:
        return None
    cursor = connection.execute(
        "INSERT INTO content (digest, extractor, vector, size_bytes, width_px, height_px, format, taken, checksum)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, crc32(?3))",
        (
            facts.digest,
            EXTRACTOR,
            facts.vector,
            change.state.size_bytes,
            facts.width_px,
            facts.height_px,
            facts.format,
            facts.taken,
        ),
    )
    assert cursor.lastrowid is not None
    added[cursor.lastrowid] = facts.vector
    return cursor.lastrowid


def _put_file(connection: sqlite3.Connection, change: Indexed | Failed, content_id: int | None, clock: int) -> set[int]:
    """Write one file row and return the content it had before, when that was another."""
    row = connection.execute(
        "SELECT content_id FROM file WHERE album_id = ? AND path = ?", (change.album_id, change.path)
    ).fetchone()
    before = None if row is None else row[0]
    code, message = (None, None) if isinstance(change, Indexed) else (change.unreadable.code, change.unreadable.message)
    connection.execute(
        """
        INSERT INTO file (album_id, path, size_bytes, mtime_ns, inode, device,
                          content_id, error_code, error_message, alert_due, since)
        VALUES (:album, :path, :size, :mtime, :inode, :device, :content, :code, :message,
                :content IS NOT NULL AND (SELECT baseline FROM album WHERE id = :album), :clock)
        ON CONFLICT (album_id, path) DO UPDATE SET
            size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
            device = excluded.device,
            -- A file that was only touched is no news.
            alert_due = iif(file.content_id IS excluded.content_id, file.alert_due, excluded.alert_due),
            since = iif(file.content_id IS excluded.content_id, file.since, excluded.since),
            content_id = excluded.content_id, error_code = excluded.error_code, error_message = excluded.error_message
        """,
        {
            "album": change.album_id,
            "path": change.path,
            "size": change.state.size_bytes,
            "mtime": change.state.mtime_ns,
            "inode": change.state.inode,
            "device": change.state.device,
            "content": content_id,
            "code": code,
            "message": message,
            "clock": clock,
        },
    )
    return {before} if before is not None and before != content_id else set()


def _lift(connection: sqlite3.Connection, moves: Iterable[Moved]) -> None:
    """Take all rows that move away from their paths first: names may be swapped, or handed on in a ring."""
    # No file has a zero byte in its name.
    connection.executemany(
        "UPDATE file SET path = ? WHERE id = ?", [(b"\0%d" % move.file_id, move.file_id) for move in moves]
    )


def _move(connection: sqlite3.Connection, change: Moved) -> set[int]:
    if connection.execute("SELECT 1 FROM file WHERE id = ?", (change.file_id,)).fetchone() is None:
        return set()
    replaced = connection.execute(
        "DELETE FROM file WHERE album_id = ? AND path = ? AND id != ? RETURNING content_id",
        (change.album_id, change.path, change.file_id),
    ).fetchall()
    connection.execute(
        "UPDATE file SET album_id = ?, path = ? WHERE id = ?", (change.album_id, change.path, change.file_id)
    )
    return {row[0] for row in replaced if row[0] is not None}


def _forget(connection: sqlite3.Connection, change: Gone) -> set[int]:
    # Below a folder: every path from "folder/" up to, not including, "folder0" ("0" follows "/").
    rows = connection.execute(
        "DELETE FROM file WHERE album_id = ? AND (path = ? OR (? AND path >= ? AND path < ?)) RETURNING content_id",
        (change.album_id, change.path, change.below, change.path + b"/", change.path + b"0"),
    ).fetchall()
    return {row[0] for row in rows if row[0] is not None}


def file_states(connection: sqlite3.Connection, album_id: int, below: bytes) -> dict[bytes, FileState]:
    """Return path -> state of the album's file rows at or below a relative path; b"" is the whole album."""
    where, bounds = "album_id = ?", (album_id,)
    if below:
        where += " AND (path = ? OR (path >= ? AND path < ?))"
        bounds += (below, below + b"/", below + b"0")  # type: ignore[assignment]
    rows = connection.execute(f"SELECT path, {_STATE} FROM file WHERE {where}", bounds)  # noqa: S608 -- fixed texts
    return {path: FileState(size, mtime, inode, device) for path, size, mtime, inode, device in rows}


def put_devices(connection: sqlite3.Connection, album_id: int, devices: Mapping[bytes, int]) -> None:
    """Write on which disk some of an album's files are."""
    connection.executemany(
        "UPDATE file SET device = ? WHERE album_id = ? AND path = ?",
        [(device, album_id, path) for path, device in devices.items()],
    )


def known_digests(connection: sqlite3.Connection, sizes: Sequence[int]) -> dict[int, frozenset[bytes]]:
    """Return, for each size in bytes, the digests of the contents of that size."""
    found: dict[int, set[bytes]] = {}
    for some in in_chunks(sizes):
        marks = placeholders(len(some))
        rows = connection.execute(
            f"SELECT size_bytes, digest FROM content WHERE extractor = ? AND size_bytes IN ({marks})",  # noqa: S608 -- marks
            (EXTRACTOR, *some),
        )
        for size, digest in rows:
            found.setdefault(size, set()).add(digest)
    return {size: frozenset(digests) for size, digests in found.items()}


def same_inode(connection: sqlite3.Connection, state: FileState) -> list[tuple[int, bytes]]:
    """Return (file id, absolute path) of the readable files with this very size, mtime and inode on this disk.

    Rows whose disk is not known count as on this one, and so does every row for a state without one.
    """
    rows = connection.execute(
        "SELECT file.id, album.path, file.path FROM file JOIN album ON album.id = file.album_id"
        " WHERE file.inode = ?1 AND file.size_bytes = ?2 AND file.mtime_ns = ?3 AND file.content_id IS NOT NULL"
        " AND (file.device = ?4 OR 0 IN (file.device, ?4))",
        (state.inode, state.size_bytes, state.mtime_ns, state.device),
    )
    return [(file_id, root + b"/" + path) for file_id, root, path in rows]


def indexed_inodes(connection: sqlite3.Connection, inodes: Sequence[int]) -> set[int]:
    """Return which of some inodes a readable file had when it was read, on whatever disk."""
    found: set[int] = set()
    for some in in_chunks(inodes):
        marks = placeholders(len(some))
        query = f"SELECT inode FROM file WHERE inode IN ({marks}) AND content_id IS NOT NULL"  # noqa: S608 -- marks
        found.update(inode for (inode,) in connection.execute(query, some))
    return found


def images(connection: sqlite3.Connection, content_ids: Sequence[int]) -> list[Image]:
    """Return the files of these contents, in order of content and path."""
    found: list[Image] = []
    for some in in_chunks(content_ids):
        rows = connection.execute(
            f"{_IMAGE_SQL} WHERE file.content_id IN ({placeholders(len(some))})"
            " ORDER BY file.content_id, album.path, file.path",
            some,
        )
        found.extend(_image(row) for row in rows)
    return found


def images_due(connection: sqlite3.Connection, limit: int) -> list[Image]:
    """Return files of which it is not decided whether they raise an alert, of contents that were looked up."""
    rows = connection.execute(
        f"{_IMAGE_SQL} WHERE file.alert_due = 1 AND content.matched = 1 ORDER BY file.id LIMIT ?", (limit,)
    )
    return [_image(row) for row in rows]


def _image(
    row: tuple[
        int, int, bytes, bytes, int, int, int, int, int, int, int, bytes, int, int, int, str, str | None, float | None
    ],
) -> Image:
    file_id, album_id, root, path, size, mtime, inode, device, missing, since, *_ = row
    state = FileState(size, mtime, inode, device)
    return Image(file_id, album_id, root + b"/" + path, state, bool(missing), Content(*row[10:]), since)


def images_at(connection: sqlite3.Connection, paths: Iterable[bytes]) -> dict[bytes, Image]:
    """Return absolute path -> image, for those paths that are indexed and readable."""
    found: dict[bytes, Image] = {}
    for path in paths:
        # Joining two BLOBs in SQL gives TEXT, which equals no BLOB.
        row = connection.execute(
            f"{_IMAGE_SQL} WHERE CAST(album.path || '/' AS BLOB) = substr(?1, 1, length(album.path) + 1)"
            " AND file.path = substr(?1, length(album.path) + 2)",
            (path,),
        ).fetchone()
        if row is not None:
            found[path] = _image(row)
    return found


def content_by_digest(connection: sqlite3.Connection, digest: bytes) -> Content | None:
    """Return the content with this SHA-256, or None."""
    row = connection.execute(
        "SELECT id, digest, width_px, height_px, size_bytes, format, taken, picture FROM content WHERE digest = ?",
        (digest,),
    ).fetchone()
    return None if row is None else Content(*row)


def file_at(connection: sqlite3.Connection, path: bytes) -> Content | None:
    """Return the content of the indexed file at this absolute path, or None."""
    # Joining two BLOBs in SQL gives TEXT, which equals no BLOB.
    row = connection.execute(
        "SELECT content.id, content.digest, content.width_px, content.height_px, content.size_bytes, content.format,"
        " content.taken, content.picture FROM album"
        " JOIN file ON file.album_id = album.id JOIN content ON content.id = file.content_id"
        " WHERE CAST(album.path || '/' AS BLOB) = substr(?1, 1, length(album.path) + 1)"
        " AND file.path = substr(?1, length(album.path) + 2)",
        (path,),
    ).fetchone()
    return None if row is None else Content(*row)


def content_ids(connection: sqlite3.Connection) -> list[int]:
    """Return the ids of all contents, ascending."""
    # From an index: the table itself has a page for each vector.
    return sorted(row[0] for row in connection.execute("SELECT id FROM content INDEXED BY content_size"))


def vectors(connection: sqlite3.Connection, content_ids: Sequence[int]) -> dict[int, bytes]:
    """Return content id -> its 4096-byte vector, for those that are there."""
    found: dict[int, bytes] = {}
    for some in in_chunks(content_ids):
        marks = placeholders(len(some))
        found.update(connection.execute(f"SELECT id, vector FROM content WHERE id IN ({marks})", some))  # noqa: S608 -- marks
    return found


def digests(connection: sqlite3.Connection, content_ids: Sequence[int]) -> dict[int, bytes]:
    """Return content id -> SHA-256, for those that are there."""
    found: dict[int, bytes] = {}
    for some in in_chunks(content_ids):
        marks = placeholders(len(some))
        found.update(connection.execute(f"SELECT id, digest FROM content WHERE id IN ({marks})", some))  # noqa: S608 -- marks
    return found


def vectors_after(connection: sqlite3.Connection, content_id: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the next contents after an id with their vectors, in order of id; raises at a damaged one."""
    rows = connection.execute(
        "SELECT id, vector, checksum FROM content WHERE id > ? ORDER BY id LIMIT ?", (content_id, limit)
    )
    return list(soundness.checked(rows))


def counts(connection: sqlite3.Connection) -> Counts:
    """Count images, errors, contents, and what is still to be done."""
    images_, errors = connection.execute("SELECT count(content_id), count(error_code) FROM file").fetchone()
    contents = connection.execute("SELECT count(*) FROM content").fetchone()[0]
    unmatched = connection.execute("SELECT count(*) FROM content WHERE matched = 0").fetchone()[0]
    due = connection.execute("SELECT count(*) FROM file WHERE alert_due = 1").fetchone()[0]
    return Counts(images_, errors, contents, unmatched, due)


def counts_by_album(connection: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    """Return album id -> (images, errors); albums without a file row are left out."""
    rows = connection.execute("SELECT album_id, count(content_id), count(error_code) FROM file GROUP BY album_id")
    return {album_id: (readable, errors) for album_id, readable, errors in rows}


def errors(connection: sqlite3.Connection) -> list[tuple[bytes, str, str]]:
    """Return (absolute path, code, message) of every file that could not be read, in order of path."""
    rows = connection.execute(
        "SELECT album.path, file.path, file.error_code, file.error_message"
        " FROM file JOIN album ON album.id = file.album_id WHERE file.error_code IS NOT NULL"
        " ORDER BY album.path, file.path"
    )
    return [(root + b"/" + path, code, message) for root, path, code, message in rows]


def error_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return code -> number of files that could not be read for that reason."""
    return dict(
        connection.execute("SELECT error_code, count(*) FROM file WHERE error_code IS NOT NULL GROUP BY error_code")
    )


def error_messages(connection: sqlite3.Connection, code: str) -> dict[str, int]:
    """Return message -> number of files that could not be read for the reason `code`."""
    rows = connection.execute("SELECT error_message, count(*) FROM file WHERE error_code = ? GROUP BY 1", (code,))
    return dict(rows.fetchall())


def forget_states(connection: sqlite3.Connection, code: str, but: Iterable[str]) -> int:
    """Let files that could not be read for the reason `code`, with another message than these, differ from their rows.

    Return how many there are.
    """
    messages = list(but)
    marks = placeholders(len(messages))
    return connection.execute(
        f"UPDATE file SET size_bytes = {SIZE_UNKNOWN} WHERE error_code = ? AND error_message NOT IN ({marks})",  # noqa: S608 -- marks
        (code, *messages),
    ).rowcount
