"""The daemon's side of search processes: started when searches wait, brought up to date, asked, and ended when idle.

In: searches of a snapshot and what is asked of them.  Out: what they return, from wherever it is done.  Never here: how
a snapshot is searched, whose turn it is (`turns`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cbir_daemon import __version__
from cbir_daemon.errors import ChildError, StorageError, TimedOutError, UnavailableError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.records import Problem
from cbir_daemon.search.operations import OPERATIONS
from cbir_daemon.search.published import Part, Publisher
from cbir_daemon.search.search import Search
from cbir_daemon.search.turns import Turn, Turns, Urgency
from cbir_daemon.search.wire import decoded, encoded
from cbir_daemon.system.child import Channel, Child, Process

logger = logging.getLogger(__name__)

PROCESS_MODULE: Final = "cbir_daemon.search.process"

IDLE_S: Final = 60.0
"""After so many seconds without a search a process ends: starting it takes half a second of processor time."""

ANSWER_TIMEOUT_S: Final = 120.0
"""No search takes so long, not even of a million images on a busy machine: a process that says nothing hangs."""

RETRY_S: Final = 30.0
"""Wait before processes are started again after one could not be."""

CLOSED: Final = "the daemon is stopping"

ENTERED: Final = 4
"""Questions of clients that are answered at once, for each that is searched for: the others of these are being read.

Where other programs want the processors, fewer would leave them idle at times.
"""

SMALL: Final = 2_000
"""Contents below which a process is started only when questions wait: a search is over in 30 ms."""


class SearchProcess(Child):
    """A search process, and which parts of snapshots it has.

    It answers its first message when it is ready.

    Parameters
    ----------
    module, process, channel, lifeline
        As of `Child`.
    """

    def __init__(self, module: str, process: Process, channel: Channel, lifeline: int) -> None:
        super().__init__(module, process, channel, lifeline)
        self.used_s = time.monotonic()
        self._parts: dict[str, Part] = {}

    def is_ready(self) -> bool:
        """Return whether it may be asked by now.

        Raises
        ------
        ChildError
            When it never will be: it refused to start.
        """
        try:
            answer = self.receive(0).message
        except TimedOutError:
            return False
        if "refused" in answer:
            raise ChildError(f"{self.module} refused to start: {answer['refused']}")
        return True

    def bring(self, parts: Mapping[str, Part]) -> None:
        """Give it parts of a snapshot, those that it does not have."""
        for name, part in parts.items():
            if self._parts.get(name) is not part:
                self.send(part.message, descriptors=[part.shared.descriptor])
                self._parts[name] = part


class Processes:
    """Searches, wherever there is a place: in a search process, or in the caller's thread.

    Parameters
    ----------
    index : Path
        The SQLite file that holds the vectors.
    most : int
        Processes, at most; with 0 all is done in callers' threads.
    at_once : int
        Questions that are searched for at the same time.
    idle_s : float
        After so many seconds without a search a process ends; see `close_idle`.
    small : int
        Contents below which a process is started only when questions wait.
    answer_timeout_s : float
        After so many seconds a process that has not answered is killed.
    module : str
        What a process runs.

    Notes
    -----
    Any thread may call any method.  No thread of its own: those who search see that a process is ready.
    """

    def __init__(
        self,
        index: Path,
        most: int,
        at_once: int,
        *,
        idle_s: float = IDLE_S,
        small: int = SMALL,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        module: str = PROCESS_MODULE,
    ) -> None:
        self._index = index
        self._most = most
        self._at_once = at_once
        self._idle_s = idle_s
        self._small = small
        self._answer_timeout_s = answer_timeout_s
        self._module = module
        self._turns = Turns[SearchProcess](at_once)
        self._entrance = Turns[SearchProcess](ENTERED * at_once)
        self._publisher = Publisher()
        # Guards everything below.
        self._lock = threading.Lock()
        self._starting: list[SearchProcess] = []
        self._failed_s = -RETRY_S
        self._trouble = ""
        self._closed = False

    # -- asked from any thread ---------------------------------------------------------------------------------------

    @contextmanager
    def question(self) -> Iterator[None]:
        """Let a question of a client in when it is its turn; it is answered while the block runs.

        Raises
        ------
        UnavailableError
            When the daemon stops.

        Notes
        -----
        A question is read, searched, read again and compared.  Without an entrance it would wait at each of these for
        questions that came after it.
        """
        turn = self._entrance.take(Urgency.QUESTION)
        try:
            yield
        finally:
            self._entrance.give_back(turn)

    def run(self, urgency: Urgency, search: Search, name: str, *arguments: object) -> Any:  # noqa: ANN401 -- see `OPERATIONS`
        """Return the result of an operation, as soon as it is the caller's turn.

        Parameters
        ----------
        urgency : Urgency
        search : Search
        name : str
            Of the operation, in `OPERATIONS`.
        *arguments : object
            Of the operation.

        Raises
        ------
        StorageError
            When the index cannot be read.
        ChildError
            When two processes died over it.
        UnavailableError
            When the daemon stops.
        """
        try:
            return self._run(urgency, search, name, arguments)
        except ChildError as error:
            # It may have been killed for want of memory, or by somebody: what was asked need not be to blame.
            logger.warning("search is tried again reason=%s", error)
            return self._run(urgency, search, name, arguments)

    def _run(self, urgency: Urgency, search: Search, name: str, arguments: tuple[object, ...]) -> Any:  # noqa: ANN401 -- see `OPERATIONS`
        self.start_if_worthwhile(urgency, search)
        turn = self._turns.take(urgency)
        try:
            return self._done(turn, search, name, arguments)
        except (ChildError, TimedOutError) as error:
            self._turns.lose(turn)
            if self._closed:
                raise UnavailableError(CLOSED) from error
            raise ChildError(f"a search was lost: {error.message}", hint=error.hint) from error
        finally:
            self._end(turn)

    def _done(self, turn: Turn[SearchProcess], search: Search, name: str, arguments: tuple[object, ...]) -> Any:  # noqa: ANN401 -- see `OPERATIONS`
        """Return the result of an operation in the place of a turn."""
        operation = OPERATIONS[name]
        answer = None if turn.place is None else self._answer(turn.place, turn.urgency, search, name, arguments)
        if answer is None:
            return operation.do(search, *arguments)
        if "failed" in answer.message:
            raise StorageError(answer.message["failed"], hint=answer.message["hint"])
        try:
            return decoded(operation.result, answer.blob)
        except ValueError as error:
            raise ChildError("a search process sent a broken answer") from error

    def _answer(
        self, process: SearchProcess, urgency: Urgency, search: Search, name: str, arguments: tuple[object, ...]
    ) -> Frame | None:
        """Return the answer of a process; None when it cannot search that snapshot."""
        is_nice = urgency is not Urgency.QUESTION
        try:
            process.bring(self._publisher.parts(search.snapshot, OPERATIONS[name].reads))
        except OSError as error:
            logger.warning("snapshot not shared reason=%s", error)
            return None
        process.send({"do": "ask", "ask": name, "nice": is_nice}, encoded(arguments))
        answer = process.receive(self._answer_timeout_s)
        process.used_s = time.monotonic()
        return None if "stale" in answer.message else answer

    def close_idle(self, now: float) -> None:
        """Let processes go that were not asked since `idle_s` before `now`, and those that have died."""
        for process in self._turns.withdraw(
            lambda process: now - process.used_s >= self._idle_s or not process.running
        ):
            logger.info("search process ends pid=%d", process.pid)
            process.close()
        if not self.running + self.starting:
            # What only processes read.
            self._publisher.forget()

    def stop(self) -> None:
        """Refuse the questions that are not let in yet, and those that come: the daemon stops."""
        self._entrance.close()

    def close(self) -> None:
        """Kill all processes, and refuse all who wait."""
        self.stop()
        self._publisher.forget()
        with self._lock:
            self._closed = True
            starting, self._starting = self._starting, []
        for process in (*starting, *self._turns.withdraw(lambda _: True)):
            process.close()
        for process in self._turns.close():
            # Not closed here: the thread that waits for it sees its end and does that, or has just done so.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    # -- what is there -----------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Processes that can be asked."""
        return self._turns.open_places

    @property
    def starting(self) -> int:
        """Processes that are not ready yet."""
        with self._lock:
            return len(self._starting)

    @property
    def searching(self) -> int:
        """Searches that have a place."""
        return sum(self._turns.searching(urgency) for urgency in Urgency)

    @property
    def waiting(self) -> int:
        """Questions that are not let in yet, and searches that have no place yet."""
        return self._entrance.waiting + self._turns.waiting

    def pids(self) -> list[int]:
        """Return the process ids of those that can be asked."""
        return [process.pid for process in self._turns.places]

    def problems(self) -> list[Problem]:
        """Return why there are no processes, when they could not be started."""
        if not self._trouble:
            return []
        return [
            Problem(
                f"search processes cannot be started: {self._trouble}",
                "queries are answered without them, slower while many ask; the daemon tries again",
            )
        ]

    # -- start and end -----------------------------------------------------------------------------------------------

    def start_if_worthwhile(self, urgency: Urgency, search: Search) -> None:
        """Start a process, when a search is one of so many, or of so much, that it pays.

        Parameters
        ----------
        urgency : Urgency
        search : Search
            Of the snapshot that is asked.
        """
        rows = search.snapshot.collection.rows
        # Rows that are in memory alone cannot be searched from outside.
        if not self._most or rows.path is None:
            return
        with self._lock:
            self._welcome()
            count = self._turns.open_places + len(self._starting)
            may_start = not self._closed and time.monotonic() - self._failed_s >= RETRY_S
            if may_start and count < self._most and self._is_worthwhile(urgency, len(search.snapshot.collection)):
                self._start(search)

    def _is_worthwhile(self, urgency: Urgency, contents: int) -> bool:
        """Whether a search is one of so many, or of so much, that a process pays."""
        if urgency is Urgency.QUESTION:
            return self._turns.searching(Urgency.QUESTION) >= (1 if contents >= self._small else self._at_once)
        return urgency is Urgency.PASS or contents >= self._small

    def _start(self, search: Search) -> None:
        codes = search.snapshot.collection.rows.path
        opening = {
            "do": "open",
            "index": str(self._index),
            # What it may read: the index, the codes, and the lists beside these.
            "folders": sorted({str(path.absolute().parent) for path in (self._index, codes) if path is not None}),
            "medium": search.medium.location,
            "copy_threshold": search.copy_threshold,
            "release": __version__,
        }
        try:
            self._starting.append(SearchProcess.started(self._module, opening))
        except ChildError as error:
            self._refused(error)

    def _welcome(self) -> None:
        """Open a place for each process that has become ready."""
        for process in list(self._starting):
            try:
                is_ready = process.is_ready()
            except ChildError as error:
                self._starting.remove(process)
                process.close()
                self._refused(error)
                continue
            if is_ready:
                self._starting.remove(process)
                logger.info("search process ready pid=%d", process.pid)
                self._turns.add(process)
                self._trouble = ""

    def _refused(self, error: ChildError) -> None:
        self._failed_s, self._trouble = time.monotonic(), str(error)
        logger.warning("search process not started reason=%s", error)

    def _end(self, turn: Turn[SearchProcess]) -> None:
        """End a turn, and see who has become ready meanwhile."""
        is_open = self._turns.give_back(turn)
        if turn.place is not None and not is_open:
            turn.place.close()
        if self._starting:
            with self._lock:
                self._welcome()
