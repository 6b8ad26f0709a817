"""Rows of the journal of what `cbir resolve` did to files.

In: tasks, and what became of them.  Out: runs and tasks.  Never here: touching files, deciding what may be done.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from cbir_daemon.records import ResolveTask, TaskAction, TaskState
from cbir_daemon.store.row_types import ResolveRun
from cbir_daemon.store.rows import Columns, mapping, tuples
from cbir_daemon.store.table import Table, in_chunks, placeholders, reads, writes


def _path(data: bytes | None) -> Path | None:
    return Path(os.fsdecode(data)) if data else None


_TASK = Columns(
    ResolveTask, convert={"state": TaskState, "path": _path, "keep": _path, "folder": _path, "target": _path}
)
_RUN = Columns(ResolveRun, but=("states", "changed_at"))
_NEW_TASK = Columns(ResolveTask, but=("id",))
_NEW_TASK_SQL = (
    f"INSERT INTO resolve_task (run_id, changed_at, {_NEW_TASK.listed})"  # noqa: S608 -- names of fields
    f" VALUES (:run_id, :changed_at, {_NEW_TASK.marks})"
)


class Journal(Table):
    """The tasks of `cbir resolve`, and their states."""

    @writes(ticks=True)
    def start(self, connection: sqlite3.Connection, tasks: Iterable[ResolveTask], now: float) -> int:
        """Write a run with its tasks and return its id.

        Parameters
        ----------
        tasks : iterable of ResolveTask
            In the order of the plan; each gets its id from its row.
        now : float
            Start of the run, in seconds since the epoch.
        """
        run_id = connection.execute("INSERT INTO resolve_run (started_at) VALUES (?)", (now,)).lastrowid
        assert run_id is not None
        begun = {"run_id": run_id, "changed_at": now}
        connection.executemany(_NEW_TASK_SQL, [_new_row(task) | begun for task in tasks])
        return run_id

    @writes(ticks=True)
    def note(
        self,
        connection: sqlite3.Connection,
        task_id: int,
        state: TaskState,
        target: bytes | None,
        reason: str,
        now: float,
    ) -> ResolveTask | None:
        """Write a task as it is from now on.

        Parameters
        ----------
        task_id : int
            Row id.
        state : TaskState
            Its new state.
        target : bytes or None
            Where the file is once the task is done; None leaves what is written.
        reason : str
            Why the file was left alone; empty when it was not.
        now : float
            Time of the change, in seconds since the epoch.

        Returns
        -------
        ResolveTask or None
            The task as it is now; None when there is no such task.
        """
        connection.execute(
            "UPDATE resolve_task SET state = ?, target = coalesce(?, target), reason = ?, changed_at = ? WHERE id = ?",
            (state, target, reason, now, task_id),
        )
        return _TASK.first(connection.execute(_TASK.select("FROM resolve_task WHERE id = ?"), (task_id,)))

    @reads
    def tasks(self, connection: sqlite3.Connection, run_id: int) -> list[ResolveTask]:
        """Return the tasks of a run, in the order of its plan."""
        rows = connection.execute(_TASK.select("FROM resolve_task WHERE run_id = ? ORDER BY id"), (run_id,))
        return _TASK.all(rows)

    @reads
    def runs(self, connection: sqlite3.Connection) -> list[ResolveRun]:
        """Return every run, newest first."""
        states: dict[int, dict[str, int]] = {}
        changed: dict[int, float] = {}
        rows = connection.execute(
            "SELECT run_id, state, count(*) AS tasks, max(changed_at) AS changed_at"
            " FROM resolve_task GROUP BY run_id, state"
        )
        for row in rows:
            run_id = row["run_id"]
            states.setdefault(run_id, {})[row["state"]] = row["tasks"]
            changed[run_id] = max(changed.get(run_id, 0.0), row["changed_at"])
        listed = connection.execute(_RUN.select("FROM resolve_run ORDER BY id DESC"))
        run = _RUN.reader(listed)
        return [
            run(row, states=states.get(row["id"], {}), changed_at=changed.get(row["id"], row["started_at"]))
            for row in listed
        ]

    @reads
    def away_since(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, float]:
        """Return digest -> when it was last resolved away, for contents that a resolve took out of an album."""
        found: dict[bytes, float] = {}
        for chunk in in_chunks(digests):
            rows = connection.execute(
                "SELECT digest, max(changed_at) AS away_since FROM resolve_task"  # noqa: S608 -- marks
                " WHERE state = ? AND action IN (?, ?)"
                f" AND digest IN ({placeholders(len(chunk))}) GROUP BY digest",
                (TaskState.DONE, TaskAction.TRASH, TaskAction.MOVE, *chunk),
            )
            found |= mapping(rows, "digest", "away_since")
        return found

    @reads
    def undone(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> set[tuple[bytes, bytes]]:
        """Return (path, digest) of the files that an undo put back."""
        found: set[tuple[bytes, bytes]] = set()
        for chunk in in_chunks(digests):
            rows = connection.execute(
                "SELECT path, digest FROM resolve_task WHERE state = ?"  # noqa: S608 -- marks
                f" AND digest IN ({placeholders(len(chunk))})",
                (TaskState.UNDONE, *chunk),
            )
            found.update(tuples(rows, "path", "digest"))
        return found


def _new_row(task: ResolveTask) -> dict[str, object]:
    """Return the columns of a task that has no id yet; a path is its bytes, and empty when no file is kept."""
    values = _NEW_TASK.values(task)
    return {name: bytes(value) if isinstance(value, Path) else value for name, value in values.items()} | {
        "keep": b"" if task.keep is None else bytes(task.keep)
    }
