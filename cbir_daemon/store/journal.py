"""Rows of the journal of what `cbir resolve` did to files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from cbir_daemon.store.records import NewTask, ResolveRun, ResolveTask
from cbir_daemon.store.table import Table, in_chunks, placeholders, reads, writes

_TASK_SQL = """
SELECT id, run_id, action, kind, path, keep, digest, keep_digest, size_bytes, mtime_ns, folder, state, target, reason,
       changed_at
FROM resolve_task
"""


class Journal(Table):
    """What `cbir resolve` was about to do to files, and what became of it."""

    @writes(ticks=True)
    def start(self, connection: sqlite3.Connection, tasks: Iterable[NewTask], now: float) -> int:
        """Write a run with its tasks and return its id."""
        run_id = connection.execute("INSERT INTO resolve_run (started_at) VALUES (?)", (now,)).lastrowid
        assert run_id is not None
        connection.executemany(
            "INSERT INTO resolve_task (action, kind, path, keep, digest, keep_digest, size_bytes, mtime_ns, folder,"
            " state, reason, run_id, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*astuple(task), run_id, now) for task in tasks],
        )
        return run_id

    @writes(ticks=True)
    def note(
        self, connection: sqlite3.Connection, task_id: int, state: str, target: bytes | None, reason: str, now: float
    ) -> ResolveTask | None:
        """Write a task as it is from now on, and return it; None when there is no such task."""
        connection.execute(
            "UPDATE resolve_task SET state = ?, target = coalesce(?, target), reason = ?, changed_at = ? WHERE id = ?",
            (state, target, reason, now, task_id),
        )
        row = connection.execute(f"{_TASK_SQL} WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else ResolveTask(*row)

    @reads
    def tasks(self, connection: sqlite3.Connection, run_id: int) -> list[ResolveTask]:
        """Return the tasks of a run, in the order of its plan."""
        return [ResolveTask(*row) for row in connection.execute(f"{_TASK_SQL} WHERE run_id = ? ORDER BY id", (run_id,))]

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
                    " WHERE state = 'done' AND action IN ('trash', 'move')"
                    f" AND digest IN ({placeholders(len(chunk))}) GROUP BY digest",
                    chunk,
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
                    "SELECT path, digest FROM resolve_task WHERE state = 'undone'"  # noqa: S608 -- marks
                    f" AND digest IN ({placeholders(len(chunk))})",
                    chunk,
                )
            )
        return found
