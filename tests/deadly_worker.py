"""A decode worker that dies of some files: in place of one whose libraries have a hole.

In: what a decode worker gets.  Out: the same, but for a file with `deadly` in its name.  Never here: tests.
"""

from __future__ import annotations

import os
import signal

from cbir_daemon.child import serve
from cbir_daemon.decode.messages import task_from
from cbir_daemon.decode.worker import Answer, Worker
from cbir_daemon.protocol.framing import Frame

DEADLY = b"deadly"


class DeadlyWorker(Worker):
    """Reads what is harmless."""

    def read(self, frame: Frame) -> Answer:
        """Die of a deadly file."""
        if DEADLY in task_from(frame.message).path:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().read(frame)


if __name__ == "__main__":
    serve(DeadlyWorker().answer)
