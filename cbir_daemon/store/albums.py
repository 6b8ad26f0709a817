"""Rows of albums, and the clock."""

from __future__ import annotations

import sqlite3

from cbir_daemon.store.contents import drop_orphans
from cbir_daemon.store.outbox import put_alerts
from cbir_daemon.store.records import Album, NewAlert


def clock(connection: sqlite3.Connection) -> int:
    """Return the clock."""
    return int(connection.execute("SELECT value FROM clock").fetchone()[0])


def tick(connection: sqlite3.Connection) -> int:
    """Raise the clock by one and return it: part of every commit that can change an answer."""
    return int(connection.execute("UPDATE clock SET value = value + 1 RETURNING value").fetchone()[0])


def listed(connection: sqlite3.Connection) -> list[Album]:
    """Return every album, in order of path."""
    rows = connection.execute("SELECT id, path, state, baseline, device FROM album ORDER BY path")
    return [Album(album_id, path, state, bool(baseline), device) for album_id, path, state, baseline, device in rows]


def add(connection: sqlite3.Connection, path: bytes) -> bool:
    """Remember an album; False when it was known."""
    return connection.execute("INSERT OR IGNORE INTO album (path) VALUES (?)", (path,)).rowcount > 0


def remove(connection: sqlite3.Connection, album_id: int) -> tuple[int, ...]:
    """Forget an album with its files and return the contents that went with it."""
    rows = connection.execute("SELECT DISTINCT content_id FROM file WHERE album_id = ?", (album_id,)).fetchall()
    connection.execute("DELETE FROM album WHERE id = ?", (album_id,))
    return drop_orphans(connection, {row[0] for row in rows if row[0] is not None})


def set_state(connection: sqlite3.Connection, album_id: int, state: str) -> bool:
    """Set an album's state; False when it was that already."""
    cursor = connection.execute("UPDATE album SET state = ?1 WHERE id = ?2 AND state != ?1", (state, album_id))
    return cursor.rowcount > 0


def turn(connection: sqlite3.Connection, album_id: int, state: str, alert: NewAlert, now: float) -> bool:
    """Set an album's state and write the alert that says so; False, and no alert, when it was that already."""
    if not set_state(connection, album_id, state):
        return False
    put_alerts(connection, (), [alert], now)
    return True


def set_device(connection: sqlite3.Connection, album_id: int, device: int) -> None:
    """Write on which disk the album's root is."""
    connection.execute("UPDATE album SET device = ? WHERE id = ?", (device, album_id))


def set_baseline(connection: sqlite3.Connection, album_id: int) -> None:
    """Write that the album's first scan is indexed."""
    connection.execute("UPDATE album SET baseline = 1 WHERE id = ?", (album_id,))
