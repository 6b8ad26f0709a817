"""A real Dask scheduler and real workers for tests: the processes that `dask scheduler` and `dask worker` start.

In: how many workers.  Out: an address, and processes that can be killed.  Never here: what they compute, but for the
functions at the end, which workers find by their names.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from cbir_daemon.errors import ModelError
from tests.patience import PATIENCE_S

REPOSITORY = Path(__file__).parent.parent


class DaskCluster:
    """A scheduler and workers of one thread each, on the loopback address; `with` starts and kills them.

    Parameters
    ----------
    folder : Path
        For the files of the workers.
    workers : int
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._count = workers
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        port = self.address.rpartition(":")[2]
        self.scheduler = self._started("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        for _ in range(self._count):
            self.add_worker()
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            if process is not None:
                kill(process)

    def add_worker(self) -> None:
        """Start another worker; it may come later than this returns."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self._folder))
        self.workers.append(self._started("worker", self.address, *options))

    def _started(self, *argv: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            # From the repository, so that workers find the functions below.
            return subprocess.Popen([sys.executable, "-m", "dask", *argv], cwd=REPOSITORY, stdout=log, stderr=log)  # noqa: S603 -- ours

    def _wait(self) -> None:
        """Return when all workers are there."""
        # Tests without the extra import this module, too.
        distributed = importlib.import_module("distributed")
        with distributed.Client(self.address, timeout=PATIENCE_S, set_as_default=False) as client:
            if self._count:
                client.wait_for_workers(self._count, timeout=PATIENCE_S)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process as the kernel does when memory is out; harmless when it has ended."""
    process.kill()
    process.wait(PATIENCE_S)


def free_port() -> int:
    """Return a port of the loopback address on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def process_and_sum(shared: int, item: int) -> tuple[int, int]:
    """Return who computes, and the sum."""
    return os.getpid(), shared + item


def deadly_once(shared: str, item: int) -> int:
    """Return the square; the first worker that is asked for that of 5 dies of it.

    Parameters
    ----------
    shared : str
        A file that is there once it has died.
    item : int
    """
    marker = Path(shared)
    if item == 5 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def refused(_shared: int, item: int) -> int:
    """Raise an error of ours."""
    raise ModelError(f"no map of {item}", hint="add images")
