"""Methods about alerts and the watch list: `alerts`, `alerts_test`, `watch_*`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cbir_daemon.alerts import alert_to_json
from cbir_daemon.errors import BadRequestError, NotFoundError, TooPlainError, UnavailableError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, path_to_json, when
from cbir_daemon.records import Facts
from cbir_daemon.search.part_searcher import read_parts
from cbir_daemon.search.search import as_vector
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, paged
from cbir_daemon.store import NewWork, Work, WorkMatch

FOLLOW_POLL_S = 60.0
ALERTS_PAGE = 200
MAX_NAME_CHARACTERS = 200


def alerts(rooms: Rooms, request: Request) -> Iterator[Reply[answers.Alerts]]:
    """Yield past alerts, oldest first, and with `follow` the coming ones as they are written.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `since` (alert id, 0): only alerts with a higher id.  `follow` (flag): never end.

    Raises
    ------
    UnavailableError
        When the daemon stops before the last page.

    Notes
    -----
    A page has at most `ALERTS_PAGE` alerts.  With `follow` an empty page comes when nothing changes for `FOLLOW_POLL_S`
    seconds, so that a client that is gone is noticed.
    """
    params = Params(request.params)
    last, follow = params.integer("since", 0), params.flag("follow")
    while not rooms.stopping.is_set():
        moment = rooms.store.moment
        page = rooms.store.alerts.listed(last, ALERTS_PAGE)
        last = page[-1].id if page else last
        more = follow or len(page) == ALERTS_PAGE
        if page or not follow:
            yield Reply({"alerts": [alert_to_json(alert) for alert in page]}, more=more)
        if not more:
            return
        if not page:
            # An empty answer now and then tells a follower who is gone from one who merely waits.
            rooms.store.wait_for_change(moment, FOLLOW_POLL_S)
            yield Reply({"alerts": []}, more=True)
    raise UnavailableError("the daemon is stopping")


def alerts_test(rooms: Rooms, request: Request) -> Reply[answers.AlertsTested]:
    """Send a test message through one sink, whether alerts go to it or not.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `sink` (text): its name.

    Raises
    ------
    NotFoundError
        When no sink has that name.
    SinkError
        When the message was not delivered.
    """
    name = Params(request.params).text("sink")
    if not name:
        raise BadRequestError("parameter 'sink' is missing")
    took_s = rooms.outbox.test(name)
    return Reply({"sink": name, "took_ms": round(took_s * 1e3, 1), "used": rooms.outbox.is_used(name)})


# -- the watch list ----------------------------------------------------------------------------------------------------


def watch_add(rooms: Rooms, request: Request) -> Reply[answers.WatchAdded]:
    """Put a picture on the watch list, and say in which files of the albums it is now.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `path` of an image file, or the bytes of one as the blob; of both the bytes are taken.  `name` (text, one line
        of at most 200 characters): what the work is called; without it the name of the file.

    Raises
    ------
    NotFoundError, NoAccessError
        When there is no such file, or the daemon may not read it.
    UnreadableImageError
        When it is no image, or breaks a limit.
    TooPlainError
        When it shows almost nothing but one tone.
    ChildError, UnavailableError
        When no worker can be started, or the daemon stops.
    """
    params = Params(request.params)
    path, name = params.maybe_path("path"), params.text("name").strip()
    if path is None and not request.blob:
        raise BadRequestError("neither 'path' nor bytes are given", hint="name an image file")
    if path is None and not name:
        raise BadRequestError("parameter 'name' is missing", hint="bytes have no name of their own")
    name = (name or os.fsdecode(path or b"").rpartition("/")[2]).encode(errors="replace").decode()
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise BadRequestError("parameter 'name' must be one line of at most 200 characters", hint="give another one")
    facts = rooms.pool.read_image(request.blob or Path(os.fsdecode(path or b"")))
    assert facts.vector is not None
    _refuse_plain(rooms, facts, name)
    new = NewWork(
        facts.digest,
        facts.vector,
        facts.extractor,
        name,
        path or b"",
        facts.medium,
        facts.format,
        facts.details,
        facts.parts,
    )
    added = rooms.watchlist.add(new, time.time())
    if added is None:
        known = next(work for work in rooms.store.works.listed() if work.digest == facts.digest)
        return Reply({"added": False, "work": work_to_json(known), "found": []})
    work, work_matches = added
    return Reply({"added": True, "work": work_to_json(work), "found": list(_found(rooms, work_matches))})


def _refuse_plain(rooms: Rooms, facts: Facts, name: str) -> None:
    """Raise when a work is too plain to be found in anything."""
    searcher = rooms.part_searchers.of(facts.medium)
    if searcher is not None and searcher.medium.is_plain(read_parts(facts)):
        raise TooPlainError(f"{name}: too plain to watch for: there is too little in it")
    if searcher is None and rooms.searcher.medium.is_plain(as_vector(facts.vector or b"")):
        raise TooPlainError(f"{name}: too plain to watch for: it shows almost nothing but one tone")


def _found(rooms: Rooms, work_matches: Sequence[WorkMatch]) -> Iterator[answers.WorkMatch]:
    """Yield the files in which a work was seen, best first."""
    for match in work_matches:
        content = rooms.store.contents.by_digest(match.digest)
        for image in rooms.store.files.images([content.id]) if content is not None else ():
            yield {"path": path_to_json(image.path), "kind": match.kind, "score": round(match.score, 4)}


def watch_remove(rooms: Rooms, request: Request) -> Reply[answers.WatchRemoved]:
    """Take a work off the watch list.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `name` (text) of the work.

    Raises
    ------
    NotFoundError
        When no work has that name.
    """
    name = Params(request.params).text("name")
    if not name:
        raise BadRequestError("parameter 'name' is missing")
    found = next((work for work in rooms.store.works.listed() if work.name == name), None)
    if found is None or not rooms.watchlist.remove(found.id):
        raise NotFoundError(f"{name}: is not on the watch list", hint="`cbir watch list` shows what is")
    return Reply({"removed": True, "work": work_to_json(found)})


def watch_list(rooms: Rooms, request: Request) -> Iterator[Reply[answers.WatchList]]:
    """Return the watch list, oldest first, in pages.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Has no parameters.
    """
    return paged(map(work_to_json, rooms.store.works.listed()), lambda page: {"works": page})


def work_to_json(work: Work) -> answers.Work:
    """Return a work on the watch list."""
    return {
        "name": work.name,
        "path": path_to_json(work.path) if work.path else None,
        "digest": work.digest.hex(),
        "added_at": when(work.added_at),
        "found": work.matches,
    }
