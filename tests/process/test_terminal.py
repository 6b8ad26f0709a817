"""Ctrl-C typed in a terminal: the command ends with its status, says nothing, and leaves all else as it was."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cbir_daemon.cli.ending import INTERRUPTED
from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon

pytestmark = pytest.mark.process

CTRL_C = b"\x03"
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"

READS = {"0", "63"}
"""Numbers of the call `read`: of x86-64, and of the machines that came later."""

INTERRUPTS = """
import os, signal, sys
def hear(event, arguments):
    if event == "import" and arguments[0] == {module!r}:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hear)
"""
"""A `sitecustomize` that types Ctrl-C when a module begins to be imported."""


def _as_from_a_shell() -> None:
    # What a session opens first becomes its terminal.
    os.close(os.open(os.ttyname(0), os.O_RDWR))
    # Tests that run in the background of a script hear no Ctrl-C, and what they start would not either.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A terminal, and the command that has it.

    Parameters
    ----------
    typed : int
        Descriptor of the end where a person types and reads.
    screen : int
        Descriptor of the end that the command has.
    """

    def __init__(self, typed: int, screen: int) -> None:
        self._typed = typed
        self._screen = screen
        self._settings = termios.tcgetattr(screen)
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str | Path], daemon: Daemon, **environ: str) -> None:
        """Start a command as a shell does: in a session that has the terminal."""
        self.process = subprocess.Popen(  # noqa: S603 -- our own commands
            command,
            cwd=daemon.home,
            env={**daemon.environ, "TERM": "xterm", **environ},
            stdin=self._screen,
            stdout=self._screen,
            stderr=self._screen,
            start_new_session=True,
            preexec_fn=_as_from_a_shell,
        )

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self._typed, keys)

    def wait(self) -> int:
        """Wait for the end of the command, and return its status."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def shown(self) -> bytes:
        """Return what stands on the screen so far."""
        os.set_blocking(self._typed, False)
        shown = b""
        with suppress(BlockingIOError):
            while data := os.read(self._typed, 2**16):
                shown += data
        os.set_blocking(self._typed, True)
        return shown

    def is_as_before(self) -> bool:
        """Return whether the terminal echoes and takes lines as it did."""
        now: list[Any] = termios.tcgetattr(self._screen)
        return now == self._settings


@contextmanager
def opened() -> Iterator[Terminal]:
    """Give a terminal."""
    typed, screen = pty.openpty()
    terminal = Terminal(typed, screen)
    try:
        yield terminal
    finally:
        if terminal.process is not None:
            terminal.process.kill()
            terminal.process.wait()
        os.close(typed)
        os.close(screen)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Give a terminal."""
    with opened() as terminal:
        yield terminal


def connected(pid: int) -> bool:
    """Return whether a process has a socket: it is asking the daemon."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return any(link.startswith("socket:") for link in links)


def reads_terminal(pid: int) -> bool:
    """Return whether a process waits for what is typed: it sleeps in a read of its standard input."""
    # By /proc/PID/syscall: the number of `read` on each machine, then the descriptor; "running" else.
    called = Path(f"/proc/{pid}/syscall").read_text().split()
    return called[1:2] == ["0x0"] and called[0] in READS


@pytest.mark.parametrize("words", [("settle",), ("alerts", "--follow"), ("query", "-")], ids=lambda words: words[0])
def test_a_command_that_is_interrupted(daemon: Daemon, terminal: Terminal, words: Sequence[str]) -> None:
    """It ends with 130 and says nothing; the terminal is as before, and the daemon answers the next command."""
    daemon.config.write_text("[watch]\nsettle_s = 3600\n[model]\nmin_images = 100000\n")
    daemon.start()
    # It waits for an hour to be quiet, so the index is not settled.
    pictures.save(pictures.photograph(1), daemon.album / "new.png")
    terminal.run([daemon.commands / "cbir", *words], daemon)
    assert terminal.process is not None
    waits = reads_terminal if words == ("query", "-") else connected
    while not waits(terminal.process.pid):
        assert terminal.process.poll() is None
    terminal.type(CTRL_C)
    assert terminal.wait() == INTERRUPTED
    assert terminal.shown().replace(b"\r\n", b"") in (b"", b"^C")
    assert terminal.is_as_before()
    assert daemon.json("album", "list")["albums"]
    assert daemon.process is not None
    assert daemon.process.poll() is None


@pytest.mark.parametrize(
    ("command", "module"),
    [(("cbir", "settle"), "click"), (("cbir-daemon", "run"), "numpy")],
    ids=["cbir", "cbir-daemon"],
)
def test_a_command_that_is_interrupted_while_it_loads(
    daemon: Daemon, terminal: Terminal, command: tuple[str, str], module: str
) -> None:
    """Nobody is shown the lines of a module that was being imported."""
    folder = daemon.home / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(INTERRUPTS.format(module=module))
    terminal.run([daemon.commands / command[0], *command[1:]], daemon, PYTHONPATH=str(folder))
    assert terminal.wait() == INTERRUPTED
    assert terminal.shown() == b""
    assert terminal.is_as_before()


def test_a_daemon_that_is_interrupted(daemon: Daemon, terminal: Terminal) -> None:
    """It stops in order, with its children, which the terminal's signal does not reach, and gives the cursor back."""
    pictures.write_album(daemon.album, 8)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(daemon.environ["NOTIFY_SOCKET"])
        manager.settimeout(PATIENCE_S)
        terminal.run([daemon.commands / "cbir-daemon", "run", daemon.album], daemon)
        while b"READY=1" not in manager.recv(4096).split(b"\n"):
            pass
    terminal.type(CTRL_C)
    assert terminal.wait() == 0
    shown = terminal.shown()
    assert b"Traceback" not in shown
    assert b"KeyboardInterrupt" not in shown
    assert shown.rfind(SHOW_CURSOR) >= shown.rfind(HIDE_CURSOR)
    assert terminal.is_as_before()
    assert not (daemon.state / "socket").exists()
