"""What the crew and the desk share: starting a worker, and what is said of one that was lost.

In: limits.  Out: a child process.  Never here: which file it reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cbir_daemon.child import SINGLE_THREADED, Child
from cbir_daemon.decode.messages import DecodeLimits, set_up_message

WORKER_MODULE: Final = "cbir_daemon.decode.worker"

# Importing Pillow from a slow disk, on a machine that is starting everything else as well.
START_TIMEOUT_S: Final = 60.0

CRASHED: Final = ("crashed", "the process that read it died; the file may be made to do harm")
CLOSED: Final = "the daemon is stopping"


def start_worker(limits: DecodeLimits) -> Child:
    """Return a worker that was told its limits; its first answer says that it is ready.

    Raises
    ------
    ChildError
        When it cannot be started.
    """
    child = Child(WORKER_MODULE, env=SINGLE_THREADED)
    child.send(set_up_message(limits))
    return child


def timed_out(limits: DecodeLimits) -> tuple[str, str]:
    """Return code and message for a file that took too long."""
    return "timed-out", f"reading it took longer than the {limits.timeout_s:g} s allowed by timeout_s"


def peak_memory_of(pid: int) -> int:
    """Return the largest resident memory, in bytes, that a process has had; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
