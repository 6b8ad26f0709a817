"""Cut a stream of bytes into frames: one line of JSON, and the raw bytes that it announces.

In: bytes as they arrive, cut anywhere.  Out: frames, whole.  Never here: sockets, methods, what a field means.

The same framing serves the daemon's socket and the pipes to its own child processes, so that nothing in this program
ever unpickles what another process wrote.

Every start of `cbir` pays for this module, so neither `dataclasses` nor `typing` is loaded for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from cbir_daemon.errors import ProtocolError
from cbir_daemon.protocol.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LINE_BYTES = 1024 * 1024
"""Longest JSON line, newline included (1 MiB)."""

BLOB_FIELD = "bytes"
"""Top-level field of a message that says how many raw bytes follow its newline."""


class Frame(Value):
    """A message and the raw bytes that came with it.

    Parameters
    ----------
    message : dict
    blob : bytes
        Empty when the message announced none.
    """

    __slots__ = ("message", "blob")  # noqa: RUF023 -- in the order of the parameters

    def __init__(self, message: dict[str, Any], blob: bytes = b"") -> None:
        self.message = message
        self.blob = blob


def encode(message: Mapping[str, Any], blob: bytes = b"") -> bytes:
    """Return `message` as one line of compact JSON, followed by `blob` when there is one.

    Parameters
    ----------
    message : mapping
        A field `BLOB_FIELD` in it is replaced by the length of `blob`.
    blob : bytes
        Raw bytes that follow the line; when empty, none are announced.

    Raises
    ------
    ProtocolError
        When the line would be longer than `MAX_LINE_BYTES`, or holds an infinite number, which JSON cannot write.
    """
    # Only what follows is announced, whatever a message that is passed on announced before.
    body = {name: value for name, value in message.items() if name != BLOB_FIELD}
    if blob:
        body[BLOB_FIELD] = len(blob)
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise ProtocolError("message holds a number that is infinite, or none") from error
    # A message may quote a file name that is no text: its lone surrogates become JSON's own escapes.
    line = text.encode(errors="backslashreplace") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"message of {len(line)} bytes is longer than {MAX_LINE_BYTES}")
    return line + blob


class FrameReader:
    """Turn bytes into frames; feed it with `receive`, empty it with `frames`.

    Parameters
    ----------
    max_blob_bytes : int
        Largest announced length that is accepted.
    """

    __slots__ = ("_blob_bytes", "_buffer", "_max_blob_bytes", "_message", "_scanned")

    def __init__(self, max_blob_bytes: int) -> None:
        self._max_blob_bytes = max_blob_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._message: dict[str, Any] | None = None
        self._blob_bytes = 0

    @property
    def mid_frame(self) -> bool:
        """Whether the stream would end inside a frame if it ended now."""
        return bool(self._buffer) or self._message is not None

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._buffer += data

    def frames(self) -> Iterator[Frame]:
        """Yield every frame that is complete.

        Raises
        ------
        ProtocolError
            When a line is too long, is not a JSON object, or announces a bad length.  The stream cannot be
            followed after that: answer once and close.
        """
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        if self._message is None:
            line = self._take_line()
            if line is None:
                return None
            message = _parse(line)
            self._blob_bytes = _announced(message, self._max_blob_bytes)
            self._message = message
        if len(self._buffer) < self._blob_bytes:
            return None
        blob = bytes(memoryview(self._buffer)[: self._blob_bytes])
        del self._buffer[: self._blob_bytes]
        frame, self._message = Frame(self._message, blob), None
        return frame

    def _take_line(self) -> bytes | None:
        # Only what is new is searched: a line that trickles in byte by byte must not cost its square.
        end = self._buffer.find(b"\n", self._scanned)
        length = len(self._buffer) if end < 0 else end + 1
        if length > MAX_LINE_BYTES:
            raise ProtocolError(f"line longer than {MAX_LINE_BYTES} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    # RecursionError: thousands of nested brackets fit into a line.
    except (ValueError, RecursionError) as error:
        raise ProtocolError("line is not JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("message is not a JSON object")
    return message


def _announced(message: Mapping[str, Any], max_blob_bytes: int) -> int:
    length = message.get(BLOB_FIELD, 0)
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise ProtocolError(f"field {BLOB_FIELD!r} is not a length")
    if length > max_blob_bytes:
        raise ProtocolError(f"field {BLOB_FIELD!r}: {length} is more than the {max_blob_bytes} accepted")
    return length
