"""Methods about copies inside the albums: `duplicates`, `dismiss`, `undismiss`, `decisions*`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from cbir_daemon.duplicates import Group, Member
from cbir_daemon.errors import BadRequestError, NotFoundError
from cbir_daemon.kinds import Kind, kinds_that
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, path_to_json, when
from cbir_daemon.records import DIGEST_BYTES
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, paged
from cbir_daemon.store import Content, Decision


def duplicates(rooms: Rooms, request: Request) -> Iterator[Reply[answers.Duplicates]]:
    """Return groups of images that show the same, each with the one to keep, in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `kind` ("exact", "copy" or "shot"): only these groups; without it exact and copy.  `album` (path): only groups
        with an image below that folder.  `across` (flag): only groups with images of more than one album.  `unlooked`
        (flag): copies may go, too, that the vectors alone call so.
    """
    params = Params(request.params)
    kind = params.choice("kind", kinds_that(lambda facts: facts.is_grouped))
    below, across, unlooked = params.maybe_path("album"), params.flag("across"), params.flag("unlooked")
    clock = rooms.store.clock
    groups = rooms.groups.found(None if kind is None else Kind(kind), below, across=across, unlooked=unlooked)
    # A file may be in a group of each kind, and wins its space once.
    spare = {
        member.image.path: member.image.content.size_bytes
        for group in groups
        for member in group.members
        if not member.keep
    }
    saves = sum(spare.values())
    return paged(map(_group_to_json, groups), lambda page: {"clock": clock, "saves": saves, "groups": page})


def _group_to_json(group: Group) -> answers.Group:
    return {
        "kind": group.kind.value,
        "look": None if group.look is None else group.look.value,
        "saves": group.saves_bytes,
        "images": [_member_to_json(member) for member in group.members],
    }


def _member_to_json(member: Member) -> answers.GroupImage:
    image, content = member.image, member.image.content
    return {
        "path": path_to_json(image.path),
        "width": content.width_px,
        "height": content.height_px,
        "size": content.size_bytes,
        "keep": member.keep,
        "why": member.why,
        "score": round(member.score, 4),
        "format": content.format,
        "taken": content.taken or None,
        "mtime_ns": image.state.mtime_ns,
        "digest": content.digest.hex(),
        "names": [path_to_json(path) for path in member.names],
    }


def dismiss(rooms: Rooms, request: Request) -> Reply[answers.Changed]:
    """Write that two images are no duplicates; for two files of the same bytes, that all files of these bytes stay.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `first`, `other` (paths): two indexed files, links followed.

    Raises
    ------
    NotFoundError
        When one of them is not indexed.
    BadRequestError
        When both are the same path.
    """
    first, second = _two_contents(rooms, request)
    return Reply({"changed": rooms.store.decisions.dismiss(first.digest, second.digest, time.time())})


def undismiss(rooms: Rooms, request: Request) -> Reply[answers.Changed]:
    """Delete the decision that two images are no duplicates.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `first`, `other` (paths): two indexed files, links followed.

    Raises
    ------
    NotFoundError
        When one of them is not indexed.
    BadRequestError
        When both are the same path.
    """
    first, second = _two_contents(rooms, request)
    return Reply({"changed": rooms.store.decisions.undismiss(first.digest, second.digest)})


def decisions(rooms: Rooms, request: Request) -> Iterator[Reply[answers.Decisions]]:
    """Return what was dismissed, oldest first, with the files that have these contents now, in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Has no parameters.
    """
    decided = rooms.store.decisions.listed()
    digests = {digest for decision in decided for digest in (decision.digest, decision.other_digest)}
    found = {digest: rooms.store.contents.by_digest(digest) for digest in digests}
    images = rooms.store.files.images([content.id for content in found.values() if content is not None])
    paths: dict[bytes, list[bytes]] = {}
    for image in images:
        paths.setdefault(image.content.digest, []).append(image.path)
    rows = (_decision_to_json(decision, paths) for decision in decided)
    return paged(rows, lambda page: {"decisions": page})


def _decision_to_json(decision: Decision, paths: Mapping[bytes, Sequence[bytes]]) -> answers.Decision:
    return {
        "digest": decision.digest.hex(),
        "other_digest": decision.other_digest.hex(),
        "decided_at": when(decision.decided_at),
        "paths": [path_to_json(path) for path in paths.get(decision.digest, ())],
        "other_paths": [path_to_json(path) for path in paths.get(decision.other_digest, ())],
    }


def decisions_import(rooms: Rooms, request: Request) -> Reply[answers.DecisionsImported]:
    """Write the decisions that are not known yet; those that are known stay as they are.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Its blob is JSON, a decision a line, as `cbir decisions list --json` prints them; empty lines are passed over.

    Raises
    ------
    BadRequestError
        When a line cannot be read; nothing is written then.
    """
    lines = [line for line in request.blob.split(b"\n") if line.strip()]
    decided = [_decision_from(line, number) for number, line in enumerate(lines, 1)]
    return Reply({"read": len(decided), "added": rooms.store.decisions.put(decided)})


def _decision_from(line: bytes, number: int) -> Decision:
    try:
        read = json.loads(line)
        digests = [bytes.fromhex(read[name]) for name in ("digest", "other_digest")]
        decided_at = datetime.fromisoformat(read["decided_at"]).timestamp()
    except (ValueError, TypeError, KeyError) as error:
        raise BadRequestError(
            f"decision {number} cannot be read ({type(error).__name__}: {error})",
            hint="each line is a document as `cbir decisions list --json` prints them",
        ) from error
    if any(len(digest) != DIGEST_BYTES for digest in digests):
        raise BadRequestError(f"decision {number}: a digest is no SHA-256", hint="64 hexadecimal digits")
    return Decision(min(digests), max(digests), decided_at)


def _two_contents(rooms: Rooms, request: Request) -> tuple[Content, Content]:
    params = Params(request.params)
    paths = [params.path(name) for name in ("first", "other")]
    first, second = (_content_at(rooms, path) for path in paths)
    if paths[0] == paths[1]:
        raise BadRequestError("the same file is named twice", hint="a decision is about two files")
    return first, second


def _content_at(rooms: Rooms, path: bytes) -> Content:
    content = rooms.store.contents.at_path(path) or rooms.store.contents.at_path(os.path.realpath(path))
    if content is None:
        raise NotFoundError(f"{os.fsdecode(path)}: is not indexed", hint="name two images of your albums")
    return content
