"""The limits of connections: how many there are, how long a request takes to come, whose it is.

In: uvicorn's protocol.  Out: the same, with limits that it lacks.  Never here: what a request means.

References
----------
uvicorn 0.54, `protocols/http/h11_impl.py`: times out idle connections, not slow ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from cbir_daemon.page.guard import HEADERS
from cbir_daemon.page.peers import Peers
from cbir_daemon.protocol.framing import encode

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 64
"""A browser opens six for each tab's host at most."""

HEAD_TIMEOUT_S = 10.0
"""Longest time from the first byte of a request, or a new connection, to the end of its headers."""

IDLE_TIMEOUT_S = 60.0
ROOT = 0


class Protocol(H11Protocol):
    """A connection of a browser.

    Parameters
    ----------
    peers : Peers
        Knows whose it is.
    most_connections : int
        At the same time.
    head_timeout_s : float
        Seconds for the head of a request.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        peers: Peers,
        most_connections: int = MOST_CONNECTIONS,
        head_timeout_s: float = HEAD_TIMEOUT_S,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._peers = peers
        self._most_connections = most_connections
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection of this user, while there is room."""
        user = self._peers.user_of(transport.get_extra_info("socket"))
        if user not in (os.geteuid(), *(() if transport.get_extra_info("peername") else (ROOT,))):
            logger.warning("connection refused uid=%s", user)
            transport.abort()
        super().connection_made(transport)
        if len(self.connections) > self._most_connections:
            logger.warning("connection refused connections=%d", len(self.connections))
            transport.abort()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the connection go."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether the head of a request is whole."""
        if self.transport.is_closing():
            return
        if self._head_timer is None and self.conn.their_state is h11.IDLE:
            self._await_head()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers that every answer has."""
        described = {"code": "bad-request", "message": msg, "hint": "", "retryable": False}
        body = encode({"error": described})
        headers = [
            *HEADERS,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._head_timeout_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        logger.info("connection ended reason=slow")
        self.transport.abort()
