"""A child process for the tests of `cbir_daemon.system.child`: it does what it is told, good or bad."""

from __future__ import annotations

import os
import re
import threading

from cbir_daemon.protocol.framing import Frame, encode
from cbir_daemon.system.child import Channel, serve

NICENESS = 3


def answer(frame: Frame, channel: Channel) -> None:
    """Do what the message says."""
    match frame.message["do"]:
        case "echo":
            channel.send(frame.message, frame.blob)
        case "count":
            os.write(channel.fileno(), b"".join(encode({"number": number}) for number in range(frame.message["to"])))
        case "describe":
            channel.send(
                {
                    "nice": os.nice(0),
                    "group": os.getpgid(0),
                    "session": os.getsid(0),
                    "word": os.environ.get("CBIR_TEST_WORD"),
                }
            )
        case "print":
            os.write(1, b"this is for the log")
            channel.send({})
        case "die":
            os.kill(os.getpid(), frame.message["signal"])
        case "exit":
            os._exit(frame.message["status"])
        case "talk nonsense":
            os.write(channel.fileno(), b"nonsense\n")
        case "hang":
            threading.Event().wait()
        case "compute":
            channel.send({})
            while True:
                pass
        case "compute alone":
            channel.send({})
            # Backtracking takes for ever, and the interpreter with it: no other thread of this process runs.
            re.match("(a+)+$", "a" * 64 + "b")


if __name__ == "__main__":
    serve(answer, nice=NICENESS)
