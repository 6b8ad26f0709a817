"""Types of the JSON documents that commands print and the daemon does not send.

In: the types of `protocol.answers`.  Out: one `TypedDict` for each document.  Never here: what makes a document.

Imported for type checkers only, as `protocol.answers` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from cbir_daemon.protocol.answers import ResolveRun, TaskAction, TaskKind, TaskState, Trial, WirePath


class ResolvedFile(TypedDict):
    """A file in a plan, or in what a run did."""

    path: WirePath
    action: TaskAction
    state: TaskState
    kind: TaskKind
    keep: WirePath | None
    size: int
    why: str
    target: WirePath | None


class Resolved(TypedDict):
    """The document of `cbir resolve`: a plan, or the work of a run."""

    run: int | None
    saves: int
    tasks: list[ResolvedFile]


class Resolve(TypedDict):
    """Everything that `cbir resolve` may print: `Resolved`, or with `--list` the answer of `resolve_runs`."""

    run: NotRequired[int | None]
    saves: NotRequired[int]
    tasks: NotRequired[list[ResolvedFile]]
    runs: NotRequired[list[ResolveRun]]


class Reviewed(TypedDict):
    """How many groups `cbir review` planned, dismissed and skipped, and where the plan is."""

    planned: int
    dismissed: int
    skipped: int
    plan: WirePath | None


class MapWritten(TypedDict):
    """The file that `cbir map` wrote."""

    path: WirePath
    images: int
    shown: int
    groups: int
    size: int


class PageShown(TypedDict):
    """Where the page of `cbir page` is."""

    address: str


class Tried(Trial):
    """The document of `cbir model plot`: the hyper-parameters that were chosen, and all that were tried."""

    curve: list[Trial]


class Checked(TypedDict):
    """The findings of `cbir-daemon doctor`."""

    state: str
    findings: list[str]
    files: NotRequired[int]
    bytes: NotRequired[int]
    changed: NotRequired[int]


DOCUMENTS: Mapping[str, type] = {
    "cbir resolve": Resolve,
    "cbir review": Reviewed,
    "cbir map": MapWritten,
    "cbir page": PageShown,
    "cbir model plot": Tried,
    "cbir-daemon doctor": Checked,
}
"""Command -> type of what it prints with `--json`."""
