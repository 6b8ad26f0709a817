"""An index is brought to today's schema whole or not at all, and what is no index of ours is not touched."""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon.comparison import LookedAt, Trace, Transform
from cbir_daemon.errors import SchemaTooNewError, StorageError
from cbir_daemon.kinds import AlertKind, kinds_that
from cbir_daemon.local_features import LOCAL
from cbir_daemon.records import LOOK, AlbumState, FileState, FitKind, FitOutcome, Origin, TaskAction, TaskState
from cbir_daemon.store import (
    SCHEMA_VERSION,
    AlertMatch,
    AlertRecord,
    Decision,
    FitBegun,
    NewAlert,
    Pair,
    SinkState,
    Store,
    schema,
)
from tests.rows import EXTRACTOR, digest, indexed, opened, paths, vector
from tests.states import ARCHIVE, INDEX, restore, states

TABLES = [
    "album",
    "alert",
    "clock",
    "content",
    "decision",
    "descriptor",
    "file",
    "model_run",
    "pair",
    "part",
    "part_vector",
    "pass",
    "position",
    "publish_due",
    "published",
    "resolve_run",
    "resolve_task",
    "sighting",
    "sink",
    "site",
    "work",
    "work_part",
]

IRREPLACEABLE = (
    "alert",
    "decision",
    "model_run",
    "position",
    "resolve_run",
    "resolve_task",
    "sighting",
    "work",
)
"""Tables that no look at the albums fills again as they were."""


WORDS: dict[tuple[str, str], set[str]] = {
    ("album", "state"): set(AlbumState),
    ("alert", "kind"): set(AlertKind),
    ("model_run", "kind"): set(FitKind),
    ("model_run", "outcome"): set(FitOutcome),
    ("pair", "kind"): set(kinds_that(lambda facts: facts.is_paired)),
    ("pair", "look"): set(LookedAt),
    ("position", "origin"): set(Origin),
    ("resolve_task", "action"): set(TaskAction),
    ("resolve_task", "kind"): {"", *kinds_that(lambda facts: facts.may_go)},
    ("resolve_task", "state"): set(TaskState),
    ("sighting", "kind"): set(kinds_that(lambda facts: facts.shows_same_exposure)),
}
"""What the columns hold whose words are listed in a CHECK."""


def execute(path: Path, script: str) -> list[tuple[object, ...]]:
    """Run SQL on a file behind the store's back, and return the rows of a single statement."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(script).fetchall()


def version(path: Path) -> int:
    """Return the schema's number in a file."""
    return int(str(execute(path, "PRAGMA user_version")[0][0]))


def open_and_check(path: Path) -> None:
    """Have an index migrated, and nothing else written."""
    store = Store(path)
    store.open()
    try:
        assert store.check() == []
    finally:
        store.close()


def opened_and_closed(path: Path) -> Path:
    """Make an index with one image."""
    with opened(path) as store:
        store.files.apply([indexed(store.albums.listed()[0].id, b"one.jpg", 1)])
    return path


@pytest.mark.parametrize("make", [lambda path: None, Path.touch], ids=["no file", "an empty file"])
def test_nothing_becomes_an_index_of_today(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """A missing and an empty file become of today, for the owner's eyes only."""
    index = tmp_path / "index.sqlite"
    make(index)
    opened_and_closed(index)
    assert version(index) == SCHEMA_VERSION == 16
    assert execute(index, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert index.stat().st_mode & 0o777 == 0o600


def test_tables_are_strict(tmp_path: Path) -> None:
    """Every table refuses a value of the wrong type."""
    index = opened_and_closed(tmp_path / "index.sqlite")
    listed = "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
    assert execute(index, listed) == [(name, 1) for name in TABLES]


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    """An index of today's schema is left as it is."""
    index = opened_and_closed(tmp_path / "index.sqlite")
    before = index.read_bytes()
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        schema.migrate(connection)
        schema.migrate(connection)
    assert index.read_bytes() == before
    with opened(index) as store:
        assert paths(store) == [b"/album/one.jpg"]


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_a_newer_index_is_refused_and_untouched(tmp_path: Path, journal_mode: str) -> None:
    """Version 99 is named, with what to do, and not a byte of the file is changed."""
    index = opened_and_closed(tmp_path / "index.sqlite")
    execute(index, "PRAGMA user_version = 99")
    execute(index, f"PRAGMA journal_mode = {journal_mode}")
    before = index.read_bytes(), index.stat().st_mtime_ns
    for open_it in (Store(index).open, Store(index).open_existing):
        with pytest.raises(SchemaTooNewError, match="schema 99, this release reads up to 16: install the release"):
            open_it()
    assert (index.read_bytes(), index.stat().st_mtime_ns) == before


def test_a_newer_index_with_a_log_is_untouched(tmp_path: Path) -> None:
    """What a newer release had not yet taken from its log into the file stays in the log."""
    index = opened_and_closed(tmp_path / "index.sqlite")
    execute(index, "PRAGMA user_version = 99")
    # Killed: the log stays, because the connection that would take it in is not closed in order.
    copy = tmp_path / "copy.sqlite"
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.execute("UPDATE clock SET value = 1000")
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(index.with_name(index.name + suffix).read_bytes())
    log = copy.with_name(copy.name + "-wal")
    before = copy.read_bytes(), log.read_bytes()
    assert before[1]
    with pytest.raises(SchemaTooNewError):
        Store(copy).open()
    assert (copy.read_bytes(), log.read_bytes()) == before


@pytest.mark.parametrize("user_version", [0, 1])
def test_the_database_of_another_program_is_refused(tmp_path: Path, user_version: int) -> None:
    """A SQLite file that is no index gets no tables of ours, whatever version it says."""
    index = tmp_path / "index.sqlite"
    execute(index, "CREATE TABLE recipe (name TEXT)")
    execute(index, f"PRAGMA user_version = {user_version}")
    before = index.read_bytes()
    for open_it in (Store(index).open, Store(index).open_existing):
        with pytest.raises(StorageError, match="is the database of another program"):
            open_it()
    assert index.read_bytes() == before


def test_an_older_index_is_brought_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another script leads to the next version, every row is still there, and so is the index before."""
    index = opened_and_closed(tmp_path / "index.sqlite")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE album ADD COLUMN note TEXT;"))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(StorageError, match="start the daemon to migrate"):
        Store(index).open_existing()
    for _ in range(2):
        with opened(index) as store:
            assert paths(store) == [b"/album/one.jpg"]
        assert version(index) == SCHEMA_VERSION + 1
        assert execute(index, "SELECT note FROM album") == [(None,)]
        before = tmp_path / f"index.sqlite.schema-{SCHEMA_VERSION}"
        assert sorted(tmp_path.iterdir()) == [index, before]
        assert version(before) == SCHEMA_VERSION
        assert execute(before, "SELECT path FROM file") == [(b"one.jpg",)]


def test_the_first_schema_is_brought_to_todays(tmp_path: Path) -> None:
    """Every row stays; disks are not known yet; alerts keep their numbers, and the next one goes on from there.

    A vector gets its checksum.
    """
    index = tmp_path / "index.sqlite"
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.executescript(
            f"BEGIN; {schema.MIGRATIONS[0]}"
            f"PRAGMA user_version = 1; PRAGMA application_id = {schema.APPLICATION_ID}; COMMIT;"
        )
        connection.executescript(
            """
            INSERT INTO album (path, state, baseline) VALUES (CAST('/album' AS BLOB), 'missing', 1);
            INSERT INTO file (album_id, path, size_bytes, mtime_ns, inode, error_code, error_message)
                VALUES (1, CAST('a.jpg' AS BLOB), 10, 20, 30, 'damaged', 'it is');
            INSERT INTO content (digest, extractor, vector, size_bytes, width_px, height_px, format)
                VALUES (randomblob(32), 'grey64/1', randomblob(4096), 1, 1, 1, 'PNG');
            INSERT INTO file (album_id, path, size_bytes, mtime_ns, inode, content_id)
                VALUES (1, CAST('b.jpg' AS BLOB), 1, 2, 3, 1);
            INSERT INTO alert (id, time, path, kind, matches, delivered)
                VALUES (7, 1.5, CAST('/album/b.jpg' AS BLOB), 'exact', '[["/album/a.jpg", "exact", 1.0]]', 1);
            """
        )
    with opened(index) as store:
        (album,) = store.albums.listed()
        assert (album.path, album.state, album.baseline, album.device) == (b"/album", "missing", True, 0)
        assert store.check() == []
        assert [len(rows) for rows in store.contents.all_vectors()] == [1]
        state = store.files.states(album.id)[b"a.jpg"]
        assert (state, state.device) == (FileState(10, 20, 30), 0)
        before = AlertRecord(7, 1.5, b"/album/b.jpg", "exact", (AlertMatch(b"/album/a.jpg", "exact", 1.0),))
        assert store.alerts.listed(0, 10) == [before]
        assert store.sinks.states() == {"log": SinkState(7)}
        assert store.albums.turn(album.id, "watching", NewAlert(b"/album", "back", (), "all is there"), 2.5)
        assert store.alerts.listed(7, 10) == [AlertRecord(8, 2.5, b"/album", "back", (), "all is there")]
        assert store.check() == []


@contextmanager
def older(index: Path, version: int) -> Iterator[sqlite3.Connection]:
    """Make an empty index of an older schema, and give a connection that fills it."""
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.create_function("crc32", 1, zlib.crc32)
        for script in schema.MIGRATIONS[:version]:
            connection.executescript(f"BEGIN; {script} COMMIT;")
        connection.executescript(f"PRAGMA user_version = {version}; PRAGMA application_id = {schema.APPLICATION_ID};")
        yield connection


@pytest.mark.parametrize(("delivered", "last"), [((), 0), ((1, 1, 0, 0), 2), ((0, 0), 0)])
def test_what_the_log_had_not_is_still_to_come(tmp_path: Path, delivered: tuple[int, ...], last: int) -> None:
    """Alerts that an older release had written and not delivered are delivered by this one."""
    index = tmp_path / "index.sqlite"
    with older(index, 3) as connection:
        connection.executemany(
            "INSERT INTO alert (time, path, kind, matches, delivered) VALUES (1, X'2F', 'copy', '[]', ?)",
            [(delivered_id,) for delivered_id in delivered],
        )
    with opened(index) as store:
        assert store.sinks.states() == {"log": SinkState(last)}
        assert store.alerts.ids(last, 10) == list(range(last + 1, len(delivered) + 1))


def test_maps_of_an_older_schema_stay(tmp_path: Path) -> None:
    """Runs and positions are carried over to tables that are made anew; ids go on, and nothing refers to the old."""
    index = tmp_path / "index.sqlite"
    with older(index, 5) as connection:
        connection.executescript(
            """
            INSERT INTO content (id, digest, extractor, vector, size_bytes, width_px, height_px, format, checksum)
                VALUES (1, zeroblob(32), 'grey64/1', zeroblob(4096), 1, 1, 1, 'PNG', crc32(zeroblob(4096)));
            INSERT INTO model_run (id, reason, started_at, outcome, code_version, curve)
                VALUES (3, 'due', 1.5, 'replaced', 'code/1', '[]'), (4, 'due', 2.5, 'active', 'code/1', '[]');
            INSERT INTO position VALUES (4, 1, 'fitted', x'0000803f');
            """
        )
    with opened(index) as store:
        assert [(run.id, run.outcome, run.kind, dict(run.numbers)) for run in store.runs.listed()] == [
            (4, "active", "tuned", {}),
            (3, "replaced", "tuned", {}),
        ]
        assert store.positions.listed(4) == [(1, b"\x00\x00\x80\x3f")]
        assert store.positions.flat(4) == []
        store.runs.end(4, FitOutcome.SET_ASIDE, "old", 3.0)
        assert store.runs.start(FitBegun("next", "code/1", 1), 4.0) == 5
    assert execute(index, "PRAGMA foreign_key_check") == []
    assert execute(index, "SELECT \"table\" FROM pragma_foreign_key_list('position') ORDER BY 1") == [
        ("content",),
        ("model_run",),
    ]


def test_pairs_of_an_older_schema_are_looked_up_again(tmp_path: Path) -> None:
    """No file was compared for them: they go, and all contents are looked up among each other; decisions stay."""
    index = tmp_path / "index.sqlite"
    with older(index, 2) as connection:
        connection.executemany(
            "INSERT INTO content (id, digest, extractor, vector, size_bytes, width_px, height_px, format, matched)"
            " VALUES (?, ?, ?, ?, 1, 1, 1, 'PNG', 1)",
            [(number, digest(number), EXTRACTOR, vector(number)) for number in (1, 2, 3)],
        )
        connection.execute("INSERT INTO pair VALUES (1, 2, 0.95)")
        connection.execute("INSERT INTO decision VALUES (?, ?, 1.5)", sorted((digest(1), digest(3))))
    with opened(index) as store:
        assert store.pairs.listed() == []
        assert [content_id for content_id, _ in store.pairs.unmatched(10)] == [1, 2, 3]
        assert store.pairs.pass_bound() == 3
        first, second = sorted((digest(1), digest(3)))
        assert store.decisions.listed() == [Decision(first, second, 1.5)]
        pair = Pair(1, 2, 0.97, 1.0, 0.5, Transform(flip=True, turn=90, angle=1.5))
        store.pairs.put_matched([1, 2], [pair])
        assert store.pairs.listed() == [pair]


def test_pairs_whose_files_said_nothing_of_edits_are_looked_at_again(tmp_path: Path) -> None:
    """They stay, without traces, and go once a later version of the look begins; nothing else changes."""
    index = tmp_path / "index.sqlite"
    with older(index, 7) as connection:
        connection.executemany(
            "INSERT INTO content (id, digest, extractor, vector, size_bytes, width_px, height_px, format, matched,"
            " checksum) VALUES (?1, ?2, ?3, ?4, 1, 1, 1, 'PNG', 1, crc32(?4))",
            [(number, digest(number), EXTRACTOR, vector(number)) for number in (1, 2)],
        )
        connection.execute(
            "INSERT INTO pair (content_id, other_id, score, overlap, other_overlap, flip, turn, angle, invert, kind,"
            " look, look_version) VALUES (1, 2, 0.95, 1, 1, 0, 0, 0, 0, 'copy', 'files', 1)"
        )
    with opened(index) as store:
        old = Pair(1, 2, 0.95, 1.0, 1.0, Transform(), look=LookedAt.FILES, look_version=1)
        assert store.pairs.listed() == [old]
        store.pairs.forget_looks(2)
        assert store.pairs.listed() == []
        assert [content_id for content_id, _ in store.pairs.unmatched(10)] == [1, 2]
        compared = replace(old, look_version=2, traces=(Trace.OVERLAY, Trace.ENLARGED), other_traces=(Trace.NOISY,))
        store.pairs.put_matched([1, 2], [compared])
        assert store.pairs.listed() == [compared]
        # Looked up from the other side, the two are not compared again.
        store.pairs.put_matched([], [replace(compared, traces=(), other_traces=())])
        assert store.pairs.listed() == [compared]


@pytest.mark.parametrize("state", states(), ids=lambda state: str(state.name))
def test_the_index_of_an_earlier_release_keeps_what_cannot_be_made_again(tmp_path: Path, state: Path) -> None:
    """An index that a release made is opened and sound, and each row that no album could give again is as it was."""
    restore(state / ARCHIVE, tmp_path, tmp_path / "state")
    index = tmp_path / "state" / INDEX
    asked = {name: select_all(index, name) for name in IRREPLACEABLE}
    before = {name: execute(index, query) for name, query in asked.items()}
    assert all(before.values())
    open_and_check(index)
    assert version(index) == SCHEMA_VERSION
    assert {name: execute(index, query) for name, query in asked.items()} == before


@pytest.mark.parametrize("state", states(), ids=lambda state: str(state.name))
def test_an_upgrade_is_rolled_back_by_the_copy_that_it_made(tmp_path: Path, state: Path) -> None:
    """The copy beside the index is what the earlier release left, row for row, and is migrated again as before."""
    restore(state / ARCHIVE, tmp_path, tmp_path / "state")
    index = tmp_path / "state" / INDEX
    found, rows = version(index), dumped(index)
    open_and_check(index)
    migrated = dumped(index)
    kept = index.with_name(f"{INDEX}.schema-{found}")
    if found == SCHEMA_VERSION:
        assert not kept.exists()
        return
    assert (version(kept), dumped(kept)) == (found, rows)
    kept.rename(index)
    open_and_check(index)
    assert dumped(index) == migrated


def dumped(index: Path) -> list[str]:
    """Return an index as SQL."""
    with closing(sqlite3.connect(index)) as connection:
        return list(connection.iterdump())


def test_old_files_are_not_looked_into(tmp_path: Path) -> None:
    """Those that an older release decided upon are decided upon, and those that it did not are still to be."""
    index = tmp_path / "index.sqlite"
    with older(index, 7) as connection:
        connection.execute("INSERT INTO album (path) VALUES (CAST('/album' AS BLOB))")
        connection.execute(
            "INSERT INTO content"
            " (digest, extractor, vector, size_bytes, width_px, height_px, format, matched, checksum)"
            " VALUES (?, ?, ?, 1, 1, 1, 'PNG', 1, ?)",
            (digest(1), EXTRACTOR, vector(1), zlib.crc32(vector(1))),
        )
        connection.executemany(
            "INSERT INTO file (album_id, path, size_bytes, mtime_ns, inode, content_id, alert_due)"
            " VALUES (1, ?, 1, 1, 1, 1, ?)",
            [(b"a.jpg", 0), (b"b.jpg", 1)],
        )
    with opened(index) as store:
        counts = store.files.counts()
        assert (counts.images, counts.alerts_due, counts.parts_due) == (2, 1, 0)
        store.alerts.put([2], [], 1.5, parts_due=[2])
        counts = store.files.counts()
        assert (counts.alerts_due, counts.parts_due) == (0, 1)


def test_local_features_become_descriptors(tmp_path: Path) -> None:
    """They keep their version, so no file is read again for them; other descriptors of the content stay."""
    index = tmp_path / "index.sqlite"
    with older(index, 11) as connection:
        connection.executemany(
            "INSERT INTO content"
            " (id, digest, extractor, vector, size_bytes, width_px, height_px, format, matched, checksum)"
            " VALUES (?1, ?2, ?3, ?4, 1, 1, 1, 'PNG', 1, crc32(?4))",
            [(number, digest(number), EXTRACTOR, vector(number)) for number in (1, 2, 3)],
        )
        connection.executemany(
            "INSERT INTO feature (content_id, version, features) VALUES (?, ?, ?)",
            [(3, 1, b"of 3"), (1, 1, b"of 1"), (2, 0, b"earlier")],
        )
        connection.execute("INSERT INTO descriptor VALUES (1, 'look', '1', ?)", (b"look of 1",))
    with opened(index) as store:
        assert store.descriptors.after(LOCAL, 0) == [(1, b"of 1"), (3, b"of 3")]
        assert store.descriptors.of(replace(LOCAL, version="0"), [1, 2, 3]) == {2: b"earlier"}
        assert store.descriptors.of(LOOK, [1, 2, 3]) == {1: b"look of 1"}
    assert execute(index, "SELECT name FROM sqlite_schema WHERE name LIKE 'feature%'") == []


def select_all(index: Path, table: str) -> str:
    """Return the query for all columns that a table has now."""
    columns = execute(index, f"SELECT group_concat(name) FROM pragma_table_info('{table}')")[0][0]  # noqa: S608 -- ours
    return f"SELECT {columns} FROM {table} ORDER BY 1, 2"  # noqa: S608 -- our own names


LONGER = "".join(
    [
        schema.lengthened("pair", "kind", "sketch", "copy", "etching"),
        schema.lengthened("model_run", "outcome", "paused"),
        schema.lengthened("resolve_task", "kind", "sketch"),
    ]
)
"""CHECKs of a column that came later, on a line of their own, and in a table's first definition."""


def definitions(index: Path) -> list[tuple[object, ...]]:
    """Return what an index says of its tables, indexes and triggers, without the lists of words."""
    rows = execute(index, "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema ORDER BY rowid")
    return [(*row, re.sub(r" IN \('[^)]*\)", " IN ()", str(sql))) for *row, sql in rows]


@pytest.mark.parametrize("state", states(), ids=lambda state: str(state.name))
def test_a_list_of_words_is_lengthened_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    """In an index that a release made: rows, indexes, triggers and references stay, only the words are more."""
    restore(state / ARCHIVE, tmp_path, tmp_path / "state")
    index = tmp_path / "state" / INDEX
    open_and_check(index)
    execute(index, "CREATE TRIGGER seen AFTER INSERT ON pair BEGIN UPDATE content SET matched = 0; END")
    tables = [str(name) for (name,) in execute(index, "SELECT name FROM sqlite_schema WHERE type = 'table'")]
    before = definitions(index), {name: execute(index, f"SELECT * FROM {name}") for name in tables}  # noqa: S608 -- ours
    lists = word_lists(index)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, LONGER, LONGER))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", SCHEMA_VERSION + 2)
    open_and_check(index)
    assert version(index) == SCHEMA_VERSION + 2
    assert before == (definitions(index), {name: execute(index, f"SELECT * FROM {name}") for name in tables})  # noqa: S608 -- ours
    longer = {
        ("pair", "kind"): ["etching", "sketch", *lists["pair", "kind"]],
        ("model_run", "outcome"): ["paused", *lists["model_run", "outcome"]],
        ("resolve_task", "kind"): ["sketch", *lists["resolve_task", "kind"]],
    }
    assert word_lists(index) == lists | longer


def test_a_word_that_was_added_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same migration already; one that is not listed is refused as before, and numbers go on."""
    index = tmp_path / "index.sqlite"
    write = "INSERT INTO model_run (reason, started_at, outcome, code_version) VALUES ('due', 1, '{}', 'code/1');"
    with opened(index):
        execute(index, write.format("replaced"))
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, LONGER + write.format("paused")))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with opened(index) as store:
        assert [(run.id, run.outcome) for run in store.runs.listed()] == [(2, "paused"), (1, "replaced")]
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed: outcome IN"):
        execute(index, write.format("stopped"))


def test_a_list_that_is_not_lengthened_to_its_end_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that fails after it leaves nothing of it."""
    index = opened_and_closed(tmp_path / "index.sqlite")
    before = definitions(index), word_lists(index)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, LONGER + "oops;"))
        patch.setattr(schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
        with pytest.raises(StorageError, match="syntax error"):
            Store(index).open()
    assert (definitions(index), word_lists(index)) == before
    with opened(index) as store:
        assert paths(store) == [b"/album/one.jpg"]


def test_a_migration_that_fails_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that fails half-way leaves the index at the version before, with nothing of the script in it."""
    index = opened_and_closed(tmp_path / "index.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE half (x INTEGER) STRICT; oops;"))
        patch.setattr(schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
        with pytest.raises(StorageError, match="syntax error"):
            Store(index).open()
    assert version(index) == SCHEMA_VERSION
    assert execute(index, "SELECT name FROM sqlite_schema WHERE name = 'half'") == []
    with opened(index) as store:
        assert paths(store) == [b"/album/one.jpg"]


def word_lists(index: Path) -> dict[tuple[str, str], list[str]]:
    """Return (table, column) -> the words that its CHECK lists."""
    tables = execute(index, "SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
    return {
        (str(table), column): re.findall(r"'([^']*)'", words)
        for table, sql in tables
        for column, words in re.findall(r"CHECK\s*\((\w+) IN \(('[^)]*)\)\)", str(sql))
    }


def test_checks_list_the_words_of_the_enums(tmp_path: Path) -> None:
    """Each CHECK of today's schema that lists words lists just those that the code has for the column."""
    with opened(tmp_path / "index.db"):
        listed = word_lists(tmp_path / "index.db")
    assert {column: set(words) for column, words in listed.items()} == WORDS
    assert all(len(words) == len(set(words)) for words in listed.values())
