"""Child processes of our own: started, talked to, timed, killed, and never left behind.

In: the name of a module to run.  Out: frames to and from it.  Never here: what the frames say.

A child runs `python -P -m MODULE FD LIFELINE`, or is forked from a child that does (`forking`); FD is its end of a
socket pair that carries the frames of `protocol.framing`, LIFELINE the reading end of a pipe that nobody writes to.
When the daemon dies in whatever way, the kernel closes the other end of the pipe and sends the child SIGIO, which ends
it, even in the middle of a long computation that lets no other thread run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from cbir_daemon.errors import ChildError, ProtocolError, TimedOutError
from cbir_daemon.protocol.framing import Frame, FrameReader, encode

MAX_BLOB_BYTES = 2**31
RECEIVE_BYTES = 64 * 1024
"""Below what the C library asks the kernel for each time (128 KiB)."""
MAX_DESCRIPTORS = 32
"""Open files that go with one frame."""
KILL_WAIT_S = 10.0
STDERR_FILENO = 2
CLOSED = -1
USER_TICKS = 11
"""Place of utime after the name in /proc/PID/stat, stime right behind it (proc(5), fields 14 and 15)."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Threads of BLAS and OpenMP."""


class Channel:
    """One end of a stream of frames.

    Parameters
    ----------
    connection : socket.socket
        A connected stream socket, owned by the channel from now on.
    takes_descriptors : bool
        Keep the descriptors that come with frames, for `take_descriptor`; else the kernel drops them: a child that
        hostile bytes have taken over cannot hand any to the daemon.
    """

    def __init__(self, connection: socket.socket, *, takes_descriptors: bool = False) -> None:
        self._connection = connection
        self._reader = FrameReader(MAX_BLOB_BYTES)
        self._ready: list[Frame] = []
        self._takes_descriptors = takes_descriptors
        self._descriptors: list[int] = []

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._connection.fileno()

    @property
    def is_cut(self) -> bool:
        """Whether either end is closed; what the other end sent before may still be received."""
        if self._connection.fileno() == CLOSED:
            return True
        poller = select.poll()
        poller.register(self._connection, 0)
        return bool(poller.poll(0))

    def close(self) -> None:
        """Close this end; the other end sees the end of the stream."""
        self._connection.close()

    def send(self, message: Mapping[str, Any], blob: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        """Send one frame.

        Parameters
        ----------
        message : mapping
            What JSON can carry.
        blob : bytes
            Raw bytes that belong to it, at most `MAX_BLOB_BYTES`.
        descriptors : sequence of int
            Open files of which the other end gets copies, at most `MAX_DESCRIPTORS`; ours may be closed as soon as this
            returns.

        Raises
        ------
        OSError
            When the other end is gone.
        """
        data = encode(message, blob)
        if descriptors:
            # They travel with the first bytes; those that did not fit follow.
            data = data[socket.send_fds(self._connection, [data], descriptors) :]
        self._connection.sendall(data)

    def take_descriptor(self) -> int:
        """Return the oldest descriptor that came with a frame; it is the caller's to close.

        Descriptors come in the order of the frames that they were sent with, each not later than its frame.
        """
        return self._descriptors.pop(0)

    def receive(self, timeout_s: float | None = None) -> Frame | None:
        """Return the next frame, or None at the end of the stream.

        Parameters
        ----------
        timeout_s : float, optional
            Longest wait in seconds; 0 takes what has come already, None waits for ever.

        Raises
        ------
        TimedOutError
            When no whole frame has come in time.
        ProtocolError
            When what came is no frame.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ready:
            if deadline is not None and timeout_s and not _readable(self._connection, deadline - time.monotonic()):
                raise TimedOutError(f"no answer within {timeout_s} s")
            try:
                data = self._received(0 if timeout_s != 0 else socket.MSG_DONTWAIT)
            except BlockingIOError as error:
                raise TimedOutError("no answer yet") from error
            if not data:
                return None
            self._reader.receive(data)
            self._ready.extend(self._reader.frames())
        return self._ready.pop(0)

    def has_received(self) -> bool:
        """Return whether a frame, a part of one, or the end of the stream has come already."""
        return bool(self._ready) or _readable(self._connection, 0.0)

    def _received(self, flags: int) -> bytes:
        if not self._takes_descriptors:
            return self._connection.recv(RECEIVE_BYTES, flags)
        # Those of one frame at a time: a read ends behind bytes that carry descriptors.
        data, descriptors, _, _ = socket.recv_fds(
            self._connection, RECEIVE_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC | flags
        )
        self._descriptors += descriptors
        return data


def _readable(connection: socket.socket, timeout_s: float) -> bool:
    # Not select(): it fails once a busy daemon's descriptors reach 1024.
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    return bool(poller.poll(max(0.0, timeout_s) * 1000))


class Process(Protocol):
    """The process of a child: a `subprocess.Popen`, or a process that another one forked."""

    returncode: int | None

    @property
    def pid(self) -> int:
        """Process id; no other process has it until `wait` returned."""
        ...

    def kill(self) -> None:
        """End it; raises `ProcessLookupError` when it is gone."""

    def wait(self, timeout: float | None = None) -> object:
        """Wait for its end and learn its `returncode`; raises `subprocess.TimeoutExpired`."""
        ...


Start = Callable[[int, int], Process]
"""Starts the process of a child that is given its end of the channel and of the lifeline, and keeps neither here."""


class Child:
    """A running child process and the channel to it; `started` starts it.

    Parameters
    ----------
    module : str
        What it runs.
    process : Process
    channel : Channel
        Our end.
    lifeline : int
        Descriptor of our end; closing it ends the process.
    """

    def __init__(self, module: str, process: Process, channel: Channel, lifeline: int) -> None:
        self.module = module
        self._process = process
        self._channel = channel
        self._lifeline = lifeline

    @classmethod
    def started(
        cls,
        module: str,
        message: Mapping[str, Any] | None = None,
        *,
        descriptors: Sequence[int] = (),
        threads: int = 1,
        env: Mapping[str, str] | None = None,
        start: Start | None = None,
    ) -> Self:
        """Start a child process: every child of the daemon is started here.

        Parameters
        ----------
        module : str
            Module to run, as after `python -m`.
        message : mapping, optional
            Its first message.
        descriptors : sequence of int
            Open files that go with the first message, of which the child gets copies.
        threads : int
            Of BLAS and OpenMP.  One as a rule: a child is one unit of parallelism, and the number of children is
            configured.
        env : mapping of str to str, optional
            Environment variables on top of our own.
        start : Start, optional
            How its process is started; by default with a new interpreter, which alone takes `threads` and `env`.

        Raises
        ------
        ChildError
            When the process cannot be started, or is gone before its first message.
        """
        ours, theirs = socket.socketpair()
        watched, lifeline = os.pipe()
        with theirs:
            try:
                begin = start or _interpreter(module, dict.fromkeys(THREAD_VARIABLES, str(threads)) | dict(env or {}))
                process = begin(theirs.fileno(), watched)
            except ChildError:
                ours.close()
                os.close(lifeline)
                raise
            else:
                _end_with(watched, process.pid)
            finally:
                os.close(watched)
        child = cls(module, process, Channel(ours), lifeline)
        if message is not None:
            try:
                child.send(message, descriptors=descriptors)
            except ChildError:
                child.close()
                raise
        return child

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process still lives: the kernel closes its end of the channel when it ends."""
        return not self._channel.is_cut

    def fileno(self) -> int:
        """Return the channel's descriptor, for `select`."""
        return self._channel.fileno()

    def send(self, message: Mapping[str, Any], blob: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        """Send one frame.

        Parameters
        ----------
        message : mapping
        blob : bytes
        descriptors : sequence of int
            Open files of which the child gets copies; ours may be closed as soon as this returns.

        Raises
        ------
        ChildError
            When the child is gone.
        """
        try:
            self._channel.send(message, blob, descriptors)
        except OSError as error:
            raise self._obituary() from error

    def receive(self, timeout_s: float | None = None) -> Frame:
        """Return the next frame from the child.

        Parameters
        ----------
        timeout_s : float, optional
            Longest wait in seconds; 0 takes what has come already, None waits for ever.

        Raises
        ------
        ChildError
            When the child died, or wrote nonsense.
        TimedOutError
            When no whole frame came in time.  The child still runs: `close` it.
        """
        try:
            frame = self._channel.receive(timeout_s)
        except ProtocolError as error:
            raise ChildError(f"{self.module} (pid {self.pid}) sent a broken message: {error.message}") from error
        except OSError as error:
            raise self._obituary() from error
        if frame is None:
            raise self._obituary()
        return frame

    def kill(self) -> None:
        """Kill the process if it still runs; who waits for it learns of that, and closes it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """Kill the process if it still runs, and collect it."""
        self._channel.close()
        self._cut_lifeline()
        self.kill()
        self._process.wait(KILL_WAIT_S)

    def _cut_lifeline(self) -> None:
        # Closing twice would close what has the number by then.
        lifeline, self._lifeline = self._lifeline, CLOSED
        if lifeline != CLOSED:
            os.close(lifeline)

    @property
    def cpu_s(self) -> float:
        """Processor time that the process has used, in seconds; 0 when it is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return sum(int(ticks) for ticks in fields[USER_TICKS : USER_TICKS + 2]) / os.sysconf("SC_CLK_TCK")

    def _obituary(self) -> ChildError:
        # The stream ends a moment before the process can be collected.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        status = self._process.returncode
        if status is None:
            return ChildError(f"{self.module} (pid {self.pid}) closed its channel")
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        hint = "the kernel does that when memory is out; its log tells (dmesg)" if status == -signal.SIGKILL else ""
        return ChildError(f"{self.module} (pid {self.pid}) {how}", hint=hint)


def _interpreter(module: str, env: Mapping[str, str]) -> Start:
    """Return the command that starts a module in a new interpreter."""

    def start(connection: int, lifeline: int) -> Process:
        try:
            return subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                # -P: else Python imports from the present folder first, and an album may hold a json.py.
                [sys.executable, "-P", "-m", module, str(connection), str(lifeline)],
                pass_fds=[connection, lifeline],
                stdin=subprocess.DEVNULL,
                # What a library prints belongs to the log, never to a terminal's stdout.
                stdout=STDERR_FILENO,
                env={**os.environ, **env},
                # A Ctrl-C in the terminal is for the daemon, which stops its children in order.
                # Not a session: Linux gives each one an equal share of the processors (sched(7), autogroup), and the
                # niceness of a fit would count for nothing beside the daemon's questions.
                process_group=0,
            )
        except OSError as error:
            raise ChildError(f"cannot start {module}: {error.strerror}") from error

    return start


def serve(answer: Callable[[Frame, Channel], None], *, nice: int = 0) -> None:
    """Run the child's side: call `answer` with each frame until the daemon closes the channel.

    Parameters
    ----------
    answer : callable
        Gets a frame and the channel to reply on.
    nice : int
        Added to the niceness of this process, 0 to 19.
    """
    os.nice(nice)
    serve_on(*own_descriptors(), answer)


def own_descriptors() -> tuple[int, int]:
    """Return this process's end of the channel and of the lifeline, as its arguments name them."""
    connection, lifeline = (int(number) for number in sys.argv[1:])
    return connection, lifeline


def serve_on(connection: int, lifeline: int, answer: Callable[[Frame, Channel], None]) -> None:
    """Call `answer` with each frame that comes, until the daemon closes the channel.

    Parameters
    ----------
    connection, lifeline : int
        Descriptors of this process.
    answer : callable
        Gets a frame and the channel to reply on.
    """
    end_if_cut(lifeline)
    channel = Channel(socket.socket(fileno=connection), takes_descriptors=True)
    # Where the daemon dies in the middle of a message, this may be seen before the signal comes.
    with contextlib.suppress(ConnectionError):
        while (frame := channel.receive()) is not None:
            answer(frame, channel)


def _end_with(lifeline: int, process_id: int) -> None:
    """Let the kernel end a child when the other end of its lifeline is closed.

    Notes
    -----
    Done by the daemon, since the owner of signals belongs to the open pipe and not to a process: a child that is still
    importing is bound as well.  Not PR_SET_PDEATHSIG: that comes when the *thread* that made the child ends, and a
    thread of the daemon serves one connection.  Not a thread of the child that waits: it would need the interpreter,
    which a long computation may hold.
    """
    # SIGIO ends a process that has no handler for it (signal(7)).
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, process_id)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def end_if_cut(lifeline: int) -> None:
    """End when the daemon died before it could say that the kernel is to do it.

    Parameters
    ----------
    lifeline : int
        Descriptor of this process.
    """
    poller = select.poll()
    poller.register(lifeline, 0)
    if poller.poll(0):
        os._exit(1)
