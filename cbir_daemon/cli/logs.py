"""Where the log goes and how a line looks: `words key=value key="two words"`, a line for each record.

In: records of the package's loggers.  Out: lines on standard error: with priorities for the journal, with a time for a
file, through rich for a terminal.  Never here: what is logged.

References
----------
sd-daemon(3) for the priorities, systemd.exec(5) for JOURNAL_STREAM.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.logging import RichHandler

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Syslog priorities, which the journal reads from `<N>` at the start of a line."""

PLACEHOLDER = re.compile(r"(=?)%[-#0 +]*[0-9.]*([a-zA-Z%])(?=(\s|$)?)")
PLAIN_VALUE = re.compile(r"[^\s\"=]+")


def log_to(console: Console, level: str) -> None:
    """Send the package's log to standard error.

    Parameters
    ----------
    console : Console
        On standard error; shared with the progress bars when it is a terminal.
    level : str
        The least important level that is shown.
    """
    root = logging.getLogger("cbir_daemon")
    root.setLevel(level.upper())
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, markup=False, highlighter=None)
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(in_journal=is_journal(sys.stderr, os.environ), has_time=not console.is_terminal))
    root.addHandler(handler)


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether a stream leads to the journal of systemd.

    Parameters
    ----------
    stream : text stream
        One without a file descriptor does not.
    environ : mapping
        The environment; its JOURNAL_STREAM names device and inode of the stream that leads to the journal.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class LineFormatter(logging.Formatter):
    """Writes each record as one line; a traceback has lines of its own below.

    Parameters
    ----------
    in_journal : bool
        Whether each line begins with its priority; the journal knows the time and the level.
    has_time : bool
        Whether a line begins with time and level when it does not go to the journal.
    """

    def __init__(self, *, in_journal: bool, has_time: bool = True) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s" if has_time and not in_journal else "%(message)s")
        self._in_journal = in_journal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the name that logging calls
        """Return the first line: values with spaces are quoted, and line ends are escaped."""
        record.message = _message(record)
        # A path may hold a newline, and a line of the log may not.
        line = super().formatMessage(record).replace("\n", "\\n")
        return line.encode(errors="backslashreplace").decode()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the lines of a traceback."""
        text = super().format(record)
        if not self._in_journal:
            return text
        # The journal takes each line for an entry of its own.
        priority = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(f"{priority}{line}" for line in text.split("\n"))


def _message(record: logging.LogRecord) -> str:
    if not isinstance(record.args, tuple):
        return record.getMessage()
    args = list(record.args)
    placeholders = [found for found in PLACEHOLDER.finditer(str(record.msg)) if found[2] != "%"]
    for place, found in enumerate(placeholders[: len(args)]):
        if found[1] and found[2] == "s" and found[3] is not None:
            args[place] = _value(str(args[place]))
    return str(record.msg) % tuple(args) if args else str(record.msg)


def _value(text: str) -> str:
    return text if PLAIN_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
