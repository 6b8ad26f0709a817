"""`cbir`: the group of its commands, and those that need nothing heavy.

In: arguments.  Out: one call of the daemon, its answer printed.  Never here: how an answer looks (`text`), and what it
means.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TypedDict

import click

from cbir_daemon import __version__
from cbir_daemon.cli import metrics, text
from cbir_daemon.cli.common import (
    A_PATH,
    AS_JSON,
    FOUND,
    NOTHING_FOUND,
    Number,
    absolute,
    bytes_of,
    connected,
    print_answer,
    print_lines,
    print_paths0,
    write_file,
)
from cbir_daemon.cli.lazy import LazyCommands
from cbir_daemon.cli.running import run
from cbir_daemon.comparison import Likeness
from cbir_daemon.errors import BadRequestError, NoAccessError, NotFoundError, UnavailableError
from cbir_daemon.kinds import Kind

MAX_TIMEOUT_S = 7 * 86_400

ELSEWHERE = {
    "alerts": "cbir_daemon.cli.alerts:alerts",
    "decisions": "cbir_daemon.cli.duplicates:decisions",
    "dismiss": "cbir_daemon.cli.duplicates:dismiss",
    "duplicates": "cbir_daemon.cli.duplicates:duplicates",
    "map": "cbir_daemon.cli.map:map_",
    "model": "cbir_daemon.cli.model:model",
    "resolve": "cbir_daemon.cli.resolve:resolve",
    "review": "cbir_daemon.cli.review:review",
    "undismiss": "cbir_daemon.cli.duplicates:undismiss",
    "watch": "cbir_daemon.cli.alerts:watch",
}
"""Commands that are not in this module: importing them all takes a third of the start of `cbir query`."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, commands=LazyCommands(ELSEWHERE))
@click.option("--socket", type=A_PATH, help="Socket of the daemon.  [default: CBIR_SOCKET, or where a daemon listens]")
@click.version_option(__version__, prog_name="cbir")
@click.pass_context
def cbir(context: click.Context, socket: Path | None) -> None:
    """Ask the daemon about your albums: where is this picture from, what copies of it are there, what resembles it."""
    context.obj = socket


class Filters(TypedDict):
    """The options that limit the matches of a query and of its sheet."""

    limit: int
    kind: str | None
    min_score: float
    by: str | None


# -- queries -----------------------------------------------------------------------------------------------------


@cbir.command()
@click.argument("image", type=A_PATH)
@click.option("-n", "limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Matches at most.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Only matches of this kind.")
@click.option("--min-score", type=Number(0, 1), default=0.0, show_default=True, help="Lowest score, 1 = same.")
@click.option(
    "--by",
    type=click.Choice([likeness.value for likeness in Likeness]),
    help="By what images are similar.  [default: the best there is]",
)
@click.option("--paths0", is_flag=True, help="Print only paths, each ended by a zero byte, for `xargs -0`.")
@click.option("--sheet", type=A_PATH, metavar="OUT.png", help="Also write a picture of the query and its matches.")
@click.option("--explain", is_flag=True, help="Also say how each match was verified.")
@AS_JSON
def query(
    image: Path,
    limit: int,
    kind: str | None,
    min_score: float,
    by: str | None,
    paths0: bool,
    sheet: Path | None,
    explain: bool,
    as_json: bool,
) -> int:
    """Find IMAGE in the albums: the same file, its copies, other shots, what looks like it.

    `-` reads the image from standard input.  Exit status 1 when nothing is found.
    """
    source: Path | bytes = sys.stdin.buffer.read() if str(image) == "-" else absolute(image)
    with connected() as client:
        filters: Filters = {"limit": limit, "kind": kind, "min_score": min_score, "by": by}
        try:
            answer = client.query(source, **filters, explain=explain)
        except (NoAccessError, NotFoundError):
            # The daemon may not read the file, or has another view of the file system; we may read it.
            source = bytes_of(absolute(image))
            answer = client.query(source, **filters, explain=explain)
        if sheet is not None:
            write_file(sheet, client.sheet(source, **filters))
    if paths0:
        print_paths0(match["path"] for match in answer["matches"])
    else:
        print_answer(answer, functools.partial(text.matches, explain=explain), as_json=as_json)
    if not answer["matches"]:
        click.echo("nothing found", err=True)
    return FOUND if answer["matches"] else NOTHING_FOUND


# -- keeping up --------------------------------------------------------------------------------------------------


@cbir.command()
@click.option("--prometheus", is_flag=True, help="Print metrics in the text format of Prometheus.")
@AS_JSON
def status(prometheus: bool, as_json: bool) -> None:
    """Show what there is, what is wrong and what is pending.

    Problems and what to do, albums, counts, progress, the map, and how near the next fit is.
    """
    if prometheus and as_json:
        raise BadRequestError("--prometheus and --json exclude each other", hint="give one of them")
    try:
        with connected() as client:
            answer = client.status()
    except UnavailableError:
        if prometheus:
            # A collector should see that the daemon is down, and not the numbers of yesterday.
            print_lines(metrics.up(is_up=False))
        raise
    print_answer(answer, metrics.metrics if prometheus else text.status, as_json=as_json)


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
    print_answer(answer, lambda reply: [f"{words[reply['added']]} {text.path(reply['path'])}"], as_json=as_json)


@album.command("remove")
@click.argument("folder", type=A_PATH)
@AS_JSON
def album_remove(folder: Path, as_json: bool) -> None:
    """Forget FOLDER; its files stay as they are."""
    with connected() as client:
        answer = client.album_remove(absolute(folder))
    print_answer(answer, lambda reply: [f"removed {text.path(reply['path'])}"], as_json=as_json)


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
