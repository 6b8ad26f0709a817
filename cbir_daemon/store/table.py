"""The base of the tables' objects: a method either reads, or writes and says whether it raises the clock.

In: methods that take a connection.  Out: methods that take none, each run in a transaction of its own.  Never here:
what a row means.

A method that writes may not call another one, which would wait for the writer thread on the writer thread: what several
of them do is a function that takes the connection, as `write_alerts`.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Concatenate, ParamSpec, TypeVar, cast

from cbir_daemon.kinds import Kind, rank
from cbir_daemon.store.clock import Clock, tick
from cbir_daemon.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Table")

# SQLite's default limit is 32 766 bound variables in one statement.
VARIABLES = 10_000


class Table:
    """Questions to some rows of the index, and changes of them.

    Parameters
    ----------
    database : Database
        Shared by all tables.
    clock : Clock
        Raised by each change that an answer shows.

    Notes
    -----
    Every method of a table that reads or writes raises `StorageError` when SQLite fails: the disk is full or gone, the
    file is damaged or locked, a value breaks a CHECK of the schema, or the index is closed.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # By question: after how many transactions it was asked, and the answer.
        self._kept: dict[Hashable, tuple[int, object]] = {}


Method = Callable[Concatenate[S, sqlite3.Connection, P], T]
Bound = Callable[Concatenate[S, P], T]


def reads(question: Method[S, P, T]) -> Bound[S, P, T]:
    """Let a method read one state of the index; it may be called from any thread."""

    @functools.wraps(question)
    def read(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._database.read() as connection:
            return question(self, connection, *args, **kwargs)

    return read


def keeps(question: Method[S, P, T]) -> Bound[S, P, T]:
    """Let a method read one state of the index, and keep the answer until the next transaction that writes.

    For what looks at every row and is asked by each `cbir status` and after each commit: to count 100 000 takes 10 ms.
    Its arguments are few and hashable.  The answer is shared: nobody changes it.
    """
    fresh = reads(question)

    @functools.wraps(question)
    def read(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        written = self._database.written
        asked = (question.__name__, args, tuple(kwargs.items()))
        kept = self._kept.get(asked)
        if kept is not None and kept[0] == written:
            return cast("T", kept[1])
        answer = fresh(self, *args, **kwargs)
        if written is not None:
            # It is as new as `written`, or newer: what was written meanwhile makes it be asked again.
            self._kept[asked] = (written, answer)
        return answer

    return read


def writes(*, ticks: bool) -> Callable[[Method[S, P, T]], Bound[S, P, T]]:
    """Let a method write one transaction on the writer thread; it may be called from any other.

    Parameters
    ----------
    ticks : bool
        Whether the change raises the clock and wakes those who wait for a change.  Only a change that no answer shows
        may leave the clock; a comment above the decorator says why.
    """

    def decorated(change: Method[S, P, T]) -> Bound[S, P, T]:
        @functools.wraps(change)
        def silent(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return self._database.write(lambda connection: change(self, connection, *args, **kwargs))

        @functools.wraps(change)
        def ticking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            def with_tick(connection: sqlite3.Connection) -> tuple[T, int]:
                value = tick(connection)
                return change(self, connection, *args, **kwargs), value

            result, value = self._database.write(with_tick)
            self._clock.advance(value)
            return result

        method = ticking if ticks else silent
        vars(method)["ticks"] = ticks  # A test tries every change by it.
        return method

    return decorated


def in_chunks(values: Sequence[T], size: int = VARIABLES) -> Iterator[Sequence[T]]:
    """Cut `values` so that each piece fits into one statement.

    Parameters
    ----------
    values : sequence
        Each becomes one bound variable.
    size : int
        Values in a piece; the last piece may have fewer.

    Returns
    -------
    iterator of sequence
        In order; nothing for no values.
    """
    return (values[start : start + size] for start in range(0, len(values), size))


def rank_sql(column: str) -> str:
    """Return SQL for the place of a column's kind of match among all kinds, 0 for the strongest."""
    places = " ".join(f"WHEN '{kind}' THEN {rank(kind)}" for kind in Kind)
    return f"CASE {column} {places} END"


def placeholders(count: int) -> str:
    """Return `count` question marks for an IN (...)."""
    return ",".join("?" * count)
