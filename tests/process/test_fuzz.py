"""Whatever bytes come, a real daemon answers or hangs up, crashes nowhere, and serves the next one.

A handler that fails is found by its line in the log; a message is refused by one of the documented codes.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cbir_daemon.client import Client
from cbir_daemon.protocol.framing import encode
from cbir_daemon.protocol.messages import ERRORS
from cbir_daemon.serving.handlers import METHODS
from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

EXAMPLES = 120
PROBES = 40
"""Answers that a stream without an end may give before its client hangs up."""

CHANGES_THE_SCENE = {"album_add", "album_remove", "backup", "model_fit", "settle"}
"""Not fuzzed with parameters that may be good: they change the scene, write files, or wait."""

quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
odd_paths = st.sampled_from(["/", "", "/nowhere", "relative", "/\0", "/dev/zero", {"b64": "/w=="}, {"b64": "?"}])
parameters = st.dictionaries(
    st.sampled_from(
        ["path", "limit", "kind", "min_score", "timeout_s", "album", "first", "other", "since", "accept_losses", "x"]
    ),
    odd_paths | values,
    max_size=4,
)
methods = st.sampled_from(sorted(set(METHODS) - CHANGES_THE_SCENE)) | st.text(max_size=12)
messages = st.fixed_dictionaries(
    {"v": st.just(1) | values, "id": st.integers(0, 9) | values, "method": methods | values},
    optional={"params": parameters | values, "bytes": st.integers(-1, 2**33) | values, "more": values},
)
torn = st.tuples(st.lists(messages, min_size=1, max_size=3), st.integers(0, 400), st.binary(max_size=6))


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a running daemon with a few images."""
    with living() as daemon:
        for seed in range(3):
            pictures.save(pictures.photograph(seed, (160, 112)), daemon.album / f"{seed}.jpg", quality=90)
        daemon.start()
        daemon.settle()
        yield daemon


def line(message: dict[str, Any]) -> bytes:
    """Return a message as a line, with whatever Python makes JSON of."""
    return json.dumps(message).encode(errors="surrogatepass") + b"\n"


def answers(daemon: Daemon, data: bytes) -> list[dict[str, Any]]:
    """Send bytes and no more, and return what is answered until the daemon has said all."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(daemon.state / "socket"))
        received = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
                if received.count(b"\n") > PROBES:
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
    return [json.loads(answer) for answer in received.splitlines() if answer.startswith(b"{")]


def lives(daemon: Daemon) -> None:
    """Check that the daemon is well and no handler has failed."""
    with Client([daemon.state / "socket"], timeout_s=PATIENCE_S) as client:
        assert client.status()["images"] == 3
    log = daemon.log.read_text()
    assert "handler failed" not in log, log
    assert "Traceback" not in log, log


@quick
@given(data=st.binary(max_size=300))
def test_any_bytes(daemon: Daemon, data: bytes) -> None:
    """What is no message is refused once, as such."""
    said = answers(daemon, data)
    assert [answer["error"]["code"] for answer in said] in ([], ["protocol"])
    lives(daemon)


@quick
@given(message=messages, blob=st.binary(max_size=50))
def test_any_message(daemon: Daemon, message: dict[str, Any], blob: bytes) -> None:
    """Fields of any type and value are answered, or refused by a code that is documented."""
    for answer in answers(daemon, line(message) + blob):
        assert "ok" in answer or answer["error"]["code"] in ERRORS
        assert "error" not in answer or answer["error"]["code"] != "internal", answer
    lives(daemon)


@quick
@given(torn=torn)
def test_torn_messages(daemon: Daemon, torn: tuple[list[dict[str, Any]], int, bytes]) -> None:
    """Good messages, cut and with other bytes where they were cut."""
    good, cut, inserted = torn
    data = b"".join(map(line, good))
    for answer in answers(daemon, data[:cut] + inserted + data[cut:]):
        assert "ok" in answer or answer["error"]["code"] in ERRORS
    lives(daemon)


@quick
@given(
    blob=st.binary(min_size=1, max_size=2_000),
    head=st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a"]),
)
def test_any_bytes_as_an_image(daemon: Daemon, blob: bytes, head: bytes) -> None:
    """They are refused as no image; no worker dies of them."""
    message = {"v": 1, "id": 1, "method": "query"}
    (answer,) = answers(daemon, encode(message, head + blob))
    assert answer["error"]["code"] in ("unreadable-image", "too-plain")
    lives(daemon)
