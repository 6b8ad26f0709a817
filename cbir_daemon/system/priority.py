"""How much a thread of ours stands back.

In: nothing.  Out: a thread of lower priority.  Never here: which threads.
"""

import os
import threading

NICENESS = 10


def be_nice() -> None:
    """Let other threads go first: on Linux niceness belongs to the thread."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
