"""A daemon on a state of its own, for benchmarks.

In: a home, an album, settings.  Out: a daemon that runs, what it says and what it uses.  Never here: what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from cbir_daemon.client import Client

COMMANDS = Path(sys.executable).parent
START_TIMEOUT_S = 600.0
"""To make the codes of 100 000 contents takes a quarter of a minute on quiet cores."""

POLL_S = 0.05
MIB = 1024 * 1024


class Daemon:
    """A daemon on a state of its own."""

    def __init__(self, home: Path, album: Path, model: str, settings: str = "") -> None:
        self._home = home
        self._album = album
        config = home / "config.toml"
        config.write_text(f"{settings}\n[model]\n{model}\n")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CBIR_"))},
            "CBIR_STATE": str(home / "state"),
            "CBIR_CONFIG": str(config),
            "NOTIFY_SOCKET": str(home / "notify"),
        }

    def start(self) -> float:
        """Start and return the seconds until READY."""
        (self._home / "notify").unlink(missing_ok=True)
        before = time.perf_counter()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self._home / "notify"))
            manager.settimeout(START_TIMEOUT_S)
            with (self._home / "log").open("ab") as log:
                command: list[str | Path] = [COMMANDS / "cbir-daemon", "run", "--quiet", self._album]
                self._process = subprocess.Popen(command, env=self.environ, stderr=log)  # noqa: S603 -- ours
            self._wait_ready(manager)
        return time.perf_counter() - before

    def _wait_ready(self, manager: socket.socket) -> None:
        try:
            while b"READY=1" not in manager.recv(4096).split(b"\n"):
                pass
        except TimeoutError as error:
            raise click.ClickException((self._home / "log").read_text()) from error

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        return self._process.pid

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self._home / "state" / "socket"

    def stop(self) -> None:
        """Stop in order."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def ask(self, *argv: str | Path) -> Any:  # noqa: ANN401 -- JSON
        """Run `cbir` and return its document."""
        done = subprocess.run(  # noqa: S603 -- ours
            [COMMANDS / "cbir", *argv, "--json"], env=self.environ, capture_output=True, check=False
        )
        if done.returncode > 1:
            raise click.ClickException(done.stderr.decode())
        return json.loads(done.stdout)

    def wait_indexed(self, count: int, poll_s: float = POLL_S) -> float:
        """Return the seconds until `count` files are read.

        Parameters
        ----------
        count : int
        poll_s : float
            Seconds between two looks: each takes a millisecond and more of the daemon's time.
        """
        before = time.perf_counter()
        # One connection: starting `cbir` again and again would take a core from what is measured.
        with Client([self.socket_path]) as client:
            while True:
                status = client.status()
                if status["images"] + status["errors"] >= count:
                    return time.perf_counter() - before
                time.sleep(poll_s)

    def groups(self) -> list[list[str]]:
        """Return the paths of each group of duplicates; those that are no text are left out."""
        with Client([self.socket_path]) as client:
            found = client.duplicates()["groups"]
        return [[image["path"] for image in group["images"] if isinstance(image["path"], str)] for group in found]

    def resident_mib(self) -> float:
        """Return the resident memory of the daemon itself, without its children."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def family_mib(self) -> float:
        """Return the memory of the daemon and all that it started; what they share counts once."""
        return sum(map(_proportional_kib, self._family())) / 1024

    def cpu_s(self) -> float:
        """Return the processor time that the daemon itself has used."""
        return sum(_ticks(self.pid)[:2]) / os.sysconf("SC_CLK_TCK")

    def family_cpu_s(self, without: str = "") -> float:
        """Return the processor time that the daemon and all that it started have used, those that ended among them.

        Parameters
        ----------
        without : str
            Name of a module: processes that run it and are there now are left out.
        """
        family = [
            pid for pid in self._family() if not without or without not in _of_process(pid, "cmdline").split("\0")
        ]
        return sum(sum(_ticks(pid)) for pid in family) / os.sysconf("SC_CLK_TCK")

    def _family(self) -> list[int]:
        family = [self.pid]
        for pid in family:
            family += children(pid)
        return family


def _ticks(pid: int) -> list[int]:
    """Return the time of a process in and for programs, and that of its children that ended; nothing once it ended."""
    return [int(field) for field in _of_process(pid, "stat").rpartition(")")[2].split()[11:15]]


def _of_process(pid: int, name: str) -> str:
    """Return what the kernel tells of a process; nothing once it ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""


def _proportional_kib(pid: int) -> int:
    """Return the proportional set size of a process: a page that several map is divided among them."""
    return sum(
        int(line.split()[1]) for line in _of_process(pid, "smaps_rollup").splitlines() if line.startswith("Pss:")
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still live."""
    # A thread or the process may end meanwhile.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        tasks = [task.name for task in Path(f"/proc/{pid}/task").iterdir()]
        return [int(child) for task in tasks for child in _of_process(pid, f"task/{task}/children").split()]
    return []
