"""Workers that read a batch of files together.

In: tasks.  Out: each task with what came of it, in order of completion.  Never here: single requests, pixels.

The files are opened here, and workers get the descriptors: see `opening`.

One thread serves all workers: it waits for whichever answers first.  Each worker has tasks ahead in its pipe, so that
none waits while the caller stores what came before, and gets several in one message once it has done half of them.
Workers answer file by file, in the order in which they were asked, so the oldest unanswered task of a worker that dies
is the one that killed it; the others go to somebody else.
"""

from __future__ import annotations

import contextlib
import math
import select
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import Final

from cbir_daemon.decode.messages import DecodeLimits, ReadTask, read_files_message, result_from
from cbir_daemon.decode.opening import Handle, open_file
from cbir_daemon.decode.processes import (
    CLOSED,
    CRASHED,
    START_TIMEOUT_S,
    WorkerProcess,
    Workers,
    timed_out,
)
from cbir_daemon.decode.reader import Readers
from cbir_daemon.errors import ChildError, TimedOutError, UnavailableError
from cbir_daemon.records import Facts, FileState, Unreadable
from cbir_daemon.system import heartbeat
from cbir_daemon.system.child import MAX_DESCRIPTORS

# Tasks in the pipe of one worker: many while much is left, so that half of them, at 2 ms a file, bridge a pause of the
# caller's of 30 ms (a commit); few at the end, so that no worker sits on tasks while another has none.
MIN_TASKS_AHEAD: Final = 2
MAX_TASKS_AHEAD: Final = MAX_DESCRIPTORS

# While every worker has so many tasks ahead, answers are let gather for a moment: to wake up for each takes a third of
# what this thread does for a file.
GATHER_TASKS: Final = MAX_TASKS_AHEAD // 2
GATHER_S: Final = 0.005

# Descriptors open here, or on their way to all workers together: the kernel counts both, and 1 024 is a common limit.
MAX_DESCRIPTORS_AHEAD: Final = 256

# While it waits for workers, a batch looks this often whether the workers were closed.
CLOSE_CHECK_S: Final = 0.2

# So many workers in a row that die before they are ready are a broken installation.
MAX_FAILED_STARTS: Final = 3

Result = tuple[ReadTask, Facts | Unreadable]


class _Worker:
    """A child and the tasks it was sent and has not answered, oldest first, with the states of their files."""

    def __init__(self, child: WorkerProcess) -> None:
        self.child = child
        self.tasks: deque[tuple[ReadTask, FileState]] = deque()
        self.ready = False
        self.deadline = time.monotonic() + START_TIMEOUT_S

    def send(self, opened: Sequence[tuple[ReadTask, Handle]], media: Sequence[Sequence[str]], timeout_s: float) -> None:
        if self.ready and not self.tasks:
            self.deadline = time.monotonic() + timeout_s
        self.tasks.extend((task, handle.state) for task, handle in opened)
        # A dead worker is found out, and its tasks saved, where answers are collected.
        with contextlib.suppress(ChildError):
            message = read_files_message([task.known for task, _ in opened], media)
            self.child.send(message, descriptors=[handle.descriptor for _, handle in opened])


class BatchWorkers:
    """At most `workers` processes that read the files of a batch.

    Parameters
    ----------
    workers : int
        Processes at the same time.
    limits : DecodeLimits
        What one file may cost.
    readers : Readers
        What the processes read.
    idle_s : float
        After so many seconds without a batch all workers leave.
    starter : Workers
        Starts them.

    Notes
    -----
    `read_files` belongs to one thread at a time; `close_idle` and `close` may be called from others.
    """

    def __init__(
        self,
        workers: int,
        limits: DecodeLimits,
        readers: Readers,
        idle_s: float,
        starter: Workers,
    ) -> None:
        self._size = workers
        self._limits = limits
        self._readers = readers
        self._idle_s = idle_s
        self._starter = starter
        self.decoded = 0
        # Held while workers are started, waited for or closed; not while the caller has a result in hand.
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        # Opened for the next worker that has room; only the thread of the batch touches it.
        self._opened: deque[tuple[ReadTask, Handle]] = deque()
        self._in_batch = False
        self._idle_since: float | None = None
        self._failed_starts = 0
        # Files of this batch that were in hand when a worker died.
        self._suspects: set[bytes] = set()
        self._ended = threading.Event()

    def read_files(self, tasks: Sequence[ReadTask]) -> Generator[Result]:
        """Yield each task with the facts of its file, or why there are none, in order of completion.

        Parameters
        ----------
        tasks : sequence of ReadTask

        Raises
        ------
        ChildError
            When workers cannot be started at all.
        UnavailableError
            When the workers are closed.
        """
        waiting = deque(tasks)
        self._suspects.clear()
        self._in_batch = True
        try:
            while waiting or self._opened or any(worker.tasks for worker in self._workers):
                # Without the lock: a server that does not answer must keep nobody from closing the workers.
                yield from self._open_next(waiting)
                with self._lock:
                    self._hand_out(len(waiting))
                    finished = self._collect(waiting)
                yield from finished
        finally:
            while self._opened:
                self._opened.pop()[1].close()
            with self._lock:
                self._in_batch, self._idle_since = False, None
                # A caller that stopped early leaves tasks behind whose answers nobody wants.
                self._dismiss([worker for worker in self._workers if worker.tasks])

    def warm(self) -> None:
        """Start all workers, so that they load while the caller makes up the tasks of a batch."""
        with self._lock:
            while not self._ended.is_set() and len(self._workers) < self._size:
                self._workers.append(_Worker(self._starter.started()))

    def processes(self) -> list[WorkerProcess]:
        """Return the workers."""
        return [worker.child for worker in self._workers]

    def close_idle(self, now: float) -> None:
        """Let all workers go when no batch ran since the first call that found none, `idle_s` before `now`."""
        # A batch holds the lock nearly always; whoever asks this must not wait for its end.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._in_batch or self._idle_since is None:
                self._idle_since = now
            elif now - self._idle_since >= self._idle_s:
                self._dismiss(self._workers)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Kill all workers."""
        self._ended.set()
        # A batch under way lets go of the lock within CLOSE_CHECK_S.
        with self._lock:
            self._dismiss(self._workers)

    def _dismiss(self, leaving: Sequence[_Worker]) -> None:
        self._starter.measure(worker.child for worker in leaving)
        self._workers = [worker for worker in self._workers if worker not in leaving]
        for worker in leaving:
            worker.child.close()

    def _open_next(self, waiting: deque[ReadTask]) -> Iterator[Result]:
        """Open as many files as the workers have room for; yield the tasks whose files cannot be read."""
        ahead = self._tasks_ahead(len(waiting) + len(self._opened))
        missing = self._size - len(self._workers)
        room = sum(self._room(worker, ahead) for worker in self._workers) + missing * ahead
        while waiting and len(self._opened) < room and not self._ended.is_set():
            task = waiting.popleft()
            opened = open_file(task.path, self._limits.max_file_bytes)
            if isinstance(opened, Unreadable):
                yield task, opened
            else:
                self._opened.append((task, opened))

    def _hand_out(self, files: int) -> None:
        if self._ended.is_set():
            raise UnavailableError(CLOSED)
        self._dismiss([worker for worker in self._workers if not worker.tasks and not worker.child.running])
        open_files = len(self._opened) + sum(len(worker.tasks) for worker in self._workers)
        while len(self._workers) < min(self._size, open_files):
            self._workers.append(_Worker(self._starter.started()))
        ahead = self._tasks_ahead(files + len(self._opened))
        hungry = [worker for worker in self._workers if self._room(worker, ahead)]
        hungry.sort(key=lambda worker: len(worker.tasks))
        for place, worker in enumerate(hungry):
            fair = math.ceil(len(self._opened) / (len(hungry) - place))
            self._send(worker, min(self._room(worker, ahead), fair))

    def _send(self, worker: _Worker, count: int) -> None:
        """Send a worker so many of the files that are open, and close these here."""
        opened = [self._opened.popleft() for _ in range(count)]
        try:
            if opened:
                media = [self._readers.named(task.path) for task, _ in opened]
                worker.send(opened, media, self._limits.timeout_s)
        finally:
            for _, handle in opened:
                handle.close()

    @staticmethod
    def _room(worker: _Worker, ahead: int) -> int:
        """Return how many tasks a worker is sent now: none before it has done half of those that it may have ahead."""
        return ahead - len(worker.tasks) if len(worker.tasks) <= ahead // 2 else 0

    def _tasks_ahead(self, files: int) -> int:
        most = min(MAX_TASKS_AHEAD, MAX_DESCRIPTORS_AHEAD // self._size)
        return max(MIN_TASKS_AHEAD, min(most, files // (2 * self._size)))

    def _collect(self, waiting: deque[ReadTask]) -> list[Result]:
        """Wait for the first answers, or for the first deadline, and return what came of the tasks concerned."""
        heartbeat.beat()
        busy = [worker for worker in self._workers if worker.tasks]
        if not busy:
            return []
        poller = select.poll()
        for worker in busy:
            poller.register(worker.child.fileno(), select.POLLIN)
        if min(len(worker.tasks) for worker in busy) >= GATHER_TASKS:
            self._ended.wait(GATHER_S)
        patience_s = min(worker.deadline for worker in busy) - time.monotonic()
        heard = {fileno for fileno, _ in poller.poll(1000 * min(max(patience_s, 0.0), CLOSE_CHECK_S))}
        results: list[Result] = []
        for worker in busy:
            if worker.child.fileno() in heard:
                results += self._answers(worker, waiting)
            elif time.monotonic() > worker.deadline:
                results += self._lost(worker, waiting, timed_out(self._limits))
        return results

    def _answers(self, worker: _Worker, waiting: deque[ReadTask]) -> Iterator[Result]:
        try:
            while worker.tasks:
                frame = worker.child.receive(0)
                worker.deadline = time.monotonic() + self._limits.timeout_s
                if worker.ready and (name := worker.child.asked_for(frame)):
                    self._starter.name(name)
                    self._replace(worker, waiting)
                elif worker.ready:
                    result = result_from(frame, self._readers)
                    self.decoded += isinstance(result, Facts) and result.vector is not None
                    yield worker.tasks.popleft()[0], result
                worker.ready = True
        except TimedOutError:
            return
        except ChildError:
            yield from self._lost(worker, waiting, CRASHED)

    def _replace(self, worker: _Worker, waiting: deque[ReadTask]) -> None:
        """Let a worker go that must begin anew to load something: its tasks wait again, and no file is to blame."""
        self._dismiss([worker])
        waiting.extendleft(task for task, _ in reversed(worker.tasks))
        worker.tasks.clear()

    def _lost(self, worker: _Worker, waiting: deque[ReadTask], reason: tuple[str, str]) -> Iterator[Result]:
        """Bury a worker: its oldest task is to blame, the others wait again.

        A worker may have been killed for want of memory, or by somebody: what it had in hand is tried once more, last.
        """
        self._dismiss([worker])
        if worker.ready:
            culprit, state = worker.tasks.popleft()
            if reason is CRASHED and culprit.path not in self._suspects:
                self._suspects.add(culprit.path)
                waiting.append(culprit)
            else:
                yield culprit, Unreadable(*reason, state)
        waiting.extendleft(task for task, _ in reversed(worker.tasks))
        self._count_start(worker)

    def _count_start(self, worker: _Worker) -> None:
        # No file is to blame for a worker that never got ready, and trying for ever would help nobody.
        self._failed_starts = 0 if worker.ready else self._failed_starts + 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            self._failed_starts = 0
            raise ChildError("decode workers die while they start", hint="see the log for what they print")
