"""Rows of publishing: what is to be told to the shared index, and what it was told.

In: digests, and how publishing went.  Out: contents that are due.  Never here: the shared index, and how a row of it
looks (`shared`).

Triggers note each content whose files have changed, in the commit of the change itself, while a site is active: an
index that shares nothing notes nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cbir_daemon.records import IMAGE
from cbir_daemon.store.alerts import write_alerts
from cbir_daemon.store.contents import CONTENT
from cbir_daemon.store.row_types import Content, NewAlert
from cbir_daemon.store.rows import Columns, column, mapping, scalar
from cbir_daemon.store.table import Table, in_chunks, keeps, placeholders, reads, writes

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Site:
    """The name under which an index is published.

    Parameters
    ----------
    name : str
        As the configuration has it; empty before the first one.
    key : bytes
        16 random bytes, by which two sites of one name are told apart.
    active : bool
        Whether changes are noted.
    """

    name: str
    key: bytes
    active: bool


@dataclass(frozen=True, slots=True)
class Due:
    """A content whose rows in the shared index may be out of date.

    Parameters
    ----------
    number : int
        Of the note; a later change of the content makes another one.
    digest : bytes
    news : bool
        Whether one of its files came after the first scan of its album, so that copies of it raise an alert.
    """

    number: int
    digest: bytes
    news: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """A content as it is published.

    Parameters
    ----------
    content : Content
    vector : bytes
    path : bytes
        Absolute, of the first of its files.
    """

    content: Content
    vector: bytes
    path: bytes


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the shared index is behind.

    Parameters
    ----------
    due : int
        Contents to be published or withdrawn.
    since : float or None
        When the oldest of them changed, in seconds since the epoch.
    published : int
        Contents that the shared index has.
    unasked : int
        Of these, those that were not looked up at other sites yet.
    """

    due: int
    since: float | None
    published: int
    unasked: int


_SITE = Columns(Site, convert={"active": bool})
_DUE = Columns(Due, convert={"news": bool})


class Published(Table):
    """What the shared index has of this one, and what it is to be told."""

    @reads
    def site(self, connection: sqlite3.Connection) -> Site | None:
        """Return the site; None for an index that was never published."""
        return _SITE.first(connection.execute(_SITE.select("FROM site")))

    @writes(ticks=True)
    def begin(self, connection: sqlite3.Connection, name: str, now: float) -> Site:
        """Note changes from now on, and return the site; what was not noted meanwhile is due as well.

        Parameters
        ----------
        name : str
            Under another one than before, everything is published anew.
        now : float
            Seconds since the epoch.
        """
        site = _SITE.first(connection.execute(_SITE.select("FROM site")))
        if site is not None and site.active and site.name == name:
            return site
        key = os.urandom(KEY_BYTES) if site is None else site.key
        if site is None or site.name != name:
            connection.execute("DELETE FROM published")
        connection.execute("INSERT OR REPLACE INTO site (one, name, key, active) VALUES (1, ?, ?, 1)", (name, key))
        _note_all(connection, now)
        return Site(name, key, active=True)

    @writes(ticks=True)
    def rest(self, connection: sqlite3.Connection) -> None:
        """Note no changes any more; what was published stays in the shared index."""
        connection.execute("UPDATE site SET active = 0")
        connection.execute("DELETE FROM publish_due")

    @writes(ticks=True)
    def note_all(self, connection: sqlite3.Connection, now: float) -> int:
        """Note every content, and every one that was published; return how many there are.

        Parameters
        ----------
        now : float
            Seconds since the epoch.
        """
        return _note_all(connection, now)

    @writes(ticks=True)
    def forget(self, connection: sqlite3.Connection) -> None:
        """Forget that anything was published: the site was withdrawn."""
        connection.execute("DELETE FROM published")
        connection.execute("DELETE FROM publish_due")
        connection.execute("UPDATE site SET active = 0")

    @reads
    def due(self, connection: sqlite3.Connection, limit: int) -> list[Due]:
        """Return the next contents to be published or withdrawn, in the order in which they changed."""
        return _DUE.all(connection.execute(_DUE.select("FROM publish_due ORDER BY number LIMIT ?"), (limit,)))

    @reads
    def publications(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, Publication]:
        """Return digest -> what is published of it; digests without a file, and of other media, are left out."""
        found: dict[bytes, Publication] = {}
        for chunk in in_chunks(digests):
            rows = connection.execute(
                f"SELECT {CONTENT}, vector,"  # noqa: S608 -- columns and marks
                " (SELECT CAST(album.path || '/' || file.path AS BLOB) FROM file JOIN album ON album.id = file.album_id"
                "  WHERE file.content_id = content.id ORDER BY file.id LIMIT 1) AS first_path"
                f" FROM content WHERE medium = '{IMAGE}' AND digest IN ({placeholders(len(chunk))})",
                chunk,
            )
            content = CONTENT.reader(rows)
            for row in rows:
                if row["first_path"] is not None:
                    found[row["content.digest"]] = Publication(content(row), row["vector"], row["first_path"])
        return found

    @writes(ticks=True)
    def put(self, connection: sqlite3.Connection, done: Collection[Due], there: Collection[bytes], now: float) -> None:
        """Write that the shared index has been told.

        Parameters
        ----------
        done : collection of Due
            A content that has changed again meanwhile stays due.
        there : collection of bytes
            Digests that it has now; it has the others of `done` no more.
        now : float
            Seconds since the epoch.
        """
        for due in done:
            if due.digest in there:
                connection.execute(
                    "INSERT INTO published (digest, news, at) VALUES (?1, ?2, ?3)"
                    " ON CONFLICT (digest) DO UPDATE SET news = max(news, excluded.news), asked = 0, at = excluded.at",
                    (due.digest, due.news, now),
                )
            else:
                connection.execute("DELETE FROM published WHERE digest = ?", (due.digest,))
        connection.executemany("DELETE FROM publish_due WHERE number = ?", [(due.number,) for due in done])

    @reads
    def unasked(self, connection: sqlite3.Connection, limit: int) -> list[tuple[bytes, bool]]:
        """Return (digest, whether it is news) of published contents that were not looked up elsewhere, news first."""
        rows = connection.execute(
            "SELECT digest, news FROM published WHERE asked = 0 ORDER BY news DESC, at, digest LIMIT ?", (limit,)
        )
        return [(digest, bool(news)) for digest, news in mapping(rows, "digest", "news").items()]

    @writes(ticks=True)
    def put_asked(
        self, connection: sqlite3.Connection, digests: Sequence[bytes], alerts: Sequence[NewAlert], now: float
    ) -> None:
        """Write that contents were looked up at the other sites, and the alerts that follow, in one commit.

        Parameters
        ----------
        digests : sequence of bytes
        alerts : sequence of NewAlert
        now : float
            Seconds since the epoch.
        """
        connection.executemany(
            "UPDATE published SET asked = 1, news = 0 WHERE digest = ?", [(digest,) for digest in digests]
        )
        write_alerts(connection, (), alerts, now)

    @keeps
    def lag(self, connection: sqlite3.Connection) -> Lag:
        """Return how far the shared index is behind."""
        return Lag(
            scalar(connection, "SELECT count(*) FROM publish_due"),
            scalar(connection, "SELECT min(since) FROM publish_due"),
            scalar(connection, "SELECT count(*) FROM published"),
            scalar(connection, "SELECT count(*) FROM published WHERE asked = 0"),
        )

    @reads
    def digests(self, connection: sqlite3.Connection) -> list[bytes]:
        """Return the digests of all contents that the shared index has, in order."""
        return column(connection.execute("SELECT digest FROM published ORDER BY digest"), "digest")


def _note_all(connection: sqlite3.Connection, now: float) -> int:
    """Note every image, and every content that was published; return how many there are."""
    return connection.execute(
        "INSERT OR REPLACE INTO publish_due (digest, since)"  # noqa: S608 -- words of ours
        f" SELECT digest, ? FROM content WHERE medium = '{IMAGE}' UNION SELECT digest, ? FROM published",
        (now, now),
    ).rowcount
