"""Rows of alerts.

In: alerts, and the files that were decided upon.  Out: alerts in order of id.  Never here: what raises an alert, and
where it goes (`sinks`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from cbir_daemon.store.row_types import AlertMatch, AlertRecord, ContainedWork, Image, NewAlert, Waiting, WorkMatch
from cbir_daemon.store.rows import Columns, column
from cbir_daemon.store.table import Table, reads, writes
from cbir_daemon.store.works import write_work_matches


class Alerts(Table):
    """Alerts, in the order in which they were written."""

    @writes(ticks=True)
    def put(
        self,
        connection: sqlite3.Connection,
        file_ids: Sequence[int],
        alerts: Sequence[NewAlert],
        now: float,
        parts_due: Sequence[int] = (),
    ) -> None:
        """Write alerts, and that their files are decided upon, in one commit (invariant I3).

        Parameters
        ----------
        file_ids : sequence of int
            Every file that was decided upon, whether it raises an alert or not.
        alerts : sequence of NewAlert
            In the order in which they get their ids.
        now : float
            Time of the alerts, in seconds since the epoch.
        parts_due : sequence of int
            Those of the files whose parts are to be looked up.
        """
        write_alerts(connection, file_ids, alerts, now)
        connection.executemany("UPDATE file SET parts_due = 1 WHERE id = ?", [(file_id,) for file_id in parts_due])

    @writes(ticks=True)
    def put_in_parts(
        self,
        connection: sqlite3.Connection,
        image: Image,
        alert: NewAlert | None,
        work_matches: Sequence[WorkMatch],
        now: float,
    ) -> None:
        """Write what the parts of a file show, and that they were looked up; nothing when its content is a new one.

        Parameters
        ----------
        image : Image
        alert : NewAlert or None
            None when the parts show nothing worth one.
        work_matches : sequence of WorkMatch
            Works of the watch list that the parts show; the alert names them.
        now : float
            Seconds since the epoch.
        """
        looked_up = connection.execute(
            "UPDATE file SET parts_due = 0 WHERE id = ? AND content_id = ?", (image.file_id, image.content.id)
        ).rowcount
        if looked_up:
            write_work_matches(connection, work_matches, tell=False)
            write_alerts(connection, (), () if alert is None else (alert,), now)

    @reads
    def listed(self, connection: sqlite3.Connection, since: int, limit: int) -> list[AlertRecord]:
        """Return alerts, oldest first.

        Parameters
        ----------
        since : int
            Only alerts with a larger id; 0 for all.
        limit : int
            Most alerts to return.
        """
        rows = connection.execute(_ALERT.select("FROM alert WHERE id > ? ORDER BY id LIMIT ?"), (since, limit))
        return _ALERT.all(rows)

    @reads
    def of_kind(self, connection: sqlite3.Connection, kind: str) -> list[AlertRecord]:
        """Return the alerts of a kind, oldest first."""
        return _ALERT.all(connection.execute(_ALERT.select("FROM alert WHERE kind = ? ORDER BY id"), (kind,)))

    @reads
    def ids(self, connection: sqlite3.Connection, since: int, limit: int) -> list[int]:
        """Return the ids of alerts, ascending.

        Parameters
        ----------
        since : int
            Only larger ids; 0 for all.
        limit : int
            Most ids to return.
        """
        rows = connection.execute("SELECT id FROM alert WHERE id > ? ORDER BY id LIMIT ?", (since, limit))
        return column(rows, "id")

    @reads
    def waiting(self, connection: sqlite3.Connection, since: int) -> Waiting | None:
        """Return the alerts with an id above `since`; None when there are none."""
        return _WAITING.first(connection.execute(_WAITING.select("FROM alert WHERE id > ? HAVING count(*)"), (since,)))


def write_alerts(
    connection: sqlite3.Connection, file_ids: Iterable[int], alerts: Iterable[NewAlert], now: float
) -> None:
    """Write alerts together with the fact that their files were decided upon (invariant I3).

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, in the caller's transaction.
    file_ids : iterable of int
        Every file that was decided upon, whether it raises an alert or not.
    alerts : iterable of NewAlert
        In the order in which they get their ids.
    now : float
        Time of the alerts, in seconds since the epoch.
    """
    connection.executemany(
        "UPDATE file SET alert_due = 0, parts_due = 0 WHERE id = ?", [(file_id,) for file_id in file_ids]
    )
    connection.executemany(
        f"INSERT INTO alert (time, {_NEW_ALERT.listed}) VALUES (:time, {_NEW_ALERT.marks})",  # noqa: S608 -- names of fields
        [_new_row(alert) | {"time": now} for alert in alerts],
    )


def _new_row(alert: NewAlert) -> dict[str, object]:
    return _NEW_ALERT.values(alert) | {"matches": _to_json(alert.matches), "watched": _names_to_json(alert.watched)}


# Paths are bytes and JSON is not: Latin-1 maps each byte to one character and back.
def _to_json(matches: Iterable[AlertMatch]) -> str:
    return json.dumps(
        [[match.path.decode("latin-1"), match.kind, match.score, match.done, match.site] for match in matches]
    )


def _from_json(text: str) -> tuple[AlertMatch, ...]:
    # An older release has written no words.
    return tuple(AlertMatch(path.encode("latin-1"), *others) for path, *others in json.loads(text))


def _names_to_json(watched: Iterable[ContainedWork]) -> str:
    return json.dumps([[work.name, work.kind, work.score] for work in watched])


def _names_from_json(text: str) -> tuple[ContainedWork, ...]:
    return tuple(ContainedWork(*row) for row in json.loads(text))


_ALERT = Columns(AlertRecord, convert={"matches": _from_json, "watched": _names_from_json})
_NEW_ALERT = Columns(NewAlert)
_WAITING = Columns(
    Waiting, computed={"count": "count(*)", "last_id": "max(id)", "oldest": "min(time)", "newest": "max(time)"}
)
