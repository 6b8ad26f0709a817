"""Albums on disk and the line that keeps the index equal to them, driven step by step.

In: a folder of the test's own, workers.  Out: a `House`, and the fixtures that give one.  Never here: what a
test expects.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from cbir_daemon.decode import DecodeLimits, DecodePool, ReadTask
from cbir_daemon.indexing.batches import BATCH_FILES
from cbir_daemon.indexing.losses import MIN_LOSS_FILES
from cbir_daemon.indexing.schedule import Due
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import Facts, Unreadable
from cbir_daemon.watching import walk
from tests.fakes import FakeClock
from tests.pictures import photograph
from tests.rows import all_images, due
from tests.worlds import World

LIMITS = DecodeLimits(max_pixels=1_000_000, max_file_bytes=1_000_000, timeout_s=30.0)
SUFFIXES = (".png", ".jpg")
# Long ago, so that files count as left alone.
OLD_NS = 1_500_000_000_000_000_000
BROKEN = b"this is no image"

ELSEWHERE = 999_999
"""Number of a disk that no file is on."""

SLOW_WALK_S = 10.0
"""A walk that takes so long is followed by looks for a while."""

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


def as_results(results: Iterable[Result]) -> Generator[Result]:
    """Yield results as `DecodePool.read_files` does."""
    yield from results


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


def put_elsewhere(house: House, *names: str) -> None:
    """Make the index believe that it saw some files, or the whole album, on another disk."""
    paths = [os.fsencode(name) for name in names] or list(house.store.files.states(1))
    house.store.files.put_devices(1, dict.fromkeys(paths, ELSEWHERE))
    if not names:
        house.store.albums.set_device(1, ELSEWHERE)


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
