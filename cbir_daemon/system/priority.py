"""How much a thread of ours stands back.

In: nothing.  Out: a thread of lower priority.  Never here: which threads.
"""

import os
import threading

NICENESS = 10
"""On top of the process's own."""

HIGHEST = 19


def be_nice() -> None:
    """Let other threads go first: on Linux niceness belongs to the thread."""
    # The number of a process is that of its main thread.  Who was started at 15 may not go back to 10.
    own = os.getpriority(os.PRIO_PROCESS, os.getpid())
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(HIGHEST, own + NICENESS))
