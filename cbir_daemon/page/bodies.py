"""Read the body of a request, no further than it may go.

In: what a browser sends.  Out: JSON, or the pieces of an image.  Never here: what they mean.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from cbir_daemon.errors import BadRequestError, TimedOutError

MOST_JSON_BYTES = 8 * 1024 * 1024
"""A plan for 10 000 groups has some 4 MB."""

PIECE_TIMEOUT_S = 10.0
"""Longest pause inside a body."""


class TooLargeError(BadRequestError):
    """A body that is longer than what is taken."""

    code = "too-large"


@dataclass(frozen=True, slots=True)
class Body:
    """The body of one request.

    Parameters
    ----------
    request : Request
    piece_timeout_s : float
        Longest pause between two pieces of it, in seconds.
    """

    request: Request
    piece_timeout_s: float = PIECE_TIMEOUT_S

    def announced(self, most_bytes: int) -> int:
        """Return the length that the browser announced.

        Parameters
        ----------
        most_bytes : int

        Raises
        ------
        BadRequestError
            When it announced none.
        TooLargeError
            When it is more than `most_bytes`; nothing of the body is read then.
        """
        said = self.request.headers.get("content-length", "")
        if not said.isdecimal():
            raise BadRequestError("the request lacks its Content-Length")
        _check_length(int(said), most_bytes)
        return int(said)

    async def json(self) -> object:
        """Return the body as JSON.

        Raises
        ------
        BadRequestError
            When it is none.
        TooLargeError, TimedOutError
            When it is too long, or does not come.
        """
        said = self.request.headers.get("content-length", "")
        _check_length(int(said) if said.isdecimal() else 0, MOST_JSON_BYTES)
        text = bytearray()
        async for piece in self.pieces():
            text += piece
            _check_length(len(text), MOST_JSON_BYTES)
        try:
            parsed: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequestError("the body is not JSON") from error
        return parsed

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece.

        Raises
        ------
        BadRequestError
            When the browser went away.
        TimedOutError
            When nothing comes for `piece_timeout_s`.
        """
        stream = self.request.stream()
        while True:
            try:
                async with asyncio.timeout(self.piece_timeout_s):
                    piece = await anext(stream, None)
            except TimeoutError as error:
                raise TimedOutError("the body of the request did not arrive in time") from error
            except ClientDisconnect as error:
                raise BadRequestError("the browser went away") from error
            if piece is None:
                return
            yield piece


def _check_length(length: int, most_bytes: int) -> None:
    if length > most_bytes:
        raise TooLargeError(f"the body of the request has more than {most_bytes} bytes")
