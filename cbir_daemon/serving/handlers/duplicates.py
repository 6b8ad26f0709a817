"""Methods about copies inside the albums: `duplicates`, `align`, `dismiss*`, `undismiss`, `decisions*`."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from cbir_daemon.comparison import Overlap, Transform
from cbir_daemon.duplicates import Group, Member
from cbir_daemon.duplicates.laying import laid
from cbir_daemon.errors import BadRequestError, NotFoundError
from cbir_daemon.kinds import Kind, facts_of, kinds_that
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, digest_from_json, path_from_json, path_to_json, when
from cbir_daemon.records import DIGEST_BYTES, IMAGE
from cbir_daemon.serving.handlers.part_queries import summary_of
from cbir_daemon.serving.handlers.pictures import content_of
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, paged
from cbir_daemon.serving.handlers.sites import SHARED, site_groups
from cbir_daemon.serving.queue import ORDERS, FolderPair, Selection
from cbir_daemon.store import Content, Decision
from cbir_daemon.wording import origins

MOST_GROUPS = 200
"""In one answer: more than a screen shows, and less than a message may hold."""

MOST_PAIRS = 5_000
"""That are dismissed by one request: 700 KB of it."""

FOLDERS_OF_A_PAIR = PAIR_LENGTH = 2
ID_DIGITS = 16
DAY = re.compile(r"(\d{4}(-\d\d(-\d\d)?)?)?")


def duplicates(rooms: Rooms, request: Request) -> Iterator[Reply[answers.Duplicates]]:
    """Return groups of images that show the same, each with the one to keep: all of them in pages, or some of them.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `kind` ("exact", "copy" or "shot"): only these groups; without it exact and copy.  `album` (path): only groups
        with an image below that folder.  `across` (flag): only groups with images of more than one album.  `unlooked`
        (flag): copies may go, too, that the vectors alone call so.  `folders` (two paths): only groups with an image in
        each.  `min_score`, `max_score` (0 to 1): of the least alike image.  `since`, `until` (dates).  `order`,
        `reverse` (flag): as `Selection`.  `offset`, `limit`: with a limit one answer, of so many groups.  `at` (clock):
        of the list that is gone through.  `sites` (flag): instead of these the images of which other sites have copies;
        only `kind` limits them.
    """
    params = Params(request.params)
    if params.flag("sites"):
        return _across_sites(rooms, _selection(params).kind)
    offset, limit = params.integer("offset", 0), params.integer("limit", 0, most=MOST_GROUPS)
    listed = rooms.queue.listed(_selection(params), params.integer("at", 0) or None)
    whole: answers.Duplicates = {
        "clock": listed.clock,
        "saves": listed.spare.saves_bytes,
        "total": len(listed.groups),
        "files": listed.spare.files,
        "groups": [],
    }
    shown = partial(_group_to_json, rooms)
    if not limit:
        return paged(map(shown, listed.groups[offset:]), lambda page: {**whole, "groups": page})
    if not offset:
        whole["folder_pairs"] = list(map(_folder_pair_to_json, listed.folder_pairs))
    groups = [shown(group) for group in listed.groups[offset : offset + limit]]
    return iter([Reply({**whole, "groups": groups})])


def _across_sites(rooms: Rooms, kind: Kind | None) -> Iterator[Reply[answers.Duplicates]]:
    groups, is_partial = site_groups(rooms, kind)
    whole: answers.Duplicates = {
        "clock": rooms.store.clock,
        "saves": 0,
        "total": len(groups),
        "files": 0,
        "groups": [],
    }
    if is_partial:
        whole["partial"] = [SHARED]
    return paged(groups, lambda page: {**whole, "groups": page})


def _selection(params: Params) -> Selection:
    kind = params.choice("kind", kinds_that(lambda facts: facts.is_grouped))
    folders = tuple(path_from_json(folder, "folders") for folder in params.items("folders", FOLDERS_OF_A_PAIR))
    if len(folders) == 1:
        raise BadRequestError("parameter 'folders' must be a list of two paths")
    since, until = (params.text(name) for name in ("since", "until"))
    for name, day in (("since", since), ("until", until)):
        if not DAY.fullmatch(day):
            raise BadRequestError(f"parameter {name!r} must be a date such as 2026-01-31, or its beginning")
    return Selection(
        kind=None if kind is None else Kind(kind),
        below=params.maybe_path("album"),
        across=params.flag("across"),
        unlooked=params.flag("unlooked"),
        folders=folders,
        min_score=params.number("min_score", 0.0, least=0.0, most=1.0),
        max_score=params.number("max_score", 1.0, least=0.0, most=1.0),
        since=since,
        until=until,
        order=params.choice("order", tuple(ORDERS)) or next(iter(ORDERS)),
        is_reversed=params.flag("reverse"),
    )


def _folder_pair_to_json(pair: FolderPair) -> answers.FolderPair:
    return {"folders": list(map(path_to_json, pair.folders)), "groups": pair.groups, "saves": pair.saves_bytes}


def _group_to_json(rooms: Rooms, group: Group) -> answers.Group:
    kept = group.members[0].image.content
    return {
        "id": f"{group.kind}-{kept.digest.hex()[:ID_DIGITS]}",
        "kind": group.kind.value,
        "look": None if group.look is None else group.look.value,
        "saves": group.saves_bytes,
        "images": [_member_to_json(rooms, group, member) for member in group.members],
    }


def _member_to_json(rooms: Rooms, group: Group, member: Member) -> answers.GroupImage:
    image, content, copied = member.image, member.image.content, member.copied
    done = None if copied is None else copied.transform
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
        "done": _edits(group, member),
        "transform": None
        if done is None
        else {"flip": done.flip, "turn": done.turn, "angle": done.angle, "invert": done.invert},
        "overlap": None if copied is None else {"kept": round(copied.own_area, 3), "copy": round(copied.area, 3)},
        "medium": content.medium,
        "summary": summary_of(rooms, content),
    }


def _edits(group: Group, member: Member) -> str:
    """Return in words what was done to the image that is kept to get a copy; empty where nothing is known of it."""
    copied, kept = member.copied, group.members[0].image.content
    if copied is None or not facts_of(group.kind).shows_same_exposure:
        return ""
    if copied.done:
        return copied.done
    pixels = [content.width_px * content.height_px for content in (member.image.content, kept)]
    edit = origins.Edit(
        kind=group.kind,
        transform=copied.transform or Transform(),
        overlap=Overlap(query=copied.area, match=copied.own_area),
        scale=(pixels[0] / pixels[1]) ** 0.5 if all(pixels) else 0.0,
    )
    return origins.edits(edit)


def align(rooms: Rooms, request: Request) -> Reply[answers.Aligned]:
    """Return how a copy lies on the image that it is a copy of.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `keep`, `copy` (digests) of two contents.

    Raises
    ------
    BadRequestError
        When one of them is no image.
    NotFoundError
        When no content has one of these digests.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.
    """
    params = Params(request.params)
    kept, copy = (content_of(rooms, digest) for digest in [params.digest(name) for name in ("keep", "copy")])
    if {kept.medium, copy.medium} != {IMAGE}:
        raise BadRequestError(
            "only images can be laid on each other", hint="`cbir duplicates` says what a copy has in common"
        )
    found = laid(rooms.store, rooms.pool, rooms.searcher, kept, copy)
    numbers = None if found.homography is None else [round(float(number), 7) for number in found.homography.flat]
    return Reply(
        {
            "matrix": numbers,
            "look": found.look.value,
            "invert": found.invert,
            "gain": found.tone.gain,
            "offset": found.tone.offset,
            "score": round(found.score, 4),
        }
    )


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


def dismiss_all(rooms: Rooms, request: Request) -> Reply[answers.ChangedAll]:
    """Write, or with `undo` delete, that pairs of contents are no duplicates; of one with itself, that its files stay.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `pairs` (list of two digests each).  `undo` (flag).
    """
    params = Params(request.params)
    undo = params.flag("undo")
    pairs = [_two_digests(pair) for pair in params.items("pairs", MOST_PAIRS)]
    decided = [Decision(first, second, time.time()) for first, second in pairs]
    change = rooms.store.decisions.remove if undo else rooms.store.decisions.put
    return Reply({"changed": change(decided)})


def _two_digests(pair: object) -> list[bytes]:
    if not isinstance(pair, list) or len(pair) != PAIR_LENGTH:
        raise BadRequestError("parameter 'pairs' must be a list of two digests each")
    return sorted(digest_from_json(digest, "pairs") for digest in pair)


def decisions(rooms: Rooms, request: Request) -> Iterator[Reply[answers.Decisions]]:
    """Return the dismissed pairs, oldest first, with the files that have these contents now, in pages.

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
