"""Rows of alerts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from cbir_daemon.store.records import AlertMatch, AlertRecord, NewAlert, Sighted, Waiting
from cbir_daemon.store.table import Table, reads, writes


class Alerts(Table):
    """What was told, in the order in which it was written."""

    @writes(ticks=True)
    def put(
        self, connection: sqlite3.Connection, file_ids: Sequence[int], alerts: Sequence[NewAlert], now: float
    ) -> None:
        """Write alerts, and that their files are decided upon, in one commit (invariant I3)."""
        write_alerts(connection, file_ids, alerts, now)

    @reads
    def listed(self, connection: sqlite3.Connection, since: int, limit: int) -> list[AlertRecord]:
        """Return alerts with an id above `since`, oldest first."""
        rows = connection.execute(
            "SELECT id, time, path, kind, matches, message, returned, watched FROM alert WHERE id > ?"
            " ORDER BY id LIMIT ?",
            (since, limit),
        )
        return [
            AlertRecord(alert_id, time, path, kind, _from_json(matches), message, returned, _names_from_json(watched))
            for alert_id, time, path, kind, matches, message, returned, watched in rows
        ]

    @reads
    def ids(self, connection: sqlite3.Connection, since: int, limit: int) -> list[int]:
        """Return the ids of alerts above `since`, ascending."""
        rows = connection.execute("SELECT id FROM alert WHERE id > ? ORDER BY id LIMIT ?", (since, limit))
        return [row[0] for row in rows]

    @reads
    def waiting(self, connection: sqlite3.Connection, since: int) -> Waiting | None:
        """Return what alerts there are with an id above `since`; None when there are none."""
        row = connection.execute(
            "SELECT count(*), max(id), min(time), max(time) FROM alert WHERE id > ?", (since,)
        ).fetchone()
        return Waiting(*row) if row[0] else None


def write_alerts(
    connection: sqlite3.Connection, file_ids: Iterable[int], alerts: Iterable[NewAlert], now: float
) -> None:
    """Write alerts together with the fact that their files were decided upon (invariant I3)."""
    connection.executemany("UPDATE file SET alert_due = 0 WHERE id = ?", [(file_id,) for file_id in file_ids])
    connection.executemany(
        "INSERT INTO alert (time, path, kind, matches, message, returned, watched) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                now,
                alert.path,
                alert.kind,
                _to_json(alert.matches),
                alert.message,
                alert.returned,
                _names_to_json(alert.watched),
            )
            for alert in alerts
        ],
    )


# Paths are bytes and JSON is not: Latin-1 maps each byte to one character and back.
def _to_json(matches: Iterable[AlertMatch]) -> str:
    return json.dumps([[match.path.decode("latin-1"), match.kind, match.score, match.done] for match in matches])


def _from_json(text: str) -> tuple[AlertMatch, ...]:
    # An older release has written no words.
    return tuple(AlertMatch(path.encode("latin-1"), *others) for path, *others in json.loads(text))


def _names_to_json(watched: Iterable[Sighted]) -> str:
    return json.dumps([[work.name, work.kind, work.score] for work in watched])


def _names_from_json(text: str) -> tuple[Sighted, ...]:
    return tuple(Sighted(*row) for row in json.loads(text))
