"""When what is told to whom, and that it arrives.

In: alerts in the store.  Out: messages to every place in use, each at least once, with its id.  Never here: how a place
is spoken to, which alerts are wanted.

An alert is committed with the decision that caused it, and delivered after that.  The store knows of each place which
alert it had last and which message is under way: after a kill that very message, with the same id, is sent again.  One
thread decides; each delivery runs on a thread of its own, so that one that hangs holds up nobody else.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cbir_daemon.alerts.message import Message
from cbir_daemon.alerts.sinks import LOG, Sink, log_sink, sink_of
from cbir_daemon.config import AlertsConfig, Config, is_within
from cbir_daemon.errors import CbirError, NotFoundError, SinkError
from cbir_daemon.records import Problem
from cbir_daemon.store import SinkState, Store
from cbir_daemon.wording.counting import clause

logger = logging.getLogger(__name__)

POLL_S = 60.0
"""How often it is looked whether quiet hours are over."""

LONGEST_BUNDLE = 30
"""A burst without end is told after so many times `bundle_s`."""

LONGEST_RETRY_S = 3600.0
GRACE_S = 30.0
"""A delivery that has not come back so long after its time is a problem."""

STOP_WAIT_S = 3.0


@dataclass(frozen=True, slots=True)
class _Attempt:
    thread: threading.Thread
    last_id: int
    started: float


@dataclass(slots=True)
class _Line:
    """The queue of one place; only the outbox's own thread starts and ends attempts."""

    sink: Sink
    attempt: _Attempt | None = None
    failures: int = 0
    retry_at: float = 0.0
    error: CbirError | None = None


@dataclass(frozen=True, slots=True)
class _Result:
    line: _Line
    last_id: int
    error: CbirError | None = None


@dataclass(frozen=True, slots=True)
class Clocks:
    """The three times that count: since the epoch, since some moment without ever going back, and of the day."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    local: Callable[[], datetime] = field(default=lambda: datetime.now().astimezone())


class Outbox:
    """Delivers alerts from the store.

    Parameters
    ----------
    store : Store
    clocks : Clocks, optional
    make_sink : callable, optional
        Makes what speaks to a place; takes what `sink_of` takes.

    Notes
    -----
    `configure`, `test`, `problems` and `stop` may be called from any thread.
    """

    def __init__(self, store: Store, clocks: Clocks | None = None, make_sink: Callable[..., Sink] = sink_of) -> None:
        self._store = store
        self._clocks = clocks or Clocks()
        self._make_sink = make_sink
        self.settings = AlertsConfig()
        self._sinks: dict[str, Sink] = {}
        self._lines: dict[str, _Line] = {}
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._stopping = threading.Event()
        # Held while a decision is taken, never while something is delivered.
        self._turn = threading.Lock()

    def configure(self, config: Config) -> None:
        """Take up settings; what failed before is tried at once, what is under way comes to its end."""
        settings, sinks = config.alerts, config.sinks
        with self._turn:
            self.settings = settings
            self._sinks = {LOG: log_sink(), **{sink.name: self._make_sink(sink, self._stopping) for sink in sinks}}
            before = self._lines
            self._lines = {name: _Line(self._sinks[name]) for name in settings.sinks}
            for name, line in self._lines.items():
                # Its result goes to the line that is no more, but while it is under way nothing else may be.
                line.attempt = before[name].attempt if name in before else None
            self._store.sinks.open(settings.sinks)
        for name in self._sinks.keys() - {LOG, *settings.sinks}:
            logger.warning("sink gets no alerts, alerts.sinks does not name it name=%s", name)
        self._store.wake()

    def run(self) -> None:
        """Deliver what is due, until stopped."""
        while not self._stopping.is_set():
            moment = self._store.moment
            self._store.wait_for_change(moment, min(self.step(), POLL_S))
        self._finish()

    def stop(self) -> None:
        """Ask the thread to end; what is under way has a moment more."""
        self._stopping.set()

    def step(self) -> float:
        """Take what has come back and start what is due.

        Returns
        -------
        float
            Seconds until something else is due; infinite when nothing waits.
        """
        with self._turn:
            self._take_results()
            states = self._store.sinks.states()
            waits = [self._advance(line, states[name]) for name, line in self._lines.items() if name in states]
        return min(waits, default=math.inf)

    def test(self, name: str) -> float:
        """Send a test through one place, in use or not, and return the seconds that it took.

        Raises
        ------
        NotFoundError
            When there is no place of that name.
        SinkError
            When it was not delivered.
        """
        sink = self._sinks.get(name)
        if sink is None:
            raise NotFoundError(f"no sink is called {name}", hint=f"there are {', '.join(self._sinks)}")
        before = time.monotonic()
        try:
            sink.send(Message((), ()))
        except SinkError as error:
            raise SinkError(f"sink {name}: {error.message}", hint=error.hint) from error
        return time.monotonic() - before

    @property
    def under_way(self) -> dict[str, threading.Thread]:
        """Name of each place that has a message coming -> the thread that brings it."""
        with self._turn:
            return {name: line.attempt.thread for name, line in self._lines.items() if line.attempt is not None}

    def is_used(self, name: str) -> bool:
        """Whether alerts go to a place."""
        return name in self._lines

    def problems(self) -> list[Problem]:
        """Return which places cannot be reached: those that failed twice, or have not come back."""
        with self._turn:
            lines = list(self._lines.values())
        states, now = self._store.sinks.states(), self._clocks.monotonic()
        return [
            Problem(f"sink {line.sink.name}: {what}; {self._waiting(states.get(line.sink.name))}", do)
            for line in lines
            for what, do in [_trouble(line, now)]
            if what
        ]

    def _waiting(self, state: SinkState | None) -> str:
        waiting = None if state is None else self._store.alerts.waiting(state.delivered_id)
        return clause(0 if waiting is None else waiting.count, "alert", "waits", "wait")

    # -- results -----------------------------------------------------------------------------------------------------

    def _take_results(self) -> None:
        while not self._results.empty():
            result = self._results.get()
            name = result.line.sink.name
            current = self._lines.get(name)
            if current is not None and current.attempt is not None:
                current.attempt = None
            if result.error is None:
                self._store.sinks.end_message(name, result.last_id, self._clocks.now())
            self._note(result.line, result.error)

    def _note(self, line: _Line, error: CbirError | None) -> None:
        if error is None:
            if line.failures:
                logger.info("alerts delivered again sink=%s after=%d", line.sink.name, line.failures)
            line.failures, line.error = 0, None
            return
        line.failures += 1
        asked_s = error.retry_s if isinstance(error, SinkError) else 0.0
        # 2.0**1100 is too large a number.
        doubled_s = self.settings.retry_s * 2.0 ** min(line.failures - 1, 20)
        wait_s = max(asked_s, min(doubled_s, LONGEST_RETRY_S))
        line.retry_at, line.error = self._clocks.monotonic() + wait_s, error
        logger.warning("alerts not delivered sink=%s retry_s=%g reason=%s", line.sink.name, wait_s, error)

    # -- what is due -------------------------------------------------------------------------------------------------

    def _advance(self, line: _Line, state: SinkState) -> float:
        """Start what is due for one place; return the seconds until something will be."""
        if line.attempt is not None:
            return math.inf
        wait_s = self._due_in_s(line, state)
        if wait_s <= 0:
            self._start(line, state)
            return math.inf
        return wait_s

    def _due_in_s(self, line: _Line, state: SinkState) -> float:
        waiting = self._store.alerts.waiting(state.delivered_id)
        if waiting is None:
            return math.inf
        settings, now = self.settings, self._clocks.now()
        if line.sink.bundling.is_patient:
            if settings.quiet_hours is not None and is_within(settings.quiet_hours, self._clocks.local().time()):
                return POLL_S
            if state.trying_id is None:
                quiet_s = _remaining(settings.bundle_s, waiting.newest, now)
                longest_s = _remaining(LONGEST_BUNDLE * settings.bundle_s, waiting.oldest, now)
                interval_s = 0.0 if state.sent_at is None else _remaining(settings.interval_s, state.sent_at, now)
                due_s = max(min(quiet_s, longest_s), interval_s)
                if due_s > 0:
                    return due_s
        return line.retry_at - self._clocks.monotonic()

    def _start(self, line: _Line, state: SinkState) -> None:
        message = self._message(line.sink, state)
        last_id = message.alert_ids[-1]
        if state.trying_id is None:
            self._store.sinks.begin_message(line.sink.name, last_id)
        thread = threading.Thread(target=self._deliver, args=(line, message), name="delivery", daemon=True)
        line.attempt = _Attempt(thread, last_id, self._clocks.monotonic())
        thread.start()

    def _message(self, sink: Sink, state: SinkState) -> Message:
        """Return the waiting alerts, or the message that was under way, as it was."""
        last_id = math.inf if state.trying_id is None else state.trying_id
        ids = self._store.alerts.ids(state.delivered_id, sink.bundling.most)
        alerts = self._store.alerts.listed(state.delivered_id, sink.bundling.few)
        return Message(
            tuple(alert_id for alert_id in ids if alert_id <= last_id),
            tuple(alert for alert in alerts if alert.id <= last_id),
        )

    def _deliver(self, line: _Line, message: Message) -> None:
        """Deliver one message, on a thread of its own."""
        error: CbirError | None = None
        try:
            line.sink.send(message)
        except CbirError as refused:
            error = refused
        # The top of a thread: whatever it was, the message is not delivered, and is tried again.
        except Exception as fault:
            logger.exception("delivery died sink=%s", line.sink.name)
            error = SinkError(f"a fault in the program: {type(fault).__name__}", hint="report the daemon's log")
        self._results.put(_Result(line, message.alert_ids[-1], error))
        self._store.wake()

    def _finish(self) -> None:
        """Wait a little for what is under way, and write down what came of it."""
        deadline = time.monotonic() + STOP_WAIT_S
        for line in self._lines.values():
            if line.attempt is not None:
                line.attempt.thread.join(max(0.0, deadline - time.monotonic()))
        with self._turn:
            self._take_results()


def _remaining(span_s: float, since: float, now: float) -> float:
    """Return the seconds that remain of a span; 0 when the clock was set back, so that its begin is not known."""
    return span_s - (now - since) if now >= since else 0.0


def _trouble(line: _Line, now: float) -> tuple[str, str]:
    """Return the problem of a place and its remedy, or empty text."""
    late_s = 0.0 if line.attempt is None else now - line.attempt.started - line.sink.timeout_s
    if late_s > GRACE_S:
        return f"a message has been under way for {late_s + line.sink.timeout_s:.0f} s", "restart the daemon"
    if line.failures > 1 and line.error is not None:
        do = line.error.hint or "see the message"
        return (
            f"{line.failures} attempts failed: {line.error.message}",
            f"{do}; the daemon tries again, `cbir alerts test {line.sink.name}` tries now",
        )
    return "", ""
