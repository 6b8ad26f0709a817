"""Files and folders that cannot be looked at lose no rows, and each reason heals as the table says."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cbir_daemon.decode import DecodePool, Readers, ReadTask
from cbir_daemon.indexing import extras
from cbir_daemon.indexing.losses import MIN_LOSS_FILES
from cbir_daemon.indexing.retries import FIRST_PAUSE_S, LONGEST_PAUSE_S
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import REASONS, Heals, Unreadable
from tests.house import House, Result, as_results, house, new_house, pool, put_elsewhere
from tests.rights import open_folder, ordinary_user

__all__ = ["house", "new_house", "open_folder", "pool"]


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
            house.pool, "read_files", lambda tasks: as_results([(tasks[0], Unreadable("no-access", "closed"))])
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
        return as_results((task, Unreadable("timed-out", "too slow")) for task in tasks)

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
        return as_results((task, Unreadable(code, "failed")) for task in tasks)

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
    extras.forget_what_is_installed(house.store, Readers([PICTURES]))
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
