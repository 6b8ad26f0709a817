"""What `cbir_daemon/docs` says, as values that a test can compare with the code.

In: Markdown.  Out: sections, tables, lists, code, the fields of documents and the faults of an answer.  Never here:
what is right, and running anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbir_daemon

DOCS = Path(cbir_daemon.__file__).parent / "docs"

HEADING = re.compile(r"(#+) (.*)")
FENCE = "```"
CODE = re.compile(r"`([^`]+)`")
ABSENT = "absent"
ITEM = re.compile(r"(`[^`]+`(?:, `[^`]+`)*)(?: \((.+?)\))?(?:: (.*))?")
"""What an item of a list describes: names, what stands in brackets behind them, meaning."""

FIELDS = ("JSON:", "Answer:", "A webhook and a program get one document:")
PARAMETERS = ("Parameters:",)
"""The lines above lists of fields and of parameters."""

INNER = re.compile(r"(?:as `([^`]+)` of|a document of) \[`([a-z_ -]+)`\]")
"""What is said of an object that is described elsewhere: the place in a document, and whose document it is."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, up to the next heading of any level.

    Parameters
    ----------
    title : str
        Without backticks.
    level : int
        Number of #.
    lines : tuple of str
    """

    title: str
    level: int
    lines: tuple[str, ...]

    def tables(self) -> Iterator[list[list[str]]]:
        """Yield each table as rows of cells, its head first."""
        rows: list[list[str]] = []
        for line in (*self.lines, ""):
            if line.startswith("|"):
                rows.append([cell.strip() for cell in line.strip("|").split("|")])
            elif rows:
                yield [rows[0], *rows[2:]]
                rows = []

    def table(self, *columns: str) -> list[list[str]]:
        """Return the rows of the table whose head begins with `columns`; none when there is no such table."""
        for head, *rows in self.tables():
            if head[: len(columns)] == list(columns):
                return rows
        return []

    def lists(self) -> Iterator[tuple[str, list[list[str]]]]:
        """Yield each list that describes names: the line above it, and for each item names, brackets and meaning."""
        above, items = "", list[str]()
        for line in (*self.lines, ""):
            if line.startswith("- `"):
                items.append(line[2:])
            elif items and line.startswith("  "):
                items[-1] += f" {line.strip()}"
            else:
                if items:
                    yield above, rows_of(items)
                above, items = line or above, []

    def listed(self, above: Iterable[str]) -> list[list[str]]:
        """Return the rows of the lists below one of these lines."""
        return [row for line, rows in self.lists() if line in above for row in rows]

    @property
    def described(self) -> list[list[str]]:
        """The rows of all lists."""
        return [row for _, rows in self.lists() for row in rows]

    @property
    def field_rows(self) -> list[list[str]]:
        """Rows of the fields of an answer: names, type, meaning."""
        return self.listed(FIELDS)

    @property
    def parameter_rows(self) -> list[list[str]]:
        """Rows of parameters: name, type, default, meaning."""
        return [parameter(row) for row in self.listed(PARAMETERS)]

    @property
    def option_rows(self) -> list[list[str]]:
        """Rows of options and arguments: names, default, meaning."""
        rows = [row for above, rows in self.lists() if above not in FIELDS for row in rows]
        return [row for row in rows if re.match(r"`(-|[A-Z])", row[0])]

    def blocks(self, language: str) -> list[str]:
        """Return the fenced blocks of a language."""
        found = re.findall(rf"^{FENCE}{language}\n(.*?)\n{FENCE}$", "\n".join(self.lines), re.DOTALL | re.MULTILINE)
        return [str(block) for block in found]

    @property
    def usage(self) -> str:
        """The first line, without its indent; empty when it has none."""
        first = next(filter(None, self.lines), "")
        return first.strip() if first.startswith("    ") else ""

    @property
    def fields(self) -> dict[str, str]:
        """The fields of an answer: name -> type, the fields of inner objects that are described elsewhere included.

        An item may name several fields of one type: `a.b`, `.c` are the fields `a.b` and `a.c`.  What has inner fields
        and no item is an object; with `[]` behind its name, a list.
        """
        fields: dict[str, str] = {}
        for names, kind, meaning in self.field_rows:
            of_row: list[str] = []
            for name in CODE.findall(names):
                place = of_row[-1].rpartition(".")[0] if name.startswith(".") else ""
                of_row.append(f"{place}{name}")
            fields |= dict.fromkeys(of_row, kind)
            fields |= elsewhere(of_row[-1], kind, meaning)
        return {**outer(fields), **fields}


def sections(document: str) -> list[Section]:
    """Return the sections of a document, in order."""
    found: list[Section] = []
    lines: list[str] = []
    is_code = False
    for line in (DOCS / document).read_text(encoding="utf-8").splitlines():
        is_code ^= line.startswith(FENCE)
        heading = None if is_code else HEADING.fullmatch(line)
        if heading:
            lines = []
            found.append(Section(heading[2].replace("`", ""), len(heading[1]), ()))
        else:
            lines.append(line)
        if found:
            found[-1] = Section(found[-1].title, found[-1].level, tuple(lines))
    return found


def section(document: str, title: str) -> Section:
    """Return the section of a document with this title."""
    return next(candidate for candidate in sections(document) if candidate.title == title)


def elsewhere(name: str, kind: str, meaning: str) -> dict[str, str]:
    """Return the inner fields of a field of which is said that they are those of another document."""
    found = INNER.search(meaning)
    if not found:
        return {}
    place, owner = found.groups()
    fields = section("commands.md" if owner.startswith("cbir") else "protocol.md", owner).fields
    inner = below(fields, place) if place else fields
    return put_below(f"{name}[]" if "list" in alternatives(kind) else name, inner)


def rows_of(items: Iterable[str]) -> list[list[str]]:
    """Return names, brackets and meaning of each item that describes names."""
    found = (ITEM.fullmatch(item) for item in items)
    return [[part or "" for part in match.groups()] for match in found if match]


def parameter(row: list[str]) -> list[str]:
    """Return name, type, default and meaning of a parameter whose brackets say `type; default`."""
    name, said, meaning = row
    kind, _, default = said.partition("; ")
    return [name, kind, default, meaning]


def outer(fields: Iterable[str]) -> dict[str, str]:
    """Return what fields lie in, name -> type: what `[]` follows is a list, what a dot follows an object."""
    around = ((name, found) for name in fields for found in re.finditer(r"\[\]|\b\.", name))
    return {name[: found.start()]: "list" if found[0] == "[]" else "object" for name, found in around}


def code(cell: str) -> str:
    """Return the first thing in backticks in a cell."""
    found = CODE.search(cell)
    assert found, f"nothing in backticks in {cell!r}"
    return found[1]


# -- protocol ----------------------------------------------------------------------------------------------------------

AS_COMMANDS = "Methods that do what a command does"
_TO_COMMAND = re.compile(r"\[`(\w+)`\]\(commands\.md#([a-z-]+)\)")


@dataclass(frozen=True)
class Method:
    """A method of the protocol, as its page has it.

    Parameters
    ----------
    parameters : list of list of str
        Rows of cells: name, type, default, meaning.
    command : str
        The command whose document is the answer; empty for a method with fields of its own.
    fields : mapping
        Name -> type, of the answer; empty where it is that of a command.
    """

    parameters: list[list[str]]
    command: str
    fields: Mapping[str, str]


def methods() -> dict[str, Method]:
    """Return the methods that docs/protocol.md has: those of a list, and those with a section of their own."""
    shared = section("protocol.md", AS_COMMANDS)
    commands = {found.title.replace(" ", "-"): found.title for found in sections("commands.md")}
    known = {name: Method([], commands[anchor], {}) for name, anchor in _TO_COMMAND.findall("\n".join(shared.lines))}
    names: list[str] = []
    for line in shared.lines:
        # A parameter stands below its methods.
        names = [name for name, _ in _TO_COMMAND.findall(line)] if line.startswith("- ") else names
        rows = rows_of([line[4:]]) if line.startswith("  - ") else []
        for name in names:
            known[name].parameters.extend(map(parameter, rows))
    titles = [found.title for found in sections("protocol.md")]
    for described in sections("protocol.md")[titles.index(AS_COMMANDS) + 1 :]:
        known[described.title] = Method(described.parameter_rows, "", described.fields)
    return known


# -- answers -----------------------------------------------------------------------------------------------------------


def _is_time(value: object) -> bool:
    return isinstance(value, str) and datetime.fromisoformat(value).tzinfo == UTC


def _is_path(value: object) -> bool:
    return is_bytes_path(value) or (isinstance(value, str) and value.startswith("/"))


def is_bytes_path(value: object) -> bool:
    """Whether a value of an answer is a path whose bytes are not UTF-8."""
    return isinstance(value, dict) and value.keys() == {"b64"}


WORDS: Mapping[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "path": _is_path,
    "time": _is_time,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict) and not is_bytes_path(value),
    "list": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
    ABSENT: lambda value: False,
}
"""The words of a type column -> whether a value is one."""


def alternatives(cell: str) -> list[str]:
    """Return what a type cell allows: words, and JSON literals in backticks."""
    return [found for found in re.findall(r"`[^`]+`|\w+", cell) if found != "or"]


def is_of(cell: str, value: object) -> bool:
    """Whether a value is of the type that a cell names."""
    return any(_is_one(alternative, value) for alternative in alternatives(cell))


def _is_one(alternative: str, value: object) -> bool:
    if alternative.startswith("`"):
        literal = json.loads(alternative.strip("`"))
        return type(literal) is type(value) and literal == value
    return WORDS[alternative](value)


def faults(fields: Mapping[str, str], answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an answer has beyond the documented fields, what it lacks, and what is of another type."""
    for place, found in objects(answer):
        known = {name for name in fields if name.rpartition(".")[0] == place and not name.endswith("[]")}
        names = {f"{place}.{key}" if place else key for key in found}
        yield from (f"{name} is not documented" for name in sorted(names - known))
        needed = {name for name in known if ABSENT not in alternatives(fields[name])}
        yield from (f"{name} is documented and not there" for name in sorted(needed - names))
    for name, value in values(answer):
        if name in fields and not is_of(fields[name], value):
            yield f"{name} is {value!r}, documented as {fields[name]}"


def objects(value: object, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in a document with its place."""
    if isinstance(value, dict) and not is_bytes_path(value):
        yield place, value
        for key, inner in value.items():
            yield from objects(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner, f"{place}[]")


def values(value: object, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value in a document with its place; entries of a list only when they are no objects."""
    is_entry = place.endswith("[]")
    is_object = isinstance(value, dict) and not is_bytes_path(value)
    if place and not (is_entry and is_object):
        yield place, value
    if isinstance(value, dict) and is_object:
        for key, inner in value.items():
            yield from values(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for inner in value:
            yield from values(inner, f"{place}[]")


def below(fields: Mapping[str, str], place: str) -> dict[str, str]:
    """Return the fields of an inner object as those of a document."""
    return {name[len(place) + 1 :]: kind for name, kind in fields.items() if name.startswith(f"{place}.")}


def put_below(place: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return a document's fields as those of an inner object."""
    return {f"{place}.{name}": kind for name, kind in fields.items()}


def seen(answers: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names of all fields that occur in some answers."""
    return {name for answer in answers for name, _ in values(answer)}
