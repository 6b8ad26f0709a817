"""Tell the service manager how we are: lines in, one datagram to NOTIFY_SOCKET out.

Without a manager nothing happens.  Never here: what the daemon does, and when it is ready.

References
----------
sd_notify(3) for the lines, sd_watchdog_enabled(3) for the variables.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"
USEC = 1_000_000

_unreached: set[str] = set()
"""Addresses at which the last message was lost."""


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `lines` to the service manager as one message.

    Parameters
    ----------
    *lines : str
        Assignments, such as `READY` and `status("500 images")`.
    environ : mapping of str to str
        Its NOTIFY_SOCKET is a path, or `@` and a name in the abstract namespace.

    Returns
    -------
    bool
        Whether a manager got them.  A manager that cannot be reached is logged, once until it is, and is no reason to
        stop.

    Notes
    -----
    Never waits: a manager that does not read loses the message.  May be called from any thread.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    # The kernel marks an abstract name by a zero byte, the variable by an @.
    target = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto("\n".join(lines).encode("utf-8", "replace"), target)
        except OSError as error:
            # A daemon that indexes tells every few seconds how far it is.
            level = logging.DEBUG if address in _unreached else logging.WARNING
            log.log(level, "service manager not reached socket=%s error=%s", address, error)
            _unreached.add(address)
            return False
    _unreached.discard(address)
    return True


def status(text: str) -> str:
    """Return the line that `systemctl status` shows as `text`, newlines made spaces."""
    return f"STATUS={' '.join(text.split())}"


def reloading() -> tuple[str, str]:
    """Return the lines that say that the configuration is being read again; `READY` ends it."""
    # systemd tells by the time which of two overlapping reloads a READY=1 belongs to.
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often to send `WATCHDOG`, in seconds, or None when nobody watches this process.

    Half of what the manager allows, as sd_watchdog_enabled(3) advises.
    """
    allowed_us = environ.get("WATCHDOG_USEC", "")
    watched = environ.get("WATCHDOG_PID") or str(os.getpid())
    if not allowed_us.isdecimal() or int(allowed_us) == 0 or watched != str(os.getpid()):
        return None
    return int(allowed_us) / USEC / 2
