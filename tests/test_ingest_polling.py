"""Albums whose file system tells of no changes are looked through at intervals."""

from __future__ import annotations

import pytest

from cbir_daemon.indexing.schedule import WALK_SHARE, Due
from cbir_daemon.watching import walk
from cbir_daemon.watching.events import Unwatched
from tests.house import (
    SLOW_WALK_S,
    House,
    house,
    large_house,
    let_walks_take,
    look,
    new_house,
    png,
    polled,
    pool,
    refuse,
)

__all__ = ["house", "large_house", "new_house", "pool"]


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


def test_only_unwatched_folders_are_looked_at(house: House) -> None:
    """In an album that is watched but for some folders."""
    house.write("watched/a.png", 1)
    house.write("unwatched/b.png", 2)
    house.ingest.set_unwatched(1, Unwatched(frozenset([bytes(house.album / "unwatched")])))
    let_walks_take(house, 0.0, since_ns=10 * walk.YOUNG_NS)
    house.settle()
    assert house.ingest.schedule.due_in_s() <= house.config.watch.poll_s
    house.write("watched/c.png", 3)
    house.write("unwatched/d.png", 4)
    look(house)
    assert set(house.rows()) == {"album/watched/a.png", "album/unwatched/b.png", "album/unwatched/d.png"}
    house.ingest.set_unwatched(1, Unwatched())
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
    """A look at the unwatched folders finds most files gone; a walk finds them in watched ones."""
    house = large_house
    (house.album / "watched").mkdir()
    house.ingest.set_unwatched(1, Unwatched(frozenset([bytes(house.album)])))
    let_walks_take(house, 0.0, since_ns=10 * walk.YOUNG_NS)
    house.settle()
    for path in house.album.glob("*.png"):
        path.rename(house.album / "watched" / path.name)
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
