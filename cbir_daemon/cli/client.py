"""`cbir`: the group of its commands as click's, and those that need nothing heavy.

In: arguments.  Out: one call of the daemon, its answer printed.  Never here: `query` and `status` (`asking`), how an
answer looks (`text`), and what it means.
"""

from __future__ import annotations

from pathlib import Path

import click

from cbir_daemon import __version__
from cbir_daemon.cli import lines, text
from cbir_daemon.cli.asking import COMMANDS, FOUND, NOTHING_FOUND
from cbir_daemon.cli.common import A_PATH, AS_JSON, Number, absolute, connected
from cbir_daemon.cli.declared import as_command, as_parameter
from cbir_daemon.cli.lazy import LazyCommands
from cbir_daemon.cli.options import SOCKET
from cbir_daemon.cli.printing import print_answer
from cbir_daemon.cli.running import run

MAX_TIMEOUT_S = 7 * 86_400

ELSEWHERE = {
    "alerts": "cbir_daemon.cli.alerts:alerts",
    "completion": "cbir_daemon.cli.completing:completion",
    "decisions": "cbir_daemon.cli.duplicates:decisions",
    "dismiss": "cbir_daemon.cli.duplicates:dismiss",
    "duplicates": "cbir_daemon.cli.duplicates:duplicates",
    "map": "cbir_daemon.cli.map:map_",
    "model": "cbir_daemon.cli.model:model",
    "page": "cbir_daemon.cli.page:page",
    "resolve": "cbir_daemon.cli.resolve:resolve",
    "review": "cbir_daemon.cli.review:review",
    "undismiss": "cbir_daemon.cli.duplicates:undismiss",
    "watch": "cbir_daemon.cli.alerts:watch",
}
"""Commands that are not in this module, and are imported when they are called."""


@click.group(
    params=[as_parameter(SOCKET)],
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=LazyCommands(ELSEWHERE),
)
@click.version_option(__version__, prog_name="cbir")
@click.pass_context
def cbir(context: click.Context, socket: str | None) -> None:
    """Ask the daemon about your albums: where is this picture from, what copies of it are there, what resembles it."""
    context.obj = socket


for _name, _command in COMMANDS.items():
    cbir.add_command(as_command(_name, _command))


# -- keeping up --------------------------------------------------------------------------------------------------


@cbir.command()
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(0, MAX_TIMEOUT_S),
    default=600.0,
    show_default=True,
    help="Longest wait in seconds.",
)
@AS_JSON
def settle(timeout_s: float, as_json: bool) -> None:
    """Wait until everything is indexed.

    That is: all that is on disk now is indexed, its alerts are written, and no fit is due or running.  Exit status 75
    on time-out.
    """
    with connected() as client:
        answer = client.settle(timeout_s)
    print_answer(answer, text.settled, as_json=as_json)


@cbir.command()
@click.argument("path", type=A_PATH, required=False)
@click.option("--accept-losses", is_flag=True, help="Forget the files of an album that is missing or nearly empty.")
@AS_JSON
def scan(path: Path | None, accept_losses: bool, as_json: bool) -> None:
    """Look for changes now, in all albums or at and below PATH.

    `cbir settle` waits for the end.
    """
    with connected() as client:
        answer = client.scan(None if path is None else absolute(path), accept_losses=accept_losses)
    print_answer(answer, lambda reply: ["looking again"], as_json=as_json)


@cbir.group()
def album() -> None:
    """Add, remove or list the watched folders."""


@album.command("add")
@click.argument("folder", type=A_PATH)
@AS_JSON
def album_add(folder: Path, as_json: bool) -> None:
    """Watch FOLDER from now on."""
    with connected() as client:
        answer = client.album_add(absolute(folder))
    words = {True: "added", False: "is an album already:"}
    print_answer(answer, lambda reply: [f"{words[reply['added']]} {lines.path(reply['path'])}"], as_json=as_json)


@album.command("remove")
@click.argument("folder", type=A_PATH)
@AS_JSON
def album_remove(folder: Path, as_json: bool) -> None:
    """Forget FOLDER; its files stay as they are."""
    with connected() as client:
        answer = client.album_remove(absolute(folder))
    print_answer(answer, lambda reply: [f"removed {lines.path(reply['path'])}"], as_json=as_json)


@album.command("list")
@AS_JSON
def album_list(as_json: bool) -> None:
    """List the watched folders."""
    with connected() as client:
        print_answer(client.album_list(), lambda reply: text.albums(reply["albums"]), as_json=as_json)


@cbir.command()
@AS_JSON
def errors(as_json: bool) -> int:
    """List the files that could not be read, and why.

    Exit status 1 when there are none.
    """
    with connected() as client:
        answer = client.errors()
    print_answer(answer, text.errors, as_json=as_json)
    return FOUND if answer["errors"] else NOTHING_FOUND


def main() -> None:
    """Run `cbir`."""
    run(cbir, "cbir")
