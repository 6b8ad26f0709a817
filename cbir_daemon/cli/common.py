"""What the commands of `cbir` share.

In: options, paths, answers.  Out: a client of the daemon, absolute paths, printed answers, written files.  Never here:
one command's own text.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from cbir_daemon.client import Client
from cbir_daemon.config import client_socket_paths
from cbir_daemon.errors import BadRequestError, NotFoundError, StorageError
from cbir_daemon.protocol.messages import path_from_json

Answer = TypeVar("Answer")

FOUND = 0
NOTHING_FOUND = 1

A_PATH = click.Path(path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


class Number(click.FloatRange):
    """A number within a range; unlike click's own type it refuses `nan`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 -- click's own signature
        """Return the number.

        Parameters
        ----------
        value : object
            What the command line holds.
        param, ctx : optional
            Which parameter, of which call; for the message of the error.

        Raises
        ------
        click.BadParameter
            When the value is no number, or outside the range.
        """
        number = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is not a number.", param, ctx) if math.isnan(number) else number


def connected() -> Client:
    """Return a client of the daemon that the command line, the environment or the configuration names."""
    socket: Path | None = click.get_current_context().find_root().obj
    return Client(client_socket_paths(socket, os.environ, _folder()))


def _folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def absolute(path: Path) -> Path:
    """Return a path from the root on: the daemon runs in another folder."""
    return path if path.is_absolute() else _folder() / path


def bytes_of(path: Path) -> bytes:
    """Return the bytes of a file that the daemon cannot read, or sees under another path.

    Raises
    ------
    NotFoundError
        When this process cannot read it either.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error


def maybe_absolute(path: Path | None) -> Path | None:
    """Return a path from the root on, or None for None."""
    return None if path is None else absolute(path)


def write_file(path: Path, data: bytes) -> None:
    """Write an answer to a file, and say so on stderr.

    Parameters
    ----------
    path : Path
        A file that is there is written over.
    data : bytes
        All that the file holds from now on.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}", hint="give another name") from error
    click.echo(f"wrote {path}", err=True)


def form_of(path: Path, forms: Mapping[str, str]) -> str:
    """Return the form that the ending of a file's name asks for.

    Parameters
    ----------
    path : Path
        The file to write; upper and lower case of its ending are the same.
    forms : mapping
        Ending with its dot, in lower case -> form.

    Raises
    ------
    BadRequestError
        When the ending is none of these.
    """
    form = forms.get(path.suffix.lower())
    if form is None:
        raise BadRequestError(
            f"{path}: its ending names no kind of picture", hint=f"give a name that ends in {' or '.join(forms)}"
        )
    return form


def print_json(document: object) -> None:
    """Print a document on one line."""
    click.echo(json.dumps(document, ensure_ascii=False))


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


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of text."""
    for line in lines:
        click.echo(line)


def print_paths0(paths: Iterable[object]) -> None:
    """Print paths of an answer as they are on disk, each followed by a zero byte."""
    for path in paths:
        sys.stdout.buffer.write(path_from_json(path) + b"\0")
