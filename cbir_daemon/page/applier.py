"""The child of the page that does what a plan says: a client of the daemon, with the code of `cbir resolve`.

In: decisions of a person.  Out: a plan with its count and bytes; files in the trash, and back again.  Never here: HTTP,
deleting, moving, linking: a plan of the page knows `keep` and `trash` only.

The page confines itself and may touch no file; this process is started before it does.  What the page may ask of it is
little: a plan is made here from paths, held against the index by the daemon, and done by its token.  The journal, the
checks of each file and the trash are those of `cbir resolve`.

Run as `python -m cbir_daemon.page.applier FD LIFELINE`.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cbir_daemon.client import Client
from cbir_daemon.errors import BadRequestError, CbirError, NotFoundError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.protocol.messages import Json, Params, path_from_json
from cbir_daemon.protocol.plan import KEEP, TRASH, Line, dumped
from cbir_daemon.protocol.tasks import task_from_json, task_to_json
from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.resolving import Runner
from cbir_daemon.system.child import Channel, serve

if TYPE_CHECKING:
    from cbir_daemon.protocol import answers

Entry = TypeVar("Entry")

KEPT_PLANS = 4
MOST_DECISIONS = 20_000
MOST_PATHS = 1_000
"""That the daemon is asked about at once."""

PAGE_TASKS = 500
"""In one frame: at most some 500 KB."""

WHY = "decided on the page"

SHOWN = ("path", "keep", "kind", "size", "state", "reason")
"""Fields of a task that a plan shows."""


class Applier:
    """Answers the page's messages.

    Parameters
    ----------
    sockets : sequence of Path
        Of the daemon; the first message has them.
    """

    def __init__(self, sockets: Sequence[Path] = ()) -> None:
        self._sockets = list(sockets)
        self._plans: OrderedDict[str, tuple[bytes, bool]] = OrderedDict()
        self._answers = {"plan": self._plan, "apply": self._apply, "undo": self._undo}

    def answer(self, frame: Frame, channel: Channel) -> None:
        """Answer one frame: `ok` once or more, the last one without `more`, or `error`.

        Parameters
        ----------
        frame : Frame
            Its message says what to `do`.
        channel : Channel
        """
        message = frame.message
        if message["do"] == "set-up":
            self._sockets = [Path(os.fsdecode(path_from_json(path))) for path in message["sockets"]]
            return
        if message["do"] not in self._answers:
            # To halt is asked between two files; here there is nothing to halt.
            return
        try:
            with Client(self._sockets) as client:
                held: Json | None = None
                for ok in self._answers[message["do"]](client, message, frame.blob, channel):
                    if held is not None:
                        channel.send({"ok": held, "more": True})
                    held = ok
                channel.send({"ok": held})
        except CbirError as error:
            channel.send({"error": _described(error)})

    # -- plans -------------------------------------------------------------------------------------------------------

    def _plan(self, client: Client, message: Json, blob: bytes, _: Channel) -> Iterator[Json]:
        """Make a plan, keep it under a token, and yield what it would do, in pages."""
        unlooked = Params(message).flag("unlooked")
        plan = dumped(_lines(client, _decisions(blob))).encode()
        tasks = client.resolve_check(plan, unlooked=unlooked)["tasks"]
        token = secrets.token_urlsafe(16)
        self._plans[token] = plan, unlooked
        while len(self._plans) > KEPT_PLANS:
            self._plans.popitem(last=False)
        going = [task for task in tasks if task["state"] == TaskState.PLANNED]
        counts = {
            "plan": token,
            "files": len(going),
            "saves": sum(task["size"] for task in going),
            "skipped": len(tasks) - len(going),
        }
        for page in _pieces(tasks, PAGE_TASKS) or [[]]:
            yield {**counts, "tasks": [{name: task[name] for name in SHOWN} for task in page]}  # type: ignore[literal-required]  # names of its fields

    # -- runs --------------------------------------------------------------------------------------------------------

    def _apply(self, client: Client, message: Json, _: bytes, channel: Channel) -> Iterator[Json]:
        token = Params(message).text("plan")
        if token not in self._plans:
            raise NotFoundError("this plan is not known any more", hint="have the plan shown again, then apply it")
        plan, unlooked = self._plans.pop(token)
        run = client.resolve_start(plan, unlooked=unlooked)["run"]
        counts = {"run": run, "done": 0, "skipped": 0, "saves": 0}
        for task in self._brought(client, run, None, TaskState.DONE, channel):
            is_done = task.state == TaskState.DONE
            counts["done" if is_done else "skipped"] += 1
            counts["saves"] += task.size_bytes if is_done else 0
            yield {"run": run, "task": task_to_json(task)}
        yield counts

    def _undo(self, client: Client, message: Json, _: bytes, channel: Channel) -> Iterator[Json]:
        params = Params(message)
        run = params.integer("run", 0)
        chosen = set(params.items("tasks", MOST_DECISIONS)) if "tasks" in message else None
        counts = {"run": run, "undone": 0, "left": 0}
        for task in self._brought(client, run, chosen, TaskState.UNDONE, channel):
            counts["undone" if task.state == TaskState.UNDONE else "left"] += 1
            yield {"run": run, "task": task_to_json(task)}
        yield counts

    def _brought(
        self, client: Client, run: int, chosen: set[int] | None, goal: TaskState, channel: Channel
    ) -> Iterator[ResolveTask]:
        """Do or undo the tasks of a run, or those that are chosen, until the page asks to halt."""

        def note(task: ResolveTask) -> None:
            target = None if task.target is None else bytes(task.target)
            client.resolve_note(task.id, task.state, target=target, reason=task.reason)

        runner = Runner(note)
        for fields in client.resolve_tasks(run)["tasks"]:
            if chosen is None or fields["task"] in chosen:
                if channel.has_received():
                    return
                yield runner.brought(task_from_json(fields), goal)


def _described(error: CbirError) -> Json:
    return {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}


def _decisions(blob: bytes) -> list[Mapping[str, list[bytes]]]:
    """Return the decisions in a body, each with the paths to keep and those to put into the trash."""
    read: Any = json.loads(blob)
    if not isinstance(read, list) or len(read) > MOST_DECISIONS:
        raise BadRequestError(f"parameter 'decisions' must be a list of at most {MOST_DECISIONS} entries")
    return [{action: _paths(decision, action) for action in (KEEP, TRASH)} for decision in read]


def _paths(decision: object, action: str) -> list[bytes]:
    if not isinstance(decision, dict) or not isinstance(decision.get(action), list):
        raise BadRequestError(f"each decision needs a list {action!r}")
    return [path_from_json(path, action) for path in decision[action]]


def _lines(client: Client, decisions: Sequence[Mapping[str, list[bytes]]]) -> Iterator[Line]:
    """Yield the lines of a plan; a path that is not indexed any more has none."""
    known = _known(client, (path for decision in decisions for paths in decision.values() for path in paths))
    for number, decision in enumerate(decisions, 1):
        for action, paths in decision.items():
            for image in (known[path] for path in paths if path in known):
                yield Line(
                    group=number,
                    action=action,
                    path=path_from_json(image["path"]),
                    digest=bytes.fromhex(image["digest"]),
                    size_bytes=image["size"],
                    mtime_ns=image["mtime_ns"],
                    why=WHY,
                )


def _known(client: Client, paths: Iterable[bytes]) -> dict[bytes, answers.IndexedImage]:
    asked = list(dict.fromkeys(paths))
    return {
        path_from_json(image["path"]): image
        for piece in _pieces(asked, MOST_PATHS)
        for image in client.images(paths=[os.fsdecode(path) for path in piece])["images"]
    }


def _pieces(entries: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


if __name__ == "__main__":
    serve(Applier().answer)
