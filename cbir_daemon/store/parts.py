"""Rows of parts: those of contents, of a medium that compares parts, and those of works.

In: ids.  Out: codes, and parts with their vectors.  Never here: adding the parts of a content, which `files` does
together with it; what a vector means.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping, Sequence

from cbir_daemon.records import VECTOR_BYTES, Part
from cbir_daemon.store.rows import tuples
from cbir_daemon.store.table import Table, in_chunks, placeholders, reads

FASTEST = 1
"""Level of compression: a reader hands on what is sparse or smooth, and a file waits for it."""

CODES_AT_ONCE = 500
"""Contents whose codes are read at once."""


class PartRows(Table):
    """The parts of contents."""

    @reads
    def codes(self, connection: sqlite3.Connection, content_ids: Sequence[int]) -> list[tuple[int, bytes]]:
        """Return (content id, code) of the parts of contents, in order of content and part."""
        found: list[tuple[int, bytes]] = []
        for chunk in in_chunks(sorted(content_ids)):
            rows = connection.execute(
                f"SELECT content_id, code FROM part WHERE content_id IN ({placeholders(len(chunk))})"  # noqa: S608 -- marks
                " ORDER BY content_id, number",
                chunk,
            )
            found += tuples(rows, "content_id", "code")
        return found

    @reads
    def of(self, connection: sqlite3.Connection, content_ids: Sequence[int]) -> dict[int, tuple[Part, ...]]:
        """Return content id -> its parts in order, for those contents that have any."""
        found: dict[int, list[Part]] = {}
        for chunk in in_chunks(content_ids):
            rows = connection.execute(
                "SELECT content_id, place_start, place_end, label, vector, detail"  # noqa: S608 -- marks
                " FROM part JOIN part_vector ON part_vector.part_id = part.id"
                f" WHERE content_id IN ({placeholders(len(chunk))}) ORDER BY content_id, number",
                chunk,
            )
            for row in rows:
                found.setdefault(row["content_id"], []).append(_part(row))
        return {content_id: tuple(parts) for content_id, parts in found.items()}

    @reads
    def of_works(self, connection: sqlite3.Connection, medium: str) -> dict[int, tuple[Part, ...]]:
        """Return work id -> its parts in order, of the works of a medium."""
        rows = connection.execute(
            "SELECT work_id, place_start, place_end, label, work_part.vector, detail"
            " FROM work_part JOIN work ON work.id = work_id WHERE work.medium = ? ORDER BY work_id, number",
            (medium,),
        )
        found: dict[int, list[Part]] = {}
        for row in rows:
            found.setdefault(row["work_id"], []).append(_part(row))
        return {work_id: tuple(parts) for work_id, parts in found.items()}


def _part(row: Mapping[str, object]) -> Part:
    """Return the part in a row.

    Raises
    ------
    sqlite3.DatabaseError
        When it is not what was written.
    """
    try:
        vector, detail = zlib.decompress(row["vector"]), zlib.decompress(row["detail"])  # type: ignore[arg-type]  # a row is untyped
    except zlib.error as error:
        raise sqlite3.DatabaseError("damaged: a part is not what was written") from error
    if len(vector) != VECTOR_BYTES:
        raise sqlite3.DatabaseError("damaged: a part is not what was written")
    return Part(vector, row["place_start"], row["place_end"], row["label"], detail)  # type: ignore[arg-type]  # a row is untyped


def write_parts(connection: sqlite3.Connection, content_id: int, parts: Sequence[Part], codes: Sequence[bytes]) -> None:
    """Write the parts of a new content.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, in the caller's transaction.
    content_id : int
    parts : sequence of Part
    codes : sequence of bytes
        One for each.
    """
    for number, (part, code) in enumerate(zip(parts, codes, strict=True)):
        part_id = connection.execute(
            "INSERT INTO part (content_id, number, place_start, place_end, label, code) VALUES (?, ?, ?, ?, ?, ?)",
            (content_id, number, part.start, part.end, part.label, code),
        ).lastrowid
        connection.execute("INSERT INTO part_vector VALUES (?, ?, ?)", (part_id, *_packed(part)))


def write_work_parts(connection: sqlite3.Connection, work_id: int, parts: Sequence[Part]) -> None:
    """Write the parts of a new work; as `write_parts`.

    Parameters
    ----------
    connection : sqlite3.Connection
    work_id : int
    parts : sequence of Part
    """
    connection.executemany(
        "INSERT INTO work_part VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(work_id, number, part.start, part.end, part.label, *_packed(part)) for number, part in enumerate(parts)],
    )


def _packed(part: Part) -> tuple[bytes, bytes]:
    return zlib.compress(part.vector, FASTEST), zlib.compress(part.detail, FASTEST)
