"""The plan: one JSON line for each file, which a person reads and edits before anything is done.

In: text.  Out: lines, and text again.  Never here: files, what is a duplicate of what.

All lines with the same `group` belong together.  What a person may change: `action` (another one, also on the line of
the file that was to be kept), `to`, and which lines there are; a line taken out leaves its file alone.  The other
fields say what the file was when the plan was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cbir_daemon.errors import BadRequestError
from cbir_daemon.protocol.messages import path_from_json, path_to_json
from cbir_daemon.records import DIGEST_BYTES, TaskAction

KEEP = "keep"
TRASH = TaskAction.TRASH.value
MOVE = TaskAction.MOVE.value
HARD_LINK = TaskAction.HARD_LINK.value
CLONE = TaskAction.CLONE.value

LINKS = (HARD_LINK, CLONE)
"""The actions that make files of the same bytes share their room."""

ACTIONS = (TRASH, MOVE, *LINKS)
"""The actions on a file that is not kept."""

COMMENT = "#"


@dataclass(frozen=True, slots=True)
class Line:
    """The action on one file.

    Parameters
    ----------
    group : int
        Lines of one group show the same picture.
    action : str
        `KEEP` or one of `ACTIONS`.
    path : bytes
        Absolute.
    digest : bytes
        SHA-256 of the file when the plan was made.
    size_bytes, mtime_ns : int
        The file then.
    kind : str
        "exact" or "copy"; empty for the one that is kept.
    why : str
        For the reader.
    folder : bytes or None
        Where `move` puts the file; absolute.
    """

    group: int
    action: str
    path: bytes
    digest: bytes
    size_bytes: int
    mtime_ns: int
    kind: str = ""
    why: str = ""
    folder: bytes | None = None


def dumped(lines: Iterable[Line]) -> str:
    """Return the text of a plan."""
    return "".join(json.dumps(_to_json(line), ensure_ascii=False) + "\n" for line in lines)


def parsed(text: str) -> list[Line]:
    """Read a plan that somebody may have edited; empty lines and those that begin with # are passed over.

    Raises
    ------
    BadRequestError
        When a line cannot be read, or the lines do not go together; the message has the number of the line.
    """
    lines: list[Line] = []
    first_at: dict[bytes, int] = {}
    for number, row in enumerate(text.splitlines(), 1):
        if not row.strip() or row.lstrip().startswith(COMMENT):
            continue
        line = _line(row, number)
        if line.path in first_at:
            raise _fault(number, f"names the same file as line {first_at[line.path]}")
        first_at[line.path] = number
        lines.append(line)
    kept = {line.group for line in lines if line.action == KEEP}
    for line in lines:
        if line.group not in kept:
            raise _fault(first_at[line.path], f'group {line.group} has no line with "action": "{KEEP}"')
    return lines


def _to_json(line: Line) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "group": line.group,
        "action": line.action,
        "path": path_to_json(line.path),
        "kind": line.kind,
        "why": line.why,
        "size": line.size_bytes,
        "mtime_ns": line.mtime_ns,
        "digest": line.digest.hex(),
    }
    return fields if line.folder is None else {**fields, "to": path_to_json(line.folder)}


def _line(row: str, number: int) -> Line:
    try:
        read = json.loads(row)
        fields = dict(_fields(read))
        line = Line(**fields)
    # OverflowError: 1e999 is infinite.  RecursionError: a line of thousands of brackets.
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError, BadRequestError) as error:
        raise _fault(number, f"cannot be read ({type(error).__name__}: {error})") from error
    if line.action not in (KEEP, *ACTIONS):
        raise _fault(number, f"action {line.action!r} is none of {', '.join((KEEP, *ACTIONS))}")
    if not line.path.startswith(b"/") or len(line.digest) != DIGEST_BYTES:
        raise _fault(number, "the path is not absolute" if line.path[:1] != b"/" else "the digest is no SHA-256")
    if (line.action == MOVE) != (line.folder is not None):
        raise _fault(number, f'"to" names the folder for "action": "{MOVE}", and only for that')
    if line.folder is not None and not line.folder.startswith(b"/"):
        raise _fault(number, "the folder is not absolute")
    return line


def _fields(read: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "group", int(read["group"])
    yield "action", str(read["action"])
    yield "path", path_from_json(read["path"])
    yield "digest", bytes.fromhex(read["digest"])
    yield "size_bytes", int(read["size"])
    yield "mtime_ns", int(read["mtime_ns"])
    yield "kind", str(read.get("kind", ""))
    yield "why", str(read.get("why", ""))
    if "to" in read:
        yield "folder", path_from_json(read["to"], "to")


def _fault(number: int, what: str) -> BadRequestError:
    return BadRequestError(f"line {number} of the plan: {what}", hint="mend the line, or make the plan anew")
