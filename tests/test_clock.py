"""Two answers with the same clock were given about the same state: each write raises it, or no answer shows it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cbir_daemon.store import (
    Decision,
    FitBegun,
    NewAlert,
    NewTask,
    NewWork,
    Pair,
    Placed,
    Sighting,
    Store,
)
from tests.rows import ROOT, digest, indexed, opened, position, report, vector

NOW = 1_700_000_000.0

ALERT = NewAlert(ROOT, "missing", (), "its folder is empty")
TASK = NewTask("trash", "exact", b"/album/b.jpg", b"/album/a.jpg", digest(2), digest(1), 5, 6, None, "planned", "")

SEEN: Mapping[str, Callable[[Store, int], object]] = {
    "add_album": lambda store, _: store.add_album(b"/other"),
    "remove_album": lambda store, album: store.remove_album(album),
    "set_album_state": lambda store, album: store.set_album_state(album, "polling"),
    "turn_album": lambda store, album: store.turn_album(album, "missing", ALERT, NOW),
    # Two names of one file on one disk are a hard link, which wins no space in `cbir duplicates`.
    "put_devices": lambda store, album: store.put_devices(album, {b"a.jpg": 7}),
    "apply": lambda store, album: store.apply([indexed(album, b"c.jpg", 3)]),
    "start_pass": lambda store, _: store.start_pass(2),
    "put_matched": lambda store, _: store.put_matched([1, 2], [Pair(1, 2, 0.95)]),
    "dismiss": lambda store, _: store.dismiss(digest(1), digest(2), NOW),
    "undismiss": lambda store, _: store.undismiss(digest(1), digest(1)),
    "put_decisions": lambda store, _: store.put_decisions([Decision(digest(1), digest(2), NOW)]),
    "put_alerts": lambda store, _: store.put_alerts([1], [ALERT], NOW),
    "open_sinks": lambda store, _: store.open_sinks(["mail", "phone"]),
    "end_message": lambda store, _: store.end_message("mail", 1, NOW),
    "add_work": lambda store, _: store.add_work(NewWork(digest(8), vector(8), "work", b"/work.jpg"), NOW),
    "remove_work": lambda store, _: store.remove_work(1),
    "put_sightings": lambda store, _: store.put_sightings([Sighting(1, digest(2), "copy", 0.9)]),
    "start_resolve": lambda store, _: store.start_resolve([TASK], NOW),
    "note_task": lambda store, _: store.note_task(1, "begun", b"/trash/b.jpg", "", NOW),
    "start_run": lambda store, _: store.start_run(FitBegun("asked", "1", 2), NOW),
    "add_run_numbers": lambda store, _: store.add_run_numbers(1, {"moved": 0.5}),
    "end_run": lambda store, _: store.end_run(1, "failed", "no memory", NOW),
    "end_interrupted_runs": lambda store, _: store.end_interrupted_runs(NOW),
    "activate_run": lambda store, _: store.activate_run(1, report(), [Placed(1, "fitted", position(0, 1))], NOW),
    "put_positions": lambda store, _: store.put_positions(1, [Placed(2, "added", position(2, 3))]),
}
"""Each change that an answer shows, by the name of its method."""

UNSEEN: Mapping[str, Callable[[Store, int], object]] = {
    # Only walks compare it, with the disk that they find the album on.
    "set_album_device": lambda store, album: store.set_album_device(album, 9),
    # It says which files that come later raise alerts; each of those is a change of its own.
    "finish_baseline": lambda store, album: store.finish_baseline(album),
    # Only walks compare the size of a file that could not be read.
    "forget_states": lambda store, _: store.forget_states("needs-extra", ()),
    # After a restart the same message is sent again; what waits is counted from the last one that ended.
    "begin_message": lambda store, _: store.begin_message("mail", 1),
}
"""Each change that no answer shows, and why."""


def filled(store: Store) -> int:
    """Write a row that each change finds to change, and return the id of the album."""
    album = store.albums()[0].id
    store.apply([indexed(album, b"a.jpg", 1), indexed(album, b"b.jpg", 2)])
    store.dismiss(digest(1), digest(1), NOW)
    store.open_sinks(["mail"])
    store.put_alerts([1], [ALERT], NOW)
    store.add_work(NewWork(digest(9), vector(9), "work", b"/work.jpg"), NOW)
    store.start_resolve([TASK], NOW)
    store.start_run(FitBegun("asked", "1", 2), NOW)
    return album


def test_every_writing_method_is_tried_below() -> None:
    """So a new one cannot be left out of these tests."""
    writing = {
        name
        for name, method in vars(Store).items()
        if inspect.isfunction(method)
        and not name.startswith("_")
        and re.search(r"self\._(write_unseen|change|change_contents|ticked)\(", inspect.getsource(method))
    }
    assert writing == SEEN.keys() | UNSEEN.keys()


@pytest.mark.parametrize("name", SEEN)
def test_a_change_that_an_answer_shows_raises_the_clock(tmp_path: Path, name: str) -> None:
    """And whoever waits for a change looks again."""
    with opened(tmp_path / "index.sqlite") as store:
        album = filled(store)
        if name == "start_run":
            # One fit runs at a time.
            store.end_run(1, "failed", "no memory", NOW)
        clock, moment = store.clock, store.moment
        SEEN[name](store, album)
        assert store.clock > clock
        assert store.moment > moment


@pytest.mark.parametrize("name", UNSEEN)
def test_a_change_that_no_answer_shows_leaves_the_clock(tmp_path: Path, name: str) -> None:
    """So no answer looks newer than the state that it shows."""
    with opened(tmp_path / "index.sqlite") as store:
        album = filled(store)
        clock = store.clock
        UNSEEN[name](store, album)
        assert store.clock == clock
