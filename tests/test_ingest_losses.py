"""A disk that is away costs no rows: albums that are missing, and disks inside albums."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cbir_daemon.decode import DecodePool
from cbir_daemon.indexing.losses import MIN_LOSS_FILES
from tests.house import (
    BROKEN,
    House,
    fill,
    house,
    large_house,
    moved_without_reading,
    new_house,
    png,
    pool,
    put_elsewhere,
    refuse,
)
from tests.patience import PATIENCE_S
from tests.rights import open_folder, ordinary_user
from tests.rows import all_images, due

__all__ = ["house", "large_house", "new_house", "open_folder", "pool"]


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


"""The number of a disk that is nowhere mounted."""


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
