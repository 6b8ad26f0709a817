"""Rows of the journal of what `cbir resolve` did to files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from cbir_daemon.records import ResolveTask, TaskAction, TaskState
from cbir_daemon.store.records import ResolveRun
from cbir_daemon.store.table import Table, in_chunks, placeholders, reads, writes

_COLUMNS = tuple(field.name for field in fields(ResolveTask))
_TASK_SQL = f"SELECT {', '.join(_COLUMNS)} FROM resolve_task"  # noqa: S608 -- names of fields
_NEW_COLUMNS = (*(name for name in _COLUMNS if name != "id"), "run_id", "changed_at")
_NEW_TASK_SQL = (
    f"INSERT INTO resolve_task ({', '.join(_NEW_COLUMNS)})"  # noqa: S608 -- names of fields
    f" VALUES ({placeholders(len(_NEW_COLUMNS))})"
)


class Journal(Table):
    """What `cbir resolve` was about to do to files, and what became of it."""

    @writes(ticks=True)
    def start(self, connection: sqlite3.Connection, tasks: Iterable[ResolveTask], now: float) -> int:
        """Write a run with its tasks and return its id."""
        run_id = connection.execute("INSERT INTO resolve_run (started_at) VALUES (?)", (now,)).lastrowid
        assert run_id is not None
        connection.executemany(_NEW_TASK_SQL, [(*_new_row(task), run_id, now) for task in tasks])
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
        """Write a task as it is from now on, and return it; None when there is no such task."""
        connection.execute(
            "UPDATE resolve_task SET state = ?, target = coalesce(?, target), reason = ?, changed_at = ? WHERE id = ?",
            (state, target, reason, now, task_id),
        )
        row = connection.execute(f"{_TASK_SQL} WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else _task(row)

    @reads
    def tasks(self, connection: sqlite3.Connection, run_id: int) -> list[ResolveTask]:
        """Return the tasks of a run, in the order of its plan."""
        return [_task(row) for row in connection.execute(f"{_TASK_SQL} WHERE run_id = ? ORDER BY id", (run_id,))]

    @reads
    def runs(self, connection: sqlite3.Connection) -> list[ResolveRun]:
        """Return every run, newest first."""
        states: dict[int, dict[str, int]] = {}
        changed: dict[int, float] = {}
        rows = connection.execute(
            "SELECT run_id, state, count(*), max(changed_at) FROM resolve_task GROUP BY run_id, state"
        )
        for run_id, state, count, changed_at in rows:
            states.setdefault(run_id, {})[state] = count
            changed[run_id] = max(changed.get(run_id, 0.0), changed_at)
        listed = connection.execute("SELECT id, started_at FROM resolve_run ORDER BY id DESC")
        return [
            ResolveRun(run_id, started_at, states.get(run_id, {}), changed.get(run_id, started_at))
            for run_id, started_at in listed
        ]

    @reads
    def away_since(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, float]:
        """Return digest -> when it was last resolved away, for contents that a resolve took out of an album."""
        found: dict[bytes, float] = {}
        for chunk in in_chunks(digests):
            found.update(
                connection.execute(
                    "SELECT digest, max(changed_at) FROM resolve_task"  # noqa: S608 -- marks
                    " WHERE state = ? AND action IN (?, ?)"
                    f" AND digest IN ({placeholders(len(chunk))}) GROUP BY digest",
                    (TaskState.DONE, TaskAction.TRASH, TaskAction.MOVE, *chunk),
                )
            )
        return found

    @reads
    def put_back(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> set[tuple[bytes, bytes]]:
        """Return (path, digest) of the files that an undo put back."""
        found: set[tuple[bytes, bytes]] = set()
        for chunk in in_chunks(digests):
            found.update(
                connection.execute(
                    "SELECT path, digest FROM resolve_task WHERE state = ?"  # noqa: S608 -- marks
                    f" AND digest IN ({placeholders(len(chunk))})",
                    (TaskState.UNDONE, *chunk),
                )
            )
        return found


def _new_row(task: ResolveTask) -> tuple[object, ...]:
    """Return the columns of a task that has no id yet; a path is its bytes, and empty when no file is kept."""
    values = (getattr(task, name) for name in _COLUMNS if name != "id")
    row = [bytes(value) if isinstance(value, Path) else value for value in values]
    row[_COLUMNS.index("keep")] = b"" if task.keep is None else bytes(task.keep)
    return tuple(row)


def _task(row: Sequence[Any]) -> ResolveTask:
    columns = dict(zip(_COLUMNS, row, strict=True))
    columns["state"] = TaskState(columns["state"])
    for name in ("path", "keep", "folder", "target"):
        columns[name] = Path(os.fsdecode(columns[name])) if columns[name] else None
    return ResolveTask(**columns)
