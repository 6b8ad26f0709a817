"""One queue for all that search: who is next, and where."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cbir_daemon.errors import UnavailableError
from cbir_daemon.search.turns import Turn, Turns, Urgency

QUESTION, ALERT, PASS = Urgency


class Queue:
    """A queue whose callers are threads of the test: each keeps its turn until the test ends it."""

    def __init__(self, at_once: int = 1, patience: int = 100) -> None:
        self.turns = Turns[str](at_once, patience)
        self.refused: list[str] = []
        self._served: dict[str, Turn[str]] = {}
        self._held: dict[str, Turn[str]] = {}
        self._waiting = 0
        self._threads: list[threading.Thread] = []

    def wait(self, name: str, urgency: Urgency) -> None:
        """Let a caller wait, after those that wait already."""
        self._threads.append(threading.Thread(target=self._take, args=(name, urgency)))
        self._threads[-1].start()
        self._waiting += 1
        while self.turns.waiting < self._waiting:
            pass

    def _take(self, name: str, urgency: Urgency) -> None:
        try:
            self._served[name] = self.turns.take(urgency)
        except UnavailableError:
            self.refused.append(name)

    def now_served(self) -> set[str]:
        """Return who waited when this was asked last, and does no more."""
        served, self._waiting = self._waiting - self.turns.waiting, self.turns.waiting
        while len(self._served) < served:
            pass
        turns, self._served = self._served, {}
        self._held |= turns
        return set(turns)

    def end(self, name: str) -> set[str]:
        """End the turn of a caller, and return who is served then."""
        self.turns.give_back(self._held.pop(name))
        return self.now_served()

    def join(self) -> None:
        """Wait until nobody waits."""
        for thread in self._threads:
            thread.join()


@contextmanager
def held(queue: Queue, *urgencies: Urgency) -> Iterator[list[Turn[str]]]:
    """Hold turns, one after the other, and give them back."""
    held_turns = [queue.turns.take(urgency) for urgency in urgencies]
    yield held_turns
    for turn in held_turns:
        queue.turns.give_back(turn)


def places(turns: list[Turn[str]]) -> list[str | None]:
    """Return where those who have turns search."""
    return [turn.place for turn in turns]


def test_questions_come_before_alerts_before_the_pass() -> None:
    """Whoever waits longer, and in each the first that came; while a question waits, nobody else begins."""
    queue = Queue()
    queue.turns.add("process")
    busy, asked = queue.turns.take(PASS), queue.turns.take(QUESTION)
    for name, urgency in (("pass", PASS), ("alert", ALERT), ("q", QUESTION), ("alert 2", ALERT), ("q 2", QUESTION)):
        queue.wait(name, urgency)
    queue.turns.give_back(busy)
    assert queue.now_served() == set()
    queue.turns.give_back(asked)
    assert queue.now_served() == {"q"}
    # The last question has its turn, and the process is free for who comes after it.
    assert queue.end("q") == {"q 2", "alert"}
    assert queue.end("q 2") == set()
    assert queue.end("alert") == {"alert 2"}
    assert queue.end("alert 2") == {"pass"}
    queue.end("pass")
    queue.join()


def test_nobody_is_passed_for_ever() -> None:
    """After so many of greater urgency that came later the next process is for the first of the others."""
    queue = Queue(patience=2)
    queue.turns.add("process")
    busy, asked = queue.turns.take(PASS), queue.turns.take(QUESTION)
    queue.wait("pass", PASS)
    for number in range(4):
        queue.wait(f"q{number}", QUESTION)
    queue.turns.give_back(asked)
    assert queue.now_served() == {"q0"}
    assert queue.end("q0") == {"q1"}
    # The pass has been passed twice by now, and holds up no question.
    assert queue.end("q1") == {"q2"}
    queue.turns.give_back(busy)
    assert queue.now_served() == {"pass"}
    assert queue.end("q2") == {"q3"}
    for name in ("q3", "pass"):
        queue.end(name)
    queue.join()


def test_a_question_alone_is_searched_where_it_came_in() -> None:
    """The next go to processes, as many at once as there are processors."""
    queue = Queue(at_once=2)
    queue.turns.add("a")
    with held(queue, QUESTION, QUESTION) as turns:
        assert places(turns) == [None, "a"]
        assert queue.turns.searching(QUESTION) == 2
        queue.wait("third", QUESTION)
    assert queue.now_served() == {"third"}
    queue.end("third")


def test_a_question_never_waits_for_the_pass() -> None:
    """Where every process is at something less urgent, it is searched where it came in."""
    queue = Queue(at_once=2)
    for process in "ab":
        queue.turns.add(process)
    with held(queue, PASS, ALERT, QUESTION, QUESTION) as turns:
        assert set(places(turns[:2])) == {"a", "b"}
        assert places(turns[2:]) == [None, None]


def test_the_pass_leaves_the_daemon_alone_once_there_is_a_process() -> None:
    """Before, it is searched where it came in; afterwards it waits for a process."""
    queue = Queue(at_once=1)
    with held(queue, PASS) as turns:
        assert places(turns) == [None]
        queue.wait("alert", ALERT)
        queue.turns.add("process")
        assert queue.now_served() == {"alert"}
        queue.end("alert")
    with held(queue, PASS) as turns:
        assert places(turns) == ["process"]
        queue.wait("pass", PASS)
        queue.turns.lose(turns[0])
    assert queue.now_served() == {"pass"}
    queue.end("pass")


def test_a_lost_place_is_given_to_nobody() -> None:
    """And free ones can be taken away."""
    queue = Queue(at_once=2)
    for process in "ab":
        queue.turns.add(process)
    turn = queue.turns.take(PASS)
    assert turn.place == "b"
    queue.turns.lose(turn)
    assert not queue.turns.give_back(turn)
    assert queue.turns.places == ["a"]
    assert queue.turns.withdraw(lambda place: place == "b") == []
    assert queue.turns.withdraw(lambda place: place == "a") == ["a"]
    assert queue.turns.open_places == 0


def test_who_waits_at_the_end_is_refused() -> None:
    """And who comes later; the places in use are returned, for somebody must end them."""
    queue = Queue(at_once=1)
    queue.turns.add("process")
    with held(queue, PASS, QUESTION):
        queue.wait("question", QUESTION)
        assert queue.turns.close() == ["process"]
        queue.join()
        assert queue.refused == ["question"]
        with pytest.raises(UnavailableError, match="the daemon is stopping"):
            queue.turns.take(ALERT)
