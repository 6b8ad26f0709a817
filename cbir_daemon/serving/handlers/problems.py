"""The problems of the daemon and its albums, worst first, from every room that reports problems.

In: the rooms.  Out: `Problem`s.  Never here: mending anything; how they are shown.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

from cbir_daemon.records import IMAGE, FitOutcome, Heals, Problem, TaskState, reasons_healed_by
from cbir_daemon.serving.handlers.rooms import Rooms
from cbir_daemon.system import heartbeat
from cbir_daemon.wording.counting import clause, counted

LEAST_FREE_BYTES = 256 * 1024 * 1024
"""A fit of 100 000 images writes 100 MB beside the old one, and SQLite needs room for its log."""

BROKEN_OFF_S = 60.0
"""A resolve that has noted nothing for so long is no longer under way: a large file may take some seconds."""

MIB = 1024 * 1024


def problems(rooms: Rooms, least_free_bytes: int = LEAST_FREE_BYTES) -> list[Problem]:
    """Return the problems of now, worst first; none when all is well.

    Parameters
    ----------
    rooms : Rooms
    least_free_bytes : int
        What must be free on the disk of the state.
    """
    return [
        *_threads(time.monotonic()),
        *_disk(rooms, least_free_bytes),
        *rooms.albums.problems(),
        *rooms.processes.problems(),
        *rooms.outbox.problems(),
        *([] if rooms.shared is None else rooms.shared.publisher.problems()),
        *rooms.features.problems(),
        *rooms.meaning.problems(),
        *_resolves(rooms, time.time()),
        *_map(rooms),
        *_files(rooms),
    ]


def _threads(now: float) -> Iterator[Problem]:
    for thread in heartbeat.all_now():
        if thread.trouble:
            yield Problem(
                f"thread {thread.name} failed and tries again: {thread.trouble}", "remove that cause; the index is safe"
            )
        elif thread.due < now and thread.waits_for:
            since_s = now - thread.due + heartbeat.STALLED_S
            yield Problem(
                f"thread {thread.name} has waited {since_s:.0f} s for {thread.waits_for}",
                "check that disk or server (dmesg, mount); the daemon goes on when it answers",
            )
        elif thread.due < now:
            yield Problem(f"thread {thread.name} hangs", "restart the daemon, and report its log")


def _disk(rooms: Rooms, least_free_bytes: int) -> Iterator[Problem]:
    free_bytes = shutil.disk_usage(rooms.config.state_dir).free
    if free_bytes < least_free_bytes:
        yield Problem(
            f"the disk of {rooms.config.state_dir} is nearly full: {free_bytes // MIB} MiB free",
            f"free at least {least_free_bytes // MIB} MiB there; the index is safe",
        )


def _resolves(rooms: Rooms, now: float) -> Iterator[Problem]:
    for run in rooms.store.journal.runs():
        if run.is_open and now - run.changed_at > BROKEN_OFF_S:
            undone = run.states.get(TaskState.PLANNED, 0) + run.states.get(TaskState.BEGUN, 0)
            yield Problem(
                f"resolve {run.id} was broken off; {counted(undone, 'file')} to go",
                f"`cbir resolve --continue {run.id}` goes on, `cbir resolve --undo {run.id}` takes it back;"
                " no other resolve starts before",
            )


def _map(rooms: Rooms) -> Iterator[Problem]:
    for each in rooms.maps:
        medium = each.medium
        ended = [
            run for run in rooms.store.runs.listed(medium) if run.outcome in (FitOutcome.ACTIVE, FitOutcome.FAILED)
        ]
        option, of_medium = ("", "") if medium == IMAGE else (f" --medium {medium}", f" of medium {medium}")
        if ended and ended[0].outcome == FitOutcome.FAILED and each.refit.state is None:
            yield Problem(
                f"the last fit of the map{of_medium} failed: {ended[0].message}",
                f"the daemon tries again; `cbir model fit{option}` tries now, `cbir model history{option}` lists all"
                " fits",
            )
        if each.projection.failing:
            yield Problem(
                f"new {'images' if medium == IMAGE else 'files'} are not placed on the map{of_medium}:"
                f" {each.projection.failing}",
                "the daemon tries again; queries go on, without `similar` for those images",
            )


def _files(rooms: Rooms) -> Iterator[Problem]:
    reasons = rooms.store.files.error_counts()
    waiting = sum(reasons.pop(code, 0) for code in reasons_healed_by(Heals.EXTRA))
    if waiting:
        yield _needs_extra(rooms, waiting)
    if reasons:
        most = ", ".join(
            f"{count} {code}" for code, count in sorted(reasons.items(), key=lambda counted: (-counted[1], counted[0]))
        )
        total = sum(reasons.values())
        yield Problem(
            f"{counted(total, 'file')} could not be read: {most}",
            "`cbir errors` lists them, with reasons",
        )


def _needs_extra(rooms: Rooms, waiting: int) -> Problem:
    messages = [rooms.store.files.error_messages(code) for code in reasons_healed_by(Heals.EXTRA)]
    extras = ",".join(rooms.pool.readers.needed_extras([message for counted in messages for message in counted]))
    if not extras:
        return Problem(
            f"{_files_need(waiting)} an extra that was installed after the daemon's start",
            "restart the daemon; it reads them then",
        )
    return Problem(
        f"{_files_need(waiting)} an extra that is not installed: {extras}",
        f"pip install 'cbir-daemon[{extras}]', then restart the daemon; it reads them then",
    )


def _files_need(count: int) -> str:
    return clause(count, "file", "needs", "need")
