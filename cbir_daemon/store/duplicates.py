"""Rows of pairs and decisions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from cbir_daemon.records import Transform
from cbir_daemon.store.records import Decision, Pair


def unmatched(connection: sqlite3.Connection, limit: int, after: int) -> list[tuple[int, bytes]]:
    """Return (content id, vector) of contents whose copies have not been looked up, in order of id, above `after`."""
    return connection.execute(
        "SELECT id, vector FROM content WHERE matched = 0 AND id > ? ORDER BY id LIMIT ?", (after, limit)
    ).fetchall()


def unmatched_count(connection: sqlite3.Connection, after: int) -> int:
    """Return how many contents above `after` have not been looked up."""
    row = connection.execute("SELECT count(*) FROM content WHERE matched = 0 AND id > ?", (after,)).fetchone()
    return int(row[0])


def pass_bound(connection: sqlite3.Connection) -> int:
    """Return the highest content id of those that are looked up among each other; 0 for none."""
    return int(connection.execute("SELECT bound FROM pass").fetchone()[0])


def start_pass(connection: sqlite3.Connection, newest_id: int) -> None:
    """Have all contents up to `newest_id` looked up among each other, also those that were looked up before."""
    connection.execute("UPDATE pass SET bound = ?", (newest_id,))
    connection.execute("UPDATE content SET matched = 0 WHERE matched = 1 AND id <= ?", (newest_id,))


def put_matched(
    connection: sqlite3.Connection, content_ids: Iterable[int], pairs: Iterable[Pair], pictures: Mapping[int, float]
) -> None:
    """Write what the lookup of some contents found, and that they were looked up."""
    connection.executemany(
        "UPDATE content SET picture = ? WHERE id = ?", [(share, content_id) for content_id, share in pictures.items()]
    )
    connection.executemany("UPDATE content SET matched = 1 WHERE id = ?", [(content_id,) for content_id in content_ids])
    # A content may have gone since it was found: its pairs go with it.
    connection.executemany(
        "INSERT OR REPLACE INTO pair (content_id, other_id, score, overlap, other_overlap, flip, turn, angle, invert)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
        " WHERE EXISTS (SELECT 1 FROM content WHERE id = ?1) AND EXISTS (SELECT 1 FROM content WHERE id = ?2)",
        [_pair_row(pair) for pair in pairs],
    )


def pairs(connection: sqlite3.Connection, content_id: int | None = None) -> list[Pair]:
    """Return all pairs, or those of one content, without the dismissed ones, best first."""
    rows = connection.execute(
        """
        SELECT pair.content_id, pair.other_id, pair.score, pair.overlap, pair.other_overlap,
               pair.flip, pair.turn, pair.angle, pair.invert FROM pair
        JOIN content AS first ON first.id = pair.content_id JOIN content AS other ON other.id = pair.other_id
        WHERE (?1 IS NULL OR pair.content_id = ?1 OR pair.other_id = ?1) AND NOT EXISTS (
            SELECT 1 FROM decision WHERE digest = min(first.digest, other.digest)
                                     AND other_digest = max(first.digest, other.digest))
        ORDER BY pair.score DESC, pair.content_id, pair.other_id
        """,
        (content_id,),
    )
    return [_pair(*row) for row in rows]


def _pair_row(pair: Pair) -> tuple[object, ...]:
    done = pair.transform
    how = (None,) * 4 if done is None else (done.flip, done.turn, done.angle, done.invert)
    return (pair.content_id, pair.other_id, pair.score, pair.overlap, pair.other_overlap, *how)


def _pair(
    content_id: int,
    other_id: int,
    score: float,
    overlap: float | None,
    other_overlap: float | None,
    flip: int | None,
    turn: int | None,
    angle: float | None,
    invert: int | None,
) -> Pair:
    transform = None
    if turn is not None and angle is not None:
        transform = Transform(bool(flip), turn, angle, bool(invert))
    return Pair(content_id, other_id, score, overlap, other_overlap, transform)


def repeated_contents(connection: sqlite3.Connection) -> list[int]:
    """Return the contents that more than one file has, without those of which all files are wanted."""
    rows = connection.execute(
        """
        SELECT content_id FROM file JOIN content ON content.id = file.content_id
        WHERE NOT EXISTS (SELECT 1 FROM decision WHERE decision.digest = content.digest
                                                   AND decision.other_digest = content.digest)
        GROUP BY content_id HAVING count(*) > 1 ORDER BY 1
        """
    )
    return [row[0] for row in rows]


def decisions(connection: sqlite3.Connection) -> list[Decision]:
    """Return every decision, oldest first."""
    rows = connection.execute("SELECT digest, other_digest, decided_at FROM decision ORDER BY decided_at, 1, 2")
    return [Decision(*row) for row in rows]


def put_decisions(connection: sqlite3.Connection, decided: Iterable[Decision]) -> int:
    """Write decisions that are not known yet; return how many those are."""
    cursor = connection.executemany(
        "INSERT OR IGNORE INTO decision VALUES (min(?1, ?2), max(?1, ?2), ?3)",
        [(decision.digest, decision.other_digest, decision.decided_at) for decision in decided],
    )
    return cursor.rowcount


def dismiss(connection: sqlite3.Connection, digest: bytes, other: bytes, now: float) -> bool:
    """Remember that two contents are no duplicates; False when that was known."""
    first, second = sorted((digest, other))
    cursor = connection.execute("INSERT OR IGNORE INTO decision VALUES (?, ?, ?)", (first, second, now))
    return cursor.rowcount > 0


def undismiss(connection: sqlite3.Connection, digest: bytes, other: bytes) -> bool:
    """Forget such a decision; False when there was none."""
    first, second = sorted((digest, other))
    cursor = connection.execute("DELETE FROM decision WHERE digest = ? AND other_digest = ?", (first, second))
    return cursor.rowcount > 0
