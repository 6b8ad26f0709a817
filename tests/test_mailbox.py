"""Each path is held once, until nothing was said of it for a while."""

from __future__ import annotations

import threading

import pytest

from cbir_daemon.watching.mailbox import Mailbox
from tests.fakes import FakeClock

QUIET_S = 2.0
LONG_S = 600.0


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def mailbox(clock: FakeClock) -> Mailbox:
    """An empty mailbox."""
    return Mailbox(clock)


def test_a_path_is_due_once_it_was_quiet(mailbox: Mailbox, clock: FakeClock) -> None:
    """Not a moment before, and then once."""
    mailbox.put([b"/a"], QUIET_S)
    assert mailbox.take() == []
    clock.advance(QUIET_S - 0.001)
    assert mailbox.take() == []
    assert len(mailbox) == 1
    clock.advance(0.001)
    assert mailbox.take() == [b"/a"]
    assert mailbox.take() == []
    assert len(mailbox) == 0


def test_each_word_of_a_path_puts_it_off(mailbox: Mailbox, clock: FakeClock) -> None:
    """A file that is written to for minutes is held once and taken once, after the last word."""
    for _ in range(100):
        mailbox.put([b"/a"], QUIET_S)
        clock.advance(QUIET_S / 2)
        assert mailbox.take() == []
    clock.advance(QUIET_S / 2)
    assert mailbox.take() == [b"/a"]


def test_paths_do_not_wait_for_each_other(mailbox: Mailbox, clock: FakeClock) -> None:
    """What is due comes sorted, the rest stays."""
    mailbox.put([b"/c", b"/a"], 0.0)
    mailbox.put([b"/b"], QUIET_S)
    assert mailbox.take() == [b"/a", b"/c"]
    clock.advance(QUIET_S)
    assert mailbox.take() == [b"/b"]


def test_a_request_to_look_now_is_not_put_off(mailbox: Mailbox) -> None:
    """The last word counts, whichever is earlier."""
    mailbox.put([b"/a"], QUIET_S)
    mailbox.put([b"/a"], 0.0)
    assert mailbox.take() == [b"/a"]


def test_waiting_ends_when_something_is_due(mailbox: Mailbox) -> None:
    """At once when it is due already."""
    mailbox.put([b"/a"], 0.0)
    mailbox.wait(LONG_S)
    assert mailbox.take() == [b"/a"]


def test_waiting_ends_in_time(mailbox: Mailbox) -> None:
    """With nothing in the mailbox, or nothing due."""
    mailbox.wait(0.0)
    mailbox.put([b"/a"], LONG_S)
    mailbox.wait(0.0)
    assert mailbox.take() == []


def test_a_wake_before_the_wait_counts_and_counts_once(mailbox: Mailbox) -> None:
    """Nobody is asleep who was woken a moment too early."""
    mailbox.wake()
    mailbox.wait(LONG_S)
    waiting = threading.Thread(target=mailbox.wait, args=(LONG_S,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    mailbox.wake()
    waiting.join(30)
    assert not waiting.is_alive()


def test_whoever_waits_can_be_woken(mailbox: Mailbox) -> None:
    """By another thread, long before the time is over."""
    waiting = threading.Thread(target=mailbox.wait, args=(LONG_S,))
    waiting.start()
    mailbox.wake()
    waiting.join(30)
    assert not waiting.is_alive()


def test_whoever_waits_hears_of_a_path() -> None:
    """A put from another thread ends the wait when its path is due, by the real clock."""
    mailbox = Mailbox()
    waiting = threading.Thread(target=mailbox.wait, args=(LONG_S,))
    waiting.start()
    mailbox.put([b"/a"], 0.01)
    waiting.join(30)
    assert mailbox.take() == [b"/a"]
