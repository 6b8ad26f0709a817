"""Two answers with the same clock were given about the same state: each write raises it, or no answer shows it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from cbir_daemon.records import DescriptorKind, FitOutcome, ResolveTask, TaskState
from cbir_daemon.store import (
    Decision,
    Due,
    FitBegun,
    NewAlert,
    NewWork,
    Pair,
    Placed,
    Store,
    WorkMatch,
)
from cbir_daemon.store.table import Table
from tests.patience import PATIENCE_S
from tests.rows import EXTRACTOR, ROOT, all_images, digest, indexed, opened, position, report, vector

FOLDER = Path(inspect.getfile(Table)).parent

NOW = 1_700_000_000.0

ALERT = NewAlert(ROOT, "missing", (), "its folder is empty")
TASK = ResolveTask(
    "trash", "exact", Path("/album/b.jpg"), Path("/album/a.jpg"), digest(2), digest(1), 5, 6, None, TaskState.PLANNED
)

SEEN: Mapping[str, Callable[[Store, int], object]] = {
    "albums.add": lambda store, _: store.albums.add(b"/other"),
    "albums.remove": lambda store, album: store.albums.remove(album),
    "albums.set_state": lambda store, album: store.albums.set_state(album, "polling"),
    "albums.turn": lambda store, album: store.albums.turn(album, "missing", ALERT, NOW),
    # Two names of one file on one disk are a hard link, which wins no space in `cbir duplicates`.
    "files.put_devices": lambda store, album: store.files.put_devices(album, {b"a.jpg": 7}),
    "files.apply": lambda store, album: store.files.apply([indexed(album, b"c.jpg", 3)]),
    "descriptors.put": lambda store, _: store.descriptors.put(DescriptorKind("look", "1"), {1: b"numbers"}),
    "pairs.start_pass": lambda store, _: store.pairs.start_pass(2),
    "pairs.put_matched": lambda store, _: store.pairs.put_matched([1, 2], [Pair(1, 2, 0.95)]),
    "pairs.forget_looks": lambda store, _: store.pairs.forget_looks(2),
    "decisions.dismiss": lambda store, _: store.decisions.dismiss(digest(1), digest(2), NOW),
    "decisions.remove": lambda store, _: store.decisions.remove([Decision(digest(1), digest(1), NOW)]),
    "decisions.undismiss": lambda store, _: store.decisions.undismiss(digest(1), digest(1)),
    "decisions.put": lambda store, _: store.decisions.put([Decision(digest(1), digest(2), NOW)]),
    "alerts.put": lambda store, _: store.alerts.put([1], [ALERT], NOW),
    "alerts.put_in_parts": lambda store, _: store.alerts.put_in_parts(all_images(store)[0], ALERT, (), NOW),
    "sinks.open": lambda store, _: store.sinks.open(["mail", "phone"]),
    "sinks.end_message": lambda store, _: store.sinks.end_message("mail", 1, NOW),
    "works.add": lambda store, _: store.works.add(NewWork(digest(8), vector(8), EXTRACTOR, "work", b"/work.jpg"), NOW),
    "works.remove": lambda store, _: store.works.remove(1),
    "works.put_matches": lambda store, _: store.works.put_matches([WorkMatch(1, digest(2), "copy", 0.9)]),
    "journal.start": lambda store, _: store.journal.start([TASK], NOW),
    "journal.note": lambda store, _: store.journal.note(1, TaskState.BEGUN, b"/trash/b.jpg", "", NOW),
    "runs.start": lambda store, _: store.runs.start(FitBegun("asked", "1", 2), NOW),
    "runs.add_numbers": lambda store, _: store.runs.add_numbers(1, {"moved": 0.5}),
    "runs.end": lambda store, _: store.runs.end(1, FitOutcome.FAILED, "no memory", NOW),
    "runs.end_interrupted": lambda store, _: store.runs.end_interrupted(NOW),
    "runs.activate": lambda store, _: store.runs.activate(1, report(), [Placed(1, "fitted", position(0, 1))], NOW),
    "published.begin": lambda store, _: store.published.begin("studio", NOW),
    "published.rest": lambda store, _: store.published.rest(),
    "published.note_all": lambda store, _: store.published.note_all(NOW),
    "published.forget": lambda store, _: store.published.forget(),
    "published.put": lambda store, _: store.published.put([Due(1, digest(1), False)], [digest(1)], NOW),
    "published.put_asked": lambda store, _: store.published.put_asked([digest(1)], [ALERT], NOW),
    "positions.put": lambda store, _: store.positions.put(1, [Placed(2, "added", position(2, 3))]),
}
"""Each change that an answer shows, by the name of its table and method."""

UNSEEN: Mapping[str, Callable[[Store, int], object]] = {
    "albums.set_device": lambda store, album: store.albums.set_device(album, 9),
    "albums.finish_baseline": lambda store, album: store.albums.finish_baseline(album),
    "files.forget_extractors": lambda store, _: store.files.forget_extractors(["grey64/2"]),
    "files.forget_states": lambda store, _: store.files.forget_states("needs-extra", ()),
    "sinks.begin_message": lambda store, _: store.sinks.begin_message("mail", 1),
}
"""Each change that no answer shows; the reason stands at its method."""


def filled(store: Store) -> int:
    """Write a row that each change finds to change, and return the id of the album."""
    album = store.albums.listed()[0].id
    store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"b.jpg", 2)])
    store.pairs.put_matched([1, 2], [Pair(1, 2, 0.95, look_version=1)])
    store.decisions.dismiss(digest(1), digest(1), NOW)
    store.sinks.open(["mail"])
    store.alerts.put([1], [ALERT], NOW)
    store.works.add(NewWork(digest(9), vector(9), EXTRACTOR, "work", b"/work.jpg"), NOW)
    store.journal.start([TASK], NOW)
    store.runs.start(FitBegun("asked", "1", 2), NOW)
    return album


def writing_methods(store: Store) -> dict[str, bool]:
    """Return whether it raises the clock, of each method that writes, by its name and that of its table."""
    return {
        f"{table}.{name}": method.ticks
        for table, rows in vars(store).items()
        if isinstance(rows, Table)
        for name, method in vars(type(rows)).items()
        if hasattr(method, "ticks")
    }


def test_every_writing_method_is_tried_below(tmp_path: Path) -> None:
    """So a new one cannot be left out of these tests."""
    with opened(tmp_path / "index.sqlite") as store:
        assert writing_methods(store) == dict.fromkeys(SEEN, True) | dict.fromkeys(UNSEEN, False)


def test_every_method_of_a_table_reads_or_writes(tmp_path: Path) -> None:
    """So no change passes by `writes`: nothing else has a connection to write on."""
    of_pieces = {"all_vectors"}
    with opened(tmp_path / "index.sqlite") as store:
        plain = {
            name
            for rows in vars(store).values()
            if isinstance(rows, Table)
            for name, method in vars(type(rows)).items()
            if inspect.isfunction(method) and not hasattr(method, "__wrapped__")
        }
    assert plain == of_pieces


def test_a_change_that_leaves_the_clock_says_why() -> None:
    """In a comment above its decorator, where the next reader looks."""
    lines = [line for path in sorted(FOLDER.glob("*.py")) for line in path.read_text().splitlines()]
    exempt = [number for number, line in enumerate(lines) if line.strip() == "@writes(ticks=False)"]
    assert len(exempt) == len(UNSEEN)
    assert [lines[number] for number in exempt if not lines[number - 1].strip().startswith("# ")] == []


@pytest.mark.parametrize("name", SEEN)
def test_a_change_that_an_answer_shows_raises_the_clock(tmp_path: Path, name: str) -> None:
    """And whoever waits for a change looks again."""
    with opened(tmp_path / "index.sqlite") as store:
        album = filled(store)
        if name == "runs.start":
            # One fit runs at a time.
            store.runs.end(1, FitOutcome.FAILED, "no memory", NOW)
        clock, moment = store.clock, store.moment
        SEEN[name](store, album)
        assert store.clock > clock
        assert store.moment > moment


class Held(int):
    """A moment that is compared only once it may be: meanwhile nobody can raise the clock."""

    def __new__(cls, moment: int, _compared: Event, _released: Event) -> Held:
        """Return a number like any other."""
        return super().__new__(cls, moment)

    def __init__(self, _moment: int, compared: Event, released: Event) -> None:
        self._compared, self._released = compared, released

    def __lt__(self, now: int) -> bool:
        self._compared.set()
        assert self._released.wait(PATIENCE_S)
        return True


def test_a_clock_that_is_behind_its_commit_is_known_to_be(tmp_path: Path) -> None:
    """All can read what was written a moment before the clock shows it; `settle` waits for that, too."""
    compared, released = Event(), Event()
    with opened(tmp_path / "index.sqlite") as store, ThreadPoolExecutor(2) as pool:
        assert store.is_clock_current
        waiting = pool.submit(store.wait_for_change, Held(store.moment, compared, released), PATIENCE_S)
        assert compared.wait(PATIENCE_S)
        before = store.clock
        added = pool.submit(store.albums.add, b"/other")
        while len(store.albums.listed()) < 2:
            pass
        assert (store.clock, store.is_clock_current) == (before, False)
        released.set()
        waiting.result()
        added.result()
        assert (store.clock, store.is_clock_current) == (before + 1, True)


@pytest.mark.parametrize("name", UNSEEN)
def test_a_change_that_no_answer_shows_leaves_the_clock(tmp_path: Path, name: str) -> None:
    """So no answer looks newer than the state that it shows."""
    with opened(tmp_path / "index.sqlite") as store:
        album = filled(store)
        clock = store.clock
        UNSEEN[name](store, album)
        assert store.clock == clock
