"""Rows come back as written, what belongs together commits together, no fault costs what was committed."""

from __future__ import annotations

import queue
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon.errors import BadRequestError, StorageError
from cbir_daemon.records import LOOK, REASONS, SIZE_UNKNOWN, DescriptorKind, FileState, FitOutcome, Heals
from cbir_daemon.store import (
    AlbumDrift,
    AlertMatch,
    AlertRecord,
    Baseline,
    Change,
    Counts,
    Coverage,
    Drift,
    Failed,
    FitBegun,
    Gone,
    Image,
    Indexed,
    Moved,
    NewAlert,
    Pair,
    Placed,
    Store,
    restore,
)
from cbir_daemon.store.database import MAX_IDLE_READERS, Database, Job
from tests.leftovers import nothing_left, open_files
from tests.rows import (
    EXTRACTOR,
    ROOT,
    all_images,
    digest,
    due,
    failed,
    indexed,
    opened,
    paths,
    position,
    report,
    state,
    vector,
)

NOT_TEXT = b"holiday-\xff\xfe\n.jpg"
NOW = 1_700_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """The connections of `store`."""
    return Database(tmp_path / "index.sqlite")


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """An index with one album at /album, its first scan done; sound at the end."""
    with opened(database.path, database) as store:
        yield store
        assert store.check() == []


@pytest.fixture
def album(store: Store) -> int:
    """The id of the album."""
    return store.albums.listed()[0].id


def fill(store: Store, numbers: range) -> list[int]:
    """Index one file for each number, named by it, and return the contents' ids."""
    album_id = store.albums.listed()[0].id
    return [
        content_id for content_id, _ in store.files.apply([indexed(album_id, b"%d.jpg" % n, n) for n in numbers]).added
    ]


def image_at(store: Store, name: bytes) -> Image:
    """Return the image of a name in the album."""
    return next(image for image in all_images(store) if image.path == ROOT + b"/" + name)


def files_in(index: Path) -> int:
    """Count file rows behind the store's back."""
    with closing(sqlite3.connect(index)) as connection:
        return int(connection.execute("SELECT count(*) FROM file").fetchone()[0])


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


# Files and contents.


def test_a_file_comes_back_with_its_content(store: Store, album: int) -> None:
    """Path, state and content are those that were written; names that are no text, too."""
    applied = store.files.apply([indexed(album, NOT_TEXT, 7)])
    assert applied.added == ((1, vector(7)),)
    assert (applied.gone, applied.again) == ((), ())
    (image,) = all_images(store)
    assert image.path == ROOT + b"/" + NOT_TEXT
    assert image.state == state(7)
    assert not image.missing
    assert (image.content.digest, image.content.width_px, image.content.height_px) == (digest(7), 640, 480)
    assert (image.content.size_bytes, image.content.format) == (state(7).size_bytes, "JPEG")
    assert store.files.states(album) == {NOT_TEXT: state(7)}
    assert store.contents.vectors([1, 99]) == {1: vector(7)}


def test_two_equal_files_share_a_content(store: Store, album: int) -> None:
    """The second is not read again, and the content stays until the last file is gone."""
    first = store.files.apply([indexed(album, b"a.jpg", 1)])
    second = store.files.apply([indexed(album, b"b.jpg", 1, inode=5, known=True)])
    assert (len(first.added), second.added) == (1, ())
    assert store.contents.repeated() == [1]
    assert store.files.apply([Gone(album, b"a.jpg")]).gone == ()
    assert store.files.apply([Gone(album, b"b.jpg")]).gone == (1,)
    assert store.files.counts() == Counts(0, 0, 0, 0, 0)


def test_what_is_gone_takes_all_below_it_and_nothing_beside_it(store: Store, album: int) -> None:
    """Names that begin like the folder's stay."""
    names = [b"trip", b"trip/a.jpg", b"trip/b/c.jpg", b"trip.jpg", b"trip-2/a.jpg", b"trip0/a.jpg", b"trip /a.jpg"]
    store.files.apply([indexed(album, name, n) for n, name in enumerate(names)])
    assert set(store.files.states(album, b"trip")) == set(names[:3])
    store.files.apply([Gone(album, b"trip", below=False)])
    assert set(store.files.states(album)) == set(names[1:])
    store.files.apply([Gone(album, b"trip")])
    assert set(store.files.states(album)) == set(names[3:])


def test_a_file_that_cannot_be_read_gives_up_its_content(store: Store, album: int) -> None:
    """Its reason is listed, and the content goes when nothing else has it."""
    store.files.apply([indexed(album, b"a.jpg", 1), failed(album, b"b.jpg", 2)])
    assert store.files.apply([failed(album, b"a.jpg", 3, "truncated")]).gone == (1,)
    assert store.files.errors() == [
        (b"/album/a.jpg", "truncated", "it is truncated"),
        (b"/album/b.jpg", "damaged", "it is damaged"),
    ]
    assert store.files.counts_by_album() == {album: (0, 2)}
    store.files.apply([indexed(album, b"a.jpg", 1)])
    assert store.files.counts_by_album() == {album: (1, 1)}


HEALS_UNCHANGED = {"no-access", "read-failed", "timed-out"}


@pytest.mark.parametrize("code", REASONS)
def test_a_file_differs_from_its_row_when_it_heals_unchanged(store: Store, album: int, code: str) -> None:
    """Whether the reason heals so is said in one table; every other file equals its row until it changes."""
    store.files.apply([failed(album, b"a.jpg", 1, code)])
    differs = store.files.states(album)[b"a.jpg"] != state(1)
    assert differs == (REASONS[code].heals in (Heals.RIGHTS, Heals.PAUSE)) == (code in HEALS_UNCHANGED)


def test_a_moved_file_keeps_its_content(store: Store, album: int) -> None:
    """The row goes along, over whatever lay at the new path."""
    store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"b.jpg", 2)])
    row = image_at(store, b"a.jpg").file_id
    applied = store.files.apply([Moved(row, album, b"b.jpg")])
    assert (applied.added, applied.gone) == ((), (2,))
    assert [(image.path, image.file_id) for image in all_images(store)] == [(b"/album/b.jpg", row)]


def test_names_may_be_swapped_or_handed_on(store: Store, album: int) -> None:
    """Moves of one batch happen at once: in a ring of names no row replaces another."""
    fill(store, range(3))
    rows = [image_at(store, b"%d.jpg" % n).file_id for n in range(3)]
    applied = store.files.apply([Moved(rows[n], album, b"%d.jpg" % ((n + 1) % 3)) for n in range(3)])
    assert (applied.added, applied.gone) == ((), ())
    assert [image_at(store, b"%d.jpg" % n).file_id for n in range(3)] == [rows[2], rows[0], rows[1]]


def test_a_row_that_is_gone_does_not_move(store: Store, album: int) -> None:
    """What lies at the path that it would have moved to stays."""
    fill(store, range(1))
    store.files.apply([Moved(99, album, b"0.jpg")])
    assert paths(store) == [b"/album/0.jpg"]


def test_a_file_moves_into_another_album(store: Store, album: int) -> None:
    """The row changes its album and keeps its content."""
    store.albums.add(b"/other")
    second = next(row.id for row in store.albums.listed() if row.path == b"/other")
    fill(store, range(1))
    store.files.apply([Moved(image_at(store, b"0.jpg").file_id, second, b"x.jpg")])
    assert paths(store) == [b"/other/x.jpg"]
    assert store.files.counts_by_album() == {second: (1, 0)}


def test_a_content_that_comes_and_goes_in_one_batch_is_no_news(store: Store, album: int) -> None:
    """Neither added nor gone: who keeps the collection by these would keep a ghost."""
    applied = store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"a.jpg", 2)])
    assert [row for _, row in applied.added] == [vector(2)]
    assert applied.gone == ()


def test_a_known_digest_that_has_gone_meanwhile_is_read_again(store: Store, album: int) -> None:
    """Its file was read without a vector; nothing is written of it, and the rest of the batch is."""
    fill(store, range(1))
    store.files.apply([Gone(album, b"0.jpg")])
    late = indexed(album, b"late.jpg", 0, known=True)
    applied = store.files.apply([late, indexed(album, b"other.jpg", 1)])
    assert applied.again == (late,)
    assert paths(store) == [b"/album/other.jpg"]


@pytest.mark.parametrize("kind", [Indexed, Failed, Moved, Gone])
def test_changes_of_an_album_that_was_removed_are_passed_over(store: Store, album: int, kind: type) -> None:
    """An album may be removed while its files are read; the rest of the batch is written."""
    store.albums.add(b"/removed")
    removed = next(row.id for row in store.albums.listed() if row.path == b"/removed")
    fill(store, range(1))
    row = image_at(store, b"0.jpg").file_id
    changes: dict[type, Change] = {
        Indexed: indexed(removed, b"a.jpg", 5),
        Failed: failed(removed, b"a.jpg", 5),
        Moved: Moved(row, removed, b"a.jpg"),
        Gone: Gone(removed, b"a.jpg"),
    }
    store.albums.remove(removed)
    applied = store.files.apply([changes[kind], indexed(album, b"b.jpg", 6)])
    assert [row for _, row in applied.added] == [vector(6)]
    assert paths(store) == [b"/album/0.jpg", b"/album/b.jpg"]


def test_removing_an_album_takes_what_only_it_has(store: Store, album: int) -> None:
    """A content that another album has, too, stays."""
    store.albums.add(b"/other")
    second = next(row.id for row in store.albums.listed() if row.path == b"/other")
    store.files.apply([indexed(album, b"a.jpg", 1), indexed(second, b"a.jpg", 1), indexed(second, b"b.jpg", 2)])
    assert store.albums.remove(second).gone == (2,)
    assert paths(store) == [b"/album/a.jpg"]
    assert [row.path for row in store.albums.listed()] == [ROOT]


def test_albums_are_known_once(store: Store) -> None:
    """A second time adds nothing; state and baseline are kept."""
    assert not store.albums.add(ROOT)
    assert store.albums.add(b"/a-new-one")
    first, second = store.albums.listed()
    assert (first.path, first.state, first.baseline) == (b"/a-new-one", "watching", False)
    assert (second.path, second.baseline) == (ROOT, True)
    assert store.albums.set_state(first.id, "missing")
    assert not store.albums.set_state(first.id, "missing")


def test_images_of_a_missing_album_say_so(store: Store, album: int) -> None:
    """The rows stay, and each tells that its file may not be there."""
    fill(store, range(1))
    store.albums.set_state(album, "missing")
    assert [image.missing for image in all_images(store)] == [True]


def test_known_digests_are_those_of_the_size(store: Store, album: int) -> None:
    """Only contents read by the same extractor count: others must be read again."""
    fill(store, range(2))
    assert store.contents.known_digests([state(0).size_bytes, 1], [EXTRACTOR]) == {
        state(0).size_bytes: frozenset({digest(0)})
    }
    assert store.contents.known_digests([state(0).size_bytes], ["grey64/2"]) == {}


def test_a_content_that_another_extractor_read_is_made_anew(store: Store, album: int) -> None:
    """All its files get the new one; the old one goes with its pairs, and no file is news."""
    first = indexed(album, b"a.jpg", 1)
    store.files.apply([first, indexed(album, b"twin.jpg", 1, inode=5, known=True), indexed(album, b"b.jpg", 2)])
    store.albums.finish_baseline(album)
    news = due(store)
    read_anew = replace(first, facts=replace(first.facts, vector=vector(9), extractor="grey64/2"))
    applied = store.files.apply([read_anew])
    assert (applied.added, applied.gone) == (((3, vector(9)),), (1,))
    assert {image.path: image.content.id for image in all_images(store)} == {
        ROOT + b"/a.jpg": 3,
        ROOT + b"/twin.jpg": 3,
        ROOT + b"/b.jpg": 2,
    }
    assert (due(store), store.check()) == (news, [])
    assert store.files.apply([read_anew]).added == ()


def test_files_of_another_extractor_differ_from_their_rows(store: Store, album: int) -> None:
    """With them those that could not be read, which nobody knows the extractor of; without any, none."""
    store.files.apply([indexed(album, b"a.jpg", 1), failed(album, b"bad.jpg", 2)])
    assert store.files.forget_extractors([EXTRACTOR]) == 0
    assert store.files.states(album)[b"a.jpg"] == state(1)
    assert store.files.forget_extractors(["grey64/2"]) == 2
    assert {row.size_bytes for row in store.files.states(album).values()} == {SIZE_UNKNOWN}


def test_same_inode_asks_for_the_whole_state(store: Store, album: int) -> None:
    """Size, mtime and inode must all be equal, and the file must have a content."""
    store.files.apply([indexed(album, b"a.jpg", 1), failed(album, b"b.jpg", 2)])
    same = state(1)
    assert store.files.same_inode(same) == [(1, b"/album/a.jpg")]
    for changed in (
        FileState(same.size_bytes + 1, same.mtime_ns, same.inode),
        FileState(same.size_bytes, same.mtime_ns + 1, same.inode),
        FileState(same.size_bytes, same.mtime_ns, same.inode + 1),
        state(2),
    ):
        assert store.files.same_inode(changed) == []


def test_same_inode_asks_for_the_disk(store: Store, album: int) -> None:
    """Each disk counts its inodes for itself; a disk that is not known, of row or file, may be any."""
    store.files.apply(
        [replace(indexed(album, b"a.jpg", 1), state=replace(state(1), device=5)), indexed(album, b"b.jpg", 2)]
    )
    for number, device, found in ((1, 5, True), (1, 6, False), (1, 0, True), (2, 5, True)):
        assert bool(store.files.same_inode(replace(state(number), device=device))) is found


def test_disks_are_written_down(store: Store, album: int) -> None:
    """With the file that is read, and for itself."""
    store.files.apply(
        [replace(indexed(album, b"a.jpg", 1), state=replace(state(1), device=5)), indexed(album, b"b.jpg", 2)]
    )
    store.files.put_devices(album, {b"b.jpg": 7, b"absent.jpg": 8})
    store.albums.set_device(album, 9)
    assert {path: state.device for path, state in store.files.states(album).items()} == {b"a.jpg": 5, b"b.jpg": 7}
    assert [image.state.device for image in all_images(store)] == [5, 7]
    assert store.albums.listed()[0].device == 9


def test_an_album_turns_with_its_alert(store: Store, album: int) -> None:
    """Once: what is said already is not said again."""
    alert = NewAlert(ROOT, "missing", (), "its folder is empty")
    assert store.albums.turn(album, "missing", alert, 1.5)
    assert not store.albums.turn(album, "missing", alert, 2.5)
    assert store.alerts.listed(0, 10) == [AlertRecord(1, 1.5, ROOT, "missing", (), "its folder is empty")]
    assert store.albums.listed()[0].state == "missing"


def test_the_content_at_a_path(store: Store, album: int) -> None:
    """A path is album, slash and name: nothing else between or before them will do."""
    store.files.apply([indexed(album, NOT_TEXT, 1), indexed(album, b"x.jpg", 2)])
    found = store.contents.at_path(ROOT + b"/" + NOT_TEXT)
    assert found is not None
    assert found.digest == digest(1)
    for path in (b"/album", b"/album/", b"/album0x.jpg", b"/albumxx.jpg", b"/album/x.jp", b"x.jpg", b"/other/x.jpg"):
        assert store.contents.at_path(path) is None
    assert store.contents.by_digest(digest(2)) is not None
    assert store.contents.by_digest(digest(3)) is None


def test_more_ids_than_one_statement_holds(store: Store, album: int) -> None:
    """Long lists are asked for in pieces, and so is the whole collection."""
    ids = fill(store, range(5))
    many = [*range(-40_000, 0), *ids]
    assert list(store.contents.vectors(many)) == ids
    assert [image.content.id for image in store.files.images(many)] == ids
    assert len(store.contents.known_digests([*range(40_000)], [EXTRACTOR])) == 5
    assert [[content_id for content_id, _ in rows] for rows in store.contents.all_vectors(2)] == [[1, 2], [3, 4], [5]]


# Pairs, decisions, alerts.


def test_a_content_is_looked_up_once(store: Store, album: int) -> None:
    """What is looked up is no longer listed; its pairs are, best first, from either side."""
    first, second, third = fill(store, range(3))
    assert store.pairs.unmatched(2) == [(first, vector(0)), (second, vector(1))]
    store.pairs.put_matched([first, second, third], [Pair(first, second, 0.9), Pair(first, third, 0.95)])
    assert store.pairs.unmatched(2) == []
    assert store.pairs.listed() == [Pair(first, third, 0.95), Pair(first, second, 0.9)]
    assert store.pairs.listed(second) == [Pair(first, second, 0.9)]


def test_pairs_go_with_their_contents(store: Store, album: int) -> None:
    """Also those that were found for a content that has gone meanwhile."""
    first, second, third = fill(store, range(3))
    store.pairs.put_matched([first], [Pair(first, second, 0.9)])
    store.files.apply([Gone(album, b"1.jpg")])
    assert store.pairs.listed() == []
    store.pairs.put_matched([second, third], [Pair(second, third, 0.9)])
    assert store.pairs.listed() == []


def test_a_decision_is_about_contents_and_for_ever(store: Store, album: int) -> None:
    """It hides the pair whichever way round, survives the files, and can be taken back."""
    first, second = fill(store, range(2))
    pair = Pair(first, second, 0.9)
    store.pairs.put_matched([first, second], [pair])
    assert store.decisions.dismiss(digest(1), digest(0), NOW)
    assert not store.decisions.dismiss(digest(0), digest(1), NOW)
    assert store.pairs.listed() == store.pairs.listed(first) == []
    store.files.apply([Gone(album, b"0.jpg"), Gone(album, b"1.jpg")])
    third, fourth = fill(store, range(2))
    again = Pair(third, fourth, 0.9)
    store.pairs.put_matched([third, fourth], [again])
    assert store.pairs.listed() == []
    assert store.decisions.undismiss(digest(0), digest(1))
    assert not store.decisions.undismiss(digest(0), digest(1))
    assert store.pairs.listed() == [again]


def test_only_news_is_due(tmp_path: Path) -> None:
    """Files of the first scan, unreadable and merely touched ones are no news; new and changed ones are."""
    store = Store(tmp_path / "index.sqlite")
    store.open()
    with closing(store):
        store.albums.add(ROOT)
        album = store.albums.listed()[0].id
        store.files.apply([indexed(album, b"old.jpg", 1), failed(album, b"bad.jpg", 2)])
        store.albums.finish_baseline(album)
        store.files.apply([failed(album, b"worse.jpg", 3), indexed(album, b"old.jpg", 1, inode=77)])
        assert due(store) == []
        store.files.apply([indexed(album, b"new.jpg", 4), indexed(album, b"old.jpg", 5), indexed(album, b"bad.jpg", 6)])
        assert due(store) == [b"old.jpg", b"bad.jpg", b"new.jpg"]
        store.files.apply([failed(album, b"new.jpg", 7)])
        assert due(store) == [b"old.jpg", b"bad.jpg"]


def test_a_file_is_decided_upon_after_its_content_was_looked_up(store: Store, album: int) -> None:
    """What it raises is written together with the decision, and is not asked for again."""
    (content_id,) = fill(store, range(1))
    assert store.files.images_due(10) == []
    store.pairs.put_matched([content_id], [])
    (image,) = store.files.images_due(10)
    assert store.files.counts().alerts_due == 1
    alert = NewAlert(image.path, "exact", (AlertMatch(ROOT + b"/" + NOT_TEXT, "exact", 1.0),))
    store.alerts.put([image.file_id], [alert], NOW)
    assert store.files.images_due(10) == []
    (written,) = store.alerts.listed(0, 10)
    assert (written.id, written.time, written.path, written.kind, written.matches) == (
        1,
        NOW,
        alert.path,
        alert.kind,
        alert.matches,
    )


def test_alerts_are_read_on_from_where_one_was(store: Store) -> None:
    """Oldest first, after an id, no more than asked for."""
    alert = NewAlert(b"/album/a.jpg", "copy", (AlertMatch(b"/album/b.jpg", "copy", 0.95),))
    store.alerts.put([], [alert] * 4, NOW)
    assert [alert.id for alert in store.alerts.listed(1, 2)] == [2, 3]
    assert store.alerts.ids(1, 2) == [2, 3]
    assert [alert.id for alert in store.alerts.listed(0, 10)] == [1, 2, 3, 4]


# Model runs.


def fitted(store: Store, placed: list[Placed], present: int = 3) -> int:
    """Write a whole fit and return its run."""
    run_id = store.runs.start(FitBegun("asked for", "code/1", present), NOW)
    store.runs.activate(run_id, report(), placed, NOW + 5)
    return run_id


def test_a_run_comes_back_as_it_was_written(store: Store) -> None:
    """Every score, and the curve with all candidates."""
    run_id = fitted(store, [])
    run = store.runs.active()
    assert run is not None
    expected = report()
    assert (run.id, run.reason, run.outcome, run.code_version) == (run_id, "asked for", "active", "code/1")
    assert (run.started_at, run.finished_at, run.present_images) == (NOW, NOW + 5, 3)
    assert (run.curve, run.artifact, run.sha256) == (expected.curve, expected.artifact, expected.sha256)
    assert (run.n_neighbors, run.n_components, run.trustworthiness) == (10, 2, 0.9375)
    # An active run without positions is a finding; the album is empty here.
    store.runs.end(run_id, FitOutcome.SET_ASIDE, "no reason", NOW)


def test_one_run_is_active(store: Store, album: int) -> None:
    """A new map replaces the one before in the same step, with its positions; what was late for the old is dropped."""
    first, second, third = fill(store, range(3))
    old = fitted(store, [Placed(first, "fitted", position(0, 0))])
    new = fitted(store, [Placed(first, "fitted", position(1, 2)), Placed(second, "present", position(3, 4))])
    assert [(run.id, run.outcome) for run in store.runs.listed()] == [(new, "active"), (old, "replaced")]
    store.positions.put(old, [Placed(third, "added", position(9, 9))])
    assert store.positions.listed(old) == []
    assert store.positions.listed(new) == [(first, position(1, 2)), (second, position(3, 4))]
    assert store.positions.unplaced(new, 10) == [(third, vector(2))]
    kind = DescriptorKind("meaning", "1")
    assert store.positions.unplaced(new, 10, kind, third - 1) == []
    assert store.positions.unplaced(new, 10, kind, third) == [(third, vector(2))]
    store.descriptors.put(DescriptorKind("meaning", "0"), {third: b"of another network"})
    assert store.positions.unplaced(new, 10, kind, 0) == []
    store.descriptors.put(kind, {third: b"numbers"})
    assert store.positions.unplaced(new, 10, kind, 0) == [(third, vector(2))]
    store.positions.put(new, [Placed(third, "added", position(5, 6)), Placed(99, "added", position(7, 8))])
    assert store.positions.unplaced(new, 10) == []


def test_drift_is_measured_on_what_was_added(store: Store, album: int) -> None:
    """By the fit's own limit, over all albums and in each; what was there at the fit says nothing."""
    first, second, third, fourth = fill(store, range(4))
    run_id = store.runs.start(FitBegun("due", "code/1", 1, "warm", {"changed_fraction": 0.25}), NOW)
    assert store.positions.drift(run_id) == Drift()
    place = position(0, 0)
    there = [Placed(first, "fitted", place, place), Placed(second, "present", place, place, 9.0, 0.0)]
    store.runs.activate(run_id, report(), there, NOW, Baseline(0.5, 0.75))
    assert store.positions.drift(run_id) == Drift()
    store.positions.put(
        run_id, [Placed(third, "added", place, None, 0.5, 0.25), Placed(fourth, "added", place, None, 0.6)]
    )
    assert store.positions.drift(run_id) == Drift(2, 1, 1, 0.25, (AlbumDrift(ROOT, 2, 1),))
    assert store.positions.flat(run_id) == [(first, place), (second, place)]
    store.runs.add_numbers(run_id, {"kept": 0.5})
    run = store.runs.active()
    assert run is not None
    assert (run.kind, dict(run.numbers)) == ("warm", {"changed_fraction": 0.25, "kept": 0.5})
    assert (run.far_distance, run.kept) == (0.5, 0.75)


def test_two_runs_cannot_run_at_once(store: Store) -> None:
    """The index refuses it; a run that was cut short is closed first."""
    run_id = store.runs.start(FitBegun("first", "code/1", 0), NOW)
    with pytest.raises(StorageError, match="UNIQUE"):
        store.runs.start(FitBegun("second", "code/1", 0), NOW)
    store.runs.end_interrupted(NOW + 1)
    (run,) = store.runs.listed()
    assert (run.id, run.outcome, run.finished_at) == (run_id, "cancelled", NOW + 1)
    assert run.message == "the daemon stopped during the fit"
    store.runs.start(FitBegun("second", "code/1", 0), NOW)
    store.runs.end_interrupted(NOW + 2, FitOutcome.FAILED, "why")
    assert [(run.outcome, run.message) for run in store.runs.listed()] == [
        ("failed", "why"),
        (run.outcome, run.message),
    ]


def test_a_failed_run_leaves_the_active_one(store: Store, album: int) -> None:
    """Its message is kept, and the map before stays in use."""
    (first,) = fill(store, range(1))
    active = fitted(store, [Placed(first, "fitted", position(0, 0))])
    run_id = store.runs.start(FitBegun("due", "code/1", 1), NOW)
    store.runs.end(run_id, FitOutcome.FAILED, "out of memory", NOW)
    assert [(run.id, run.outcome, run.message) for run in store.runs.listed()] == [
        (run_id, "failed", "out of memory"),
        (active, "active", ""),
    ]


def test_counts_are_kept_until_something_is_written(store: Store, album: int) -> None:
    """Asked again they are the same answer, be it of one descriptor's kind or another's; any commit makes them new.

    Also one that leaves the clock as it is.
    """
    meaning = DescriptorKind("meaning", "1")
    assert store.files.counts() is store.files.counts()
    assert store.positions.coverage() is store.positions.coverage()
    assert (store.descriptors.count(LOOK), store.descriptors.count(meaning)) == (0, 0)
    ((content_id, _),) = store.files.apply([indexed(album, b"a.jpg", 1)]).added
    store.descriptors.put(meaning, {content_id: b"abc"})
    assert (store.descriptors.count(LOOK), store.descriptors.count(meaning)) == (0, 1)
    assert store.files.counts().images == store.positions.coverage().contents == 1
    assert store.files.counts_by_album() == {album: (1, 0)}


def test_counts_of_what_another_process_writes_are_not_kept(store: Store, album: int) -> None:
    """Who opened the index for reading only learns of no commit, so it looks each time."""
    reading = Store(store.path)
    reading.open_existing()
    try:
        assert reading.files.counts().images == 0
        store.files.apply([indexed(album, b"a.jpg", 1)])
        assert reading.files.counts().images == 1
    finally:
        reading.close()


def test_coverage_counts_what_came_and_went(store: Store, album: int) -> None:
    """Changed is gone plus added, placed or not, over what there was at the fit."""
    assert store.positions.coverage() == Coverage(0, 0, 0, 0, 0)
    first, second, third, fourth = fill(store, range(4))
    assert store.positions.coverage() == Coverage(4, 0, 0, 0, 0)
    placed = [Placed(content_id, "fitted", position(0, 0)) for content_id in (first, second, third)]
    run = fitted(store, [*placed, Placed(fourth, "present", position(1, 1))], present=4)
    assert store.positions.coverage() == Coverage(4, 3, 1, 0, 4)
    assert store.positions.coverage().changed == 0
    fifth, _ = fill(store, range(4, 6))
    store.positions.put(run, [Placed(fifth, "added", position(2, 2))])
    store.files.apply([Gone(album, b"0.jpg"), Gone(album, b"3.jpg")])
    now = store.positions.coverage()
    assert now == Coverage(4, 2, 0, 1, 4)
    assert (now.unplaced, now.changed, now.changed_fraction) == (1, 4, 1.0)
    # What came after the fit and went again leaves no trace.
    store.files.apply([Gone(album, b"4.jpg"), Gone(album, b"5.jpg")])
    assert (store.positions.coverage().unplaced, store.positions.coverage().changed) == (0, 2)


# The clock, readers and writers.


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
    with (
        pytest.raises(StorageError, match="readonly"),
        database.read() as connection,
    ):
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


# Faults.


def overwritten(index: Path) -> None:
    index.write_bytes(b"this is no database, and never was one" * 200)


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
            "1 contents belong to no file",
            "the active model has no artifact or no positions",
        ]


# Copies of the file.


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
        assert names(index.parent) == [
            "index.sqlite",
            "index.sqlite.before-restore",
            "index.sqlite.before-restore-wal",
        ]
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


def absent(path: Path) -> None:
    path.unlink(missing_ok=True)


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
