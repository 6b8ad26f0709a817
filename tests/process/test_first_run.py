"""The first run of the daemon: at a terminal it asks which folders to watch, elsewhere it says what is missing."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon

pytestmark = pytest.mark.process


class Terminal:
    """A command at a pseudo-terminal, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self._printed = ""

    def reads(self, words: str) -> str:
        """Return what was printed up to some words, and forget it; fails when the command ends before."""
        while words not in self._printed:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # EIO: the other side is closed.
                data = b""
            assert data, f"{words!r} is not in {self._printed!r}"
            self._printed += data.decode()
        before, _, self._printed = self._printed.partition(words)
        return before

    def types(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, text.encode() + b"\n")


@contextmanager
def at_terminal(daemon: Daemon, *argv: str | Path) -> Iterator[Terminal]:
    """Run `cbir-daemon run` at a terminal, in a home without a configuration."""
    master, slave = pty.openpty()
    environ = {name: value for name, value in daemon.environ.items() if name not in ("CBIR_CONFIG", "NOTIFY_SOCKET")}
    try:
        process = subprocess.Popen(  # noqa: S603 -- our own command
            [daemon.commands / "cbir-daemon", "run", *argv],
            cwd=daemon.home,
            env={**environ, "COLUMNS": "200", "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    finally:
        os.close(master)


def test_it_asks_writes_and_watches(daemon: Daemon) -> None:
    """A wrong answer is asked again, two folders are written down, the daemon runs and the next one does not ask."""
    more, file = daemon.home / 'more "odd"', daemon.home / ".config" / "cbir" / "config.toml"
    more.mkdir()
    pictures.save(pictures.photograph(1, (160, 112)), more / "a.jpg", quality=90)
    (daemon.home / "Pictures").mkdir()
    with at_terminal(daemon) as terminal:
        terminal.reads("Which folders hold your pictures?")
        assert str(daemon.home / "Pictures") in terminal.reads("]: ")
        terminal.types("nowhere")
        terminal.reads(f"{daemon.home}/nowhere: is no folder")
        terminal.reads("]: ")
        terminal.types("~/album")
        terminal.reads("nothing to start")
        terminal.types(str(more))
        terminal.reads("nothing to start")
        terminal.types("")
        terminal.reads(f"Wrote {file}")
        terminal.reads("ready")
        assert sorted(album["path"] for album in daemon.json("album", "list")["albums"]) == sorted(
            map(str, (daemon.album, more))
        )
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(PATIENCE_S) == 0
    assert tomllib.loads(file.read_text()) == {"album": [{"path": str(daemon.album)}, {"path": str(more)}]}
    with at_terminal(daemon) as terminal:
        assert "folders" not in terminal.reads("ready")


@pytest.mark.parametrize("typed", ["\x03", "\x04"], ids=["Ctrl-C", "end of input"])
def test_who_gives_up_has_changed_nothing(daemon: Daemon, typed: str) -> None:
    """No file is written, and the status is that of an interruption."""
    with at_terminal(daemon) as terminal:
        terminal.reads("Folder")
        # Twice: the first end of input ends a line that was begun.
        terminal.types(typed * 2)
        if typed == "\x03":
            # The terminal is not the controlling one of this session.
            terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(PATIENCE_S) == 130
    assert not (daemon.home / ".config").exists()
    assert not daemon.state.exists()


def test_with_an_album_it_does_not_ask(daemon: Daemon) -> None:
    """What the command line names is watched, and no file is written."""
    with at_terminal(daemon, daemon.album) as terminal:
        assert "folders" not in terminal.reads("ready")
    assert not (daemon.home / ".config").exists()


def test_elsewhere_it_says_what_is_missing(daemon: Daemon) -> None:
    """Without a terminal there is nobody to ask: one line, and the status of a wrong command line."""
    done = daemon.run("run", command="cbir-daemon")
    assert done.returncode == 64
    *_, line = done.stderr.decode().splitlines()
    assert line == ("cbir-daemon: no album is given and none is remembered: name a folder: cbir-daemon run ~/Pictures")
