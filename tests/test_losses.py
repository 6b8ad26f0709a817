"""What is gone from an album, and what looks like a lost disk, told from values alone."""

from __future__ import annotations

import pytest

from cbir_daemon.indexing.losses import MIN_LOSS_FILES, Root, may_forget, renumbered, vanished, why_lost
from cbir_daemon.records import SIZE_UNKNOWN, FileState
from cbir_daemon.store import Album
from cbir_daemon.watching.walk import Filter, Folder, Found

HERE = Root(is_folder=True, has_entries=True)
EMPTY = Root(is_folder=True, has_entries=False)
NOTHING = Root(is_folder=False, has_entries=False)
RULES = Filter(("left-out",), frozenset({".jpg"}))
MANY = 2 * MIN_LOSS_FILES
DISK, ANOTHER_DISK = 5, 6


def files(count: int, *, folder: str = "", device: int = DISK, size: int = 9) -> dict[bytes, FileState]:
    """Return path -> state of `count` files of different times."""
    return {f"{folder}{n}.jpg".encode(): FileState(size, n, n, device) for n in range(count)}


def found(
    listed: dict[bytes, FileState], *unreadable: bytes, device: int = DISK, folders: tuple[bytes, ...] = ()
) -> Found:
    """Return what a walk saw of an album on one disk."""
    return Found(listed, unreadable, {folder: Folder(0, device, 0, young=False) for folder in (b"", *folders)})


@pytest.mark.parametrize(
    ("root", "walked", "rows", "reason"),
    [
        (NOTHING, found({}, b""), files(1), "its folder is not there"),
        (HERE, found({}, b""), files(1), "its folder cannot be read"),
        (EMPTY, found({}), files(1), "its folder is empty"),
        (EMPTY, found({}), {}, ""),
        (HERE, found({}), files(MIN_LOSS_FILES - 1), ""),
        (HERE, found({}), files(MIN_LOSS_FILES), "20 of 20 files are gone"),
        (HERE, found(files(MIN_LOSS_FILES)), files(MANY), ""),
        (HERE, found(files(MIN_LOSS_FILES - 1)), files(MANY), "21 of 40 files are gone"),
        (HERE, found(files(MANY, folder="moved/")), files(MANY), ""),
        (HERE, found({}), files(MANY, folder="left-out/"), ""),
        (HERE, found({}, b"closed"), files(MANY, folder="closed/"), ""),
        (HERE, found({}), files(MANY, device=ANOTHER_DISK), ""),
        (HERE, found(files(2), device=ANOTHER_DISK), files(2), ""),
        (HERE, found(files(2), device=ANOTHER_DISK), files(2, size=SIZE_UNKNOWN), ""),
        (HERE, found(files(2), device=ANOTHER_DISK), files(2, size=8), "another disk is there, without its files"),
        (HERE, found({}, device=ANOTHER_DISK), files(1), "another disk is there, without its files"),
    ],
)
def test_what_looks_like_a_lost_disk(root: Root, walked: Found, rows: dict[bytes, FileState], reason: str) -> None:
    """More than half of the files, and 20 at least, are gone from where they could be; or the folder is."""
    assert why_lost(Album(1, b"/album", "watching", True, DISK), root, walked, rows, RULES, 0.5) == reason


def test_only_what_was_looked_for_has_vanished() -> None:
    """Not what lies in a folder that could not be read."""
    rows = files(2) | files(1, folder="closed/")
    assert list(vanished(rows, found(files(1), b"closed"))) == [b"1.jpg"]


def test_the_row_of_a_file_whose_disk_is_away_stays() -> None:
    """Unless the settings leave the file out; a row without a disk counts as on this one."""
    here, elsewhere, unknown = (FileState(1, 1, 1, device) for device in (DISK, ANOTHER_DISK, 0))
    assert [may_forget(b"a.jpg", row, DISK, RULES) for row in (here, elsewhere, unknown)] == [True, False, True]
    assert not may_forget(b"a.jpg", here, None, RULES)
    assert may_forget(b"left-out/a.jpg", elsewhere, DISK, RULES)


def test_a_disk_with_another_number_takes_what_is_gone_along() -> None:
    """As long as no file is still seen under the old number."""
    rows = files(3)
    walked = found(files(2, device=ANOTHER_DISK), device=ANOTHER_DISK)
    assert renumbered(rows, walked) == dict.fromkeys(rows, ANOTHER_DISK)
    walked.files[b"1.jpg"] = rows[b"1.jpg"]
    assert renumbered(rows, walked) == {b"0.jpg": ANOTHER_DISK}
    assert renumbered(rows, found(rows)) == {}
