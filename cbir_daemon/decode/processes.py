"""What the crew and the desk share: a worker, and what is said of one that was lost.

In: limits.  Out: a child process.  Never here: which file it reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from cbir_daemon.decode.messages import FONTS, LOCAL_FEATURES, DecodeLimits, set_up_message
from cbir_daemon.decode.reader import Reader
from cbir_daemon.errors import ChildError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import SINGLE_THREADED, Child
from cbir_daemon.system.files import memory_bytes

WORKER_MODULE: Final = "cbir_daemon.decode.worker"

# Importing Pillow from a slow disk, on a machine that is starting everything else as well.
START_TIMEOUT_S: Final = 60.0

# A large picture lies in memory that is asked for anew each time.  In pages of 2 MiB, where the kernel has them, a
# large PNG takes a seventh less time.  glibc from 2.35; others pass it over.
_LARGE_PAGES: Final = "glibc.malloc.hugetlb=1"
_TUNABLES: Final = "GLIBC_TUNABLES"

CRASHED: Final = ("crashed", "the process that read it died; the file may be made to do harm")
CLOSED: Final = "the daemon is stopping"


class WorkerProcess(Child):
    """A decode worker that was told its limits and what it reads; its first answer says that it is ready.

    Parameters
    ----------
    limits : DecodeLimits
        What one file may cost.
    reader : Reader
        What it reads.
    loaded : set of str
        What it loads before it confines itself: names of extras, and `FONTS`.  Afterwards it can load nothing.
    module : str
        What it runs.

    Raises
    ------
    ChildError
        When it cannot be started.
    """

    def __init__(
        self, limits: DecodeLimits, reader: Reader, loaded: AbstractSet[str], module: str = WORKER_MODULE
    ) -> None:
        super().__init__(module, env={**SINGLE_THREADED, _TUNABLES: _tunables(os.environ)})
        self.loaded = frozenset(loaded)
        self._loadable = {FONTS, LOCAL_FEATURES, *(extra.name for extra in reader.extras)}
        try:
            self.send(set_up_message(limits, reader.module, self.loaded))
        except ChildError:
            self.close()
            raise

    def asked_for(self, frame: Frame) -> str:
        """Return what an answer says must be loaded before the file can be read; empty when it says nothing of that.

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
        if not isinstance(name, str) or (name and name not in self._loadable - self.loaded):
            raise ChildError("a decode worker asks for what it has, or for what there is not")
        return name


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
