"""The output of commands: data on stdout, messages on stderr, files.

In: answers, lines, bytes.  Out: what a user sees.  Never here: what a line says; click.
"""

from __future__ import annotations

import json
import os
import sys

from cbir_daemon.errors import StorageError
from cbir_daemon.protocol.messages import path_from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TextIO, TypeVar

    Answer = TypeVar("Answer")


COLOURS = {
    "!": "31",  # red: a problem
    "->": "2",  # dim: what to do about it
    "exact": "32",
    "copy": "32",
    "shot": "36",
    "similar": "2",
    "missing": "31",
}
"""First word of a line -> its colour on a terminal (SGR of ECMA-48)."""


def say(line: str) -> None:
    """Write a line on stderr."""
    sys.stderr.write(f"{line}\n")


def is_coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether a stream is a terminal that shows colours, whose user wants them (no-color.org).

    Parameters
    ----------
    stream : TextIO
    environ : mapping of str to str
        Of the process.
    """
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def coloured(line: str) -> str:
    """Return a line with its first word in the colour of what it stands for."""
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    return line.replace(word, f"\x1b[{COLOURS[word]}m{word}\x1b[0m", 1) if word in COLOURS else line


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of text, in colours on a terminal."""
    shown = coloured if is_coloured(sys.stdout, os.environ) else str
    for line in lines:
        sys.stdout.write(f"{shown(line)}\n")
    # Who follows alerts, or reads a pipe, sees each as it comes.
    sys.stdout.flush()


def print_json(document: object) -> None:
    """Print a document on one line."""
    sys.stdout.write(f"{json.dumps(document, ensure_ascii=False)}\n")
    # As lines are.
    sys.stdout.flush()


def print_answer(answer: Answer, lines: Callable[[Answer], Iterable[str]], *, as_json: bool) -> None:
    """Print an answer as JSON, or as lines for people.

    Parameters
    ----------
    answer : Answer
        As the daemon sent it.
    lines : callable
        Makes the lines for people from the answer.
    as_json : bool
        Whether to print the answer itself, on one line.
    """
    if as_json:
        print_json(answer)
    else:
        print_lines(lines(answer))


def print_paths0(paths: Iterable[object]) -> None:
    """Print paths of an answer as they are on disk, each followed by a zero byte."""
    for path in paths:
        sys.stdout.buffer.write(path_from_json(path) + b"\0")


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write an answer to a file, and say so on stderr.

    Parameters
    ----------
    path : path
        A file that is there is written over.
    data : bytes
        All that the file holds from now on.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}", hint="give another name") from error
    say(f"wrote {path}")
