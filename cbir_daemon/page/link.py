"""The page's side of the daemon's socket.

In: a method and its parameters.  Out: frames as they come.  Never here: HTTP, what a method means.

Not `cbir_daemon.client`, which waits: one process serves every tab, and an answer may be a stream without end.  A
connection serves one request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from cbir_daemon.errors import BusyError, CbirError, ForbiddenError, ProtocolError, TimedOutError, UnavailableError
from cbir_daemon.protocol.framing import Frame, FrameReader, encode
from cbir_daemon.protocol.messages import VERSION, Json, Request, error_from

CONNECT_TIMEOUT_S = 5.0
MOST_REQUESTS = 24
"""At the same time; more wait.  The daemon serves 64 clients, the user's own commands among them."""

MOST_LONG = 8
"""Answers without end at the same time, besides: as many tabs that show alerts as they come."""

MAX_BLOB_BYTES = 64 * 1024 * 1024
RECEIVE_BYTES = 256 * 1024
REQUEST_ID = 1


class Link:
    """Asks the daemon.

    Parameters
    ----------
    sockets : sequence of Path
        Where it may listen, tried in order for each request: it may have been started again.
    most_requests : int
        Requests at the same time.
    """

    def __init__(self, sockets: Sequence[Path], most_requests: int = MOST_REQUESTS) -> None:
        self._sockets = tuple(sockets)
        self._turns = asyncio.Semaphore(most_requests)
        self._long = 0

    async def ask(self, method: str, params: Json, *, timeout_s: float | None = None) -> Frame:
        """Return the first frame of an answer.

        Parameters
        ----------
        method : str
        params : dict
        timeout_s : float, optional
            Longest wait in seconds.

        Raises
        ------
        CbirError
            What the daemon refuses with, or when it cannot be reached.
        """
        try:
            async with asyncio.timeout(timeout_s), aclosing(self.frames(method, params)) as frames:
                async for frame in frames:
                    return frame
        except TimeoutError as error:
            raise TimedOutError("the daemon does not answer", hint="try again; its log may say why") from error
        raise UnavailableError("the daemon closed the connection", hint="is it stopping? see its log")

    async def frames(
        self, method: str, params: Json, blob: AsyncIterator[bytes] | None = None, blob_bytes: int = 0
    ) -> AsyncGenerator[Frame]:
        """Yield the frames of an answer as they come.

        Parameters
        ----------
        method : str
        params : dict
        blob : asynchronous iterator of bytes, optional
            Passed on piece by piece: an image is never whole in this process.
        blob_bytes : int
            Its length.

        Raises
        ------
        CbirError
            What the daemon refuses with, or when it cannot be reached.
        """
        request = Request(REQUEST_ID, method, params)
        async with self._turns, aclosing(self._exchanged(request, blob, blob_bytes)) as frames:
            async for frame in frames:
                yield frame

    async def long_frames(self, method: str, params: Json) -> AsyncGenerator[Frame]:
        """Yield the frames of an answer that may take for ever; it takes no turn from those that end soon.

        Parameters
        ----------
        method : str
        params : dict

        Raises
        ------
        BusyError
            When `MOST_LONG` such answers are under way.
        CbirError
            As `frames`.
        """
        if self._long >= MOST_LONG:
            raise BusyError(f"{MOST_LONG} streams are open already", hint="close a tab")
        self._long += 1
        try:
            async with aclosing(self._exchanged(Request(REQUEST_ID, method, params), None, 0)) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._long -= 1

    async def _exchanged(
        self, request: Request, blob: AsyncIterator[bytes] | None, blob_bytes: int
    ) -> AsyncGenerator[Frame]:
        reader, writer = await self._connected()
        try:
            await _send(writer, request, blob, blob_bytes)
            async for frame in _received(reader):
                yield frame
                if not frame.message.get("more", False):
                    return
            raise UnavailableError("the daemon closed the connection", hint="is it stopping? see its log")
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        closed = None
        for path in self._sockets:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    return await asyncio.open_unix_connection(path)
            except PermissionError:
                closed = path
            except (OSError, TimeoutError):
                continue
        if closed is not None:
            raise ForbiddenError(
                f"{closed}: this user may not connect", hint="only its owner and members of server.group may"
            )
        raise UnavailableError(
            f"no daemon listens on {self._sockets[0]}", hint="start one with `cbir-daemon run ALBUM`"
        )


async def _send(
    writer: asyncio.StreamWriter, request: Request, blob: AsyncIterator[bytes] | None, blob_bytes: int
) -> None:
    message: dict[str, Any] = request.to_message()
    # A daemon that refuses answers before it has read all: the refusal is what counts.
    with suppress(ConnectionError):
        writer.write(_line(message, blob_bytes))
        if blob is not None:
            async for piece in blob:
                writer.write(piece)
                await writer.drain()
        await writer.drain()


def _line(message: Json, blob_bytes: int) -> bytes:
    line = encode(message)
    # What follows is announced without being there yet.
    return line[:-2] + b',"bytes":%d}\n' % blob_bytes if blob_bytes else line


async def _received(reader: asyncio.StreamReader) -> AsyncIterator[Frame]:
    frames = FrameReader(MAX_BLOB_BYTES)
    while True:
        try:
            data = await reader.read(RECEIVE_BYTES)
        except OSError as error:
            raise UnavailableError(f"the connection broke: {error.strerror}", hint="try again") from error
        if not data:
            return
        frames.receive(data)
        for frame in frames.frames():
            yield _checked(frame)


def _checked(frame: Frame) -> Frame:
    message = frame.message
    if "error" in message:
        raise _refused(message["error"])
    if message.get("v") != VERSION:
        raise ProtocolError(
            f"the daemon speaks version {message.get('v')!r} of the protocol, not {VERSION}",
            hint="use the `cbir` that came with the daemon",
        )
    return frame


def _refused(described: Json) -> CbirError:
    return error_from(described)
