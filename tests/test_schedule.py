"""When an album is walked and when its folders are looked at, told from values and a clock alone."""

from __future__ import annotations

import pytest

from cbir_daemon.config.settings import WatchConfig
from cbir_daemon.indexing.schedule import WALK_SHARE, Due, Schedule, walk_pause_s
from cbir_daemon.watching.events import Unwatched
from cbir_daemon.watching.walk import Folder, Found
from tests.fakes import FakeClock

WATCH = WatchConfig(poll_s=60.0, rescan_s=3600.0)
ALBUM = 1
FOLDERS = {b"": Folder(0, 5, 0, young=False)}
WALKED = Found({}, (), FOLDERS)
LOOKED = Found({}, (), FOLDERS, frozenset())
PARTLY = Unwatched(frozenset([b"/album/unwatched"]))


def walked(
    *, took_s: float = 0.0, polled: bool = False, unwatched: Unwatched | None = None
) -> tuple[Schedule, FakeClock]:
    """Return the schedule of an album whose walk has just ended, and its clock at the beginning of the walk."""
    clock = FakeClock()
    schedule = Schedule(WATCH, clock)
    if unwatched is not None:
        schedule.set_unwatched(ALBUM, unwatched)
    began_at = schedule.now()
    clock.advance(took_s)
    schedule.set_found(ALBUM, WALKED, began_at, polled=polled)
    clock.advance(-took_s)
    return schedule, clock


@pytest.mark.parametrize(
    ("polled", "took_s", "pause_s"),
    [
        (False, 0.1, 3600.0),
        (False, 100.0, 3600.0),
        (True, 0.1, 60.0),
        (True, 0.6, 60.0),
        (True, 10.0, 1000.0),
        (True, 36.0, 3600.0),
        (True, 100.0, 3600.0),
    ],
)
def test_an_album_is_walked_as_often_as_it_may_cost(polled: bool, took_s: float, pause_s: float) -> None:
    """A polled one for a hundredth of the time, unless `poll_s` or `rescan_s` say otherwise; a watched one seldom."""
    assert walk_pause_s(WATCH, took_s, polled=polled) == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("polled", "unwatched", "looks"),
    [(False, None, False), (False, Unwatched(), False), (True, None, True), (False, PARTLY, True)],
    ids=["watched", "watched whole", "polled", "watched in part"],
)
def test_looks_come_between_walks_where_no_events_do(polled: bool, unwatched: Unwatched | None, looks: bool) -> None:
    """Every `poll_s`, in an album that is polled or watched in part; its folders are remembered for that."""
    schedule, clock = walked(took_s=10.0, polled=polled, unwatched=unwatched)
    assert schedule.due(ALBUM) is None
    assert schedule.folders(ALBUM) == (FOLDERS if looks else {})
    assert schedule.is_polled(ALBUM) == polled
    assert schedule.due_in_s() == (WATCH.poll_s if looks else WATCH.rescan_s)
    clock.advance(WATCH.poll_s)
    assert schedule.due(ALBUM) == (Due.LOOK if looks else None)
    clock.advance(WATCH.rescan_s)
    assert schedule.due(ALBUM) == Due.WALK


def test_a_look_does_not_put_off_the_walk() -> None:
    """The next look comes a `poll_s` later, the walk when it was to come."""
    schedule, clock = walked(took_s=2.0, polled=True)
    for _ in range(3):
        clock.advance(WATCH.poll_s)
        assert schedule.due(ALBUM) == Due.LOOK
        schedule.set_found(ALBUM, LOOKED, schedule.now(), polled=True)
        assert schedule.due(ALBUM) is None
    assert schedule.due_in_s() == pytest.approx(2.0 * WALK_SHARE - 3 * WATCH.poll_s)
    clock.advance(schedule.due_in_s())
    assert schedule.due(ALBUM) == Due.WALK


def test_a_new_album_is_due_at_once_and_a_removed_one_never() -> None:
    """What was never gone through is walked; without albums nothing comes before `rescan_s`."""
    schedule, clock = walked()
    assert (schedule.due(2), schedule.has(2), schedule.has(ALBUM)) == (Due.WALK, False, True)
    clock.advance(2 * WATCH.rescan_s)
    assert schedule.due_in_s() == 0.0
    schedule.retain({2})
    assert (schedule.has(ALBUM), schedule.folders(ALBUM), schedule.is_polled(ALBUM)) == (False, {}, False)
    assert schedule.due_in_s() == WATCH.rescan_s


def test_a_lost_album_is_walked_soon_and_nothing_is_remembered_of_it() -> None:
    """It may be back at any moment, and then another one."""
    schedule, clock = walked(polled=True)
    schedule.set_out_of_reach(ALBUM, 3)
    clock.advance(1.0)
    schedule.set_lost(ALBUM, schedule.now())
    assert (schedule.due(ALBUM), schedule.due_in_s()) == (None, WATCH.poll_s)
    assert (schedule.folders(ALBUM), schedule.is_polled(ALBUM), schedule.out_of_reach(ALBUM)) == ({}, False, 0)
    clock.advance(WATCH.poll_s)
    assert schedule.due(ALBUM) == Due.WALK


def test_files_that_come_out_of_reach_are_news_once() -> None:
    """Until they are in reach again."""
    schedule, _ = walked()
    counts = (0, 3, 5, 0, 1)
    assert [schedule.set_out_of_reach(ALBUM, count) for count in counts] == [False, True, False, False, True]
    assert (schedule.out_of_reach(ALBUM), schedule.out_of_reach(2)) == (1, 0)


def test_unwatched_folders_are_news_once() -> None:
    """An album has no unwatched folders until it is told of some."""
    schedule = Schedule(WATCH)
    assert [schedule.set_unwatched(ALBUM, unwatched) for unwatched in (Unwatched(), PARTLY, PARTLY)] == [
        False,
        True,
        False,
    ]
    assert (schedule.unwatched(ALBUM), schedule.unwatched(2)) == (PARTLY, Unwatched())


def test_settings_are_taken_while_it_runs() -> None:
    """A look comes by the new `poll_s`, and the next walk by the new `rescan_s`."""
    schedule, clock = walked(polled=True, took_s=10.0)
    schedule.configure(WatchConfig(poll_s=5.0, rescan_s=20.0))
    assert schedule.due_in_s() == 5.0
    schedule.set_found(ALBUM, WALKED, schedule.now(), polled=False)
    assert schedule.due_in_s() == 20.0
    assert clock() == schedule.now()
