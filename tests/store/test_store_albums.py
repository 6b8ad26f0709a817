"""Rows of albums: what belongs to one goes with it, and its state changes with the alert of it."""

from __future__ import annotations

from dataclasses import replace

from cbir_daemon.store import AlertRecord, NewAlert, Store
from tests.rows import ROOT, all_images, indexed, paths, state


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
