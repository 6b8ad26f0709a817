"""Frames survive any cut, and no stream of bytes does more than be refused."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cbir_daemon.errors import ProtocolError
from cbir_daemon.protocol.framing import BLOB_FIELD, Frame, FrameReader, encode

MAX_BLOB_BYTES = 4096

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
MESSAGES = st.dictionaries(st.text().filter(lambda key: key != BLOB_FIELD), VALUES, max_size=4)
FRAMES = st.lists(st.tuples(MESSAGES, st.binary(max_size=200)), max_size=5)

# Nearly a message: what a careless or hostile client sends.
PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b'"',
        b"\\u",
        b"\n",
        b"1",
        b"-",
        b"e9",
        b"null",
        b'{"bytes":',
        b'{"bytes":3}\n',
        b'{"v":1}\n',
        b"\xff",
    ]
)
GARBAGE = st.binary(max_size=300) | st.lists(PIECES, max_size=40).map(b"".join)


def as_received(message: dict[str, Any], blob: bytes) -> Frame:
    """Return the frame that the other side gets."""
    return Frame({**message, BLOB_FIELD: len(blob)} if blob else message, blob)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `stream` at the given places, taken modulo its length."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[begin:end] for begin, end in itertools.pairwise(places)]


@given(FRAMES, st.lists(st.integers(min_value=0), max_size=30))
def test_frames_cut_anywhere_come_out_the_same(frames: list[tuple[dict[str, Any], bytes]], cuts: list[int]) -> None:
    """However a stream is cut, its frames come out whole and in order, and nothing is left over."""
    reader = FrameReader(MAX_BLOB_BYTES)
    received: list[Frame] = []
    for piece in pieces(b"".join(encode(message, blob) for message, blob in frames), cuts):
        reader.receive(piece)
        received += reader.frames()
    assert received == [as_received(message, blob) for message, blob in frames]
    assert not reader.mid_frame


@given(MESSAGES, st.binary(max_size=50), st.integers(min_value=0))
def test_a_frame_cut_short_is_seen_as_such(message: dict[str, Any], blob: bytes, cut: int) -> None:
    """A stream that ends inside a frame yields nothing and says that it ended too soon."""
    stream = encode(message, blob)
    reader = FrameReader(MAX_BLOB_BYTES)
    reader.receive(stream[: 1 + cut % (len(stream) - 1)])
    assert list(reader.frames()) == []
    assert reader.mid_frame


@given(GARBAGE, st.lists(st.integers(min_value=0), max_size=5))
def test_garbage_is_refused_and_nothing_else(stream: bytes, cuts: list[int]) -> None:
    """Any bytes at all are frames, wait for more, or raise `ProtocolError`; nothing else can happen."""
    reader = FrameReader(MAX_BLOB_BYTES)
    with contextlib.suppress(ProtocolError):
        for piece in pieces(stream, cuts):
            reader.receive(piece)
            for frame in reader.frames():
                assert len(frame.blob) == frame.message.get(BLOB_FIELD, 0) <= MAX_BLOB_BYTES
