"""Folders become albums when they can be, are watched or polled, and are forgotten without a trace."""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from watchdog.observers import inotify_c
from watchdog.observers.inotify import InotifyEmitter

from cbir_daemon.config import AlbumConfig
from cbir_daemon.errors import BadRequestError, CbirError, NoAccessError, NotFoundError
from cbir_daemon.indexing import albums
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.store import Album
from cbir_daemon.system.filesystems import Mount
from cbir_daemon.watching.events import Unwatched, Watcher
from tests.fakes import FakeClock
from tests.leftovers import nothing_left, thread_of
from tests.patience import PATIENCE_S
from tests.rights import open_folder, ordinary_user
from tests.rows import all_images, indexed
from tests.worlds import World

__all__ = ["open_folder"]


class Listener:
    """Takes what the albums tell the line, and writes it down."""

    def __init__(self) -> None:
        self.hints: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.scans: list[bytes | None] = []
        self.unwatched: dict[int, Unwatched] = {}

    def hint(self, path: bytes) -> None:
        """Note a path."""
        self.hints.put(path)

    def wants_folder(self, root: bytes, folder: bytes) -> bool:
        """Want all but the thumbnails of a NAS."""
        return not folder.endswith(b"/@eaDir")

    def set_unwatched(self, album_id: int, unwatched: Unwatched) -> None:
        """Note from which folders no events come."""
        self.unwatched[album_id] = unwatched

    def request_scan(self, path: bytes | None = None) -> int:
        """Note which walk is asked for."""
        self.scans.append(path)
        return len(self.scans)

    def out_of_reach(self, album_id: int) -> int:
        """Return that no file is."""
        return 0


class Wardrobe(World):
    """A store, a searcher, a line that only listens, and the albums under test."""

    def __init__(self, folder: Path, *settings: AlbumConfig) -> None:
        super().__init__(folder, ())
        self.mounts: tuple[Mount, ...] = (Mount(1, b"/", "ext4"),)
        self.limits: tuple[int, ...] = (8_192, 128)
        self.time = FakeClock()
        self.line = Listener()
        self.lose_events: Callable[[bytes], None] = lambda root: None
        self.albums = Albums(
            self.store,
            self.searcher,
            settings,
            lambda: self.mounts,
            make_watcher=self.make_watcher,
            limits=lambda: self.limits,
            clock=self.time,
        )

    def make_watcher(
        self, report: Callable[[bytes], None], lost: Callable[[bytes], None], wants: Callable[[bytes, bytes], bool]
    ) -> Watcher:
        """Return what watches the albums; it is made once."""
        assert not hasattr(self, "watcher")
        self.watcher = Watcher(report, lost, wants)
        self.lose_events = lost
        return self.watcher

    def close(self) -> None:
        """Stop watching and close the store."""
        self.albums.stop()
        super().close()

    def make(self, name: str) -> Path:
        """Make a folder."""
        path = self.folder / name
        path.mkdir(parents=True)
        return path

    def listed(self) -> dict[str, str]:
        """Return the albums and their states."""
        return {os.fsdecode(album.path): album.state for album in self.store.albums.listed()}

    def album(self, path: Path) -> Album:
        """Return the album at a path."""
        return next(album for album in self.store.albums.listed() if album.path == bytes(path))

    def unwatched(self, path: Path) -> Unwatched:
        """Return from which folders of an album no events come."""
        return self.line.unwatched.get(self.album(path).id, Unwatched())

    def mount(self, number: int, path: Path | bytes, kind: str) -> None:
        """Say that something is mounted."""
        self.mounts += (Mount(number, bytes(path), kind),)

    def scans(self) -> list[bytes | None]:
        """Return, and forget, which walks were asked for."""
        scans, self.line.scans = self.line.scans, []
        return scans

    def hears(self, path: Path) -> list[bytes]:
        """Change a file, and return what the line hears until it hears of that."""
        path.write_bytes(b"x")
        heard: list[bytes] = []
        while bytes(path) not in heard:
            heard.append(self.line.hints.get(timeout=PATIENCE_S))
        return heard


@pytest.fixture
def wardrobe(tmp_path: Path) -> Iterator[Wardrobe]:
    """No albums yet; no thread is left at the end."""
    with nothing_left(), closing(Wardrobe(tmp_path)) as wardrobe:
        yield wardrobe


# Which folders may be albums.


def test_a_folder_becomes_an_album_once(wardrobe: Wardrobe) -> None:
    """By the path that leads to it without links, whatever it is called; and not twice by another name."""
    real = wardrobe.make(os.fsdecode(b"pictures \xff\n"))
    link = wardrobe.folder / "link"
    link.symlink_to(real)
    assert wardrobe.albums.add(bytes(link))
    for again in (
        bytes(real),
        bytes(link),
        bytes(real) + b"/",
        bytes(real) + b"/../" + real.name.encode(errors="surrogateescape"),
    ):
        assert not wardrobe.albums.add(again)
    assert list(wardrobe.listed()) == [str(real)]


def a_file(wardrobe: Wardrobe) -> Path:
    path = wardrobe.folder / "a.jpg"
    path.touch()
    return path


def below_an_album(wardrobe: Wardrobe) -> Path:
    return wardrobe.make("album/trip")


def above_an_album(wardrobe: Wardrobe) -> Path:
    return wardrobe.folder


def a_link_into_an_album(wardrobe: Wardrobe) -> Path:
    wardrobe.make("album/trip")
    link = wardrobe.folder / "link"
    link.symlink_to("album/trip")
    return link


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda wardrobe: wardrobe.folder / "absent", NotFoundError, "absent: no such folder"),
        (a_file, BadRequestError, "is not a folder"),
        (below_an_album, BadRequestError, "lies in, or holds, the album"),
        (above_an_album, BadRequestError, "lies in, or holds, the album"),
        (a_link_into_an_album, BadRequestError, "lies in, or holds, the album"),
        (lambda wardrobe: Path("/"), BadRequestError, "the root folder cannot be an album"),
    ],
)
def test_what_cannot_be_an_album_is_refused(
    wardrobe: Wardrobe, make: Callable[[Wardrobe], Path], error: type[CbirError], message: str
) -> None:
    """In one sentence, from a client and from the configuration alike, and the albums stay as they are."""
    wardrobe.albums.add(bytes(wardrobe.make("album")))
    path = make(wardrobe)
    for attempt in (
        lambda: wardrobe.albums.add(bytes(path)),
        lambda: wardrobe.albums.remember([AlbumConfig(path)]),
    ):
        with pytest.raises(error, match=message) as caught:
            attempt()
        assert caught.value.hint
    assert list(wardrobe.listed()) == [str(wardrobe.folder / "album")]


def test_a_folder_beside_an_album_may_be_one(wardrobe: Wardrobe) -> None:
    """Though its name begins like the other's."""
    for name in ("album", "album2", "albu"):
        assert wardrobe.albums.add(bytes(wardrobe.make(name)))


def test_a_closed_folder_is_refused(open_folder: Path) -> None:
    """Whoever names it is told what is missing."""
    with closing(Wardrobe(open_folder)) as wardrobe:
        closed = wardrobe.make("closed")
        closed.chmod(0)
        with ordinary_user(), pytest.raises(NoAccessError, match="closed: cannot be read"):
            wardrobe.albums.add(bytes(closed))


def test_the_configuration_is_remembered(wardrobe: Wardrobe) -> None:
    """A known album may be missing, for its disk may come back; one that is not named any more stays."""
    first, second = wardrobe.make("first"), wardrobe.make("second")
    wardrobe.albums.remember([AlbumConfig(first), AlbumConfig(second)])
    first.rmdir()
    wardrobe.albums.remember([AlbumConfig(first)])
    assert list(wardrobe.listed()) == [str(first), str(second)]


# Watching.


def test_starting_watches_every_album_and_asks_for_a_walk(wardrobe: Wardrobe) -> None:
    """What happens in it is heard of; one that is told to be polled is polled, one that is not there as well."""
    watched, polled, absent = wardrobe.make("watched"), wardrobe.make("polled"), wardrobe.make("absent")
    wardrobe.albums.remember([AlbumConfig(watched), AlbumConfig(polled, watch="poll"), AlbumConfig(absent)])
    absent.rmdir()
    wardrobe.albums.start(wardrobe.line)
    assert wardrobe.listed() == {str(absent): "polling", str(polled): "polling", str(watched): "watching"}
    assert wardrobe.scans() == [None]
    wardrobe.hears(watched / "new.jpg")


def test_an_album_that_comes_later_is_watched_and_walked(wardrobe: Wardrobe) -> None:
    """Only it, and only once."""
    wardrobe.albums.start(wardrobe.line)
    wardrobe.scans()
    album = wardrobe.make("album")
    wardrobe.albums.add(bytes(album))
    wardrobe.albums.add(bytes(album))
    assert wardrobe.scans() == [bytes(album)]
    wardrobe.hears(album / "new.jpg")


@pytest.mark.parametrize("by_link", [True, False])
def test_an_album_is_forgotten_with_all_that_is_known_of_it(wardrobe: Wardrobe, by_link: bool) -> None:
    """Its rows, its places in the search and its watch go; its files stay."""
    album = wardrobe.make("album")
    (album / "a.jpg").write_bytes(b"x")
    link = wardrobe.folder / "link"
    link.symlink_to(album)
    wardrobe.albums.add(bytes(album))
    wardrobe.albums.start(wardrobe.line)
    applied = wardrobe.store.files.apply([indexed(wardrobe.album(album).id, b"a.jpg", 1)])
    wardrobe.searcher.change(applied.added, applied.gone)
    wardrobe.albums.remove(bytes(link if by_link else album))
    assert not wardrobe.watcher.stands(bytes(album))
    assert wardrobe.listed() == {}
    assert all_images(wardrobe.store) == []
    assert len(wardrobe.searcher.snapshot.collection) == 0
    assert (album / "a.jpg").exists()
    with pytest.raises(NotFoundError, match="album: is no album"):
        wardrobe.albums.remove(bytes(album))


def test_a_missing_album_can_be_forgotten(wardrobe: Wardrobe) -> None:
    """By the path it had."""
    album = wardrobe.make("album")
    wardrobe.albums.add(bytes(album))
    album.rmdir()
    wardrobe.albums.remove(bytes(album))
    assert wardrobe.listed() == {}


def test_a_missing_album_is_not_watched_and_one_that_is_back_is(wardrobe: Wardrobe) -> None:
    """Anew: the folder may be another one."""
    album = wardrobe.make("album")
    wardrobe.albums.add(bytes(album))
    wardrobe.albums.start(wardrobe.line)
    wardrobe.albums.lost(wardrobe.album(album), "its folder is not there")
    assert not wardrobe.watcher.stands(bytes(album))
    assert wardrobe.listed() == {str(album): "missing"}
    shutil.rmtree(album)
    album.mkdir()
    assert wardrobe.albums.found(wardrobe.album(album)) == "watching"
    assert wardrobe.listed() == {str(album): "watching"}
    wardrobe.hears(album / "new.jpg")


def test_a_watch_that_died_is_begun_anew(wardrobe: Wardrobe) -> None:
    """The folder was deleted and made again: it is watched, and what was missed is walked for; else nothing is done."""
    album = wardrobe.make("album")
    wardrobe.albums.add(bytes(album))
    wardrobe.albums.start(wardrobe.line)
    wardrobe.scans()
    wardrobe.albums.check()
    assert wardrobe.scans() == []
    emitter = thread_of(InotifyEmitter)
    album.rmdir()
    emitter.join(PATIENCE_S)
    album.mkdir()
    wardrobe.albums.check()
    assert wardrobe.scans() == [bytes(album)]
    wardrobe.hears(album / "new.jpg")


def test_a_setting_that_changes_takes_effect(wardrobe: Wardrobe) -> None:
    """From watching to polling and back, without a restart."""
    album = wardrobe.make("album")
    wardrobe.albums.remember([AlbumConfig(album)])
    wardrobe.albums.start(wardrobe.line)
    for mode, state in (("poll", "polling"), ("auto", "watching")):
        wardrobe.albums.remember([AlbumConfig(album, watch=mode)])
        wardrobe.albums.watch(wardrobe.album(album))
        assert wardrobe.listed() == {str(album): state}
        assert wardrobe.watcher.stands(bytes(album)) is (mode == "auto")


def test_after_the_end_nothing_is_watched_any_more(wardrobe: Wardrobe) -> None:
    """Whatever is still asked for; stopping twice is harmless."""
    album = wardrobe.make("album")
    wardrobe.albums.start(wardrobe.line)
    wardrobe.albums.stop()
    wardrobe.albums.stop()
    assert wardrobe.albums.add(bytes(album))
    wardrobe.albums.check()
    wardrobe.albums.remove(bytes(album))
    assert not wardrobe.watcher.stands(bytes(album))


# What file systems tell.


@pytest.mark.parametrize(
    ("kind", "mode", "state"),
    [
        ("ext4", "auto", "watching"),
        ("fuseblk", "auto", "watching"),
        ("nfs4", "auto", "polling"),
        ("cifs", "auto", "polling"),
        ("fuse.sshfs", "auto", "polling"),
        ("nfs4", "inotify", "watching"),
        ("ext4", "poll", "polling"),
    ],
)
def test_the_file_system_decides_unless_told_otherwise(wardrobe: Wardrobe, kind: str, mode: str, state: str) -> None:
    """What tells nothing of what others change is polled; that is no fault, so nothing is said of it."""
    album = wardrobe.make("album")
    wardrobe.mount(2, album, kind)
    wardrobe.albums.remember([AlbumConfig(album, watch=mode)])
    wardrobe.albums.start(wardrobe.line)
    assert wardrobe.listed() == {str(album): state}
    assert wardrobe.albums.report(wardrobe.album(album)).file_system == kind
    assert wardrobe.albums.problems() == []


def test_what_is_mounted_inside_may_tell_nothing(wardrobe: Wardrobe) -> None:
    """It is polled with all below it, the album around it is watched; unless events are insisted on."""
    album = wardrobe.make("album")
    wardrobe.mount(2, album / "nas", "nfs4")
    wardrobe.mount(3, album / "usb", "vfat")
    wardrobe.mount(4, wardrobe.folder / "album2", "nfs4")
    wardrobe.albums.remember([AlbumConfig(album)])
    wardrobe.albums.start(wardrobe.line)
    assert wardrobe.listed() == {str(album): "watching"}
    assert wardrobe.unwatched(album) == Unwatched(trees=(bytes(album / "nas"),))
    wardrobe.albums.remember([AlbumConfig(album, watch="inotify")])
    wardrobe.albums.watch(wardrobe.album(album))
    assert wardrobe.unwatched(album) == Unwatched()


def test_what_is_mounted_later_is_taken_up(wardrobe: Wardrobe) -> None:
    """At the album, inside it, and off again; what is mounted beside it is nobody's business."""
    album = wardrobe.make("album")
    wardrobe.albums.add(bytes(album))
    wardrobe.albums.start(wardrobe.line)
    wardrobe.scans()
    before = wardrobe.mounts
    wardrobe.mount(2, wardrobe.folder / "album2", "nfs4")
    wardrobe.albums.check()
    assert wardrobe.scans() == []
    for point, kind, state, trees in (
        (album, "nfs4", "polling", ()),
        (album / "nas", "nfs4", "watching", (bytes(album / "nas"),)),
        (album, "ext4", "watching", ()),
    ):
        wardrobe.mounts = before
        wardrobe.mount(3, point, kind)
        wardrobe.albums.check()
        assert wardrobe.scans() == [bytes(album)]
        assert wardrobe.listed() == {str(album): state}
        assert wardrobe.unwatched(album).trees == trees
        wardrobe.albums.check()
        assert wardrobe.scans() == []
    # Another disk of the same type at the same place.
    wardrobe.mounts = before
    wardrobe.mount(4, album, "ext4")
    wardrobe.albums.check()
    assert wardrobe.scans() == [bytes(album)]
    wardrobe.hears(album / "new.jpg")
    assert wardrobe.albums.report(wardrobe.album(album)).restarts == 0


def test_news_of_mounts_are_asked_of_the_kernel(wardrobe: Wardrobe) -> None:
    """There are none while nothing is mounted, nor before the start or after the end."""
    assert not wardrobe.albums.is_remounted()
    wardrobe.albums.start(wardrobe.line)
    assert not wardrobe.albums.is_remounted()
    wardrobe.albums.stop()
    assert not wardrobe.albums.is_remounted()


# What the operator is told.


def test_lost_events_are_told_and_made_up_for(wardrobe: Wardrobe) -> None:
    """The album is walked, and for an hour it is said what to raise."""
    album = wardrobe.make("album")
    wardrobe.albums.add(bytes(album))
    wardrobe.albums.start(wardrobe.line)
    wardrobe.scans()
    wardrobe.lose_events(bytes(album))
    wardrobe.lose_events(bytes(album))
    assert wardrobe.scans() == [bytes(album), bytes(album)]
    assert wardrobe.albums.report(wardrobe.album(album)).overflows == 2
    (problem,) = wardrobe.albums.problems()
    assert "the kernel lost events, 2 times" in problem.what
    assert "sysctl -w fs.inotify.max_queued_events=" in problem.do
    wardrobe.time.advance(albums.RECENT_S)
    assert wardrobe.albums.problems() == []


def test_refused_folders_are_polled_and_told(wardrobe: Wardrobe, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to raise; once it is raised they are watched, and walked for what was missed."""
    album = wardrobe.make("album")
    (album / "a").mkdir()
    wardrobe.albums.add(bytes(album))
    real = inotify_c.inotify_add_watch

    def add_watch(descriptor: int, path: bytes, mask: int) -> int:
        if path == bytes(album):
            return real(descriptor, path, mask)
        ctypes.set_errno(errno.ENOSPC)
        return -1

    with monkeypatch.context() as patch:
        patch.setattr(inotify_c, "inotify_add_watch", add_watch)
        wardrobe.albums.start(wardrobe.line)
        wardrobe.scans()
    assert wardrobe.listed() == {str(album): "watching"}
    assert wardrobe.unwatched(album) == Unwatched(frozenset([bytes(album / "a")]))
    assert wardrobe.albums.report(wardrobe.album(album)).unwatched_folders == 1
    (problem,) = wardrobe.albums.problems()
    assert "1 folder is polled, not watched: No space left on device" in problem.what
    assert "max_user_watches=" in problem.do
    wardrobe.albums.check()
    assert wardrobe.scans() == []
    wardrobe.limits = (16_384, 128)
    wardrobe.albums.check()
    assert wardrobe.scans() == [bytes(album)]
    assert (wardrobe.unwatched(album), wardrobe.albums.problems()) == (Unwatched(), [])


def test_an_album_that_cannot_be_watched_says_why(wardrobe: Wardrobe, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is polled; a missing one says that nothing is forgotten."""

    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    album = wardrobe.make("album")
    wardrobe.albums.add(bytes(album))
    with monkeypatch.context() as patch:
        patch.setattr(inotify_c, "inotify_init", refuse)
        wardrobe.albums.start(wardrobe.line)
    assert wardrobe.listed() == {str(album): "polling"}
    (problem,) = wardrobe.albums.problems()
    assert "is polled, not watched" in problem.what
    assert "max_user_instances=" in problem.do
    wardrobe.albums.lost(wardrobe.album(album), "its folder is empty")
    assert "nothing is forgotten" in wardrobe.albums.problems()[0].what


def test_folders_that_are_excluded_take_no_watch(wardrobe: Wardrobe) -> None:
    """A NAS has one of thumbnails beside each folder."""
    album = wardrobe.make("album")
    (album / "@eaDir").mkdir()
    wardrobe.albums.add(bytes(album))
    wardrobe.albums.start(wardrobe.line)
    (album / "@eaDir" / "a.jpg").touch()
    assert bytes(album / "@eaDir" / "a.jpg") not in wardrobe.hears(album / "b.jpg")
