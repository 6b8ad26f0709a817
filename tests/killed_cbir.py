"""Run `cbir` in a process that dies, as by kill -9, at a step of what it does to files: killed_cbir.py STEP [ARG ...].

A step is a moment before a file is linked, removed, renamed, made or opened for writing, or before or after a note in
the journal.  With more steps than there are it comes to its end.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from cbir_daemon.cli import main
from cbir_daemon.client import Client

STEPS = {"os.link", "os.remove", "os.rename", "os.mkdir"}


class Steps:
    """Counts steps, once the first note has been asked for: what comes before touches no file."""

    def __init__(self, last: int) -> None:
        self.to_go = last
        self.noted = False

    def count(self) -> None:
        """Die at the last one."""
        if self.noted:
            self.to_go -= 1
            if self.to_go < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear of everything that the interpreter does."""
        if event in STEPS or (event == "open" and arguments[1] not in (None, "r", "rb")):
            self.count()


def note(steps: Steps) -> None:
    """Let notes in the journal be steps too."""
    real = Client.resolve_note

    def counted(client: Client, *positional: Any, **named: Any) -> Any:  # noqa: ANN401 -- whatever the client takes and gives
        steps.noted = True
        steps.count()
        answer = real(client, *positional, **named)
        steps.count()
        return answer

    Client.resolve_note = counted  # type: ignore[method-assign,assignment]  # counts in its place


if __name__ == "__main__":
    steps = Steps(int(sys.argv.pop(1)))
    note(steps)
    sys.addaudithook(steps.hook)
    main()
