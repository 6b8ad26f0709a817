"""Connections to the SQLite file: one writer on a thread of its own, readers that cannot write.

In: functions that take a connection.  Out: what they return.  Never here: what a row means.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from cbir_daemon.errors import StorageError
from cbir_daemon.store import backup, schema, soundness
from cbir_daemon.system import heartbeat

T = TypeVar("T")

Job = tuple[Callable[[sqlite3.Connection], object], Future[object]]
"""A change, and who waits for what it returns."""

BUSY_TIMEOUT_MS = 10_000
"""How long a connection waits for another process that writes."""

WRITER_CACHE_KIB = 8192
READER_CACHE_KIB = 4096
"""Page cache of a connection: with the default of 2 MB overflow pages of vectors are read again.

Readers are several, and keep their caches: with twice as much they read no faster, and take 17 MiB more together.
"""

MAX_IDLE_READERS = 4


class Database:
    """An open index.

    Parameters
    ----------
    path : Path
        The SQLite file; made when it is not there.
    busy_timeout_ms : int, optional
        How long a connection waits for another process that writes.
    jobs : queue.SimpleQueue, optional
        Holds the changes until the writer takes them; injected by tests.

    Notes
    -----
    `write` and `read` may be called from any thread; `write` runs its function on the writer thread, one at a time,
    in the order of the calls.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        jobs: queue.SimpleQueue[Job | None] | None = None,
    ) -> None:
        self.path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue() if jobs is None else jobs
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._written = 0
        # A job that is put after the one that ends the writer would wait for ever.
        self._closing = threading.Lock()

    def open(self) -> None:
        """Open or make the file, migrate it, start the writer thread.

        An index of an older release stays beside it as `.schema-N`, as it was.

        Raises
        ------
        StorageError
            When the file is damaged, locked, unreadable or no index.
        SchemaTooNewError
            When a newer release wrote it; not a byte of it is changed.
        """
        with _translated(self.path):
            if self.path.exists():
                self._look_before()
            self._writer = self._connect("rwc")
            try:
                self._prepare_writer()
            except BaseException:
                self._writer.close()
                raise
        self._thread = threading.Thread(target=self._write_all, name="writer")
        self._thread.start()

    def _look_before(self) -> None:
        """Refuse what is no index of ours or damaged, and copy one that is about to be migrated."""
        # Read-only: even the journal mode is written into the file.
        with closing(self._connect("ro")) as connection:
            schema.refuse_foreign(connection, self.path)
            soundness.require_structure(connection)
            found = schema.version(connection)
            kept = self.path.with_name(f"{self.path.name}.schema-{found}")
            if 0 < found < schema.SCHEMA_VERSION and not kept.exists():
                backup.copy(connection, kept)

    def _prepare_writer(self) -> None:
        if not schema.version(self._writer):
            self.path.chmod(0o600)
        self._writer.execute("PRAGMA journal_mode = WAL")
        # WAL + NORMAL can lose the last commits at power loss, never the file; a rescan finds them again.
        self._writer.execute("PRAGMA synchronous = NORMAL")
        self._writer.execute("PRAGMA foreign_keys = ON")
        schema.migrate(self._writer)

    def open_existing(self) -> None:
        """Check that the file is an index of this release, and read from it only; `write` is refused.

        Raises
        ------
        SchemaTooNewError
            When a newer release wrote it.
        StorageError
            When it is older, cannot be read, or is the database of another program.
        """
        with _translated(self.path), closing(self._connect("ro")) as connection:
            schema.refuse_foreign(connection, self.path)
            found = schema.version(connection)
        if found != schema.SCHEMA_VERSION:
            raise StorageError(
                f"{self.path}: has schema {found}, this release has {schema.SCHEMA_VERSION}",
                hint="start the daemon to migrate an older index; a newer one needs the release that wrote it",
            )

    def close(self) -> None:
        """Finish what was asked for, then close every connection."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()
        # The writer last: only a connection that may write takes the log into the file and removes it.
        while not self._readers.empty():
            self._readers.get_nowait().close()
        if self._thread is not None:
            self._writer.close()

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in one transaction and return what it returns; an exception rolls it back and comes here.

        Raises
        ------
        StorageError
            When SQLite fails, for instance because the disk is full, or when the database is closed.
        """
        future: Future[object] = Future()
        with self._closing:
            if self._closed or self._thread is None:
                raise StorageError(f"{self.path}: the index is closed, or open for reading only")
            self._jobs.put((change, future))
        with _translated(self.path):
            return future.result()  # type: ignore[return-value]  # the future of `change`

    @property
    def written(self) -> int | None:
        """Transactions that were written since it was opened; None when another process writes it."""
        return None if self._thread is None else self._written

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one state of the index and cannot write."""
        with _translated(self.path):
            try:
                connection = self._readers.get_nowait()
            except queue.Empty:
                connection = self._connect("ro")
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()
                if self._closed or self._readers.qsize() >= MAX_IDLE_READERS:
                    connection.close()
                else:
                    self._readers.put(connection)

    def _connect(self, mode: str) -> sqlite3.Connection:
        # check_same_thread: a reader is handed from thread to thread but never shared; the writer is opened by the
        # thread that starts the daemon and used by the writer thread alone.
        options = f"mode={mode}&immutable=1" if mode == "ro" and self._is_frozen() else f"mode={mode}"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{options}", uri=True, isolation_level=None, check_same_thread=False
        )
        soundness.prepare(connection)
        connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout_ms}")
        cache_kib = READER_CACHE_KIB if mode == "ro" else WRITER_CACHE_KIB
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        return connection

    def _is_frozen(self) -> bool:
        """Whether the index lies on a read-only disk, its log taken in: SQLite wants to make a log to read from it."""
        folder, log = self.path.absolute().parent, self.path.with_name(self.path.name + "-wal")
        return not os.access(folder, os.W_OK) and not log.exists()

    def _write_all(self) -> None:
        with heartbeat.of("writer"):
            while (job := self._next_job()) is not None:
                change, future = job
                try:
                    result = self._transact(change)
                # The writer must outlive any failed change; the failure goes to the caller, whole.
                except BaseException as error:  # noqa: BLE001
                    future.set_exception(error)
                else:
                    # Before the caller goes on: what it reads then is no older.
                    self._written += 1
                    future.set_result(result)

    def _next_job(self) -> Job | None:
        heartbeat.idle(heartbeat.FOREVER_S)
        job = self._jobs.get()
        heartbeat.beat()
        return job

    def _transact(self, change: Callable[[sqlite3.Connection], T]) -> T:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            result = change(self._writer)
            self._writer.execute("COMMIT")
        except BaseException:
            # After a full disk SQLite may have rolled back by itself.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        return result


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path}: {error}", hint=_hint(str(error))) from error
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{path}: {error}", hint=soundness.remedy(path)) from error


def _hint(message: str) -> str:
    if "full" in message:
        return "free some space on that disk; what was committed is safe"
    if "disk I/O" in message:
        return "check whether that disk is full, failing or gone; what was committed is safe"
    if "locked" in message:
        return "another process holds the index; stop it first"
    return "check that the folder exists and can be written"
