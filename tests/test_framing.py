"""Framing by example: the bytes on the wire, and each way a stream can be wrong."""

from __future__ import annotations

import pytest

from cbir_daemon.errors import ProtocolError
from cbir_daemon.protocol.framing import MAX_LINE_BYTES, Frame, FrameReader, encode

MAX_BLOB_BYTES = 100


def read(stream: bytes) -> list[Frame]:
    """Return the frames of a whole stream."""
    reader = FrameReader(MAX_BLOB_BYTES)
    reader.receive(stream)
    return list(reader.frames())


def test_a_message_is_one_line_of_compact_json() -> None:
    """A message without bytes is JSON without spaces, UTF-8 as it is, and a newline."""
    assert encode({"v": 1, "path": "/été", "line": "a\nb"}) == '{"v":1,"path":"/été","line":"a\\nb"}\n'.encode()


def test_bytes_follow_the_line_that_announces_them() -> None:
    """The length is a field of the message and the bytes come raw after the newline."""
    stream = encode({"v": 1}, b"\x00\n\xff")
    assert stream == b'{"v":1,"bytes":3}\n\x00\n\xff'
    assert read(stream) == [Frame({"v": 1, "bytes": 3}, b"\x00\n\xff")]


def test_frames_before_a_fault_are_delivered() -> None:
    """What came whole before the stream went wrong is not lost."""
    reader = FrameReader(MAX_BLOB_BYTES)
    reader.receive(b'{"v":1}\nnonsense\n')
    frames = reader.frames()
    assert next(frames) == Frame({"v": 1})
    with pytest.raises(ProtocolError, match="line is not JSON"):
        next(frames)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "line is not JSON"),
        (b"{", "line is not JSON"),
        (b'{"a":"\xff"}', "line is not JSON"),
        (b"[" * 200_000, "line is not JSON"),
        (b'{"a":' * 100_000, "line is not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "line is not JSON"),
        (b"[]", "message is not a JSON object"),
        (b"7", "message is not a JSON object"),
        (b"null", "message is not a JSON object"),
        (b'{"bytes":-1}', "field 'bytes' is not a length"),
        (b'{"bytes":true}', "field 'bytes' is not a length"),
        (b'{"bytes":1.0}', "field 'bytes' is not a length"),
        (b'{"bytes":"3"}', "field 'bytes' is not a length"),
        (b'{"bytes":null}', "field 'bytes' is not a length"),
        (b'{"bytes":101}', "field 'bytes': 101 is more than the 100 accepted"),
        (b'{"bytes":1e999}', "field 'bytes' is not a length"),
    ],
)
def test_what_is_no_message_is_refused_in_a_sentence(line: bytes, message: str) -> None:
    """Each way a line can be wrong has its sentence."""
    with pytest.raises(ProtocolError) as caught:
        read(line + b"\n")
    assert caught.value.message == message


def test_the_longest_line_is_accepted_and_one_byte_more_is_not() -> None:
    """A line may have `MAX_LINE_BYTES`, its newline included, on both sides."""
    longest = {"a": "x" * (MAX_LINE_BYTES - len(b'{"a":""}\n'))}
    assert read(encode(longest)) == [Frame(longest)]
    with pytest.raises(ProtocolError, match="longer than 1048576"):
        encode({"a": longest["a"] + "x"})
    with pytest.raises(ProtocolError, match="longer than 1048576"):
        read(encode(longest).replace(b"\n", b" \n"))


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    """More than a line's worth of bytes without a newline is refused, with none having come."""
    reader = FrameReader(MAX_BLOB_BYTES)
    reader.receive(b" " * MAX_LINE_BYTES)
    assert list(reader.frames()) == []
    reader.receive(b" ")
    with pytest.raises(ProtocolError, match="longer than"):
        list(reader.frames())


def test_a_stream_may_end_between_frames() -> None:
    """`mid_frame` tells an end from a break, in the line and in the bytes behind it."""
    reader = FrameReader(MAX_BLOB_BYTES)
    states = []
    for piece in (b'{"bytes":2', b"}\n", b"a", b"b", b"{", b"}\n"):
        reader.receive(piece)
        states.append((len(list(reader.frames())), reader.mid_frame))
    assert states == [(0, True), (0, True), (0, True), (1, False), (0, True), (1, False)]


def test_text_that_is_no_unicode_still_travels() -> None:
    """A message that quotes a file name which is not UTF-8 arrives, its odd bytes as lone surrogates."""
    reader = FrameReader(MAX_BLOB_BYTES)
    reader.receive(encode({"message": "odd-\udcff.jpg: no such file"}))
    assert [frame.message["message"] for frame in reader.frames()] == ["odd-\udcff.jpg: no such file"]


def test_a_message_passed_on_without_its_bytes_announces_none() -> None:
    """The length that a message carried before does not outlive its bytes."""
    assert encode({"a": 1, "bytes": 5}) == b'{"a":1}\n'
