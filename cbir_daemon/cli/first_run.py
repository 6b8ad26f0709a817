"""The first run of `cbir-daemon` in a terminal: which folders to watch, asked once and written down.

In: a person at a terminal.  Out: a configuration file.  Never here: watching; asking where nobody sits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cbir_daemon.config import Config
from cbir_daemon.config.places import absolute
from cbir_daemon.config.text import toml
from cbir_daemon.daemon.rooms import INDEX_FILE
from cbir_daemon.errors import StorageError
from cbir_daemon.system.files import whole_file

USUAL = ("Pictures", "Photos", "Bilder", "Images")
"""Names below the home folder; the first that is there is proposed."""


def is_first_run(settings: Config) -> bool:
    """Return whether nothing says what to watch, and somebody sits at a terminal who can."""
    asked_before = settings.config_path is not None or (settings.state_dir / INDEX_FILE).exists()
    return not settings.albums and not asked_before and sys.stdin.isatty() and sys.stderr.isatty()


def ask_and_write(file: Path) -> None:
    """Ask which folders to watch, and write them into a new configuration file.

    Parameters
    ----------
    file : Path
        Not there yet.

    Raises
    ------
    StorageError
        When it cannot be written.
    click.Abort
        When the person gives up; nothing is written then.
    """
    click.echo("No folder is watched yet. Which folders hold your pictures?", err=True)
    albums = list(_folders())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as stream:
            stream.write("".join(f"[[album]]\npath = {toml(album)}\n\n" for album in albums).rstrip("\n").encode())
            stream.write(b"\n")
    except OSError as error:
        raise StorageError(f"{file}: {(error.strerror or 'cannot be written').lower()}") from error
    click.echo(f"Wrote {file}: add folders there, or by `cbir album add`.", err=True)


def _folders() -> Iterator[str]:
    """Yield the folders that a person names, at least one, until an empty line."""
    usual = next((str(path) for name in USUAL if (path := Path.home() / name).is_dir()), None)
    named: set[str] = set()
    while True:
        if named:
            text = click.prompt("Another one, or nothing to start", default="", show_default=False, err=True)
        else:
            text = click.prompt("Folder", default=usual, err=True)
        if not text:
            return
        folder = absolute(Path(text).expanduser(), Path.cwd())
        fault = _fault(folder)
        if fault:
            click.echo(f"{folder}: {fault}", err=True)
        elif folder not in named:
            named.add(folder)
            yield folder


def _fault(folder: str) -> str:
    """Return why a folder cannot be watched; empty when it can."""
    if not Path(folder).is_dir():
        return "is no folder"
    if not os.access(folder, os.R_OK | os.X_OK):
        return "may not be read by this user"
    try:
        folder.encode()
    except UnicodeEncodeError:
        return "is not UTF-8, so no file can name it: add it later by `cbir album add`"
    return ""
