"""How both commands end: each error as one line, and the exit status that belongs to it (sysexits.h).

In: what a command does.  Out: an exit status.  Never here: click's own errors (`running`).
"""

from __future__ import annotations

import os
import sys

from cbir_daemon.cli.printing import say
from cbir_daemon.errors import CbirError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def exit_with(run: Callable[[], int | None], name: str) -> None:
    """Run a command and exit the process with its status.

    Parameters
    ----------
    run : callable
        Returns an exit status, or None for 0.
    name : str
        Name of the program, in messages.
    """
    _open_closed_streams()
    # A file name need not be UTF-8 and must come out as it went in, whatever the locale.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]  # no TextIO has it
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]  # no TextIO has it
    sys.exit(status_after(run, name))


def _open_closed_streams() -> None:
    """Open nothing in the place of a standard stream that whoever starts the process closed, as by `>&-`."""
    # In this order each takes the descriptor that is free, and no socket is taken for standard output.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 -- until the process ends


def status_after(run: Callable[[], int | None], name: str) -> int:
    """Run a command, say what went wrong on stderr, and return the exit status.

    Parameters
    ----------
    run : callable
        Returns an exit status, or None for 0.
    name : str
        Name of the program, in messages.
    """
    try:
        status = run()
        sys.stdout.flush()
    except CbirError as error:
        for line in str(error).splitlines():
            say(f"{name}: {line}")
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has had enough (click makes a SystemExit of that); the interpreter must not complain
        # about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status or 0
