"""The running daemon: the order in which its rooms start and stop.

In: a `Config`.  Out: a running daemon, until a signal.  Never here: formats, SQL, what a request means.

Start: lock the state, open the store, remember the albums, load the searcher, take up the model, listen, start the
threads, say READY, watch and walk.  Stop: the same in reverse, so that nobody is called who is gone already.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path

from cbir_daemon.config import Config
from cbir_daemon.daemon.rooms import OpenRooms, open_rooms
from cbir_daemon.errors import CbirError, ChildError, InUseError, StorageError, UnavailableError
from cbir_daemon.serving import handlers
from cbir_daemon.serving.handlers.summary import is_busy, summary
from cbir_daemon.serving.server import Server
from cbir_daemon.system import heap, heartbeat, sdnotify
from cbir_daemon.system.signals import Signals

logger = logging.getLogger(__name__)

LOCK_FILE = "lock"
HOUSEKEEPING_S = 5.0
"""Time between two looks at what costs nothing to look at: a tick takes 0.1 ms."""

WATCH_CHECK_S = 30.0
"""Time between two looks whether the kernel's events still come; the walks find what was missed meanwhile."""

TRIM_S = 60.0
"""Time between two returns of free memory: a burst of queries needs again what one has freed."""

STOP_WAIT_S = 10.0
FIRST_RETRY_S = 0.5
RETRY_S = 30.0
"""Wait before a thread whose work the disk refused (full, read-only) tries again: twice the last one, at most this."""

FIXED_SECTIONS = ("decode", "server", "match", "meaning", "shared")
"""Sections that are read once: the pool, the socket, the searcher, the network and the publisher are made with them."""

FIXED_PLACES = {"state_dir": "state", "socket_path": "socket", "media": "media"}
"""Field of `Config` -> key of the file; all are in use until the daemon ends."""


class Service:
    """A daemon on one state directory.

    Parameters
    ----------
    config : Config
    reload : callable
        Reads the configuration again, for SIGHUP; raises `ConfigError`.
    listener : socket.socket, optional
        The socket of a service manager, to be used in place of one of our own.

    Attributes
    ----------
    threads : list of threading.Thread
        Those that are waited for at the end.
    """

    def __init__(self, config: Config, reload: Callable[[], Config], listener: socket.socket | None = None) -> None:
        self._config = config
        self._reload = reload
        self._listener = listener
        self._stop = threading.Event()
        self._signals = Signals()
        self._failed = False
        self.threads: list[threading.Thread] = []

    def run(self, show: Callable[[handlers.Rooms], None] = lambda rooms: None) -> int:
        """Run until SIGTERM or SIGINT and return the exit status.

        Parameters
        ----------
        show : callable, optional
            Called once, when all rooms are open; returns at once.

        Raises
        ------
        CbirError
            When it cannot start; nothing is left running then.
        """
        with ExitStack() as stack:
            # All the time: unhandled it would end a daemon that starts or stops, and look like an end in good order.
            stack.enter_context(self._signals.caught(signal.SIGHUP))
            heap.share_one_heap()
            stack.enter_context(locked_state(self._config.state_dir))
            rooms = stack.enter_context(self.started())
            show(rooms.handled)
            # Not while it stops: a second one ends the process at once.
            with self._signals.caught(signal.SIGTERM, signal.SIGINT):
                sdnotify.notify(sdnotify.READY)
                logger.info("ready socket=%s state=%s", self.socket_path, self._config.state_dir)
                rooms.handled.albums.start(rooms.handled.ingest)
                self._keep_house(rooms)
            sdnotify.notify(sdnotify.STOPPING, sdnotify.status("stopping"))
            logger.info("stopping")
        return 70 if self._failed else 0

    def stop(self) -> None:
        """Ask the daemon to stop."""
        self._stop.set()
        self._signals.put(signal.SIGTERM)

    # -- start -------------------------------------------------------------------------------------------------------

    @contextmanager
    def started(self) -> Iterator[OpenRooms]:
        """Open the rooms, answer questions and run the threads while the block runs; watch nothing yet.

        Raises
        ------
        CbirError
            When it cannot start; nothing is left running then.
        """
        with ExitStack() as closing:
            rooms = open_rooms(lambda: self._config, self._stop, closing)
            self._listen(closing, rooms.handled)
            closing.callback(rooms.handled.albums.stop)
            closing.callback(self._stop_threads, rooms)
            self._start_threads(rooms)
            yield rooms

    def _start_threads(self, rooms: OpenRooms) -> None:
        handled = rooms.handled
        self._start_thread("outbox", handled.outbox.run)
        self._start_thread("pairing", handled.pairing.run)
        self._start_thread("projection", handled.maps.run_projections)
        self._start_thread("refit", handled.maps.run_fits)
        self._start_thread("describing", handled.describer.run)
        if handled.features.enabled:
            self._start_thread("features", handled.features.run)
        if handled.meanings.enabled:
            self._start_thread("meanings", handled.meanings.run)
        self._start_thread("ingest", handled.ingest.run)
        self._start_thread("searching", handled.searcher.run)
        self._start_thread("backups", rooms.backups.run)
        self._start_thread("ahead", rooms.ahead.run)
        if handled.shared is not None:
            self._start_thread("publisher", handled.shared.publisher.run)

    def _listen(self, stack: ExitStack, rooms: handlers.Rooms) -> None:
        server = Server(
            self.socket_path,
            lambda request: handlers.handle(rooms, request),
            lambda: rooms.store.clock,
            max_connections=self._config.server.max_connections,
            max_blob_bytes=self._config.decode.max_file_bytes,
            group=self._config.server.group,
            listener=self._listener,
        )
        server.open()
        stack.callback(server.close)
        self._start_thread("server", server.run, joined=False)

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self._config.socket_path if self._listener is None else Path(self._listener.getsockname())

    def _start_thread(self, name: str, target: Callable[[], None], *, joined: bool = True) -> None:
        thread = threading.Thread(target=self._guarded, args=(name, target), name=name, daemon=not joined)
        thread.start()
        if joined:
            self.threads.append(thread)

    def _guarded(self, name: str, target: Callable[[], None]) -> None:
        """Run a room's loop, again and again while disk or children refuse; a fault of our own ends the daemon."""
        wait_s = FIRST_RETRY_S
        with heartbeat.of(name):
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    target()
                except (StorageError, ChildError, UnavailableError) as error:
                    # What went well for so long has another reason now.
                    wait_s = FIRST_RETRY_S if time.monotonic() - began > RETRY_S else min(2 * wait_s, RETRY_S)
                    if not self._stop.is_set():
                        logger.error("thread waits name=%s retry_s=%s reason=%s", name, wait_s, error)  # noqa: TRY400 -- no fault of ours
                    heartbeat.refused(str(error), wait_s)
                    self._stop.wait(wait_s)
                # The top of a thread: a daemon that lost one is no daemon, so it says why and stops for its supervisor.
                except Exception:
                    logger.exception("thread died name=%s", name)
                    self._failed = True
                    self.stop()

    # -- run ---------------------------------------------------------------------------------------------------------

    def _keep_house(self, rooms: OpenRooms) -> None:
        """Tick until stopped.  An hour of ticks with nothing to do costs a tenth of a second."""
        handled = rooms.handled
        watchdog_s = sdnotify.watchdog_interval_s(os.environ)
        pings, checks, trims = _Timer(watchdog_s or float("inf")), _Timer(WATCH_CHECK_S), _Timer(TRIM_S)
        interval_s = min(HOUSEKEEPING_S, watchdog_s or HOUSEKEEPING_S)
        news = _News(handled)
        while not self._stop.is_set():
            news.tell()
            arrived = self._signals.wait(interval_s)
            if arrived & {signal.SIGTERM, signal.SIGINT}:
                self._stop.set()
            if signal.SIGHUP in arrived:
                self.read_again(rooms)
            now = time.monotonic()
            handled.pool.close_idle(now)
            handled.processes.close_idle(now)
            handled.maps.close_if_idle(now)
            handled.meaning.close_if_idle(now)
            if checks.is_due(now) | handled.albums.is_remounted():
                handled.albums.check()
            if trims.is_due(now):
                heap.give_back()
            if pings.is_due(now) and self.lives(now):
                sdnotify.notify(sdnotify.WATCHDOG)

    def lives(self, now: float) -> bool:
        """Whether every thread goes round.  One that a file system keeps waiting would wait again after a restart."""
        stuck = [thread for thread in heartbeat.late(now) if not thread.waits_for]
        for thread in stuck:
            logger.error("thread stuck name=%s late_s=%.0f", thread.name, now - thread.due)
        return not stuck and all(thread.is_alive() for thread in self.threads)

    def read_again(self, rooms: OpenRooms) -> None:
        """Take what may change while running; what may not waits for a restart, and the log says so."""
        sdnotify.notify(*sdnotify.reloading())
        try:
            asked = self._reload()
            config = _with_what_is_fixed(self._config, asked)
            for room in (*rooms.configurable, _Logging()):
                room.configure(config)
        except CbirError as error:
            logger.error("configuration refused, the old one stays error=%s", error)  # noqa: TRY400 -- the user's mistake
        else:
            for setting in _waiting(self._config, asked):
                logger.warning("needs a restart setting=%s", setting)
            self._config = config
            for album in rooms.handled.store.albums.listed():
                rooms.handled.albums.watch(album)
            rooms.handled.ingest.request_scan()
            logger.info("configuration read again")
        sdnotify.notify(sdnotify.READY)

    # -- stop --------------------------------------------------------------------------------------------------------

    def _stop_threads(self, rooms: OpenRooms) -> None:
        self.stop()
        handled = rooms.handled
        handled.processes.stop()
        for room in (
            handled.maps,
            handled.pairing,
            handled.describer,
            handled.features,
            handled.meanings,
            handled.ingest,
            handled.searcher,
            handled.outbox,
            rooms.backups,
            rooms.ahead,
            *(() if handled.shared is None else (handled.shared.publisher,)),
        ):
            room.stop()
        handled.store.wake()
        deadline = time.monotonic() + STOP_WAIT_S
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logger.warning("thread did not stop in time name=%s", thread.name)


class _Logging:
    """The logger, as a room that keeps a setting."""

    def configure(self, config: Config) -> None:
        """Take the level."""
        logging.getLogger("cbir_daemon").setLevel(config.log.level.upper())


def _waiting(before: Config, after: Config) -> Iterator[str]:
    """Yield the settings that differ and that only a restart changes, as `section.key`."""
    for section in FIXED_SECTIONS:
        old, new = getattr(before, section), getattr(after, section)
        names = [field.name for field in fields(old)]
        yield from (f"{section}.{name}" for name in names if getattr(old, name) != getattr(new, name))
    yield from (key for name, key in FIXED_PLACES.items() if getattr(before, name) != getattr(after, name))


def _with_what_is_fixed(before: Config, after: Config) -> Config:
    """Return `after` with what cannot change while running as it was before."""
    return replace(after, **{name: getattr(before, name) for name in (*FIXED_SECTIONS, *FIXED_PLACES)})


class _Timer:
    """Says once in a while that it is time; the first time at once."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next = 0.0 if interval_s < float("inf") else interval_s

    def is_due(self, now: float) -> bool:
        """Whether so much time has passed since the last yes; `now` is monotonic seconds."""
        if now < self._next:
            return False
        # A tick is a little late each time; that must not add up to a ping left out.
        self._next = now + self._interval_s - HOUSEKEEPING_S / 2
        return True


class _News:
    """Tells the service manager what the daemon is at, when that may have changed."""

    def __init__(self, rooms: handlers.Rooms) -> None:
        self._rooms = rooms
        self._moment = -1
        self._was_busy = False
        self._status_sent = ""

    def tell(self) -> None:
        """Look, and send a line when it is another one than before."""
        moment, busy = self._rooms.store.moment, is_busy(self._rooms)
        if moment == self._moment and not (busy or self._was_busy):
            return
        self._moment, self._was_busy = moment, busy
        try:
            text = summary(self._rooms)
        except StorageError as error:
            text = f"the index cannot be read: {error}"
        if text != self._status_sent:
            sdnotify.notify(sdnotify.status(text))
            self._status_sent = text


@contextmanager
def locked_state(state_dir: Path) -> Iterator[None]:
    """Hold the state directory for this process.

    Raises
    ------
    InUseError
        When another process holds it; the message has its id.
    StorageError
        When the directory cannot be made or written.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(
            f"{state_dir}: cannot be used for the state: {error.strerror}", hint="give another one with --state"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise InUseError(
                f"{state_dir}: another daemon (process {holder}) uses this state",
                hint="stop it first, or give another --state",
            ) from error
        _write_holder(descriptor, state_dir)
        yield
    finally:
        # The file stays: removing it would let two processes lock two files of one name.
        os.close(descriptor)


def _write_holder(descriptor: int, state_dir: Path) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise StorageError(
            f"{state_dir}: cannot be written: {error.strerror}", hint="free some space on that disk"
        ) from error
