"""Hold a plan, which somebody may have edited, against the index: what of it may be done, and why the rest may not.

In: lines of a plan.  Out: tasks for the journal.  Never here: making plans, touching files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cbir_daemon.comparison import LookedAt
from cbir_daemon.duplicates.groups import Groups
from cbir_daemon.kinds import Kind, duplicate_kind, facts_of
from cbir_daemon.protocol.plan import KEEP, LINKS, Line
from cbir_daemon.records import ResolveTask, TaskState
from cbir_daemon.store import Image, Store


def planned(lines: Sequence[Line], store: Store, groups: Groups, *, unlooked: bool = False) -> list[ResolveTask]:
    """Return a task for each file of a plan that is not kept; those that may not be touched are skipped already.

    Parameters
    ----------
    lines : sequence of Line
    store : Store
    groups : Groups
        Knows what is protected.
    unlooked : bool
        Whether a copy may go, too, that the vectors alone call so.
    """
    images = store.files.images_at([line.path for line in lines])
    kept: dict[int, list[Image]] = {}
    for line in lines:
        if line.action == KEEP and line.path in images:
            kept.setdefault(line.group, []).append(images[line.path])
    planner = _Planner(store, groups, unlooked=unlooked)
    return [planner.task(line, images, kept.get(line.group, ())) for line in lines if line.action != KEEP]


class _Planner:
    """Makes the task of one line after the other."""

    def __init__(self, store: Store, groups: Groups, *, unlooked: bool) -> None:
        self._store = store
        self._unlooked = unlooked
        self._folders = groups.folders
        self._twins = store.decisions.dismissed_twins()
        self._copies: dict[int, dict[int, LookedAt]] = {}

    def task(self, line: Line, images: Mapping[bytes, Image], kept: Iterable[Image]) -> ResolveTask:
        image = images.get(line.path)
        keeper = None if image is None else self._keeper(image, kept)
        reason = self._objection(line, image, keeper)
        kind = "" if image is None or keeper is None else _kind(image, keeper)
        return ResolveTask(
            action=line.action,
            kind=kind,
            path=_path(line.path),
            keep=None if keeper is None else _path(keeper.path),
            digest=line.digest,
            keep_digest=b"" if keeper is None else keeper.content.digest,
            size_bytes=line.size_bytes,
            mtime_ns=line.mtime_ns,
            folder=None if line.folder is None else _path(line.folder),
            state=TaskState.SKIPPED if reason else TaskState.PLANNED,
            reason=reason,
        )

    def _keeper(self, image: Image, kept: Iterable[Image]) -> Image | None:
        """Return the image that stays in the place of this one: of the same bytes, or else a verified copy."""
        kept = list(kept)
        same = (candidate for candidate in kept if candidate.content.id == image.content.id)
        copies = (candidate for candidate in kept if candidate.content.id in self._copies_of(image.content.id))
        return next(same, None) or next(copies, None)

    def _copies_of(self, content_id: int) -> dict[int, LookedAt]:
        """Return the contents that a content is a copy of, each with what tells so."""
        if content_id not in self._copies:
            pairs = self._store.pairs.listed(content_id)
            self._copies[content_id] = {
                pair.content_id + pair.other_id - content_id: pair.look for pair in pairs if facts_of(pair.kind).may_go
            }
        return self._copies[content_id]

    def _is_unlooked(self, image: Image, keeper: Image) -> bool:
        look = self._copies_of(image.content.id).get(keeper.content.id)
        return image.content.id != keeper.content.id and look is not LookedAt.FILES

    def _objection(self, line: Line, image: Image | None, keeper: Image | None) -> str:
        """Say why the file may not be touched; empty when it may."""
        if image is None:
            return "is not indexed"
        if image.content.digest != line.digest:
            return "has other bytes in the index than in the plan"
        if image.missing:
            return "stays: its album is missing at the moment"
        if self._folders.is_protected(line.path):
            return "stays: it lies in a protected folder"
        if keeper is None:
            return "stays: it is no copy of what its group keeps"
        if not self._unlooked and self._is_unlooked(image, keeper):
            return "stays: only the stored vectors call it a copy (--unlooked does it nevertheless)"
        if keeper.content.id == image.content.id and image.content.digest in self._twins:
            return "stays: all files with these bytes are wanted"
        if line.action in LINKS and keeper.content.id != image.content.id:
            return f"stays: only files of the same bytes can share them ({line.action})"
        return ""


def _kind(image: Image, keeper: Image) -> Kind:
    return duplicate_kind(same_bytes=image.content.id == keeper.content.id)


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))
