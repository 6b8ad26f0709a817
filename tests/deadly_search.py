"""Search processes for the tests of `cbir_daemon.search.processes` that do no good."""

from __future__ import annotations

import os
import signal

from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel, serve

REFUSING = "no.sqlite"
"""The name of an index that the process refuses; with any other it dies of the first thing that it is asked."""


def answer(frame: Frame, channel: Channel) -> None:
    """Be ready, and die when asked; or refuse to start."""
    match frame.message["do"]:
        case "open" if frame.message["index"].endswith(REFUSING):
            channel.send({"refused": "not today"})
        case "open":
            channel.send({"ready": True})
        case "take":
            os.close(channel.take_descriptor())
        case _:
            os.kill(os.getpid(), signal.SIGSEGV)


if __name__ == "__main__":
    serve(answer)
