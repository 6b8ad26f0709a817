"""Rows of albums: the folders that are watched.

In: roots, states.  Out: `Album`s, and the contents that go with an album.  Never here: the disk, watching.
"""

from __future__ import annotations

import sqlite3

from cbir_daemon.store import clock
from cbir_daemon.store.alerts import write_alerts
from cbir_daemon.store.contents import drop_orphans
from cbir_daemon.store.row_types import Album, Applied, NewAlert
from cbir_daemon.store.rows import Columns, column
from cbir_daemon.store.table import Table, reads, writes

_ALBUM = Columns(Album, convert={"baseline": bool})


class Albums(Table):
    """The folders that are watched."""

    @reads
    def listed(self, connection: sqlite3.Connection) -> list[Album]:
        """Return every album, in order of path."""
        return _ALBUM.all(connection.execute(_ALBUM.select("FROM album ORDER BY path")))

    @writes(ticks=True)
    def add(self, connection: sqlite3.Connection, path: bytes) -> bool:
        """Remember an album; False when it was known."""
        return connection.execute("INSERT OR IGNORE INTO album (path) VALUES (?)", (path,)).rowcount > 0

    @writes(ticks=True)
    def remove(self, connection: sqlite3.Connection, album_id: int) -> Applied:
        """Forget an album, its files, and the contents that no other album has."""
        had = column(
            connection.execute("SELECT DISTINCT content_id FROM file WHERE album_id = ?", (album_id,)), "content_id"
        )
        connection.execute("DELETE FROM album WHERE id = ?", (album_id,))
        gone = drop_orphans(connection, set(had) - {None})
        return Applied(clock.value(connection), (), gone)

    @writes(ticks=True)
    def set_state(self, connection: sqlite3.Connection, album_id: int, state: str) -> bool:
        """Set an album's state.

        Parameters
        ----------
        album_id : int
            Row id.
        state : str
            One of `AlbumState`.

        Returns
        -------
        bool
            False when the album had this state already, or is not there.
        """
        return _set_state(connection, album_id, state)

    @writes(ticks=True)
    def turn(self, connection: sqlite3.Connection, album_id: int, state: str, alert: NewAlert, now: float) -> bool:
        """Set an album's state and write the alert that says so, in one commit.

        Parameters
        ----------
        album_id : int
            Row id.
        state : str
            One of `AlbumState`.
        alert : NewAlert
            Its path is the album's; its message says what happened.
        now : float
            Time of the alert, in seconds since the epoch.

        Returns
        -------
        bool
            False, and no alert is written, when the album had this state already, or is not there.
        """
        if not _set_state(connection, album_id, state):
            return False
        write_alerts(connection, (), [alert], now)
        return True

    # Only walks compare it, with the disk that they find the album on.
    @writes(ticks=False)
    def set_device(self, connection: sqlite3.Connection, album_id: int, device: int) -> None:
        """Write on which disk the album's root is.

        Parameters
        ----------
        album_id : int
            Row id.
        device : int
            `st_dev` of the root; 0 when it is not known.
        """
        connection.execute("UPDATE album SET device = ? WHERE id = ?", (device, album_id))

    # It says which files that come later raise alerts; each of those is a change of its own.
    @writes(ticks=False)
    def finish_baseline(self, connection: sqlite3.Connection, album_id: int) -> None:
        """Write that the album's first scan is indexed."""
        connection.execute("UPDATE album SET baseline = 1 WHERE id = ?", (album_id,))


def _set_state(connection: sqlite3.Connection, album_id: int, state: str) -> bool:
    """Return whether the album had another state until now."""
    cursor = connection.execute("UPDATE album SET state = ?1 WHERE id = ?2 AND state != ?1", (state, album_id))
    return cursor.rowcount > 0
