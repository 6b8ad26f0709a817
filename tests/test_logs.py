"""Lines of the log as an operator and a program read them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from cbir_daemon.cli.logs import LineFormatter, is_journal


def record(level: int, message: str, *args: object, fault: BaseException | None = None) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    info = None if fault is None else (type(fault), fault, fault.__traceback__)
    return logging.LogRecord("cbir_daemon.test", level, __file__, 1, message, args, info)


def line(message: str, *args: object) -> str:
    """Return what the journal gets for an INFO record."""
    return LineFormatter(in_journal=True).format(record(logging.INFO, message, *args))


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_the_journal_is_told_the_priority(level: int, priority: int) -> None:
    """A line begins with the syslog priority of its level, and has no time of its own."""
    assert LineFormatter(in_journal=True).format(record(level, "scan files=%d", 3)) == f"<{priority}>scan files=3"


def test_a_file_gets_time_and_level() -> None:
    """Elsewhere a line begins with time and level."""
    text = LineFormatter(in_journal=False).format(record(logging.ERROR, "thread waits"))
    assert text.endswith(" ERROR thread waits")
    assert text[:2] == "20"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/album/a.jpg", "/album/a.jpg"),
        ("/my album/a.jpg", '"/my album/a.jpg"'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ("two\nlines", '"two\\nlines"'),
        ("\udcff", "\\udcff"),
        ("é", "é"),
    ],
)
def test_values_are_one_word_or_in_quotes(value: str, shown: str) -> None:
    """`key=value` can be cut at spaces and read back: what would break that is in quotes."""
    assert line("read path=%s files=%d", value, 3) == f"<6>read path={shown} files=3"


def test_words_that_are_no_value_stay_as_they_are() -> None:
    """Only a whole value is put in quotes: not free text, a part of a value, a number, or what %r has quoted."""
    assert line("%s", "two words") == "<6>two words"
    assert line("took_s=%.2f done=%s now=%r", 1.5, "50%", "a b") == "<6>took_s=1.50 done=50% now='a b'"
    assert line("hint=%spolled", "raise it; ") == "<6>hint=raise it; polled"
    assert line("at 100%% of %s", "a b") == "<6>at 100% of a b"


def test_each_line_of_a_traceback_has_the_priority() -> None:
    """The journal takes every line for an entry of its own, and none of a fault may look like INFO."""
    with pytest.raises(LookupError) as caught:
        dict[str, int]()["a fault of ours"]
    died = record(logging.ERROR, "thread died name=%s", "x", fault=caught.value)
    text = LineFormatter(in_journal=True).format(died)
    lines = text.split("\n")
    assert lines[0] == "<3>thread died name=x"
    assert lines[-1] == "<3>KeyError: 'a fault of ours'"
    assert all(text.startswith("<3>") for text in lines)


def test_only_the_journal_itself_is_taken_for_it(tmp_path: Path) -> None:
    """JOURNAL_STREAM holds for the stream whose device and inode it names: not for one that was sent to a file."""
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(stream, environ)
        assert not is_journal(stream, {})
        with (tmp_path / "other").open("w") as elsewhere:
            assert not is_journal(elsewhere, environ)
    assert not is_journal(stream, environ)
    assert not is_journal(sys.stderr, {})
