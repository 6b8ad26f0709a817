"""A line that runs without click means what click takes it for; every other line is click's."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_daemon.cli.asking import COMMANDS, KINDS, LIKENESSES
from cbir_daemon.cli.declared import as_command
from cbir_daemon.cli.entry import maybe_run
from cbir_daemon.cli.options import values_of
from cbir_daemon.comparison import Likeness
from cbir_daemon.kinds import Kind

FLAGS = "- -- -n -n5 -n=5 --kind --kind=copy --min-score --min-score=.5 --by --by=look --paths0 --paths0=1 --sheet"
MORE_FLAGS = "--sheet= --explain --json --prometheus --help -h --ki"
VALUES = "copy look grey nothing a.jpg a=b 0 5 1000 1001 -5 +5 5_0 \u0665 .5 1. 1.5 1e-1 nan ."
WORDS = [*FLAGS.split(), *MORE_FLAGS.split(), *VALUES.split(), "", " 5", "b c.jpg"]


def test_words_are_those_of_the_rooms() -> None:
    """The words of `--kind` and `--by` stand twice, for the sake of the start; they are the same."""
    assert tuple(Kind) == KINDS
    assert tuple(Likeness) == LIKENESSES


def by_click(name: str, words: list[str]) -> dict[str, Any] | None:
    """Return what click takes the words after the name of a command for; None when it refuses them."""
    try:
        return as_command(name, COMMANDS[name]).make_context(name, list(words)).params
    except (click.ClickException, click.exceptions.Exit):
        return None


@pytest.mark.parametrize("name", COMMANDS)
@given(words=st.lists(st.sampled_from(WORDS), max_size=6))
def test_what_runs_without_click_is_what_click_takes_it_for(name: str, words: list[str]) -> None:
    """Of any line, the values are click's, or it is left to click."""
    values = values_of(COMMANDS[name].options, words)
    assert values is None or values == by_click(name, words)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("query", "a.jpg"),
        ("query", "-"),
        ("query", "-n 5 a.jpg"),
        ("query", "a.jpg --kind copy --min-score 0.5 --by look --sheet out.png"),
        ("query", "--kind=shot a.jpg --explain --json"),
        ("query", "--paths0 a.jpg"),
        ("status", ""),
        ("status", "--json"),
        ("status", "--prometheus"),
    ],
)
def test_an_ordinary_line_runs_without_click(name: str, line: str) -> None:
    """Every option can be given, and all have the values that click gives them."""
    values = values_of(COMMANDS[name].options, line.split())
    assert values is not None
    assert values == by_click(name, line.split())


@pytest.mark.parametrize(
    "line",
    [
        *("", "--help", "-h", "--version", "settle", "--socket", "--socket /s", "--socket=/s settle", "nothing"),
        *("query", "query --help", "query a.jpg b.jpg", "query a.jpg -n 5 -n 6", "query -n0 a.jpg", "query -- a.jpg"),
        *("query a.jpg --kind blue", "query a.jpg --kind", "query a.jpg --loud", "--loud query a.jpg", "status a.jpg"),
    ],
)
def test_every_other_line_is_click_s(line: str) -> None:
    """Help, mistakes, and what is seldom written."""
    assert maybe_run(line.split()) is None


@pytest.mark.parametrize("line", ["status", "--socket /s status", "--socket=/s query a.jpg", "query status"])
def test_the_command_may_come_after_the_socket(line: str) -> None:
    """As click has it; an image may be called as a command is."""
    assert maybe_run(line.split()) is not None
