"""Methods about copies inside the albums: `duplicates`, `dismiss`, `undismiss`, `alerts`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from cbir_daemon.duplicates import Group, copy_groups, exact_groups
from cbir_daemon.errors import BadRequestError, NotFoundError, UnavailableError
from cbir_daemon.handlers.rooms import Reply, Rooms, paged, when
from cbir_daemon.protocol.messages import Json, Params, Request, path_to_json
from cbir_daemon.records import Kind
from cbir_daemon.store import AlertRecord, Content, Image

FOLLOW_POLL_S = 60.0
ALERTS_PAGE = 200


def duplicates(rooms: Rooms, request: Request) -> Iterator[Reply]:
    """Return groups of images that show the same, each with the one to keep."""
    params = Params(request.params)
    kind = params.choice("kind", (Kind.EXACT.value, Kind.COPY.value))
    below = params.maybe_path("album")
    clock = rooms.store.clock
    groups = _exact_groups(rooms) if kind != Kind.COPY else []
    groups += _copy_groups(rooms) if kind != Kind.EXACT else []
    if below is not None:
        groups = [group for group in groups if any(_lies_in(member.image, below) for member in group.members)]
    return paged("groups", (_group_to_json(group) for group in groups), clock=clock)


def _exact_groups(rooms: Rooms) -> list[Group]:
    return exact_groups(rooms.store.images(rooms.store.repeated_contents()))


def _copy_groups(rooms: Rooms) -> list[Group]:
    pairs = rooms.store.pairs()
    by_content: dict[int, list[Image]] = {}
    for image in rooms.store.images(sorted({one for pair in pairs for one in (pair.content_id, pair.other_id)})):
        by_content.setdefault(image.content.id, []).append(image)
    return copy_groups(pairs, by_content)


def _lies_in(image: Image, folder: bytes) -> bool:
    return image.path.startswith(folder.rstrip(b"/") + b"/")


def _group_to_json(group: Group) -> Json:
    return {
        "kind": group.kind.value,
        "images": [
            {
                "path": path_to_json(member.image.path),
                "width": member.image.content.width_px,
                "height": member.image.content.height_px,
                "size": member.image.content.size_bytes,
                "keep": member.keep,
                "why": member.why,
            }
            for member in group.members
        ],
    }


def dismiss(rooms: Rooms, request: Request) -> Reply:
    """Remember that two images are no duplicates."""
    first, other = _two_contents(rooms, request)
    return Reply({"changed": rooms.store.dismiss(first.digest, other.digest, time.time())})


def undismiss(rooms: Rooms, request: Request) -> Reply:
    """Forget that two images are no duplicates."""
    first, other = _two_contents(rooms, request)
    return Reply({"changed": rooms.store.undismiss(first.digest, other.digest)})


def _two_contents(rooms: Rooms, request: Request) -> tuple[Content, Content]:
    params = Params(request.params)
    first, other = (_content_at(rooms, params.path(name)) for name in ("first", "other"))
    if first.id == other.id:
        raise BadRequestError(
            "both files have the same bytes", hint="a decision is about two contents; these two are one"
        )
    return first, other


def _content_at(rooms: Rooms, path: bytes) -> Content:
    content = rooms.store.content_at(path) or rooms.store.content_at(os.path.realpath(path))
    if content is None:
        raise NotFoundError(f"{os.fsdecode(path)}: is not indexed", hint="name two images of your albums")
    return content


def alerts(rooms: Rooms, request: Request) -> Iterator[Reply]:
    """Past alerts, and with `follow` the coming ones as they are written."""
    params = Params(request.params)
    last, follow = params.integer("since", 0), params.flag("follow")
    while not rooms.stopping.is_set():
        moment = rooms.store.moment
        page = rooms.store.alerts(last, ALERTS_PAGE)
        last = page[-1].id if page else last
        more = follow or len(page) == ALERTS_PAGE
        if page or not follow:
            yield Reply({"alerts": [_alert_to_json(alert) for alert in page]}, more=more)
        if not more:
            return
        if not page:
            # An empty answer now and then tells a follower who is gone from one who merely waits.
            rooms.store.wait_for_change(moment, FOLLOW_POLL_S)
            yield Reply({"alerts": []}, more=True)
    raise UnavailableError("the daemon is stopping")


def _alert_to_json(alert: AlertRecord) -> Json:
    return {
        "id": alert.id,
        "time": when(alert.time),
        "path": path_to_json(alert.path),
        "kind": alert.kind,
        "matches": [
            {"path": path_to_json(match.path), "kind": match.kind, "score": round(match.score, 4)}
            for match in alert.matches
        ],
        "message": alert.message,
    }
