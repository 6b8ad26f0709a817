"""A search process that tries, when it is told to, what one would that a vector had taken over.

In: what a search process gets; frames that say "pry".  Out: the same; what became of each attempt.  Never here: tests.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from cbir_daemon.protocol.framing import Frame
from cbir_daemon.search.process import Process
from cbir_daemon.system.child import Channel, serve


class PryingProcess(Process):
    """Searches, and pries."""

    def answer(self, frame: Frame, channel: Channel) -> None:
        """Say what became of each attempt, from this thread and from another one."""
        if frame.message["do"] != "pry":
            super().answer(frame, channel)
            return
        inside, outside = Path(frame.message["inside"]), Path(frame.message["outside"])
        here, elsewhere = _tried(inside, outside), {}
        thread = threading.Thread(target=lambda: elsewhere.update(_tried(inside, outside)))
        thread.start()
        thread.join()
        channel.send({"tried": here, "tried_in_a_thread": elsewhere})


def _tried(inside: Path, outside: Path) -> dict[str, str]:
    attempts: dict[str, Callable[[], object]] = {
        "read the state": inside.read_bytes,
        "load what makes lists": lambda: import_module("cbir_daemon.search.inverted_lists"),
        "write to the state": lambda: os.open(inside, os.O_RDWR),
        "make a file in it": lambda: inside.with_name("new").touch(),
        "remove a file of it": inside.unlink,
        "read a photograph": outside.read_bytes,
        "list an album": lambda: list(outside.parent.iterdir()),
        "write to a photograph": lambda: os.open(outside, os.O_WRONLY),
        "connect": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "connect here": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "run a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 -- it is not to succeed
        "signal": lambda: os.kill(os.getppid(), 0),
    }
    return {name: _outcome(attempt) for name, attempt in attempts.items()}


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


if __name__ == "__main__":
    serve(PryingProcess().answer)
