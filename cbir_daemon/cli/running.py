"""How both commands end: each error as one line, and the exit status that belongs to it (sysexits.h).

In: a click command.  Out: an exit status.  Never here: what the command does.
"""

from __future__ import annotations

import os
import sys

import click

from cbir_daemon.errors import BadRequestError, CbirError

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def run(command: click.Command, name: str) -> None:
    """Run a command and exit the process with its status.

    Parameters
    ----------
    command : click.Command
        Read from the arguments of this process.
    name : str
        Name of the program, in help and messages.
    """
    # A file name need not be UTF-8 and must come out as it went in, whatever the locale.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]  # no TextIO has it
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]  # no TextIO has it
    sys.exit(status_of(command, name))


def status_of(command: click.Command, name: str) -> int:
    """Run a command, say what went wrong on stderr, and return the exit status.

    Parameters
    ----------
    command : click.Command
        Read from the arguments of this process.
    name : str
        Name of the program, in help and messages.
    """
    try:
        result = command.main(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except CbirError as error:
        return _say(name, error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return BadRequestError.exit_status
    except click.UsageError as error:
        context = f"`{error.ctx.command_path} --help` shows what it takes" if error.ctx else ""
        return _say(name, BadRequestError(error.format_message().rstrip("."), hint=context))
    except click.ClickException as error:
        return _say(name, BadRequestError(error.format_message()))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has had enough (click makes a SystemExit of that); the interpreter must not complain
        # about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _say(name: str, error: CbirError) -> int:
    for line in str(error).splitlines():
        click.echo(f"{name}: {line}", err=True)
    return error.exit_status
