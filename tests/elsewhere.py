"""A plugin of pytest: what only Linux has is gone, as on another Unix.

In: nothing.  Out: modules of the standard library without the calls of Linux.  Never here: what is tested then.  Loaded
by `-p tests.elsewhere`, before the package is imported.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import socket
import sys
from types import ModuleType

import hypothesis  # noqa: F401 -- loads, where it is installed, what looks for names of Linux while it is imported

LINUX_ONLY: dict[ModuleType, tuple[str, ...]] = {
    os: (
        *("sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "pidfd_open", "memfd_create", "eventfd"),
        *("posix_fadvise", "O_PATH", "getxattr", "setxattr", "listxattr", "copy_file_range", "splice"),
        *("MFD_CLOEXEC", "MFD_ALLOW_SEALING", "SCHED_BATCH", "SCHED_IDLE"),
    ),
    socket: ("SO_PEERCRED",),
    select: ("epoll",),
    signal: ("sigtimedwait", "sigwaitinfo", "pidfd_send_signal", "SIGPWR"),
    resource: ("prlimit", "RLIMIT_NICE", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE"),
    fcntl: ("F_ADD_SEALS", "F_GET_SEALS", "F_SEAL_WRITE", "F_SEAL_GROW", "F_SEAL_SHRINK", "F_SEAL_SEAL"),
}

for _module, _names in LINUX_ONLY.items():
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)
sys.modules["watchdog.observers.inotify"] = sys.modules["watchdog.observers.inotify_c"] = None  # type: ignore[assignment]  # so that importing fails
