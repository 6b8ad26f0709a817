"""A real daemon in a folder of its own, driven as a user does: by signals and commands; what only waits is a client."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cbir_daemon.client import Client
from tests.patience import PATIENCE_S

COMMANDS = Path(sys.executable).parent
SETTLE_S = 0.3
SETTLES = 50
"""How often a test settles before it gives up waiting for a line in the log."""

NO_MAP = "min_images = 100000"
"""Lines for [model]: no test but the slow one waits for numba to compile."""


class Daemon:
    """A daemon's home: album, state, configuration; and the process while it runs.

    Everything runs in the home: Python puts the current folder first on the import path of a child that it starts by a
    module's name, so in a checkout the child would be the checkout's.

    Parameters
    ----------
    home : Path
        A folder with a short name: socket paths end at 107 bytes.
    model : str
        Lines for the [model] section of the configuration.
    commands : Path
        The folder of `cbir` and `cbir-daemon`: those beside this Python, or another installation's.
    """

    def __init__(self, home: Path, model: str = NO_MAP, commands: Path = COMMANDS) -> None:
        self.home = home
        self.commands = commands
        self.album = home / "album"
        self.state = home / "state"
        self.config = home / "config.toml"
        self.log = home / "log"
        self.album.mkdir(exist_ok=True)
        self.config.write_text(f"[watch]\nsettle_s = {SETTLE_S}\n[model]\n{model}\n[log]\nlevel = 'debug'\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CBIR_"))}
        self.environ = {
            **kept,
            "HOME": str(home),
            "CBIR_STATE": str(self.state),
            "CBIR_CONFIG": str(self.config),
            "NOTIFY_SOCKET": str(home / "notify"),
        }
        # A command that becomes the daemon, such as `unshare`.
        self.before: Sequence[str] = ()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *argv: str | Path) -> None:
        """Start as systemd would, and return when the daemon says READY=1."""
        assert self.process is None
        notify = self.home / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(notify))
            with self.log.open("ab") as log:
                command = [*self.before, self.commands / "cbir-daemon", "run", "--quiet", *(argv or (self.album,))]
                self.process = subprocess.Popen(command, cwd=self.home, env=self.environ, stderr=log, stdout=log)  # noqa: S603 -- ours
            ended = os.pidfd_open(self.process.pid)
            try:
                while manager.fileno() in (readable := select.select([manager.fileno(), ended], [], [], PATIENCE_S)[0]):
                    if b"READY=1" in manager.recv(4096).split(b"\n"):
                        return
            finally:
                os.close(ended)
            raise AssertionError(f"it {'ended' if readable else 'is not ready'}:\n{self.log.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the process to end and return its status."""
        assert self.process is not None
        status = self.process.wait(PATIENCE_S)
        self.process = None
        return status

    def stop(self) -> int:
        """Stop in order and return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the process as the kernel does when memory is out."""
        self.signal(signal.SIGKILL)
        self.wait()

    def run(self, *argv: str | Path, stdin: bytes = b"", command: str = "cbir") -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        # What a user starts has no service manager.
        environ = {name: value for name, value in self.environ.items() if name != "NOTIFY_SOCKET"}
        return subprocess.run(  # noqa: S603 -- our own commands
            [self.commands / command, *argv],
            cwd=self.home,
            env=environ,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def popen(self, *argv: str | Path) -> subprocess.Popen[bytes]:
        """Start `cbir` and return at once; its output is a pipe."""
        command = [self.commands / "cbir", *argv]
        return subprocess.Popen(command, cwd=self.home, env=self.environ, stdout=subprocess.PIPE)  # noqa: S603 -- ours

    def json(self, *argv: str | Path) -> Any:  # noqa: ANN401 -- JSON
        """Run `cbir ... --json`, which must find something, and return the document."""
        done = self.run(*argv, "--json")
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def settle(self) -> Any:  # noqa: ANN401 -- JSON
        """Wait until everything is done and return the status, without the start of a command for each."""
        with self.client() as client:
            client.settle(PATIENCE_S)
            return client.status()

    def client(self) -> Client:
        """Return a client in this process."""
        return Client([self.state / "socket"])

    def settled_until_log_says(self, words: str) -> Any:  # noqa: ANN401 -- JSON
        """Settle until the log holds `words`, and return the status; a signal is taken up when the kernel likes."""
        for _ in range(SETTLES):
            status = self.settle()
            if words in self.log.read_text():
                return status
        raise AssertionError(f"{words!r} is not in the log:\n{self.log.read_text()}")

    def matches(self, image: Path, *argv: str) -> list[dict[str, Any]]:
        """Return the matches of a query, none included."""
        done = self.run("query", image, *argv, "--json")
        assert done.returncode in (0, 1), done.stderr.decode()
        found: list[dict[str, Any]] = json.loads(done.stdout)["matches"]
        assert done.returncode == (0 if found else 1)
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Return every alert so far."""
        return [json.loads(line) for line in self.run("alerts", "--json").stdout.splitlines()]


@contextmanager
def ended(daemon: Daemon) -> Iterator[Daemon]:
    """Give a daemon, and kill what an error leaves of it."""
    try:
        yield daemon
    finally:
        if daemon.process is not None:
            with contextlib.suppress(ProcessLookupError):
                daemon.process.kill()
            daemon.process.wait()


@contextmanager
def living(model: str = NO_MAP) -> Iterator[Daemon]:
    """Give a daemon that is not started yet; afterwards it must stop in order and leave no process."""
    home = Path(tempfile.mkdtemp(prefix="cbir"))
    try:
        with ended(Daemon(home, model)) as daemon:
            yield daemon
            if daemon.process is not None:
                assert daemon.stop() == 0, daemon.log.read_text()
            log = daemon.log.read_text() if daemon.log.exists() else ""
            assert "Traceback" not in log, log
    finally:
        shutil.rmtree(home)
