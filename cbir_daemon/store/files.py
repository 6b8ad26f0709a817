"""Rows of files: how a batch of changes becomes rows, and how images are read back.

In: changes; ids and paths.  Out: what a batch did to the contents; images, states, counts, errors.  Never here: the
disk, reading files.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from cbir_daemon.records import IMAGE, SIZE_UNKNOWN, AlbumState, Facts, FileState, Heals, reasons_healed_by
from cbir_daemon.store import clock
from cbir_daemon.store.contents import CONTENT, drop_orphans
from cbir_daemon.store.descriptors import write_descriptors
from cbir_daemon.store.parts import write_parts
from cbir_daemon.store.row_types import Applied, Change, Counts, Failed, Gone, Image, Indexed, Moved
from cbir_daemon.store.rows import Columns, column, mapping
from cbir_daemon.store.table import Table, in_chunks, keeps, placeholders, reads, writes

# Of what heals without a change of the file, size, mtime and inode say nothing: it differs from its row until it was
# read.  Only the words of our own table become part of the statement.
_HEALS_UNCHANGED = ", ".join(f"'{code}'" for code in sorted(reasons_healed_by(Heals.RIGHTS, Heals.PAUSE)))
_COMPARED = Columns(
    FileState, computed={"size_bytes": f"iif(error_code IN ({_HEALS_UNCHANGED}), {SIZE_UNKNOWN}, size_bytes)"}
)
_STATE = Columns(FileState, "file")
_IMAGE = Columns(
    Image,
    but=("state", "content"),
    computed={
        "file_id": "file.id",
        # Joining two BLOBs in SQL gives TEXT.
        "path": "CAST(album.path || '/' || file.path AS BLOB)",
        "missing": f"album.state = '{AlbumState.MISSING}'",
    },
    convert={"missing": bool},
)
_IMAGE_SQL = f"""
SELECT {_IMAGE}, {_STATE}, {CONTENT}
FROM file JOIN album ON album.id = file.album_id JOIN content ON content.id = file.content_id
"""  # noqa: S608 -- columns
_PARTS_DUE = (
    "file.parts_due = 1 AND file.alert_due = 0 AND file.content_id IS NOT NULL"
    f" AND album.state != '{AlbumState.MISSING}'"
)
_COUNTS = Columns(
    Counts,
    computed={
        "images": "count(content_id)",
        "errors": "count(error_code)",
        "contents": "(SELECT count(*) FROM content)",
        "unmatched": "(SELECT count(*) FROM content WHERE matched = 0)",
        "alerts_due": "(SELECT count(*) FROM file WHERE alert_due = 1)",
        "parts_due": f"(SELECT count(*) FROM file JOIN album ON album.id = file.album_id WHERE {_PARTS_DUE})",  # noqa: S608 -- words of ours
    },
)


class Files(Table):
    """Files of albums, each with its content or with the reason why it could not be read."""

    @writes(ticks=True)
    def apply(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> Applied:
        """Write a batch of changes in one commit: a file row is never without its content and vector (invariant I1)."""
        clock_value = clock.value(connection)
        albums = set(column(connection.execute("SELECT id FROM album"), "id"))
        # An album may have been removed while its files were read.
        applicable = [change for change in changes if change.album_id in albums]
        _lift(connection, [change for change in applicable if isinstance(change, Moved)])
        added: dict[int, Facts] = {}
        again: list[Indexed] = []
        touched: set[int] = set()
        for change in applicable:
            match change:
                case Indexed():
                    content_id = _content(connection, change, added, touched)
                    if content_id is None:
                        again.append(change)
                    else:
                        touched |= _put_file(connection, change, content_id, clock_value)
                case Failed():
                    touched |= _put_file(connection, change, None, clock_value)
                case Moved():
                    touched |= _move(connection, change)
                case Gone():
                    touched |= _forget(connection, change)
        gone = drop_orphans(connection, touched)
        stay = {content_id: facts for content_id, facts in added.items() if content_id not in gone}
        images = [(content_id, facts.vector) for content_id, facts in stay.items() if facts.medium == IMAGE]
        return Applied(
            clock_value,
            tuple((content_id, vector) for content_id, vector in images if vector is not None),
            tuple(content_id for content_id in gone if content_id not in added),
            tuple(again),
            _by_medium(stay),
        )

    # Two names of a file on one disk are a hard link, and such a copy wins no space.
    @writes(ticks=True)
    def put_devices(self, connection: sqlite3.Connection, album_id: int, devices: Mapping[bytes, int]) -> None:
        """Write on which disk some of an album's files are.

        Parameters
        ----------
        album_id : int
            Row id.
        devices : mapping
            Path relative to the album -> `st_dev` of its folder.  A path without a row is passed over.
        """
        connection.executemany(
            "UPDATE file SET device = ? WHERE album_id = ? AND path = ?",
            [(device, album_id, path) for path, device in devices.items()],
        )

    # Only walks compare the size of a file that could not be read.
    @writes(ticks=False)
    def forget_states(self, connection: sqlite3.Connection, code: str, but: Iterable[str]) -> int:
        """Have the next walk read files again that could not be read; return how many there are.

        Their rows get a size that no file has.

        Parameters
        ----------
        code : str
            Why they could not be read: a key of `records.REASONS`.
        but : iterable of str
            Files with one of these messages are left as they are.
        """
        messages = list(but)
        marks = placeholders(len(messages))
        return connection.execute(
            f"UPDATE file SET size_bytes = {SIZE_UNKNOWN} WHERE error_code = ? AND error_message NOT IN ({marks})",  # noqa: S608 -- marks
            (code, *messages),
        ).rowcount

    # Answers show the size of a content, not that of a row; only walks compare it.
    @writes(ticks=False)
    def forget_extractors(self, connection: sqlite3.Connection, but: Collection[str]) -> int:
        """Have the next walk read files again whose contents were read by another extractor; return how many there are.

        While there are any, files that could not be read are tried again as well: it is not known which extractor
        refused them.

        Parameters
        ----------
        but : collection of str
            The extractors of today.
        """
        names = sorted(but)
        others = f"SELECT id FROM content WHERE extractor NOT IN ({placeholders(len(names))})"  # noqa: S608 -- marks
        return connection.execute(
            f"UPDATE file SET size_bytes = {SIZE_UNKNOWN} WHERE content_id IN ({others})"  # noqa: S608 -- words of ours
            f" OR error_code IS NOT NULL AND EXISTS ({others})",
            [*names, *names],
        ).rowcount

    @reads
    def states(self, connection: sqlite3.Connection, album_id: int, below: bytes = b"") -> dict[bytes, FileState]:
        """Return path -> state of an album's file rows, both those that were read and those that could not be.

        Parameters
        ----------
        album_id : int
            Row id.
        below : bytes
            Path of a file or folder, relative to the album: only rows at or below it.  Empty for the whole album.

        Returns
        -------
        dict of bytes to FileState
            Paths are relative to the album.  Of a file that may heal without a change of its own the size is
            `SIZE_UNKNOWN`, so that it differs from the file on the disk.
        """
        bounds: list[int | bytes] = [album_id]
        where = "album_id = ?"
        if below:
            where += " AND (path = ? OR (path >= ? AND path < ?))"
            bounds += [below, below + b"/", below + b"0"]
        rows = connection.execute(f"SELECT path, {_COMPARED} FROM file WHERE {where}", bounds)  # noqa: S608 -- fixed texts
        state = _COMPARED.reader(rows)
        return {row["path"]: state(row) for row in rows}

    @reads
    def same_inode(self, connection: sqlite3.Connection, state: FileState) -> list[tuple[int, bytes]]:
        """Return (file id, absolute path) of the readable files with this very size, mtime and inode on this disk.

        Rows whose disk is not known count as on this one, and so does every row for a state without one.
        """
        rows = connection.execute(
            "SELECT file.id, album.path AS root, file.path FROM file JOIN album ON album.id = file.album_id"
            " WHERE file.inode = ?1 AND file.size_bytes = ?2 AND file.mtime_ns = ?3 AND file.content_id IS NOT NULL"
            " AND (file.device = ?4 OR 0 IN (file.device, ?4))",
            (state.inode, state.size_bytes, state.mtime_ns, state.device),
        )
        return [(row["id"], row["root"] + b"/" + row["path"]) for row in rows]

    @reads
    def indexed_inodes(self, connection: sqlite3.Connection, inodes: Sequence[int]) -> set[int]:
        """Return which of some inodes a readable file had when it was read, on whatever disk."""
        found: set[int] = set()
        for chunk in in_chunks(inodes):
            marks = placeholders(len(chunk))
            query = f"SELECT inode FROM file WHERE inode IN ({marks}) AND content_id IS NOT NULL"  # noqa: S608 -- marks
            found.update(column(connection.execute(query, chunk), "inode"))
        return found

    @reads
    def images(self, connection: sqlite3.Connection, content_ids: Sequence[int]) -> list[Image]:
        """Return the files of these contents, in order of content and path."""
        found: list[Image] = []
        for chunk in in_chunks(content_ids):
            rows = connection.execute(
                f"{_IMAGE_SQL} WHERE file.content_id IN ({placeholders(len(chunk))})"
                " ORDER BY file.content_id, album.path, file.path",
                chunk,
            )
            found += _images(rows)
        return found

    @reads
    def images_at(self, connection: sqlite3.Connection, paths: Iterable[bytes]) -> dict[bytes, Image]:
        """Return absolute path -> image, for those paths that are indexed and readable."""
        found: dict[bytes, Image] = {}
        for path in paths:
            # Joining two BLOBs in SQL gives TEXT, which equals no BLOB.
            rows = connection.execute(
                f"{_IMAGE_SQL} WHERE CAST(album.path || '/' AS BLOB) = substr(?1, 1, length(album.path) + 1)"
                " AND file.path = substr(?1, length(album.path) + 2)",
                (path,),
            )
            found.update((path, image) for image in _images(rows))
        return found

    @reads
    def sampled(self, connection: sqlite3.Connection, limit: int, seed: int) -> list[Image]:
        """Return some files of albums that are there, in the order in which they lie on the disk.

        Parameters
        ----------
        limit : int
            Files at most.
        seed : int
            Of the choice.
        """
        query = (
            "SELECT file.id AS id FROM file JOIN album ON album.id = file.album_id"
            " WHERE file.content_id IS NOT NULL AND album.state != ? ORDER BY file.id"
        )
        file_ids = column(connection.execute(query, (AlbumState.MISSING,)), "id")
        chosen = random.Random(seed).sample(file_ids, min(limit, len(file_ids)))  # noqa: S311 -- no secret
        found: list[Image] = []
        for chunk in in_chunks(chosen):
            rows = connection.execute(f"{_IMAGE_SQL} WHERE file.id IN ({placeholders(len(chunk))})", chunk)
            found += _images(rows)
        return sorted(found, key=lambda image: (image.state.device, image.state.inode))

    @reads
    def images_named(self, connection: sqlite3.Connection, words: Sequence[str], limit: int) -> list[Image]:
        """Return files in whose path below the album each word occurs, in order of path.

        Parameters
        ----------
        words : sequence of str
            Letters of ASCII stand for both cases.
        limit : int
            Files at most.

        Notes
        -----
        Every path is looked at: 50 ms for 100 000.
        """
        occurs = " AND ".join(["instr(lower(CAST(file.path AS TEXT)), lower(?)) > 0"] * len(words))
        rows = connection.execute(
            f"{_IMAGE_SQL} WHERE {occurs or 'TRUE'} ORDER BY album.path, file.path LIMIT ?",
            (*words, limit),
        )
        return _images(rows)

    @reads
    def images_due(self, connection: sqlite3.Connection, limit: int) -> list[Image]:
        """Return files of which it is not decided whether they raise an alert, of contents that were looked up."""
        rows = connection.execute(
            f"{_IMAGE_SQL} WHERE file.alert_due = 1 AND content.matched = 1 ORDER BY file.id LIMIT ?", (limit,)
        )
        return _images(rows)

    @reads
    def image_in_parts(self, connection: sqlite3.Connection) -> Image | None:
        """Return the first file whose parts are to be looked up, of an album that is there; None when there is none."""
        images = _images(connection.execute(f"{_IMAGE_SQL} WHERE {_PARTS_DUE} ORDER BY file.id LIMIT 1"))
        return images[0] if images else None

    @keeps
    def counts(self, connection: sqlite3.Connection) -> Counts:
        """Count images, errors, contents, and what is still to be done."""
        rows = connection.execute(_COUNTS.select("FROM file"))
        return _COUNTS.reader(rows)(rows.fetchone())

    @keeps
    def counts_by_album(self, connection: sqlite3.Connection) -> dict[int, tuple[int, int]]:
        """Return album id -> (images, errors); albums without a file row are left out."""
        rows = connection.execute(
            "SELECT album_id, count(content_id) AS images, count(error_code) AS errors FROM file GROUP BY album_id"
        )
        return {row["album_id"]: (row["images"], row["errors"]) for row in rows}

    @reads
    def errors(self, connection: sqlite3.Connection) -> list[tuple[bytes, str, str]]:
        """Return (absolute path, code, message) of every file that could not be read, in order of path."""
        rows = connection.execute(
            "SELECT album.path AS root, file.path, file.error_code, file.error_message"
            " FROM file JOIN album ON album.id = file.album_id WHERE file.error_code IS NOT NULL"
            " ORDER BY album.path, file.path"
        )
        return [(row["root"] + b"/" + row["path"], row["error_code"], row["error_message"]) for row in rows]

    @reads
    def error_at(self, connection: sqlite3.Connection, path: bytes) -> tuple[str, str] | None:
        """Return code and message of the file at an absolute path that could not be read; None when it is none."""
        rows = connection.execute(
            "SELECT file.error_code, file.error_message FROM file JOIN album ON album.id = file.album_id"
            " WHERE file.error_code IS NOT NULL"
            " AND CAST(album.path || '/' AS BLOB) = substr(?1, 1, length(album.path) + 1)"
            " AND file.path = substr(?1, length(album.path) + 2)",
            (path,),
        )
        return next(((row["error_code"], row["error_message"]) for row in rows), None)

    @keeps
    def error_counts(self, connection: sqlite3.Connection) -> dict[str, int]:
        """Return code -> number of files that could not be read for that reason."""
        rows = connection.execute(
            "SELECT error_code, count(*) AS files FROM file WHERE error_code IS NOT NULL GROUP BY error_code"
        )
        return mapping(rows, "error_code", "files")

    @reads
    def error_messages(self, connection: sqlite3.Connection, code: str) -> dict[str, int]:
        """Return message -> number of files that could not be read for the reason `code`."""
        rows = connection.execute(
            "SELECT error_message, count(*) AS files FROM file WHERE error_code = ? GROUP BY error_message", (code,)
        )
        return mapping(rows, "error_message", "files")


def _by_medium(added: Mapping[int, Facts]) -> dict[str, tuple[int, ...]]:
    """Return medium -> ids of new contents that are no images."""
    media = {facts.medium for facts in added.values()} - {IMAGE}
    return {medium: tuple(key for key, facts in added.items() if facts.medium == medium) for medium in media}


def _content(connection: sqlite3.Connection, change: Indexed, added: dict[int, Facts], touched: set[int]) -> int | None:
    """Return the id of the content that was read, noted in `added` when it is new; None when its vector is missing.

    One that another extractor read is new: its files get the new content, and the old one, `touched`, goes with all
    that was found by its vector.
    """
    facts = change.facts
    row = connection.execute("SELECT id, extractor FROM content WHERE digest = ?", (facts.digest,)).fetchone()
    if row is not None and (facts.vector is None or row["extractor"] == facts.extractor):
        return int(row["id"])
    if facts.vector is None:
        return None
    if row is None:
        return _new_content(connection, change, facts.vector, added)
    connection.execute("UPDATE content SET digest = randomblob(32) WHERE id = ?", (row["id"],))
    content_id = _new_content(connection, change, facts.vector, added)
    connection.execute("UPDATE file SET content_id = ? WHERE content_id = ?", (content_id, row["id"]))
    touched.add(row["id"])
    return content_id


def _new_content(connection: sqlite3.Connection, change: Indexed, vector: bytes, added: dict[int, Facts]) -> int:
    facts = change.facts
    cursor = connection.execute(
        "INSERT INTO content (digest, extractor, vector, size_bytes, width_px, height_px, format, taken, medium,"
        " details, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, crc32(?3))",
        (
            facts.digest,
            facts.extractor,
            vector,
            change.state.size_bytes,
            facts.width_px,
            facts.height_px,
            facts.format,
            facts.taken,
            facts.medium,
            json.dumps(dict(facts.details)),
        ),
    )
    assert cursor.lastrowid is not None
    for kind, numbers in change.descriptors:
        write_descriptors(connection, kind, {cursor.lastrowid: numbers})
    write_parts(connection, cursor.lastrowid, facts.parts, change.codes)
    added[cursor.lastrowid] = facts
    return cursor.lastrowid


def _put_file(
    connection: sqlite3.Connection, change: Indexed | Failed, content_id: int | None, clock_value: int
) -> set[int]:
    """Write one file row and return the content it had before, when that was another."""
    row = connection.execute(
        "SELECT content_id FROM file WHERE album_id = ? AND path = ?", (change.album_id, change.path)
    ).fetchone()
    before = None if row is None else row["content_id"]
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
            "clock": clock_value,
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
    )
    before = set(column(replaced, "content_id")) - {None}
    connection.execute(
        "UPDATE file SET album_id = ?, path = ? WHERE id = ?", (change.album_id, change.path, change.file_id)
    )
    return before


def _forget(connection: sqlite3.Connection, change: Gone) -> set[int]:
    # Below a folder: every path from "folder/" up to, not including, "folder0" ("0" follows "/").
    rows = connection.execute(
        "DELETE FROM file WHERE album_id = ? AND (path = ? OR (? AND path >= ? AND path < ?)) RETURNING content_id",
        (change.album_id, change.path, change.below, change.path + b"/", change.path + b"0"),
    )
    return set(column(rows, "content_id")) - {None}


def _images(rows: sqlite3.Cursor) -> list[Image]:
    image, state, content = _IMAGE.reader(rows), _STATE.reader(rows), CONTENT.reader(rows)
    return [image(row, state=state(row), content=content(row)) for row in rows]
