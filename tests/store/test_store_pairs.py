"""Pairs, decisions and alerts: looked up once, decided upon once, and kept."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from cbir_daemon.store import AlertMatch, Gone, NewAlert, Pair, Store
from tests.rows import ROOT, digest, due, failed, indexed, vector
from tests.store.index import NOT_TEXT, NOW, fill


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
