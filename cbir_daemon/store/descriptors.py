"""Rows of descriptors: by what contents are compared beside their vectors.

In: content ids, numbers as bytes.  Out: descriptors, and which contents lack them.  Never here: what they mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from cbir_daemon.records import DescriptorKind
from cbir_daemon.store.contents import OTHER
from cbir_daemon.store.rows import column, mapping, scalar, tuples
from cbir_daemon.store.table import Table, in_chunks, keeps, placeholders, reads, writes

LOAD_CHUNK = 5_000
"""Contents whose descriptors are read at once: 2.5 MB at 512 bytes each, 12 MB of local features."""


class Descriptors(Table):
    """The descriptors of contents, as bytes that this room does not read; one of a name for each content."""

    @reads
    def after(self, connection: sqlite3.Connection, kind: DescriptorKind, content_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, numbers) of a kind, in order of id, from beyond a content id: 5 000 at most.

        Parameters
        ----------
        kind : DescriptorKind
            Those of other versions are left out.
        content_id : int
            0 begins.
        """
        rows = connection.execute(
            "SELECT content_id, numbers FROM descriptor"
            " WHERE name = ? AND version = ? AND content_id > ? ORDER BY content_id LIMIT ?",
            (kind.name, kind.version, content_id, LOAD_CHUNK),
        )
        return tuples(rows, "content_id", "numbers")

    @reads
    def of(self, connection: sqlite3.Connection, kind: DescriptorKind, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return content id -> numbers of a kind, of those contents that have them.

        Parameters
        ----------
        kind : DescriptorKind
        content_ids : sequence of int
        """
        found: dict[int, bytes] = {}
        for chunk in in_chunks(content_ids):
            rows = connection.execute(
                "SELECT content_id, numbers FROM descriptor"  # noqa: S608 -- marks
                f" WHERE name = ? AND version = ? AND content_id IN ({placeholders(len(chunk))})",
                (kind.name, kind.version, *chunk),
            )
            found |= mapping(rows, "content_id", "numbers")
        return found

    @reads
    def missing(self, connection: sqlite3.Connection, kind: DescriptorKind, content_id: int, limit: int) -> list[int]:
        """Return ids of images that have a file and no descriptor of a kind, ascending, from beyond a content id.

        Parameters
        ----------
        kind : DescriptorKind
        content_id : int
            0 begins.
        limit : int
            At most so many.
        """
        rows = connection.execute(
            # From an index: the contents themselves have a page for each vector.
            "SELECT DISTINCT content_id FROM file INDEXED BY file_content WHERE content_id > ?"  # noqa: S608 -- words of ours
            " AND NOT EXISTS (SELECT 1 FROM descriptor"
            " WHERE name = ? AND version = ? AND descriptor.content_id = file.content_id)"
            f" AND content_id NOT IN (SELECT id FROM content WHERE {OTHER})"
            " ORDER BY content_id LIMIT ?",
            (content_id, kind.name, kind.version, limit),
        )
        return column(rows, "content_id")

    @keeps
    def count(self, connection: sqlite3.Connection, kind: DescriptorKind) -> int:
        """Return how many contents have a descriptor of a kind.

        Parameters
        ----------
        kind : DescriptorKind
        """
        count = "SELECT count(*) FROM descriptor WHERE name = ? AND version = ?"
        return int(scalar(connection, count, (kind.name, kind.version)))

    @writes(ticks=True)
    def put(self, connection: sqlite3.Connection, kind: DescriptorKind, found: Mapping[int, bytes]) -> None:
        """Write descriptors in the place of older ones of the name; contents that are gone by now are passed over.

        Parameters
        ----------
        kind : DescriptorKind
        found : mapping of content id to bytes
        """
        write_descriptors(connection, kind, found)


def write_descriptors(connection: sqlite3.Connection, kind: DescriptorKind, found: Mapping[int, bytes]) -> None:
    """Write descriptors inside a transaction; see `Descriptors.put`.

    Parameters
    ----------
    connection : sqlite3.Connection
    kind : DescriptorKind
    found : mapping of content id to bytes
    """
    connection.executemany(
        "INSERT OR REPLACE INTO descriptor (content_id, name, version, numbers)"
        " SELECT :content_id, :name, :version, :numbers WHERE EXISTS (SELECT 1 FROM content WHERE id = :content_id)",
        [
            {"content_id": content_id, "name": kind.name, "version": kind.version, "numbers": numbers}
            for content_id, numbers in found.items()
        ],
    )
