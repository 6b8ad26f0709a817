"""Rows are read by the names of their columns, and no reader of the store goes by the order of a SELECT."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cbir_daemon
from cbir_daemon.store.rows import Columns, by_name, column, mapping, scalar, tuples

PACKAGE = Path(cbir_daemon.__file__).parent

BY_POSITION = {"store/rows.py: scalar"}
"""Functions that may: a value that is the only one of its row."""

SOURCES = {"execute", "executemany", "fetchall", "fetchmany", "fetchone"}
PASSED_ON = {"enumerate", "iter", "list", "next", "reversed", "set", "sorted", "tuple", "zip"}
"""Functions that give rows when they are given some."""

TAKES_ROWS = {"dict", "extend", "update"}
"""Functions that look into rows by position, or keep them."""

ROWS = re.compile(r"sqlite3\.(Row|Cursor)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Toy:
    """A record of which a column and a conversion lie between others."""

    id: int
    inside: tuple[int, ...]
    name: str
    is_red: bool
    number: int = 0


@pytest.fixture
def toys() -> Iterator[sqlite3.Connection]:
    """Two rows, their columns in another order than the record's fields."""
    with closing(by_name(sqlite3.connect(":memory:"))) as connection:
        connection.execute("CREATE TABLE toy (number INTEGER, is_red INTEGER, name TEXT, id INTEGER)")
        connection.execute("INSERT INTO toy VALUES (5, 1, 'ball', 7), (6, 0, 'bear', 8)")
        yield connection


TOY = Columns(Toy, but=("inside",), convert={"is_red": bool})
BALL, BEAR = Toy(7, (1,), "ball", True, 5), Toy(8, (1,), "bear", False, 6)


def test_a_record_is_read_by_the_names_of_its_fields(toys: sqlite3.Connection) -> None:
    """Whatever the order of the columns is, with a value of the caller's and one that is converted in between."""
    for statement in (
        TOY.select("FROM toy"),
        "SELECT * FROM toy",
        "SELECT id, number, is_red, 9 AS more, name FROM toy",
    ):
        rows = toys.execute(statement)
        toy = TOY.reader(rows)
        assert [toy(row, inside=(1,)) for row in rows] == [BALL, BEAR]
    assert str(TOY) == 'id AS "id", name AS "name", is_red AS "is_red", number AS "number"'


def test_a_value_can_be_computed(toys: sqlite3.Connection) -> None:
    """A field that is no plain column has its SQL, and the name of the field."""
    digits: dict[str, Callable[[Any], Any]] = {"is_red": bool, "inside": lambda text: tuple(map(int, text))}
    counted = Columns(Toy, computed={"inside": "'321'", "number": "10 * number"}, convert=digits)
    first = counted.first(toys.execute(counted.select("FROM toy ORDER BY id DESC")))
    assert first == Toy(8, (3, 2, 1), "bear", is_red=False, number=60)
    assert counted.first(toys.execute(counted.select("FROM toy WHERE id = 9"))) is None
    assert len(counted.all(toys.execute(counted.select("FROM toy")))) == 2


def test_tables_with_the_same_columns_are_told_apart(toys: sqlite3.Connection) -> None:
    """A name that two columns have is refused; with the name of a table before it each is read."""
    toys.execute("CREATE TABLE box (id INTEGER, name TEXT)")
    toys.execute("INSERT INTO box VALUES (1, 'red')")
    with pytest.raises(LookupError, match="not just one column is called id: number, is_red, name, id, id, name"):
        column(toys.execute("SELECT * FROM toy JOIN box"), "id")
    with pytest.raises(LookupError, match="called weight"):
        column(toys.execute("SELECT * FROM toy"), "weight")
    of_table = Columns(Toy, "toy", but=("inside",), convert={"is_red": bool})
    rows = toys.execute(f"SELECT box.id, box.name, {of_table} FROM toy JOIN box ORDER BY toy.id")  # noqa: S608 -- columns
    assert of_table.reader(rows)(rows.fetchone(), inside=(1,)) == BALL


def test_a_record_is_written_by_the_names_of_its_fields(toys: sqlite3.Connection) -> None:
    """The names of an INSERT and its values come from the record alone."""
    toys.execute("DELETE FROM toy")
    insert = f"INSERT INTO toy ({TOY.listed}) VALUES ({TOY.marks})"  # noqa: S608 -- columns
    toys.executemany(insert, [TOY.values(BALL), TOY.values(BEAR)])
    assert tuples(toys.execute("SELECT * FROM toy"), "id", "name", "is_red") == [(7, "ball", 1), (8, "bear", 0)]


def test_values_are_read_by_name(toys: sqlite3.Connection) -> None:
    """Columns are told by name, in the order in which they are asked for."""
    every = "SELECT * FROM toy ORDER BY id"
    assert column(toys.execute(every), "name") == ["ball", "bear"]
    assert tuples(toys.execute(every), "name", "number") == [("ball", 5), ("bear", 6)]
    assert mapping(toys.execute(every), "id", "name") == {7: "ball", 8: "bear"}
    assert column(toys.execute("DELETE FROM toy WHERE id = ? RETURNING name", (7,)), "name") == ["ball"]
    assert scalar(toys, "SELECT count(*) FROM toy WHERE id = ?", (8,)) == 1


class Readers(ast.NodeVisitor):
    """Finds, in one function, where rows of SQLite are looked into by position."""

    def __init__(self, function: Function) -> None:
        self.rows: set[str] = set()
        self.wrong: set[int] = set()
        for parameter in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
            if parameter.annotation is not None and ROWS.search(ast.unparse(parameter.annotation)):
                self.rows.add(parameter.arg)
        # Twice: in the source a comprehension's value stands before the loop that binds its name.
        for _ in range(2):
            for statement in function.body:
                self.visit(statement)

    def are_rows(self, value: ast.expr | None) -> bool:
        """Return whether an expression is a cursor, a row or rows."""
        match value:
            case ast.Name(id=name):
                return name in self.rows
            case ast.Call(func=ast.Attribute(attr=name)):
                return name in SOURCES
            case ast.Call(func=ast.Name(id=name), args=args):
                return name in PASSED_ON and any(self.are_rows(arg) for arg in args)
            case ast.NamedExpr(value=inner):
                return self.are_rows(inner)
            case ast.IfExp(body=body, orelse=orelse):
                return self.are_rows(body) or self.are_rows(orelse)
        return False

    def bind(self, target: ast.expr, value: ast.expr | None) -> None:
        """Note what a name is bound to; several names for one value are its positions."""
        if not self.are_rows(value):
            return
        if isinstance(target, ast.Name):
            self.rows.add(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            self.wrong.add(target.lineno)

    def visit_Assign(self, node: ast.Assign) -> None:
        """A name, or several."""
        for target in node.targets:
            self.bind(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """A name with a type."""
        self.bind(node.target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """A name in passing."""
        self.bind(node.target, node.value)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        """The name of each row."""
        self.bind(node.target, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """The name of each row."""
        self.bind(node.target, node.iter)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """A row or rows by number."""
        is_name = isinstance(node.slice, ast.Name) or isinstance(getattr(node.slice, "value", None), str)
        if self.are_rows(node.value) and not is_name:
            self.wrong.add(node.lineno)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        """A row spread out."""
        if self.are_rows(node.value):
            self.wrong.add(node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """A function that looks into rows."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in TAKES_ROWS and any(self.are_rows(arg) for arg in node.args):
            self.wrong.add(node.lineno)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        """Rows for a caller who does not know what they are."""
        if self.are_rows(node.value):
            self.wrong.add(node.lineno)
        self.generic_visit(node)


def by_position(source: str) -> list[tuple[str, int]]:
    """Return the functions of a module that look into rows by position, and the lines."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]
    return [(function.name, line) for function in functions for line in sorted(Readers(function).wrong)]


def test_rows_are_read_by_name() -> None:
    """No function of the package takes a value out of a row by its place, but those that are listed."""
    found = [
        (f"{path.relative_to(PACKAGE)}: {name}", line)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, line in by_position(path.read_text("utf-8"))
    ]
    assert {name for name, _ in found} == BY_POSITION, found


@pytest.mark.parametrize(
    "body",
    [
        "return connection.execute(query).fetchone()[0]",
        "row = connection.execute(query).fetchone()\n    return row[-1]",
        "rows = connection.execute(query)\n    return [a for a, b in rows]",
        "for (a,) in connection.execute(query): pass",
        "for number, row in enumerate(connection.execute(query)): pass",
        "a, b = connection.execute(query).fetchone()",
        "return [Toy(*row) for row in connection.execute(query)]",
        "return [row[0] for row in rows_]\n",
        "for row in connection.execute(query):\n        first, *rest = row",
        "return dict(connection.execute(query))",
        "found.update(connection.execute(query))",
        "return connection.execute(query).fetchall()",
        "if row := connection.execute(query).fetchone():\n        return row[1:]",
    ],
)
def test_this_check_finds_what_it_looks_for(body: str) -> None:
    """Each way to read a row by position is found."""
    assert by_position(f"def read(connection, rows_: Iterable[sqlite3.Row]):\n    {body}")


@pytest.mark.parametrize(
    "body",
    [
        "return [row['id'] for row in connection.execute(query)]",
        "return tuples(connection.execute(query), 'a', 'b')[0][1]",
        "return connection.execute(query).rowcount",
        "return [(a, b) for a, b in tuples(connection.execute(query), 'a', 'b')]",
        "return connection.execute(query).fetchone() is None",
        "rows = connection.execute(query)\n    return [read(row) for row in rows]",
    ],
)
def test_this_check_leaves_alone_what_is_read_by_name(body: str) -> None:
    """Values that were taken by name may be unpacked."""
    assert not by_position(f"def read(connection):\n    {body}")
