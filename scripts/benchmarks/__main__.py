"""Run one benchmark by name: `scripts/bench NAME ...`.

Each file NAME.py beside this one is a benchmark and defines a click command called NAME.  Only the one that is asked
for is imported, so that none pays for what another needs.  Never here: what is measured.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import click

FOLDER = Path(__file__).parent


class Benchmarks(click.Group):
    """The files beside this one as commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all benchmarks, in order."""
        return sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of one benchmark; None when there is no such file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        # `python FOLDER` puts the folder first on the import path.
        command = getattr(importlib.import_module(cmd_name), cmd_name, None)
        if not isinstance(command, click.Command):
            raise click.ClickException(f"{cmd_name}.py defines no command {cmd_name}")
        return command


@click.command(cls=Benchmarks)
def main() -> None:
    """Measure this program, as ratios to a peer or to itself wherever there is one."""


if __name__ == "__main__":
    main(prog_name="scripts/bench")
