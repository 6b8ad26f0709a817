"""Methods that keep the index equal to the albums: `settle`, `scan`, `album_*`, `backup`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cbir_daemon.errors import NotFoundError, TimedOutError, UnavailableError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Params, Request, path_to_json
from cbir_daemon.serving.handlers.overview import albums_to_json
from cbir_daemon.serving.handlers.rooms import Reply, Rooms

SETTLE_POLL_S = 0.1
MAX_TIMEOUT_S = 7 * 86_400.0


def settle(rooms: Rooms, request: Request) -> Reply[answers.Settled]:
    """Wait until all that was on disk when asked is indexed, alerts are written, and no fit is due or running."""
    timeout_s = Params(request.params).number("timeout_s", 600.0, least=0.0, most=MAX_TIMEOUT_S)
    deadline = time.monotonic() + timeout_s
    ticket = rooms.ingest.request_scan()
    while not _settled(rooms, ticket):
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
        and rooms.projection.idle
        and rooms.refit.idle
        and rooms.ingest.idle
    )


def scan(rooms: Rooms, request: Request) -> Reply[answers.Scan]:
    """Look again now."""
    params = Params(request.params)
    path = params.maybe_path("path")
    roots = [album.path for album in rooms.store.albums.listed()]
    if path is not None:
        path = os.path.realpath(path)
        if not any(path == root or path.startswith(root + b"/") or root.startswith(path + b"/") for root in roots):
            raise NotFoundError(f"{os.fsdecode(path)}: lies in no album", hint="`cbir album list` shows them")
    rooms.ingest.request_scan(path, accept_losses=params.flag("accept_losses"), retry=True)
    return Reply({"albums": len(roots)})


def album_add(rooms: Rooms, request: Request) -> Reply[answers.AlbumAdded]:
    """Watch a folder from now on."""
    path = Params(request.params).path("path")
    return Reply({"added": rooms.albums.add(path), "path": path_to_json(os.path.realpath(path))})


def album_remove(rooms: Rooms, request: Request) -> Reply[answers.AlbumRemoved]:
    """Forget a folder."""
    path = Params(request.params).path("path")
    rooms.albums.remove(path)
    return Reply({"removed": True, "path": path_to_json(path)})


def album_list(rooms: Rooms, request: Request) -> Reply[answers.AlbumList]:
    """Return the watched folders."""
    return Reply({"albums": albums_to_json(rooms)})


def backup(rooms: Rooms, request: Request) -> Reply[answers.Backup]:
    """Write a consistent copy of the index to a new file."""
    target = Path(os.fsdecode(Params(request.params).path("path")))
    rooms.store.backup(target)
    return Reply({"path": path_to_json(os.fsencode(target)), "size": target.stat().st_size})
