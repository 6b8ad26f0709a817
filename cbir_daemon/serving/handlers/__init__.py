"""The meaning of each method of the socket.

In: a request.  Out: one reply, or a stream of them.  Never here: sockets, framing, SQL, pixels.

A handler is a function of the `Rooms` and the request; `METHODS` is the list that `hello` gives.  Each raises
`BadRequestError` when a parameter is missing, of the wrong type or out of its range, and `StorageError` when the index
cannot be read or written; "Raises" names what else it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cbir_daemon.errors import UnknownMethodError
from cbir_daemon.protocol import answers
from cbir_daemon.protocol.messages import Request
from cbir_daemon.serving.handlers import (
    alerts,
    drawing,
    duplicates,
    model,
    overview,
    pictures,
    queries,
    resolving,
    tiles,
    upkeep,
)
from cbir_daemon.serving.handlers.rooms import Reply, Rooms, SharedRooms

__all__ = ["METHODS", "Reply", "Rooms", "SharedRooms", "handle"]

Handler = Callable[[Rooms, Request], Reply[Any] | Iterator[Reply[Any]]]
"""Each gives answers of its own type; `protocol.answers.ANSWERS` has them all."""


def hello(rooms: Rooms, request: Request) -> Reply[answers.Hello]:
    """Return versions, methods, capabilities.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Has no parameters.
    """
    return overview.hello(rooms, METHODS)


METHODS: Mapping[str, Handler] = {
    "query": queries.query,
    "sheet": queries.sheet,
    "status": overview.status,
    "errors": overview.errors,
    "settle": upkeep.settle,
    "scan": upkeep.scan,
    "verify": upkeep.verify,
    "album_add": upkeep.album_add,
    "album_remove": upkeep.album_remove,
    "album_list": upkeep.album_list,
    "backup": upkeep.backup,
    "duplicates": duplicates.duplicates,
    "dismiss": duplicates.dismiss,
    "undismiss": duplicates.undismiss,
    "dismiss_all": duplicates.dismiss_all,
    "align": duplicates.align,
    "decisions": duplicates.decisions,
    "decisions_import": duplicates.decisions_import,
    "resolve_start": resolving.resolve_start,
    "resolve_check": resolving.resolve_check,
    "resolve_note": resolving.resolve_note,
    "resolve_tasks": resolving.resolve_tasks,
    "resolve_runs": resolving.resolve_runs,
    "alerts": alerts.alerts,
    "alerts_test": alerts.alerts_test,
    "watch_add": alerts.watch_add,
    "watch_remove": alerts.watch_remove,
    "watch_list": alerts.watch_list,
    "model_show": model.model_show,
    "model_cancel": model.model_cancel,
    "model_fit": model.model_fit,
    "model_history": model.model_history,
    "map": drawing.draw_map,
    "map_grid": tiles.map_grid,
    "map_tile": tiles.map_tile,
    "map_inside": tiles.map_inside,
    "map_place": tiles.map_place,
    "images": pictures.images,
    "preview": pictures.preview,
    "error_preview": pictures.error_preview,
    "thumbnail": pictures.thumbnail,
    "hello": hello,
}


def handle(rooms: Rooms, request: Request) -> Iterator[Reply[Any]]:
    """Yield the replies to a request.

    Parameters
    ----------
    rooms : Rooms
    request : Request
        Its method is a key of `METHODS`.

    Raises
    ------
    UnknownMethodError
        When there is no such method.
    CbirError
        When the method cannot answer.
    """
    handler = METHODS.get(request.method)
    if handler is None:
        raise UnknownMethodError(f"unknown method {request.method!r}", hint="`hello` lists the methods")
    reply = handler(rooms, request)
    if isinstance(reply, Reply):
        yield reply
    else:
        yield from reply
