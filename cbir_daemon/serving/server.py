"""The socket: who may connect, one thread a connection, frames to handlers and back.

In: connections.  Out: replies.  Never here: what a method does, JSON's meaning.

The socket has mode 0600 and each peer's user id is checked by the kernel's word (SO_PEERCRED).  A peer that stops in
the middle of a message, or never reads its answers, loses its connection after a while; it holds one of a bounded
number of places meanwhile and stops nobody else.  When all places are taken, a process that holds many gives one up.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbir_daemon.errors import BusyError, CbirError, ConfigError, ForbiddenError, InUseError, ProtocolError
from cbir_daemon.protocol.framing import Frame, FrameReader, encode
from cbir_daemon.protocol.messages import Json, Request, answer, refusal
from cbir_daemon.serving.handlers import Reply
from cbir_daemon.system import heartbeat

logger = logging.getLogger(__name__)

BACKLOG = 128
RECEIVE_BYTES = 256 * 1024
FRAME_TIMEOUT_S = 30.0
"""Longest pause inside a message, and longest wait for a peer that does not read."""

IDLE_TIMEOUT_S = 3600.0
"""Longest wait for the next request of a connection."""

STOP_WAIT_S = 5.0
ACCEPT_RETRY_S = 1.0
PEER_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""


class Server:
    """Listens on a Unix socket and answers.

    Parameters
    ----------
    path : Path
        Of the socket.
    handle : callable
        Takes a `Request`, yields the replies; raises `CbirError`.
    clock : callable
        Returns the clock for answers.
    max_connections : int
        Connections served at once.  When all are taken, a process that holds many loses one, or else the newcomer gets
        `BusyError`.
    max_blob_bytes : int
        Largest image that may be sent.
    group : str
        Name of the group that may connect besides the daemon's own user; empty for none.
    listener : socket.socket, optional
        A socket that listens already and belongs to a service manager: who made it chose its path and mode, and it
        goes on listening when this server closes.
    frame_timeout_s : float
        Seconds for the rest of a message that has begun, and for taking an answer.
    idle_timeout_s : float
        Seconds that a connection may say nothing between two messages.
    """

    def __init__(
        self,
        path: Path,
        handle: Callable[[Request], Iterator[Reply[Any]]],
        clock: Callable[[], int],
        *,
        max_connections: int,
        max_blob_bytes: int,
        group: str = "",
        listener: socket.socket | None = None,
        frame_timeout_s: float = FRAME_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self._path = path
        self._handle = handle
        self._clock = clock
        self._max_connections = max_connections
        self._max_blob_bytes = max_blob_bytes
        self._group = group
        self._inherited = listener
        self._frame_timeout_s = frame_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, Guest] = {}
        # Shown out, and still held by a handler that has not noticed yet.
        self._leaving: list[Guest] = []
        self._closed = threading.Event()

    @property
    def guests(self) -> tuple[Guest, ...]:
        """Whose connections are open."""
        with self._lock:
            return tuple(self._connections.values())

    def open(self) -> None:
        """Bind and listen, taking the place of a socket that nobody listens on any more; or take the one given.

        Raises
        ------
        InUseError
            When another daemon listens there, or something else lies there.
        ConfigError
            When the folder cannot be used, or the group is unknown.
        """
        self._allowed_gid = None if not self._group else _group_id(self._group)
        if self._inherited is None:
            self._open_own()
        else:
            self._listener = self._inherited
        # Whoever shares the socket may take a connection between our look and our accept.
        self._listener.setblocking(False)
        # To shut the socket down would end a wait for connections, too, but for the service manager as well.
        self._woken, self._waker = socket.socketpair()
        self._poller = select.poll()
        self._poller.register(self._listener, select.POLLIN)
        self._poller.register(self._woken, select.POLLIN)

    def _open_own(self) -> None:
        try:
            self._make_folder(self._allowed_gid)
            _remove_dead_socket(self._path)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._bind(self._allowed_gid)
            except OSError:
                self._listener.close()
                raise
        except OSError as error:
            raise ConfigError(
                f"{self._path}: cannot listen there: {error.strerror or error}", hint="give another path with --socket"
            ) from error

    def _bind(self, gid: int | None) -> None:
        # The mode must be right from the first moment on: others could connect before a chmod.
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self._path))
        finally:
            os.umask(before)
        if gid is not None:
            os.chown(self._path, -1, gid)
            self._path.chmod(0o660)
        self._inode = self._path.stat().st_ino
        self._listener.listen(BACKLOG)

    def _make_folder(self, gid: int | None) -> None:
        """Make the socket's folder, for us alone or for the group too; one that is there keeps its rights."""
        folder = self._path.parent
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            if gid is not None:
                os.chown(folder, -1, gid)
                folder.chmod(0o710)

    def run(self) -> None:
        """Accept connections until `close`."""
        while not self._closed.is_set():
            heartbeat.idle(heartbeat.FOREVER_S)
            try:
                self._poller.poll()
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                # After `close` the loop ends; out of descriptors or memory, newcomers wait while the others go on.
                logger.debug("accept failed socket=%s error=%s", self._path, error)
                self._closed.wait(ACCEPT_RETRY_S)
                continue
            heartbeat.beat()
            self._welcome(connection)

    def close(self) -> None:
        """Stop listening, end every connection, remove the socket if it is ours and still there."""
        self._closed.set()
        self._waker.close()
        self._stop_listening()
        self._woken.close()
        with self._lock:
            open_now = dict(self._connections)
            leaving = list(self._leaving)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        deadline = time.monotonic() + STOP_WAIT_S
        for guest in (*open_now.values(), *leaving):
            guest.thread.join(max(0.0, deadline - time.monotonic()))

    def _stop_listening(self) -> None:
        if self._inherited is None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()
        self._listener.close()

    # -- one connection ----------------------------------------------------------------------------------------------

    def _welcome(self, connection: socket.socket) -> None:
        connection.settimeout(self._frame_timeout_s)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
        pid, uid, gid = PEER_CREDENTIALS.unpack(raw)
        error = self._refused(pid, uid, gid)
        if error is not None:
            _send_last(connection, refusal(None, error, self._clock()))
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name="connection", daemon=True)
        with self._lock:
            self._connections[connection] = Guest(thread, pid)
        try:
            thread.start()
        except RuntimeError as failure:
            # The kernel gives no more threads: one newcomer is turned away, the others go on.
            logger.warning("connection refused reason=%s", failure)
            with self._lock:
                del self._connections[connection]
            _send_last(connection, refusal(None, BusyError("no thread is left for this connection"), self._clock()))

    def _refused(self, pid: int, uid: int, gid: int) -> CbirError | None:
        if uid != os.geteuid() and not self._is_member(uid, gid):
            logger.warning("connection refused pid=%d uid=%d", pid, uid)
            return ForbiddenError("this daemon belongs to another user")
        if not self._has_room(pid):
            return BusyError(f"{self._max_connections} clients are connected already", hint="try again in a moment")
        return None

    def _has_room(self, pid: int) -> bool:
        """Whether one more connection of process `pid` may come; made, if need be, where one process holds many.

        It loses the connection that has said nothing for longest.  So a program that leaves its connections open, or
        opens hundreds, stops nobody but itself.
        """
        with self._lock:
            self._leaving = [guest for guest in self._leaving if guest.thread.is_alive()]
            if len(self._connections) < self._max_connections:
                return True
            held = Counter(guest.pid for guest in self._connections.values())
            greedy, most = held.most_common(1)[0]
            # One fewer for it and one more for the newcomer's process must not turn the two round.
            if most < held[pid] + 2 or len(self._leaving) >= self._max_connections:
                return False
            candidates = [
                (guest.heard_s, id(guest), connection)
                for connection, guest in self._connections.items()
                if guest.pid == greedy
            ]
            victim = min(candidates)[-1]
            self._leaving.append(self._connections.pop(victim))
        logger.warning("connection ended reason=crowded pid=%d connections=%d", greedy, most)
        with contextlib.suppress(OSError):
            victim.shutdown(socket.SHUT_RDWR)
        return True

    def _is_member(self, uid: int, gid: int) -> bool:
        if self._allowed_gid is None:
            return False
        try:
            return self._allowed_gid in os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:
            return False

    def _serve(self, connection: socket.socket) -> None:
        try:
            for frame in self._frames(connection):
                self._hear(connection)
                if not self._answer(connection, frame):
                    break
        except (OSError, _PeerGoneError) as error:
            logger.debug("connection ended reason=%s", error)
        finally:
            connection.close()
            with self._lock:
                self._connections.pop(connection, None)

    def _hear(self, connection: socket.socket) -> None:
        with self._lock:
            guest = self._connections.get(connection)
            if guest is not None:
                guest.heard_s = time.monotonic()

    def _frames(self, connection: socket.socket) -> Iterator[Frame]:
        reader = FrameReader(self._max_blob_bytes)
        while not self._closed.is_set():
            connection.settimeout(self._frame_timeout_s if reader.mid_frame else self._idle_timeout_s)
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                return
            # An answer, too, must be taken within this time.
            connection.settimeout(self._frame_timeout_s)
            reader.receive(data)
            try:
                yield from reader.frames()
            except ProtocolError as error:
                # Where the next message would begin cannot be known: answer and close.
                _send(connection, encode(refusal(None, error, self._clock())))
                _drain(connection)
                return

    def _answer(self, connection: socket.socket, frame: Frame) -> bool:
        """Answer one message; False when the connection must end."""
        request_id = _plain_id(frame.message.get("id"))
        try:
            request = Request.from_message(frame.message, frame.blob)
            for reply in self._handle(request):
                message = answer(request.id, reply.ok, self._clock(), more=reply.more)
                _send(connection, encode(message, reply.blob))
        except _PeerGoneError:
            raise
        except CbirError as error:
            _send(connection, encode(refusal(request_id, error, self._clock())))
            return not isinstance(error, ProtocolError)
        # The top of this connection's thread: a fault in a handler costs one answer, is logged, and is said.
        except Exception:
            logger.exception("handler failed method=%s", frame.message.get("method"))
            failure = CbirError("the daemon failed to answer", hint="its log has the details")
            _send(connection, encode(refusal(request_id, failure, self._clock())))
        return True


@dataclass(slots=True)
class Guest:
    """A connection's thread, the process at its other end, and when that last said something (monotonic)."""

    thread: threading.Thread
    pid: int
    heard_s: float = field(default_factory=time.monotonic)


class _PeerGoneError(Exception):
    """The peer hung up, or does not read.  An `OSError` of a handler is another thing: the peer gets an answer."""


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError as error:
        raise _PeerGoneError(str(error)) from error


def _plain_id(value: object) -> int | str | None:
    return value if isinstance(value, int | str) else None


def _send_last(connection: socket.socket, message: Json) -> None:
    with contextlib.suppress(OSError), connection:
        connection.setblocking(False)
        connection.send(encode(message))


def _drain(connection: socket.socket) -> None:
    """Read what the peer still sends, for a while: closing with unread data would take the answer back from it."""
    deadline = time.monotonic() + STOP_WAIT_S
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(STOP_WAIT_S)
        while time.monotonic() < deadline and connection.recv(RECEIVE_BYTES):
            pass


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigError(f"server.group: there is no group {name!r}") from error


def _remove_dead_socket(path: Path) -> None:
    """Remove a socket of ours that nobody listens on; anything else that lies there stays."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not path.is_socket() or status.st_uid != os.geteuid():
        raise InUseError(f"{path}: exists and is no socket of cbir-daemon", hint="give another path with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Whoever listens may be too busy to accept: that, too, is an answer.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise InUseError(f"{path}: another daemon listens there", hint="stop it, or give another path with --socket")
