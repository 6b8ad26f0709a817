"""`cbir page`: runs the page for a browser, and tells where it is.

In: arguments, the configuration.  Out: a process that serves the page; its address.  Never here: HTTP, who is let in.
"""

from __future__ import annotations

import importlib
import logging
import os
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbir_daemon import config
from cbir_daemon.cli.common import A_PATH, AS_JSON, connected, daemon_sockets, maybe_absolute
from cbir_daemon.cli.printing import print_answer, say
from cbir_daemon.errors import BadRequestError, InUseError, UnavailableError
from cbir_daemon.page.address import AddressFile, address_file, running_address, write_opener
from cbir_daemon.page.listening import DEFAULT_PORT, HOST, LAST_PORT, opened

if TYPE_CHECKING:
    from cbir_daemon.cli.documents import PageShown


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, LAST_PORT),
    help=f"Port on the loopback addresses; 0 takes a free one.  [default: {DEFAULT_PORT}]",
)
@click.option(
    "--unix", type=A_PATH, metavar="PATH", help="Listen on a Unix socket instead, for a proxy (setting page.hosts)."
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser.")
@click.option("--url", "is_printed", is_flag=True, help="Print the address of the page that runs, and end.")
@AS_JSON
def page(port: int | None, unix: Path | None, is_opened: bool, is_printed: bool, as_json: bool) -> None:
    """Show the albums in a browser on this machine: look, compare, decide, undo.

    Runs until Ctrl-C.  Prints the page's address, which has a secret in it: whoever knows it can do all that the page
    can.
    """
    if port is not None and unix is not None:
        raise BadRequestError("--port and --unix exclude each other", hint="give one of them")
    sockets = daemon_sockets()
    file = address_file(sockets, os.environ)

    def show(address: str) -> None:
        shown: PageShown = {"address": address}
        print_answer(shown, lambda answer: [answer["address"]], as_json=as_json)
        if is_opened:
            _open(write_opener(file, address))

    if is_printed:
        show(running_address(file, f"http://{HOST}:{DEFAULT_PORT if port is None else port}/"))
        return
    # Without a daemon there is nothing to show; one that is started again later is found by the page itself.
    connected().close()
    logging.basicConfig(level=logging.WARNING, format="cbir page: %(message)s")
    held = AddressFile(file)
    try:
        held.open()
    except InUseError:
        if not is_opened:
            raise
        show(running_address(file))
        return
    serve = _server()
    hosts = config.load().page.hosts
    serve(lambda: opened(port, maybe_absolute(unix), hosts), sockets, held, show)


def _server() -> Callable[..., None]:
    """Return the server of the page; its libraries are an extra.

    Raises
    ------
    UnavailableError
        When they are not installed.
    """
    try:
        run: Callable[..., None] = importlib.import_module("cbir_daemon.page.server").run
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"the page needs {error.name}, which is not installed", hint="pip install 'cbir-daemon[page]'"
        ) from error
    return run


def _open(opener: Path) -> None:
    """Have the user's browser show a file: its name, not the secret in it, is what other users see."""
    if not webbrowser.open(opener.as_uri()):
        say("no browser could be started: open the address above")
