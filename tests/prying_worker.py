"""A decode worker that tries what hostile bytes would, in place of one that they have taken over.

In: what a decode worker gets; a file's bytes name, line by line, paths to pry into.  Out: what became of each attempt,
as the message of an error.  Never here: tests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from cbir_daemon.decode.worker import Answer, Worker
from cbir_daemon.protocol.framing import Frame


class PryingWorker(Worker):
    """Reads nothing, and tries everything."""

    def read(self, frame: Frame, descriptor: int | None) -> Answer:
        """Say what became of opening the paths, and of what else can be done with the descriptor."""
        assert descriptor is not None
        paths = os.pread(descriptor, 4096, 0).decode().splitlines()
        tried = {path: _outcome(Path(path).read_bytes) for path in paths}
        tried |= {
            "list": _outcome(lambda: list(Path("/").iterdir())),
            "again": _outcome(lambda: os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)),
            "write": _outcome(lambda: os.write(descriptor, b"x")),
            "truncate": _outcome(lambda: os.ftruncate(descriptor, 0)),
            "rights": _outcome(lambda: os.fchmod(descriptor, 0)),
        }
        return {"state": None, "code": "damaged", "message": json.dumps(tried)}, b""


def _outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"


WORKER = PryingWorker
