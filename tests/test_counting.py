"""Numbers in sentences: one thing is one thing, and nothing in the program says "1 errors"."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import cbir_daemon
from cbir_daemon.cli.printing import coloured, is_coloured
from cbir_daemon.wording.counting import clause, counted, duration, moment

PACKAGE = Path(cbir_daemon.__file__).parent

SEVERAL = re.compile(r" (?:\w+ )?(\w{3,}s|people|children)\b")
"""What follows a number and may be a plural: at most one word stands between."""

OF_ALL = re.compile(r"(\bof|\bthan|\bleast|\bmost|\bhighest|\blowest|\bexactly|\bto|=) ?$")
"""What stands before a number that is a bound or a total: "3 of 1 files" and "at least 2 images" are no counts."""


def wrong_plurals(source: str) -> Iterator[str]:
    """Yield what follows a bare name or attribute in a sentence and is a plural, so that it is wrong for one."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        parts = [None, *node.values]
        for before, value, after in zip(parts, parts[1:], parts[2:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            text = before.value if isinstance(before, ast.Constant) else ""
            found = SEVERAL.match(str(after.value))
            if found and is_count(value.value) and not OF_ALL.search(str(text)):
                yield f"{ast.unparse(value)}{found[0]}"


def is_count(value: ast.expr) -> bool:
    """Return whether a value may be any number: a length, a sum, or a name that says how many."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in ("len", "sum")
    name = value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""
    # A constant is known to be more than one.
    return name in NUMBERS


NUMBERS = {
    *("absent", "changed", "compared", "count", "files", "found", "gone", "images", "left", "listed", "missing"),
    *("orphans", "rest", "total", "undescribed", "unlisted", "waiting", "contents", "errors"),
}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_sentence_is_wrong_for_one(path: Path) -> None:
    """What is counted is counted by `counted` or `clause`."""
    assert list(wrong_plurals(path.read_text(encoding="utf-8"))) == []


def test_this_check_finds_what_it_looks_for() -> None:
    """Plurals behind counts; neither totals nor bounds."""
    assert list(wrong_plurals('f"{count} alerts wait"')) == ["{count} alerts"]
    assert list(wrong_plurals('f"x {len(rows)} old files"')) == ["{len(rows)} old files"]
    assert list(wrong_plurals("""f"{a.count} of {total} files {path} is, at least {count} images" """)) == []


def test_counts() -> None:
    """One has no s, and its verb has."""
    assert [counted(count, "error") for count in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]
    assert [clause(count, "alert", "waits", "wait") for count in (0, 1, 2)] == [
        *("0 alerts wait", "1 alert waits", "2 alerts wait")
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.4, "0 s"), (45, "45 s"), (99.4, "99 s"), (100, "2 min"), (5_900, "98 min"), (6_000, "1 h 40 min")),
        *((86_400, "24 h 0 min"), (187_200, "2 d 4 h")),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """The unit follows the length."""
    assert duration(seconds) == text


def test_moments() -> None:
    """To the minute, and in UTC as the answer is."""
    assert moment("2026-11-29T22:16:24.134+00:00") == "2026-11-29 22:16 UTC"


def test_colours_are_for_terminals_whose_users_want_them() -> None:
    """Neither for pipes and files, nor with NO_COLOR, nor on a terminal that has none; an empty NO_COLOR is unset."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert is_coloured(Terminal(), {"TERM": "xterm", "NO_COLOR": ""})
    assert not is_coloured(io.StringIO(), {"TERM": "xterm"})
    assert not is_coloured(Terminal(), {"TERM": "xterm", "NO_COLOR": "1"})
    assert not is_coloured(Terminal(), {"TERM": "dumb"})
    assert coloured("copy  0.98  /a/copy.jpg") == "\x1b[32mcopy\x1b[0m  0.98  /a/copy.jpg"
    assert coloured("  -> mount it") == "  \x1b[2m->\x1b[0m mount it"
    assert coloured("/a/copy.jpg") == "/a/copy.jpg"
    assert coloured("") == ""
