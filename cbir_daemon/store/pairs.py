"""Rows of pairs, and which contents have been looked up.

In: what a lookup found.  Out: pairs without the dismissed ones, and what is still to be looked up.  Never here:
comparing vectors or files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cbir_daemon.comparison import LookedAt, Trace, Transform
from cbir_daemon.kinds import Kind
from cbir_daemon.records import IMAGE
from cbir_daemon.store.row_types import Pair, WorkMatch
from cbir_daemon.store.rows import Columns, scalar, tuples
from cbir_daemon.store.table import Table, keeps, rank_sql, reads, writes
from cbir_daemon.store.works import write_work_matches


def _traces(words: str) -> tuple[Trace, ...]:
    return tuple(map(Trace, words.split()))


_PAIR = Columns(
    Pair,
    but=("transform",),
    convert={"kind": Kind, "look": LookedAt, "traces": _traces, "other_traces": _traces},
)
_DONE = Columns(Transform, convert={"flip": bool, "invert": bool})

NOTHING: Mapping[int, float] = MappingProxyType({})


class Pairs(Table):
    """Contents that were found to be copies of each other."""

    @reads
    def unmatched(
        self, connection: sqlite3.Connection, limit: int, after: int = 0, medium: str = IMAGE
    ) -> list[tuple[int, bytes]]:
        """Return contents that have not been looked up, in order of id.

        Parameters
        ----------
        limit : int
            Most contents to return.
        after : int
            Only contents with a larger id.
        medium : str
            Only contents of this one.

        Returns
        -------
        list of (content id, vector)
            A vector has 4096 bytes.
        """
        rows = connection.execute(
            "SELECT id, vector FROM content WHERE matched = 0 AND medium = ? AND id > ? ORDER BY id LIMIT ?",
            (medium, after, limit),
        )
        return tuples(rows, "id", "vector")

    @reads
    def unmatched_count(self, connection: sqlite3.Connection, after: int) -> int:
        """Return how many images above `after` have not been looked up."""
        count = "SELECT count(*) FROM content WHERE matched = 0 AND medium = ? AND id > ?"
        return int(scalar(connection, count, (IMAGE, after)))

    @keeps
    def count(self, connection: sqlite3.Connection) -> int:
        """Count the pairs of all kinds."""
        return int(scalar(connection, "SELECT count(*) FROM pair"))

    @reads
    def pass_bound(self, connection: sqlite3.Connection) -> int:
        """Return the highest content id of those that are looked up among each other; 0 for none."""
        return int(scalar(connection, "SELECT bound FROM pass"))

    @writes(ticks=True)
    def start_pass(self, connection: sqlite3.Connection, newest_id: int) -> None:
        """Have all images up to `newest_id` looked up among each other, also those that were looked up before."""
        connection.execute("UPDATE pass SET bound = ?", (newest_id,))
        connection.execute(
            "UPDATE content SET matched = 0 WHERE matched = 1 AND medium = ? AND id <= ?", (IMAGE, newest_id)
        )

    @writes(ticks=True)
    def put_matched(
        self,
        connection: sqlite3.Connection,
        content_ids: Sequence[int],
        pairs: Sequence[Pair],
        pictures: Mapping[int, float] = NOTHING,
        work_matches: Sequence[WorkMatch] = (),
        sharpness: Mapping[int, float] = NOTHING,
    ) -> None:
        """Write what the lookup of contents found.

        Parameters
        ----------
        content_ids : sequence of int
            They have been looked up.
        pairs : sequence of Pair
            What was found of them; a pair that is known already is replaced.
        pictures : mapping
            Content id -> share of its area that is picture and no bar, 0 to 1.
        work_matches : sequence of WorkMatch
            The files of a content in which a work of the watch list was not seen before are to raise an alert.
        sharpness : mapping
            Content id -> share of fine detail in its picture.
        """
        connection.executemany(
            "UPDATE content SET picture = ? WHERE id = ?",
            [(share, content_id) for content_id, share in pictures.items()],
        )
        connection.executemany(
            "UPDATE content SET sharpness = ? WHERE id = ?",
            [(share, content_id) for content_id, share in sharpness.items()],
        )
        connection.executemany(
            "UPDATE content SET matched = 1 WHERE id = ?", [(content_id,) for content_id in content_ids]
        )
        # A content may have gone since it was found: its pairs go with it.
        connection.executemany(
            f"INSERT INTO pair ({_PAIR.listed}, {_DONE.listed}) SELECT {_PAIR.marks}, {_DONE.marks}"  # noqa: S608 -- names of fields
            " WHERE EXISTS (SELECT 1 FROM content WHERE id = :content_id)"
            " AND EXISTS (SELECT 1 FROM content WHERE id = :other_id)"
            # Each of two contents may be looked up: a collage shows a copy of what it shows another shot of as well.
            " ON CONFLICT DO UPDATE SET score = excluded.score, overlap = excluded.overlap,"
            " other_overlap = excluded.other_overlap, flip = excluded.flip, turn = excluded.turn,"
            " angle = excluded.angle, invert = excluded.invert, kind = excluded.kind, look = excluded.look,"
            " look_version = excluded.look_version, lying = excluded.lying,"
            # A pair that is found from both sides is compared once: the other time it has no traces.
            " traces = iif(excluded.traces || excluded.other_traces = '', pair.traces, excluded.traces),"
            " other_traces = iif(excluded.traces || excluded.other_traces = '', pair.other_traces,"
            " excluded.other_traces)"
            f" WHERE pair.look != 'files' OR {rank_sql('excluded.kind')} <= {rank_sql('pair.kind')}",
            [_row(pair) for pair in pairs],
        )
        write_work_matches(connection, work_matches, tell=True)

    @reads
    def unlooked(self, connection: sqlite3.Connection) -> list[tuple[int, int]]:
        """Return (content id, other id) of the pairs whose files could not be compared so far."""
        rows = connection.execute(
            "SELECT content_id, other_id FROM pair WHERE look_version = 0 AND lying = '' ORDER BY content_id, other_id"
        )
        return tuples(rows, "content_id", "other_id")

    @writes(ticks=True)
    def forget_looks(self, connection: sqlite3.Connection, version: int) -> None:
        """Have the contents of pairs looked up again whose files were compared by a version before `version`."""
        connection.execute(
            """
            UPDATE content SET matched = 0 WHERE id IN (
                SELECT content_id FROM pair WHERE look_version BETWEEN 1 AND ?1 - 1
                UNION SELECT other_id FROM pair WHERE look_version BETWEEN 1 AND ?1 - 1)
            """,
            (version,),
        )
        connection.execute("DELETE FROM pair WHERE look_version BETWEEN 1 AND ?1 - 1", (version,))

    @reads
    def listed(self, connection: sqlite3.Connection, content_id: int | None = None) -> list[Pair]:
        """Return all pairs, or those of one content, without the dismissed ones, best first."""
        rows = connection.execute(
            f"""
            SELECT {_PAIR}, {_DONE} FROM pair
            JOIN content AS first ON first.id = pair.content_id JOIN content AS other ON other.id = pair.other_id
            WHERE (?1 IS NULL OR pair.content_id = ?1 OR pair.other_id = ?1) AND NOT EXISTS (
                SELECT 1 FROM decision WHERE digest = min(first.digest, other.digest)
                                         AND other_digest = max(first.digest, other.digest))
            ORDER BY pair.score DESC, pair.content_id, pair.other_id
            """,  # noqa: S608 -- names of fields
            (content_id,),
        )
        pair, done = _PAIR.reader(rows), _DONE.reader(rows)
        return [pair(row, transform=None if row["turn"] is None else done(row)) for row in rows]


def _row(pair: Pair) -> dict[str, object]:
    how = dict.fromkeys(_DONE.names) if pair.transform is None else _DONE.values(pair.transform)
    traces = {"traces": " ".join(pair.traces), "other_traces": " ".join(pair.other_traces)}
    return _PAIR.values(pair) | how | traces
