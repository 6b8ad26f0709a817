"""Whatever happened in the albums, the index equals them afterwards, and nothing is read twice or lost."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from PIL import Image

from cbir_daemon.decode import DecodeLimits, DecodePool, ReadTask
from cbir_daemon.errors import StorageError
from cbir_daemon.indexing import extras
from cbir_daemon.indexing.line import BATCH_FILES, reading_order
from cbir_daemon.indexing.losses import MIN_LOSS_FILES
from cbir_daemon.indexing.retries import FIRST_PAUSE_S, LONGEST_PAUSE_S
from cbir_daemon.indexing.schedule import WALK_SHARE, Due
from cbir_daemon.pictures import PICTURES
from cbir_daemon.pictures.formats import EXTRAS
from cbir_daemon.records import REASONS, Facts, FileState, Heals, Unreadable
from cbir_daemon.store import Failed
from cbir_daemon.watching import walk
from cbir_daemon.watching.events import Unheard
from tests.fakes import FakeClock
from tests.pictures import photograph
from tests.rights import open_folder, ordinary_user
from tests.rows import all_images, due
from tests.worlds import World

__all__ = ["open_folder"]

PATIENCE_S = 60.0
LIMITS = DecodeLimits(max_pixels=1_000_000, max_file_bytes=1_000_000, timeout_s=30.0)
SUFFIXES = (".png", ".jpg")
# Long ago, so that files count as left alone.
OLD_NS = 1_500_000_000_000_000_000
BROKEN = b"this is no image"

Result = tuple[ReadTask, Facts | Unreadable]


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Two real workers for all tests of this module."""
    with closing(DecodePool(2, LIMITS, PICTURES)) as pool:
        yield pool


@cache
def png(seed: int) -> bytes:
    """Return a small photograph as a file."""
    file = io.BytesIO()
    Image.fromarray(photograph(seed, (48, 32))).save(file, "PNG")
    return file.getvalue()


class House(World):
    """Albums on disk, and the line that keeps the index equal to them, driven step by step.

    Parameters
    ----------
    folder : Path
        Of state and albums.
    pool : DecodePool
    names : str
        Of the albums.
    """

    def __init__(self, folder: Path, pool: DecodePool, *names: str) -> None:
        roots = [folder / name for name in names or ("album",)]
        for root in roots:
            root.mkdir()
        super().__init__(folder, roots, indexed_before=False)
        self.pool = pool
        self.time = FakeClock()
        self.clock: Callable[[], float] = self.time
        self.now_ns: Callable[[], int] = time.time_ns
        self.batch_files = BATCH_FILES
        self.album = roots[0]
        self.ticks = 0
        self.start()

    def start(self) -> None:
        """Begin as after a restart."""
        self.searcher = self.new_searcher()
        self.albums = self.new_albums()
        self.ingest = self.new_ingest(
            self.pool,
            self.albums,
            SUFFIXES,
            now_ns=lambda: self.now_ns(),
            clock=self.clock,
            batch_files=self.batch_files,
        )

    def write(self, name: str, data: int | bytes, *, old: bool = True) -> Path:
        """Write a picture, or any bytes, into the album; each file has an mtime of its own."""
        path = self.album / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(data) if isinstance(data, int) else data)
        if old:
            self.ticks += 1
            os.utime(path, ns=(OLD_NS + self.ticks, OLD_NS + self.ticks))
        return path

    def hint(self, *names: str) -> None:
        """Say that something may have happened."""
        for name in names:
            self.ingest.hint(bytes(self.album / name) if name else bytes(self.album))

    def step(self) -> None:
        """Let the line work once on what is due."""
        self.ingest.step()

    def settle(self, *, scan: bool = True, accept_losses: bool = False) -> None:
        """Let the line work until nothing is left to do."""
        if scan:
            self.ingest.request_scan(accept_losses=accept_losses)
        for _ in range(20):
            self.step()
            if self.ingest.idle:
                return
            self.time.advance(self.config.watch.settle_s)
        raise AssertionError("the line does not come to rest")

    def rows(self) -> dict[str, str]:
        """Return path -> digest or code of every row, paths relative to where the albums lie."""
        root = len(bytes(self.album.parent)) + 1
        rows = {os.fsdecode(image.path[root:]): image.content.digest.hex() for image in all_images(self.store)}
        return rows | {os.fsdecode(path[root:]): code for path, code, _ in self.store.files.errors()}

    def truth(self) -> dict[str, str]:
        """Return what the rows should be."""
        found: dict[str, str] = {}
        for album in self.store.albums.listed():
            for parent, folders, names in os.walk(os.fsdecode(album.path)):
                folders[:] = [folder for folder in folders if not folder.startswith(".")]
                for path in (Path(parent, name) for name in names):
                    if path.suffix in SUFFIXES and not path.is_symlink():
                        data = path.read_bytes()
                        value = "not-an-image" if data == BROKEN else hashlib.sha256(data).hexdigest()
                        found[str(path.relative_to(self.album.parent))] = value
        return found

    def holds(self) -> None:
        """Index, searcher and disk agree, and the index is sound."""
        assert self.rows() == self.truth()
        in_store = sorted(content_id for rows in self.store.contents.all_vectors() for content_id, _ in rows)
        assert sorted(self.searcher.snapshot.collection.ids.tolist()) == in_store
        assert self.store.check() == []

    def state(self) -> str:
        """Return the state of the first album."""
        return next(album.state for album in self.store.albums.listed() if album.path == bytes(self.album))

    def why_missing(self) -> str:
        """Return why the first album is missing."""
        return next(
            self.albums.why_missing(album) for album in self.store.albums.listed() if album.path == bytes(self.album)
        )


def given_back(results: Iterable[Result]) -> Generator[Result]:
    """Yield results as `DecodePool.read_files` does."""
    yield from results


def path_of(result: Result) -> bytes:
    """Return the path of the file that a result is about."""
    return result[0].path


@pytest.fixture
def new_house(tmp_path: Path, pool: DecodePool) -> Iterator[House]:
    """A house with one empty album that was never looked at."""
    with closing(House(tmp_path, pool)) as house:
        yield house


@pytest.fixture
def house(new_house: House) -> House:
    """A house with one empty album: its next walk is far away, and what comes is news."""
    new_house.settle()
    return new_house


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
    monkeypatch.setattr(house.pool, "read_files", lambda tasks: given_back(sorted(read(tasks), key=path_of)))
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
        with beforehand(house.pool, lambda data=data: house.write("a.png", data)):  # type: ignore[misc]
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
        return given_back(results)

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
        patch.setattr(house.pool, "read_files", lambda tasks: given_back([(tasks[0], Unreadable(code, "too early"))]))
        house.step()
    assert house.rows() == {}
    assert not house.ingest.idle
    house.step()
    assert house.rows() == {}
    house.settle(scan=False)
    assert path.exists()
    house.holds()


# Moves.


def moved_without_reading(house: House, *, scan: bool) -> None:
    """Settle; nothing was read, no row is new, nothing is news, and the index equals the albums."""
    before, news = {image.file_id for image in all_images(house.store)}, len(due(house.store))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.pool, "read_files", refuse)
        house.settle(scan=scan)
    assert {image.file_id for image in all_images(house.store)} == before
    assert len(due(house.store)) == news
    house.holds()


def refuse(tasks: Sequence[ReadTask]) -> Generator[Result]:
    """Read nothing."""
    raise AssertionError(f"read again: {tasks}")


@pytest.fixture
def full_house(new_house: House) -> House:
    """Six files, two of them equal, indexed; what comes now is news."""
    for seed in range(5):
        new_house.write(f"trip/{seed}.png", seed)
    new_house.write("same.png", 0)
    new_house.settle()
    assert all(album.baseline for album in new_house.store.albums.listed())
    return new_house


def rename_file(album: Path) -> list[str]:
    (album / "trip" / "0.png").rename(album / "zero.png")
    return ["zero.png", "trip/0.png"]


def rename_folder(album: Path) -> list[str]:
    (album / "trip").rename(album / "journey")
    return ["journey", "trip"]


def rename_folder_deeper(album: Path) -> list[str]:
    (album / "a" / "b").mkdir(parents=True)
    (album / "trip").rename(album / "a" / "b" / "trip")
    return ["a", "a/b/trip", "trip"]


def swap_names(album: Path) -> list[str]:
    first, second = album / "trip" / "0.png", album / "trip" / "1.png"
    first.rename(album / "aside")
    second.rename(first)
    (album / "aside").rename(second)
    return ["trip/0.png", "trip/1.png"]


def hand_names_on(album: Path) -> list[str]:
    for number in range(4, -1, -1):
        (album / "trip" / f"{number}.png").rename(album / "trip" / f"{number + 1}.png")
    return [f"trip/{number}.png" for number in range(6)]


def swap_folders(album: Path) -> list[str]:
    (album / "other").mkdir()
    (album / "same.png").rename(album / "other" / "0.png")
    (album / "trip").rename(album / "aside")
    (album / "other").rename(album / "trip")
    (album / "aside").rename(album / "other")
    return ["trip", "other", "same.png"]


MOVES = [rename_file, rename_folder, rename_folder_deeper, swap_names, hand_names_on, swap_folders]


@pytest.mark.parametrize("scan", [True, False], ids=["found by a walk", "hinted at"])
@pytest.mark.parametrize("move", MOVES)
def test_what_is_moved_is_known_again(full_house: House, move: Callable[[Path], list[str]], scan: bool) -> None:
    """A file, a folder, names swapped or handed on: nothing is read, no row is new, nothing is news."""
    names = move(full_house.album)
    if not scan:
        full_house.hint(*names)
    moved_without_reading(full_house, scan=scan)


def test_a_move_that_is_heard_of_in_two_parts_is_one(full_house: House) -> None:
    """Where it went is said a moment before where it was: the row goes along before the old place is looked at."""
    rename_folder(full_house.album)
    full_house.hint("journey")
    full_house.time.advance(0.001)
    full_house.hint("trip")
    full_house.time.advance(full_house.config.watch.settle_s - 0.001)
    full_house.step()
    assert len(full_house.rows()) == 6
    full_house.time.advance(0.001)
    moved_without_reading(full_house, scan=False)


def test_a_file_that_was_written_a_moment_ago_is_moved_too(house: House) -> None:
    """A walk that finds both places lets neither be looked at before the other."""
    house.write("same.png", 1)
    house.write("a.png", 1, old=False)
    house.settle()
    (house.album / "a.png").rename(house.album / "b.png")
    moved_without_reading(house, scan=True)


def test_a_move_over_another_file_replaces_it(full_house: House) -> None:
    """The content of the one that was there is gone."""
    (full_house.album / "trip" / "0.png").rename(full_house.album / "trip" / "1.png")
    full_house.hint("trip/1.png", "trip/0.png")
    full_house.settle(scan=False)
    assert due(full_house.store) == []
    full_house.holds()


def test_a_file_moves_from_album_to_album(tmp_path: Path, pool: DecodePool) -> None:
    """Its row goes along."""
    house = House(tmp_path, pool, "album", "other")
    with closing(house):
        house.write("a.png", 1)
        house.write("b.png", 1)
        house.write("c.png", 2)
        house.settle()
        (house.album / "a.png").rename(tmp_path / "other" / "a.png")
        moved_without_reading(house, scan=True)


def test_a_folder_moves_from_album_to_album_and_back(tmp_path: Path, pool: DecodePool) -> None:
    """Its rows go along each time, and what was decided about them holds."""
    house = House(tmp_path, pool, "album", "other")
    with closing(house):
        for number in range(3):
            house.write(f"trip/{number}.png", number)
        house.settle()
        first, second = (image.content.digest for image in all_images(house.store)[:2])
        assert house.store.decisions.dismiss(first, second, 1.0)
        for source, target in (("album", "other"), ("other", "album")):
            (tmp_path / source / "trip").rename(tmp_path / target / "journey")
            (tmp_path / target / "journey").rename(tmp_path / target / "trip")
            moved_without_reading(house, scan=True)
            assert all(path.startswith(f"{target}/") for path in house.rows())
        assert not house.store.decisions.dismiss(first, second, 1.0)


def test_what_leaves_the_albums_and_comes_back_is_decided_upon_still(full_house: House) -> None:
    """Out and in again before anyone looked nothing is read; later it is, but no decision is asked for twice."""
    outside = full_house.album.with_name("outside")
    first, second = (image.content.digest for image in all_images(full_house.store)[:2])
    full_house.store.decisions.dismiss(first, second, 1.0)
    for _ in range(2):
        (full_house.album / "trip").rename(outside)
        outside.rename(full_house.album / "trip")
    full_house.hint("trip")
    moved_without_reading(full_house, scan=False)
    (full_house.album / "trip").rename(outside)
    full_house.settle()
    full_house.holds()
    outside.rename(full_house.album / "trip")
    full_house.settle()
    full_house.holds()
    assert not full_house.store.decisions.dismiss(first, second, 1.0)


def test_an_edited_copy_beside_a_renamed_original(full_house: House) -> None:
    """An editor that keeps a backup: the original's row goes along, only the new bytes are news."""
    original = full_house.album / "trip" / "2.png"
    original.rename(full_house.album / "trip" / "2.old.png")
    full_house.write("trip/2.png", 9)
    full_house.hint("trip/2.old.png", "trip/2.png")
    full_house.settle(scan=False)
    full_house.holds()
    assert due(full_house.store) == [b"trip/2.png"]


def test_a_hard_link_is_a_file_of_its_own(full_house: House) -> None:
    """The first name stays where it is; when it goes the other one stays."""
    os.link(full_house.album / "trip" / "3.png", full_house.album / "link.png")
    full_house.hint("link.png")
    full_house.settle(scan=False)
    full_house.holds()
    (full_house.album / "trip" / "3.png").unlink()
    full_house.hint("trip/3.png")
    full_house.settle(scan=False)
    full_house.holds()


def test_a_file_that_goes_on_under_two_names_is_moved_to_one(full_house: House) -> None:
    """Its row goes along once; the other name is a row of its own."""
    (full_house.album / "trip" / "3.png").rename(full_house.album / "one.png")
    os.link(full_house.album / "one.png", full_house.album / "two.png")
    full_house.hint("one.png", "two.png", "trip/3.png")
    full_house.settle(scan=False)
    full_house.holds()


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


def room_for(album: Path, name: str) -> Path:
    """Return the path of a name, at which nothing is any more, in a folder that is there."""
    path = album / name
    for parent in path.relative_to(album).parents:
        if (album / parent).is_file():
            (album / parent).unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return path


# What cannot be looked at.


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_cannot_be_read_loses_no_rows(open_folder: Path, pool: DecodePool, mode: int) -> None:
    """Neither by a walk nor by any hint at it or below it; when it can be read again all is as before."""
    house = House(open_folder, pool)
    with closing(house):
        for number in range(MIN_LOSS_FILES + 2):
            house.write(f"closed/deep/{number}.png", number % 3)
        house.write("a.png", 5)
        house.settle()
        before = house.rows()
        (house.album / "closed").chmod(mode)
        with ordinary_user():
            house.settle()
            house.hint("closed", "closed/deep", "closed/deep/1.png", "")
            house.settle(scan=False)
        assert house.rows() == before
        assert house.state() == "watching"
        (house.album / "closed").chmod(0o755)
        house.settle()
        house.holds()


def test_a_file_without_access_is_looked_at_each_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving a right back changes neither size nor mtime."""
    house.write("a.png", 1)
    with monkeypatch.context() as patch:
        patch.setattr(
            house.pool, "read_files", lambda tasks: given_back([(tasks[0], Unreadable("no-access", "closed"))])
        )
        house.settle()
    assert house.rows() == {"album/a.png": "no-access"}
    house.settle()
    house.holds()


@contextmanager
def failing_disk(path: Path, opened: list[bytes]) -> Iterator[None]:
    """Let the kernel refuse to open one file as a network share does that was exported anew; note each try."""
    real = os.open

    def open_file(name: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == bytes(path):
            opened.append(name)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(name, flags, mode, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", open_file)
        yield


def test_a_file_that_its_disk_failed_to_give_heals_by_itself(house: House) -> None:
    """No walk tries it before its pause has ended; then it is read, without a walk and though it never changed."""
    path = house.write("a.png", 1)
    tries: list[bytes] = []
    with failing_disk(path, tries):
        for pause_s in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S):
            house.settle()
            before = len(tries)
            assert house.rows() == {"album/a.png": "read-failed"}
            for _ in range(3):
                house.settle()
                house.hint("a.png")
            assert len(tries) == before
            house.time.advance(pause_s)
    assert len(tries) == 2
    house.settle(scan=False)
    house.holds()


def test_who_asks_for_a_look_need_not_wait_for_a_pause(house: House) -> None:
    """A scan for the user tries a file at once whose disk failed; one for lost events leaves it its pause."""
    path = house.write("a.png", 1)
    tries: list[bytes] = []
    with failing_disk(path, tries):
        house.settle()
    house.ingest.request_scan(bytes(house.album))
    house.settle(scan=False)
    assert house.rows() == {"album/a.png": "read-failed"}
    for name, healed in (("elsewhere", False), ("a.png", True)):
        house.ingest.request_scan(bytes(house.album / name), retry=True)
        house.settle(scan=False)
        assert (house.rows() == house.truth()) == healed
    house.holds()


def test_a_file_that_always_takes_too_long_is_given_up(house: House) -> None:
    """A busy machine may have been the cause, so it is tried again, but not for ever; a scan tries it once more."""
    house.write("a.png", 1)
    asked: list[bytes] = []

    def take_too_long(tasks: Sequence[ReadTask]) -> Generator[Result]:
        asked.extend(task.path for task in tasks)
        return given_back((task, Unreadable("timed-out", "too slow")) for task in tasks)

    tries = REASONS["timed-out"].tries
    assert tries is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.pool, "read_files", take_too_long)
        house.settle()
        for _ in range(tries + 3):
            house.time.advance(LONGEST_PAUSE_S)
            house.settle()
        assert len(asked) == 1 + tries
        house.ingest.request_scan(retry=True)
        house.settle(scan=False)
        assert len(asked) == 2 + tries
    house.settle()
    assert house.rows() == {"album/a.png": "timed-out"}
    house.ingest.request_scan(retry=True)
    house.settle(scan=False)
    house.holds()


def test_a_file_that_its_disk_failed_to_give_is_tried_at_each_start(house: House) -> None:
    """Pauses are not remembered: the first walk tries it once, and reads it when the disk is well."""
    path = house.write("a.png", 1)
    tries: list[bytes] = []
    with failing_disk(path, tries):
        house.settle()
        house.start()
        house.settle()
    assert len(tries) == 2
    house.start()
    house.settle()
    house.holds()


@pytest.mark.parametrize("code", sorted(REASONS))
def test_each_reason_heals_as_the_table_says(house: House, code: str) -> None:
    """Without a change of the file: at the next look, at each walk, after a pause, with an extra, or not at all."""
    house.write("a.png", 1)
    asked: list[bytes] = []

    def fail(tasks: Sequence[ReadTask]) -> Generator[Result]:
        asked.extend(task.path for task in tasks)
        return given_back((task, Unreadable(code, "failed")) for task in tasks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.pool, "read_files", fail)
        house.ingest.request_scan()
        house.step()
    heals, first = REASONS[code].heals, len(asked)
    assert first == 1
    assert house.rows() == ({} if heals == Heals.AT_ONCE else {"album/a.png": code})
    house.settle()
    assert (house.rows() == house.truth()) == (heals in (Heals.AT_ONCE, Heals.RIGHTS))
    house.time.advance(FIRST_PAUSE_S)
    house.settle(scan=False)
    assert (house.rows() == house.truth()) == (heals in (Heals.AT_ONCE, Heals.RIGHTS, Heals.PAUSE))
    house.start()
    extras.forget_what_is_installed(house.store, PICTURES)
    house.settle()
    assert (house.rows() == house.truth()) == (heals != Heals.CHANGE)
    house.write("a.png", 2)
    house.settle()
    house.holds()


def test_a_disk_that_failed_and_has_another_number_is_not_missing(house: House) -> None:
    """As a share that is mounted anew after an error: the sizes of what failed are not known, its names are there."""
    path = house.write("a.png", 1)
    with failing_disk(path, []):
        house.settle()
    put_elsewhere(house)
    house.settle()
    assert house.state() == "watching"


# Albums that are missing.


@pytest.fixture
def large_house(new_house: House) -> House:
    """An album of more files than the fewest that may look like a lost disk."""
    fill(new_house)
    return new_house


def fill(house: House) -> None:
    """Index so many files."""
    for number in range(MIN_LOSS_FILES + 4):
        house.write(f"{number}.png", number % 4)
    house.settle()


def unmount(house: House) -> None:
    """Leave an empty folder, as an unmounted disk does."""
    house.album.rename(house.album.with_name("disk"))
    house.album.mkdir()


def take_away(house: House) -> None:
    """Leave nothing."""
    house.album.rename(house.album.with_name("disk"))


def lose_most(house: House) -> None:
    """Leave a few files and take the others where the album cannot see them."""
    disk = house.album.with_name("disk")
    house.album.rename(disk)
    house.album.mkdir()
    for number in range(2):
        os.link(disk / f"{number}.png", house.album / f"{number}.png")


@pytest.mark.parametrize("lose", [unmount, take_away, lose_most])
def test_a_lost_disk_costs_no_rows(large_house: House, lose: Callable[[House], None]) -> None:
    """However often it is looked for and hinted at; when it is back nothing is read again, and nothing is news."""
    before = large_house.rows()
    lose(large_house)
    for _ in range(2):
        large_house.settle()
    if lose is not lose_most:
        large_house.hint("", "0.png", *(f"{number}.png" for number in range(4, 24)))
        large_house.settle(scan=False)
    assert large_house.rows() == before
    assert large_house.state() == "missing"
    assert all(image.missing for image in all_images(large_house.store))
    if large_house.album.exists():
        shutil.rmtree(large_house.album)
    large_house.album.with_name("disk").rename(large_house.album)
    moved_without_reading(large_house, scan=True)
    assert large_house.state() == "watching"
    assert [alert.kind for alert in large_house.store.alerts.listed(0, 10)] == ["missing", "back"]


def test_even_a_handful_of_files_is_not_lost_with_their_disk(house: House) -> None:
    """An empty folder in the place of an album is a disk that is not there, however small the album is."""
    house.write("a.png", 1)
    house.settle()
    unmount(house)
    house.settle()
    house.hint("a.png")
    house.settle(scan=False)
    assert (house.state(), set(house.rows())) == ("missing", {"album/a.png"})


def test_a_missing_album_is_looked_for_often(large_house: House) -> None:
    """It may be back at any moment; one that stands is walked through as seldom as configured."""
    watch = large_house.config.watch
    assert large_house.ingest.schedule.due_in_s() > watch.rescan_s - PATIENCE_S
    unmount(large_house)
    large_house.settle()
    assert large_house.ingest.schedule.due_in_s() <= watch.poll_s < watch.rescan_s


def test_an_album_is_missing_from_the_start(new_house: House) -> None:
    """Until its folder is there; its first scan is then its first scan."""
    new_house.album.rmdir()
    new_house.settle()
    assert new_house.state() == "missing"
    assert not new_house.store.albums.listed()[0].baseline
    new_house.album.mkdir()
    new_house.write("a.png", 1)
    new_house.write("b.png", 1)
    new_house.settle()
    new_house.holds()
    assert new_house.store.albums.listed()[0].baseline
    assert due(new_house.store) == []


@pytest.mark.parametrize("lose", [unmount, lose_most])
def test_losses_may_be_accepted(large_house: House, lose: Callable[[House], None]) -> None:
    """Then what is gone is forgotten, this once."""
    lose(large_house)
    large_house.settle()
    large_house.settle(accept_losses=True)
    large_house.holds()
    assert large_house.state() == "watching"
    shutil.rmtree(large_house.album.with_name("disk"))
    fill(large_house)
    lose(large_house)
    large_house.settle()
    assert large_house.state() == "missing"


def test_a_folder_that_is_not_there_cannot_be_accepted(large_house: House) -> None:
    """Nor one that cannot be read: that is no loss, but a disk or a right that is missing."""
    before = large_house.rows()
    take_away(large_house)
    large_house.settle(accept_losses=True)
    large_house.album.write_text("a file in its place")
    large_house.settle(accept_losses=True)
    assert large_house.rows() == before
    assert large_house.state() == "missing"


def test_a_folder_that_goes_while_losses_are_accepted_is_missing(large_house: House) -> None:
    """What was accepted was another loss."""
    before = large_house.rows()
    # What was written a moment ago is waited for, and with it the end of what is accepted.
    large_house.write("fresh.png", 1, old=False)
    large_house.ingest.request_scan(accept_losses=True)
    large_house.step()
    assert not large_house.ingest.idle
    take_away(large_house)
    large_house.settle()
    assert (large_house.state(), large_house.rows()) == ("missing", before)


def test_a_root_that_cannot_be_read_cannot_be_accepted(open_folder: Path, pool: DecodePool) -> None:
    """The album stays missing until its folder can be read."""
    house = House(open_folder, pool)
    with closing(house):
        house.write("a.png", 1)
        house.settle()
        house.album.chmod(0)
        with ordinary_user():
            house.settle(accept_losses=True)
        assert (house.state(), len(house.rows())) == ("missing", 1)


def test_renaming_the_only_folder_is_no_loss(house: House) -> None:
    """Found by a walk, as after a night off: every file has another path, and all are there."""
    for number in range(MIN_LOSS_FILES + 4):
        house.write(f"2019/{number}.png", number)
    house.settle()
    (house.album / "2019").rename(house.album / "2020")
    moved_without_reading(house, scan=True)
    assert house.state() == "watching"


def test_a_small_album_may_be_emptied_of_pictures(house: House) -> None:
    """A handful of files is no lost disk, as long as anything is left in the folder."""
    house.write("notes.txt", b"text")
    for number in range(MIN_LOSS_FILES - 1):
        house.write(f"{number}.png", number % 3)
    house.settle()
    for number in range(MIN_LOSS_FILES - 1):
        (house.album / f"{number}.png").unlink()
    house.settle()
    assert (house.state(), house.rows()) == ("watching", {})


def test_one_lost_album_does_not_hold_up_another(tmp_path: Path, pool: DecodePool) -> None:
    """The other is indexed as ever."""
    house = House(tmp_path, pool, "album", "other")
    with closing(house):
        house.write("a.png", 1)
        house.settle()
        take_away(house)
        (tmp_path / "other" / "b.png").write_bytes(png(2))
        house.settle()
        assert set(house.rows()) == {"album/a.png", "other/b.png"}
        assert [album.state for album in house.store.albums.listed()] == ["missing", "watching"]


def test_an_alert_says_that_an_album_is_missing_and_that_it_is_back(large_house: House) -> None:
    """Each once, however often it is looked for and over a restart; the reason is there while it lasts."""
    unmount(large_house)
    large_house.settle()
    assert large_house.why_missing() == "its folder is empty"
    large_house.start()
    large_house.settle()
    large_house.album.rmdir()
    large_house.settle()
    assert large_house.why_missing() == "its folder is not there"
    large_house.album.with_name("disk").rename(large_house.album)
    large_house.settle()
    large_house.settle()
    assert large_house.why_missing() == ""
    root = bytes(large_house.album)
    assert [(alert.kind, alert.path, alert.message) for alert in large_house.store.alerts.listed(0, 10)] == [
        ("missing", root, "its folder is empty; nothing is forgotten"),
        ("back", root, "its files are there again"),
    ]


# Disks.

ELSEWHERE = 999_999
"""The number of a disk that is nowhere mounted."""


def put_elsewhere(house: House, *names: str) -> None:
    """Make the index believe that it saw some files, or the whole album, on another disk."""
    paths = [os.fsencode(name) for name in names] or list(house.store.files.states(1))
    house.store.files.put_devices(1, dict.fromkeys(paths, ELSEWHERE))
    if not names:
        house.store.albums.set_device(1, ELSEWHERE)


def devices(house: House) -> set[int]:
    """Return the disks that the rows are on."""
    return {state.device for state in house.store.files.states(1).values()}


def test_what_lies_below_a_mount_is_not_the_album(house: House) -> None:
    """A folder that holds other files, be they few, of the same names and hinted at: the album is missing."""
    for number in range(3):
        house.write(f"{number}.png", number)
    house.settle()
    put_elsewhere(house)
    before = house.rows()
    take_away(house)
    house.write("0.png", BROKEN)
    house.write("new.png", 7)
    house.hint("0.png", "1.png", "new.png")
    house.settle(scan=False)
    assert (house.state(), house.rows()) == ("missing", before)
    assert house.why_missing() == "another disk is there, without its files"
    house.hint("0.png", "1.png", "new.png")
    house.settle(scan=False)
    house.settle()
    assert house.rows() == before
    house.settle(accept_losses=True)
    house.holds()
    assert devices(house) == {house.album.stat().st_dev}


def test_a_disk_may_have_another_number(house: House) -> None:
    """As after the machine was started anew: its files are there, so nothing is read; what went meanwhile is gone."""
    for number in range(4):
        house.write(f"{number}.png", number)
    house.settle()
    put_elsewhere(house)
    (house.album / "3.png").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.pool, "read_files", refuse)
        house.settle()
    house.holds()
    assert house.state() == "watching"
    assert devices(house) == {house.store.albums.listed()[0].device} == {house.album.stat().st_dev}


def test_a_collection_may_be_put_on_another_disk(house: House) -> None:
    """Copied with other inodes, times and all: it is read, for its bytes may differ, and nothing is missing."""
    for number in range(3):
        house.write(f"{number}.png", number)
    house.settle()
    put_elsewhere(house)
    disk = house.album.with_name("disk")
    shutil.copytree(house.album, disk, copy_function=shutil.copyfile)
    shutil.rmtree(house.album)
    disk.rename(house.album)
    house.settle()
    house.holds()
    assert (house.state(), devices(house)) == ("watching", {house.album.stat().st_dev})


@pytest.mark.parametrize("hinted", [True, False])
def test_a_disk_inside_an_album_that_is_away_costs_no_rows(house: House, hinted: bool) -> None:
    """Found by a walk or hinted at; what is gone beside it is forgotten; with accepted losses so is this."""
    house.write("beside.png", 1)
    house.write("stays.png", 2)
    for number in range(3, 6):
        house.write(f"disk/deep/{number}.png", number)
    house.settle()
    inside = [f"disk/deep/{number}.png" for number in range(3, 6)]
    put_elsewhere(house, *inside)
    shutil.rmtree(house.album / "disk")
    (house.album / "beside.png").unlink()
    if hinted:
        house.hint("disk", "disk/deep", *inside, "beside.png")
    for _ in range(2):
        house.settle(scan=not hinted)
    assert set(house.rows()) == {"album/stays.png", *(f"album/{name}" for name in inside)}
    assert (house.state(), house.ingest.out_of_reach(1)) == ("watching", 3)
    house.settle(accept_losses=True)
    house.settle()
    house.holds()
    assert house.ingest.out_of_reach(1) == 0


def test_most_of_an_album_may_be_on_a_disk_inside_it(house: House) -> None:
    """When that is away the rest goes on: nothing of it is lost."""
    for number in range(MIN_LOSS_FILES + 4):
        house.write(f"disk/{number}.png", number % 3)
    house.write("a.png", 1)
    house.settle()
    put_elsewhere(house, *(f"disk/{number}.png" for number in range(MIN_LOSS_FILES + 4)))
    shutil.rmtree(house.album / "disk")
    house.settle()
    assert (house.state(), house.ingest.out_of_reach(1)) == ("watching", MIN_LOSS_FILES + 4)
    assert len(house.rows()) == MIN_LOSS_FILES + 5


def test_an_equal_inode_on_another_disk_is_another_file(house: House) -> None:
    """Each disk counts for itself: it is read, not taken for one that was moved."""
    path = house.write("a.png", 1)
    house.settle()
    put_elsewhere(house, "a.png")
    path.rename(house.album / "b.png")
    house.hint("b.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.pool, "read_files", refuse)
        with pytest.raises(AssertionError, match="read again"):
            house.settle(scan=False)


# Polling.


SLOW_WALK_S = 10.0
"""A walk that takes so long is followed by looks for a while."""


def let_walks_take(house: House, seconds: float, *, since_ns: int) -> None:
    """Have each walk and look take its time, and begin `since_ns` after the real time."""

    def now_ns() -> int:
        house.time.advance(seconds)
        return time.time_ns() + since_ns

    house.now_ns = now_ns


def polled(house: House) -> House:
    """Have the album polled, and walked through once, long after its folders were written to."""
    let_walks_take(house, SLOW_WALK_S, since_ns=10 * walk.YOUNG_NS)
    house.store.albums.set_state(1, "polling")
    house.settle()
    return house


def look(house: House) -> None:
    """Let the time for a look come, not that for a walk, and work until nothing is left to do."""
    house.time.advance(house.config.watch.poll_s)
    assert house.ingest.schedule.due(1) == Due.LOOK
    house.settle(scan=False)


def test_a_polled_album_is_looked_through(house: House) -> None:
    """What came, went and was moved is found without looking at a file of a folder in which nothing did."""
    for number in range(3):
        house.write(f"trip/{number}.png", number)
    house.write("still/3.png", 3)
    polled(house)
    assert house.ingest.schedule.due_in_s() <= house.config.watch.poll_s
    house.write("new/4.png", 4)
    (house.album / "trip" / "0.png").unlink()
    (house.album / "trip" / "1.png").rename(house.album / "one.png")
    look(house)
    house.holds()


def test_a_look_at_nothing_new_asks_the_index_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done every `poll_s` for ever."""
    house.write("trip/a.png", 1)
    polled(house)
    monkeypatch.setattr(house.store.files, "states", refuse)
    look(house)


def test_what_is_written_in_place_is_found_by_a_walk(house: House) -> None:
    """In a polled album; one comes after a hundred times what the last one took."""
    path = house.write("trip/a.png", 1)
    house.write("b.png", 2)
    polled(house)
    path.write_bytes(png(3))
    before = house.rows()
    look(house)
    assert house.rows() == before
    house.time.advance(WALK_SHARE * SLOW_WALK_S)
    assert house.ingest.schedule.due(1) == Due.WALK
    house.settle(scan=False)
    house.holds()


def test_only_what_is_not_heard_of_is_looked_at(house: House) -> None:
    """In an album that is watched but for some folders."""
    house.write("heard/a.png", 1)
    house.write("unheard/b.png", 2)
    house.ingest.set_unheard(1, Unheard(frozenset([bytes(house.album / "unheard")])))
    let_walks_take(house, 0.0, since_ns=10 * walk.YOUNG_NS)
    house.settle()
    assert house.ingest.schedule.due_in_s() <= house.config.watch.poll_s
    house.write("heard/c.png", 3)
    house.write("unheard/d.png", 4)
    look(house)
    assert set(house.rows()) == {"album/heard/a.png", "album/unheard/b.png", "album/unheard/d.png"}
    house.ingest.set_unheard(1, Unheard())
    house.settle()
    house.holds()
    assert house.ingest.schedule.due_in_s() > house.config.watch.poll_s


def test_a_look_that_misses_too_much_is_followed_by_a_walk(large_house: House) -> None:
    """What it misses may be in a folder that it did not look at; if it is nowhere the album is missing."""
    house = polled(large_house)
    disk = house.album.with_name("disk")
    disk.mkdir()
    for path in list(house.album.glob("?.png")) + list(house.album.glob("1?.png")):
        path.rename(disk / path.name)
    before = house.rows()
    look(house)
    assert (house.state(), house.rows()) == ("missing", before)


def test_what_went_where_nobody_looked_is_not_missing(large_house: House) -> None:
    """A look at the folders that are not heard of finds most files gone; a walk finds them where they are heard of."""
    house = large_house
    (house.album / "heard").mkdir()
    house.ingest.set_unheard(1, Unheard(frozenset([bytes(house.album)])))
    let_walks_take(house, 0.0, since_ns=10 * walk.YOUNG_NS)
    house.settle()
    for path in house.album.glob("*.png"):
        path.rename(house.album / "heard" / path.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.pool, "read_files", refuse)
        look(house)
    house.holds()
    assert house.store.alerts.listed(0, 10) == []


def test_a_walk_asked_for_many_times_is_done_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of lost events must not become one of walks; who asked last knows when it is done."""
    walked: list[bytes] = []
    walk_whole = walk.walk

    def recorded(root: bytes, below: bytes, rules: walk.Filter, *, now_ns: int | None = None) -> walk.Found:
        walked.append(root)
        return walk_whole(root, below, rules, now_ns=now_ns)

    monkeypatch.setattr(walk, "walk", recorded)
    tickets = [house.ingest.request_scan(bytes(house.album)) for _ in range(5)]
    house.step()
    assert walked == [bytes(house.album)]
    assert all(house.ingest.scanned(ticket) for ticket in tickets)


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


# The great property.

# Every example makes an index and files, and the disk need not wait for each of them.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it

NAMES = ("a.png", "b.png", "x.png", "d/a.png", "d/x.png", "d/e/b.png", "x.png/a.png", ".h/a.png")
FOLDERS = ("d", "d/e", "x.png", ".h", "f")


class AnyOrder(RuleBasedStateMachine):
    """Files and folders are written, moved, linked and removed; some of it is hinted at, in any order."""

    def __init__(self, pool: DecodePool) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cbir-ingest-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.house = House(self.folder, pool)

    def teardown(self) -> None:
        try:
            # An empty album would be taken for a lost disk.
            self.house.write("last.png", 4)
            self.house.settle()
            self.house.holds()
        finally:
            self.house.close()
            shutil.rmtree(self.folder)

    @rule(name=st.sampled_from(NAMES), data=st.sampled_from([1, 2, 3, BROKEN]))
    def write(self, name: str, data: int | bytes) -> None:
        room_for(self.house.album, name)
        self.house.write(name, data)

    @rule(name=st.sampled_from(NAMES), data=st.sampled_from([1, 2, 3, BROKEN]))
    def write_in_place(self, name: str, data: int | bytes) -> None:
        if (self.house.album / name).is_file():
            self.house.write(name, data)

    @rule(name=st.sampled_from(NAMES + FOLDERS))
    def remove(self, name: str) -> None:
        if (self.house.album / name).exists():
            room_for(self.house.album, name)

    @rule(source=st.sampled_from(NAMES + FOLDERS), into=st.sampled_from(NAMES + FOLDERS))
    def move(self, source: str, into: str) -> None:
        path = self.house.album / source
        if path.exists() and not nested(source, into):
            path.rename(room_for(self.house.album, into))

    @rule(source=st.sampled_from(NAMES), into=st.sampled_from(NAMES))
    def link(self, source: str, into: str) -> None:
        path = self.house.album / source
        if path.is_file() and not nested(source, into):
            os.link(path, room_for(self.house.album, into))

    @rule(first=st.sampled_from(NAMES + FOLDERS), second=st.sampled_from(NAMES + FOLDERS))
    def swap(self, first: str, second: str) -> None:
        here, there, aside = (self.house.album / name for name in (first, second, "aside"))
        if here.exists() and there.exists() and not nested(first, second):
            here.rename(aside)
            there.rename(here)
            aside.rename(there)

    @rule(name=st.sampled_from([*NAMES, *FOLDERS, ""]))
    def hint(self, name: str) -> None:
        self.house.hint(name)

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.0]))
    def work(self, seconds: float) -> None:
        self.house.time.advance(seconds)
        self.house.step()

    @rule()
    def settle(self) -> None:
        if any(self.house.album.iterdir()):
            self.house.settle()
            self.house.holds()

    @rule()
    def restart(self) -> None:
        self.house.start()


def nested(path: str, second: str) -> bool:
    """Whether one of two paths is, or lies in, the other."""
    return Path(path).is_relative_to(second) or Path(second).is_relative_to(path)


def test_after_anything_the_index_equals_the_album(pool: DecodePool) -> None:
    """Whatever happened in whichever order, heard of or not: a walk brings every row, and no other."""
    machine = cast(type[AnyOrder], partial(AnyOrder, pool))
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))


def test_files_that_needed_an_extra_are_read_once_it_is_there(house: House) -> None:
    """After a start with the package installed, by themselves, and once; while it is missing they are left alone."""
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="5" height="9"/></svg>'
    state = walk.state_at(bytes(house.write("drawing.png", drawing)))
    assert state is not None
    (album,) = house.store.albums.listed()
    failed = Unreadable("needs-extra", EXTRAS["SVG"].words)
    house.store.files.apply([Failed(album.id, b"drawing.png", state, failed)])
    without = replace(PICTURES, extras=(replace(EXTRAS["SVG"], module="cbir_no_svg"),))
    extras.forget_what_is_installed(house.store, without)
    house.settle()
    assert house.rows() == {"album/drawing.png": "needs-extra"}
    pytest.importorskip("resvg_py")
    before = house.pool.decoded
    for _ in range(2):
        house.start()
        extras.forget_what_is_installed(house.store, PICTURES)
        house.settle()
        assert house.rows() == {"album/drawing.png": hashlib.sha256(drawing).hexdigest()}
        assert house.pool.decoded == before + 1


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
