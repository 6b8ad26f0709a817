"""Rows of sinks: how far each of the places is to which alerts go.

In: names of sinks, ids of alerts.  Out: states.  Never here: sending, and the alerts themselves (`alerts`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from cbir_daemon.store.row_types import SinkState
from cbir_daemon.store.rows import Columns
from cbir_daemon.store.table import Table, reads, writes

_STATE = Columns(SinkState)


class Sinks(Table):
    """Places to which alerts go."""

    @writes(ticks=True)
    def open(self, connection: sqlite3.Connection, names: Sequence[str]) -> None:
        """Drop sinks that are not in use any more, and add new ones; these get the alerts that come from now on."""
        listed = json.dumps(list(names))
        connection.execute("DELETE FROM sink WHERE name NOT IN (SELECT value FROM json_each(?))", (listed,))
        connection.execute(
            "INSERT OR IGNORE INTO sink (name, delivered_id)"
            " SELECT value, (SELECT coalesce(max(id), 0) FROM alert) FROM json_each(?)",
            (listed,),
        )

    @reads
    def states(self, connection: sqlite3.Connection) -> dict[str, SinkState]:
        """Return name -> how far it is, of every sink in use."""
        rows = connection.execute(f"SELECT name, {_STATE} FROM sink")  # noqa: S608 -- columns
        state = _STATE.reader(rows)
        return {row["name"]: state(row) for row in rows}

    # After a restart the same message is sent again; what waits is counted from the last message that ended.
    @writes(ticks=False)
    def begin_message(self, connection: sqlite3.Connection, name: str, last_id: int) -> None:
        """Write that a message is under way.

        Parameters
        ----------
        name : str
            Of the sink.
        last_id : int
            The last alert in the message.
        """
        connection.execute("UPDATE sink SET trying_id = ? WHERE name = ?", (last_id, name))

    @writes(ticks=True)
    def end_message(self, connection: sqlite3.Connection, name: str, last_id: int, now: float) -> None:
        """Write that a sink has had a message.

        Parameters
        ----------
        name : str
            Of the sink.
        last_id : int
            The last alert in the message: this one and all before it are delivered.
        now : float
            Time of the delivery, in seconds since the epoch.
        """
        connection.execute(
            "UPDATE sink SET delivered_id = ?, trying_id = NULL, sent_at = ? WHERE name = ?", (last_id, now, name)
        )
