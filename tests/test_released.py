"""What a release has promised stays: commands, options, keys of the configuration, methods, fields, exit statuses.

`golden/released.txt` lists what the last release had.  A release writes it anew: `python -m tests.test_released >
tests/golden/released.txt`; between two releases lines are added there by nobody and taken out by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from cbir_daemon.config.settings import LISTS, PLACES, SECTIONS, TOP
from cbir_daemon.protocol.messages import ERRORS
from cbir_daemon.serving import handlers
from tests.test_cli import TREES, names
from tests.test_contract import PARAMETERS, TABLES

RELEASED = Path(__file__).parent / "golden" / "released.txt"


def promised() -> Iterator[str]:
    """Yield a line for everything that scripts may rely on."""
    yield from _keys()
    for first, tree in TREES.items():
        for name in names(tree, first):
            yield f"command {name}"
            yield from (f"option {name} {option}" for option in _options(tree, name))
    yield from (f"method {name}" for name in handlers.METHODS)
    yield from (f"parameter {parameter.method} {parameter.name}" for parameter in PARAMETERS)
    yield from (f"field {name} {field}" for name, table in TABLES.items() for field in table)
    yield from (f"error {code} exits {kind.exit_status}" for code, kind in ERRORS.items())


def _keys() -> Iterator[str]:
    yield from (f"key {name}" for name in (*PLACES, *TOP))
    for section, kind in SECTIONS.items():
        yield from (f"key {section}.{key.name}" for key in fields(kind))
    for name, each in LISTS.items():
        yield from (f"key {name}[].{key.name}" for key in fields(each))


def _options(tree: click.Command, name: str) -> Iterator[str]:
    """Yield the words by which a command takes its options, and the places of its arguments."""
    command = tree
    for word in name.split()[1:]:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    for parameter in command.params:
        yield from parameter.opts if isinstance(parameter, click.Option) else [f"<{parameter.name}>"]
        yield from parameter.secondary_opts


@pytest.mark.parametrize("kind", ["key", "command", "option", "method", "parameter", "field", "error"])
def test_nothing_that_was_released_is_gone(kind: str) -> None:
    """Each line of the last release is a line of this one."""
    released = {line for line in RELEASED.read_text(encoding="utf-8").splitlines() if line.startswith(f"{kind} ")}
    assert released
    assert not sorted(released - set(promised()))


def test_the_list_is_in_order() -> None:
    """Sorted, each line once: two releases are compared by `diff`."""
    lines = RELEASED.read_text(encoding="utf-8").splitlines()
    assert lines == sorted(set(lines))


if __name__ == "__main__":
    click.echo("\n".join(sorted(set(promised()))))
