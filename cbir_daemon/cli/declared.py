"""Commands and options that are declared without click, as click's.

In: declarations of `options` and `asking`.  Out: click's commands and options.  Never here: what a command does.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import click

from cbir_daemon.cli import options
from cbir_daemon.cli.asking import Command
from cbir_daemon.cli.common import Number, connected


def as_command(name: str, command: Command) -> click.Command:
    """Return a command of click that does what a command without click does, and takes the same options.

    Parameters
    ----------
    name : str
        Of the command.
    command : Command
    """
    return click.Command(
        name,
        params=[as_parameter(option) for option in command.options],
        callback=functools.partial(command.run, connected),
        help=inspect.cleandoc(command.about),
    )


def as_parameter(option: options.Option) -> click.Parameter:
    """Return an option, or an argument, as click's."""
    kind = _type_of(option.check)
    if not option.flag:
        return click.Argument([option.name], type=kind)
    return click.Option(
        [option.flag, option.name],
        type=kind,
        is_flag=option.check is None,
        default=option.default,
        show_default=option.check is not None and option.default is not None,
        help=option.about,
        metavar=option.metavar,
    )


def _type_of(check: options.Check | None) -> click.ParamType[Any] | None:
    match check:
        case options.Whole():
            return click.IntRange(check.least, check.most)
        case options.Share():
            return Number(0, 1)
        case options.Words():
            return click.Choice(check.known)
        case options.Text():
            return click.Path()
        case _:
            return None
