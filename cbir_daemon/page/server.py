"""The process of the page, from its sockets to its end.

In: settings.  Out: HTTP until a signal.  Never here: routes, who is let in.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from cbir_daemon.page.address import AddressFile
from cbir_daemon.page.applying import Applying
from cbir_daemon.page.files import read_files
from cbir_daemon.page.guard import MOST_HEAD_BYTES, Guard
from cbir_daemon.page.keys import Keys
from cbir_daemon.page.limits import IDLE_TIMEOUT_S, Protocol
from cbir_daemon.page.link import Link
from cbir_daemon.page.listening import Doors
from cbir_daemon.page.peers import Peers
from cbir_daemon.page.routes import Routes
from cbir_daemon.system.sandbox import confine

logger = logging.getLogger(__name__)

MAX_MEMORY_BYTES = 2 * 1024**3
"""Address space: threads and libraries reserve far more than they use."""

STOP_WAIT_S = 3

LOADED_LATE = ("anyio._backends._asyncio", "concurrent.futures.thread")
"""Modules that libraries import when they are first needed: of Starlette's, of asyncio's."""


def run(
    open_doors: Callable[[], Doors],
    daemon_sockets: Sequence[Path],
    address_file: AddressFile,
    ready: Callable[[str], None],
) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Parameters
    ----------
    open_doors : callable
        Binds.
    daemon_sockets : sequence of Path
        Where the daemon may listen.
    address_file : AddressFile
        Open; it is closed at the end.
    ready : callable
        Gets the address, with its secret, once connections wait to be taken; this process may open files and start
        others for the last time.

    Raises
    ------
    CbirError
        When it cannot be listened there.
    """
    with ExitStack() as closing:
        closing.callback(address_file.close)
        doors = open_doors()
        for listener in doors.sockets:
            closing.callback(listener.close)
        keys = Keys()
        peers = Peers()
        closing.callback(peers.close)
        applying = Applying()
        applying.start(daemon_sockets)
        stopping = asyncio.Event()
        routes = Routes(keys, Link(daemon_sockets), read_files(), applying, stopping)
        server = _Server(_config(Guard(routes.application(), doors, keys), peers), stopping, applying)
        address = f"{doors.address}#{keys.page}"
        for listener in doors.sockets:
            # A browser that is opened now waits until it is answered.
            listener.listen()
        address_file.write(address)
        # Whoever reads the address may end this process from then on.
        closing.enter_context(server.capture_signals())
        ready(address)
        _load_the_rest(server.config)
        confine(MAX_MEMORY_BYTES, serves=True)
        asyncio.run(server.serve(sockets=list(doors.sockets)))


def _load_the_rest(server_config: uvicorn.Config) -> None:
    """Load what libraries would load at the first request: no file can be opened then."""
    server_config.load()
    for module in LOADED_LATE:
        importlib.import_module(module)
    # The log writes the local time, which a file tells.
    time.localtime()


def _config(application: Guard, peers: Peers) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        # Called for each connection as a class would be.
        http=cast("type[asyncio.Protocol]", partial(Protocol, peers=peers)),
        ws="none",
        lifespan="off",
        loop="asyncio",
        interface="asgi3",
        log_config=None,
        access_log=False,
        # What a proxy says of its own peer is not asked for.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(IDLE_TIMEOUT_S),
        timeout_graceful_shutdown=STOP_WAIT_S,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
    )


class _Server(uvicorn.Server):
    """uvicorn's, but a signal that stopped it is not sent again: to stop is what was asked.

    Parameters
    ----------
    config : uvicorn.Config
    stopping : asyncio.Event
        Set when it stops: streams end.
    applying : Applying
        Is closed then.
    """

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event, applying: Applying) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._applying = applying

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the file that is being moved arrive, end streams, answer what was asked."""
        self._stopping.set()
        await self._applying.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT or SIGTERM."""
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
