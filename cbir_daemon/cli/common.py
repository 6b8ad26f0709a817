"""Helpers of those commands of `cbir` that click runs.

In: options, paths.  Out: a client of the daemon, absolute paths.  Never here: printing (`printing`), one command's own
text.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cbir_daemon.cli import asking
from cbir_daemon.cli.asking import folder
from cbir_daemon.client import Client
from cbir_daemon.config.places import client_socket_paths
from cbir_daemon.errors import BadRequestError

A_PATH = click.Path(path_type=Path)
OF_MEDIUM = click.option(
    "--medium", default="image", show_default=True, metavar="NAME", help="Whose map: image, audio, text, ..."
)
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
    return asking.connected(click.get_current_context().find_root().obj)


def daemon_sockets() -> list[Path]:
    """Return where the daemon may listen that the command line, the environment or the configuration names."""
    socket: Path | None = click.get_current_context().find_root().obj
    return [Path(path) for path in client_socket_paths(socket, os.environ, folder())]


def absolute(path: Path) -> Path:
    """Return a path from the root on: the daemon runs in another folder."""
    return path if path.is_absolute() else Path(folder(), path)


def maybe_absolute(path: Path | None) -> Path | None:
    """Return a path from the root on, or None for None."""
    return None if path is None else absolute(path)


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
