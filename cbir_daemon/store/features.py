"""Rows of local features.

In: content ids, features as bytes.  Out: features, and which contents lack them.  Never here: what they mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from cbir_daemon.store.rows import column, mapping, scalar, tuples
from cbir_daemon.store.table import Table, in_chunks, placeholders, reads, writes

LOAD_CHUNK = 5_000
"""Contents whose features are read at once: 12 MB."""


class Features(Table):
    """The local features of contents, as bytes that this room does not read."""

    @reads
    def after(self, connection: sqlite3.Connection, version: int, content_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, features) of a version, in order of id, from beyond a content id: 5 000 at most.

        Parameters
        ----------
        version : int
            Of how they were found; those of other versions are left out.
        content_id : int
            0 begins.
        """
        rows = connection.execute(
            "SELECT content_id, features FROM feature WHERE version = ? AND content_id > ? ORDER BY content_id LIMIT ?",
            (version, content_id, LOAD_CHUNK),
        )
        return tuples(rows, "content_id", "features")

    @reads
    def of(self, connection: sqlite3.Connection, version: int, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return content id -> features of a version, of those contents that have them.

        Parameters
        ----------
        version : int
        content_ids : sequence of int
        """
        found: dict[int, bytes] = {}
        for chunk in in_chunks(content_ids):
            rows = connection.execute(
                "SELECT content_id, features FROM feature"  # noqa: S608 -- marks
                f" WHERE version = ? AND content_id IN ({placeholders(len(chunk))})",
                (version, *chunk),
            )
            found |= mapping(rows, "content_id", "features")
        return found

    @reads
    def missing(self, connection: sqlite3.Connection, version: int, content_id: int, limit: int) -> list[int]:
        """Return ids of contents that have a file and no features of a version, ascending, from beyond a content id.

        Parameters
        ----------
        version : int
        content_id : int
            0 begins.
        limit : int
            At most so many.
        """
        rows = connection.execute(
            # From an index: the contents themselves have a page for each vector.
            "SELECT DISTINCT content_id FROM file INDEXED BY file_content WHERE content_id > ?"
            " AND NOT EXISTS (SELECT 1 FROM feature WHERE version = ? AND feature.content_id = file.content_id)"
            " ORDER BY content_id LIMIT ?",
            (content_id, version, limit),
        )
        return column(rows, "content_id")

    @reads
    def count(self, connection: sqlite3.Connection, version: int) -> int:
        """Return how many contents have features of a version.

        Parameters
        ----------
        version : int
        """
        return int(scalar(connection, "SELECT count(*) FROM feature WHERE version = ?", (version,)))

    @writes(ticks=True)
    def put(self, connection: sqlite3.Connection, version: int, found: Mapping[int, bytes]) -> None:
        """Write the features of contents in the place of older ones; contents that are gone by now are passed over.

        Parameters
        ----------
        version : int
            Of how they were found.
        found : mapping of content id to bytes
        """
        connection.executemany(
            "INSERT OR REPLACE INTO feature (content_id, version, features)"
            " SELECT :content_id, :version, :features WHERE EXISTS (SELECT 1 FROM content WHERE id = :content_id)",
            [
                {"content_id": content_id, "version": version, "features": features}
                for content_id, features in found.items()
            ],
        )
