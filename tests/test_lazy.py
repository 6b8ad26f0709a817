"""Commands are imported when they are called, and nobody can tell but by the time that it takes."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from cbir_daemon.cli.client import ELSEWHERE
from cbir_daemon.cli.lazy import LazyCommands

NAME = "cbir_daemon.cli"


def loaded_after(*argv: str) -> set[str]:
    """Return the modules of `cli` that a fresh process has after `cbir` ran with these arguments."""
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        f"from {NAME} import main\nsys.argv = {['cbir', *argv]!r}\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603 -- ours
    return {module.removeprefix(f"{NAME}.") for module in done.stderr.split() if module.startswith(f"{NAME}.")}


def test_a_command_loads_no_other() -> None:
    """Nobody pays for resolving, reviewing or drawing who does not ask for it."""
    loaded = loaded_after("--socket", "/nowhere", "settle")
    assert "client" in loaded
    assert not {"alerts", "duplicates", "map", "model", "resolve", "review", "dots"} & loaded


def test_a_command_loads_itself() -> None:
    """A command from elsewhere is there when it is called."""
    loaded = loaded_after("map", "--help")
    assert "map" in loaded
    assert "review" not in loaded


def test_every_place_has_its_command() -> None:
    """Each name leads to a command of that name."""
    commands = LazyCommands(ELSEWHERE)
    assert {name: command.name for name, command in commands.items()} == {name: name for name in ELSEWHERE}


def test_commands_are_a_mapping() -> None:
    """Whether a name is there is known without importing; what is set wins, what is deleted is gone."""
    commands = LazyCommands({"far": "no.such.module:command", "near": f"{NAME}.map:map_"})
    assert "far" in commands
    assert "other" not in commands
    assert sorted(commands) == ["far", "near"]
    with pytest.raises(KeyError):
        commands["other"]
    own = click.Command("far")
    commands["far"] = own
    assert commands["far"] is own
    assert len(commands) == 2
    del commands["far"]
    assert list(commands) == ["near"]
    with pytest.raises(KeyError):
        del commands["far"]
