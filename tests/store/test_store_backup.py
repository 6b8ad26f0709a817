"""Copies of the index: whole, sound, and put in place of a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cbir_daemon.errors import BadRequestError, StorageError
from cbir_daemon.store import Store, restore
from tests.rows import opened, paths
from tests.store.index import absent, files_in, fill, names, overwritten


def test_a_backup_is_one_whole_file(tmp_path: Path) -> None:
    """It is written while the index is in use, private, and nothing else lies beside it, also after looking at it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    with opened(tmp_path / "index.sqlite") as store:
        fill(store, range(3))
        store.backup(folder / "b.sqlite")
        fill(store, range(3, 4))
    reading = Store(folder / "b.sqlite")
    reading.open_existing()
    assert reading.files.counts().images == 3
    assert reading.check() == []
    reading.close()
    assert names(folder) == ["b.sqlite"]
    assert (folder / "b.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_backup_replaces_nothing(store: Store, tmp_path: Path) -> None:
    """A file that is there stays, and the user is told to name another."""
    target = tmp_path / "b.sqlite"
    target.write_text("precious")
    with pytest.raises(BadRequestError, match="exists already"):
        store.backup(target)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", ["absent/b.sqlite", "file/b.sqlite", "x" * 300])
def test_a_backup_that_cannot_be_written_is_one_line(store: Store, tmp_path: Path, name: str) -> None:
    """A folder that is missing or none, a name that is too long: an error of ours, and nothing left behind."""
    (tmp_path / "file").touch()
    before = names(tmp_path)
    with pytest.raises(StorageError, match="check that the folder exists"):
        store.backup(tmp_path / name)
    assert names(tmp_path) == before


def test_a_restored_index_is_the_one_that_was_backed_up(tmp_path: Path) -> None:
    """What stood there is set aside with its log, twice in a row too."""
    index, backup = tmp_path / "state" / "index.sqlite", tmp_path / "b.sqlite"
    index.parent.mkdir()
    with opened(index) as store:
        fill(store, range(1))
        store.backup(backup)
        fill(store, range(1, 3))
    for before in (3, 1):
        # A log that a killed daemon left behind.
        index.with_name("index.sqlite-wal").write_bytes(b"log")
        restore(backup, index)
        assert names(index.parent) == ["index.sqlite", "index.sqlite.before-restore", "index.sqlite.before-restore-wal"]
        assert files_in(index) == 1
        (index.parent / "index.sqlite.before-restore-wal").unlink()
        assert files_in(index.parent / "index.sqlite.before-restore") == before
    with opened(index) as store:
        assert paths(store) == [b"/album/0.jpg"]


def test_a_log_set_aside_stays_with_its_file(tmp_path: Path) -> None:
    """What an earlier restore set aside is replaced whole: its log would damage the file of this one."""
    index, backup = tmp_path / "index.sqlite", tmp_path / "b.sqlite"
    with opened(index) as store:
        store.backup(backup)
    (tmp_path / "index.sqlite.before-restore").touch()
    (tmp_path / "index.sqlite.before-restore-wal").write_bytes(b"log of another file")
    restore(backup, index)
    assert names(tmp_path) == ["b.sqlite", "index.sqlite", "index.sqlite.before-restore"]


def test_a_stray_log_does_not_get_into_a_restored_index(tmp_path: Path) -> None:
    """Where only the log of an index is left, it goes: it belongs to a file that is no more."""
    index, backup = tmp_path / "index.sqlite", tmp_path / "b.sqlite"
    with opened(index) as store:
        fill(store, range(2))
        store.backup(backup)
        fill(store, range(2, 4))
        log = index.with_name("index.sqlite-wal").read_bytes()
    index.unlink()
    index.with_name("index.sqlite-wal").write_bytes(log)
    restore(backup, index)
    with opened(index) as store:
        assert store.files.counts().images == 2
        assert store.check() == []


def empty(path: Path) -> None:
    path.touch()


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")


def newer(path: Path) -> None:
    with opened(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def unsound(path: Path) -> None:
    with opened(path) as store:
        fill(store, range(1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM file")
        connection.commit()


@pytest.mark.parametrize("bad", [absent, empty, overwritten, foreign, newer, unsound])
def test_a_bad_backup_is_refused_and_the_index_stays(tmp_path: Path, bad: Callable[[Path], None]) -> None:
    """Whatever is wrong with it, nothing is touched and nothing is left behind."""
    index, backup = tmp_path / "state" / "index.sqlite", tmp_path / "b.sqlite"
    index.parent.mkdir()
    with opened(index) as store:
        fill(store, range(1))
    bad(backup)
    before = index.read_bytes()
    with pytest.raises(StorageError, match=r"b\.sqlite: "):
        restore(backup, index)
    assert index.read_bytes() == before
    assert names(index.parent) == ["index.sqlite"]
