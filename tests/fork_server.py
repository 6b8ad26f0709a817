"""A fork server for the tests of `cbir_daemon.system.forking`; what it forks does what it is told."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel
from cbir_daemon.system.forking import serve_forks


def prepare(first: Frame) -> Callable[[Frame, Channel], None]:
    """Return what answers frames: it knows in which process it was prepared."""
    if first.message["do"] == "fail":
        raise SystemExit(3)
    prepared_in = os.getpid()

    def answer(frame: Frame, channel: Channel) -> None:
        match frame.message["do"]:
            case "describe":
                channel.send({"pid": os.getpid(), "parent": os.getppid(), "prepared_in": prepared_in})
            case "die":
                os.kill(os.getpid(), frame.message["signal"])
            case "exit":
                os._exit(frame.message["status"])
            case "compute alone":
                channel.send({})
                # Backtracking takes for ever, and the interpreter with it: no other thread of this process runs.
                re.match("(a+)+$", "a" * 64 + "b")

    return answer


if __name__ == "__main__":
    serve_forks(prepare)
