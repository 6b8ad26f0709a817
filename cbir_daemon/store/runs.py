"""Rows of model runs: each fit from its start to its end.

In: how a fit began and came out.  Out: runs.  Never here: fitting, and whether a map comes into use.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple

from cbir_daemon.records import IMAGE, FitOutcome, FitReport, Trial
from cbir_daemon.store.positions import write_positions
from cbir_daemon.store.row_types import Baseline, FitBegun, ModelRun, Placed
from cbir_daemon.store.rows import Columns
from cbir_daemon.store.table import Table, reads, writes


def _curve(text: str) -> tuple[Trial, ...]:
    return tuple(Trial(*trial) for trial in json.loads(text))


_RUN = Columns(ModelRun, convert={"curve": _curve, "numbers": json.loads})


_REPORTED = (
    *("n_neighbors", "n_components", "trustworthiness", "neighbor_recall", "fitted_images", "seed"),
    *("duration_s", "peak_mib", "artifact", "sha256"),
)
"""Fields of a report that are columns of a run."""


def _ended(report: FitReport, baseline: Baseline) -> dict[str, object]:
    """Return what is written of a fit that made a map, by column."""
    curve = json.dumps([astuple(trial) for trial in report.curve])
    reported = {name: getattr(report, name) for name in _REPORTED}
    return {**reported, "curve": curve, "far_distance": baseline.far_distance, "kept": baseline.kept}


class Runs(Table):
    """Fits of maps, and how each came out."""

    @writes(ticks=True)
    def start(self, connection: sqlite3.Connection, begun: FitBegun, now: float) -> int:
        """Write that a fit began and return its id.

        Parameters
        ----------
        begun : FitBegun
            Why it began, with which code, and of how many contents.
        now : float
            Start of the fit, in seconds since the epoch.

        Raises
        ------
        StorageError
            When another run of its medium has not ended: only one may be running.
        """
        values = {name: getattr(begun, name) for name in ("reason", "kind", "code_version", "present_images", "medium")}
        values |= {"numbers": json.dumps(dict(begun.numbers)), "started_at": now, "outcome": FitOutcome.RUNNING}
        cursor = connection.execute(
            f"INSERT INTO model_run ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})",  # noqa: S608 -- names of ours
            values,
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    @writes(ticks=True)
    def add_numbers(self, connection: sqlite3.Connection, run_id: int, numbers: Mapping[str, float]) -> None:
        """Write more of the numbers by which was decided about a run.

        Parameters
        ----------
        run_id : int
            Row id.
        numbers : mapping of str to number
            Added to those that are there; a number of the same name is replaced.
        """
        connection.execute(
            "UPDATE model_run SET numbers = json_patch(numbers, ?) WHERE id = ?", (json.dumps(dict(numbers)), run_id)
        )

    @writes(ticks=True)
    def end(self, connection: sqlite3.Connection, run_id: int, outcome: FitOutcome, message: str, now: float) -> None:
        """Write that a fit ended without a map, or that its map is set aside.

        Parameters
        ----------
        run_id : int
            Row id.
        outcome : FitOutcome
            `REFUSED`, `FAILED`, `CANCELLED` or `SET_ASIDE`.
        message : str
            Why, as a sentence.
        now : float
            Time of the end, in seconds since the epoch; of a map that is set aside, of that.
        """
        connection.execute(
            "UPDATE model_run SET outcome = ?, message = ?, finished_at = ? WHERE id = ?",
            (outcome, message, now, run_id),
        )

    @writes(ticks=True)
    def end_interrupted(
        self,
        connection: sqlite3.Connection,
        now: float,
        outcome: FitOutcome = FitOutcome.CANCELLED,
        message: str = "the daemon stopped during the fit",
        medium: str | None = None,
    ) -> None:
        """Close a run that was left open: by a killed daemon, or because its end could not be written.

        Parameters
        ----------
        now : float
            Time of the end, in seconds since the epoch.
        outcome : FitOutcome
            How the run is said to have come out.
        message : str
            Why, as a sentence.
        medium : str, optional
            Only a run of this one; without it those of all.
        """
        connection.execute(
            "UPDATE model_run SET outcome = ?, message = ?, finished_at = ? WHERE outcome = ?"
            " AND (? IS NULL OR medium = ?)",
            (outcome, message, now, FitOutcome.RUNNING, medium, medium),
        )

    @writes(ticks=True)
    def activate(
        self,
        connection: sqlite3.Connection,
        run_id: int,
        report: FitReport,
        placed: Iterable[Placed],
        now: float,
        baseline: Baseline | None = None,
    ) -> None:
        """Make a fit the active map, with the positions it gives; the map before is replaced in the same commit.

        The positions of all other maps of its medium are deleted.

        Parameters
        ----------
        run_id : int
            The fit.
        report : FitReport
            How it came out, and where its artifact is.
        placed : iterable of Placed
            Positions on its map; one of a content that is gone by now is passed over.
        now : float
            Time of the end of the fit, in seconds since the epoch.
        baseline : Baseline, optional
            What contents that come later are compared with; without it they are not compared.
        """
        same = "medium = (SELECT medium FROM model_run WHERE id = ?)"
        connection.execute(
            f"UPDATE model_run SET outcome = ? WHERE outcome = ? AND {same}",  # noqa: S608 -- words of ours
            (FitOutcome.REPLACED, FitOutcome.ACTIVE, run_id),
        )
        values = {"outcome": FitOutcome.ACTIVE, "finished_at": now} | _ended(report, baseline or Baseline())
        connection.execute(
            f"UPDATE model_run SET {', '.join(f'{name} = :{name}' for name in values)} WHERE id = :run_id",  # noqa: S608 -- names of ours
            values | {"run_id": run_id},
        )
        write_positions(connection, run_id, placed)
        connection.execute(
            f"DELETE FROM position WHERE run_id != ? AND run_id IN (SELECT id FROM model_run WHERE {same})",  # noqa: S608 -- words of ours
            (run_id, run_id),
        )

    @reads
    def active(self, connection: sqlite3.Connection, medium: str = IMAGE) -> ModelRun | None:
        """Return the run whose map of a medium is in use, or None."""
        rows = connection.execute(
            _RUN.select("FROM model_run WHERE outcome = ? AND medium = ?"), (FitOutcome.ACTIVE, medium)
        )
        return _RUN.first(rows)

    @reads
    def all_active(self, connection: sqlite3.Connection) -> list[ModelRun]:
        """Return the runs whose maps are in use, of every medium."""
        return _RUN.all(
            connection.execute(_RUN.select("FROM model_run WHERE outcome = ? ORDER BY id"), (FitOutcome.ACTIVE,))
        )

    @reads
    def listed(self, connection: sqlite3.Connection, medium: str = IMAGE) -> list[ModelRun]:
        """Return every run of a medium, newest first."""
        return _RUN.all(connection.execute(_RUN.select("FROM model_run WHERE medium = ? ORDER BY id DESC"), (medium,)))
