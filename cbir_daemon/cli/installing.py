"""`cbir-daemon install-service`: the service put in place by the program itself.

In: arguments.  Out: the steps, as lines.  Never here: where a file goes.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from cbir_daemon.cli.manuals import shared_files
from cbir_daemon.errors import BadRequestError
from cbir_daemon.installing import Installer, Scope, program_folder

A_PATH = click.Path(path_type=Path)


@click.command("install-service")
@click.argument("albums", metavar="[ALBUM]...", nargs=-1, type=A_PATH)
@click.option("--user", "scope", flag_value="user", help="For yourself: the default unless you are root.")
@click.option("--system", "scope", flag_value="system", help="For the machine, as a user of its own.")
@click.option("--uninstall", is_flag=True, help="Stop it and take it away; state, configuration and user stay.")
@click.option("--dry-run", is_flag=True, help="Show the steps and do none.")
@click.option("--no-start", is_flag=True, help="Put everything in place and start nothing.")
@click.option("--root", type=A_PATH, help="Put everything below this folder, for an image; starts nothing.")
@click.pass_context
def install_service(
    context: click.Context,
    albums: tuple[Path, ...],
    scope: Scope | None,
    uninstall: bool,
    dry_run: bool,
    no_start: bool,
    root: Path | None,
) -> None:
    """Run the daemon by systemd: units, a first configuration with the ALBUMs, manual pages.

    Each step is shown; what is in place already stays as it is.
    """
    daemon = context.find_root().command
    assert isinstance(daemon, click.Group)
    chosen: Scope = scope or ("user" if os.geteuid() else "system")
    if chosen == "system" and os.geteuid() and not (root or dry_run):
        raise BadRequestError("--system needs root", hint="try sudo, or --user")
    installer = Installer(
        chosen,
        program_folder(),
        lambda line: click.echo(f"  {line}"),
        environ=os.environ,
        root=root.absolute() if root else Path("/"),
        shared=shared_files(daemon),
        rehearsal=dry_run,
    )
    click.echo(f"{'uninstall' if uninstall else 'install'} the {chosen} service")
    if uninstall:
        installer.uninstall()
    else:
        installer.install([album.absolute() for album in albums], start=not no_start)
