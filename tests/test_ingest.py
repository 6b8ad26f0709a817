"""Whatever happened in the albums, the index equals them afterwards, and nothing is read twice or lost."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon.decode import DecodePool, Readers, ReadTask
from cbir_daemon.errors import StorageError
from cbir_daemon.indexing import extras
from cbir_daemon.indexing.batches import reading_order
from cbir_daemon.indexing.losses import MIN_LOSS_FILES
from cbir_daemon.indexing.schedule import Due
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.formats import EXTRAS
from cbir_daemon.records import FileState, Unreadable
from cbir_daemon.store import Failed
from cbir_daemon.watching import walk
from tests.house import (
    BROKEN,
    LIMITS,
    OLD_NS,
    House,
    Result,
    as_results,
    house,
    moved_without_reading,
    new_house,
    png,
    polled,
    pool,
    room_for,
)
from tests.patience import PATIENCE_S
from tests.rows import all_images, due, sql

__all__ = ["house", "new_house", "pool"]


def path_of(result: Result) -> bytes:
    """Return the path of the file that a result is about."""
    return result[0].path


# One file.


def test_a_new_file_is_indexed_once_it_is_quiet(house: House) -> None:
    """Not while it may still be written to, and not without need twice."""
    house.write("a.png", 1, old=False)
    house.hint("a.png")
    house.step()
    assert house.rows() == {}
    assert (house.ingest.pending, house.ingest.idle) == (1, False)
    house.time.advance(house.config.watch.settle_s)
    house.step()
    assert (house.ingest.pending, house.ingest.idle) == (0, True)
    house.holds()
    decoded, clock = house.pool.decoded, house.store.clock
    house.settle(scan=False)
    house.hint("a.png")
    house.settle(scan=False)
    assert (house.pool.decoded, house.store.clock) == (decoded, clock)


def test_a_scan_does_not_read_what_was_just_written(house: House) -> None:
    """It waits for it as an event does; what is older is read at once."""
    house.write("old.png", 1)
    house.write("fresh.png", 2, old=False)
    house.ingest.request_scan()
    house.step()
    assert set(house.rows()) == {"album/old.png"}
    house.settle()
    house.holds()


def test_a_file_that_changes_is_read_again(house: House) -> None:
    """New bytes, bytes that are no image, and an image again."""
    for data in (1, 2, BROKEN, 1):
        house.write("a.png", data)
        house.hint("a.png")
        house.settle(scan=False)
        house.holds()


def test_a_file_that_goes_is_forgotten(house: House) -> None:
    """Also when it was no image, and whether it was hinted at or missed by a walk."""
    house.write("a.png", 1)
    house.write("b.png", BROKEN)
    house.write("c.png", 3)
    house.settle()
    for name in ("a.png", "b.png"):
        (house.album / name).unlink()
        house.hint(name)
        house.settle(scan=False)
        house.holds()
    (house.album / "c.png").unlink()
    house.write("d.png", 4)
    house.settle()
    house.holds()


def test_equal_bytes_are_decoded_once(house: House) -> None:
    """A second file of the same bytes is read and not decoded; a content goes with its last file."""
    house.write("a.png", 1)
    house.settle()
    decoded = house.pool.decoded
    house.write("copies/a.png", 1)
    house.settle()
    assert house.pool.decoded == decoded
    (house.album / "a.png").unlink()
    house.settle()
    house.holds()
    (house.album / "copies" / "a.png").unlink()
    house.write("other.png", 2)
    house.settle()
    house.holds()


def test_a_touched_file_keeps_its_content(house: House) -> None:
    """Its bytes are looked at, and it is no news."""
    house.write("a.png", 1)
    house.settle()
    before, decoded = all_images(house.store)[0], house.pool.decoded
    house.store.alerts.put([before.file_id], [], 0.0)
    os.utime(house.album / "a.png", ns=(OLD_NS, OLD_NS))
    house.settle()
    after = all_images(house.store)[0]
    assert (after.file_id, after.content.id, house.pool.decoded) == (before.file_id, before.content.id, decoded)
    assert after.state != before.state
    assert due(house.store) == []


def test_a_content_that_went_while_its_twin_was_read_is_read_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest was known when the batch began and is no more when it is written: nothing of the batch is lost."""
    house.batch_files = 1
    house.start()
    read = house.pool.read_files
    # The new bytes take longer to read than those that are known, and must be written first here.
    monkeypatch.setattr(house.pool, "read_files", lambda tasks: as_results(sorted(read(tasks), key=path_of)))
    size = max(len(png(1)), len(png(2)))
    first, second = (png(seed).ljust(size, b"\0") for seed in (1, 2))
    house.write("a.png", first)
    house.settle()
    house.write("a.png", second)
    house.write("b.png", first)
    house.settle()
    house.holds()


def test_a_file_that_changed_before_it_was_read_is_known_as_it_was_read(house: House) -> None:
    """The state written is that of the bytes, not the one that was noticed: there is nothing left to look at."""
    for data in (2, BROKEN):
        house.write("a.png", 1)
        house.hint("a.png")
        house.time.advance(house.config.watch.settle_s)
        with beforehand(house.pool, lambda data=data: house.write("a.png", data)):  # type: ignore[misc]  # a default
            house.step()
        house.holds()
        house.hint("a.png")
        moved_without_reading(house, scan=True)


@contextmanager
def beforehand(pool: DecodePool, happen: Callable[[], object]) -> Iterator[None]:
    """Let something happen after files were noticed, before they are read."""
    read = pool.read_files

    def wait_and_read(tasks: Sequence[ReadTask]) -> Generator[Result]:
        happen()
        return read(tasks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "read_files", wait_and_read)
        yield


@contextmanager
def meanwhile(pool: DecodePool, happen: Callable[[], object]) -> Iterator[None]:
    """Let something happen after files were read, before what was read is written down."""
    read = pool.read_files

    def read_and_wait(tasks: Sequence[ReadTask]) -> Generator[Result]:
        results = list(read(tasks))
        happen()
        return as_results(results)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "read_files", read_and_wait)
        yield


@pytest.mark.parametrize("change", ["written", "taken away", "nothing"])
def test_a_file_that_changes_while_it_is_read_ends_up_as_it_is(house: House, change: str) -> None:
    """The state written is that of the bytes read, so the next look finds the difference."""
    happen: dict[str, Callable[[], object]] = {
        "written": lambda: house.write("a.png", 2),
        "taken away": lambda: (house.album / "a.png").unlink(),
        "nothing": lambda: None,
    }
    house.write("a.png", 1)
    house.hint("a.png")
    house.time.advance(house.config.watch.settle_s)
    with meanwhile(house.pool, happen[change]):
        house.step()
    house.hint("a.png")
    house.write("other.png", 3)
    house.settle(scan=False)
    house.hint("other.png")
    house.settle(scan=False)
    house.holds()


@pytest.mark.parametrize("code", ["changed-while-reading", "vanished"])
def test_a_look_that_came_too_early_is_repeated(house: House, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """What says nothing of the file as it is now is not recorded; the file is looked at again when it is quiet."""
    path = house.write("a.png", 1)
    house.hint("a.png")
    house.time.advance(house.config.watch.settle_s)
    with monkeypatch.context() as patch:
        patch.setattr(house.pool, "read_files", lambda tasks: as_results([(tasks[0], Unreadable(code, "too early"))]))
        house.step()
    assert house.rows() == {}
    assert not house.ingest.idle
    house.step()
    assert house.rows() == {}
    house.settle(scan=False)
    assert path.exists()
    house.holds()


# Files and folders of one name.


@pytest.mark.parametrize("scan", [True, False], ids=["found by a walk", "hinted at"])
def test_a_name_may_be_a_file_a_folder_and_a_file_again(house: House, scan: bool) -> None:
    """One hint at the name, or one walk, is enough each time."""
    house.write("last.png", 4)
    for name in ("x.png", "x.png/inner.png", "x.png", "x.png/deep/inner.png", "x.png"):
        room_for(house.album, name)
        house.write(name, len(name))
        house.hint("last.png", "x.png")
        house.settle(scan=scan)
        house.holds()


def test_one_hint_at_a_folder_brings_all_below_it(house: House) -> None:
    """A folder that is moved in raises no events for what lies in it; a hint below one that is gone does no harm."""
    house.write("a/b/c.png", 1)
    house.write("a/d.png", 2)
    house.hint("a")
    house.settle(scan=False)
    house.holds()
    shutil.rmtree(house.album / "a")
    house.write("other.png", 3)
    house.hint("a", "a/b", "a/b/c.png", "other.png", "never/was.png", "")
    house.settle(scan=False)
    house.holds()


def test_a_folder_in_which_is_written_is_let_be(house: House) -> None:
    """A hint at it brings the files that are quiet; those that were just written wait until they are."""
    house.write("a/old.png", 1)
    house.write("a/fresh.png", 2, old=False)
    house.hint("a")
    house.time.advance(house.config.watch.settle_s)
    house.step()
    assert set(house.rows()) == {"album/a/old.png"}
    house.settle(scan=False)
    house.holds()
    (house.album / "a" / "old.png").unlink()
    house.hint("a")
    house.settle(scan=False)
    house.holds()


def test_what_is_excluded_is_not_looked_at(house: House) -> None:
    """However it is hinted at; and what is excluded from now on is forgotten, however much that is."""
    house.write(".hidden/a.png", 1)
    house.write("a/.thumbnails/b.png", 2)
    house.write("notes.txt", b"text")
    for number in range(MIN_LOSS_FILES):
        house.write(f"drafts/{number}.png", number % 3)
    house.hint(".hidden", ".hidden/a.png", "a/.thumbnails/b.png", "a", "notes.txt", "drafts")
    house.settle(scan=False)
    house.holds()
    house.ingest.configure(replace(house.config, watch=replace(house.config.watch, exclude=(".*", "drafts"))))
    house.settle()
    assert (house.state(), house.rows()) == ("watching", {})


def test_names_that_are_no_text(house: House) -> None:
    """Are names."""
    name = os.fsdecode(b"\xff\n/\xfe.png")
    house.write(name, 1)
    house.hint(name)
    house.settle(scan=False)
    house.holds()
    (house.album / name).rename(house.album / os.fsdecode(b"\xfd.png"))
    moved_without_reading(house, scan=True)


def test_links_are_not_followed(house: House, tmp_path: Path) -> None:
    """Neither to files nor to folders, nor in a circle."""
    house.write("real.png", 1)
    (house.album / "link.png").symlink_to("real.png")
    (house.album / "circle").symlink_to(".", target_is_directory=True)
    house.hint("link.png", "circle", "circle/real.png")
    house.settle()
    assert set(house.rows()) == {"album/real.png"}


def test_a_hint_outside_of_every_album_is_nobodys(house: House) -> None:
    """Nor one beside an album whose name begins like it."""
    house.write("a.png", 1)
    outside = house.album.with_name("album2")
    outside.mkdir()
    (outside / "a.png").write_bytes(png(2))
    house.ingest.hint(bytes(outside / "a.png"))
    house.settle(scan=False)
    assert house.rows() == {}


# Files that are being written.


class SlowWriter:
    """Writes one picture in pieces into a polled album, in which no event tells of it."""

    def __init__(self, house: House) -> None:
        self.house = polled(house)
        self.now_ns = time.time_ns()
        house.now_ns = lambda: self.now_ns
        self.data = png(1)

    def write(self, name: str, length: int) -> None:
        """Have the first `length` bytes of the picture in a file, written right now."""
        path = self.house.album / name
        path.write_bytes(self.data[:length])
        os.utime(path, ns=(self.now_ns, self.now_ns))

    def wait(self, seconds: float, *, look: bool = True) -> None:
        """Let time pass, and the line work, with a look at the album's folders or without."""
        self.now_ns += int(seconds * 1e9)
        self.house.time.advance(seconds)
        poll_s = seconds if look else self.house.config.watch.rescan_s
        watch = replace(self.house.config.watch, poll_s=poll_s)
        self.house.ingest.configure(replace(self.house.config, watch=watch))
        assert self.house.ingest.schedule.due(1) == (Due.LOOK if look else None)
        self.house.step()
        self.house.step()


@pytest.mark.parametrize("looks", [True, False], ids=["looked at often", "looked at once"])
def test_a_file_that_grows_is_read_once_it_has_stopped(house: House, looks: bool) -> None:
    """However long that takes, and whether or not anybody looks at its folder meanwhile: each piece puts it off."""
    writer = SlowWriter(house)
    pause_s = house.config.watch.settle_s / 2
    for piece, end in enumerate(range(100, len(writer.data), len(writer.data) // 5)):
        writer.write("a.png", end)
        writer.wait(pause_s, look=looks or piece == 0)
        assert house.rows() == {}
    writer.write("a.png", len(writer.data))
    for _ in range(4):
        writer.wait(pause_s)
    house.holds()


def test_a_copy_that_stalls_is_read_again_when_it_goes_on(house: House) -> None:
    """Half of it was taken for all; its folder shows no sign of the other half, and is looked into all the same."""
    writer = SlowWriter(house)
    writer.write("a.png", 500)
    for _ in range(3):
        writer.wait(2 * house.config.watch.settle_s)
    assert set(house.rows().values()) != {hashlib.sha256(writer.data).hexdigest()}
    assert len(house.rows()) == 1
    writer.write("a.png", len(writer.data))
    for _ in range(3):
        writer.wait(2 * house.config.watch.settle_s)
    house.holds()
    assert house.store.files.errors() == []


def test_a_file_that_is_truncated_and_written_anew_ends_up_whole(house: House) -> None:
    """Nothing of what was in between stays."""
    writer = SlowWriter(house)
    writer.write("a.png", len(writer.data))
    for _ in range(3):
        writer.wait(2 * house.config.watch.settle_s)
    writer.write("a.png", 0)
    for _ in range(3):
        writer.wait(2 * house.config.watch.settle_s)
    assert list(house.rows().values()) == ["empty"]
    writer.data = png(2)
    writer.write("a.png", len(writer.data))
    for _ in range(3):
        writer.wait(2 * house.config.watch.settle_s)
    house.holds()


@pytest.mark.parametrize("temporary", [".a.png.Xy3kQ2", "a.png.part", ".a.png"])
def test_what_has_a_temporary_name_is_not_looked_at(house: House, temporary: str) -> None:
    """As rsync, browsers and editors write: only the file that it becomes is read, and that at once whole."""
    path = house.write(temporary, png(1)[:500])
    house.hint(temporary)
    house.settle(scan=False)
    assert house.rows() == {}
    path.write_bytes(png(1))
    path.rename(house.album / "a.png")
    house.hint("a.png", temporary)
    house.settle(scan=False)
    house.holds()


# What is news.


def test_the_first_scan_is_no_news(new_house: House) -> None:
    """Not even what is written while it lasts; what comes after it is, once."""
    new_house.write("a.png", 1)
    new_house.write("fresh.png", 1, old=False)
    new_house.ingest.request_scan()
    new_house.step()
    assert not new_house.store.albums.listed()[0].baseline
    new_house.settle()
    assert due(new_house.store) == []
    new_house.write("new.png", 1)
    new_house.settle()
    assert due(new_house.store) == [b"new.png"]
    new_house.start()
    new_house.settle()
    assert due(new_house.store) == [b"new.png"]


def test_what_came_while_it_was_down_is_news(new_house: House) -> None:
    """The first walk after a start is like any other, and reads only what differs."""
    new_house.write("a.png", 1)
    new_house.settle()
    new_house.write("b.png", 1)
    (new_house.album / "a.png").rename(new_house.album / "c.png")
    new_house.start()
    new_house.settle()
    assert new_house.ingest.started
    new_house.holds()
    assert due(new_house.store) == [b"b.png"]


# Walks, albums and the thread.


def test_a_walk_may_be_asked_for_below_a_path(house: House) -> None:
    """Of a folder, a file, an album, or of whatever lies above the albums."""
    for seed, name in enumerate(["trip/a.png", "b.png", "c.png"]):
        house.write(name, seed)
    expected: set[str] = set()
    for asked, found in (("trip", "trip/a.png"), ("b.png", "b.png")):
        house.ingest.request_scan(bytes(house.album / asked))
        house.settle(scan=False)
        expected.add(f"album/{found}")
        assert set(house.rows()) == expected
    ticket = house.ingest.request_scan(bytes(house.album.parent))
    assert not house.ingest.scanned(ticket)
    house.settle(scan=False)
    assert house.ingest.scanned(ticket)
    house.holds()


def test_an_album_that_is_removed_is_not_waited_for(house: House) -> None:
    """What was known of its next walk goes with it: else the line would turn in a circle once that is due."""
    house.write("a.png", 1)
    house.settle()
    house.time.advance(house.config.watch.rescan_s)
    house.searcher.change((), house.store.albums.remove(1).gone)
    assert house.ingest.schedule.due_in_s() == 0
    house.settle(scan=False)
    assert house.ingest.schedule.due_in_s() > PATIENCE_S
    assert house.rows() == {}


def test_an_album_may_go_while_its_files_are_read(tmp_path: Path, pool: DecodePool) -> None:
    """Its files are passed over, those of the other album are written, nothing fails."""
    house = House(tmp_path, pool, "album", "other")
    with closing(house):
        house.write("a.png", 1)
        (tmp_path / "other" / "b.png").write_bytes(png(2))
        removed = next(album.id for album in house.store.albums.listed() if album.path == bytes(house.album))
        with meanwhile(house.pool, lambda: house.store.albums.remove(removed)):
            house.settle()
        house.holds()
        assert set(house.rows()) == {"other/b.png"}


def test_what_is_being_looked_at_is_pending(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment on at which it is taken from the mailbox: a large copy must not pass for nothing to do."""
    seen: list[int] = []

    known = house.store.files.indexed_inodes

    def look(inodes: Sequence[int]) -> set[int]:
        seen.append(house.ingest.pending)
        return known(inodes)

    monkeypatch.setattr(house.store.files, "indexed_inodes", look)
    for number in range(5):
        house.write(f"{number}.png", number)
        house.hint(f"{number}.png")
    house.time.advance(house.config.watch.settle_s)
    house.step()
    assert seen == [5]


def test_the_thread_works_until_it_is_told_to_stop(tmp_path: Path, pool: DecodePool) -> None:
    """By the real clock: a walk asked for is done, and a hint is looked at when it has been quiet."""
    house = House(tmp_path, pool)
    with closing(house):
        house.config = replace(house.config, watch=replace(house.config.watch, settle_s=0.01))
        house.clock = time.monotonic
        house.start()
        thread = threading.Thread(target=house.ingest.run)
        thread.start()
        house.write("a.png", 1)
        ticket = house.ingest.request_scan()
        wait_until(house, lambda: house.ingest.scanned(ticket) and house.ingest.idle)
        house.write("b.png", 2)
        house.hint("b.png")
        wait_until(house, lambda: house.ingest.idle)
        house.ingest.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        house.holds()


def wait_until(house: House, holds: Callable[[], bool]) -> None:
    """Return when `holds` does, looking after each change."""
    while True:
        moment = house.store.moment
        if holds():
            return
        house.store.wait_for_change(moment, PATIENCE_S)
        assert house.store.moment > moment


def test_a_refused_commit_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread gives up for the moment and says why; called again it walks, and finds what it had taken."""
    house.write("a.png", 1)
    house.hint("a.png")
    house.time.advance(house.config.watch.settle_s)
    with monkeypatch.context() as patch:

        def refuse(_: object) -> None:
            raise StorageError("the disk is full")

        patch.setattr(house.store.files, "apply", refuse)
        with pytest.raises(StorageError, match="the disk is full"):
            house.ingest.run()
    assert not house.ingest.idle
    assert house.rows() == {}
    house.settle(scan=False)
    house.holds()


def test_files_that_needed_an_extra_are_read_once_it_is_there(house: House) -> None:
    """After a start with the package installed, by themselves, and once; while it is missing they are left alone."""
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="5" height="9"/></svg>'
    state = walk.state_at(bytes(house.write("drawing.png", drawing)))
    assert state is not None
    (album,) = house.store.albums.listed()
    failed = Unreadable("needs-extra", EXTRAS["SVG"].words)
    house.store.files.apply([Failed(album.id, b"drawing.png", state, failed)])
    without = replace(PICTURES, extras=(replace(EXTRAS["SVG"], module="cbir_no_svg"),))
    extras.forget_what_is_installed(house.store, Readers([without]))
    house.settle()
    assert house.rows() == {"album/drawing.png": "needs-extra"}
    pytest.importorskip("resvg_py")
    before = house.pool.decoded
    for _ in range(2):
        house.start()
        extras.forget_what_is_installed(house.store, Readers([PICTURES]))
        house.settle()
        assert house.rows() == {"album/drawing.png": hashlib.sha256(drawing).hexdigest()}
        assert house.pool.decoded == before + 1


def test_a_new_extractor_reads_every_file_again_once(house: House) -> None:
    """From the next start on, by the same walk; nothing is news, and a daemon of the same extractor reads nothing."""
    for name, seed in (("a.png", 1), ("twin.png", 1), ("b.png", 2)):
        house.write(name, seed)
    house.settle()
    news = len(due(house.store))
    with closing(DecodePool(1, LIMITS, replace(PICTURES, extractor="grey64/2"))) as pool:
        house.pool = pool
        for _ in range(2):
            house.start()
            run_once(house)
            house.holds()
            assert sql(house.store.path, "SELECT DISTINCT extractor FROM content") == [("grey64/2",)]
            assert pool.decoded == 3
    assert len(due(house.store)) == news


def run_once(house: House) -> None:
    """Let the thread of the line start, walk once and stop."""
    thread = threading.Thread(target=house.ingest.run)
    ticket = house.ingest.request_scan()
    thread.start()
    wait_until(house, lambda: house.ingest.scanned(ticket) and house.ingest.idle)
    house.ingest.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_files_are_read_disk_by_disk_in_order_of_inode(house: House) -> None:
    """However the walk came across them."""
    states = [FileState(1, 1, inode, device) for device in (9, 2) for inode in (7, 3, 5)]
    ordered = [(state.device, state.inode) for state in sorted(states, key=reading_order)]
    assert ordered == [(2, 3), (2, 5), (2, 7), (9, 3), (9, 5), (9, 7)]
    inodes = {bytes(path): path.stat().st_ino for path in (house.write(f"{9 - n}.png", n) for n in range(9))}
    asked: list[bytes] = []
    with beforehand_asked(house.pool, asked):
        house.settle()
    assert asked == sorted(inodes, key=inodes.__getitem__)
    assert len(asked) == 9


@contextmanager
def beforehand_asked(pool: DecodePool, asked: list[bytes]) -> Iterator[None]:
    """Write down which files are to be read, in order."""
    read = pool.read_files

    def note_and_read(tasks: Sequence[ReadTask]) -> Generator[Result]:
        asked.extend(task.path for task in tasks)
        return read(tasks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "read_files", note_and_read)
        yield
