"""Rows of model runs and of the positions each gave the contents."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple

from cbir_daemon.records import Candidate, FitReport
from cbir_daemon.store.records import AlbumDrift, Baseline, Coverage, Drift, FitBegun, ModelRun, Placed

_COLUMNS = (
    "id, reason, started_at, finished_at, outcome, message, code_version, n_neighbors, n_components, trustworthiness,"
    " neighbor_recall, fitted_images, present_images, seed, duration_s, peak_mib, curve, artifact, sha256, kind,"
    " numbers, far_distance, kept"
)

RECENT_CONTENTS = 200
"""So many of the contents added last say how well projection works now."""


def start(connection: sqlite3.Connection, begun: FitBegun, now: float) -> int:
    """Write that a fit began and return its id."""
    cursor = connection.execute(
        "INSERT INTO model_run (reason, kind, numbers, started_at, outcome, code_version, present_images)"
        " VALUES (?, ?, ?, ?, 'running', ?, ?)",
        (begun.reason, begun.kind, json.dumps(dict(begun.numbers)), now, begun.code_version, begun.present_images),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def add_numbers(connection: sqlite3.Connection, run_id: int, numbers: Mapping[str, float]) -> None:
    """Write more of the numbers by which was decided about a run."""
    connection.execute(
        "UPDATE model_run SET numbers = json_patch(numbers, ?) WHERE id = ?", (json.dumps(dict(numbers)), run_id)
    )


def end(connection: sqlite3.Connection, run_id: int, outcome: str, message: str, now: float) -> None:
    """Write that a fit ended without a map."""
    connection.execute(
        "UPDATE model_run SET outcome = ?, message = ?, finished_at = ? WHERE id = ?", (outcome, message, now, run_id)
    )


def activate(
    connection: sqlite3.Connection,
    run_id: int,
    report: FitReport,
    placed: Iterable[Placed],
    now: float,
    baseline: Baseline,
) -> None:
    """Make a fit the active map, with the positions of all contents; the one before is replaced in the same commit."""
    connection.execute("UPDATE model_run SET outcome = 'replaced' WHERE outcome = 'active'")
    connection.execute(
        """
        UPDATE model_run SET outcome = 'active', finished_at = ?, n_neighbors = ?, n_components = ?,
            trustworthiness = ?, neighbor_recall = ?, fitted_images = ?, seed = ?, duration_s = ?, peak_mib = ?,
            curve = ?, artifact = ?, sha256 = ?, far_distance = ?, kept = ?
        WHERE id = ?
        """,
        (
            now,
            report.n_neighbors,
            report.n_components,
            report.trustworthiness,
            report.neighbor_recall,
            report.fitted_images,
            report.seed,
            report.duration_s,
            report.peak_mib,
            json.dumps([astuple(candidate) for candidate in report.curve]),
            report.artifact,
            report.sha256,
            baseline.far_distance,
            baseline.kept,
            run_id,
        ),
    )
    put_positions(connection, run_id, placed)
    connection.execute("DELETE FROM position WHERE run_id != ?", (run_id,))


def put_positions(connection: sqlite3.Connection, run_id: int, placed: Iterable[Placed]) -> None:
    """Write positions on the active map.

    Contents that are gone by now are passed over, and so is everything when another map took the place of this one.
    """
    connection.executemany(
        "INSERT OR REPLACE INTO position SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
        " WHERE EXISTS (SELECT 1 FROM content WHERE id = ?2)"
        " AND EXISTS (SELECT 1 FROM model_run WHERE id = ?1 AND outcome = 'active')",
        [(run_id, *astuple(position)) for position in placed],
    )


def active(connection: sqlite3.Connection) -> ModelRun | None:
    """Return the run whose map is in use, or None."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM model_run WHERE outcome = 'active'").fetchone()  # noqa: S608 -- columns
    return None if row is None else _run(row)


def history(connection: sqlite3.Connection) -> list[ModelRun]:
    """Return every run, newest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM model_run ORDER BY id DESC")  # noqa: S608 -- columns
    return [_run(row) for row in rows]


def interrupted(connection: sqlite3.Connection, outcome: str, message: str, now: float) -> None:
    """Close the run that is still open, if there is one."""
    connection.execute(
        "UPDATE model_run SET outcome = ?, message = ?, finished_at = ? WHERE outcome = 'running'",
        (outcome, message, now),
    )


def positions(connection: sqlite3.Connection, run_id: int) -> list[tuple[int, bytes]]:
    """Return (content id, float32 bytes) of a run's positions, in order of content."""
    return connection.execute(
        "SELECT content_id, coordinates FROM position WHERE run_id = ? ORDER BY content_id", (run_id,)
    ).fetchall()


def flat(connection: sqlite3.Connection, run_id: int) -> list[tuple[int, bytes]]:
    """Return (content id, two float32 as bytes) of a run's positions in the picture, in order of content."""
    return connection.execute(
        "SELECT content_id, flat FROM position WHERE run_id = ? AND flat IS NOT NULL ORDER BY content_id", (run_id,)
    ).fetchall()


def drift(connection: sqlite3.Connection, run_id: int) -> Drift:
    """Measure how the contents added since a fit lie to what it was fitted on."""
    # Few of many rows: without statistics SQLite would rather read all of them.
    added, far = connection.execute(
        "SELECT count(distance), coalesce(sum(distance > far_distance), 0)"
        " FROM position INDEXED BY position_added JOIN model_run ON model_run.id = run_id"
        " WHERE run_id = ? AND origin = 'added' AND far_distance IS NOT NULL",
        (run_id,),
    ).fetchone()
    measured, kept = connection.execute(
        "SELECT count(*), avg(kept) FROM (SELECT kept FROM position INDEXED BY position_added"
        " WHERE run_id = ? AND origin = 'added' AND kept IS NOT NULL ORDER BY content_id DESC LIMIT ?)",
        (run_id, RECENT_CONTENTS),
    ).fetchone()
    albums = connection.execute(
        "SELECT path, count(*), sum(is_far) FROM"
        " (SELECT DISTINCT album_id, content_id, distance > far_distance AS is_far"
        " FROM position INDEXED BY position_added JOIN model_run ON model_run.id = run_id JOIN file USING (content_id)"
        " WHERE run_id = ? AND origin = 'added' AND distance IS NOT NULL AND far_distance IS NOT NULL)"
        " JOIN album ON album.id = album_id GROUP BY album_id ORDER BY path",
        (run_id,),
    )
    return Drift(added, far, measured, kept, tuple(AlbumDrift(*row) for row in albums))


def unplaced(connection: sqlite3.Connection, run_id: int, limit: int) -> list[tuple[int, bytes]]:
    """Return (content id, vector) of contents that have no position on the active map, in order of id.

    A run that is not active, or no longer, has none to place.
    """
    return connection.execute(
        "SELECT id, vector FROM content WHERE id NOT IN (SELECT content_id FROM position WHERE run_id = ?1)"
        " AND EXISTS (SELECT 1 FROM model_run WHERE id = ?1 AND outcome = 'active') ORDER BY id LIMIT ?2",
        (run_id, limit),
    ).fetchall()


def coverage(connection: sqlite3.Connection) -> Coverage:
    """Count how the active map covers the contents; all zeros but the contents when there is none."""
    contents = connection.execute("SELECT count(*) FROM content").fetchone()[0]
    run = active(connection)
    if run is None:
        return Coverage(contents, 0, 0, 0, 0)
    rows = connection.execute("SELECT origin, count(*) FROM position WHERE run_id = ? GROUP BY origin", (run.id,))
    by_origin = dict(rows.fetchall())
    return Coverage(
        contents,
        by_origin.get("fitted", 0),
        by_origin.get("present", 0),
        by_origin.get("added", 0),
        run.present_images or 0,
    )


def _run(row: tuple[object, ...]) -> ModelRun:
    values = list(row)
    curve = json.loads(str(values[16]))
    values[16] = tuple(Candidate(*candidate) for candidate in curve)
    values[20] = json.loads(str(values[20]))
    return ModelRun(*values)  # type: ignore[arg-type]  # the columns are STRICT and in the order of the fields
