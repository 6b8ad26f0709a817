"""A task of `cbir resolve` on the wire.

In: the record.  Out: its fields as the methods `resolve_*` have them, and the record again.  Never here: files, the
journal.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cbir_daemon.protocol.messages import path_from_json, path_to_json
from cbir_daemon.records import ResolveTask, TaskState

if TYPE_CHECKING:
    from cbir_daemon.protocol import answers


def task_to_json(task: ResolveTask) -> answers.ResolveTask:
    """Return the fields of a task."""
    return {
        "task": task.id,
        "action": task.action,
        "kind": task.kind,
        "path": path_to_json(bytes(task.path)),
        "keep": maybe_path_to_json(task.keep),
        "digest": task.digest.hex(),
        "keep_digest": task.keep_digest.hex(),
        "size": task.size_bytes,
        "mtime_ns": task.mtime_ns,
        "to": maybe_path_to_json(task.folder),
        "state": task.state.value,
        "target": maybe_path_to_json(task.target),
        "reason": task.reason,
    }


def task_from_json(fields: answers.ResolveTask) -> ResolveTask:
    """Return the task that has these fields.

    Raises
    ------
    KeyError, ValueError
        When a field is missing or has another form, as those of a daemon of another protocol.
    BadRequestError
        When a path is none.
    """
    return ResolveTask(
        action=fields["action"],
        kind=fields["kind"],
        path=_path(fields["path"]),
        keep=_maybe_path(fields["keep"]),
        digest=bytes.fromhex(fields["digest"]),
        keep_digest=bytes.fromhex(fields["keep_digest"]),
        size_bytes=fields["size"],
        mtime_ns=fields["mtime_ns"],
        folder=_maybe_path(fields["to"]),
        state=TaskState(fields["state"]),
        reason=fields["reason"],
        target=_maybe_path(fields["target"]),
        id=fields["task"],
    )


def maybe_path_to_json(path: Path | None) -> answers.WirePath | None:
    """Return a path as it travels, or None for none."""
    return None if path is None else path_to_json(bytes(path))


def _path(value: answers.WirePath) -> Path:
    return Path(os.fsdecode(path_from_json(value)))


def _maybe_path(value: answers.WirePath | None) -> Path | None:
    return None if value is None else _path(value)
