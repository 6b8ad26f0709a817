"""Rows of contents, and their vectors.

In: ids, digests, sizes, paths.  Out: contents, digests, vectors as bytes.  Never here: adding a content, which `files`
does together with its file; what a vector means.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence

from cbir_daemon.part_medium import FileFacts
from cbir_daemon.records import IMAGE
from cbir_daemon.store import soundness
from cbir_daemon.store.row_types import Content
from cbir_daemon.store.rows import Columns, column, mapping, scalar, tuples
from cbir_daemon.store.table import Table, in_chunks, keeps, placeholders, reads

CONTENT = Columns(Content, "content", convert={"details": json.loads})

OTHER = f"medium != '{IMAGE}'"
"""A literal, not a parameter: the index `content_other` holds these rows only, and SQLite must see so."""

LOAD_CHUNK = 5_000
"""Vectors read at once while the collection is loaded: 20 MB."""


class Contents(Table):
    """The contents of files, once for each SHA-256; `Files.apply` writes them."""

    @reads
    def known_digests(
        self, connection: sqlite3.Connection, sizes: Sequence[int], extractors: Collection[str]
    ) -> dict[int, frozenset[bytes]]:
        """Return, for each size in bytes, the digests of the contents of that size.

        Parameters
        ----------
        sizes : sequence of int
        extractors : collection of str
            Contents whose vectors were made by another are left out.
        """
        names = sorted(extractors)
        found: dict[int, set[bytes]] = {}
        for chunk in in_chunks(sizes):
            marks = placeholders(len(chunk))
            rows = connection.execute(
                "SELECT size_bytes, digest FROM content"  # noqa: S608 -- marks
                f" WHERE extractor IN ({placeholders(len(names))}) AND size_bytes IN ({marks})",
                (*names, *chunk),
            )
            for size, digest in tuples(rows, "size_bytes", "digest"):
                found.setdefault(size, set()).add(digest)
        return {size: frozenset(digests) for size, digests in found.items()}

    @reads
    def by_digest(self, connection: sqlite3.Connection, digest: bytes) -> Content | None:
        """Return the content with this SHA-256, or None."""
        return CONTENT.first(connection.execute(CONTENT.select("FROM content WHERE digest = ?"), (digest,)))

    @reads
    def at_path(self, connection: sqlite3.Connection, path: bytes) -> Content | None:
        """Return the content of the indexed file at this absolute path, or None."""
        # Joining two BLOBs in SQL gives TEXT, which equals no BLOB.
        rows = connection.execute(
            CONTENT.select(
                "FROM album JOIN file ON file.album_id = album.id JOIN content ON content.id = file.content_id"
                " WHERE CAST(album.path || '/' AS BLOB) = substr(?1, 1, length(album.path) + 1)"
                " AND file.path = substr(?1, length(album.path) + 2)"
            ),
            (path,),
        )
        return CONTENT.first(rows)

    @reads
    def ids(self, connection: sqlite3.Connection, medium: str = IMAGE) -> list[int]:
        """Return the ids of all contents of a medium, ascending."""
        if medium != IMAGE:
            rows = connection.execute(f"SELECT id FROM content WHERE {OTHER} AND medium = ?", (medium,))  # noqa: S608 -- words of ours
            return sorted(column(rows, "id"))
        # From an index: the table itself has a page for each vector.
        every = column(connection.execute("SELECT id FROM content INDEXED BY content_size"), "id")
        others = column(connection.execute(f"SELECT id FROM content WHERE {OTHER}"), "id")  # noqa: S608 -- words of ours
        return sorted(set(every).difference(others)) if others else sorted(every)

    @keeps
    def counts(self, connection: sqlite3.Connection) -> dict[str, int]:
        """Return medium -> number of contents."""
        return counts_by_medium(connection)

    @reads
    def vectors(self, connection: sqlite3.Connection, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return content id -> its 4096-byte vector, for those that are there."""
        found: dict[int, bytes] = {}
        for chunk in in_chunks(content_ids):
            marks = placeholders(len(chunk))
            rows = connection.execute(f"SELECT id, vector FROM content WHERE id IN ({marks})", chunk)  # noqa: S608 -- marks
            found |= mapping(rows, "id", "vector")
        return found

    @reads
    def sharpness(self, connection: sqlite3.Connection, content_ids: Sequence[int]) -> dict[int, float]:
        """Return content id -> share of fine detail, of those contents of which it was measured."""
        found: dict[int, float] = {}
        for chunk in in_chunks(content_ids):
            marks = placeholders(len(chunk))
            select = f"SELECT id, sharpness FROM content WHERE sharpness IS NOT NULL AND id IN ({marks})"  # noqa: S608 -- marks
            found |= mapping(connection.execute(select, chunk), "id", "sharpness")
        return found

    @reads
    def file_facts(self, connection: sqlite3.Connection, content_ids: Sequence[int]) -> dict[int, FileFacts]:
        """Return content id -> what a medium is told of it, in the order of the ids, for those that are there."""
        found: dict[int, FileFacts] = {}
        for chunk in in_chunks(content_ids):
            marks = placeholders(len(chunk))
            rows = connection.execute(
                f"SELECT id, format, size_bytes, details FROM content WHERE id IN ({marks})",  # noqa: S608 -- marks
                chunk,
            )
            for row in rows:
                found[row["id"]] = FileFacts(row["format"], row["size_bytes"], json.loads(row["details"]))
        return {content_id: found[content_id] for content_id in content_ids if content_id in found}

    @reads
    def digests(self, connection: sqlite3.Connection, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return content id -> SHA-256, for those that are there."""
        found: dict[int, bytes] = {}
        for chunk in in_chunks(content_ids):
            marks = placeholders(len(chunk))
            rows = connection.execute(f"SELECT id, digest FROM content WHERE id IN ({marks})", chunk)  # noqa: S608 -- marks
            found |= mapping(rows, "id", "digest")
        return found

    def all_vectors(self, size: int = LOAD_CHUNK, medium: str | None = None) -> Iterator[list[tuple[int, bytes]]]:
        """Yield contents with their vectors, in order of id.

        Parameters
        ----------
        size : int
            Contents in a piece.
        medium : str, optional
            Only contents of this one.
        """
        rows = self.vectors_after(0, size, medium)
        while rows:
            yield rows
            rows = self.vectors_after(rows[-1][0], size, medium)

    @reads
    def vectors_after(
        self, connection: sqlite3.Connection, content_id: int, limit: int, medium: str | None = None
    ) -> list[tuple[int, bytes]]:
        """Return the next contents with their vectors, in order of id.

        Parameters
        ----------
        content_id : int
            Only contents with a larger id; 0 begins.
        limit : int
            Most contents to return.
        medium : str, optional
            Only contents of this one.

        Returns
        -------
        list of (content id, vector)
            A vector has 4096 bytes.

        Raises
        ------
        StorageError
            At a vector that is not what was written.
        """
        rows = connection.execute(
            "SELECT id, vector, checksum FROM content WHERE id > ? AND (? IS NULL OR medium = ?) ORDER BY id LIMIT ?",
            (content_id, medium, medium, limit),
        )
        return list(soundness.checked(rows))

    @reads
    def repeated(self, connection: sqlite3.Connection) -> list[int]:
        """Return the contents that more than one file has, without those whose files are all to stay."""
        rows = connection.execute(
            """
            SELECT content_id FROM file JOIN content ON content.id = file.content_id
            WHERE NOT EXISTS (SELECT 1 FROM decision WHERE decision.digest = content.digest
                                                       AND decision.other_digest = content.digest)
            GROUP BY content_id HAVING count(*) > 1 ORDER BY 1
            """
        )
        return column(rows, "content_id")


def counts_by_medium(connection: sqlite3.Connection) -> dict[str, int]:
    """Return medium -> number of contents."""
    rows = connection.execute(f"SELECT medium, count(*) AS contents FROM content WHERE {OTHER} GROUP BY medium")  # noqa: S608 -- words of ours
    others = mapping(rows, "medium", "contents")
    return {IMAGE: scalar(connection, "SELECT count(*) FROM content") - sum(others.values()), **others}


def drop_orphans(connection: sqlite3.Connection, content_ids: Iterable[int]) -> tuple[int, ...]:
    """Delete contents that no file has any more.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, in the caller's transaction.
    content_ids : iterable of int
        Contents that may have lost their last file.

    Returns
    -------
    tuple of int
        Those that were deleted, ascending.  Their pairs and positions go with them.
    """
    gone = [
        content_id
        for content_id in sorted(content_ids)
        if connection.execute("SELECT 1 FROM file WHERE content_id = ? LIMIT 1", (content_id,)).fetchone() is None
    ]
    connection.executemany("DELETE FROM content WHERE id = ?", [(content_id,) for content_id in gone])
    return tuple(gone)
