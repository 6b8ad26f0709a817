"""Go through the tasks of a run, one after the other: look, note, act, note.

In: tasks, and where to note them.  Out: files acted upon, each noted before and after.  Never here: the journal itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cbir_daemon.protocol.plan import LINKS
from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.resolving import linking, moving
from cbir_daemon.resolving.tasks import Digests, SkipError, check

Note = Callable[[ResolveTask], None]
"""Writes a task's state, target and reason into the journal; returns when they are there."""

TRIES = 10
"""Names that are tried when another program takes them first."""


class Runner:
    """Does and undoes tasks.

    Parameters
    ----------
    note : callable
        Writes a task, as it is from now on, into the journal.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._digests = Digests()

    def brought(self, task: ResolveTask, goal: TaskState) -> ResolveTask:
        """Bring a task where a person wants it: do what is unfinished, or undo what is done or begun.

        Parameters
        ----------
        task : ResolveTask
        goal : TaskState
            `DONE` or `UNDONE`.

        Returns
        -------
        ResolveTask
            As it is now.
        """
        is_unfinished = task.state in (TaskState.PLANNED, TaskState.BEGUN)
        if goal == TaskState.UNDONE and (is_unfinished or task.state == TaskState.DONE):
            return self.undo(task)
        return self.do(task) if is_unfinished else task

    def do(self, task: ResolveTask) -> ResolveTask:
        """Do a task that is planned, or continue one that was begun.

        Returns
        -------
        ResolveTask
            As it is now: done, or skipped with a reason.
        """
        try:
            if task.state == TaskState.BEGUN and self._is_done(task):
                return self._noted(replace(task, state=TaskState.DONE))
            check(task, self._digests)
            task = self._act(task)
        except SkipError as error:
            return self._noted(replace(task, state=TaskState.SKIPPED), error.message)
        except OSError as error:
            reason = f"stays: {(error.strerror or str(error)).lower()}"
            return self._noted(replace(task, state=TaskState.SKIPPED), reason)
        return self._noted(replace(task, state=TaskState.DONE))

    def undo(self, task: ResolveTask) -> ResolveTask:
        """Take a task back, whatever state it is in.

        Returns
        -------
        ResolveTask
            As it is now: undone; skipped when it was never begun; or as it was, with the reason why it could not be
            taken back.
        """
        try:
            if task.state in (TaskState.DONE, TaskState.BEGUN):
                self._take_back(task)
                return self._noted(replace(task, state=TaskState.UNDONE))
        except SkipError as error:
            return self._noted(task, error.message)
        except OSError as error:
            return self._noted(task, f"could not be put back: {(error.strerror or str(error)).lower()}")
        if task.state == TaskState.PLANNED:
            return self._noted(replace(task, state=TaskState.SKIPPED), "was never begun")
        return task

    def _is_done(self, task: ResolveTask) -> bool:
        return linking.is_linked(task) if task.action in LINKS else moving.is_away(task, self._digests)

    def _act(self, task: ResolveTask) -> ResolveTask:
        """Note where the file will be, then put it there."""
        room = linking if task.action in LINKS else moving
        act = linking.link if task.action in LINKS else moving.put_away
        for _ in range(TRIES):
            place = room.place_for(task)
            task = replace(task, state=TaskState.BEGUN, reason="", target=place)
            self._note(task)
            try:
                act(task, place)
            except FileExistsError:
                continue
            return task
        raise SkipError("stays: every new name for it was taken")

    def _take_back(self, task: ResolveTask) -> None:
        if task.action in LINKS:
            linking.unlink(task, self._digests)
        else:
            moving.put_back(task, self._digests)

    def _noted(self, task: ResolveTask, reason: str = "") -> ResolveTask:
        task = replace(task, reason=reason)
        self._note(task)
        return task
