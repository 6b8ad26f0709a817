"""The start of `cbir`: an ordinary line of `query` or `status` runs at once, anything else is click's.

In: the arguments of the process.  Out: its exit status.  Never here: what a command does; help, mistakes,
completion.

To load click takes two and a half times as long as a bare Python takes to start.
"""

from __future__ import annotations

import os
import sys

from cbir_daemon.cli.asking import COMMANDS, connected
from cbir_daemon.cli.ending import INTERRUPTED, exit_with
from cbir_daemon.cli.options import SOCKET, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Run = Callable[[], int]

COMPLETE = "_CBIR_COMPLETE"
"""The variable in which a shell asks click for completions."""


def main() -> None:
    """Run `cbir`."""
    run = None if COMPLETE in os.environ else maybe_run(sys.argv[1:])
    if run is None:
        try:
            from cbir_daemon.cli.client import main as run_by_click  # noqa: PLC0415 -- click is what this saves
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        run_by_click()
    else:
        exit_with(run, "cbir")


def maybe_run(words: Sequence[str]) -> Run | None:
    """Return the work of an ordinary command line of `query` or `status`; None for every other line.

    Parameters
    ----------
    words : sequence of str
        The command line without the name of the program.
    """
    place = next((place for place, word in enumerate(words) if word in COMMANDS), len(words))
    before = values_of((SOCKET,), words[:place])
    if before is None or place == len(words):
        return None
    command = COMMANDS[words[place]]
    values = values_of(command.options, words[place + 1 :])
    if values is None:
        return None
    return lambda: command.run(lambda: connected(before["socket"]), **values)
