"""Children that are forked from one that has loaded what they need: in milliseconds, and in little memory of their own.

In: the name of a module that calls `serve_forks`.  Out: processes for `Child`.  Never here: what is loaded, what they
do.

The fork server is a child as all others.  It reads no file and no message but ours, so that nothing hostile is passed
on to those that it forks.  These are its children, not ours: it is asked how they ended, and keeps their numbers taken
until then.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cbir_daemon.errors import ChildError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel, Child, Process, end_if_cut, own_descriptors, serve_on

ANSWER_S = 60.0
"""How long forking, or collecting what was killed, may take on a machine that is out of everything."""


class ForkServer:
    """A process that forks others.  Thread-safe.

    Parameters
    ----------
    child : Child
        Runs a module that calls `serve_forks`; was sent what that is to prepare, and is ours from now on.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        # Guards what follows, and the channel.
        self._turn = threading.Lock()
        self._is_ready = False
        self._is_retired = False
        self._uncollected: set[int] = set()

    @property
    def running(self) -> bool:
        """Whether the process still lives."""
        return self._child.running

    @property
    def is_ready(self) -> bool:
        """Whether it has loaded everything and said so to a first caller."""
        return self._is_ready

    def start(self, connection: int, lifeline: int) -> Process:
        """Fork a process; a `Start` of `Child`.

        Parameters
        ----------
        connection, lifeline : int
            Its ends of the channel and the lifeline.

        Raises
        ------
        ChildError
            When the server is gone, or does not answer.

        Notes
        -----
        The first call waits until the server has loaded everything.
        """
        with self._turn:
            pid = int(self._asked({"do": "fork"}, (connection, lifeline))["pid"])
            self._uncollected.add(pid)
        return _Forked(self, pid)

    def collect(self, pid: int, timeout_s: float) -> int | None:
        """Return the exit status of a forked process, negative for a signal, or None when it has not ended in time.

        Parameters
        ----------
        pid : int
            Whose status was not returned before.
        timeout_s : float
            Seconds.

        Raises
        ------
        ChildError
            When the server is gone, or does not answer.
        """
        with self._turn:
            status = self._asked({"do": "collect", "pid": pid, "timeout_s": timeout_s})["status"]
            if status is None:
                return None
            self._uncollected.discard(pid)
            self._close_if_done()
            return int(status)

    def retire(self) -> None:
        """Kill it once all that it forked are collected."""
        with self._turn:
            self._is_retired = True
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_retired and not self._uncollected:
            self._child.close()

    def close(self) -> None:
        """Kill it."""
        self._child.close()

    def kill(self) -> None:
        """Kill it, so that nobody waits for it any more; `close` it afterwards."""
        self._child.kill()

    def _asked(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Mapping[str, Any]:
        if not self._is_ready:
            self._child.receive(ANSWER_S)
            self._is_ready = True
        self._child.send(message, descriptors=descriptors)
        return self._child.receive(ANSWER_S).message


class _Forked:
    """A process that a server forked."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None
        self._is_collected = False

    def kill(self) -> None:
        """End it; without the server nobody keeps its number taken, and its lifeline ends it."""
        if not self._is_collected and self._server.running:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end; without the server nobody learns how it ended.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Raises
        ------
        subprocess.TimeoutExpired
        """
        if self._is_collected:
            return
        with contextlib.suppress(ChildError):
            self.returncode = self._server.collect(self.pid, ANSWER_S / 2 if timeout is None else timeout)
            if self.returncode is None:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        self._is_collected = True


# -- the server's side -------------------------------------------------------------------------------------------------


def serve_forks(prepare: Callable[[Frame], Callable[[Frame, Channel], None]]) -> None:
    """Run a fork server until the daemon closes its channel, and what it forks until theirs are closed.

    Parameters
    ----------
    prepare : callable
        Gets the daemon's first message, loads, and returns what answers the frames of a forked process.

    Notes
    -----
    For a process of one thread: no other would be there after a fork.
    """
    connection, lifeline = own_descriptors()
    end_if_cut(lifeline)
    channel = Channel(socket.socket(fileno=connection), takes_descriptors=True)
    first = channel.receive()
    if first is None:
        return
    answer = prepare(first)
    # What is loaded stays for good: a collector that looked through it would copy its pages in each forked process.
    gc.collect()
    gc.freeze()
    channel.send({})
    forked = _fork_until_end(channel)
    if forked is not None:
        # What belongs to the server is closed: this process may come to read hostile bytes.
        channel.close()
        os.close(lifeline)
        serve_on(*forked, answer)


def _fork_until_end(channel: Channel) -> tuple[int, int] | None:
    """Do what the daemon says; return in each forked process its descriptors, and None in the server at its end."""
    # Else it would be lost when it comes before `sigtimedwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while (frame := channel.receive()) is not None:
        if frame.message["do"] == "collect":
            channel.send({"status": _status_of(frame.message["pid"], frame.message["timeout_s"])})
            continue
        descriptors = channel.take_descriptor(), channel.take_descriptor()
        pid = os.fork()
        if not pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            return descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        channel.send({"pid": pid})
    return None


def _status_of(pid: int, timeout_s: float) -> int | None:
    """Return the exit status of a child, or None when it has not ended in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return None
        signal.sigtimedwait({signal.SIGCHLD}, remaining_s)
