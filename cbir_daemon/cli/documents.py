"""What commands print as JSON when it is no answer of the daemon: one type for each document.

In: the types of `protocol.answers`.  Out: `TypedDict`s.  Never here: what makes a document.

Imported for type checkers only, as `protocol.answers` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from cbir_daemon.protocol.answers import Candidate, ResolveRun, TaskAction, TaskKind, TaskState, WirePath


class ResolvedFile(TypedDict):
    """A file of a plan or of a run."""

    path: WirePath
    action: TaskAction
    state: TaskState
    kind: TaskKind
    keep: WirePath | None
    size: int
    why: str
    target: WirePath | None


class Resolved(TypedDict):
    """A plan, or what a run did, of `cbir resolve`."""

    run: int | None
    saves: int
    tasks: list[ResolvedFile]


class Resolve(TypedDict):
    """All that `cbir resolve` may print: `Resolved`, or with `--list` the answer of `resolve_runs`."""

    run: NotRequired[int | None]
    saves: NotRequired[int]
    tasks: NotRequired[list[ResolvedFile]]
    runs: NotRequired[list[ResolveRun]]


class Reviewed(TypedDict):
    """What came of `cbir review`."""

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


class Tried(Candidate):
    """The choice of a fit and all that was tried, of `cbir model plot`."""

    curve: list[Candidate]


class Checked(TypedDict):
    """What `cbir-daemon doctor` found."""

    state: str
    findings: list[str]


DOCUMENTS: Mapping[str, type] = {
    "cbir resolve": Resolve,
    "cbir review": Reviewed,
    "cbir map": MapWritten,
    "cbir model plot": Tried,
    "cbir-daemon doctor": Checked,
}
"""Command -> type of what it prints with `--json`."""
