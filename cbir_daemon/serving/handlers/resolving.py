"""Methods of the journal of what is done to duplicates: `resolve_*`.

The client moves and links files, and the daemon keeps the journal: see `cbir_daemon.resolving`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from cbir_daemon.duplicates import planned
from cbir_daemon.errors import BadRequestError, InUseError, NotFoundError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, when
from cbir_daemon.protocol.plan import Line, parsed
from cbir_daemon.protocol.tasks import task_to_json
from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, paged
from cbir_daemon.store import ResolveRun
from cbir_daemon.watching import walk


def resolve_start(rooms: Rooms, request: Request) -> Reply[answers.ResolveStarted]:
    """Write the tasks of a plan into the journal, those that may not be done as skipped, and return the id of the run.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Its blob is the plan: JSON in UTF-8, a file a line.  `unlooked` (flag): a copy may go, too, that the vectors
        alone call so.

    Raises
    ------
    InUseError
        When an earlier run is neither finished nor undone.
    BadRequestError
        When the plan cannot be read, changes nothing, or moves files to where an album would find them again.
    """
    for run in rooms.store.journal.runs():
        if run.is_open:
            raise InUseError(
                f"resolve {run.id} was not finished",
                hint=f"`cbir resolve --continue {run.id}` goes on, `cbir resolve --undo {run.id}` takes it back",
            )
    return Reply({"run": rooms.store.journal.start(_tasks_of(rooms, request), time.time())})


def resolve_check(rooms: Rooms, request: Request) -> Iterator[Reply[answers.ResolveChecked]]:
    """Return the tasks that `resolve_start` would write for a plan, in pages; nothing is written.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        As for `resolve_start`.

    Raises
    ------
    BadRequestError
        As `resolve_start`.
    """
    return paged(map(task_to_json, _tasks_of(rooms, request)), lambda page: {"tasks": page})


def _tasks_of(rooms: Rooms, request: Request) -> list[ResolveTask]:
    """Return the tasks of the plan in a request; those that are not allowed are skipped."""
    try:
        lines = parsed(request.blob.decode())
    except UnicodeDecodeError as error:
        raise BadRequestError("the plan is not UTF-8", hint="save it as UTF-8") from error
    _check_folders(rooms, lines)
    unlooked = Params(request.params).flag("unlooked")
    tasks = planned(lines, rooms.store, rooms.groups, unlooked=unlooked)
    if not tasks:
        raise BadRequestError("the plan changes nothing", hint='give a line "action": "trash"; "keep" changes nothing')
    return tasks


def _check_folders(rooms: Rooms, lines: Sequence[Line]) -> None:
    """Refuse to move files to where they would be found as duplicates again."""
    rules = walk.Filter(rooms.config.watch.exclude, ())
    roots = [album.path + b"/" for album in rooms.store.albums.listed()]
    for folder in {os.path.realpath(line.folder) + b"/" for line in lines if line.folder is not None}:
        for root in roots:
            if folder.startswith(root) and not rules.excludes(folder[len(root) :].rstrip(b"/")):
                raise BadRequestError(
                    f"{os.fsdecode(folder)}: lies in an album, where the files would be duplicates again",
                    hint="name a folder outside of every album, or a hidden one such as .duplicates",
                )


def resolve_note(rooms: Rooms, request: Request) -> Reply[answers.ResolveNoted]:
    """Write a task of the journal as it is from now on; when its file has changed, have its path looked at.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `task` (id).  `state` ("planned", "begun", "done", "skipped" or "undone").  `target` (path): where the file is
        once the task is done; without it the journal's stays.  `reason` (text): why the file was left alone.

    Raises
    ------
    NotFoundError
        When there is no such task.
    """
    params = Params(request.params)
    task_id, target, reason = params.integer("task", 0), params.maybe_path("target"), params.text("reason")
    state = params.choice("state", tuple(TaskState))
    if state is None:
        raise BadRequestError("parameter 'state' is missing")
    task = rooms.store.journal.note(task_id, TaskState(state), target, reason, time.time())
    if task is None:
        raise NotFoundError(f"there is no task {task_id}", hint="`cbir resolve --list` shows the runs")
    if task.state in (TaskState.DONE, TaskState.UNDONE):
        # The watch would notice, where there is one; asked for, it is also what `settle` waits for.
        rooms.ingest.request_scan(bytes(task.path))
    return Reply({"task": task_to_json(task)})


def resolve_tasks(rooms: Rooms, request: Request) -> Iterator[Reply[answers.ResolveTasks]]:
    """Return the tasks of a run, in the order of its plan and in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `run` (id).

    Raises
    ------
    NotFoundError
        When there is no such run.
    """
    run_id = Params(request.params).integer("run", 0)
    tasks = rooms.store.journal.tasks(run_id)
    if not tasks:
        raise NotFoundError(f"there is no run {run_id}", hint="`cbir resolve --list` shows the runs")
    return paged(map(task_to_json, tasks), lambda page: {"run": run_id, "tasks": page})


def resolve_runs(rooms: Rooms, request: Request) -> Iterator[Reply[answers.ResolveRuns]]:
    """Return every run, newest first, in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Has no parameters.
    """
    return paged(map(_run_to_json, rooms.store.journal.runs()), lambda page: {"runs": page})


def _run_to_json(run: ResolveRun) -> answers.ResolveRun:
    return {
        "run": run.id,
        "started_at": when(run.started_at),
        "open": run.is_open,
        "planned": run.states.get(TaskState.PLANNED, 0),
        "begun": run.states.get(TaskState.BEGUN, 0),
        "done": run.states.get(TaskState.DONE, 0),
        "skipped": run.states.get(TaskState.SKIPPED, 0),
        "undone": run.states.get(TaskState.UNDONE, 0),
    }
