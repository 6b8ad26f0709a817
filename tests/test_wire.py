"""What goes to a search process and back arrives as it was, and nothing else is taken for it."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon.comparison import (
    Around,
    Explanation,
    Family,
    Guess,
    Judgement,
    LookedAt,
    Outcome,
    Overlap,
    Quadrilateral,
    Reason,
    Tone,
    Trace,
    Transform,
    Window,
)
from cbir_daemon.kinds import Kind
from cbir_daemon.medium import Fine, Seen, Sight
from cbir_daemon.search.search import Found
from cbir_daemon.search.wire import decoded, encoded

FOUND = Found(
    7,
    Kind.COPY,
    0.1 + 0.2,
    None,
    Transform(flip=True, turn=90, angle=-0.0, invert=True),
    Overlap(1 / 3, 5e-324),
    Tone(1.5, -3.25, 1e300),
    Around.SCREEN,
    LookedAt.FILES,
    3,
    Window(0.25, 0.0, 1.0, 0.5),
    (Trace.NOISY, Trace.BORDER),
    (),
    Quadrilateral(((0.0, 0.1), (1.0, 0.0), (1.0, 1.0), (0.0, 0.9))),
    12,
    Reason.TEXTURE,
    (1.0, 0.0, 0.5, 0.0, 1.0, -0.5),
    Around.PLAIN,
)
EXPLAINED = Explanation(Outcome.BELOW, Guess(Family.TILT), 1.0, 2.0, 0.5, 1.1, 2.0, True, None, 99.0, 0.91)
JUDGEMENT = Judgement(False, 0.5, Transform(), Overlap(), EXPLAINED, affine=(1.0, 2.0))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (list[Found], [FOUND, Found(1, Kind.SIMILAR, 0.5, 2.5)]),
        (dict[int, Judgement], {4: JUDGEMENT}),
        (list[tuple[int, bytes]], [(1, b"\0\xff"), (2, b"")]),
        (list[frozenset[int]], [frozenset((3, 1)), frozenset()]),
        (tuple[Seen, float], (Seen.SHOT, 0.25)),
        (tuple[tuple[Trace, ...], tuple[Trace, ...]], ((Trace.OVERLAY,), ())),
        (Sight, Sight(Seen.COPY, (Trace.COMPRESSED,))),
        (bytes | None, None),
        (bool, True),
    ],
)
def test_values_arrive_as_they_were(hint: Any, value: object) -> None:  # noqa: ANN401 -- any type
    """With every number to its last bit."""
    arrived = decoded(hint, encoded(value))
    assert arrived == value
    assert type(arrived) is type(value)


def test_arrays_arrive_as_they_were() -> None:
    """Of any shape and type, empty ones and parts of larger ones; they can only be read."""
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays: list[NDArray[Any]] = [
        whole,
        whole[:, ::2],
        whole.T,
        np.empty((0, 3), np.uint8),
        np.array([np.nan, np.inf]),
    ]
    arrived = decoded(list[NDArray[np.float32]], encoded(arrays))
    for sent, array in zip(arrays, arrived, strict=True):
        assert (array.dtype, array.shape) == (sent.dtype, sent.shape)
        assert np.array_equal(array, sent, equal_nan=True)
        assert not array.flags.writeable
    fine = decoded(Fine, encoded(Fine(np.eye(3, dtype=np.uint8), Window())))
    assert (fine.picture.tolist(), fine.window) == (np.eye(3).tolist(), Window())


def test_numbers_of_numpy_arrive_as_plain_ones() -> None:
    """What a search calculates may be either."""
    arrived = decoded(list[float], encoded([np.float32(0.5), np.int64(3), np.float64(0.1), np.bool_(True)]))
    assert arrived == [0.5, 3, 0.1, True]
    assert [type(value) for value in arrived] == [float, int, float, bool]


def test_what_has_no_end_is_not_sent() -> None:
    """JSON has no word for it."""
    with pytest.raises(ValueError, match="JSON compliant"):
        encoded([float("inf")])


def framed(value: object, raw: bytes = b"") -> bytes:
    """Return the bytes of JSON that nobody has checked."""
    text = json.dumps(value).encode()
    return struct.pack("<I", len(text)) + text + raw


@pytest.mark.parametrize(
    ("hint", "data"),
    [
        (bytes, b""),
        (bytes, b"\xff\xff\xff\xff{}"),
        (bytes, framed(5, b"four")),
        (bytes, framed(-1, b"four")),
        (Found, framed([1, "copy"])),
        (Found, framed([1, "twin", *range(16)])),
        (NDArray[np.uint8], framed(["<f4", 2, 2], b"\0" * 8)),
        (NDArray[np.uint8], framed(["nothing", 2])),
        (tuple[int, int], framed([1, 2, 3])),
        (dict[int, int], framed([[1]])),
    ],
)
def test_nonsense_is_refused(hint: Any, data: bytes) -> None:  # noqa: ANN401 -- any type
    """Whatever is wrong with it, in one way."""
    with pytest.raises(ValueError, match="not the bytes of"):
        decoded(hint, data)
