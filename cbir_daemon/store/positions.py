"""Rows of the positions that a map gave the contents.

In: positions as bytes.  Out: positions, contents without one, and how far those that came later lie.  Never here:
projecting, and when a fit is due.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Sequence

from cbir_daemon.records import IMAGE, DescriptorKind, FitOutcome, Origin
from cbir_daemon.store.contents import counts_by_medium
from cbir_daemon.store.row_types import AlbumDrift, Coverage, Drift, Placed
from cbir_daemon.store.rows import Columns, mapping, scalar, tuples
from cbir_daemon.store.table import Table, keeps, reads, writes

RECENT_CONTENTS = 200
"""So many of the contents added last say how well projection works now."""

_PLACED = Columns(Placed)
_ALBUM_DRIFT = Columns(AlbumDrift, computed={"added": "count(*)", "far": "sum(is_far)"})

_ADDED = f"origin = '{Origin.ADDED}'"
"""A literal, not a parameter: the index `position_added` holds these rows only, and SQLite must see so."""


class Positions(Table):
    """Where contents lie on the active map."""

    @writes(ticks=True)
    def put(self, connection: sqlite3.Connection, run_id: int, placed: Sequence[Placed]) -> None:
        """Write positions of contents that came after the fit.

        Parameters
        ----------
        run_id : int
            The fit whose map gave them; when it is not active any more, nothing is written.
        placed : sequence of Placed
            A position that is there already is replaced; one of a content that is gone by now is passed over.
        """
        write_positions(connection, run_id, placed)

    @reads
    def listed(self, connection: sqlite3.Connection, run_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, float32 bytes) of a run's positions, in order of content."""
        rows = connection.execute(
            "SELECT content_id, coordinates FROM position WHERE run_id = ? ORDER BY content_id", (run_id,)
        )
        return tuples(rows, "content_id", "coordinates")

    @reads
    def flat(self, connection: sqlite3.Connection, run_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, two float32 as bytes) of a run's positions in the picture, in order of content."""
        rows = connection.execute(
            "SELECT content_id, flat FROM position WHERE run_id = ? AND flat IS NOT NULL ORDER BY content_id", (run_id,)
        )
        return tuples(rows, "content_id", "flat")

    @reads
    def flat_count(self, connection: sqlite3.Connection, run_id: int) -> int:
        """Return how many contents have a position in the picture."""
        sql = "SELECT count(*) FROM position WHERE run_id = ? AND flat IS NOT NULL"
        return int(scalar(connection, sql, (run_id,)))

    @keeps
    def drift(self, connection: sqlite3.Connection, run_id: int) -> Drift:
        """Measure how the contents added since a fit lie to what it was fitted on."""
        # Few of many rows: without statistics SQLite would rather read all of them.
        judged = connection.execute(
            "SELECT count(distance) AS added, coalesce(sum(distance > far_distance), 0) AS far"  # noqa: S608 -- a word of ours
            " FROM position INDEXED BY position_added JOIN model_run ON model_run.id = run_id"
            f" WHERE run_id = ? AND {_ADDED} AND far_distance IS NOT NULL",
            (run_id,),
        ).fetchone()
        last = connection.execute(
            "SELECT count(*) AS measured, avg(kept) AS kept FROM (SELECT kept FROM position INDEXED BY position_added"  # noqa: S608 -- a word of ours
            f" WHERE run_id = ? AND {_ADDED} AND kept IS NOT NULL ORDER BY content_id DESC LIMIT ?)",
            (run_id, RECENT_CONTENTS),
        ).fetchone()
        albums = connection.execute(
            f"SELECT {_ALBUM_DRIFT} FROM"  # noqa: S608 -- a word of ours
            " (SELECT DISTINCT album_id, content_id, distance > far_distance AS is_far"
            " FROM position INDEXED BY position_added JOIN model_run ON model_run.id = run_id"
            " JOIN file USING (content_id)"
            f" WHERE run_id = ? AND {_ADDED} AND distance IS NOT NULL AND far_distance IS NOT NULL)"
            " JOIN album ON album.id = album_id GROUP BY album_id ORDER BY path",
            (run_id,),
        )
        return Drift(
            added=judged["added"],
            far=judged["far"],
            measured=last["measured"],
            kept=last["kept"],
            albums=tuple(_ALBUM_DRIFT.all(albums)),
        )

    @reads
    def unplaced(
        self,
        connection: sqlite3.Connection,
        run_id: int,
        limit: int,
        kind: DescriptorKind | None = None,
        tried_id: int = sys.maxsize,
    ) -> list[tuple[int, bytes]]:
        """Return contents that have no position on the active map, in order of id.

        Parameters
        ----------
        run_id : int
            The active run.  For a run that is not active, or no longer, nothing comes back.
        limit : int
            Most contents to return.
        kind : DescriptorKind, optional
            Without those that wait for a descriptor of this kind.
        tried_id : int, optional
            Those up to this id do not wait.

        Returns
        -------
        list of (content id, vector)
            A vector has 4096 bytes.
        """
        rows = connection.execute(
            "SELECT id, vector FROM content WHERE id NOT IN (SELECT content_id FROM position WHERE run_id = :run_id)"
            " AND medium = (SELECT medium FROM model_run WHERE id = :run_id AND outcome = :active)"
            " AND (:name IS NULL OR id <= :tried_id OR EXISTS"
            " (SELECT 1 FROM descriptor WHERE content_id = content.id AND name = :name AND version = :version))"
            " ORDER BY id LIMIT :limit",
            {
                "run_id": run_id,
                "limit": limit,
                "active": FitOutcome.ACTIVE,
                "tried_id": tried_id,
                "name": None if kind is None else kind.name,
                "version": None if kind is None else kind.version,
            },
        )
        return tuples(rows, "id", "vector")

    @keeps
    def coverage(self, connection: sqlite3.Connection, medium: str = IMAGE) -> Coverage:
        """Count how a medium's active map covers its contents; all zeros but the contents when there is none."""
        contents = counts_by_medium(connection).get(medium, 0)
        run = connection.execute(
            "SELECT id, present_images FROM model_run WHERE outcome = ? AND medium = ?", (FitOutcome.ACTIVE, medium)
        ).fetchone()
        if run is None:
            return Coverage(contents, 0, 0, 0, 0)
        rows = connection.execute(
            "SELECT origin, count(*) AS contents FROM position WHERE run_id = ? GROUP BY origin", (run["id"],)
        )
        by_origin = mapping(rows, "origin", "contents")
        return Coverage(
            contents=contents,
            fitted=by_origin.get(Origin.FITTED, 0),
            present=by_origin.get(Origin.PRESENT, 0),
            added=by_origin.get(Origin.ADDED, 0),
            present_at_fit=run["present_images"] or 0,
        )


def write_positions(connection: sqlite3.Connection, run_id: int, placed: Iterable[Placed]) -> None:
    """Write positions on the active map.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, in the caller's transaction.
    run_id : int
        The fit whose map gave them; when it is not active any more, nothing is written.
    placed : iterable of Placed
        A position that is there already is replaced; one of a content that is gone by now is passed over.
    """
    connection.executemany(
        f"INSERT OR REPLACE INTO position (run_id, {_PLACED.listed}) SELECT :run_id, {_PLACED.marks}"  # noqa: S608 -- names of fields
        " WHERE EXISTS (SELECT 1 FROM content WHERE id = :content_id)"
        " AND EXISTS (SELECT 1 FROM model_run WHERE id = :run_id AND outcome = :active)",
        [_PLACED.values(position) | {"run_id": run_id, "active": FitOutcome.ACTIVE} for position in placed],
    )
