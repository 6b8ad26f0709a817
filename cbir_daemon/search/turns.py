"""The turns of searches, and where they run: one queue for all that ask, by urgency and then by who came first.

In: who asks, the places that are free.  Out: a place for each, in order.  Never here: what a place is; searches.

A place is a process that searches for one caller at a time, or the caller's own thread in the daemon's process.  There
one interpreter's lock is shared with everything else that the daemon does, so it takes what costs least there: a
question that is alone, a question while every process is at something less urgent, and everything while there is no
process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from cbir_daemon.errors import UnavailableError

PATIENCE = 32
"""Callers of greater urgency that go before one, at most: questions that never end delay an alert, and lose none."""


class Urgency(IntEnum):
    """The urgency of a search, the most urgent first."""

    QUESTION = 0
    """A client."""
    ALERT = 1
    """The look-up of a new file, of which somebody may be told."""
    PASS = 2
    """The look-up of many contents among each other."""


Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Turn(Generic[Place]):
    """Leave to search.

    Parameters
    ----------
    urgency : Urgency
    place : Place or None
        None is the caller's own thread.
    """

    urgency: Urgency
    place: Place | None


@dataclass(slots=True, eq=False)
class _Caller(Generic[Place]):
    """One that waits: `passed` counts the more urgent that came later and went before it."""

    urgency: Urgency
    number: int
    passed: int = 0
    turn: Turn[Place] | None = None
    served: threading.Event = field(default_factory=threading.Event)


class Turns(Generic[Place]):
    """The queue.

    Parameters
    ----------
    at_once : int
        Questions that are searched for at the same time; and other searches, in callers' own threads.
    patience : int
        Callers of greater urgency that go before one, at most.

    Notes
    -----
    Any thread may call any method.
    """

    def __init__(self, at_once: int, patience: int = PATIENCE) -> None:
        self._at_once = at_once
        self._patience = patience
        # Guards everything below.
        self._lock = threading.Lock()
        self._places: set[Place] = set()
        self._free: list[Place] = []
        self._current: list[Turn[Place]] = []
        self._waiting: list[_Caller[Place]] = []
        self._count = 0
        self._closed = False

    def take(self, urgency: Urgency) -> Turn[Place]:
        """Return a turn, as soon as it is the caller's.

        Parameters
        ----------
        urgency : Urgency

        Raises
        ------
        UnavailableError
            When the queue is closed.
        """
        with self._lock:
            self._count += 1
            caller = _Caller[Place](urgency, self._count)
            self._waiting.append(caller)
            self._deal()
        caller.served.wait()
        if caller.turn is None:
            raise UnavailableError("the daemon is stopping")
        return caller.turn

    def give_back(self, turn: Turn[Place]) -> bool:
        """End a turn, and return whether its place is still open.

        Parameters
        ----------
        turn : Turn
            From `take`.
        """
        with self._lock:
            self._current.remove(turn)
            is_open = turn.place in self._places
            if turn.place is not None and is_open:
                self._free.append(turn.place)
            self._deal()
        return is_open

    def lose(self, turn: Turn[Place]) -> None:
        """Close the place of a turn, which goes on.

        Parameters
        ----------
        turn : Turn
        """
        with self._lock:
            if turn.place is not None:
                self._places.discard(turn.place)

    def add(self, place: Place) -> None:
        """Open a place."""
        with self._lock:
            self._places.add(place)
            self._free.append(place)
            self._deal()

    def withdraw(self, leaves: Callable[[Place], bool]) -> list[Place]:
        """Close free places and return them.

        Parameters
        ----------
        leaves : callable
            Whether a place is to be closed.
        """
        with self._lock:
            leaving = [place for place in self._free if leaves(place)]
            self._free = [place for place in self._free if place not in leaving]
            self._places.difference_update(leaving)
            self._deal()
        return leaving

    def close(self) -> list[Place]:
        """Refuse all who wait and all who come, and return the places, those in use among them."""
        with self._lock:
            self._closed = True
            self._deal()
            places, self._free = [*self._places], []
            self._places.clear()
        return places

    @property
    def places(self) -> list[Place]:
        """Those that are open, beside callers' own threads."""
        with self._lock:
            return [*self._places]

    @property
    def open_places(self) -> int:
        """How many are open, beside callers' own threads."""
        with self._lock:
            return len(self._places)

    @property
    def waiting(self) -> int:
        """Callers that have no turn yet."""
        with self._lock:
            return len(self._waiting)

    def searching(self, urgency: Urgency) -> int:
        """Return how many callers of an urgency have a turn."""
        with self._lock:
            return self._searching(urgency)

    # -- under the lock ----------------------------------------------------------------------------------------------

    def _deal(self) -> None:
        """Give turns, as long as somebody who is next has a place."""
        while (caller := self._next()) is not None:
            self._waiting.remove(caller)
            if not self._closed:
                caller.turn = Turn(caller.urgency, self._place_for(caller.urgency))
                self._current.append(caller.turn)
                for overtaken in self._waiting:
                    overtaken.passed += overtaken.number < caller.number
            caller.served.set()

    def _next(self) -> _Caller[Place] | None:
        """Return who has a turn now; None when all must wait."""
        for caller in sorted(self._waiting, key=self._rank):
            if self._closed or self._has_place(caller):
                return caller
            # While a question waits nobody else begins; who was passed too often waits for the next process only.
            if caller.urgency is Urgency.QUESTION:
                return None
        return None

    def _rank(self, caller: _Caller[Place]) -> tuple[bool, Urgency, int]:
        return caller.passed < self._patience, caller.urgency, caller.number

    def _has_place(self, caller: _Caller[Place]) -> bool:
        own = [turn for turn in self._current if turn.place is None]
        if caller.urgency is Urgency.QUESTION:
            return self._searching(Urgency.QUESTION) < self._at_once
        return bool(self._free) or (
            not self._places and sum(turn.urgency is not Urgency.QUESTION for turn in own) < self._at_once
        )

    def _place_for(self, urgency: Urgency) -> Place | None:
        # A question that is alone: a process would cost it the way there and back.
        is_alone = urgency is Urgency.QUESTION and not self._searching(Urgency.QUESTION)
        return None if is_alone or not self._free else self._free.pop()

    def _searching(self, urgency: Urgency) -> int:
        return sum(turn.urgency is urgency for turn in self._current)
