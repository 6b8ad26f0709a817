"""The output of commands: data on stdout, messages on stderr, files.

In: answers, lines, bytes.  Out: what a user sees.  Never here: what a line says; click.
"""

from __future__ import annotations

import json
import sys

from cbir_daemon.errors import StorageError
from cbir_daemon.protocol.messages import path_from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    Answer = TypeVar("Answer")


def say(line: str) -> None:
    """Write a line on stderr."""
    sys.stderr.write(f"{line}\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of text."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
    # Who follows alerts, or reads a pipe, sees each as it comes.
    sys.stdout.flush()


def print_json(document: object) -> None:
    """Print a document on one line."""
    print_lines([json.dumps(document, ensure_ascii=False)])


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
