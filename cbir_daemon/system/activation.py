"""The listening sockets that a service manager made before it started us: descriptors in, sockets out.

systemd listens first and starts the daemon at the first connection, or at the machine's start, and keeps the socket
through restarts: no client is refused meanwhile.  Never here: binding, and what is said on the socket.

References
----------
sd_listen_fds(3) for the variables, systemd.socket(5) for FileDescriptorName.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from cbir_daemon.errors import ConfigError
from cbir_daemon.wording.counting import counted

FIRST_DESCRIPTOR = 3
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
NAME = "cbir"
"""FileDescriptorName of our socket, where a unit hands over more than one."""


def taken_listeners(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return every listening stream socket that was handed over to this process, of whatever family.

    Parameters
    ----------
    environ : mutable mapping of str to str
        The variables are taken out of it, so that no child believes they are meant for it.

    Raises
    ------
    ConfigError
        When one of them is no listening stream socket.
    """
    descriptors, _ = _handed_over(environ)
    return [_checked(descriptor) for descriptor in descriptors]


def taken_listener(environ: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """Return the listening socket that was handed over to this process, or None when there is none.

    Parameters
    ----------
    environ : mutable mapping of str to str
        The variables are taken out of it, so that no child believes they are meant for it.

    Raises
    ------
    ConfigError
        When what was handed over is not one listening Unix stream socket, or of several none is called `NAME`.
    """
    descriptors, names = _handed_over(environ)
    if not descriptors:
        return None
    listener = _checked(_chosen(descriptors, names))
    if listener.family == socket.AF_UNIX:
        return listener
    raise _no_listener(listener.detach())


def _handed_over(environ: MutableMapping[str, str]) -> tuple[range, list[str]]:
    """Return the descriptors that are meant for this process, and their names."""
    pid, count, names = (environ.pop(name, "") for name in VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal():
        return range(0), []
    descriptors = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors, names.split(":")


def _chosen(descriptors: range, names: list[str]) -> int:
    if len(descriptors) == 1:
        return descriptors[0]
    named = [descriptor for descriptor, name in zip(descriptors, names, strict=False) if name == NAME]
    if len(named) != 1:
        raise ConfigError(
            f"the socket unit passed {counted(len(descriptors), 'socket')}, {len(named)} of them called {NAME!r}",
            hint=f"give the socket unit one ListenStream, or FileDescriptorName={NAME}",
        )
    return named[0]


def _checked(descriptor: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
        if listener.type == socket.SOCK_STREAM and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return listener
        listener.detach()
    except OSError as error:
        raise ConfigError(
            f"the socket unit passed descriptor {descriptor}, which is no socket: {error.strerror}"
        ) from error
    raise _no_listener(descriptor)


def _no_listener(descriptor: int) -> ConfigError:
    return ConfigError(
        f"the socket unit passed descriptor {descriptor}, which is no listening Unix stream socket",
        hint="the socket unit needs ListenStream= with a path",
    )
