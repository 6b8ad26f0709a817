"""`cbir-daemon man`: the manual pages, from the declarations behind `--help` and the configuration.

In: click's commands, the reference of the configuration, the tree of errors.  Out: pages in the language of man(7).
Never here: what a command does, and any word that is not in a declaration but titles.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator

import click

from cbir_daemon import __version__, config, errors
from cbir_daemon.cli.client import cbir
from cbir_daemon.cli.completing import SHELLS, completion_script

WIDTH = 76
"""Of a line: mandoc's advice is 80 bytes."""

PAGES = ("cbir.1", "cbir-daemon.8", "cbir.toml.5")


def page_text(name: str, daemon: click.Group) -> str:
    """Return a page of the manual.

    Parameters
    ----------
    name : str
        Of `PAGES`.
    daemon : click.Group
        The commands of `cbir-daemon`.
    """
    written: dict[str, Callable[[], Iterator[str]]] = {
        "cbir.1": lambda: _command_page("cbir.1", cbir),
        "cbir-daemon.8": lambda: _command_page("cbir-daemon.8", daemon),
        "cbir.toml.5": _config_page,
    }
    return "\n".join(written[name]()) + "\n"


def shared_files(daemon: click.Group) -> dict[str, str]:
    """Return the pages, and the scripts for shells, by their path below `share`."""
    pages = {f"man/man{name[-1]}/{name}": page_text(name, daemon) for name in PAGES}
    scripts = {
        place.format(program): completion_script(program, shell)
        for program in ("cbir", "cbir-daemon")
        for shell, place in SHELLS.items()
    }
    return pages | scripts


@click.command()
@click.argument("page", metavar="PAGE", type=click.Choice(PAGES))
@click.pass_context
def man(context: click.Context, page: str) -> None:
    """Print a PAGE of the manual: cbir.1, cbir-daemon.8 or cbir.toml.5.

    `man -l <(cbir-daemon man cbir.1)` shows it.
    """
    daemon = context.find_root().command
    assert isinstance(daemon, click.Group)
    click.echo(page_text(page, daemon), nl=False)


def _command_page(page: str, group: click.Group) -> Iterator[str]:
    name = page.rpartition(".")[0]
    about = inspect.cleandoc(group.help or "")
    # The first clause: lists of pages show one line.
    yield from _head(page, re.split(r"[:,.\n]", about)[0])
    context = click.Context(group, info_name=name, help_option_names=["-h", "--help"])
    yield from [".SH SYNOPSIS", f".B {_plain(_usage(group, context))}"]
    yield from [".SH DESCRIPTION", *_paragraphs(about)]
    yield from [".SH OPTIONS", *_options(group, context)]
    yield ".SH COMMANDS"
    for command, inner in _commands(group, context):
        yield from [f".SS {_plain(_usage(command, inner))}", *_paragraphs(command.help or "")]
        yield from _options(command, inner)
    yield from [".SH EXIT STATUS", *_statuses()]
    yield from _see(page)


def _config_page() -> Iterator[str]:
    yield from _head("cbir.toml.5", "configuration of cbir-daemon")
    yield from [".SH DESCRIPTION", "A file in TOML. A key that is left out has its default.", ".SH FILES"]
    yield from ["~/.config/cbir/config.toml", ".br", "/etc/cbir/config.toml"]
    for title, about, keys in config.reference():
        yield from [f".SH {_plain(title) or 'ABOVE THE FIRST SECTION'}", *([_plain(about)] if about else [])]
        for key in keys:
            yield from [".TP", f".B {_plain(key.name)}", *_paragraphs(key.help), ".br"]
            yield from _filled(f"Accepted: {key.accepts}. Default: {key.default}.")
    yield from _see("cbir.toml.5")


def _head(page: str, about: str) -> Iterator[str]:
    name, _, part = page.rpartition(".")
    # A page that says the day on which it was made would be another one each day.
    yield f'.TH {name.upper()} {part} "" "cbir_daemon {__version__}"'
    yield from [".SH NAME", f"{_plain(name)} \\- {_plain(about)}"]


def _see(page: str) -> Iterator[str]:
    names = [f"{name[:-2]}({name[-1]})" for name in PAGES if name != page]
    yield from [".SH SEE ALSO", _plain(", ".join(names))]


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield every command below a group that does something by itself."""
    for name in sorted(group.commands):
        command = group.commands[name]
        inner = click.Context(command, info_name=name, parent=context)
        if not isinstance(command, click.Group):
            yield command, inner
            continue
        if command.invoke_without_command:
            yield command, inner
        yield from _commands(command, inner)


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    # That each command has --help stands once.
    for parameter in command.params if context.parent else command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from [".TP", f".B {_plain(record[0])}", *_paragraphs(record[1])]


def _statuses() -> Iterator[str]:
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    reasons[0].append("Found, done.")
    reasons[1].append("Nothing found.")
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.CbirError) and kind is not errors.CbirError:
            reasons[kind.exit_status].append((inspect.getdoc(kind) or "").partition("\n")[0])
    for status in sorted(reasons):
        yield from [".TP", f".B {status}", *_filled(" ".join(reasons[status]))]


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a text as click shows it: paragraphs are filled, those that begin with BS are not."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".sp"
        if paragraph.startswith("\b\n"):
            yield from [".nf", *map(_plain, paragraph.splitlines()[1:]), ".fi"]
        else:
            yield from _filled(paragraph)


def _filled(text: str) -> list[str]:
    """Return the lines of a paragraph, none longer than a page of source should be."""
    lines = textwrap.wrap(_escaped(text), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_line(line) for line in lines]


def _plain(text: str) -> str:
    """Return a text as man(7) prints it: no escapes, no requests, and hyphens that can be copied into a shell."""
    return _line(_escaped(text))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def _line(escaped: str) -> str:
    return re.sub(r"^([.'])", r"\\&\1", escaped)
