"""A program that is told: run for each message, which it reads as JSON from standard input.

In: a message.  Out: nothing when the program ended with status 0, else why not.  Never here: a shell.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from cbir_daemon.alerts.message import Message
from cbir_daemon.errors import SinkError

LOOK_S = 0.5
"""How soon a program is ended after the daemon was told to stop."""

MAX_WORDS = 300
"""Characters of what the program said last that are kept."""


class Command:
    """Runs a program.

    Parameters
    ----------
    argv : sequence of str
        Whole path of the program, then its arguments.
    timeout_s : float
        After which it is killed, with all that it started.
    stopping : threading.Event
        Set when the daemon stops.
    """

    def __init__(self, argv: Sequence[str], timeout_s: float, stopping: threading.Event) -> None:
        self._argv = list(argv)
        self._timeout_s = timeout_s
        self._stopping = stopping

    def __call__(self, message: Message) -> None:
        """Run the program with a message; raises `SinkError` unless it ends with status 0 in time."""
        try:
            process = subprocess.Popen(  # noqa: S603 -- the operator's own command, without a shell
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                # What it starts is killed with it.
                start_new_session=True,
            )
        except OSError as error:
            raise SinkError(
                f"{self._argv[0]}: cannot be run: {error.strerror}", hint="the daemon's user must be able to run it"
            ) from error
        with process:
            said = self._finished(process, json.dumps(message.to_json()).encode() + b"\n")
        if process.returncode:
            raise SinkError(f"{self._argv[0]}: {_how(process.returncode)}{_last_line(said)}")

    def _finished(self, process: subprocess.Popen[bytes], data: bytes) -> bytes:
        """Return the program's standard error once it has ended."""
        deadline = time.monotonic() + self._timeout_s
        rest: bytes | None = data
        while True:
            try:
                return process.communicate(rest, timeout=min(LOOK_S, self._timeout_s))[1]
            except subprocess.TimeoutExpired:
                # Asked again, it goes on with what it has.
                rest = None
                is_late = time.monotonic() >= deadline
                if is_late or self._stopping.is_set():
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    why = f"did not end within {self._timeout_s:g} s" if is_late else "was ended: the daemon stops"
                    raise SinkError(f"{self._argv[0]}: {why}") from None


def _how(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()[:MAX_WORDS]}" if lines else ""
