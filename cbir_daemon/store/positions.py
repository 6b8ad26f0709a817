"""Rows of the positions that a map gave the contents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from cbir_daemon.records import FitOutcome, Origin
from cbir_daemon.store.records import AlbumDrift, Coverage, Drift, Placed
from cbir_daemon.store.table import Table, reads, writes

RECENT_CONTENTS = 200
"""So many of the contents added last say how well projection works now."""


_ADDED = f"origin = '{Origin.ADDED}'"
"""A literal, not a parameter: the index `position_added` holds these rows only, and SQLite must see so."""


class Positions(Table):
    """Where contents lie on the active map."""

    @writes(ticks=True)
    def put(self, connection: sqlite3.Connection, run_id: int, placed: Sequence[Placed]) -> None:
        """Write positions of contents that came after the fit."""
        write_positions(connection, run_id, placed)

    @reads
    def listed(self, connection: sqlite3.Connection, run_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, float32 bytes) of a run's positions, in order of content."""
        return connection.execute(
            "SELECT content_id, coordinates FROM position WHERE run_id = ? ORDER BY content_id", (run_id,)
        ).fetchall()

    @reads
    def flat(self, connection: sqlite3.Connection, run_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, two float32 as bytes) of a run's positions in the picture, in order of content."""
        return connection.execute(
            "SELECT content_id, flat FROM position WHERE run_id = ? AND flat IS NOT NULL ORDER BY content_id", (run_id,)
        ).fetchall()

    @reads
    def drift(self, connection: sqlite3.Connection, run_id: int) -> Drift:
        """Measure how the contents added since a fit lie to what it was fitted on."""
        # Few of many rows: without statistics SQLite would rather read all of them.
        added, far = connection.execute(
            "SELECT count(distance), coalesce(sum(distance > far_distance), 0)"  # noqa: S608 -- a word of ours
            " FROM position INDEXED BY position_added JOIN model_run ON model_run.id = run_id"
            f" WHERE run_id = ? AND {_ADDED} AND far_distance IS NOT NULL",
            (run_id,),
        ).fetchone()
        measured, kept = connection.execute(
            "SELECT count(*), avg(kept) FROM (SELECT kept FROM position INDEXED BY position_added"  # noqa: S608 -- a word of ours
            f" WHERE run_id = ? AND {_ADDED} AND kept IS NOT NULL ORDER BY content_id DESC LIMIT ?)",
            (run_id, RECENT_CONTENTS),
        ).fetchone()
        albums = connection.execute(
            "SELECT path, count(*), sum(is_far) FROM"  # noqa: S608 -- a word of ours
            " (SELECT DISTINCT album_id, content_id, distance > far_distance AS is_far"
            " FROM position INDEXED BY position_added JOIN model_run ON model_run.id = run_id"
            " JOIN file USING (content_id)"
            f" WHERE run_id = ? AND {_ADDED} AND distance IS NOT NULL AND far_distance IS NOT NULL)"
            " JOIN album ON album.id = album_id GROUP BY album_id ORDER BY path",
            (run_id,),
        )
        return Drift(added, far, measured, kept, tuple(AlbumDrift(*row) for row in albums))

    @reads
    def unplaced(self, connection: sqlite3.Connection, run_id: int, limit: int) -> list[tuple[int, bytes]]:
        """Return (content id, vector) of contents that have no position on the active map, in order of id.

        A run that is not active, or no longer, has none to place.
        """
        return connection.execute(
            "SELECT id, vector FROM content WHERE id NOT IN (SELECT content_id FROM position WHERE run_id = ?1)"
            " AND EXISTS (SELECT 1 FROM model_run WHERE id = ?1 AND outcome = ?3) ORDER BY id LIMIT ?2",
            (run_id, limit, FitOutcome.ACTIVE),
        ).fetchall()

    @reads
    def coverage(self, connection: sqlite3.Connection) -> Coverage:
        """Count how the active map covers the contents; all zeros but the contents when there is none."""
        contents = connection.execute("SELECT count(*) FROM content").fetchone()[0]
        run = connection.execute(
            "SELECT id, present_images FROM model_run WHERE outcome = ?", (FitOutcome.ACTIVE,)
        ).fetchone()
        if run is None:
            return Coverage(contents, 0, 0, 0, 0)
        rows = connection.execute("SELECT origin, count(*) FROM position WHERE run_id = ? GROUP BY origin", (run[0],))
        by_origin = dict(rows.fetchall())
        return Coverage(
            contents,
            by_origin.get(Origin.FITTED, 0),
            by_origin.get(Origin.PRESENT, 0),
            by_origin.get(Origin.ADDED, 0),
            run[1] or 0,
        )


def write_positions(connection: sqlite3.Connection, run_id: int, placed: Iterable[Placed]) -> None:
    """Write positions on the active map.

    Contents that are gone by now are passed over, and so is everything when another map took the place of this one.
    """
    connection.executemany(
        "INSERT OR REPLACE INTO position SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
        " WHERE EXISTS (SELECT 1 FROM content WHERE id = ?2)"
        " AND EXISTS (SELECT 1 FROM model_run WHERE id = ?1 AND outcome = ?8)",
        [(run_id, *astuple(position), FitOutcome.ACTIVE) for position in placed],
    )
