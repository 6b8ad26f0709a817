"""Whatever happens below an album, its path is told; nobody who watches is left behind."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from watchdog.observers import inotify_c
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import InotifyFD

from cbir_daemon.watching.events import NOT_WATCHED, Unwatched, Watcher, advice, limits
from tests.leftovers import nothing_left, thread_of
from tests.patience import PATIENCE_S
from tests.rights import open_folder, ordinary_user

__all__ = ["open_folder"]

QUEUE_FILE = Path("/proc/sys/fs/inotify/max_queued_events")
FILE = "fs/inotify/max_user_watches"

Reports = queue.SimpleQueue[bytes]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with a file and a folder in it."""
    root = tmp_path / "album"
    (root / "trip").mkdir(parents=True)
    (root / "old.jpg").write_bytes(b"old")
    (root / "trip" / "inner.jpg").write_bytes(b"inner")
    return root


@pytest.fixture
def reports() -> Reports:
    """What the watcher reported."""
    return queue.SimpleQueue()


@pytest.fixture
def watcher(reports: Reports) -> Iterator[Watcher]:
    """A watcher of nothing yet; no thread and no descriptor of it is left."""
    with nothing_left():
        watcher = Watcher(reports.put)
        yield watcher
        watcher.close()


def wait_for(reports: Reports, path: Path) -> list[bytes]:
    """Return what was told up to and including `path`."""
    heard: list[bytes] = []
    while not heard or heard[-1] != os.fsencode(path):
        heard.append(reports.get(timeout=PATIENCE_S))
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
    "the album moved away": (lambda album: album.rename(album.parent / "elsewhere"), ""),
}


@pytest.mark.parametrize("name", EVENTS)
def test_what_happens_is_told(watcher: Watcher, reports: Reports, album: Path, name: str) -> None:
    """The path at which it happened, whole."""
    (album.parent / "outside.jpg").touch()
    assert watcher.watch(os.fsencode(album))
    happen, path = EVENTS[name]
    happen(album)
    wait_for(reports, album / path)


def test_where_it_went_is_told_before_where_it_was(watcher: Watcher, reports: Reports, album: Path) -> None:
    """So that nobody takes a moved file for one that is gone."""
    watcher.watch(os.fsencode(album))
    (album / "trip").rename(album / "journey")
    heard = wait_for(reports, album / "trip" / "inner.jpg")
    for after, before in (("journey", "trip"), ("journey/inner.jpg", "trip/inner.jpg")):
        assert heard.index(os.fsencode(album / after)) < heard.index(os.fsencode(album / before))


def test_a_folder_that_comes_is_watched_too(watcher: Watcher, reports: Reports, album: Path) -> None:
    """What is written into it later is told."""
    watcher.watch(os.fsencode(album))
    (album / "new").mkdir()
    wait_for(reports, album / "new")
    (album / "new" / "a.jpg").write_bytes(b"x")
    wait_for(reports, album / "new" / "a.jpg")


def test_reading_is_not_told(watcher: Watcher, reports: Reports, album: Path) -> None:
    """The daemon reads every file, and must not be told of itself."""
    watcher.watch(os.fsencode(album))
    (album / "old.jpg").read_bytes()
    list(album.iterdir())
    (album / "last.jpg").touch()
    assert os.fsencode(album / "old.jpg") not in wait_for(reports, album / "last.jpg")


def test_albums_are_watched_apart(watcher: Watcher, reports: Reports, album: Path, tmp_path: Path) -> None:
    """One that is forgotten is told of no more, the other is; asking twice is harmless."""
    second = tmp_path / "other"
    second.mkdir()
    roots = [os.fsencode(album), os.fsencode(second)]
    assert all(watcher.watch(root) for root in [*roots, *roots])
    assert all(watcher.stands(root) and watcher.is_alive(root) for root in roots)
    watcher.forget(roots[0])
    watcher.forget(roots[0])
    assert not watcher.stands(roots[0])
    assert not watcher.is_alive(roots[0])
    (album / "unseen.jpg").touch()
    (second / "seen.jpg").touch()
    assert os.fsencode(album / "unseen.jpg") not in wait_for(reports, second / "seen.jpg")


def test_a_folder_that_was_deleted_is_watched_no_more(watcher: Watcher, reports: Reports, album: Path) -> None:
    """Also when one of its name is there again: it must be watched anew, and then is."""
    root = os.fsencode(album)
    watcher.watch(root)
    emitter = thread_of(InotifyEmitter)
    shutil.rmtree(album)
    wait_for(reports, album)
    emitter.join(PATIENCE_S)
    album.mkdir()
    assert watcher.stands(root)
    assert not watcher.is_alive(root)
    watcher.forget(root)
    assert watcher.watch(root)
    assert watcher.is_alive(root)
    (album / "new.jpg").touch()
    wait_for(reports, album / "new.jpg")


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


# What the kernel loses.


def test_a_queue_that_overflows_is_told(reports: Reports, album: Path) -> None:
    """With the album, once all is watched again: what was made meanwhile is heard of from then on."""
    events = int(QUEUE_FILE.read_text())
    if events > 100_000:
        pytest.skip("the kernel's queue is too long to fill")
    lost: Reports = queue.SimpleQueue()
    root = os.fsencode(album)
    reached, opened = threading.Event(), threading.Event()

    def is_watched(_: bytes, folder: bytes) -> bool:
        if folder == os.fsencode(album / "gate"):
            reached.set()
            assert opened.wait(PATIENCE_S)
        return True

    with closing(Watcher(reports.put, lost.put, is_watched)) as watcher:
        watcher.watch(root)
        # The thread that reads the kernel's queue asks about each new folder, and waits for the answer.
        (album / "gate").mkdir()
        assert reached.wait(PATIENCE_S)
        old, new = album / "old.jpg", album / "new.jpg"
        for _ in range(events // 2):
            old.rename(new)
            new.rename(old)
        (album / "unheard of").mkdir()
        opened.set()
        assert lost.get(timeout=PATIENCE_S) == root
        (album / "unheard of" / "a.jpg").touch()
        wait_for(reports, album / "unheard of" / "a.jpg")
        assert watcher.is_alive(root)
        assert watcher.watched(root) == NOT_WATCHED


THREADS: dict[str, tuple[type[threading.Thread], str]] = {
    "observer": (BaseObserver, "dispatch_events"),
    "emitter": (InotifyEmitter, "queue_event"),
    "kernel": (InotifyFD, "handle_event"),
}
"""The threads that watch an album, and what each does all the time."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("which", THREADS)
def test_a_thread_that_dies_is_seen(reports: Reports, album: Path, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them; and the album can be watched anew."""

    def die(*_: object) -> None:
        raise RuntimeError("dead")

    root = os.fsencode(album)
    with closing(Watcher(reports.put)) as watcher:
        watcher.watch(root)
        kind, works = THREADS[which]
        thread = thread_of(kind)
        with monkeypatch.context() as patch:
            patch.setattr(thread, works, die)
            # The one that waits for work dies of the second piece.
            for name in ("a.jpg", "b.jpg"):
                (album / name).touch()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert not watcher.is_alive(root)
        watcher.forget(root)
        assert watcher.watch(root)
        (album / "c.jpg").touch()
        wait_for(reports, album / "c.jpg")


def test_a_folder_in_the_place_of_another_is_another(watcher: Watcher, album: Path) -> None:
    """The watch is on the one that was moved away."""
    root = os.fsencode(album)
    watcher.watch(root)
    album.rename(album.parent / "elsewhere")
    assert not watcher.is_alive(root)
    album.mkdir()
    assert watcher.stands(root)
    assert not watcher.is_alive(root)
    watcher.forget(root)
    assert watcher.watch(root)
    assert watcher.is_alive(root)


# What the kernel refuses.


def test_what_fits_is_watched(watcher: Watcher, reports: Reports, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that do not are known, with what to raise; one that is watched later is not among them any more."""
    for name in ("a", "b", "c"):
        (album / name).mkdir()
    real, room = inotify_c.inotify_add_watch, [2]

    def add_watch(descriptor: int, path: bytes, mask: int) -> int:
        if room[0] == 0:
            ctypes.set_errno(28)
            return -1
        room[0] -= 1
        return real(descriptor, path, mask)

    monkeypatch.setattr(inotify_c, "inotify_add_watch", add_watch)
    root = os.fsencode(album)
    assert watcher.watch(root)
    watched = watcher.watched(root)
    assert len(watched.refused) == 3
    assert watched.refused < {root + b"/" + name for name in (b"a", b"b", b"c", b"trip")}
    assert watched.why == "No space left on device"
    assert watched.advice.startswith("sysctl -w fs.inotify.max_user_watches=")
    room[0] = 100
    refused = Path(os.fsdecode(min(watched.refused)))
    refused.rename(album / "elsewhere")
    wait_for(reports, album / "elsewhere")
    (album / "elsewhere" / "a.jpg").touch()
    wait_for(reports, album / "elsewhere" / "a.jpg")
    assert len(watcher.watched(root).refused) == 2
    # Another one that was refused is made anew.
    refused = Path(os.fsdecode(min(watcher.watched(root).refused)))
    shutil.rmtree(refused)
    refused.mkdir()
    wait_for(reports, refused)
    (refused / "a.jpg").touch()
    wait_for(reports, refused / "a.jpg")
    assert len(watcher.watched(root).refused) == 1


def test_a_root_that_is_refused_says_why(watcher: Watcher, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is watched."""

    def refuse(*_: object) -> int:
        ctypes.set_errno(28)
        return -1

    root = os.fsencode(album)
    assert watcher.watched(root) == NOT_WATCHED
    with monkeypatch.context() as patch:
        patch.setattr(inotify_c, "inotify_add_watch", refuse)
        assert not watcher.watch(root)
        assert watcher.watched(root).refused == {root}
        assert "limit" in watcher.watched(root).why
    assert watcher.watch(root)
    assert watcher.watched(root) == NOT_WATCHED


def test_closed_folders_are_not_watched(reports: Reports, open_folder: Path) -> None:
    """They are known, and no limit is to blame."""
    root = os.fsencode(open_folder)
    for name in ("closed", "shut", "open"):
        (open_folder / name).mkdir()
    (open_folder / "closed").chmod(0)
    (open_folder / "shut").chmod(0)
    with ordinary_user(), closing(Watcher(reports.put)) as watcher:
        assert watcher.watch(root)
        watched = watcher.watched(root)
        assert watched.refused == {root + b"/closed", root + b"/shut"}
        assert (watched.why, watched.advice) == ("Permission denied", "")


def test_folders_that_nobody_wants_are_not_watched(reports: Reports, album: Path) -> None:
    """They take no watch from those that are wanted, and are not missed."""
    root = os.fsencode(album)
    (album / "@eaDir").mkdir()
    with closing(Watcher(reports.put, is_watched=lambda _, folder: not folder.endswith(b"@eaDir"))) as watcher:
        watcher.watch(root)
        assert watcher.watched(root) == NOT_WATCHED
        (album / "@eaDir" / "a.jpg").touch()
        (album / "trip" / "b.jpg").touch()
        assert os.fsencode(album / "@eaDir" / "a.jpg") not in wait_for(reports, album / "trip" / "b.jpg")


@pytest.mark.parametrize(
    ("number", "files", "refused", "expected"),
    [
        (28, {FILE: 8192, "user/max_inotify_watches": 8192}, 1, "fs.inotify.max_user_watches=16384"),
        (28, {FILE: 8192}, 9000, "fs.inotify.max_user_watches=32768"),
        (28, {FILE: 8192, "user/max_inotify_watches": 10}, 11, "user.max_inotify_watches=64"),
        (24, {"fs/inotify/max_user_instances": 128}, 1, "fs.inotify.max_user_instances=256"),
    ],
)
def test_the_advice_is_enough(
    tmp_path: Path,
    number: int,
    files: dict[str, int],
    refused: int,
    expected: str,
) -> None:
    """It names the limit that holds, the machine's or the name space's, with room; limits that change are seen."""
    before = limits(tmp_path)
    for name, limit in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(f"{limit}\n")
    assert advice(number, refused, tmp_path) == f"sysctl -w {expected}"
    assert limits(tmp_path) != before


def test_no_limit_no_advice() -> None:
    """A folder that may not be read is not helped by one."""
    assert advice(13, 1) == advice(None, 1) == ""


def test_unwatched_folders() -> None:
    """Single ones, and trees with all below them."""
    unwatched = Unwatched(frozenset([b"/album/a"]), (b"/album/nas",))
    assert unwatched
    assert not Unwatched()
    assert unwatched.has(b"/album/a")
    assert unwatched.has(b"/album/nas")
    assert unwatched.has(b"/album/nas/x/y")
    assert not unwatched.has(b"/album/a/b")
    assert not unwatched.has(b"/album/nas2")
    assert not unwatched.has(b"/album")
