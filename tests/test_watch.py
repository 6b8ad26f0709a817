"""Whatever happens below an album, its path is told; nobody who watches is left behind."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers import inotify_c

from cbir_daemon.watch import Watcher

PATIENCE_S = 20.0

Told = queue.SimpleQueue[bytes]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with a file and a folder in it."""
    root = tmp_path / "album"
    (root / "trip").mkdir(parents=True)
    (root / "old.jpg").write_bytes(b"old")
    (root / "trip" / "inner.jpg").write_bytes(b"inner")
    return root


@pytest.fixture
def told() -> Told:
    """What the watcher reported."""
    return queue.SimpleQueue()


@pytest.fixture
def watcher(told: Told) -> Iterator[Watcher]:
    """A watcher of nothing yet; no thread and no descriptor of it is left."""
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- no files of ours
    watcher = Watcher(told.put)
    yield watcher
    watcher.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before  # noqa: PTH208 -- as above


def wait_for(told: Told, path: Path) -> list[bytes]:
    """Return what was told up to and including `path`."""
    heard: list[bytes] = []
    while not heard or heard[-1] != os.fsencode(path):
        heard.append(told.get(timeout=PATIENCE_S))
    return heard


EVENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "made": (lambda album: (album / "new.jpg").write_bytes(b"new"), "new.jpg"),
    "made below": (lambda album: (album / "trip" / "new.jpg").write_bytes(b"new"), "trip/new.jpg"),
    "written": (lambda album: (album / "old.jpg").write_bytes(b"newer"), "old.jpg"),
    "deleted": (lambda album: (album / "old.jpg").unlink(), "old.jpg"),
    "moved away": (lambda album: (album / "old.jpg").rename(album.parent / "old.jpg"), "old.jpg"),
    "moved in": (lambda album: (album.parent / "outside.jpg").rename(album / "in.jpg"), "in.jpg"),
    "moved from": (lambda album: (album / "old.jpg").rename(album / "moved.jpg"), "old.jpg"),
    "moved to": (lambda album: (album / "old.jpg").rename(album / "moved.jpg"), "moved.jpg"),
    "folder moved from": (lambda album: (album / "trip").rename(album / "journey"), "trip"),
    "folder moved to": (lambda album: (album / "trip").rename(album / "journey"), "journey"),
    "folder deleted": (lambda album: shutil.rmtree(album / "trip"), "trip"),
    "a name that is no text": (lambda album: (album / os.fsdecode(b"\xff\n.jpg")).touch(), os.fsdecode(b"\xff\n.jpg")),
    "the album deleted": (shutil.rmtree, ""),
}


@pytest.mark.parametrize("name", EVENTS)
def test_what_happens_is_told(watcher: Watcher, told: Told, album: Path, name: str) -> None:
    """The path at which it happened, whole."""
    (album.parent / "outside.jpg").touch()
    assert watcher.watch(os.fsencode(album))
    happen, path = EVENTS[name]
    happen(album)
    wait_for(told, album / path)


def test_where_it_went_is_told_before_where_it_was(watcher: Watcher, told: Told, album: Path) -> None:
    """So that nobody takes a moved file for one that is gone."""
    watcher.watch(os.fsencode(album))
    (album / "trip").rename(album / "journey")
    heard = wait_for(told, album / "trip" / "inner.jpg")
    for after, before in (("journey", "trip"), ("journey/inner.jpg", "trip/inner.jpg")):
        assert heard.index(os.fsencode(album / after)) < heard.index(os.fsencode(album / before))


def test_a_folder_that_comes_is_watched_too(watcher: Watcher, told: Told, album: Path) -> None:
    """What is written into it later is told."""
    watcher.watch(os.fsencode(album))
    (album / "new").mkdir()
    wait_for(told, album / "new")
    (album / "new" / "a.jpg").write_bytes(b"x")
    wait_for(told, album / "new" / "a.jpg")


def test_reading_is_not_told(watcher: Watcher, told: Told, album: Path) -> None:
    """The daemon reads every file, and must not be told of itself."""
    watcher.watch(os.fsencode(album))
    (album / "old.jpg").read_bytes()
    list(album.iterdir())
    (album / "last.jpg").touch()
    assert os.fsencode(album / "old.jpg") not in wait_for(told, album / "last.jpg")


def test_albums_are_watched_apart(watcher: Watcher, told: Told, album: Path, tmp_path: Path) -> None:
    """One that is forgotten is told of no more, the other is; asking twice is harmless."""
    other = tmp_path / "other"
    other.mkdir()
    roots = [os.fsencode(album), os.fsencode(other)]
    assert all(watcher.watch(root) for root in [*roots, *roots])
    assert all(watcher.stands(root) and watcher.is_alive(root) for root in roots)
    watcher.forget(roots[0])
    watcher.forget(roots[0])
    assert not watcher.stands(roots[0])
    assert not watcher.is_alive(roots[0])
    (album / "unseen.jpg").touch()
    (other / "seen.jpg").touch()
    assert os.fsencode(album / "unseen.jpg") not in wait_for(told, other / "seen.jpg")


def test_a_folder_that_was_deleted_is_watched_no_more(watcher: Watcher, told: Told, album: Path) -> None:
    """Also when one of its name is there again: it must be watched anew, and then is."""
    root = os.fsencode(album)
    watcher.watch(root)
    (emitter,) = watcher._observers[root].emitters
    shutil.rmtree(album)
    wait_for(told, album)
    emitter.join(PATIENCE_S)
    album.mkdir()
    assert watcher.stands(root)
    assert not watcher.is_alive(root)
    watcher.forget(root)
    assert watcher.watch(root)
    assert watcher.is_alive(root)
    (album / "new.jpg").touch()
    wait_for(told, album / "new.jpg")


def test_what_cannot_be_watched_is_refused(watcher: Watcher, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that is not there: the log says why, and nothing is held."""
    with caplog.at_level(logging.WARNING):
        assert not watcher.watch(os.fsencode(tmp_path / "absent"))
    assert "reason=No such file or directory" in caplog.text
    assert not watcher.stands(os.fsencode(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("function", "number", "hint"),
    [
        ("inotify_init", 24, "sysctl -w fs.inotify.max_user_instances="),
        ("inotify_add_watch", 28, "sysctl -w fs.inotify.max_user_watches="),
    ],
)
def test_a_kernel_at_its_limit_means_polling(
    watcher: Watcher,
    album: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    number: int,
    hint: str,
) -> None:
    """Too many instances or watches of this user: refused, with what the operator can do, and nothing is held."""

    def refuse(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(inotify_c, function, refuse)
    assert not watcher.watch(os.fsencode(album))
    assert hint in caplog.text
