"""Messages to the service manager, received on a real datagram socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbir_daemon.system.sdnotify import READY, STOPPING, WATCHDOG, notify, reloading, status, watchdog_interval_s


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """Return an unbound socket on which a manager would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(10)
        yield listener


def test_lines_arrive_as_one_message(manager: socket.socket, tmp_path: Path) -> None:
    """All lines of one call are one datagram, one a line."""
    manager.bind(str(tmp_path / "notify"))
    assert notify(READY, status("500 images\nindexed \udcff"), environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert manager.recv(4096) == b"READY=1\nSTATUS=500 images indexed ?"


def test_abstract_names_are_reached(manager: socket.socket) -> None:
    """A name that begins with @ lies in the abstract namespace."""
    name = f"cbir-test-{os.getpid()}"
    manager.bind(f"\0{name}")
    assert notify(STOPPING, environ={"NOTIFY_SOCKET": f"@{name}"})
    assert manager.recv(4096) == b"STOPPING=1"


def test_without_a_manager_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    """Without NOTIFY_SOCKET, or with an empty one, nobody is told and nothing is logged."""
    assert not notify(READY, environ={})
    assert not notify(READY, environ={"NOTIFY_SOCKET": ""})
    assert caplog.records == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "/" + "x" * 200, "vsock:2:1234"])
def test_a_manager_that_is_gone_stops_nobody(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """A socket that is not there, too long or of another kind is one warning that names it."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not notify(WATCHDOG, environ={"NOTIFY_SOCKET": address})
    (record,) = caplog.records
    assert address in record.getMessage()


def test_a_manager_that_comes_back_may_be_lost_again(
    manager: socket.socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each loss is one warning: after a message that arrived, the next loss is told."""
    path = tmp_path / "notify"
    environ = {"NOTIFY_SOCKET": str(path)}
    assert not notify(WATCHDOG, environ=environ)
    manager.bind(str(path))
    assert notify(WATCHDOG, environ=environ)
    path.unlink()
    assert not notify(WATCHDOG, environ=environ)
    assert len(caplog.records) == 2


def test_a_manager_that_never_reads_stops_nobody(manager: socket.socket, tmp_path: Path) -> None:
    """When the manager's queue is full, the message is dropped at once and the daemon goes on."""
    manager.bind(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    assert not all(notify(WATCHDOG, environ=environ) for _ in range(100_000))


def test_reloading_says_when() -> None:
    """A reload carries the monotonic time in microseconds."""
    before_us = time.monotonic_ns() // 1000
    line, when = reloading()
    assert line == "RELOADING=1"
    assert when.startswith("MONOTONIC_USEC=")
    assert before_us <= int(when.partition("=")[2]) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_pinged_twice_as_often_as_asked(environ: dict[str, str], interval_s: float | None) -> None:
    """The interval is half of WATCHDOG_USEC, and there is none when the variable is not for this process."""
    assert watchdog_interval_s(environ) == interval_s
