"""The index as one file: what belongs together commits together, and no fault costs what was committed."""

from __future__ import annotations

import queue
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from cbir_daemon.errors import StorageError
from cbir_daemon.store import Placed, Store
from cbir_daemon.store.database import MAX_IDLE_READERS, Database, Job
from tests.leftovers import nothing_left, open_files
from tests.rows import ROOT, indexed, opened, paths, position
from tests.store.index import files_in, fill, fitted, names, overwritten


def test_the_clock_counts_commits_and_never_goes_back(database: Database) -> None:
    """Each change raises it by one, a question does not, and a restart goes on where it was."""
    with opened(database.path, database) as store:
        album, before = store.albums.listed()[0].id, store.clock
        assert store.files.apply([indexed(album, b"a.jpg", 1)]).clock == store.clock == before + 1
        store.files.counts(), store.pairs.listed(), store.positions.coverage()
        assert store.clock == before + 1
        with pytest.raises(StorageError):
            database.write(lambda connection: connection.execute("INSERT INTO album (path) VALUES (1)"))
        assert store.clock == before + 1
    again = Store(database.path)
    again.open()
    with closing(again):
        assert again.clock == before + 1


def test_many_writers_are_served_one_by_one(store: Store, album: int) -> None:
    """Every change of every thread is there, and each had a clock of its own."""
    before = store.clock

    def write(number: int) -> int:
        return store.files.apply([indexed(album, b"%d.jpg" % number, number)]).clock

    with ThreadPoolExecutor(8) as pool:
        clocks = list(pool.map(write, range(40)))
    assert sorted(clocks) == list(range(before + 1, before + 41))
    assert store.clock == before + 40
    assert store.files.counts().images == 40


@pytest.mark.usefixtures("album")
def test_a_reader_sees_one_state(store: Store, database: Database) -> None:
    """What is committed while it reads does not show, and it cannot write."""
    with database.read() as connection:
        first = connection.execute("SELECT count(*) FROM file").fetchone()
        fill(store, range(3))
        assert connection.execute("SELECT count(*) FROM file").fetchone() == first
    with pytest.raises(StorageError, match="readonly"), database.read() as connection:
        connection.execute("DELETE FROM file")
    assert store.files.counts().images == 3


@pytest.mark.usefixtures("store")
def test_readers_side_by_side_are_let_go(database: Database) -> None:
    """Many at once are served; only a few connections are kept."""
    start = threading.Barrier(10)

    def read(_: int) -> int:
        with database.read() as connection:
            start.wait(10)
            return int(connection.execute("SELECT count(*) FROM album").fetchone()[0])

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(read, range(10))) == [1] * 10
    # SQLite opens the log once for each connection, and closes it with that; the index itself it closes later.
    writers = 1
    assert open_files()[f"{database.path}-wal"] <= writers + MAX_IDLE_READERS


def test_a_change_that_fails_changes_nothing(store: Store, database: Database) -> None:
    """Whatever it raises comes to the caller, and the next change is written."""

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM album")
        raise LookupError("half-way")

    with pytest.raises(LookupError, match="half-way"):
        database.write(half)
    assert [row.path for row in store.albums.listed()] == [ROOT]
    fill(store, range(1))


def test_whoever_waits_for_a_change_is_woken(store: Store, album: int) -> None:
    """By a commit after the moment taken, also when it came before the wait; by `wake`; else by the time-out."""
    moment = store.moment
    store.wait_for_change(moment, 0.0)
    fill(store, range(1))
    store.wait_for_change(moment, 60.0)
    moment = store.moment
    waiting = threading.Thread(target=store.wait_for_change, args=(moment, 60.0))
    waiting.start()
    store.wake()
    waiting.join(30)
    assert not waiting.is_alive()


def test_close_finishes_what_was_asked_for(tmp_path: Path) -> None:
    """Changes in the queue are written, then the thread ends; afterwards a change is refused; twice is harmless."""
    index, jobs = tmp_path / "index.sqlite", queue.SimpleQueue[Job | None]()
    database = Database(index, jobs=jobs)
    with opened(index, database) as store:
        held = threading.Event()
        album = store.albums.listed()[0].id
        with ThreadPoolExecutor(2) as pool:
            holding = pool.submit(database.write, lambda connection: held.wait(30))
            pending = pool.submit(store.files.apply, [indexed(album, b"a.jpg", 1)])
            while jobs.qsize() < 1:
                pass
            closing_ = threading.Thread(target=store.close)
            closing_.start()
            held.set()
            closing_.join(30)
            assert holding.result(0)
            assert pending.result(0).added
        with pytest.raises(StorageError, match="closed"):
            store.files.apply([indexed(album, b"b.jpg", 2)])
        store.close()
    assert files_in(index) == 1
    assert [thread for thread in threading.enumerate() if thread.name == "writer"] == []
    assert names(tmp_path) == ["index.sqlite"]


class LateQueue(queue.SimpleQueue[Job | None]):
    """Lets `meanwhile` run, as far as it comes, before each job is put."""

    meanwhile: threading.Thread

    def put(self, item: Job | None, block: bool = True, timeout: float | None = None) -> None:
        if item is not None:
            self.meanwhile.start()
            self.meanwhile.join(0.2)
        super().put(item, block, timeout)


def test_a_change_that_was_let_in_before_the_end_is_served(tmp_path: Path) -> None:
    """A caller that met `close` half-way in does not wait for ever."""
    index, jobs = tmp_path / "index.sqlite", LateQueue()
    store = Store(index, Database(index, jobs=jobs))
    store.open()
    jobs.meanwhile = threading.Thread(target=store.close)
    writing = threading.Thread(target=store.albums.add, args=(ROOT,), daemon=True)
    writing.start()
    writing.join(30)
    jobs.meanwhile.join(30)
    assert not writing.is_alive()
    with opened(tmp_path / "index.sqlite") as again:
        assert [album.path for album in again.albums.listed()] == [ROOT]


def test_an_index_opened_for_reading_is_only_read(tmp_path: Path) -> None:
    """Questions are answered, changes are refused, nothing is made."""
    index = tmp_path / "index.sqlite"
    with opened(index) as store:
        fill(store, range(2))
    reading = Store(index)
    reading.open_existing()
    with closing(reading):
        assert len(paths(reading)) == 2
        with pytest.raises(StorageError, match="for reading only"):
            reading.albums.add(b"/other")
    absent = tmp_path / "absent.sqlite"
    with pytest.raises(StorageError, match="unable to open"):
        Store(absent).open_existing()
    assert not absent.exists()


def a_folder(index: Path) -> None:
    index.unlink(missing_ok=True)
    index.mkdir()


def without_clock(index: Path) -> None:
    with closing(sqlite3.connect(index)) as connection:
        connection.execute("DROP TABLE clock")


@pytest.mark.parametrize("damage", [overwritten, a_folder, without_clock])
def test_a_damaged_index_is_refused_in_one_line(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """The message names the file, the hint says what to do, and no thread is left."""
    index = tmp_path / "index.sqlite"
    with opened(index):
        pass
    damage(index)
    with (
        nothing_left(),
        pytest.raises(StorageError, match=r"index\.sqlite: .*: (`cbir-daemon restore FILE --state|check)"),
    ):
        Store(index).open()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """An index cannot be made in it, and the message says so."""
    with pytest.raises(StorageError, match="check that the folder exists"):
        Store(tmp_path / "absent" / "index.sqlite").open()


def test_an_index_that_another_process_holds(tmp_path: Path) -> None:
    """A change fails after a while, with a hint; once the other is gone the next one is written."""
    index = tmp_path / "index.sqlite"
    database = Database(index, busy_timeout_ms=10)
    with opened(index, database) as store, closing(sqlite3.connect(index, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked: another process holds the index"):
            fill(store, range(1))
        stranger.execute("ROLLBACK")
        fill(store, range(1))
        assert store.files.counts().images == 1


@contextmanager
def no_more_pages(database: Database) -> Iterator[None]:
    """Let the file grow no further: what SQLite does when a quota is reached."""

    def set_limit(pages: int) -> Callable[[sqlite3.Connection], object]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    with database.read() as connection:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
    database.write(set_limit(used + 2))
    try:
        yield
    finally:
        database.write(set_limit(2**30))


@contextmanager
def no_larger_files(database: Database) -> Iterator[None]:
    """Let no file of this process grow past the log's size: the kernel refuses in the middle of a commit."""
    log = database.path.with_name(database.path.name + "-wal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("full", [no_more_pages, no_larger_files])
def test_a_full_disk_costs_only_the_commit_that_met_it(
    database: Database, full: Callable[[Database], AbstractContextManager[None]]
) -> None:
    """The change is refused with a hint, what was committed is there, and with space again the next one is written."""
    with opened(database.path, database) as store:
        fill(store, range(5))
        clock = store.clock
        with full(database):
            with pytest.raises(StorageError, match=r"that disk.*; what was committed is safe"):
                fill(store, range(100, 300))
            assert store.files.counts().images == 5
        assert store.clock == clock
        assert store.check() == []
        fill(store, range(100, 300))
    with opened(database.path) as store:
        assert store.files.counts().images == 205
        assert store.check() == []


def test_what_is_wrong_between_rows_is_found(tmp_path: Path) -> None:
    """A content without a file, a file without its content, an active model without positions."""
    index = tmp_path / "index.sqlite"
    with opened(index) as store:
        first, _ = fill(store, range(2))
        run = fitted(store, [Placed(first, "fitted", position(0, 0))])
        assert store.check() == []
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.execute("DELETE FROM file WHERE content_id = 1")
        connection.execute("DELETE FROM content WHERE id = 2")
        connection.execute("DELETE FROM position WHERE run_id = ?", (run,))
    with opened(index) as store:
        assert store.check() == [
            "foreign key: row 2 of file points to nothing in content",
            "1 content belongs to no file",
            "the active model has no artifact or no positions",
        ]
