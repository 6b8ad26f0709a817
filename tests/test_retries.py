"""A file that its disk failed to give is tried again, ever more seldom."""

from __future__ import annotations

import math

import pytest

from cbir_daemon.indexing.retries import FIRST_PAUSE_S, LONGEST_PAUSE_S, Retries
from cbir_daemon.records import FileState
from tests.fakes import FakeClock

STATE = FileState(1, 2, 3)
CHANGED = FileState(1, 9, 3)
FAILED = (b"/album/a", b"/album/sub/b", b"/albums/c")


def test_the_pause_doubles_up_to_a_day() -> None:
    """Each failure of the same file in the same state doubles it."""
    clock = FakeClock()
    retries = Retries(clock)
    pauses = []
    for _ in range(13):
        retries.failed(b"/a", STATE)
        pauses.append(retries.due_in_s())
        assert retries.take_due() == []
        clock.advance(pauses[-1])
        assert retries.take_due() == [b"/a"]
    assert pauses[:4] == [FIRST_PAUSE_S * factor for factor in (1, 2, 4, 8)]
    assert pauses[-2:] == [LONGEST_PAUSE_S] * 2


def test_a_file_that_changed_is_not_held_back() -> None:
    """It may lie elsewhere on the disk now; when it fails too, pauses begin anew."""
    clock = FakeClock()
    retries = Retries(clock)
    retries.failed(b"/a", STATE)
    clock.advance(FIRST_PAUSE_S)
    retries.failed(b"/a", STATE)
    assert retries.holds_back(b"/a", STATE)
    assert not retries.holds_back(b"/a", CHANGED)
    assert not retries.holds_back(b"/b", STATE)
    retries.failed(b"/a", CHANGED)
    clock.advance(FIRST_PAUSE_S)
    assert not retries.holds_back(b"/a", CHANGED)


def test_each_file_is_due_by_itself_and_once() -> None:
    """In order of path; what was read meanwhile is not due."""
    clock = FakeClock()
    retries = Retries(clock)
    assert retries.due_in_s() == math.inf
    for path in (b"/c", b"/b", b"/a"):
        retries.failed(path, STATE)
    clock.advance(1.0)
    retries.failed(b"/late", STATE)
    retries.forget(b"/b")
    clock.advance(FIRST_PAUSE_S - 1.0)
    assert retries.take_due() == [b"/a", b"/c"]
    assert retries.take_due() == []
    assert retries.due_in_s() == 1.0
    clock.advance(1.0)
    assert retries.take_due() == [b"/late"]


def test_tries_come_to_an_end() -> None:
    """A file with so many tries is tried no more, until it changes; then they begin anew."""
    clock = FakeClock()
    retries = Retries(clock)
    for pause in (1, 2, 4):
        retries.failed(b"/a", STATE, 3)
        assert retries.due_in_s() == FIRST_PAUSE_S * pause
        clock.advance(retries.due_in_s())
        assert retries.take_due() == [b"/a"]
    retries.failed(b"/a", STATE, 3)
    assert retries.due_in_s() == math.inf
    clock.advance(10 * LONGEST_PAUSE_S)
    assert retries.take_due() == []
    assert retries.holds_back(b"/a", STATE)
    assert not retries.holds_back(b"/a", CHANGED)
    retries.failed(b"/a", CHANGED, 3)
    assert retries.due_in_s() == FIRST_PAUSE_S


@pytest.mark.parametrize(
    ("below", "tried"),
    [
        (None, set(FAILED)),
        (b"/", set(FAILED)),
        (b"/album", {b"/album/a", b"/album/sub/b"}),
        (b"/album/sub", {b"/album/sub/b"}),
        (b"/album/a", {b"/album/a"}),
        (b"/alb", set()),
    ],
)
def test_pauses_are_ended_below_a_path(below: bytes | None, tried: set[bytes]) -> None:
    """Those of files given up too; what fails again has its next, longer pause."""
    clock = FakeClock()
    retries = Retries(clock)
    for path in FAILED:
        retries.failed(path, STATE, 0)
    retries.end_pauses(below)
    assert {path for path in FAILED if not retries.holds_back(path, STATE)} == tried
    for path in tried:
        retries.failed(path, STATE)
        assert retries.holds_back(path, STATE)
        assert retries.due_in_s() == 2 * FIRST_PAUSE_S
