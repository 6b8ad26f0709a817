"""A decode worker that dies of some files: in place of one whose libraries have a hole.

In: what a decode worker gets.  Out: the same, but for a file that ends with `DEADLY`.  Never here: tests.
"""

from __future__ import annotations

import ctypes
import os

from cbir_daemon.decode.worker import Answer, Worker
from cbir_daemon.protocol.framing import Frame

DEADLY = b"deadly"
"""What a decoder passes over behind the end of a JPEG."""


class DeadlyWorker(Worker):
    """Reads what is harmless."""

    def read(self, frame: Frame, descriptor: int | None) -> Answer:
        """Die of a deadly file."""
        if descriptor is not None and os.pread(descriptor, 2**20, 0).endswith(DEADLY):
            # A confined worker may send no signal, not even to itself.
            ctypes.string_at(0)
        return super().read(frame, descriptor)


WORKER = DeadlyWorker
