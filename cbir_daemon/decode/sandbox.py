"""Take away from a worker what it does not need, for good.

In: limits.  Out: a process that cannot grow, gain privileges or leave a core file.  Never here: images.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import resource
import sys
from typing import Final

# <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS: Final = 38

_STDERR: Final = 2

# The daemon's own clock ends a file first; this ends a worker that nobody watches any more.
_CPU_GRACE_S: Final = 5.0


def confine(max_memory_bytes: int) -> None:
    """Limit the address space, forbid core files and new privileges.

    Parameters
    ----------
    max_memory_bytes : int
        Address space of this process; what asks for more gets `MemoryError`.
    """
    _lower(resource.RLIMIT_AS, max_memory_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def allow_cpu_time(seconds: float) -> None:
    """Let this process use about `seconds` of processor time from now on; the kernel kills it after that."""
    used = sum(os.times()[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(used + seconds + _CPU_GRACE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def silence_libraries() -> None:
    """Send what libraries say about damaged files nowhere; a traceback still reaches standard error."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    sys.stderr = os.fdopen(os.dup(_STDERR), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def _lower(kind: int, limit: int) -> None:
    # A hard limit set from outside may be lower already; it cannot be raised.
    hard = resource.getrlimit(kind)[1]
    lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (lowest, lowest))
