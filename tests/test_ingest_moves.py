"""What is moved is known again: its rows go with it, and nothing is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cbir_daemon.decode import DecodePool
from tests.house import House, house, moved_without_reading, new_house, pool
from tests.rows import all_images, due

__all__ = ["house", "new_house", "pool"]


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
