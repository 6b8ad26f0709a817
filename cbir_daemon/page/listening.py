"""The sockets of the page: a loopback address, or what the service manager made.

In: a port, or a path.  Out: bound sockets, and under which names they are asked.  Never here: what is said on them.

Nothing but the machine's own loopback is ever bound or taken over, nor a Unix socket that others may open.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cbir_daemon.errors import ConfigError, InUseError
from cbir_daemon.system.activation import taken_listeners

DEFAULT_PORT = 8417
"""Registered for nothing; the socket unit listens on it."""

LAST_PORT = 65535
HOST = "127.0.0.1"
HOST_6 = "::1"
NAMES = (HOST, "localhost", f"[{HOST_6}]")
"""By which a browser of this machine may ask."""

HTTP_PORT = 80
"""Browsers leave it out."""

NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
OWNER_ONLY = 0o600
ANY_PORT = 0
TRIES = 8
"""How often another port is taken when the IPv6 address has the first one in use."""

HOSTS_SETTING = "page.hosts"


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the page listens.

    Parameters
    ----------
    sockets : tuple of socket.socket
        Bound; all TCP, or one Unix socket.
    hosts : frozenset of bytes
        Exact values that a request's Host may have.
    origins : frozenset of bytes
        Exact values that the Origin of a POST may have.
    address : str
        What a browser opens, without the secret; empty behind a proxy without a name.
    """

    sockets: tuple[socket.socket, ...]
    hosts: frozenset[bytes]
    origins: frozenset[bytes]
    address: str


def opened(port: int | None, unix: Path | None, hosts: Sequence[str]) -> Doors:
    """Return where a page listens: where it is told to, or on the service manager's sockets, or on the usual port.

    Parameters
    ----------
    port : int or None
        Of the loopback addresses; 0 takes a free one.
    unix : Path or None
        Of a Unix socket; it comes before the port.
    hosts : sequence of str
        By which browsers ask the proxy in front of a Unix socket.

    Raises
    ------
    InUseError
        When another program listens there.
    ConfigError
        When it cannot be listened there, or others would reach it.
    """
    if unix is not None:
        return on_unix_socket(unix, hosts)
    if port is None and (listeners := taken_listeners()):
        return handed_over(listeners, hosts)
    return on_loopback(DEFAULT_PORT if port is None else port)


def on_loopback(port: int) -> Doors:
    """Bind a port of the loopback addresses.

    Parameters
    ----------
    port : int
        0 takes a free one.

    Raises
    ------
    InUseError
        When another program has the port.
    ConfigError
        When this user may not have it.
    """
    for _ in range(TRIES if port == ANY_PORT else 1):
        first = _bound(socket.AF_INET, HOST, port)
        try:
            second = _maybe_bound_6(first.getsockname()[1])
        except InUseError:
            first.close()
            if port != ANY_PORT:
                raise
        else:
            return _by_tcp((first,) if second is None else (first, second))
    raise InUseError(f"no port of {HOST} and {HOST_6} is free", hint="name one with --port")


def on_unix_socket(path: Path, hosts: Sequence[str]) -> Doors:
    """Bind a Unix socket of mode 0600, behind which a proxy asks.

    Parameters
    ----------
    path : Path
        What nobody listens on any more is replaced.
    hosts : sequence of str
        By which browsers ask the proxy.

    Raises
    ------
    InUseError
        When another program listens there, or something else lies there.
    ConfigError
        When no host is named, or the socket cannot be made.
    """
    _check_named(hosts)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        _remove_dead(path)
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{path}: cannot listen there: {error.strerror or error}", hint="give another path"
        ) from error
    except InUseError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return _by_unix(listener, hosts)


def handed_over(listeners: Sequence[socket.socket], hosts: Sequence[str]) -> Doors:
    """Take the sockets of a service manager, which must be as safe as our own.

    Parameters
    ----------
    listeners : sequence of socket.socket
        At least one.
    hosts : sequence of str
        By which browsers ask the proxy in front of a Unix socket.

    Raises
    ------
    ConfigError
        When one is reached from elsewhere, or by others.
    """
    families = {listener.family for listener in listeners}
    if families == {socket.AF_UNIX} and len(listeners) == 1:
        _check_named(hosts)
        _check_owner_only(listeners[0])
        return _by_unix(listeners[0], hosts)
    if not families <= {socket.AF_INET, socket.AF_INET6}:
        raise ConfigError("the socket unit passed several kinds of sockets", hint="give it loopback ports, or one path")
    ports = {listener.getsockname()[1] for listener in listeners}
    for listener in listeners:
        host = listener.getsockname()[0]
        if not ipaddress.ip_address(host).is_loopback:
            raise ConfigError(
                f"the socket unit listens on {host}, which other machines reach", hint=f"ListenStream={HOST}:PORT"
            )
    if len(ports) > 1:
        raise ConfigError("the socket unit passed several ports", hint="give it one")
    return _by_tcp(tuple(listeners))


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno in NO_SUCH_ADDRESS:
            raise
        if error.errno == errno.EADDRINUSE:
            raise InUseError(f"{host}:{port}: another program listens there", hint="name another --port") from error
        raise ConfigError(f"{host}:{port}: {(error.strerror or '').lower()}", hint="name another --port") from error
    return listener


def _maybe_bound_6(port: int) -> socket.socket | None:
    """Return a socket of the IPv6 loopback; None where this machine has none."""
    try:
        return _bound(socket.AF_INET6, HOST_6, port)
    except OSError as error:
        if error.errno in NO_SUCH_ADDRESS:
            return None
        raise


def _by_tcp(sockets: tuple[socket.socket, ...]) -> Doors:
    port = sockets[0].getsockname()[1]
    names = [f"{name}:{port}" for name in NAMES]
    if port == HTTP_PORT:
        names += NAMES
    return Doors(
        sockets,
        hosts=frozenset(name.encode() for name in names),
        origins=frozenset(f"http://{name}".encode() for name in names),
        address=f"http://{HOST if sockets[0].family == socket.AF_INET else NAMES[-1]}:{port}/",
    )


def _by_unix(listener: socket.socket, hosts: Sequence[str]) -> Doors:
    return Doors(
        (listener,),
        hosts=frozenset(host.encode() for host in hosts),
        # Without TLS the secret would travel in the clear.
        origins=frozenset(f"https://{host}".encode() for host in hosts),
        address=f"https://{hosts[0]}/",
    )


def _check_named(hosts: Sequence[str]) -> None:
    if not hosts:
        raise ConfigError(
            f"{HOSTS_SETTING} is empty",
            hint='name the host by which browsers reach the proxy: hosts = ["photos.example.org"]',
        )


def _check_owner_only(listener: socket.socket) -> None:
    path = Path(os.fsdecode(listener.getsockname()))
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode != OWNER_ONLY:
        raise ConfigError(f"{path}: has mode {mode:04o}, others may open it", hint="SocketMode=0600 in the socket unit")


def _remove_dead(path: Path) -> None:
    """Remove a socket that nobody listens on."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(ConnectionRefusedError):
            probe.connect(str(path))
            is_socket = False
    if not is_socket:
        raise InUseError(f"{path}: is in use: it is no socket, or a program listens on it", hint="give another path")
    path.unlink()
