"""What batch workers and request workers share: a worker, and what is said of one that was lost.

In: limits.  Out: child processes, forked from one that has loaded what they need.  Never here: which file they read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from cbir_daemon.decode.messages import FONTS, LOCAL_FEATURES, DecodeLimits, load_message, set_up_message
from cbir_daemon.decode.reader import Readers
from cbir_daemon.errors import ChildError, UnavailableError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Child
from cbir_daemon.system.files import memory_bytes
from cbir_daemon.system.forking import ForkServer

WORKER_MODULE: Final = "cbir_daemon.decode.worker"
SERVER_MODULE: Final = "cbir_daemon.decode.fork_server"

# Importing Pillow from a slow disk, on a machine that is starting everything else as well.
START_TIMEOUT_S: Final = 60.0

# A large picture lies in memory that is asked for anew each time.  In pages of 2 MiB, where the kernel has them, a
# large PNG takes a seventh less time.  glibc from 2.35; others pass it over.
_LARGE_PAGES: Final = "glibc.malloc.hugetlb=1"
_TUNABLES: Final = "GLIBC_TUNABLES"

CRASHED: Final = ("crashed", "the process that read it died; the file may be made to do harm")
CLOSED: Final = "the daemon is stopping"


class Workers:
    """Starts workers: forks them from a process that has loaded what they read by.  Thread-safe.

    Parameters
    ----------
    limits : DecodeLimits
        What one file may cost.
    readers : Readers
        What they read.
    module : str
        Whose `WORKER` they are.
    """

    def __init__(self, limits: DecodeLimits, readers: Readers, module: str = WORKER_MODULE) -> None:
        self._limits = limits
        self._readers = readers
        self._module = module
        # Guards what follows.
        self._lock = threading.Lock()
        self._peak_bytes = 0
        self._server: ForkServer | None = None
        self._loaded: frozenset[str] = frozenset()
        # Names of what files and requests have asked for.
        self._named: frozenset[str] = frozenset()
        self._closed = False

    def open(self) -> None:
        """Start the process that workers are forked from, so that it loads meanwhile; nothing is waited for.

        Raises
        ------
        ChildError
            When it cannot be started.
        """
        self._current_server()

    def name(self, name: str) -> None:
        """Have workers that are started from now on load what a file or a request has asked for.

        Parameters
        ----------
        name : str
            Of an extra, `FONTS` or `LOCAL_FEATURES`.
        """
        with self._lock:
            self._named |= {name}

    def is_current(self, worker: WorkerProcess) -> bool:
        """Return whether a worker lives and has loaded all that was asked for."""
        return worker.running and self._named <= worker.loaded

    def started(self) -> WorkerProcess:
        """Return a new worker that has loaded all that was asked for.

        Raises
        ------
        ChildError
            When none can be started.
        UnavailableError
            When this is closed.
        """
        server, loaded = self._current_server()
        try:
            return self._worker(server, loaded)
        except ChildError:
            # It may have been killed for want of memory, or by somebody.
            self._forget(server)
        server, loaded = self._current_server()
        try:
            return self._worker(server, loaded)
        except ChildError as error:
            self._forget(server)
            raise ChildError("decode workers die while they start", hint="see the log for what they print") from error

    def _worker(self, server: ForkServer, loaded: frozenset[str]) -> WorkerProcess:
        worker = WorkerProcess.started(self._module, set_up_message(self._limits), start=server.start)
        worker.loaded = loaded
        worker.loadable = {FONTS, LOCAL_FEATURES, *(extra.name for extra in self._readers.extras)} - loaded
        return worker

    def _current_server(self) -> tuple[ForkServer, frozenset[str]]:
        """Return a server that has loaded all that was asked for, and what that is."""
        with self._lock:
            if self._closed:
                raise UnavailableError(CLOSED)
            if self._server is None or self._loaded != self._named:
                loaded = self._named
                message = load_message(self._readers, self._module, loaded)
                server = ForkServer(Child.started(SERVER_MODULE, message, env=_environment()))
                if self._server is not None:
                    self._server.retire()
                self._server, self._loaded = server, loaded
            return self._server, self._loaded

    def _forget(self, server: ForkServer) -> None:
        with self._lock:
            if server is self._server:
                self._server = None
        server.close()

    def measure(self, workers: Iterable[WorkerProcess]) -> int:
        """Return the largest resident memory, in bytes, that any worker is known to have had until now.

        Parameters
        ----------
        workers : iterable of WorkerProcess
            Those that are looked at; each is looked at before it is closed.
        """
        peaks = [peak_memory_of(worker.pid) for worker in workers]
        with self._lock:
            self._peak_bytes = max([self._peak_bytes, *peaks])
            return self._peak_bytes

    def stop(self) -> None:
        """Start none any more; who waits for a server that loads need wait no longer."""
        with self._lock:
            self._closed = True
            if self._server is not None and not self._server.is_ready:
                self._server.kill()

    def close(self) -> None:
        """Kill what workers are forked from, after those have gone."""
        self.stop()
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._server = None


class WorkerProcess(Child):
    """A decode worker that was told its limits; its first answer says that it is ready."""

    loaded: AbstractSet[str] = frozenset()
    """What the server has loaded: names of extras, `FONTS` and `LOCAL_FEATURES`.  A worker can load nothing else."""
    loadable: AbstractSet[str] = frozenset()
    """Names of what another worker could have loaded."""

    def asked_for(self, frame: Frame) -> str:
        """Return the names that must be loaded before the file can be read, by an answer; empty when it has none.

        Parameters
        ----------
        frame : Frame
            An answer of this worker.

        Returns
        -------
        str
            Name of an extra, or `FONTS`.

        Raises
        ------
        ChildError
            When the name is unknown or the worker has loaded it: one that lies must not have workers start for ever.
        """
        name = frame.message.get("wants", "")
        if not isinstance(name, str) or (name and name not in self.loadable):
            raise ChildError("a decode worker asks for a module that it has loaded already, or that does not exist")
        return name


def _environment() -> dict[str, str]:
    """Return the variables that the server, and so its workers, get on top of our own."""
    return {_TUNABLES: _tunables(os.environ)}


def _tunables(environ: Mapping[str, str]) -> str:
    """Return the environment's tunables with ours in front: of two values for one tunable glibc takes the last."""
    return ":".join(filter(None, (_LARGE_PAGES, environ.get(_TUNABLES))))


def timed_out(limits: DecodeLimits) -> tuple[str, str]:
    """Return code and message for a file that took too long."""
    return "timed-out", f"reading it took longer than the {limits.timeout_s:g} s allowed by timeout_s"


def peak_memory_of(pid: int) -> int:
    """Return the largest resident memory, in bytes, that a process has had; 0 when it is gone."""
    try:
        return memory_bytes(Path(f"/proc/{pid}/status"), "VmHWM")
    except OSError:
        return 0
