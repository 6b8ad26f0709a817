"""Sockets handed over as systemd hands them over: by number, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cbir_daemon.system.activation import FIRST_DESCRIPTOR, taken_listener

PROGRAM = """
import os, sys
from cbir_daemon.system.activation import taken_listener
from cbir_daemon.errors import ConfigError
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    listener = taken_listener()
except ConfigError as error:
    sys.exit(str(error))
left = [name for name in os.environ if name.startswith("LISTEN_")]
print(listener.getsockname(), os.get_inheritable(listener.fileno()), left)
"""


def listening(path: Path) -> socket.socket:
    """Return a Unix socket that listens at `path`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener


def handed_over(sockets: list[socket.socket], names: str = "") -> subprocess.CompletedProcess[str]:
    """Run `taken_listener` in a process that has these descriptors from the third on."""
    # Duplicates that lie high enough: `dup2` onto itself would leave a descriptor that is not inherited.
    high = [os.dup(listener.fileno()) for listener in sockets]
    moves = "".join(f"os.dup2({descriptor}, {FIRST_DESCRIPTOR + place});" for place, descriptor in enumerate(high))
    program = f"import os;{moves}{PROGRAM}"
    try:
        return subprocess.run(  # noqa: S603 -- our own interpreter and code
            [sys.executable, "-c", program],
            pass_fds=high,
            env=os.environ | {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for descriptor in high:
            os.close(descriptor)


def test_one_listening_socket_is_taken(tmp_path: Path) -> None:
    """The socket is taken, is not inherited by children, and neither are the variables."""
    with listening(tmp_path / "socket") as listener:
        done = handed_over([listener], "whatever.socket")
    assert done.stdout == f"{tmp_path / 'socket'} False []\n", done.stderr


def test_of_several_the_one_with_our_name_is_taken(tmp_path: Path) -> None:
    """FileDescriptorName=cbir tells which; without it the message says what the unit needs."""
    with listening(tmp_path / "one") as first, listening(tmp_path / "two") as second:
        assert handed_over([first, second], "other:cbir").stdout.startswith(str(tmp_path / "two"))
        refused = handed_over([first, second], "other:another")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "FileDescriptorName=cbir" in refused.stderr


def _datagram(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    return made


def _not_listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    return made


def _internet(path: Path) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize("make", [_datagram, _not_listening, _internet])
def test_what_is_no_listening_unix_stream_socket_is_refused(
    make: Callable[[Path], socket.socket], tmp_path: Path
) -> None:
    """A datagram socket, one that does not listen, and one of the network are each refused in one line."""
    with make(tmp_path / "socket") as refused:
        done = handed_over([refused])
    assert done.returncode == 1
    assert "no listening Unix stream socket: the socket unit needs ListenStream=" in done.stderr


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "soon", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_what_is_meant_for_others_is_left(environ: dict[str, str]) -> None:
    """Without the variables, or with those of another process, there is no socket; they are taken away all the same."""
    assert taken_listener(environ) is None
    assert environ == {}
