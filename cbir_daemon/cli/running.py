"""How click's commands end: what click finds wrong with a command line is an error like any other.

In: a click command.  Out: an exit status.  Never here: what the command does.
"""

from __future__ import annotations

import click

from cbir_daemon.cli.ending import INTERRUPTED, exit_with, status_after
from cbir_daemon.cli.printing import say
from cbir_daemon.errors import BadRequestError


def run(command: click.Command, name: str) -> None:
    """Run a command and exit the process with its status.

    Parameters
    ----------
    command : click.Command
        Read from the arguments of this process.
    name : str
        Name of the program, in help and messages.
    """
    exit_with(lambda: _called(command, name), name)


def status_of(command: click.Command, name: str) -> int:
    """Run a command, say what went wrong on stderr, and return the exit status.

    Parameters
    ----------
    command : click.Command
        Read from the arguments of this process.
    name : str
        Name of the program, in help and messages.
    """
    return status_after(lambda: _called(command, name), name)


def _called(command: click.Command, name: str) -> int:
    try:
        result = command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return BadRequestError.exit_status
    except click.UsageError as error:
        context = f"`{error.ctx.command_path} --help` shows what it takes" if error.ctx else ""
        raise BadRequestError(error.format_message().rstrip("."), hint=context) from error
    except click.ClickException as error:
        raise BadRequestError(error.format_message()) from error
    except click.Abort:
        return INTERRUPTED
    return result if isinstance(result, int) else 0
