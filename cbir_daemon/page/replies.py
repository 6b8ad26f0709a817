"""Answers of the page in JSON: errors, and the messages of the daemon as they came.

In: errors, messages.  Out: Starlette's responses.  Never here: who may ask.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.responses import Response, StreamingResponse

from cbir_daemon.errors import CbirError
from cbir_daemon.protocol.framing import encode

JSON_TYPE = "application/json"
LINES_TYPE = "application/x-ndjson"

STATUS = {
    "bad-request": 400,
    "unknown-method": 404,
    "unreadable-image": 422,
    "too-plain": 422,
    "not-found": 404,
    "no-access": 403,
    "forbidden": 403,
    "in-use": 409,
    "too-large": 413,
    "unavailable": 503,
    "busy": 503,
    "timed-out": 504,
    "protocol": 502,
}
"""Code of an error -> HTTP status; of all others 500."""


def refusal(status: int, code: str, message: str, hint: str = "", *, allow: Sequence[str] = ()) -> Response:
    """Return an error of the page itself.

    Parameters
    ----------
    status : int
        HTTP status.
    code, message, hint : str
        As in errors of the daemon.
    allow : sequence of str
        HTTP methods that are answered there.
    """
    described = {"code": code, "message": message, "hint": hint, "retryable": False}
    return Response(encode({"error": described}), status, {"Allow": ", ".join(allow)} if allow else None, JSON_TYPE)


def failed(error: CbirError) -> Response:
    """Return an error of the daemon, or about it."""
    return Response(encode(error_message(error)), STATUS.get(error.code, 500), media_type=JSON_TYPE)


def error_message(error: CbirError) -> dict[str, Any]:
    """Return an error as a message of the daemon has it."""
    described = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    }
    return {"error": described}


def answered(message: Mapping[str, Any]) -> Response:
    """Return one message."""
    return Response(encode(message), media_type=JSON_TYPE)


def streamed(lines: AsyncIterator[bytes]) -> StreamingResponse:
    """Return messages, each on a line, as they come."""
    return StreamingResponse(lines, media_type=LINES_TYPE)
