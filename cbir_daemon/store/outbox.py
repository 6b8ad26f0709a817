"""Rows of alerts, and how far each place is to which they go."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from cbir_daemon.store.records import AlertMatch, AlertRecord, NewAlert, Sighted, SinkState, Waiting


def put_alerts(connection: sqlite3.Connection, file_ids: Iterable[int], alerts: Iterable[NewAlert], now: float) -> None:
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


def alerts(connection: sqlite3.Connection, since: int, limit: int) -> list[AlertRecord]:
    """Return alerts with an id above `since`, oldest first."""
    rows = connection.execute(
        "SELECT id, time, path, kind, matches, message, returned, watched FROM alert WHERE id > ? ORDER BY id LIMIT ?",
        (since, limit),
    )
    return [
        AlertRecord(alert_id, time, path, kind, _from_json(matches), message, returned, _names_from_json(watched))
        for alert_id, time, path, kind, matches, message, returned, watched in rows
    ]


def alert_ids(connection: sqlite3.Connection, since: int, limit: int) -> list[int]:
    """Return the ids of alerts above `since`, ascending."""
    rows = connection.execute("SELECT id FROM alert WHERE id > ? ORDER BY id LIMIT ?", (since, limit))
    return [row[0] for row in rows]


def waiting(connection: sqlite3.Connection, since: int) -> Waiting | None:
    """Return what alerts there are with an id above `since`; None when there are none."""
    row = connection.execute(
        "SELECT count(*), max(id), min(time), max(time) FROM alert WHERE id > ?", (since,)
    ).fetchone()
    return Waiting(*row) if row[0] else None


def open_sinks(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Forget the sinks that are not in use any more; one that is new has the alerts from now on."""
    listed = json.dumps(list(names))
    connection.execute("DELETE FROM sink WHERE name NOT IN (SELECT value FROM json_each(?))", (listed,))
    connection.execute(
        "INSERT OR IGNORE INTO sink (name, delivered_id)"
        " SELECT value, (SELECT coalesce(max(id), 0) FROM alert) FROM json_each(?)",
        (listed,),
    )


def sinks(connection: sqlite3.Connection) -> dict[str, SinkState]:
    """Return name -> how far it is, of every sink in use."""
    rows = connection.execute("SELECT name, delivered_id, trying_id, sent_at FROM sink")
    return {name: SinkState(*state) for name, *state in rows}


def begin_message(connection: sqlite3.Connection, name: str, last_id: int) -> None:
    """Write that a message is under way that ends with this alert."""
    connection.execute("UPDATE sink SET trying_id = ? WHERE name = ?", (last_id, name))


def end_message(connection: sqlite3.Connection, name: str, last_id: int, now: float) -> None:
    """Write that a sink has had the message that ends with this alert."""
    connection.execute(
        "UPDATE sink SET delivered_id = ?, trying_id = NULL, sent_at = ? WHERE name = ?", (last_id, now, name)
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
