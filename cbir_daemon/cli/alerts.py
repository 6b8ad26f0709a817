"""Commands of `cbir` about alerts, sinks and the watch list: `alerts`, `watch`.

In: arguments and answers.  Out: lines or JSON.  Never here: what raises an alert.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbir_daemon.cli import lines, text
from cbir_daemon.cli.asking import FOUND, NOTHING_FOUND, bytes_of
from cbir_daemon.cli.common import A_PATH, AS_JSON, absolute, connected
from cbir_daemon.cli.printing import print_answer, print_json
from cbir_daemon.client import Client
from cbir_daemon.errors import NoAccessError, NotFoundError

if TYPE_CHECKING:
    from cbir_daemon.protocol import answers


@click.group(invoke_without_command=True)
@click.option("--follow", is_flag=True, help="Then print each alert as it comes.")
@click.option("--since", type=click.IntRange(0), default=0, help="Only alerts with a higher id.")
@AS_JSON
@click.pass_context
def alerts(context: click.Context, follow: bool, since: int, as_json: bool) -> int:
    """Show past alerts, or follow the coming ones.

    Exit status 1 when there are none.
    """
    if context.invoked_subcommand is not None:
        return FOUND
    found = NOTHING_FOUND
    with connected() as client:
        for alert in client.alerts(since=since, follow=follow):
            found = FOUND
            if as_json:
                print_json(alert)
            else:
                click.echo(text.alert(alert))
            sys.stdout.flush()
    return found


@alerts.command("test")
@click.argument("sink")
@AS_JSON
def alerts_test(sink: str, as_json: bool) -> None:
    """Send a test message to SINK, and say how it went.

    Exit status 69 when it was not delivered.
    """
    with connected() as client:
        answer = client.alerts_test(sink)
    print_answer(answer, text.tested, as_json=as_json)


# -- the watch list ----------------------------------------------------------------------------------------------------


@click.group()
def watch() -> None:
    """Watch for your own works: a new file that contains one raises an alert."""


@watch.command("add")
@click.argument("images", metavar="IMAGE...", type=A_PATH, nargs=-1, required=True)
@click.option("--name", default="", help="Its name in alerts, for a single IMAGE.  [default: the file's name]")
@AS_JSON
def watch_add(images: Sequence[Path], name: str, as_json: bool) -> None:
    """Watch for each IMAGE, and list the indexed files that contain it.

    The files need not be in an album, and need not stay.
    """
    if name and len(images) > 1:
        raise click.BadParameter("can name only one image", param_hint="--name")
    with connected() as client:
        for image in images:
            print_answer(_added(client, absolute(image), name), text.watched, as_json=as_json)


def _added(client: Client, image: Path, name: str) -> answers.WatchAdded:
    try:
        return client.watch_add(image, name=name)
    except (NoAccessError, NotFoundError):
        # The daemon may not read the file, or has another view of the file system; we may read it.
        return client.watch_add(bytes_of(image), name=name or lines.printable(image.name))


@watch.command("remove")
@click.argument("name")
@AS_JSON
def watch_remove(name: str, as_json: bool) -> None:
    """Take the work called NAME off the watch list."""
    with connected() as client:
        answer = client.watch_remove(name)
    print_answer(answer, lambda reply: [f"removed {lines.printable(reply['work']['name'])}"], as_json=as_json)


@watch.command("list")
@AS_JSON
def watch_list(as_json: bool) -> int:
    """List the watched works, and in how many contents each was found.

    Exit status 1 when there are none.
    """
    with connected() as client:
        answer = client.watch_list()
    print_answer(answer, text.works, as_json=as_json)
    return FOUND if answer["works"] else NOTHING_FOUND
