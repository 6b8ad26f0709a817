"""Days in the life of an album, in minutes: `scripts/soak days [--days N] [--events N] [--seed N]`.

In: days, events a day, a seed.  Out: figures; an error when the index is not that of the album, or something grows.
Never here: the daemon's processes and signals, which `tests.process.machine` has; real fits.

The clock is a fake, files, workers and the index are real.  A kill leaves what SQLite had written by then: the files of
the index are copied in the middle of the work, and the next life begins with the copy.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from cbir_daemon.alerts import Policy
from cbir_daemon.daemon.rooms import INDEX_FILE
from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates import Pairing
from cbir_daemon.pictures import PICTURES
from cbir_daemon.store import Store
from cbir_daemon.system.files import memory_bytes
from tests.house import BROKEN, LIMITS, House
from tests.leftovers import open_files

DAY_S = 86_400.0
NAMES = 400
"""Paths that files may have: an album that neither grows nor shrinks for long."""

SEEDS = 150
"""Pictures that there are; every other file is a copy of another one."""

BETWEEN_SETTLES = 60
"""Events that the line finds at once."""


@dataclass(frozen=True, slots=True)
class Day:
    """What a day ends with.

    Parameters
    ----------
    files, alerts : int
    index_bytes, resident_bytes : int
        Of the index with its log, and of this process.
    descriptors, threads : int
        Of this process.
    """

    files: int
    alerts: int
    index_bytes: int
    resident_bytes: int
    descriptors: int
    threads: int


class Album(House):
    """An album that a seed keeps changing.

    Parameters
    ----------
    folder : Path
        Of state and album.
    pool : DecodePool
    seed : int
    """

    def __init__(self, folder: Path, pool: DecodePool, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 -- no secret
        super().__init__(folder, pool)
        self.settle()
        self.pairing = self._new_pairing()
        self.kills = 0

    def _new_pairing(self) -> Pairing:
        return self.new_pairing(alert_for=Policy(self.config.alerts, self.config.albums).alert_for)

    def work(self) -> None:
        """Let all that waits be done."""
        self.time.advance(self.config.watch.settle_s)
        self.settle(scan=False)
        while self.pairing.step():
            pass

    # -- events ------------------------------------------------------------------------------------------------------

    def happen(self) -> None:
        """Let one thing happen to the album, and the kernel tell of it."""
        events: tuple[tuple[Callable[[], None], int], ...] = (
            (self._write, 45),
            (self._delete, 20),
            (self._move, 20),
            (self._rename_folder, 5),
            (self._break, 5),
            (self._touch, 5),
        )
        self.random.choices([event for event, _ in events], [weight for _, weight in events])[0]()

    def _name(self) -> str:
        number = self.random.randrange(NAMES)
        return f"{number % 9}/{number}.png"

    def _write(self) -> None:
        name = self._name()
        self.write(name, self.random.randrange(SEEDS))
        self.hint(name)

    def _break(self) -> None:
        name = self._name()
        self.write(name, BROKEN)
        self.hint(name)

    def _delete(self) -> None:
        name = self._name()
        (self.album / name).unlink(missing_ok=True)
        self.hint(name)

    def _move(self) -> None:
        source, target = self._name(), self._name()
        if (self.album / source).exists() and source != target:
            (self.album / target).parent.mkdir(exist_ok=True)
            (self.album / source).rename(self.album / target)
            self.hint(source, target)

    def _rename_folder(self) -> None:
        first, second = self.album / "0", self.album / "renamed"
        for source, target in ((first, second), (second, first)):
            if source.exists() and not target.exists():
                source.rename(target)
                return self.hint(source.name, target.name)
        return None

    def _touch(self) -> None:
        name = self._name()
        if (self.album / name).exists():
            self.ticks += 1
            os.utime(self.album / name, ns=(self.ticks, self.ticks))
            self.hint(name)

    # -- what comes once a day ---------------------------------------------------------------------------------------

    def lose_disk(self) -> None:
        """Take the album's disk away and bring it back: nothing is forgotten, and nothing is read again."""
        rows, away = self.rows(), self.album.with_name("away")
        self.album.rename(away)
        self.album.mkdir()
        self.hint("")
        self.work()
        assert self.rows() == rows
        assert self.state() == "missing" or not rows
        self.album.rmdir()
        away.rename(self.album)
        self.settle()
        assert self.state() != "missing"

    def kill(self) -> None:
        """Stop in the middle of the work, and go on from what the disk has."""
        for _ in range(self.random.randrange(1, 40)):
            self.happen()
        self.time.advance(self.config.watch.settle_s)
        self.step()
        index, kept = self.folder / INDEX_FILE, self.folder / "kept"
        kept.mkdir()
        for path in self.folder.glob(f"{INDEX_FILE}*"):
            if not path.name.endswith("-shm"):
                shutil.copyfile(path, kept / path.name)
        self.close()
        for path in kept.iterdir():
            path.replace(self.folder / path.name)
        kept.rmdir()
        self.store = Store(index)
        self.store.open()
        self.start()
        self.pairing = self._new_pairing()
        # A daemon walks the albums when it starts.
        self.settle()
        self.kills += 1

    def end_day(self) -> Day:
        """Walk, back up, let the night pass, and say what there is."""
        self.settle()
        self.work()
        self.store.keep_backup()
        self.time.advance(DAY_S)
        self.settle()
        self.holds()
        # A process that is killed leaves nothing; those that are killed here leave circles of objects.
        gc.collect()
        size = sum(path.stat().st_size for path in self.folder.glob(f"{INDEX_FILE}*") if "backup" not in path.name)
        return Day(
            files=len(self.rows()),
            alerts=len(self.store.alerts.ids(0, 10_000_000)),
            index_bytes=size,
            resident_bytes=memory_bytes(Path("/proc/self/status"), "VmRSS"),
            descriptors=open_files().total(),
            threads=threading.active_count(),
        )

    def pairs(self) -> set[frozenset[str]]:
        """Return which contents are copies of each other, by their digests."""
        digests = {image.content.id: image.content.digest.hex() for image in self.store.files.sampled(10_000_000, 0)}
        found = ((pair.content_id, pair.other_id) for pair in self.store.pairs.listed())
        return {frozenset(digests[content_id] for content_id in pair) for pair in found if set(pair) <= digests.keys()}


def lived(folder: Path, pool: DecodePool, days: int, events: int, seed: int) -> list[Day]:
    """Let days pass, and return what each ended with.

    Parameters
    ----------
    folder : Path
        Empty.
    pool : DecodePool
    days, events : int
        Events of a day.
    seed : int
        Of all that happens.

    Raises
    ------
    AssertionError
        When the index is not that of the album, not that of a fresh look, or something has grown.
    """
    passed: list[Day] = []
    (folder / "long").mkdir()
    with closing(Album(folder / "long", pool, seed)) as album:
        for _ in range(days):
            for number in range(events):
                album.happen()
                if number % BETWEEN_SETTLES == 0:
                    album.work()
            album.lose_disk()
            album.kill()
            passed.append(album.end_day())
        assert album.kills == days
        rows, pairs = album.rows(), album.pairs()
    _is_that_of_a_fresh_look(folder, pool, rows, pairs)
    _has_not_grown(passed)
    return passed


def _is_that_of_a_fresh_look(folder: Path, pool: DecodePool, rows: dict[str, str], pairs: set[frozenset[str]]) -> None:
    (folder / "fresh").mkdir()
    with closing(Album(folder / "fresh", pool, 0)) as fresh:
        fresh.album.rmdir()
        (folder / "long" / "album").rename(fresh.album)
        fresh.settle()
        fresh.work()
        assert fresh.rows() == rows
        assert fresh.pairs() == pairs


def _has_not_grown(passed: list[Day]) -> None:
    """Compare the last day with one after a third of all, or the first of about as many files."""
    last = passed[-1]
    full = next(number for number, day in enumerate(passed) if day.files >= 0.9 * last.files)
    # What the allocator keeps for itself, and the libraries load late, is there after some days.
    early = passed[max(full, len(passed) // 3)]
    assert last.threads <= early.threads, (early, last)
    assert last.descriptors <= early.descriptors + 4, (early, last)
    # A row of an alert is 300 bytes; pages that are free are used again.
    assert last.index_bytes <= 1.5 * early.index_bytes + 600 * (last.alerts - early.alerts), (early, last)
    assert last.resident_bytes <= 1.3 * early.resident_bytes, (early, last)


@click.command()
@click.option("--days", type=click.IntRange(2), default=30, show_default=True)
@click.option("--events", type=click.IntRange(100), default=3_400, show_default=True, help="Events of a day.")
@click.option("--seed", type=int, default=1, show_default=True)
def main(days: int, events: int, seed: int) -> None:
    """Let DAYS pass over an album and its index, and print what the first and the last one ended with."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, closing(DecodePool(2, LIMITS, PICTURES)) as pool:
        passed = lived(Path(folder), pool, days, events, seed)
    for number in sorted({0, days // 3, days - 1}):
        click.echo(f"day {number + 1}: {passed[number]}")
    click.echo(f"{days} days, {days * events} events, seed {seed}, {time.monotonic() - began:.0f} s: as a fresh index")


if __name__ == "__main__":
    main()
