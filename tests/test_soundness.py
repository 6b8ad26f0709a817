"""A damaged index is found, whichever page is lost; it is left as it is, and what helps is one command."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cbir_daemon.daemon.backups import Backups
from cbir_daemon.errors import SchemaTooNewError, StorageError
from cbir_daemon.store import Gone, Pair, Store, reindex, restore, salvage
from tests.fakes import FakeClock
from tests.rows import ROOT, all_images, digest, indexed, opened, paths, sql

PAGE_BYTES = 4096
CONTENTS = 12
NOW = 1_700_000_000.0
WEEK_S = 7 * 86_400.0


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of some contents, all of whose pages are in use, and its copy beside it."""
    path = tmp_path / "index.sqlite"
    with opened(path) as store:
        album = store.albums.listed()[0].id
        store.files.apply([indexed(album, b"%d.jpg" % number, number) for number in range(CONTENTS)])
        store.pairs.put_matched(range(1, CONTENTS + 1), [Pair(1, 2, 0.9)])
        store.decisions.dismiss(digest(3), digest(4), NOW)
        store.keep_backup()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")
    return path


def zeros(page: bytes) -> bytes:
    """What a power cut or a file system leaves."""
    return bytes(len(page))


def nonsense(page: bytes) -> bytes:
    """What lay there before, or somewhere else."""
    return (b"\xa5\x17 not what was written " * len(page))[: len(page)]


def found_wrong(path: Path) -> str:
    """Open an index as the daemon does, load it, and return what is said."""
    store = Store(path)
    try:
        store.open()
        with closing(store):
            for _ in store.contents.all_vectors():
                pass
    except StorageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("damage", [zeros, nonsense])
def test_no_page_can_be_lost_unnoticed(index: Path, damage: Callable[[bytes], bytes]) -> None:
    """The daemon does not start on it, says so in one line that names the backup, and changes not a byte."""
    whole = index.read_bytes()
    unnoticed = []
    for start in range(0, len(whole), PAGE_BYTES):
        page = whole[start : start + PAGE_BYTES]
        broken = whole[:start] + damage(page) + whole[start + PAGE_BYTES :]
        index.write_bytes(broken)
        said = found_wrong(index)
        if "index.sqlite.backup back" not in said and "another program" not in said:
            unnoticed.append(start // PAGE_BYTES)
        assert len(said.splitlines()) <= 1
        assert index.read_bytes()[:PAGE_BYTES] == broken[:PAGE_BYTES]
    assert unnoticed == []


def test_one_bit_of_a_vector_is_noticed(index: Path) -> None:
    """SQLite does not: any byte of a vector is as good as another."""
    whole = bytearray(index.read_bytes())
    with closing(sqlite3.connect(index)) as connection:
        vector: bytes = connection.execute("SELECT vector FROM content WHERE id = 7").fetchone()[0]
    whole[whole.index(vector[1_000:1_100]) + 50] ^= 1
    index.write_bytes(whole)
    assert "the vector of content 7 is not what was written" in found_wrong(index)
    store = Store(index)
    store.open_existing()
    with closing(store):
        assert store.check() == ["integrity: 1 vector is not what was written"]


def test_a_damaged_index_is_restored(index: Path) -> None:
    """The copy that lies beside it takes its place whole."""
    index.write_bytes(nonsense(index.read_bytes()))
    restore(Store(index).backup_path, index)
    with opened(index) as store:
        assert store.check() == []
        assert len(paths(store)) == CONTENTS


def test_a_damaged_index_gets_no_copy(index: Path) -> None:
    """The copy of before is worth more."""
    store = Store(index)
    store.open()
    with closing(store):
        sql(index, "UPDATE content SET vector = zeroblob(4096) WHERE id = 2")
        copy = store.backup_path.read_bytes()
        with pytest.raises(StorageError, match="1 vector is not what was written"):
            store.keep_backup()
        assert store.backup_path.read_bytes() == copy


def test_a_new_index_keeps_what_no_walk_finds(index: Path) -> None:
    """Albums, decisions and the clock; the old one stays beside it."""
    with opened(index) as store:
        clock = store.clock
    old = index.read_bytes()
    assert reindex(index) == ()
    assert index.with_name("index.sqlite.before-reindex").read_bytes() == old
    with opened(index) as store:
        assert [(album.path, album.baseline) for album in store.albums.listed()] == [(ROOT, False)]
        assert store.clock > clock
        assert all_images(store) == []
        assert not store.decisions.dismiss(digest(3), digest(4), NOW)
        assert store.check() == []


def test_a_new_index_keeps_what_can_still_be_read(index: Path) -> None:
    """What cannot is named; of a file that is no index at all, nothing is kept."""
    with closing(sqlite3.connect(index)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'decision'").fetchone()
    whole = index.read_bytes()
    index.write_bytes(whole[: (page - 1) * PAGE_BYTES] + bytes(PAGE_BYTES) + whole[page * PAGE_BYTES :])
    assert reindex(index) == ("decision",)
    with opened(index) as store:
        assert [album.path for album in store.albums.listed()] == [ROOT]
        assert store.decisions.dismiss(digest(3), digest(4), NOW)
    index.write_bytes(nonsense(whole))
    assert reindex(index) == salvage.KEPT
    with opened(index) as store:
        assert store.check() == []


def test_every_table_is_kept_or_made_again(index: Path) -> None:
    """Whoever adds a table decides which."""
    with closing(sqlite3.connect(index)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        assert {row[0] for row in rows} == {*salvage.KEPT, *salvage.REBUILT}


def test_the_index_of_a_newer_release_is_not_begun_anew(index: Path) -> None:
    """Only that release knows what to keep."""
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaTooNewError):
        reindex(index)
    assert not index.with_name("index.sqlite.before-reindex").exists()


# -- the copy that is kept ---------------------------------------------------------------------------------------------


def aged(store: Store, seconds: float) -> None:
    """Say when the copy was made, in seconds before `NOW`."""
    os.utime(store.backup_path, (NOW - seconds, NOW - seconds))


def test_when_a_copy_is_due(index: Path) -> None:
    """When there is none, when it is old, when it is of the future; not while files come in, not when switched off."""
    quiet = True
    clock = FakeClock(NOW)
    with opened(index) as store:
        backups = Backups(store, WEEK_S, lambda: quiet, clock)
        aged(store, WEEK_S - 1)
        assert not backups.due()
        clock.advance(1)
        assert backups.due()
        quiet = False
        assert not backups.due()
        quiet = True
        # The clock was set back by years.
        clock.advance(-100 * WEEK_S)
        assert backups.due()
        backups.every_s = 0
        assert not backups.due()
        backups.every_s = WEEK_S
        store.backup_path.unlink()
        assert backups.due()
        assert backups.renew()
        assert store.backup_path.stat().st_mode & 0o777 == 0o600
        store.files.apply([Gone(store.albums.listed()[0].id, b"%d.jpg" % number) for number in range(CONTENTS)])
        store.backup_path.unlink()
        assert not backups.due()


def test_a_copy_that_cannot_be_written(index: Path) -> None:
    """The one before stays, nothing half-made is left, and the thread goes on."""
    with opened(index) as store:
        copy = store.backup_path.read_bytes()
        backups = Backups(store, WEEK_S, lambda: True)
        (index.parent / "index.sqlite.backup.partial").mkdir()
        assert not backups.renew()
        assert store.backup_path.read_bytes() == copy
        (index.parent / "index.sqlite.backup.partial").rmdir()
        assert backups.renew()
    shutil.rmtree(index.parent)
