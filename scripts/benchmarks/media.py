"""How well media besides pictures find what was edited, each beside its peers: `scripts/bench media text`.

In: a medium's name.  Out: its table.  Never here: what is measured (`_media_NAME`).
"""

from __future__ import annotations

import importlib
from pathlib import Path

import click

FOLDER = Path(__file__).parent
PREFIX = "_media_"


class Media(click.Group):
    """The files `_media_NAME.py` beside this one as commands; only the one that is asked for is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the media that have a benchmark, in order."""
        return sorted(path.stem.removeprefix(PREFIX) for path in FOLDER.glob(f"{PREFIX}*.py"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of one medium; None when there is no such file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"{PREFIX}{cmd_name}"), cmd_name, None)
        if not isinstance(command, click.Command):
            raise click.ClickException(f"{PREFIX}{cmd_name}.py defines no command {cmd_name}")
        return command


@click.command(cls=Media)
def media() -> None:
    """Measure what is found of sound and texts, beside peers on the same files."""
