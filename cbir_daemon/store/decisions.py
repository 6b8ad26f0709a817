"""Rows of decisions: which contents are no duplicates by somebody's word.

In: pairs of digests.  Out: decisions.  Never here: files; a decision outlives those that it was made of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from cbir_daemon.store.row_types import Decision
from cbir_daemon.store.rows import Columns, column
from cbir_daemon.store.table import Table, reads, writes

_DECISION = Columns(Decision)


class Decisions(Table):
    """Pairs of contents that somebody said are no duplicates; of a content with itself: all its files are to stay."""

    @reads
    def listed(self, connection: sqlite3.Connection) -> list[Decision]:
        """Return every decision, oldest first."""
        rows = connection.execute(_DECISION.select("FROM decision ORDER BY decided_at, digest, other_digest"))
        return _DECISION.all(rows)

    @reads
    def dismissed_twins(self, connection: sqlite3.Connection) -> set[bytes]:
        """Return the digests of which all files are to stay: their equals were dismissed as duplicates."""
        rows = connection.execute("SELECT digest FROM decision WHERE digest = other_digest")
        return set(column(rows, "digest"))

    @reads
    def dismissed_with(self, connection: sqlite3.Connection, digest: bytes) -> set[bytes]:
        """Return the digests of the contents that are no duplicates of one."""
        rows = connection.execute(
            "SELECT other_digest AS digest FROM decision WHERE digest = ?1"
            " UNION SELECT digest FROM decision WHERE other_digest = ?1",
            (digest,),
        )
        return set(column(rows, "digest"))

    @writes(ticks=True)
    def put(self, connection: sqlite3.Connection, decided: Iterable[Decision]) -> int:
        """Write decisions that are not known yet; return how many those are."""
        cursor = connection.executemany(
            "INSERT OR IGNORE INTO decision (digest, other_digest, decided_at)"
            " VALUES (min(:digest, :other_digest), max(:digest, :other_digest), :decided_at)",
            [_DECISION.values(decision) for decision in decided],
        )
        return cursor.rowcount

    @writes(ticks=True)
    def remove(self, connection: sqlite3.Connection, decided: Iterable[Decision]) -> int:
        """Delete decisions, whenever they were made; return how many were there."""
        cursor = connection.executemany(
            "DELETE FROM decision"
            " WHERE digest = min(:digest, :other_digest) AND other_digest = max(:digest, :other_digest)",
            [_DECISION.values(decision) for decision in decided],
        )
        return cursor.rowcount

    @writes(ticks=True)
    def dismiss(self, connection: sqlite3.Connection, digest: bytes, other_digest: bytes, now: float) -> bool:
        """Write that two contents are no duplicates.

        Parameters
        ----------
        digest, other_digest : bytes
            SHA-256 of each, in any order; the same twice to have all files with these bytes stay.
        now : float
            Time of the decision, in seconds since the epoch.

        Returns
        -------
        bool
            False when the decision was there already; its time stays.
        """
        first, second = sorted((digest, other_digest))
        cursor = connection.execute(
            "INSERT OR IGNORE INTO decision (digest, other_digest, decided_at) VALUES (?, ?, ?)", (first, second, now)
        )
        return cursor.rowcount > 0

    @writes(ticks=True)
    def undismiss(self, connection: sqlite3.Connection, digest: bytes, other_digest: bytes) -> bool:
        """Delete the decision that two contents are no duplicates.

        Parameters
        ----------
        digest, other_digest : bytes
            SHA-256 of each, in any order.

        Returns
        -------
        bool
            False when there was no such decision.
        """
        first, second = sorted((digest, other_digest))
        cursor = connection.execute("DELETE FROM decision WHERE digest = ? AND other_digest = ?", (first, second))
        return cursor.rowcount > 0
