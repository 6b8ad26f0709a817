"""Methods that keep the index equal to the albums: `settle`, `scan`, `album_*`, `backup`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cbir_daemon.errors import NotFoundError, TimedOutError, UnavailableError
from cbir_daemon.indexing.rereading import Bytes, put_alerts, reread
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, path_from_json, path_to_json
from cbir_daemon.serving.handlers.overview import albums_to_json
from cbir_daemon.serving.handlers.rooms import Reply, Rooms
from cbir_daemon.serving.handlers.sites import is_shared

SETTLE_POLL_S = 0.1
MAX_VERIFIED = 1000
MAX_TIMEOUT_S = 7 * 86_400.0


def settle(rooms: Rooms, request: Request) -> Reply[answers.Settled]:
    """Wait until all that was on disk when asked is indexed, alerts are written, and no fit is due or running.

    Local features are waited for where they are taken, and the shared index while it answers.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `timeout_s` (0 to 604800 seconds, 600): longest wait.

    Raises
    ------
    TimedOutError
        When that was not so in time.
    UnavailableError
        When the daemon stops during the wait.
    """
    timeout_s = Params(request.params).number("timeout_s", 600.0, least=0.0, most=MAX_TIMEOUT_S)
    deadline = time.monotonic() + timeout_s
    ticket = rooms.ingest.request_scan()
    # While the clock is behind, answers from now on would have two clocks and show one state.
    while not (_settled(rooms, ticket) and rooms.store.is_clock_current):
        if rooms.stopping.is_set():
            raise UnavailableError("the daemon is stopping")
        if time.monotonic() >= deadline:
            raise TimedOutError(f"not settled within {timeout_s:g} s", hint="`cbir status` shows what is pending")
        # Whoever sleeps until something changes looks again: time alone may have made a fit due.
        rooms.store.wake()
        rooms.stopping.wait(SETTLE_POLL_S)
    counts = rooms.store.files.counts()
    return Reply({"clock": rooms.store.clock, "images": counts.images, "errors": counts.errors})


def _settled(rooms: Rooms, ticket: int) -> bool:
    """Whether nothing is left to do; asked from the front of the line to its end, so that nothing slips behind."""
    return (
        rooms.ingest.scanned(ticket)
        and rooms.ingest.idle
        and rooms.pairing.idle
        and rooms.describer.idle
        and rooms.features.idle
        and rooms.meanings.idle
        and rooms.maps.idle
        and is_shared(rooms)
        and rooms.ingest.idle
    )


def scan(rooms: Rooms, request: Request) -> Reply[answers.Scan]:
    """Ask for a walk of the albums and return at once; files whose disk failed are tried again, too.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `path`: only what is at and below it, links followed; without it all albums.  `accept_losses` (flag): forget
        what is gone even when it looks like a lost disk.

    Raises
    ------
    NotFoundError
        When `path` lies in no album and holds none.
    """
    params = Params(request.params)
    path = params.maybe_path("path")
    roots = [album.path for album in rooms.store.albums.listed()]
    if path is not None:
        path = os.path.realpath(path)
        if not any(path == root or path.startswith(root + b"/") or root.startswith(path + b"/") for root in roots):
            raise NotFoundError(f"{os.fsdecode(path)}: lies in no album", hint="`cbir album list` shows them")
    rooms.ingest.request_scan(path, accept_losses=params.flag("accept_losses"), retry=True)
    return Reply({"albums": len(roots)})


def verify(rooms: Rooms, request: Request) -> Reply[answers.Verified]:
    """Read files again and compare them with their digests; one that is damaged raises an alert, once.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `paths` (list): of indexed files, at most 1000; what is not indexed, away or changed is passed over.
    """
    items = Params(request.params).items("paths", MAX_VERIFIED)
    paths = [path_from_json(item, "paths") for item in items]
    files = [reread(image) for image in rooms.store.files.images_at(paths).values()]
    alerts = put_alerts(rooms.store, files, time.time())
    damaged = [path_to_json(file.image.path) for file in files if file.found is Bytes.DAMAGED]
    return Reply({"damaged": damaged, "alerts": alerts})


def album_add(rooms: Rooms, request: Request) -> Reply[answers.AlbumAdded]:
    """Watch a folder from now on, and say whether it is new.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `path` of the folder, links followed.

    Raises
    ------
    NotFoundError, NoAccessError
        When there is no such folder, or the daemon may not read it.
    BadRequestError
        When it is no folder, the root folder, or lies in or holds another album.
    """
    path = Params(request.params).path("path")
    return Reply({"added": rooms.albums.add(path), "path": path_to_json(os.path.realpath(path))})


def album_remove(rooms: Rooms, request: Request) -> Reply[answers.AlbumRemoved]:
    """Forget a folder and all that is known of its files; the files stay.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `path` of the album.

    Raises
    ------
    NotFoundError
        When it is no album.
    """
    path = Params(request.params).path("path")
    rooms.albums.remove(path)
    return Reply({"removed": True, "path": path_to_json(path)})


def album_list(rooms: Rooms, request: Request) -> Reply[answers.AlbumList]:
    """Return every album with its state and counts.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Has no parameters.
    """
    return Reply({"albums": albums_to_json(rooms)})


def backup(rooms: Rooms, request: Request) -> Reply[answers.Backup]:
    """Write a consistent copy of the index to a new file, and return its size.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        `path` of the file, on the daemon's machine.

    Raises
    ------
    BadRequestError
        When the file is there already.
    """
    target = Path(os.fsdecode(Params(request.params).path("path")))
    rooms.store.backup(target)
    return Reply({"path": path_to_json(os.fsencode(target)), "size": target.stat().st_size})
