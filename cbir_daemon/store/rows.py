"""Rows by name: what is selected becomes values and records by the names of its columns, never by their order.

In: cursors of a connection that `by_name` prepared.  Out: values, records.  Never here: what a row means.

A record names its columns once: its fields are the columns, and `Columns` makes the list for SELECT of them.  A name is
looked up once a statement, not once a row, so a row costs hardly more than by position.
"""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

NONE: Mapping[str, Any] = MappingProxyType({})


def by_name(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Have a connection give rows whose columns have names, and return it."""
    connection.row_factory = sqlite3.Row
    return connection


def scalar(connection: sqlite3.Connection, question: str, values: Sequence[object] | Mapping[str, object] = ()) -> Any:  # noqa: ANN401 -- a value of SQLite
    """Return the only column of the only row that a question has for an answer.

    Parameters
    ----------
    connection : sqlite3.Connection
        Prepared or not.
    question : str
        SQL.
    values : sequence or mapping
        Of its parameters.
    """
    return connection.execute(question, values).fetchone()[0]


def _picker(cursor: sqlite3.Cursor, names: Sequence[str]) -> Callable[[Any], Any]:
    """Return the function that takes the columns of these names out of a row: a tuple, or the value of a single one.

    Raises
    ------
    LookupError
        When not just one column has such a name.
    """
    there = [about[0] for about in cursor.description]
    if wrong := [name for name in names if there.count(name) != 1]:
        raise LookupError(f"not just one column is called {wrong[0]}: {', '.join(there)}")
    return operator.itemgetter(*map(there.index, names))


def column(cursor: sqlite3.Cursor, name: str) -> list[Any]:
    """Return one column of all rows.

    Parameters
    ----------
    cursor : sqlite3.Cursor
        Of a SELECT or of a statement that returns rows.
    name : str
        Of the column.
    """
    return list(map(_picker(cursor, [name]), cursor))


def tuples(cursor: sqlite3.Cursor, *names: str) -> list[Any]:
    """Return a tuple of values for each row.

    Parameters
    ----------
    cursor : sqlite3.Cursor
    *names : str
        Of the columns, in the order of the values; two at least.
    """
    return list(map(_picker(cursor, names), cursor))


def mapping(cursor: sqlite3.Cursor, key: str, value: str) -> dict[Any, Any]:
    """Return a mapping from one column of each row to another.

    Parameters
    ----------
    cursor : sqlite3.Cursor
    key, value : str
        Names of the two columns.
    """
    return dict(map(_picker(cursor, (key, value)), cursor))


class Columns(Generic[R]):
    """The columns of a record, which have the names of its fields; as text they are the list for a SELECT.

    Parameters
    ----------
    record : type
        A dataclass with two fields at least.
    table : str
        In whose name they are selected, for statements in which two tables have a column of the same name.
    but : collection of str
        Fields that are no columns; who reads gives their values.
    computed : mapping
        Field -> SQL, of those that are no plain column.
    convert : mapping
        Field -> function of what SQLite has, of those that are something else in the record.
    """

    def __init__(
        self,
        record: type[R],
        table: str = "",
        *,
        but: Collection[str] = (),
        computed: Mapping[str, str] = NONE,
        convert: Mapping[str, Callable[[Any], Any]] = NONE,
    ) -> None:
        every = [field.name for field in fields(record)]
        self.names = tuple(name for name in every if name not in but)
        self._record = record
        self._rest = {name: place for place, name in enumerate(every) if name in but}
        self._convert = {every.index(name): function for name, function in convert.items()}
        self._computed = computed
        self._prefix = f"{table}." if table else ""
        self._values = operator.attrgetter(*self.names)

    def __str__(self) -> str:
        return ", ".join(
            f'{self._computed.get(name, self._prefix + name)} AS "{self._prefix}{name}"' for name in self.names
        )

    def select(self, rest: str) -> str:
        """Return the statement that selects these columns.

        Parameters
        ----------
        rest : str
            SQL from FROM on.
        """
        return f"SELECT {self} {rest}"

    @property
    def listed(self) -> str:
        """The names of the columns, for an INSERT."""
        return ", ".join(self.names)

    @property
    def marks(self) -> str:
        """A parameter for each column, in the order of `listed`, for what `values` returns."""
        return ", ".join(f":{name}" for name in self.names)

    def values(self, record: R) -> dict[str, Any]:
        """Return column -> value of a record, as it is."""
        return dict(zip(self.names, self._values(record), strict=True))

    def reader(self, cursor: sqlite3.Cursor) -> Callable[..., R]:
        """Return the function that makes a record of a row of this statement.

        Its arguments are the row and, by name, the fields that are no columns.
        """
        record, convert, places = self._record, self._convert, self._rest
        pick = _picker(cursor, [self._prefix + name for name in self.names])
        if not convert and not places:
            return lambda row: record(*pick(row))

        def read(row: sqlite3.Row, **rest: object) -> R:
            values = list(pick(row))
            # In the order of the fields, so that none moves once it is in its place.
            for name, place in places.items():
                values.insert(place, rest[name])
            for place, function in convert.items():
                values[place] = function(values[place])
            return record(*values)

        return read

    def all(self, cursor: sqlite3.Cursor) -> list[R]:
        """Return the records of all rows; every field is a column."""
        return list(map(self.reader(cursor), cursor))

    def first(self, cursor: sqlite3.Cursor) -> R | None:
        """Return the record of the first row, or None; every field is a column."""
        row = cursor.fetchone()
        return None if row is None else self.reader(cursor)(row)
