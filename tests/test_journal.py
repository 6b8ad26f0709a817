"""The journal of what was done to duplicates, and decisions, as rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.store import Decision, Store
from tests.rows import ROOT, digest, indexed, opened

NOW = 1_700_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open index with one album."""
    with opened(tmp_path / "index.sqlite") as store:
        yield store


def task(number: int, action: str = "trash", state: TaskState = TaskState.PLANNED, reason: str = "") -> ResolveTask:
    """Return what is planned for a file."""
    path = Path(os.fsdecode(b"/album/%d\xff.jpg" % number))
    return ResolveTask(action, "copy", path, Path("/k"), digest(number), digest(0), 10, 20, None, state, reason)


def test_a_run_has_its_tasks_in_order(store: Store) -> None:
    """Each as it was planned, then as it was last noted; the target stays when a later note has none."""
    run = store.journal.start([task(1), task(2, state=TaskState.SKIPPED, reason="is not indexed")], NOW)
    first, second = store.journal.tasks(run)
    assert first == replace(task(1), id=first.id)
    assert second == replace(task(2, state=TaskState.SKIPPED, reason="is not indexed"), id=second.id)
    assert bytes(first.path) == b"/album/1\xff.jpg"
    store.journal.note(first.id, TaskState.BEGUN, b"/trash/1", "", NOW + 1)
    noted = store.journal.note(first.id, TaskState.DONE, None, "", NOW + 2)
    assert noted == store.journal.tasks(run)[0]
    assert noted is not None
    assert (noted.state, noted.target) == (TaskState.DONE, Path("/trash/1"))
    assert store.journal.runs()[0].changed_at == NOW + 2
    assert store.journal.note(99, TaskState.DONE, None, "", NOW) is None
    assert store.journal.tasks(99) == []


def test_a_task_keeps_every_field(store: Store) -> None:
    """What stands in the journal is what was planned, with its number; without a file that stays there is no path."""
    tasks = [
        replace(task(1, "move"), folder=Path("/away"), target=Path("/away/\udcff.jpg")),
        replace(task(2), kind="", keep=None, keep_digest=b"", state=TaskState.SKIPPED, reason="is not indexed"),
    ]
    kept = store.journal.tasks(store.journal.start(tasks, NOW))
    assert [noted.id for noted in kept] == [1, 2]
    assert [replace(noted, id=0) for noted in kept] == tasks


def test_runs_are_open_as_long_as_something_is_left(store: Store) -> None:
    """Newest first, with how many files are in which state."""
    done = store.journal.start([task(1, state=TaskState.SKIPPED)], NOW)
    later = store.journal.start([task(1), task(2)], NOW + 1)
    newest, oldest = store.journal.runs()
    assert (newest.id, newest.started_at, newest.states, newest.is_open) == (later, NOW + 1, {"planned": 2}, True)
    assert (oldest.id, oldest.states, oldest.is_open) == (done, {"skipped": 1}, False)


def test_what_is_away_and_what_was_put_back(store: Store) -> None:
    """Away is what is done, and not what was linked; back is what was undone; the last time counts."""
    states = [
        (1, "trash", TaskState.DONE),
        (2, "hardlink", TaskState.DONE),
        (3, "move", TaskState.UNDONE),
        (4, "trash", TaskState.BEGUN),
    ]
    for number, action, state in states:
        run = store.journal.start([task(number, action)], NOW)
        store.journal.note(store.journal.tasks(run)[0].id, state, None, "", NOW + number)
    digests = [digest(number) for number, _, _ in states]
    assert store.journal.away_since(digests) == {digest(1): NOW + 1}
    assert store.journal.undone(digests) == {(b"/album/3\xff.jpg", digest(3))}
    run = store.journal.start([task(1)], NOW)
    store.journal.note(store.journal.tasks(run)[0].id, TaskState.DONE, None, "", NOW + 9)
    assert store.journal.away_since(digests) == {digest(1): NOW + 9}


def test_decisions_are_given_and_taken(store: Store) -> None:
    """Oldest first; what is known stays as it is; a pair is one whichever way round, and a content may be its own."""
    low, high = sorted((digest(1), digest(2)))
    decided = [Decision(high, low, NOW + 2), Decision(low, low, NOW + 1)]
    assert store.decisions.put(decided) == 2
    assert store.decisions.listed() == [Decision(low, low, NOW + 1), Decision(low, high, NOW + 2)]
    assert store.decisions.put([Decision(low, high, NOW), Decision(high, high, NOW)]) == 1
    assert [decision.decided_at for decision in store.decisions.listed()] == [NOW, NOW + 1, NOW + 2]
    assert store.decisions.put([]) == 0


def test_images_by_their_paths(store: Store) -> None:
    """Those that are indexed and readable, by absolute path; the others are left out."""
    album = store.albums.listed()[0].id
    store.files.apply([indexed(album, b"a.jpg", 1), indexed(album, b"sub/\xff.jpg", 2)])
    paths = [ROOT + b"/a.jpg", ROOT + b"/sub/\xff.jpg", ROOT + b"/none.jpg", b"/elsewhere/a.jpg", ROOT]
    found = store.files.images_at(paths)
    assert {path: image.content.digest for path, image in found.items()} == {paths[0]: digest(1), paths[1]: digest(2)}
    assert all(image.path == path for path, image in found.items())
